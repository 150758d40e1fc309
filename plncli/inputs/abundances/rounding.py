"""Counts that are not whole: estimates, which may be rounded, and what was counts once, which may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from plncli.errors import DataError, counted
from plncli.tables.numbers import with_numbers
from plncli.tables.sparse import CSR, Sparse
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np

RAW = "Use the raw counts."
EVEN = 1e-3
"""Share by which totals of samples may differ that are the same but for what writing them has cost."""
CLOSE = 1e-3
"""Distance from a whole number that the digits of a table may cost."""
ESTIMATED = 30.0
"""Count from which a table with fractions is taken for one of estimates: logarithms of counts are smaller."""
LEAST = 0.05  # of what a count of 1 may have become: numbers of two decimals are multiples of less
ENOUGH = 200  # samples whose values are looked at one by one


def rounded(table: Table) -> Table:
    """The table with its fractional counts of 0 or more rounded to whole numbers, halves to even ones, and a note.

    DataError for numbers that are normalised: rounding makes no counts of them.
    """
    import numpy as np
    import pyarrow as pa

    if not isinstance(table.cells, Sparse):
        table = replace(table, cells=with_numbers(table.cells))
    values = table.cells.values if isinstance(table.cells, Sparse) else _values(table)
    entries = values if isinstance(values, np.ndarray) else values.data
    with np.errstate(invalid="ignore"):
        fractional = (entries > 0) & np.isfinite(entries) & (entries % 1 != 0)
    if not fractional.any():
        return replace(table, notes=(*table.notes, f"--round changes nothing: the counts of {table.name} are whole."))
    if what := normalised(values):
        raise DataError(f"{table.name} cannot be rounded to counts: {what} {RAW}")
    new = np.where(fractional, np.rint(entries), entries)
    change = np.abs(np.where(fractional, new, 0.0) - np.where(fractional, entries, 0.0))
    at = np.unravel_index(int(change.argmax()), change.shape)
    if isinstance(table.cells, Sparse):
        matrix = table.cells.values.copy()
        place = table.place(int(np.searchsorted(matrix.indptr, at[0], side="right")) - 1, int(matrix.indices[at[0]]))
        matrix.data = new
        matrix.eliminate_zeros()
        cells: pa.Table | Sparse = Sparse(matrix)
    else:
        place = table.place(int(at[0]), int(at[1]))
        columns = [
            pa.chunked_array([pa.array(new[:, j], mask=np.isnan(new[:, j]))]) if fractional[:, j].any() else column
            for j, column in enumerate(table.cells.columns)
        ]
        cells = pa.Table.from_arrays(columns, names=[str(j) for j in range(len(columns))])
    note = (
        f"{counted(int(fractional.sum()), 'count')} of {table.name} rounded to whole numbers, halves to even ones; the "
        f"largest change is {change[at]:.3g} ({place}: {entries[at]:.6g} to {new[at]:.0f})."
    )
    return replace(table, cells=cells, notes=(*table.notes, note))


def fractional_rule(Y: np.ndarray | CSR) -> str:
    """What to do about counts (n×p, 0 where missing) some of which are not whole; "" where nothing shows."""
    if what := normalised(Y):
        return f"{what[0].upper()}{what[1:]} {RAW}"
    positive = _positive(Y)
    if positive.max() >= ESTIMATED or (positive % 1 != 0).mean() < 0.9:
        return "If they are estimates (salmon, kallisto, RSEM, SoupX), use --round; else give the raw counts."
    return ""


def normalised(Y: np.ndarray | CSR) -> str:
    """What shows that these are no counts (n×p, nan or 0 where missing), but made of them; "" where nothing does."""
    import numpy as np

    positive = _positive(Y)
    if not len(positive) or not np.isfinite(positive).all():
        return ""
    if positive.max() <= 1.0:
        return "no value exceeds 1, as in proportions."
    totals = np.nansum(Y, axis=1) if isinstance(Y, np.ndarray) else Y.sum(axis=1)
    totals = totals[totals > 0]
    if len(totals) > 1 and np.ptp(totals) <= EVEN * totals.mean():
        return f"each sample sums to {totals.mean():.6g}, so they are normalised (proportions, TPM or CPM)."
    for base, name in ((np.e, "natural"), (2.0, "binary"), (10.0, "decimal")):
        # larger ones are whole powers anyway, to the digits of a table
        if positive.max() * np.log(base) < 18.0 and _whole(base**positive - 1.0, 1e-4):
            return f"they are {name} logarithms of counts plus 1."
    found = [_scaled(row) for row in _rows(Y)]
    if found.count(True) > 9 * found.count(False):
        return "in each sample they are multiples of one number, so counts were divided by size factors."
    return ""


def _whole(values: np.ndarray, share: float) -> bool:
    """Whether all values are whole numbers, but for the digits that a table holds."""
    import numpy as np

    return bool((np.abs(values - np.rint(values)) <= share * np.maximum(1.0, values)).all())


def _scaled(row: np.ndarray) -> bool | None:
    """Whether positive numbers are multiples of one that no fractional counting makes (1, 1/2, ...); None: too few."""
    import numpy as np

    distinct = np.unique(row)
    if len(distinct) < 4:
        return None
    unit = distinct[0]
    for value in distinct[1:]:  # Euclid's algorithm, by the nearest multiples
        rest = value
        while rest > CLOSE:
            unit, rest = rest, abs(unit - np.rint(unit / rest) * rest)
        unit = value / np.rint(value / unit)  # which has lost fewer digits
        if unit < LEAST:
            return False
    return abs(1.0 / unit - np.rint(1.0 / unit)) > CLOSE


def _positive(Y: np.ndarray | CSR) -> np.ndarray:
    """The values above 0, in one row."""
    import numpy as np

    values = Y.ravel() if isinstance(Y, np.ndarray) else Y.data
    with np.errstate(invalid="ignore"):
        return values[values > 0]


def _rows(Y: np.ndarray | CSR) -> Iterator[np.ndarray]:
    """The positive values of each of the first samples."""
    for i in range(min(Y.shape[0], ENOUGH)):
        yield _positive(Y[[i]])


def _values(table: Table) -> np.ndarray:
    """Cells of a table that is not sparse as n×p float64, nan where missing or no number."""
    import numpy as np
    import pyarrow as pa

    assert not isinstance(table.cells, Sparse)
    values = np.full((len(table.samples), len(table.columns)), np.nan)
    for j, column in enumerate(table.cells.columns):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values[:, j] = column.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy()
    return values
