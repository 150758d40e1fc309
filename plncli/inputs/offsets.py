"""Offsets: of a table, on the log scale or as exposures, and whether they can be logarithms."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from plncli.errors import FIRST, DataError, Faults, counted, nearest, short, some
from plncli.inputs.alignment.spelling import told
from plncli.inputs.cells import FINITE_RULE, NUMBERS_RULE, checked_numbers
from plncli.inputs.matching import Tables
from plncli.numerics.size_factors import log_exposure, spread
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np

    from plncli.tables.sparse import CSR

MOST_OFFSET = 500.0  # beyond it, so does exp


def offset_of(
    tables: Tables, responses: tuple[str, ...], terms: np.ndarray | None, faults: Faults = FIRST
) -> tuple[np.ndarray, Tables]:
    """n×1 or n×p offset: the table's, plus that of the formula's terms (n,).

    Where faults are kept, a table whose features do not match adds nothing, but its cells are looked at.
    """
    import numpy as np

    O = np.zeros((len(tables.samples), 1)) if terms is None else terms[:, None]
    table = tables.get("offsets") or tables.get("exposure")
    if table is None:
        return O, tables
    matches = True
    if len(table.columns) > 1:
        found = faults.attempt(partial(match_features, table, responses, tables), None) if responses else None
        matches = found is not None
        table, tables = found or (table, tables)
    finite = ("infinite entry", lambda v: ~np.isfinite(v), FINITE_RULE)
    if table.option == "exposure":
        rule = "Exposures are on the natural scale and must be positive (--offsets takes logarithms)."
        positive = ("zero or negative exposure", lambda v: ~(v > 0), rule)
        values = checked_numbers(table, NUMBERS_RULE, positive, finite, faults=faults)
        values = log_exposure(torch.from_numpy(values)).numpy()
    else:
        values = checked_numbers(table, NUMBERS_RULE, finite, faults=faults)
    return O + values if matches else O, tables


def check_offsets(O: np.ndarray, tables: Tables) -> None:
    """DataError for offsets (n×1 or n×p) that can be no logarithms."""
    import numpy as np

    rows = np.flatnonzero((np.abs(O) > MOST_OFFSET).any(axis=1)).tolist()
    if rows:
        raise DataError(
            f"Offsets are logarithms, but go up to {np.abs(O).max():.3g} in {counted(len(rows), 'sample')} "
            f"({some(tables.samples[i] for i in rows)}). Give what is on the natural scale by --exposure, or as "
            "`offset(log(column))` in the formula."
        )


def match_features(table: Table, responses: tuple[str, ...], tables: Tables) -> tuple[Table, Tables]:
    """The table's columns in the order of the responses; DataError names those it lacks."""
    known = set(table.columns)
    absent = [name for name in responses if name not in known]
    wanted = set(responses)
    spare = [name for name in table.columns if name not in wanted]
    if absent:
        raise DataError(
            f"{table.name} lacks {len(absent)} of the {counted(len(responses), 'feature')}: {some(absent)}. "
            f"Give a column for each feature, or a single column for all."
            f"{told(absent, spare) or nearest(absent[0], table.columns)}"
        )
    if spare:
        tables = tables.noting(
            f"{counted(len(spare), 'column')} of {table.name} not used, being no features of the fit: {some(spare)}."
        )
    return table.select(responses), tables


def depth_note(Y: np.ndarray | CSR, tables: Tables) -> list[str]:
    """A sentence when depths vary more than 2-fold and nothing accounts for it."""
    depth = Y.sum(axis=1)
    fold, lowest, highest = spread(torch.from_numpy(depth))
    if fold <= 2:
        return []
    low, high = (short(tables.samples[i], 32) for i in (lowest, highest))
    return [
        f"Total counts vary {fold:.3g}-fold between samples ({depth[lowest]:.0f} in {low}, {depth[highest]:.0f} in "
        f"{high}) and no offset is given: depth counts as abundance. "
        "Give --exposure FILE, --offset-method total, or `offset(log(column))` in the formula."
    ]
