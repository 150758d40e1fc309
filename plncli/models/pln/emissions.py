"""Emissions: how counts come of the latent layer, cell by cell. An emission knows nothing of the layer's structure.

A cell's loss f(z) is minus the log-probability of its count at the latent value z. Under q, z ~ N(m, s²), it costs
F(m, s²) = E f(z), and the one evaluation (`elbo`) asks for F and its slopes. A Gaussian obeys the heat equation
(Price 1958, IRE Trans. Inf. Theory 4),

    dF/ds² = ½ d²F/dm² = ½ E f''(z),

so that the slope in s² is told as `second` = E f'', twice that slope and the second derivative in m at once. In the
units of the whole: nats, each cell times its mask K and the weight w of its sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from plncli.numerics.likelihoods import log_factorial
from plncli.numerics.rows import grand_total, weigh
from plncli.sparse import column_totals, csr, is_sparse


class Cells(Protocol):
    """An emission at one (M, S²), n×p each, S² > 0.

    value: scalar, sum of w (K F + beside), in nats; second: n×p, w K E f'', twice the slope in S²; curvature: n×p, a
    positive stand-in for `second` in the preconditioner, the same tensor where that is positive throughout.
    """

    @property
    def value(self) -> Tensor:
        """Sum of w (K F + beside), scalar."""
        ...

    @property
    def second(self) -> Tensor:
        """Twice the slope in S², n×p."""
        ...

    @property
    def curvature(self) -> Tensor:
        """What the preconditioner takes for `second`, n×p, 0 in cells that don't count, else positive."""
        ...

    def slope(self, beside: Tensor, *, out: Tensor) -> Tensor:
        """Slope in M of sum w (K F + beside·M), n×p, written to `out`."""
        ...

    def turn(self, dM: Tensor, dS2: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Change of the slope in M and of `second` along (dM, dS2), n×p each, which may be one tensor.

        The caller may overwrite them. dzeta: change of an emission's own parameters, with which comes that of its
        slopes in them.
        """
        ...


class Emission(Protocol):
    """What the evaluation asks of an emission. constant: nats that are added to the sum of cells."""

    @property
    def constant(self) -> float:
        """Sum of w K times what of a cell's loss depends on no parameter, where cells leave it out; nats."""
        ...

    def at(self, M: Tensor, S2: Tensor, beside: Tensor, zeta: Tensor | None = None) -> Cells:
        """The cells at M and S² (n×p); `beside` (n×p, may be overwritten) is what others add to each before weights.

        zeta: parameters of the emission's own, if it has any.
        """
        ...

    def losses(self, M: Tensor, S2: Tensor, zeta: Tensor | None = None) -> Tensor:
        """K F by cell (n×p), without weights and constant, in elementary operations: what autograd differentiates."""
        ...


@dataclass(frozen=True)
class Poisson:
    """Y ~ Poisson(exp(O + z)): F = A − Y(O + m), A = exp(O + m + s²/2) the expected count (Aitchison & Ho 1989).

    Y: counts n×p; O: offset n×p or n×1, log scale; K: n×p, 1 where a cell counts, 0 where it is unobserved, None when
    all do; w: (n,) weights, None for ones. constant: sum of w K log Y!, in nats.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor | None
    constant: float

    def counted(self) -> Tensor:
        """Counts, 0 in cells that don't count; n×p."""
        return self.Y if self.K is None else self.Y * self.K

    def at(self, M: Tensor, S2: Tensor, beside: Tensor, zeta: Tensor | None = None) -> PoissonCells:
        """The cells at M and S²; A = inf where it overflows, and then so is the value."""
        eta = self.O + M
        A = torch.add(eta, S2, alpha=0.5).exp_()
        A = weigh(self.w, A if self.K is None else A.mul_(self.K))
        linear = beside.addcmul_(self.counted(), eta, value=-1.0)
        return PoissonCells(self, A, grand_total(A + weigh(self.w, linear)))

    def losses(self, M: Tensor, S2: Tensor, zeta: Tensor | None = None) -> Tensor:
        """K (A − Y(O + M)), n×p."""
        eta = self.O + M
        cells = (eta + 0.5 * S2).exp() - self.Y * eta
        return cells if self.K is None else cells * self.K

    def means(self, M: Tensor, S2: Tensor) -> Tensor:
        """Expected counts exp(O + M + S²/2), n×p, in all cells."""
        return (self.O + M + 0.5 * S2).exp()


@dataclass(frozen=True)
class PoissonCells:
    """All derivatives of a Poisson cell in m, from the second on, are w K A: `second` (n×p)."""

    emission: Poisson
    second: Tensor
    value: Tensor

    @property
    def curvature(self) -> Tensor:
        """w K A, n×p."""
        return self.second

    def slope(self, beside: Tensor, *, out: Tensor) -> Tensor:
        """w (K (A − Y) + beside), n×p."""
        return torch.add(self.second, weigh(self.emission.w, beside - self.emission.counted()), out=out)

    def turn(self, dM: Tensor, dS2: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """w K A (dM + ½ dS2), n×p, twice; there are no parameters besides."""
        dA = torch.add(dM, dS2, alpha=0.5).mul_(self.second)
        return dA, dA, None


def log_factorials(Y: Tensor, K: Tensor | None, w: Tensor) -> float:
    """Sum of w K log Y! over all cells of Y (n×p), in nats; w: (n,)."""
    if is_sparse(Y):  # 0! is 1
        return float(
            column_totals(csr(Y.crow_indices(), Y.col_indices(), log_factorial(Y.values()), Y.shape[1]), w).sum()
        )
    cells = log_factorial(Y) if K is None else K * log_factorial(Y)
    return float(grand_total(w[:, None] * cells))
