"""Numbers out of a table, and what is said of cells that hold none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plncli.errors import FIRST, DataError, Faults, counted
from plncli.tables.qiime import CATEGORICAL
from plncli.tables.sparse import CSR, Sparse
from plncli.tables.table import Table
from plncli.tables.text import GROUPED, NUMBER

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def numbers(table: Table, rule: str, faults: Faults = FIRST) -> tuple[np.ndarray, np.ndarray | None]:
    """Cells as n×p float64 (0 where missing), and the n×p mask of missing ones or None.

    DataError, ended by `rule`, names cells that hold text; where faults are kept, these cells are missing.
    """
    import numpy as np
    import pyarrow as pa

    if isinstance(table.cells, Sparse):
        values = table.cells.values.toarray()
        missing = missing_cells(table)
        return values if missing is None else np.where(missing, 0.0, values), missing
    table = faults.attempt(lambda: _refuse_text(table, rule), None) or _without_text(table)
    missing = missing_cells(table)
    values = np.empty((len(table.samples), len(table.columns)))
    for j, column in enumerate(table.cells.columns):
        text = pa.types.is_string(column.type)
        filled = column.fill_null(pa.scalar("0" if text else 0, column.type)) if column.null_count else column
        values[:, j] = filled if text else _floats(filled)
    return values, missing


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64 of a column of numbers without missing ones."""
    import numpy as np
    import pyarrow as pa

    chunks = [chunk for chunk in column.cast(pa.float64(), safe=False).chunks if len(chunk)]
    return np.concatenate([np.frombuffer(c.buffers()[1], count=c.offset + len(c))[c.offset :] for c in chunks])


def missing_cells(table: Table) -> np.ndarray | None:
    """n×columns mask of missing entries; None when there are none."""
    import numpy as np

    if isinstance(table.cells, Sparse):
        values = table.cells.values
        return np.isnan(values.toarray()) if np.isnan(values.data).any() else None
    columns = table.cells.columns
    if not any(column.null_count for column in columns):
        return None
    return np.column_stack([column.is_null().to_numpy() for column in columns])


def with_missing(table: Table, words: Sequence[str]) -> Table:
    """The table with the entries missing that are one of the words; one that is a number, however it is written.

    Columns of texts become numbers where all that is left of them are, unless they are declared categorical.
    """
    import numpy as np
    import pyarrow as pa

    if not words:
        return table
    values = [float(word) for word in words if re.fullmatch(NUMBER, word, re.ASCII)]
    if isinstance(table.cells, Sparse):
        if 0.0 in values:
            raise DataError(f"{table.name} holds only what is not 0, so --na-values 0 cannot be told from the rest.")
        cells = table.cells.values.astype(np.float64) if values else table.cells.values
        cells.data = np.where(np.isin(cells.data, values), np.nan, cells.data)
        return replace(table, cells=Sparse(cells))
    columns = [_without_words(column, words, values) for column in table.cells.columns]
    labels = [table.types.get(label) == CATEGORICAL for label in table.columns]
    return replace(table, cells=with_numbers(pa.table(columns, names=list(map(str, range(len(columns))))), labels))


