"""Probabilities of structural zeros that new samples have of their own: those that are best for their counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.closing import Cells, opening
from plncli.models.inflation.entries import Inflation, Zeros

ROUNDS, SETTLED = 100, 1e-9
"""Of q and the probability of a sample in turn; change of its logit at which they end."""
EXACT = 45
"""Halvings of the interval of a logit."""

Q = TypeVar("Q")


def with_own_logits(
    inflation: Inflation, start: Tensor, fitted: Callable[[Tensor], tuple[Q, list[Cells]]]
) -> tuple[Q, Tensor]:
    """q of samples, and logits (n×1), each where the other is best.

    inflation: of the counts, by sample; start: of the logits; fitted: q for given logits, and the zeros there.
    """
    closed, zeta = inflation.closed, start.expand(inflation.shape)
    for _ in range(ROUNDS):
        q, tables = fitted(zeta)
        before, zeta = zeta, opening(closed, tables, EXACT)
        if bool(((zeta - before).abs().nan_to_num(nan=0.0) <= SETTLED).all()):
            break
    return q, zeta


def cells_among(
    Y: Tensor, K: Tensor, eta: Tensor, sd: Tensor, inflation: Inflation, features: Tensor | None = None
) -> Cells:
    """Zeros of some features (indices; None: of all), where log rates have means eta and standard deviations sd (n×p).

    Y, K: counts, and 1 where they count, n×p.
    """
    features = torch.arange(Y.shape[1], device=Y.device) if features is None else features
    zeros = Zeros.among(Y[:, features], K[:, features], None, inflation, features)
    at, s = zeros.of(eta[:, features]), zeros.of(sd[:, features])
    least = torch.finfo(at.dtype).eps ** (1 / 3)
    cells = ZeroCells(at, s.clamp_min(least), torch.zeros_like(at), Nodes.of(FINEST, at))
    return Cells(zeros, cells, (at + 0.5 * s.square()).exp())
