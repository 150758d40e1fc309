"""The true edges of features, where they are known: of a simulation, or a table of edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plncli.errors import DataError, counted, some
from plncli.tables.reading import read_table
from plncli.tables.table import Table
from plncli.tables.writing import FORMATS

ENDS = ("feature_a", "feature_b")
"""Columns of a table of edges."""
EDGES, FEATURES = "true_edges", "true_coefficients"
"""Tables of a simulation: its edges, and one that names all its features, in its first column."""


def true_edges(truth: str | Table, responses: Sequence[str], place: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which pairs of the features of a fit are linked in truth, p×p booleans; and notes of edges that are left out.

    truth: a folder that `plncli simulate` wrote, or a table of edges; place: of the fit. DataError where it has no
    edge among these features, or the folder is of others.
    """
    table = truth if isinstance(truth, Table) else _read(Path(truth), responses, place)
    absent = [name for name in ENDS if name not in table.columns]
    if absent:
        raise DataError(
            f"{table.name} is no table of edges: it has no column {some(absent)}. Give one with a row an edge, its "
            f"features in {' and '.join(ENDS)}, such as edges.csv of a fit."
        )
    first, second = (_names(table, name) for name in ENDS)
    at = {name: j for j, name in enumerate(responses)}
    linked, out = np.zeros((len(at), len(at)), bool), []
    for row, (a, b) in enumerate(zip(first, second, strict=True), 1):
        if a is None or b is None or a == b:
            told = "lacks a feature" if a is None or b is None else f"links `{a}` with itself"
            raise DataError(f"Row {row} of {table.name} {told}. An edge is of two features: correct the row.")
        if a in at and b in at:
            linked[at[a], at[b]] = linked[at[b], at[a]] = True
        else:
            out.append(f"{a} and {b}")
    if not linked.any():
        raise DataError(f"{table.name} has no edge between features of {place}, which are {some(responses)}.")
    note = f"{counted(len(out), 'true edge')} left out, of features that the fit does not have: {some(out)}."
    return linked, (note,) if out else ()


def _names(table: Table, column: str) -> list[str | None]:
    values = table.cells.select([table.columns.index(column)]).column(0).to_pylist()
    return [None if value is None else str(value) for value in values]


def _read(truth: Path, responses: Sequence[str], place: Path) -> Table:
    """The table of a file, or of a simulation of these features."""
    if not truth.is_dir():
        return read_table(str(truth), "truth", sample_names=False)
    edges, features = (_file(truth, name) for name in (EDGES, FEATURES))
    if edges is None:
        raise DataError(
            f"{truth} has no {EDGES}: give a folder that `plncli simulate --graph` wrote, or a table of edges."
        )
    if features is not None:
        known = read_table(str(features), "truth", sample_names=False)
        there = {*_names(known, known.columns[0])}
        lacking = [name for name in responses if name not in there]
        if lacking:
            raise DataError(f"{truth} was not what {place} was fitted to: it has no {some(lacking)}.")
    return read_table(str(edges), "truth", sample_names=False)


def _file(folder: Path, name: str) -> Path | None:
    """The table of that name, in whatever format."""
    return next((path for suffix in FORMATS if (path := folder / f"{name}.{suffix}").is_file()), None)
