"""Matrices of responses by responses that a model is given, such as a precision."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from plncli.errors import DataError, Faults, some
from plncli.inputs.cells import FINITE_RULE, NUMBERS_RULE, checked_numbers
from plncli.tables.numbers import missing_cells, refuse
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np


def matrix_of(table: Table, responses: tuple[str, ...], named: bool, faults: Faults) -> np.ndarray:
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
