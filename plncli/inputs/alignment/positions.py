"""Rows that are matched by their position, on request, where the names of two tables have nothing in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from plncli.errors import FIRST, DataError, Faults, counted, short, some
from plncli.inputs.alignment.spelling import near
from plncli.inputs.matching import Positions, Tables
from plncli.models.findings import Finding
from plncli.names import BY_POSITION
from plncli.tables.reading import read_table
from plncli.tables.table import Table

POSITION = "position"
"""The value of `match` that asks for it."""
NAME = 30  # signs of a name that are shown


def by_position(tables: Tables, faults: Faults = FIRST) -> Tables:
    """The tables with the names of the main one, row by row, and what must be said of it.

    DataError where a table has more or fewer rows, or where its names say that it is in another order. Where faults
    are kept, such tables are left out.
    """
    main = tables[tables.main]
    for option, table in tables.by_option.items():
        if faults.refused(partial(_check_order, main, table)):
            tables = tables.less(option)
    renamed = {option: table for option, table in tables.by_option.items() if table.samples != main.samples}
    if not renamed:
        return tables
    named = {option: replace(table, samples=main.samples) for option, table in renamed.items()}
    files = {table.name: table for table in reversed(renamed.values())}  # a column of covariates is of their table
    said = _said(main, tuple(reversed(files.values())))
    finding = Finding(BY_POSITION, said, remedy="Make sure that these are the same samples.")
    return replace(
        tables,
        by_option={**tables.by_option, **named},
        positions=Positions(main.samples, tuple(reversed(files)), finding),
    )


def named_by_position(table: str | Table, names: tuple[str, ...], **reading: Any) -> Table:
    """A table of covariates, or that of a path, with the names that its rows were given; reading: of `read_table`."""
    if not isinstance(table, Table):
        table = read_table(table, "covariates", unnamed=True, **reading)
    return replace(table, samples=names)


def _check_order(main: Table, other: Table) -> None:
    """DataError unless the rows of another table may be those of the main one, in their order."""
    n, m = len(main.samples), len(other.samples)
    if n != m:
        raise DataError(
            f"--match position takes rows in the same order, but {main.name} has {counted(n, 'row')} and {other.name} "
            f"{m}. Give tables with the same rows, or with the same names."
        )
    place = {sample: i for i, sample in enumerate(main.samples)}
    moved = [(name, name, i, place[name]) for i, name in enumerate(other.samples) if place.get(name, i) != i]
    but = ""
    numbered = {_numbers(n, 0), _numbers(n, 1)}
    found = near(main.samples, other.samples) if place.keys().isdisjoint(other.samples) else None
    if found is not None and found.whole and not {main.samples, other.samples} & numbered:
        there = {name: i for i, name in enumerate(other.samples)}
        pairs = [(b, a, there[b], place[a]) for a, b in found.pairs]
        moved, but = [pair for pair in pairs if pair[2] != pair[3]], f" but for {found.rule}"
    if moved:
        name, same, i, k = moved[0]
        remedy = "Make the names the same" if but else "Leave --match position out"
        raise DataError(
            f"--match position would pair the wrong rows: {counted(len(moved), 'name')} of {other.name} stand in "
            f"other rows of {main.name}{but} (`{name}` is row {i + 1}, and `{same}` row {k + 1}). {remedy}: names are "
            "matched in any order."
        )


def _numbers(n: int, first: int) -> tuple[str, ...]:
    """Names that only number n rows, as R and pandas write them."""
    return tuple(map(str, range(first, first + n)))


def _said(main: Table, others: Sequence[Table]) -> str:
    """What was done, with the first rows; without paths, for the same fit may be told of from elsewhere."""
    shown = 2 if len(others) == 1 else 1
    rows = [
        f"row {i + 1} of the {table.option} (`{short(table.samples[i], NAME)}`) is `{short(main.samples[i], NAME)}`"
        for table in others
        for i in range(min(shown, len(main.samples)))
    ]
    return f"Rows are matched by their position, not by name (--match position): {some(rows, 3)}."
