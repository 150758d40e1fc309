"""What goes with the table that is explained: offsets, weights, clusters, and a precision matrix."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plncli.errors import FIRST, DataError, Faults, counted, nearest, some
from plncli.inputs.cells import FINITE_RULE, HUGE, NUMBERS_RULE, checked_numbers
from plncli.inputs.matching import Tables
from plncli.inputs.responses import label
from plncli.numerics.size_factors import log_exposure
from plncli.tables.reading import Table, missing_cells, refuse

if TYPE_CHECKING:
    import numpy as np

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
    if absent:
        raise DataError(
            f"{table.name} lacks {len(absent)} of the {counted(len(responses), 'feature')}: {some(absent)}. "
            f"Give a column for each feature, or a single column for all.{nearest(absent[0], table.columns)}"
        )
    wanted = set(responses)
    spare = [name for name in table.columns if name not in wanted]
    if spare:
        tables = tables.noting(
            f"{counted(len(spare), 'column')} of {table.name} not used, being no features of the fit: {some(spare)}."
        )
    return table.select(responses), tables


def weights_of(table: Table, faults: Faults = FIRST) -> np.ndarray:
    """(n,) finite weights of 0 or more."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; weights are one: "
            f"{some(table.columns)}."
        )
    rule = f"Weights must be numbers from 0 to {HUGE:g}."
    check = ("unusable weight", lambda v: ~((v >= 0) & (v <= HUGE)), rule)
    return checked_numbers(table, NUMBERS_RULE, check, faults=faults)[:, 0]


def clusters_of(table: Table) -> Tensor:
    """(n,) codes 0, 1, ... of the clusters, in the order in which they come; texts or numbers name them."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; the clusters are one: "
            f"{some(table.columns)}."
        )
    encoded = table.cells.column(0).combine_chunks().dictionary_encode()
    if len(encoded.dictionary) == 1:
        raise DataError(
            f"All {len(table.samples)} samples are in one cluster (`{label(encoded.dictionary[0].as_py())}` of "
            f"{table.name}), which leaves nothing to compare. Give a column with a cluster for each sample."
        )
    return torch.from_numpy(encoded.indices.to_numpy().astype("int64"))


def precision_of(table: Table, responses: tuple[str, ...], named: bool, faults: Faults) -> np.ndarray:
    """p×p precision in the order of the responses; symmetric and positive definite, or DataError."""
    import numpy as np

    p = len(responses)
    if not named:
        table = replace(table, samples=table.columns)
    for what, names in (("rows", table.samples), ("columns", table.columns)):
        absent, spare = [x for x in responses if x not in set(names)], [x for x in names if x not in set(responses)]
        if absent or spare:
            told = [f"lacks {some(absent)}"] * bool(absent) + [f"has {some(spare)} besides"] * bool(spare)
            raise DataError(
                f"The {what} of {table.name} must be the {p} features that are fitted, but it {' and '.join(told)}."
            )
    before = len(faults.found)
    faults.attempt(partial(refuse, table, missing_cells(table), "missing entry", "Fill it in."), None)
    values = checked_numbers(
        table, NUMBERS_RULE, ("infinite entry", lambda v: ~np.isfinite(v), FINITE_RULE), faults=faults
    )
    if len(faults.found) > before:
        raise faults.found[-1]
    rows = [table.samples.index(x) for x in responses]
    columns = [table.columns.index(x) for x in responses]
    Omega = values[np.ix_(rows, columns)]
    gap = np.abs(Omega - Omega.T)
    if gap.max() > 1e-8 * np.abs(Omega).max():  # what is lost by writing nine digits
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise DataError(
            f"{table.name} is not symmetric: ({responses[i]}, {responses[j]}) is {Omega[i, j]:.9g} and "
            f"({responses[j]}, {responses[i]}) is {Omega[j, i]:.9g}. A precision matrix is symmetric and "
            "positive definite."
        )
    Omega = (Omega + Omega.T) / 2
    scale = np.sqrt(np.abs(np.diag(Omega)).clip(min=1e-300))
    lowest = float(np.linalg.eigvalsh(Omega / np.outer(scale, scale))[0])
    if lowest <= 1e-13 * p:
        raise DataError(
            f"{table.name} is not positive definite (smallest eigenvalue {lowest:.3g} at unit diagonal). "
            f"A precision matrix is the inverse of a covariance matrix; add a little to its diagonal."
        )
    return Omega
