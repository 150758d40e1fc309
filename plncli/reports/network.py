"""The network of a fit on a page: a drawing that answers the pointer, what its edges mean, and who has most of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from plncli.errors import counted, number, short
from plncli.models.abilities import Tabulating
from plncli.plots.network.drawing import geometry
from plncli.plots.network.graph import OTHERS, UNNAMED, content
from plncli.plots.network.names import beside
from plncli.plots.source import Source, Wanted
from plncli.runs.network.links import EDGES, Links, links

WIDTH, LETTER, LINE = 178.0, 1.3, 2.4
"""Of the drawing, of a sign and of a line of names, in its units: about 5 pixels."""
ROOM = 16.0
"""Beside the outermost features, for names."""
LETTERS = 24
STRONGEST = 25
"""Edges in a table."""
NEIGHBOURS = 12
"""Of a feature, that are named."""
MEANING = (
    "An edge says that two features vary together beyond what the covariates and all other features of the table "
    "explain. It does not say which acts on which, nor that they act on each other at all: what was not measured, such "
    "as a habitat, links features too.",
    "Where there is no edge, the data did not call for one at this penalty, which is no evidence that there is none.",
)
CHOSEN = (
    "Edges were chosen, not tested, so they have no p-values, and partial correlations that are fitted to the data "
    "that chose them tend to be too large."
)


def network(source: Source) -> dict[str, Any] | None:
    """What is told and drawn of a network; None where the model has none.

    told, meaning: sentences; drawing: None without edges; nodes: columns of a table, those of most edges first;
    strongest: heads and rows.
    """
    run = source.run
    found = links(run)
    if found is None:
        return None
    m, p, some = len(found.first), len(run.responses), int((found.degree > 0).sum())
    if not m:
        told = f"The network has no edge: at this penalty no two of the {counted(p, 'feature')} are linked."
        return {"told": told, "meaning": MEANING[1:], "drawing": None}
    positive = int((found.partial > 0).sum())
    told = (
        f"{counted(m, 'edge')} {'joins' if m == 1 else 'join'} {some} of {counted(p, 'feature')}, "
        f"{200.0 * m / (p * (p - 1)):.2g} % of all pairs: {positive} positive, {m - positive} negative."
    )
    heads, rows, sure = _strongest(source, found)
    return {
        "told": told,
        "meaning": [*MEANING, f"{CHOSEN} {_sure(source, sure)}".rstrip()],
        "drawing": _drawing(source),
        "nodes": _nodes(source, found),
        "strongest": {"heads": heads, "rows": rows},
    }


def _sure(source: Source, known: bool) -> str:
    """How stable edges are, or how to learn it."""
    if known:
        return "The frequency of an edge is the share of subsamples of the samples in which it was found."
    asked = source.run.spec.setting("subsamples")
    return "How often each is found in subsamples, --subsamples 20 tells." if asked else ""


def _strongest(source: Source, found: Links) -> tuple[list[str], list[list[str]], bool]:
    """A table of the strongest edges, and whether it has their frequencies."""
    run, fitted = source.run, source.run.fitted
    assert isinstance(fitted, Tabulating)
    frequency = fitted.further_tables(run.samples)[EDGES].get("frequency")
    heads = [run.spec.noun, run.spec.noun, "partial correlation", "sign"]
    rows = [
        [run.responses[j], run.responses[k], number(float(r), 3), "positive" if r > 0 else "negative"]
        for j, k, r in zip(found.first[:STRONGEST], found.second[:STRONGEST], found.partial, strict=False)
    ]
    if frequency is None:
        return heads, rows, False
    return (
        [*heads, "frequency"],
        [[*row, f"{share:.2f}"] for row, share in zip(rows, frequency.tolist(), strict=False)],
        True,
    )


def _nodes(source: Source, found: Links) -> dict[str, Any]:
    """All features: how many edges, and with whom, those of most edges first."""
    names = source.run.responses
    near: list[list[tuple[int, float]]] = [[] for _ in names]
    for j, k, r in zip(found.first.tolist(), found.second.tolist(), found.partial.tolist(), strict=True):
        near[j].append((k, r))  # the strongest first
        near[k].append((j, r))
    order = [*found.hubs.tolist(), *np.flatnonzero(found.degree == 0).tolist()]

    def linked(at: int) -> str:
        known = [f"{names[k]} ({number(r, 2)})" for k, r in near[at][:NEIGHBOURS]]
        left = len(near[at]) - len(known)
        return ", ".join(known) + (f" and {left} more" if left else "")

    return {
        source.run.spec.noun: [names[at] for at in order],
        "edges": found.degree[order].astype(float),
        "linked with (partial correlation)": [linked(at) for at in order],
    }


def _drawing(source: Source) -> dict[str, Any]:
    """The parts of the drawing: marks, edges and names in its units from the upper left corner, and a key.

    names that have no room are shown only while their feature is chosen.
    """
    record = content(source, Wanted())
    made = geometry(record, WIDTH, ROOM)
    texts = [short(name, LETTERS) for name in record.names]
    boxes = np.array([[LETTER * len(text), LINE] for text in texts])
    placed = beside(made.spots, made.radii, boxes, record.order[: record.top], made.frame, made.edges(record))
    height = float(made.frame[1])

    def at(point: np.ndarray) -> list[float]:
        return [round(float(point[0]), 2), round(height - float(point[1]), 2)]

    nodes = []
    for j, name in enumerate(record.names):
        middle, far = placed.get(j, (made.spots[j] + [0.0, made.radii[j] + 0.6 * LINE], False))
        colour = record.kinds.index(record.taxa[j]) if record.taxa and record.taxa[j] in record.kinds else -1
        nodes.append(
            {
                "name": name,
                "text": texts[j],
                "spot": at(made.spots[j]),
                "radius": round(float(made.radii[j]), 2),
                "colour": colour if record.taxa else "plain",
                "at": at(middle),
                "far": far,
                "named": j in placed,
                "degree": int(record.degree[j]),
                "taxon": record.taxa[j] if record.taxa else "",
            }
        )
    edges = [
        [int(a), int(b), round(float(r), 3)]
        for a, b, r in zip(record.first, record.second, record.partial, strict=True)
    ]
    rest = {*record.taxa} - {*record.kinds}
    key = [*enumerate(record.kinds)] + ([(-1, UNNAMED if rest == {UNNAMED} else OTHERS)] if rest else [])
    return {
        "width": WIDTH,
        "height": round(height, 1),
        "nodes": nodes,
        "edges": edges,
        "widths": [round(float(wide), 2) for wide in made.widths],
        "key": key,
        "rank": record.rank,
        "notes": list(record.notes),
        "data": {
            "names": list(record.names),
            "degree": record.degree.tolist(),
            "taxa": list(record.taxa),
            "edges": edges,
            "order": record.order.tolist(),
        },
    }
