"""The profiled ELBO, composed of an emission, a latent structure and a mean: plain, and with analytic derivatives.

Model (Aitchison & Ho 1989): Z_i ~ N(B'x_i, Sigma), and counts come of Z cell by cell, Poisson(exp(O + Z)) or otherwise.
Variational family (Chiquet, Mariadassou & Robin 2018): Z_i ~ N(m_i, diag(s_i²)), m_i the full mean, psi = log s².
q is kept as one tensor of 2×n×p: q[0] = M and q[1] = psi. With F the expected losses of the cells (see `emissions`),
the mean at its best for M (`means`), R = M − mean, and the layer's value at (R, S²) (`structures`),

    −ELBO = sum_i w_i [ K F(M, S²) − ½ psi ]_ij  +  the layer's value  +  the emission's constant

which for a full covariance ends in (wbar/2) log|Sigma^|: the terms −½ tr(Omega Sigma^) and + p/2 cancel. None of the
three knows the others: what is theirs together, entropy, gradient and Hessian product, is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from plncli import ranks
from plncli.models.fused import Fused
from plncli.models.pln.emissions import Emission
from plncli.models.pln.means import Mean
from plncli.models.pln.structures import LayerAt
from plncli.numerics.rows import grand_total, weigh

E = TypeVar("E", bound=Emission)


@dataclass(frozen=True)
class LatentTable(Generic[E]):
    """A table of n samples × p features with a latent layer, composed.

    emission: what makes counts of the layer; mean: where the layer is centred; layer: its covariance structure, as a
    function of (R, S², w, wbar); w: (n,) weights of the samples, None for ones; wbar: their sum. last: the latest
    evaluation.
    """

    emission: E
    mean: Mean
    layer: LayerAt
    w: Tensor | None
    wbar: float
    last: dict[str, Evaluation] = field(init=False, default_factory=dict, repr=False, compare=False)

    def at(self, q: Tensor, zeta: Tensor | None = None) -> Evaluation:
        """The evaluation at q (2×n×p); the objective and the preconditioner ask for the same point in turn.

        zeta: parameters of the emission's own, if it has any.
        """
        known = self.last.get("q")
        if known is None or not known.of(q, zeta):
            self.last.clear()
            known = self.last["q"] = Evaluation(q.detach(), self, None if zeta is None else zeta.detach())
        return known


def plain_objective(q: Tensor | tuple[Tensor, Tensor], table: LatentTable[Any], zeta: Tensor | None = None) -> Tensor:
    """Minus the ELBO (scalar, nats) of q = (M, psi) in elementary operations: what the fast path is held against."""
    M, psi = q
    S2 = psi.exp()
    layer = table.layer(M - table.mean.fitted(M), S2, table.w, table.wbar)
    cells = table.emission.losses(M, S2, zeta) - 0.5 * psi
    return grand_total(weigh(table.w, cells)) + layer.value + table.emission.constant


class Evaluation:
    """Value, gradient and Hessian products at one q, computed when asked for and kept.

    S2, R: n×p, variances of q and residuals; cells: the emission at (M, S2); layer: the structure at (R, S2).
    """

    def __init__(self, q: Tensor, table: LatentTable[Any], zeta: Tensor | None = None) -> None:
        self.q, self.zeta = q, zeta  # holding them keeps their addresses from being given to other tensors
        self._known = (_identity(q), _identity(zeta))
        self.table = table
        M, psi = q
        self.S2 = psi.exp()
        self.R = M - table.mean.fitted(M)
        self.layer = table.layer(self.R, self.S2, table.w, table.wbar)
        self.cells = table.emission.at(M, self.S2, -0.5 * psi, zeta)
        self.value = self.cells.value + self.layer.value + table.emission.constant

    def of(self, q: Tensor, zeta: Tensor | None = None) -> bool:
        """Whether it is the evaluation there: at the same tensors, or at equal ones."""
        if self._known == (_identity(q), _identity(zeta)):
            return True
        if self._known != (_identity(self.q), _identity(self.zeta)):  # they were changed in place
            return False
        return not ranks.agreed(not (_equal(q, self.q) and _equal(zeta, self.zeta)))

    @cached_property
    def rate(self) -> Tensor:
        """E f'' + w omega, n×p: the second derivative in M in its own cell, Omega held, and twice the slope in S²."""
        return self._with_omega(self.cells.second)

    @cached_property
    def stiffness(self) -> Tensor:
        """The same for the preconditioner, n×p, positive."""
        curvature = self.cells.curvature
        return self.rate if curvature is self.cells.second else self._with_omega(curvature)

    def _with_omega(self, A: Tensor) -> Tensor:
        return A + weigh(self.table.w, self.layer.precision.expand_as(A))

    def gradient(self) -> Tensor:
        """G_M = w (K dF/dM + R Omega) and G_psi = ½ (S² rate − w), as 2×n×p."""
        w = self.table.w
        G = torch.empty_like(self.q, memory_format=torch.contiguous_format)
        self.cells.slope(self.layer.pull, out=G[0])
        torch.mul(self.S2, self.rate, out=G[1])
        G[1].sub_(1.0 if w is None else w[:, None]).mul_(0.5)
        return G

    def product(self, dq: Tensor) -> Tensor:
        """Hessian times dq, 2×n×p: three products of size n×p×p for a full covariance."""
        return self.turn(dq)[0]

    def turn(self, dq: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Change of the gradient, and of the emission's slopes in what its own parameters tell, along (dq, dzeta)."""
        w = self.table.w
        dM, dpsi = dq
        H = torch.empty_like(dq)
        dS2 = self.S2 * dpsi
        dslope, dsecond, dlogits = self.cells.turn(dM, dS2, dzeta)
        dpull, dprecision = self.layer.turn(self.table.mean.project(dM), dS2)
        torch.add(dslope, weigh(w, dpull), out=H[0])
        dsecond.add_(dprecision if w is None else w[:, None] * dprecision)
        torch.mul(dS2, self.rate, out=H[1])
        H[1].addcmul_(dsecond, self.S2).mul_(0.5)
        return H, dlogits

    def curve(self, dq: Tensor) -> Tensor | None:
        """Second-order term of a path along dq (2×n×p), in M alone; None where the structure knows of none."""
        bent = self.layer.curve(self.table.mean.project(dq[0]))
        return None if bent is None else torch.stack([bent, torch.zeros_like(bent)])


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def _identity(x: Tensor | None) -> tuple[int, int] | None:
    return None if x is None else (x.data_ptr(), x._version)


class ProfiledElbo(Fused):
    """Minus the ELBO of q."""


def objective(q: Tensor, table: LatentTable[Any]) -> Tensor:
    """Minus the ELBO (scalar, nats), with analytic gradient and Hessian product behind autograd's own interface."""
    return ProfiledElbo.apply(q, table)
