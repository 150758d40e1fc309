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

function reader(frame) {
  const source = frame.parentElement.querySelector("script");
  if (!source) return null;
  const { marks, grid } = JSON.parse(source.textContent);
  if (marks) {
    const pitch = marks.length > 1 ? Math.abs(marks[1][0] - marks[0][0]) : 0.1;
    return (x, y) => {
      const near = marks.reduce((a, b) => (Math.abs(b[0] - y) < Math.abs(a[0] - y) ? b : a));
      return Math.abs(near[0] - y) < 0.6 * pitch ? near[1] : "";
    };
  }
  const values = Int8Array.from(atob(grid.values), (sign) => sign.charCodeAt(0));
  const [left, top, right, bottom] = grid.box;
  const p = grid.names.length;
  return (x, y) => {
    const j = Math.floor(((x - left) / (right - left)) * p);
    const i = Math.floor(((y - top) / (bottom - top)) * p);
    if (i < 0 || j < 0 || i >= p || j >= p) return "";
    const value = values[(Math.max(i, j) * (Math.max(i, j) + 1)) / 2 + Math.min(i, j)];
    return `${grid.names[i]} and ${grid.names[j]}: ${value === -128 ? "none" : (value / 100).toFixed(2)}`;
  };
}

function hover(image, read) {
  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    tip.textContent = read((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    tip.hidden = !tip.textContent;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  image.addEventListener("pointerleave", () => (tip.hidden = true));
}

const dialog = document.querySelector("dialog");
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
    if (read) hover(large, read);
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

document.querySelectorAll(".table").forEach(table);
