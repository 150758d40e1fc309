"""What a user must be told of a fit: coefficients without a finite estimate, and features without variance."""

from __future__ import annotations

from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import some
from plncli.models.findings import Finding
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.separation import Separated
from plncli.numerics.rows import grand_total


def findings(prepared: Prepared) -> tuple[Finding, ...]:
    """Separation, coefficients that are not estimable, and features on the boundary, where there are any."""
    return tuple(f for f in (_separated(prepared), _open(prepared), _without_variance(prepared)) if f is not None)


def _separated(prepared: Prepared) -> Finding | None:
    if prepared.separated is None or not bool(prepared.separated.cells.any()):
        return None
    cells, told = _infinite(prepared.data, prepared.separated, prepared.separated.cells.any(0))
    empty = int(grand_total(prepared.separated.cells))
    message = (
        f"{_count(len(told), 'feature')} without any count in a whole part of the design, such as all samples of a "
        f"group, so {_count(len(cells), 'coefficient')} without finite estimate or standard error: {some(told, 20)}. "
        f"The expected count is exactly 0 in these {empty} cells; nothing else is affected."
    )
    return Finding("separation", message, tuple(dict.fromkeys(feature for feature, _ in cells)), cells)


def _open(prepared: Prepared) -> Finding | None:
    """Coefficients that are not estimable from the observed cells, in features without separation."""
    if prepared.separated is None:
        return None
    cells, told = _infinite(prepared.data, prepared.separated, ~prepared.separated.cells.any(0))
    if not cells:
        return None
    message = (
        f"{_count(len(told), 'feature')} with too few observed counts to estimate "
        f"{_count(len(cells), 'coefficient')}, left empty: {some(told, 20)}."
    )
    return Finding("not-determined", message, tuple(dict.fromkeys(feature for feature, _ in cells)), cells)


def _infinite(data: Dataset, separated: Separated, among: Tensor) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """(feature, term) pairs without a finite coefficient among some features (p,), and a phrase for each feature."""
    limits = separated.limits
    value = {1.0: "inf", -1.0: "-inf"}
    cells: list[tuple[str, str]] = []
    told = []
    for j in ((limits != 0).any(0) & among).nonzero()[:, 0].tolist():
        terms = [k for k in range(data.d) if float(limits[k, j]) != 0]
        cells += [(data.responses[j], data.terms[k]) for k in terms]
        where = ", ".join(f"{data.terms[k]} {value.get(float(limits[k, j]), 'not estimable')}" for k in terms)
        told.append(f"{data.responses[j]} ({where})")
    return tuple(cells), told


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _without_variance(prepared: Prepared) -> Finding | None:
    if not len(prepared.poisson):
        return None
    names = tuple(prepared.data.responses[j] for j in prepared.poisson.tolist())
    message = (
        f"{_count(len(names), 'feature')} no more variable than Poisson given the covariates, so with a variance of "
        f"exactly 0 in Sigma and an empty row in Omega: {some(names, 12)}."
    )
    return Finding("no-extra-poisson-variance", message, names)
