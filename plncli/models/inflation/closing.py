"""The boundary pi = 0, solved exactly: entries whose probability of a structural zero is none, by an active set.

The logit of such an entry would fall for ever, and its slope with it. With the latent values held, what an entry costs
is convex in pi (minus logarithms of what is linear in it), so that one look tells where its minimum is: an entry is
closed where its pi is next to 0, on its way there, and 0 costs nothing; opened again where its minimum is not next to
0. Without a bound on lambda any zero gains something from the smallest pi: what is next to 0 expects less than NEXT
structural zeros in all its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.models.inflation.cells import ZeroCells
from plncli.models.inflation.entries import Inflation, Zeros
from plncli.numerics.rows import group_totals, total

NEXT = 1e-6
"""Structural zeros expected in the cells of an entry, below which its probability is next to 0."""
NOTHING = 1e-9
"""Nats for each unit of weight in the table that all closed entries together may cost."""
HIGHEST, HALVINGS = 30.0, 14
"""Logit above which no start lies, and halvings of the interval in which it is looked for."""


class Cells(NamedTuple):
    """Zeros of a table that may be structural, where they are, and the loss of each if it is none (k,)."""

    zeros: Zeros
    at: ZeroCells
    poisson: Tensor


def closing(inflation: Inflation, zeta: Tensor, tables: Sequence[Cells], wbar: float) -> Tensor:
    """Which open entries are 0 at their best, of entries' shape; those of a feature together, with covariates."""
    slope = inflation.base_slope(zeta) - sum(each.zeros.pooled(each.at.sums.structural) for each in tables)
    few = _grouped(inflation, inflation.weights * inflation.probabilities(zeta)) < NEXT
    free = NOTHING * wbar / few.numel()
    close = few & (_grouped(inflation, lost(inflation, zeta, tables)) <= free) & (_grouped(inflation, slope) > 0.0)
    return close & inflation.free


def lost(inflation: Inflation, zeta: Tensor, tables: Sequence[Cells]) -> Tensor:
    """What open entries would cost more if they were closed, of entries' shape."""
    gone = sum((each.zeros.pooled(each.poisson - each.at.loss) for each in tables), torch.zeros_like(inflation.weights))
    return gone - inflation.base_cost(zeta)


def opening(inflation: Inflation, tables: Sequence[Cells], halvings: int = HALVINGS) -> Tensor:
    """Logits at which closed entries cost least, of entries' shape, −inf where that is next to 0; nan where open.

    tables: the zeros of closed entries, at any logit.
    """
    weights = _grouped(inflation, torch.where(inflation.free, 0.0, inflation.weights))
    low = _next(weights)
    high = torch.full_like(low, HIGHEST)
    rises = _slope(inflation, low, weights, tables) < 0.0
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        left = _slope(inflation, middle, weights, tables) < 0.0
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    found = torch.where(rises & (weights > 0), 0.5 * (low + high), -torch.inf)
    return torch.where(inflation.free, torch.nan, _spread(inflation, found))


def _next(weights: Tensor) -> Tensor:
    """Logit of the probability that is next to 0."""
    return (NEXT / weights.clamp_min(2.0 * NEXT)).logit()


def _slope(inflation: Inflation, logit: Tensor, weights: Tensor, tables: Sequence[Cells]) -> Tensor:
    """Slope in a logit that all cells of a group share."""
    slope = weights * logit.sigmoid()
    entries = _spread(inflation, logit).reshape(-1)
    for each in tables:
        slope = slope - _grouped(inflation, each.zeros.pooled(each.at.structural_at(entries[each.zeros.place])))
    return slope


def _grouped(inflation: Inflation, A: Tensor) -> Tensor:
    """Sums over the entries that are closed, or looked at, together."""
    if inflation.design is not None:
        groups = inflation.design.groups
        return group_totals(A, groups, int(groups.max()) + 1)
    return A if inflation.X is None else total(A)[None]


def _spread(inflation: Inflation, grouped: Tensor) -> Tensor:
    """What entries that go together share, of entries' shape."""
    return grouped.expand(inflation.shape) if inflation.design is None else grouped[inflation.design.groups]
