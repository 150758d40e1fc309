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


PRECISION = "A precision matrix is symmetric and positive definite."


def matrix_of(table: Table, responses: tuple[str, ...], named: bool, faults: Faults, kind: str) -> np.ndarray:
    """p×p, in the order of the responses, symmetric, or DataError.

    kind: a `precision`, which is positive definite, or `weights`, 0 or more, inf among them.
    """
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
    weights = kind == "weights"
    rule = ("negative entry", lambda v: ~(v >= 0), "Weights are 0 or more.")
    finite = ("infinite entry", lambda v: ~np.isfinite(v), FINITE_RULE)
    values = checked_numbers(table, NUMBERS_RULE, rule if weights else finite, faults=faults)
    if len(faults.found) > before:
        raise faults.found[-1]
    rows = [table.samples.index(x) for x in responses]
    columns = [table.columns.index(x) for x in responses]
    Omega = values[np.ix_(rows, columns)]
    gap = np.where(Omega == Omega.T, 0.0, np.abs(Omega - np.where(np.isinf(Omega), -1.0, Omega).T))
    if gap.max() > 1e-8 * np.abs(Omega[np.isfinite(Omega)]).max(initial=0.0):  # what is lost by writing nine digits
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise DataError(
            f"{table.name} is not symmetric: ({responses[i]}, {responses[j]}) is {Omega[i, j]:.9g} and "
            f"({responses[j]}, {responses[i]}) is {Omega[j, i]:.9g}. "
            + ("Weights of pairs are symmetric." if weights else PRECISION)
        )
    Omega = (Omega + Omega.T) / 2
    if weights:
        return Omega
    scale = np.sqrt(np.abs(np.diag(Omega)).clip(min=1e-300))
    lowest = float(np.linalg.eigvalsh(Omega / np.outer(scale, scale))[0])
    if lowest <= 1e-13 * p:
        raise DataError(
            f"{table.name} is not positive definite (smallest eigenvalue {lowest:.3g} at unit diagonal). "
            f"A precision matrix is the inverse of a covariance matrix; add a little to its diagonal."
        )
    return Omega
