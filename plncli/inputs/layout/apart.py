"""What tables of counts hold besides counts, taken apart and told: descriptions of features, counters, totals."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.errors import FIRST, DataError, Faults, counted, some
from plncli.inputs.layout.conventions import LINEAGES, RANKS, TOTALS, Convention, counters, descriptions, plain
from plncli.tables.numbers import numbers
from plncli.tables.sparse import Sparse
from plncli.tables.table import Drop, Table
from plncli.tables.text import GROUPED, NUMBER

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SURE = 14.0
"""Nats that speak against chance where a row or column is the sum of the others: one in a million."""
MANY = 3
"""Samples in which that must be seen, unless the name says that it is a total."""
BLOCK = 512  # columns that are added up at a time


# Descriptions of features


def texts_of(table: Table) -> dict[str, pa.ChunkedArray]:
    """The columns that hold texts, which may all be numbers, and those that are empty, by name."""
    import pyarrow as pa

    if isinstance(table.cells, Sparse):
        return {}
    columns = zip(table.columns, table.cells.columns, strict=True)
    return {name: one for name, one in columns if pa.types.is_string(one.type) or one.null_count == len(one)}


def wordy(column: pa.ChunkedArray) -> bool:
    """Whether a column of texts has no entry that begins as a number does."""
    import pyarrow.compute as pc

    if column.null_count == len(column):
        return True
    return not pc.any(pc.match_substring_regex(column, r"^[+-]?[\d.,]")).as_py()


def descriptions_apart(
    table: Table, samples: Collection[str], features: Collection[str] | None = None, faults: Faults = FIRST
) -> Table:
    """Without what describes features, columns where these are rows and rows where they are columns: it is their facts.

    samples: names that are of samples whatever they look like; features: those that will be used, None for all.
    DataError names other columns of counts that hold texts.
    """
    if isinstance(table.cells, Sparse):
        return table
    if table.row == "sample":
        table = _rows_apart(table, samples)
    else:
        names = [name for name in table.columns if name not in samples]
        texts = texts_of(table)
        known = descriptions(names, lambda name: name in texts and wordy(texts[name]))
        others = [name for name in names if name in texts and name not in known and _words_alone(texts[name])]
        if others and _of_counts(table):
            known |= dict.fromkeys(others, Convention(frozenset(), "in words"))
        if len(known) == len(table.columns):
            raise DataError(f"All columns of {table.name} describe features: {some(known)}. It has no samples.")
        facts = {
            name: _facts(table.samples, table.cells.column(table.columns.index(name)).to_pylist())
            for name, convention in known.items()
            if convention.fact
        }
        table = _told(table, known, facts, "column").select([name for name in table.columns if name not in known])
    used = None if table.row == "feature" else features
    texts = {name: column for name, column in texts_of(table).items() if used is None or name in used}
    bad = [name for name, column in texts.items() if _of_counts(table) and _mostly_text(column)]
    if bad and faults.refused(partial(_refuse_texts, table, bad)):
        left = [name for name in table.columns if name not in {*bad}]
        if not left:
            raise faults.found[-1]
        table = table.select(left)
    return table


def _rows_apart(table: Table, samples: Collection[str]) -> Table:
    """Without rows that describe features; what they held is text in each column."""
    import numpy as np

    names = [name for name in table.samples if name not in samples]
    cells: dict[str, list[Any]] = {}

    def texts(name: str) -> bool:
        at = table.samples.index(name)
        cells[name] = [column[at].as_py() for column in table.cells.columns]
        return not any(word is not None and str(word)[:1].isdigit() for word in cells[name])

    known = {name: one for name, one in descriptions(names, texts).items() if one.text}
    if not known or len(known) == len(table.samples):
        return table
    facts = {name: _facts(table.columns, cells[name]) for name in known}
    rows = np.array([i for i, name in enumerate(table.samples) if name not in known])
    return _told(table, known, facts, "row").take(rows)


def _facts(features: Sequence[str], values: Sequence[Any]) -> dict[str, str]:
    """What is said of each feature that anything is said of."""
    return {feature: str(value) for feature, value in zip(features, values, strict=True) if value is not None}


def _told(table: Table, known: Mapping[str, Convention], facts: Mapping[str, Mapping[str, str]], kind: str) -> Table:
    """With the facts, and a sentence for each convention."""
    for convention in dict.fromkeys(known.values()):
        names = tuple(name for name, one in known.items() if one is convention)
        quoted, one = some((f"`{name}`" for name in names), 8), len(names) == 1
        which = f"{kind} {quoted} of {table.name} describes" if one else f"{kind}s {quoted} of {table.name} describe"
        reason = f"The {which} features ({convention.what}): left out of the counts."
        table = table.telling(Drop(kind, names, reason))
    return replace(table, facts={**table.facts, **facts})


def _of_counts(table: Table) -> bool:
    return table.option in ("counts", "given")


def _words_alone(column: pa.ChunkedArray) -> bool:
    """Whether a column holds words, and no number."""
    return column.null_count < len(column) and wordy(column)


def _mostly_text(column: pa.ChunkedArray) -> bool:
    """Whether more than half of a column of texts is neither a number, nor one with thousands set apart."""
    words = column.drop_null().slice(0, 1000).to_pylist()
    texts = sum(not re.fullmatch(rf"{NUMBER}|{GROUPED}", word) for word in words)
    return len(words) >= MANY and 2 * texts > len(words)


def _refuse_texts(table: Table, texts: Sequence[str]) -> None:
    """DataError for columns of text in a table of counts."""
    import pyarrow.compute as pc

    shown = []
    for name in texts[:3]:
        column = pc.drop_null(table.cells.column(table.columns.index(name)))
        shown.append(f"`{name}` (`{column[0].as_py()}`)")
    if len(texts) > 3:
        shown.append(f"{len(texts) - 3} more")
    remedy = "Give what describes samples by --covariates, and take them out of here."
    if any(plain(name) in {*LINEAGES, *RANKS} for name in texts):
        remedy = "They describe features: if these are in rows, leave out --no-transpose; else take the columns out."
    if table.row == "feature":
        remedy = "A sample holds whole numbers: correct these columns, or take them out."
    hold = "holds" if len(texts) == 1 else "hold"
    raise DataError(f"{counted(len(texts), 'column')} of {table.name} {hold} text: {', '.join(shown)}. {remedy}")


# Counters and totals, of samples × features


def without_counters(table: Table, known: Collection[str] = ()) -> Table:
    """Samples × features without counters, and without a row or column that is the sum of the others.

    known: features that a fit has, which stay.
    """
    table = _without_totals(table, known)
    there = counters(table.columns, known)
    gone = {name for names in there.values() for name in names}
    if not gone:
        return table
    if len(gone) == len(table.columns):
        raise DataError(f"{table.name} has no counts of features: all are counters of reads ({some(gone)}).")
    for what, names in there.items():
        quoted = some((f"`{name}`" for name in names), 8)
        noun, kept = ("column", "is") if len(names) == 1 else ("columns", "are")
        if table.turned:
            noun = noun.replace("column", "row")
        one = len(names) == 1
        reason = f"The {noun} {quoted} of {table.name} {kept} no feature{'' if one else 's'} ({what}): left out."
        table = table.telling(Drop("feature", names, reason))
    return _without_totals(table.select([name for name in table.columns if name not in gone]), known)


class Sums(NamedTuple):
    """Sums and numbers of cells that are not 0, of rows (n,) and columns (p,)."""

    rows: np.ndarray
    columns: np.ndarray
    row_cells: np.ndarray
    column_cells: np.ndarray


def _without_totals(table: Table, known: Collection[str]) -> Table:
    """Without a feature that is in every sample the sum of the others, and a sample that is so of every feature."""
    import numpy as np

    sums = _sums(table)
    for kind in ("feature", "sample"):
        if sums is None:
            return table
        at = _total(table, sums, kind)
        names = table.columns if kind == "feature" else table.samples
        if at is None or (kind == "feature" and names[at] in known):
            continue
        every = "sample" if kind == "feature" else "feature"
        reason = (
            f"The {kind} `{names[at]}` of {table.name} is the sum of the others in every {every}: it is a total, and "
            "left out."
        )
        table = table.telling(Drop(kind, (names[at],), reason))
        if kind == "feature":
            table = table.select([name for j, name in enumerate(names) if j != at])
        else:
            table = table.take(np.array([i for i in range(len(names)) if i != at]))
        sums = _sums(table)
    return table


def _sums(table: Table) -> Sums | None:
    """Those of a table of numbers; None where it holds anything else, or a negative number."""
    import numpy as np
    import pyarrow as pa

    p = len(table.columns)
    if isinstance(table.cells, Sparse):
        Y = table.cells.values
        if not np.isfinite(Y.data).all() or (Y.data < 0).any():
            return None
        return Sums(Y.sum(axis=1), Y.sum(axis=0), np.diff(Y.indptr), np.bincount(Y.indices, minlength=p))
    types = {column.type for column in table.cells.columns}
    if not all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types):
        return None
    found = [_sums_of(table.cells.select(range(j, min(j + BLOCK, p)))) for j in range(0, p, BLOCK)]
    if None in found:
        return None
    rows, columns, row_cells, column_cells = zip(*filter(None, found), strict=True)
    return Sums(np.sum(rows, 0), np.concatenate(columns), np.sum(row_cells, 0), np.concatenate(column_cells))


def _sums_of(cells: pa.Table) -> Sums | None:
    """Those of some columns of numbers."""
    import numpy as np

    parts = []
    for batch in cells.combine_chunks().to_batches():
        values = batch.to_tensor(null_to_nan=True).to_numpy()
        values = np.where(np.isnan(values), 0.0, values)
        if not np.isfinite(values).all() or (values < 0).any():
            return None
        some_there = values > 0
        parts.append(Sums(values.sum(1), values.sum(0), some_there.sum(1), some_there.sum(0)))
    rows, columns, row_cells, column_cells = zip(*parts, strict=True)
    return Sums(np.concatenate(rows), np.sum(columns, 0), np.concatenate(row_cells), np.sum(column_cells, 0))


def _total(table: Table, sums: Sums, kind: str) -> int | None:
    """The feature, or sample, that is the sum of the others, where chance does not make it so.

    By chance a count of mean m hits a number with probability of at most 1/√(2πm) (Poisson); this counts where two of
    the others at least are not 0, for else it is but a copy.
    """
    import numpy as np

    own, other, cells = (
        (sums.columns, sums.rows, sums.row_cells) if kind == "feature" else (sums.rows, sums.columns, sums.column_cells)
    )
    names = table.columns if kind == "feature" else table.samples
    if len(names) < 3:
        return None
    for at in np.flatnonzero((2 * own == own.sum()) & (own > 0)).tolist():
        part = table.select([names[at]]) if kind == "feature" else table.take(np.array([at]))
        values = numbers(part, "")[0].ravel()
        telling = values[(values > 0) & (cells > 2)]
        enough = len(telling) >= MANY and float(0.5 * np.log(2 * math.pi * telling).sum()) > SURE
        if (2 * values == other).all() and (enough or (len(telling) and plain(names[at]) in TOTALS)):
            return at
    return None
