"""Zero-inflated Poisson cells of a latent layer (see `models.inflation.cells`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.inflation.cells import Nodes, ZeroCells, losses
from plncli.models.inflation.entries import Zeros
from plncli.models.pln.emissions import Poisson
from plncli.numerics.rows import grand_total, weigh


@dataclass(frozen=True)
class ZeroInflated:
    """Y = 0 with probability pi, else Poisson(exp(O + z)). zeros: the cells where that is another loss than Poisson's.

    What all cells pay, −log(1 − pi), is not part of their losses: `Inflation.base`.
    """

    poisson: Poisson
    zeros: Zeros
    nodes: Nodes

    @property
    def constant(self) -> float:
        """That of the counts: log 0! = 0."""
        return self.poisson.constant

    @property
    def Y(self) -> Tensor:
        """Counts n×p."""
        return self.poisson.Y

    @property
    def O(self) -> Tensor:  # noqa: E743 (as everywhere)
        """Offset, n×p or n×1."""
        return self.poisson.O

    @property
    def K(self) -> Tensor | None:
        """1 where a cell counts."""
        return self.poisson.K

    def counted(self) -> Tensor:
        """Counts, 0 in cells that don't count; n×p."""
        return self.poisson.counted()

    def means(self, M: Tensor, S2: Tensor) -> Tensor:
        """Expected counts of cells that are no structural zeros, n×p."""
        return self.poisson.means(M, S2)

    def at(self, M: Tensor, S2: Tensor, beside: Tensor, zeta: Tensor | None = None) -> InflatedCells:
        """The cells at M, S² and zeta."""
        assert zeta is not None
        return InflatedCells(self, M, S2, beside, zeta)

    def losses(self, M: Tensor, S2: Tensor, zeta: Tensor | None = None) -> Tensor:
        """K F by cell, n×p."""
        assert zeta is not None
        zeros, place = self.zeros, (self.zeros.rows, self.zeros.columns)
        eta = zeros.of(self.O + M)
        found = losses(eta, zeros.of(S2).sqrt(), zeros.logits(zeta), self.nodes)
        finite = M.index_put(place, -zeros.of(self.O.expand_as(M)))  # no infinity whose slope would be nan
        return self.poisson.losses(finite, S2.index_put(place, torch.zeros_like(eta))).index_put(place, found)


class InflatedCells:
    """Zeros that may be structural have sums over nodes for derivatives, all others those of Poisson cells.

    The derivatives are gathered into tables: zeros are many, and products with what is scattered cost the most.
    """

    def __init__(self, emission: ZeroInflated, M: Tensor, S2: Tensor, beside: Tensor, zeta: Tensor) -> None:
        poisson, zeros = emission.poisson, emission.zeros
        self._emission = emission
        eta = poisson.O + M
        self._zero = ZeroCells(zeros.of(eta), zeros.of(S2).sqrt(), zeros.logits(zeta), emission.nodes)
        A = zeros.put(torch.full_like(self._zero.eta, -math.inf), torch.add(eta, S2, alpha=0.5)).exp_()
        self._A = weigh(poisson.w, A if poisson.K is None else A.mul_(poisson.K))
        linear = beside.addcmul_(poisson.counted(), eta, value=-1.0)
        self.value = grand_total(self._A + weigh(poisson.w, linear)) + grand_total(zeros.w * self._zero.loss)

    @cached_property
    def curvature(self) -> Tensor:
        """w K A, in zeros w E (1 − rho) lambda: what E f'' would be if it were known which are structural."""
        return self._with(self._zero.sums.slope, self._A)

    @cached_property
    def second(self) -> Tensor:
        """Twice the slope in S², n×p."""
        return self._with(self._zero.second, self._A)

    def _with(self, values: Tensor, others: Tensor) -> Tensor:
        """A table of others, with values (k,), weighted, in zeros."""
        zeros = self._emission.zeros
        return zeros.put(zeros.w * values, others.clone())

    @cached_property
    def _bends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Second derivatives in M, in M and S²/2, and in S²/2, n×p each, weighted."""
        a, b, c = (self._with(values, self._A) for values in self._zero.bends)
        return a, b, c

    @cached_property
    def _mixed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Minus those in z and M, in z and S²/2, and twice in z but for what all cells pay; 0 in other cells."""
        none = torch.zeros_like(self._A)
        at = self._zero
        a, b, c = (self._with(values, none) for values in (at.sums.mixed, at.mixed, at.sums.doubt))
        return a, b, c

    def slope(self, beside: Tensor, *, out: Tensor) -> Tensor:
        """w (K dF/dM + beside), n×p: in zeros the slope is the curvature."""
        poisson = self._emission.poisson
        return torch.add(self.curvature, weigh(poisson.w, beside - poisson.counted()), out=out)

    def logit_slopes(self) -> Tensor:
        """Slopes in the entries' logits, but for what all cells pay."""
        return self._emission.zeros.pooled(-self._zero.sums.structural)

    def logit_bends(self) -> Tensor:
        """Second derivatives in the entries' logits, but for what all cells pay."""
        return self._emission.zeros.pooled(-self._zero.sums.doubt)

    def turn(self, dM: Tensor, dS2: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Change of the slope in M, of `second`, and of the slopes in the entries' logits along (dM, dS2, dzeta)."""
        zeros, (a, b, c), dh = self._emission.zeros, self._bends, 0.5 * dS2
        dslope, dsecond = torch.mul(a, dM).addcmul_(b, dh), torch.mul(b, dM).addcmul_(c, dh)
        if dzeta is None:
            return dslope, dsecond, None
        z_M, z_h, z_z = self._mixed
        dlogit = torch.mul(z_M, dM).addcmul_(z_h, dh)
        dz = zeros.spread(zeros.inflation.entries(dzeta))
        dslope.addcmul_(z_M, dz, value=-1.0)
        dsecond.addcmul_(z_h, dz, value=-1.0)
        return dslope, dsecond, zeros.gathered(dlogit.addcmul_(z_z, dz)).neg_()
