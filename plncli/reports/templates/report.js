"use strict";
document.documentElement.classList.add("scripted");
const ROWS = 25;
const SIGN = 0.05;

// Numbers as the page tells them; ±inf are words in the data, for JSON has no such number.
function shown(value) {
  if (value === null) return "—";
  if (value === "inf") return "∞";
  if (value === "-inf") return "−∞";
  const size = Math.abs(value);
  let text;
  if (size && (size < 1e-4 || size >= 1e6)) {
    text = value.toExponential(3).replace(/e([+-])(\d)$/, "e$10$2");
  } else {
    text = size < 1e4 ? String(Number(value.toPrecision(4))) : value.toFixed(0);
  }
  return text.replaceAll("-", "−");
}
const plain = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value);
const words = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  if (typeof a === "string" && typeof b === "string") return words.compare(a, b);
  return a - b;
}

function cell(value, numeric) {
  const made = document.createElement("td");
  made.className = numeric ? "number" : "text";
  made.textContent = numeric ? shown(value) : value;
  return made;
}

// The name in a cell becomes a button that opens the feature of a run.
function opening(made, run) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "name";
  button.textContent = made.textContent;
  button.addEventListener("click", () => feature(run, button.textContent));
  made.replaceChildren(button);
  return made;
}

// A table whose rows are made page by page from the JSON beside it.
function table(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const heads = [...root.querySelectorAll("thead th")];
  const body = root.querySelector("tbody");
  const search = root.querySelector("input");
  const told = root.querySelector("[role=status]");
  const [back, on, save] = root.querySelectorAll(".controls button");
  const numeric = heads.map((head) => head.classList.contains("number"));
  const q = data.columns.indexOf("q_value");
  const number = data.values[0].length;
  const texts = data.values.filter((_, k) => !numeric[k]);
  const folded = Array.from({ length: number }, (_, i) => texts.map((column) => column[i]).join(" ").toLowerCase());
  let rows = data.order;
  let at = 0;
  let column = -1;
  let down = false;

  function arrange() {
    const wanted = search.value.trim().toLowerCase();
    rows = data.order.filter((i) => folded[i].includes(wanted));
    if (column >= 0) {
      const values = numeric[column] ? data.values[column].map(plain) : data.values[column];
      const nothing = (value) => value === null || value === "";
      rows.sort((i, j) => {
        const [a, b] = [values[i], values[j]];
        if (nothing(a) || nothing(b)) return nothing(a) - nothing(b) || i - j;
        return (down ? compare(b, a) : compare(a, b)) || i - j;
      });
    }
    at = 0;
    show();
  }

  function show() {
    body.replaceChildren(
      ...rows.slice(at, at + ROWS).map((i) => {
        const line = document.createElement("tr");
        if (q >= 0 && data.values[q][i] !== null && data.values[q][i] < SIGN) line.className = "clear";
        line.append(...data.values.map((values, k) => cell(values[i], numeric[k])));
        opening(line.cells[0], root.dataset.run);
        return line;
      }),
    );
    const last = Math.min(at + ROWS, rows.length);
    told.textContent = rows.length ? `${at + 1} to ${last} of ${rows.length}` : "nothing found";
    back.disabled = at === 0;
    on.disabled = last >= rows.length;
    heads.forEach((head, k) => {
      head.setAttribute("aria-sort", k !== column ? "none" : down ? "descending" : "ascending");
    });
  }

  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      down = k === column && !down;
      column = k;
      arrange();
    });
    head.replaceChildren(button);
  });
  search.addEventListener("input", arrange);
  back.addEventListener("click", () => ((at = Math.max(0, at - ROWS)), show()));
  on.addEventListener("click", () => ((at += ROWS), show()));
  save.addEventListener("click", () => {
    const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const lines = [data.columns.map(quoted)];
    for (let i = 0; i < number; i++) {
      lines.push(data.values.map((values) => (values[i] === null ? "" : quoted(String(values[i])))));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.join(",") + "\n").join("")], { type: "text/csv" }));
    link.download = root.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  arrange();
}

// Values of pictures where the pointer is.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);

