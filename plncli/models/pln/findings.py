"""What a user must be told of a fit: expected counts beyond sense, infinite coefficients, features without variance."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from plncli import ranks
from plncli.dataset import Dataset
from plncli.errors import some
from plncli.models.findings import IN_FULL, Finding
from plncli.models.inflation.findings import of_zeros
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.separation import Separated, counted_rows
from plncli.numerics.rows import most, total, weigh
from plncli.sparse import block_of

WIDTH = 60
"""Signs of the names in a sentence."""
LARGEST = 700.0
"""Logarithm of the largest number that float64 holds, nearly."""


class Counted(Protocol):
    """Counts that were prepared for a fit."""

    @property
    def data(self) -> Dataset:
        """What is fitted."""
        ...

    @property
    def counted(self) -> Tensor | None:
        """1 where a cell counts, n×p; None: in all, or counts are sparse."""
        ...

    @property
    def separated(self) -> Separated | None:
        """What has no finite estimate."""
        ...


def findings(prepared: Prepared, B: Tensor, variance: Tensor | None) -> tuple[Finding, ...]:
    """Those of all counts with a latent layer (`of_counts`), features on the boundary, and structural zeros."""
    boundary = _without_variance(prepared)
    found = of_counts(prepared, B, variance) + (() if boundary is None else (boundary,))
    if prepared.inflation is None:
        return found
    data = prepared.data
    return found + of_zeros(prepared.inflation, data.samples, data.responses, prepared.nodes)


def of_counts(prepared: Counted, B: Tensor, variance: Tensor | None) -> tuple[Finding, ...]:
    """Expected counts beyond sense, separation, and coefficients not estimable.

    B (d×p, finite) and variance, the diagonal of Sigma (p,): the estimates; None where there are none yet.
    """
    beyond = None if variance is None else _beyond_sense(prepared, B, variance)
    return tuple(f for f in (beyond, _separated(prepared), _open(prepared)) if f is not None)


def _beyond_sense(prepared: Counted, B: Tensor, variance: Tensor) -> Finding | None:
    """Features whose marginal expected count, exp(O + XB + variance/2), averages more than the largest count seen.

    No average of numbers exceeds the largest of them, so such an expectation describes no count that was seen. If log y
    has a standard deviation of s, half of the expectation comes from values s standard deviations above the median or
    more: with a variance of 30, from one sample in 50 million.
    """
    data = prepared.data
    sums, largest = [], []
    with ranks.alone():
        for rows in data.blocks():
            K, w = counted_rows(data, prepared.counted, prepared.separated, rows), data.w[rows]
            Y = block_of(data.Y, rows)
            expected = (data.O[rows] + data.X[rows] @ B + 0.5 * variance).clamp(max=LARGEST).exp()
            expected, weight = (expected, w[:, None]) if K is None else (expected * K, w[:, None] * K)
            sums.append(torch.stack([total(weigh(w, expected)), total(weight).expand(data.p)]))
            largest.append(most(Y if K is None else Y * K))
    seen = most(torch.stack(largest))
    expected, weight = total(torch.stack(sums))
    average = expected / weight
    beyond = (average > seen) & (variance > 0)
    if not bool(beyond.any()):
        return None
    order = (average / seen).masked_fill(~beyond, 0.0).argsort(descending=True, stable=True)
    names = tuple(data.responses[j] for j in order[: int(beyond.sum())].tolist())
    message = (
        f"Marginal expected counts of {_count(len(names), 'feature')} are beyond sense (averages up to "
        f"{float(average[beyond].max()):.0e}, above all counts seen): {_list(names)}."
    )
    remedy = "Use medians or fitted counts, model presence (`fit logistic`), or drop rare features."
    return Finding("expected-counts", message, names, remedy=remedy)


def _separated(prepared: Counted) -> Finding | None:
    if prepared.separated is None or not bool(prepared.separated.features.any()):
        return None
    cells = _infinite(prepared.data, prepared.separated, prepared.separated.features)
    names = _of(cells)
    verb = "is" if len(names) == 1 else "are"
    message = (
        f"{_count(len(names), 'feature')} {verb} never seen in some group: {_count(len(cells), 'coefficient')} of "
        f"theirs without a finite value (±inf), all else is unaffected: {_list(names)}."
    )
    return Finding("separation", message, names, cells, note=True)


def _open(prepared: Counted) -> Finding | None:
    """Coefficients that are not estimable from the observed cells, in features without separation."""
    if prepared.separated is None:
        return None
    cells = _infinite(prepared.data, prepared.separated, ~prepared.separated.features)
    if not cells:
        return None
    names = _of(cells)
    message = (
        f"{_count(len(names), 'feature')} with too few observed counts to estimate "
        f"{_count(len(cells), 'coefficient')}, left empty: {_list(names)}."
    )
    return Finding("not-determined", message, names, cells, note=True)


def _infinite(data: Dataset, separated: Separated, among: Tensor) -> tuple[tuple[str, str], ...]:
    """(feature, term) pairs without a finite coefficient among some features (p,)."""
    pairs = ((separated.limits != 0) & among).mT.nonzero().tolist()
    return tuple((data.responses[j], data.terms[k]) for j, k in pairs)


def _of(cells: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(feature for feature, _ in cells))


def _list(names: tuple[str, ...]) -> str:
    return some(names, where=IN_FULL, width=WIDTH)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _without_variance(prepared: Prepared) -> Finding | None:
    if not len(prepared.poisson):
        return None
    names = tuple(prepared.data.responses[j] for j in prepared.poisson.tolist())
    vary = "varies" if len(names) == 1 else "vary"
    message = (
        f"{_count(len(names), 'feature')} {vary} no more than Poisson given the covariates: variance 0 in Sigma, no "
        f"correlations: {_list(names)}."
    )
    return Finding("no-extra-poisson-variance", message, names, note=True)
