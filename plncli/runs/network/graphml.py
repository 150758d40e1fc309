"""The network of a fit as GraphML, which Cytoscape, Gephi, igraph and networkx read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from plncli.models.abilities import Tabulating
from plncli.runs.run import Run

EDGES, NODES = "edges", "nodes"
"""Tables of the fit that are written: their first columns are names of features, of edges the first two."""
UNLAWFUL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Signs that XML 1.0 has no way to write."""
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
"""
TYPES = {bool: "boolean", int: "long", float: "double", str: "string"}

Columns = Mapping[str, Sequence[Any]]
"""Values by name of the column, None where there is none."""


def graphml(run: Run) -> bytes:
    """Nodes with what their table and the table of counts say of the features, edges with what their table says.

    Nodes are called n1, n2, ... in the order of the fit; values that are not known are left out.
    """
    fitted = run.fitted
    assert isinstance(fitted, Tabulating)
    tables = fitted.further_tables(run.samples)
    (_, names), *about = _plain(tables[NODES])
    nodes: dict[str, Sequence[Any]] = {"name": names, **dict(about)}
    nodes |= {name if name not in nodes else f"feature_{name}": texts for name, texts in run.features.items()}
    (_, first), (_, second), *about = _plain(tables[EDGES])
    ids = {name: f"n{place}" for place, name in enumerate(names, 1)}
    ends = [(ids[a], ids[b]) for a, b in zip(first, second, strict=True)]
    return "".join(_written(list(ids.values()), nodes, ends, dict(about))).encode()


def _plain(table: Mapping[str, Any]) -> list[tuple[str, Sequence[Any]]]:
    return [(name, column if isinstance(column, list) else column.tolist()) for name, column in table.items()]


def _written(ids: Sequence[str], nodes: Columns, ends: Sequence[tuple[str, str]], edges: Columns) -> Iterator[str]:
    """The parts of the file."""
    yield HEAD
    places = {"node": nodes, "edge": edges}
    columns: dict[str, list[tuple[str, Sequence[Any]]]] = {"node": [], "edge": []}
    for kind, table in places.items():
        for name, values in table.items():
            key = f"d{sum(map(len, columns.values()))}"
            columns[kind].append((key, values))
            type_ = TYPES[type(next((value for value in values if value is not None), ""))]
            yield f'  <key id="{key}" for="{kind}" attr.name={quoteattr(_lawful(name))} attr.type="{type_}"/>\n'
    yield '  <graph edgedefault="undirected">\n'
    for place, own in enumerate(ids):
        yield f'    <node id="{own}">{_data(columns["node"], place)}</node>\n'
    for place, (a, b) in enumerate(ends):
        yield f'    <edge source="{a}" target="{b}">{_data(columns["edge"], place)}</edge>\n'
    yield "  </graph>\n</graphml>\n"


def _data(columns: Sequence[tuple[str, Sequence[Any]]], place: int) -> str:
    """What is known of a node or an edge."""
    known = ((key, values[place]) for key, values in columns)
    return "".join(
        f'<data key="{key}">{_value(value)}</data>' for key, value in known if value is not None and value == value
    )


def _value(value: Any) -> str:
    return escape(_lawful(value)) if isinstance(value, str) else repr(value)


def _lawful(text: str) -> str:
    return UNLAWFUL.sub("\ufffd", text)