// What is said of a place in a picture, and of which feature, if it has values.
function reader(frame) {
  const source = frame.parentElement.querySelector("script");
  if (!source) return null;
  const { marks, grid } = JSON.parse(source.textContent);
  if (marks) {
    const gaps = marks.slice(1).map((mark, k) => Math.abs(mark[0] - marks[k][0]));
    const pitch = gaps.length ? Math.min(...gaps) : 0.1;
    return (x, y) => {
      const near = marks.reduce((a, b) => (Math.abs(b[0] - y) < Math.abs(a[0] - y) ? b : a));
      return Math.abs(near[0] - y) < 0.6 * pitch ? [near[1], near[2]] : ["", ""];
    };
  }
  const values = Int8Array.from(atob(grid.values), (sign) => sign.charCodeAt(0));
  const [left, top, right, bottom] = grid.box;
  const p = grid.names.length;
  return (x, y) => {
    const j = Math.floor(((x - left) / (right - left)) * p);
    const i = Math.floor(((y - top) / (bottom - top)) * p);
    if (i < 0 || j < 0 || i >= p || j >= p) return ["", ""];
    const value = values[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)];
    const told = value === -128 ? "none" : (value / 100).toFixed(2);
    return [`${grid.names[i]} and ${grid.names[j]}: ${told}`, grid.names[i]];
  };
}