def _without_words(column: pa.ChunkedArray, words: Sequence[str], values: Sequence[float]) -> pa.ChunkedArray:
    """A column without the entries that are one of the words or values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        return column
    text = pa.types.is_string(column.type)
    known = pa.array(words if text else values, pa.string() if text else pa.float64())
    gone = pc.is_in(column if text else column.cast(pa.float64(), safe=False), known)
    return pc.if_else(gone, pa.scalar(None, column.type), column) if pc.any(gone).as_py() else column


def with_numbers(cells: pa.Table, texts: Sequence[bool] = ()) -> pa.Table:
    """Cells whose columns of texts are numbers where all of their texts are, but for those that stay `texts`."""
    for j, column in enumerate(cells.columns):
        if not (texts and texts[j]) and (numbers := numeric(column)) is not column:
            cells = cells.set_column(j, str(j), numbers)
    return cells


def numeric(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as numbers where it holds texts that all are numbers; else the column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bad = _textual(column) if pa.types.is_string(column.type) else None
    if bad is None or column.null_count == len(column) or pc.any(bad).as_py():
        return column
    whole = pc.all(pc.match_substring_regex(column, r"^[+-]?\d{1,18}$")).as_py()
    plain = pc.replace_substring_regex(column, r"^\+", "")  # which arrow does not read
    return plain.cast(pa.int64() if whole else pa.float64())


def _refuse_text(table: Table, rule: str) -> Table:
    """The table; DataError naming the cells that are not numbers."""
    import pyarrow.compute as pc

    shown: list[str] = []
    total = 0
    for j, column in enumerate(table.cells.columns):
        bad = _textual(column)
        if bad is None:
            continue
        rows = pc.indices_nonzero(bad).to_pylist()
        total += len(rows)
        shown += [f"{table.place(i, j)} (`{column[i].as_py()}`)" for i in rows[: max(0, 3 - len(shown))]]
    if total:
        grouped = any(re.search(rf"\(`{GROUPED}`\)$", cell) for cell in shown)
        hint = " Write numbers without thousand separators: 1234, not 1,234." if grouped else ""
        rule = f"{rule}{hint} Leave an entry empty, or write NA, where it is missing."
        raise DataError(cells_message(table, total, "non-numeric entry", shown, rule))
    return table


def _without_text(table: Table) -> Table:
    """The table with its non-numeric cells missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in table.cells.columns:
        bad = _textual(column)
        if pa.types.is_boolean(column.type):
            column = pa.chunked_array([pa.nulls(len(column), pa.float64())])
        elif bad is not None:
            column = pc.if_else(bad, pa.scalar(None, column.type), column)
        columns.append(column)
    return replace(table, cells=pa.Table.from_arrays(columns, names=[str(j) for j in range(len(columns))]))


def _textual(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """(n,) which entries of a column are not numbers, none of them missing; None for a column of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        return pc.is_valid(column)
    if pa.types.is_string(column.type):
        return pc.fill_null(pc.invert(pc.match_substring_regex(column, f"^{NUMBER}$")), False)
    return None


def refuse(table: Table, bad: np.ndarray | None, noun: str, rule: str, values: np.ndarray | None = None) -> None:
    """DataError naming the first cells where the n×p mask `bad` holds and counting them; silent when there are none."""
    import numpy as np

    if bad is None or not bad.any():
        return
    rows, columns = np.nonzero(bad)
    shown = [
        table.place(i, j) + ("" if values is None else f" ({values[i, j]:.15g})")
        for i, j in zip(rows[:3].tolist(), columns[:3].tolist(), strict=True)
    ]
    raise DataError(cells_message(table, len(rows), noun, shown, rule))


def refuse_where(table: Table, Y: np.ndarray | CSR, bad: Callable[[Any], Any], noun: str, rule: str) -> None:
    """The same where `bad` holds of the cells of Y (n×p, an array, or sparse, none of whose zeros is bad)."""
    import numpy as np

    if isinstance(Y, np.ndarray):
        refuse(table, bad(Y), noun, rule, Y)
        return
    found = np.flatnonzero(bad(Y.data))
    if len(found):
        rows = np.searchsorted(Y.indptr, found[:3], side="right") - 1
        shown = [
            f"{table.place(i, j)} ({value:.15g})"
            for i, j, value in zip(
                rows.tolist(), Y.indices[found[:3]].tolist(), Y.data[found[:3]].tolist(), strict=True
            )
        ]
        raise DataError(cells_message(table, len(found), noun, shown, rule))


def cells_message(table: Table, total: int, noun: str, shown: Sequence[str], rule: str) -> str:
    """What is wrong, the first cells, and the rule: `counts.csv: 3 negative counts, first: ...`."""
    return f"{table.name}: {counted(total, noun)}{', first' if total > 1 else ''}: {'; '.join(shown)}. {rule}"
