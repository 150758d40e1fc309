"""Which way round a table of counts is: features or samples in rows, told by names, header and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from plncli.errors import FIRST, DataError, Faults, counted, some
from plncli.inputs.layout.apart import descriptions_apart, texts_of, without_counters, wordy
from plncli.inputs.layout.conventions import (
    LINEAGES,
    PLACES,
    RANKS,
    counters,
    descriptions,
    named_as_features,
    plain,
    says_features,
    says_samples,
)
from plncli.tables.numbers import numbers
from plncli.tables.sparse import Sparse, csr
from plncli.tables.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

OF_SAMPLES = ("covariates", "response", "exposure", "offsets", "weights", "cluster", "samples")
OF_FEATURES = ("features", "offset-blocks")
"""Tables, by option, whose rows are the samples, or the features, of a table of counts."""


class Clue(NamedTuple):
    """What speaks for features in rows (`turn`), or against it, as a clause."""

    turn: bool
    why: str


def counts_of(
    table: Table,
    others: Mapping[str, Table],
    choice: bool | None,
    *,
    named: bool,
    known: Collection[str] = (),
    faults: Faults = FIRST,
) -> Table:
    """A table of counts as samples × features (see `samples_by_features`), without counters and totals.

    known: features that a fit has, which stay.
    """
    made = samples_by_features(table, others, choice, "", named=named, known=known, faults=faults)
    return without_counters(made, known)


def samples_by_features(
    table: Table,
    others: Mapping[str, Table],
    choice: bool | None,
    rule: str,
    *,
    named: bool,
    known: Collection[str] = (),
    faults: Faults = FIRST,
) -> Table:
    """A table with samples in rows: turned where it has features there, and without what describes them, its facts.

    others: the tables that go with it, by option; choice: whether to turn it, None to find out; rule: see `turned`;
    named: its rows have names; known: features that a fit has. The table tells what was done to it.
    """
    said, told = len(table.notes), _told_of(table, others, choice, named=named, known=known)
    samples = {name for option in OF_SAMPLES if option in others for name in others[option].samples}
    features = known or (others["features"].samples if "features" in others else None)
    table = descriptions_apart(replace(table, row="feature") if told.turn else table, samples, features, faults)
    if told.sentence is not None:
        note = told.sentence(counted(len(table.columns), "column"), counted(len(table.samples), "row"))
        table = replace(table, notes=(*table.notes[:said], note, *table.notes[said:]))
    if told.turn:
        table = turned(table, rule)
    return table


class Told(NamedTuple):
    """Whether a table is turned, and what is said of it, given its columns and rows in words."""

    turn: bool
    sentence: Callable[[str, str], str] | None = None


def _told_of(
    table: Table, others: Mapping[str, Table], choice: bool | None, *, named: bool, known: Collection[str]
) -> Told:
    """Which way round a table is, and why, where that was found out."""
    name = table.name
    if choice:
        return Told(True, lambda columns, rows: f"{name} was turned: its {columns} are samples, its {rows} features.")
    found = list(_clues(table, others, known)) if choice is None and named else []
    if not found:
        return Told(False)
    turn, why = found[0]
    against = next((clue.why for clue in found if clue.turn != turn), "")
    if isinstance(table.cells, Sparse) and turn:  # its file says which are its samples
        return Told(False, lambda *_: f"{name} may have features in rows, for {why}. If so, turn it with --transpose.")
    if against:
        read = "columns are read as samples, its rows as features" if turn else "rows are read as samples"
        other = "--no-transpose" if turn else "--transpose"
        return Told(turn, lambda *_: f"{name}: {why}, so its {read}, although {against}. {other} reads it otherwise.")
    if not turn:
        return Told(False)
    return Told(
        True,
        lambda columns, rows: (
            f"{name} has features in rows, for {why}: its {columns} are read as samples, its {rows} as features "
            "(--no-transpose reads it otherwise)."
        ),
    )


def _clues(table: Table, others: Mapping[str, Table], known: Collection[str]) -> Iterator[Clue]:
    """What says which way round the table is, what is surest first."""
    if known:
        yield from _common(table, known, "features of the fit", of_samples=False)
    for options, noun in ((OF_SAMPLES, "samples"), (OF_FEATURES, "features")):
        for option in (option for option in options if option in others):
            other = others[option]
            yield from _common(table, other.samples, f"{noun} of {other.name}", of_samples=noun == "samples")
    if not isinstance(table.cells, Sparse):
        texts = texts_of(table)
        told = descriptions(table.columns, lambda name: name in texts and wordy(texts[name]))
        taxa = [name for name in told if plain(name) in {*LINEAGES, *RANKS, *PLACES}]
        if taxa:
            one = len(taxa) == 1
            yield Clue(True, f"its {'column' if one else 'columns'} {_quoted(taxa)} describe{'s' * one} features")
    for turn, side, noun in ((True, table.samples, "row"), (False, table.columns, "column")):
        there = counters(side)
        sure = [name for these in there.values() for name in these if name.casefold() not in ("*", "unmapped")]
        if sure:
            yield Clue(turn, f"it has a {noun} `{sure[0]}`")
    if named_as_features(table.samples) != named_as_features(table.columns):
        turn = named_as_features(table.samples)
        names = table.samples if turn else table.columns
        yield Clue(turn, f"its {'rows' if turn else 'columns'} are called {some(names, 3)}")
    if says_features(table.corner) or says_samples(table.corner):
        yield Clue(says_features(table.corner), f"its first column is called `{table.corner}`")


def _common(table: Table, names: Collection[str], whose: str, *, of_samples: bool) -> Iterator[Clue]:
    """Which side of the table has more of its names among `names`, as a share."""
    wanted = set(names)
    rows, columns = ([name for name in side if name in wanted] for side in (table.samples, table.columns))
    by_row, by_column = len(rows) / max(len(table.samples), 1), len(columns) / max(len(table.columns), 1)
    if by_row == by_column:
        return
    side, found = ("rows", rows) if by_row > by_column else ("columns", columns)
    yield Clue((side == "columns") == of_samples, f"its {side} have the names of {whose} ({some(found, 3)})")


def _quoted(names: Collection[str]) -> str:
    return some((f"`{name}`" for name in names), 3)


def turned(table: Table, rule: str) -> Table:
    """Rows for columns. Cells of text are turned too or, with a rule, refused by a DataError that it ends."""
    import numpy as np
    import pyarrow as pa

    from plncli.tables.writing import number_column

    if isinstance(table.cells, Sparse):
        cells: pa.Table | Sparse = Sparse(csr(table.cells.values.T))
    else:
        try:
            values, missing = numbers(table, rule)
        except DataError:
            if rule:
                raise
            cells = _texts_turned(table.cells)
        else:
            if missing is not None:
                values = np.where(missing, np.nan, values)
            whole = all(pa.types.is_int64(column.type) for column in table.cells.columns)
            rows = values.astype(np.int64) if whole and missing is None else values
            cells = pa.Table.from_arrays([number_column(row) for row in rows], [str(i) for i in range(len(rows))])
    return replace(
        table,
        samples=table.columns,
        columns=table.samples,
        cells=cells,
        corner="feature" if says_samples(table.corner) else "sample" if says_features(table.corner) else "",
        about=None,
        turned=True,
        row="sample",
    )


def _texts_turned(cells: pa.Table) -> pa.Table:
    """Rows for columns, all of them texts: what is none of a number is refused where it is known what it is."""
    import pyarrow as pa

    columns = [column.cast(pa.string()).to_pylist() for column in cells.columns]
    rows = [pa.chunked_array([pa.array(row, pa.string())]) for row in zip(*columns, strict=True)]
    return pa.Table.from_arrays(rows, [str(i) for i in range(len(rows))])