function placed(image, event, read) {
  const box = image.getBoundingClientRect();
  return read((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}

function hover(image, read) {
  image.addEventListener("pointermove", (event) => {
    tell(placed(image, event, read)[0], event);
  });
  image.addEventListener("pointerleave", () => (tip.hidden = true));
}

function tell(text, event) {
  tip.textContent = text;
  tip.hidden = !text;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
}

const dialog = document.querySelector("dialog.enlarged");
document.querySelectorAll(".picture").forEach((frame) => {
  let read;
  const image = frame.querySelector("img");
  frame.addEventListener("pointerenter", () => {
    if (read === undefined) {
      read = reader(frame);
      if (read) hover(image, read);
    }
  });
  frame.addEventListener("click", () => {
    read = read === undefined ? reader(frame) : read;
    const large = image.cloneNode();
    large.loading = "eager";
    if (read) {
      hover(large, read);
      large.addEventListener("click", (event) => {
        const name = placed(large, event, read)[1];
        if (name) feature(frame.dataset.run, name);
      });
    }
    dialog.querySelector(".frame").replaceChildren(large);
    dialog.append(tip); // what is outside an open dialog lies below it
    dialog.showModal();
  });
});
dialog.addEventListener("close", () => {
  tip.hidden = true;
  document.body.append(tip);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("button")) dialog.close();
});

// A feature: its rows of all tables of the run, and a picture of its values.
const leaf = document.querySelector("dialog.feature");
const numbers = new Map(); // of tables, by run

function rowsOf(run, name) {
  if (!numbers.has(run)) {
    const found = [...document.querySelectorAll(".table")].filter((root) => root.dataset.run === run);
    numbers.set(run, found.map((root) => ({
      caption: root.querySelector("caption").textContent.replace(/[;,:] .*/, ""),
      heads: [...root.querySelectorAll("thead th")],
      data: JSON.parse(root.querySelector("script").textContent),
    })));
  }
  return numbers.get(run).map(({ caption, heads, data }) => {
    const rows = data.order.filter((i) => data.values[0][i] === name);
    if (!rows.length) return null;
    const made = document.createElement("table");
    made.createCaption().textContent = caption;
    const head = made.createTHead().insertRow();
    heads.slice(1).forEach((one) => {
      const th = document.createElement("th");
      th.scope = "col";
      th.className = one.className;
      th.textContent = one.textContent;
      head.append(th);
    });
    const body = made.createTBody();
    rows.forEach((i) => {
      const line = body.insertRow();
      data.values.slice(1).forEach((values, k) => line.append(cell(values[i], heads[k + 1].classList.contains("number"))));
    });
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.append(made);
    return scroll;
  }).filter(Boolean);
}

function feature(run, name) {
  const source = document.getElementById(`${run}-features`);
  const data = source && JSON.parse(source.textContent);
  const place = data ? data.names.indexOf(name) : -1;
  leaf.querySelector("h2").textContent = name;
  const parts = place < 0 ? [] : [strip(data, data.panels[place], name)];
  const note = document.createElement("p");
  note.className = "quiet";
  const interval = data && data.level ? ` with ${100 * data.level} % intervals` : "";
  note.textContent = place < 0
    ? "Its values are not on this page: plncli plot RUN feature NAME draws them."
    : [`Points are samples${data.panels[place].means ? `, ${data.levels.length ? "diamonds" : "the line"} fitted means${interval}` : ""}.`, ...data.notes].join(" ");
  leaf.querySelector(".frame").replaceChildren(...parts, note, ...rowsOf(run, name));
  leaf.showModal();
}

// Values of samples by level or against a number, drawn as SVG in the colours of the page.
function strip(data, panel, name) {
  const [width, height, left, top, right, bottom] = [640, 300, 56, 12, 12, 52];
  const make = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${data.unit} of ${name}${data.by ? ` by ${data.by}` : ""}` });
  const levels = data.levels.length;
  const known = levels ? [] : data.x.filter((value) => value !== null);
  const [from, to] = levels ? [-0.5, levels - 0.5] : [Math.min(...known), Math.max(...known)];
  const scaled = (value) => (data.counts ? Math.log1p(value) : value);
  const means = (panel.means || []).map((row) => row.map((value) => (value === null ? null : scaled(value))));
  const heights = means.flat().filter((value) => value !== null);
  const floor = Math.min(panel.low, ...heights);
  const roof = Math.max(panel.top, Math.min(Math.max(...heights, floor), panel.top + 3), floor + 1e-9);
  const X = (value) => left + ((value - from) / (to - from || 1)) * (width - left - right);
  const Y = (value) => height - bottom - ((value - floor) / (roof - floor)) * (height - top - bottom);
  const inside = (value) => Math.max(floor, Math.min(roof, value));
  svg.append(make("path", { class: "axis", d: `M${left},${top}V${height - bottom}H${width - right}` }));
  const steps = data.counts
    ? [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].filter((value) => scaled(value) <= roof && scaled(value) >= floor)
    : [floor, (floor + roof) / 2, roof];
  steps.forEach((value) => {
    svg.append(make("text", { x: left - 6, y: Y(scaled(value)) + 4, "text-anchor": "end" }, shown(Number(value.toPrecision(3)))));
    svg.append(make("path", { class: "axis", d: `M${left - 3},${Y(scaled(value))}h3` }));
  });
  const ends = levels ? data.levels.map((level, k) => [k, level]) : [from, (from + to) / 2, to].map((value) => [value, shown(Number(value.toPrecision(3)))]);
  const room = (width - left - right) / ends.length / 7;
  ends.forEach(([value, text]) => {
    const short = text.length > room ? `${text.slice(0, Math.max(1, room - 1))}…` : text;
    svg.append(make("text", { x: X(value), y: height - bottom + 17, "text-anchor": "middle" }, short));
  });
  svg.append(make("text", { x: (left + width - right) / 2, y: height - 10, "text-anchor": "middle" }, data.by));
  svg.append(make("text", { x: -(top + height - bottom) / 2, y: 13, "text-anchor": "middle", transform: "rotate(-90)" }, data.unit));
  const values = Uint8Array.from(atob(panel.values), (sign) => sign.charCodeAt(0));
  data.x.forEach((x, i) => {
    if (x === null || x === -1 || values[i] === 255) return;
    const aside = levels ? (((i * 0.6180339887) % 1) - 0.5) * 0.5 : 0;
    svg.append(make("circle", { class: "dot", r: 3, cx: X(x + aside), cy: Y(panel.low + (values[i] / 254) * (panel.top - panel.low)) }));
  });
  if (means.length) {
    const [mean, low, high] = means;
    const there = data.at.map((_, k) => k).filter((k) => mean[k] !== null);
    if (levels) {
      there.forEach((k) => {
        const [x, y] = [X(data.at[k]), Y(inside(mean[k]))];
        if (low[k] !== null) svg.append(make("path", { class: "mean", d: `M${x},${Y(inside(low[k]))}V${Y(inside(high[k]))}` }));
        svg.append(make("path", { class: "mean sign", d: `M${x - 5},${y}l5,-5l5,5l-5,5z` }));
      });
    } else {
      const line = (row, order) => order.map((k) => `${X(data.at[k])},${Y(inside(row[k]))}`).join("L");
      const sure = there.filter((k) => low[k] !== null && high[k] !== null);
      if (sure.length) svg.append(make("path", { class: "band", d: `M${line(high, sure)}L${line(low, [...sure].reverse())}z` }));
      if (there.length) svg.append(make("path", { class: "mean", d: `M${line(mean, there)}` }));
    }
  }
  return svg;
}

leaf.addEventListener("click", (event) => {
  if (event.target === leaf || event.target.closest("button")) leaf.close();
});

// A network: what is linked with the feature below the pointer, or with the one that is chosen.
function network(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const graph = root.querySelector(".graph");
  const told = root.querySelector(".told");
  const nodes = [...graph.querySelectorAll(".node")];
  const edges = [];
  graph.querySelectorAll(".edge").forEach((line) => (edges[line.dataset.k] = line));
  const near = data.names.map(() => []);
  data.edges.forEach(([a, b, r], k) => {
    near[a].push([b, r, k]); // the strongest first
    near[b].push([a, r, k]);
  });
  const about = (j) => `${data.names[j]}${data.taxa.length ? ` (${data.taxa[j]})` : ""}: ${data.degree[j]} ${data.degree[j] === 1 ? "edge" : "edges"}`;
  let chosen = -1;

  function choose(j) {
    chosen = j === chosen ? -1 : j;
    const lit = new Set(chosen < 0 ? [] : [chosen, ...near[chosen].map(([k]) => k)]);
    const lines = new Set(chosen < 0 ? [] : near[chosen].map(([, , k]) => k));
    graph.classList.toggle("chosen", chosen >= 0);
    nodes.forEach((node, k) => {
      node.classList.toggle("lit", lit.has(k));
      node.classList.toggle("first", k === chosen);
      node.setAttribute("aria-pressed", k === chosen);
    });
    edges.forEach((line, k) => line.classList.toggle("lit", lines.has(k)));
    told.replaceChildren();
    if (chosen < 0) return;
    const named = (k) => opening(Object.assign(document.createElement("span"), { textContent: data.names[k] }), root.dataset.run);
    told.append(named(chosen), `${about(chosen).slice(data.names[chosen].length)}. `);
    near[chosen].forEach(([k, r], place) => told.append(place ? ", " : "Linked with ", named(k), ` (${shown(Number(r.toFixed(2)))})`));
  }

  data.order.forEach((j, place) => {
    const node = nodes[j];
    node.setAttribute("role", "button");
    node.setAttribute("tabindex", place ? -1 : 0);
    node.setAttribute("aria-label", about(j));
    node.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) {
        const next = nodes[data.order[(place + step + nodes.length) % nodes.length]];
        node.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      } else if (event.key === "Enter" || event.key === " ") choose(j);
      else return;
      event.preventDefault();
    });
  });
  graph.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    choose(node ? Number(node.dataset.k) : chosen);
  });
  graph.addEventListener("pointermove", (event) => {
    const node = event.target.closest(".node");
    const line = event.target.closest(".edge");
    if (node) {
      const j = Number(node.dataset.k);
      const most = near[j].slice(0, 8).map(([k, r]) => `${data.names[k]} (${shown(Number(r.toFixed(2)))})`);
      tell(`${about(j)}. Linked with ${most.join(", ")}${near[j].length > 8 ? ", …" : ""}`, event);
    } else if (line) {
      const [a, b, r] = data.edges[line.dataset.k];
      tell(`${data.names[a]} and ${data.names[b]}: ${shown(r)}`, event);
    } else tell("", event);
  });
  graph.addEventListener("pointerleave", () => (tip.hidden = true));
}

document.querySelectorAll(".network").forEach(network);
document.querySelectorAll(".table").forEach(table);
document.querySelectorAll("[data-columns]").forEach((root) => {
  const columns = root.dataset.columns.split(" ").map(Number);
  root.querySelectorAll("tbody tr").forEach((line) => columns.forEach((k) => opening(line.cells[k], root.dataset.run)));
});
