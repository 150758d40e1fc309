"""Samples of a logistic regression that are separated at its supremum, in memory or by blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from plncli.dataset import Dataset, Stored
from plncli.numerics.blocks import separation_by_blocks
from plncli.numerics.linalg import ImplicitBasis, weighted_grams
from plncli.numerics.rows import extremes, over_parts, total
from plncli.numerics.separation import Recession, bernoulli_separation, singular


@dataclass(frozen=True)
class Separated:
    """A separated response. number: of its samples that are; cells: which of a block of b samples are, (b,)."""

    cone: Recession
    number: int
    cells: Callable[[Dataset], Tensor] = field(repr=False)


def separated_responses(data: Dataset, margins: Tensor, gap: float) -> dict[int, Separated]:
    """The separated responses, by index.

    margins: n×p, log-odds of what was observed, (2Y − 1)·eta, at a fit `gap` nats below the supremum.

    Moving a separated sample to the supremum gains its whole loss, so no separated sample loses more than about
    the gap: those that do, by a wide margin, need no further test.
    """
    margin = _margin(gap)
    losses = -data.w[:, None] * logsigmoid(margins)
    cones = ((j, bernoulli_separation(data.X, data.Y[:, j], losses[:, j] <= margin)) for j in range(data.p))
    return {j: _whole(cone) for j, cone in cones if cone is not None}


def _whole(cone: Recession) -> Separated:
    def cells(part: Dataset) -> Tensor:
        del part
        return cone.cells

    return Separated(cone, int(total(cone.cells)), cells)


def separated_by_blocks(data: Stored, basis: ImplicitBasis, B: Tensor, gap: float) -> dict[int, Separated]:
    """The same of samples that come by blocks, at coefficients B (d×p): by one pass where no response is separated.

    What was found last is kept, for it is asked for again.
    """
    margin = _margin(gap)
    if math.isinf(margin):
        return {}  # nothing is known yet
    known = data.known.get("separated")
    if known is not None and torch.equal(known[0], B) and known[1] == margin:
        return dict(known[2])

    def candidates(part: Dataset) -> Tensor:
        """Which samples may be separated, b×p."""
        return -part.w[:, None] * logsigmoid((2.0 * part.Y - 1.0) * (part.O + part.X @ B)) <= margin

    (G,) = over_parts(lambda part: (weighted_grams(part.X, ~candidates(part)),), data, "YXOw")
    found = {}
    for j in singular(G).nonzero()[:, 0].tolist():

        def rows(part: Dataset, j: int = j) -> tuple[Tensor, Tensor]:
            signed = (part.X @ basis.U) * (1.0 - 2.0 * part.Y[:, j, None])
            return signed, candidates(part)[:, j]

        def blocks(rows: Callable[[Dataset], tuple[Tensor, Tensor]] = rows) -> Iterator[tuple[Tensor, Tensor]]:
            return (rows(part) for part in data.parts("YXOw"))

        one = separation_by_blocks(blocks, basis.T)
        if one is not None:
            found[j] = Separated(one.cone, one.number, lambda part, one=one, rows=rows: one.cells(*rows(part)))  # type: ignore[misc]
    data.known["separated"] = (B, margin, found)
    return dict(found)


def _margin(gap: float) -> float:
    return max(1e-3, 100.0 * gap) if math.isfinite(gap) else math.inf


def kept_of(data: Dataset, separated: Mapping[int, Separated]) -> Tensor | None:
    """Of a block of samples, 0 where a cell is separated, else 1, b×p; None where no response is."""
    if not separated:
        return None
    kept = torch.ones_like(data.Y)
    for j, found in separated.items():
        kept[:, j] = (~found.cells(data)).to(kept)
    return kept


def dividing(data: Dataset, j: int) -> list[str]:
    """Terms whose values in the two classes of response j do not overlap, beyond a common end point."""

    def within(part: Dataset, one: int, otherwise: float) -> Tensor:
        return torch.where(part.Y[:, j, None] == one, part.X, otherwise)

    (lowest, highest), (low, high) = (
        (
            extremes(lambda part, one=one: within(part, one, math.inf), data, "YX")[0],  # type: ignore[misc]
            extremes(lambda part, one=one: within(part, one, -math.inf), data, "YX")[1],  # type: ignore[misc]
        )
        for one in (0, 1)
    )
    apart = (high <= lowest) | (low >= highest)
    bottom, top = extremes(lambda part: part.X, data, "X")
    return [data.terms[k] for k in (apart & (top > bottom)).nonzero()[:, 0].tolist()]
