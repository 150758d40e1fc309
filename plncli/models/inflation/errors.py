"""How well the parameters of structural zeros are known, beside the coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.spec import SAMPLE, SYMBOLS
from plncli.models.uncertainty import Beside, Determined, Uncertainty, from_influence, to_units


@dataclass(frozen=True)
class Directions:
    """Directions in which the parameters of structural zeros are determined; Z groups of features share c of them.

    X: n×c, what logits are linear in, ones without covariates; pool: p×Z, which features share what; U: Z×c×c,
    orthonormal columns; known: Z×c, those that are determined: m in all.
    """

    X: Tensor
    pool: Tensor
    U: Tensor
    known: Tensor

    @staticmethod
    def of(inflation: Inflation, w: Tensor, p: int) -> Directions:
        """Of one probability, one a feature, or by covariates; none where each sample has its own."""
        like = inflation.weights
        if inflation.kind == SAMPLE:
            return Directions.none(torch.ones_like(w), p)
        pool = torch.ones((p, 1)).to(like) if inflation.kind == "single" else torch.eye(p).to(like)
        if inflation.design is None:
            ones = torch.ones((len(w), 1)).to(like)
            return Directions(ones, pool, like.new_ones((pool.shape[1], 1, 1)), inflation.free.reshape(-1, 1))
        at = Determined.by(inflation.design.basis.Q, w, inflation.free.to(like))
        return Directions(inflation.design.basis.Q, pool, at.vectors, ~at.free)

    @staticmethod
    def none(w: Tensor, p: int) -> Directions:
        """Of n samples, as many as w has, and p features without any."""
        known = torch.zeros((0, 1), dtype=torch.bool, device=w.device)
        return Directions(w.new_ones((len(w), 1)), w.new_zeros((p, 0)), w.new_zeros((0, 1, 1)), known)

    def scores(self, each: Tensor, rows: slice) -> Tensor:
        """b×m, of scores in the logits of the cells of some samples, b×p."""
        pooled = each @ self.pool
        return torch.einsum("bz,bc,zck->bzk", pooled, self.X[rows], self.U)[:, self.known]

    def spread(self, u: Tensor) -> Tensor:
        """Values along the directions (b×m) as those of the parameters, b×Z×c."""
        whole = u.new_zeros((len(u), *self.known.shape))
        whole[:, self.known] = u
        return torch.einsum("zck,bzk->bzc", self.U, whole)


def beside(
    answer: Uncertainty,
    at: Directions,
    inflation: Inflation,
    zeta: Tensor,
    influence: Callable[[slice], Tensor],
    w: Tensor,
    clusters: Tensor | None,
    correction: float,
) -> Uncertainty:
    """The answer, with variances of what has a finite value; influence: rows -> b×m, as in `from_influence`."""
    design = inflation.design
    Z, c = at.known.shape
    if design is None:
        symbol = SYMBOLS[inflation.kind]
        missing, units = ~at.known.mT, lambda u: u
    else:
        symbol = "zeta_terms"
        limits = torch.zeros((c, Z)) if inflation.faces is None else inflation.faces.limits()
        missing, units = (limits != 0).to(w.device), lambda u: to_units(design.basis, u)
    found = from_influence(
        answer.method, lambda rows: units(at.spread(influence(rows))), w, (c, Z), missing, clusters, correction
    )
    estimate = inflation.left(zeta)[symbol]
    variance = found.blocks.diagonal(dim1=1, dim2=2).mT.masked_fill(missing, torch.nan)
    return replace(answer, beside={symbol: Beside(estimate, variance.reshape(estimate.shape))})
