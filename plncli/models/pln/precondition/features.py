"""Each feature's block of the Hessian, and its approximate inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.models.pln.elbo import Evaluation
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram, weigh

BENT = 0.95
"""Leverage above which a principal direction of the residuals is worth its place in the preconditioner."""
ROUNDED = 1e-12
"""Curvature along the design, as a share of what Omega alone would give, that is no more than rounding."""


def block_curvature(at: Evaluation) -> tuple[Tensor, Tensor, Tensor]:
    """Entries MM, M-psi and psi-psi (n×p each) of the Hessian's 2×2 block of each cell, Omega held fixed.

    The block is [[a + o, a s²/2], [., s²(a(1 + s²/2) + o)/2]] with a the emission's positive curvature (Poisson: wKA,
    and then it is exact) and o = w omega; it is positive definite.
    """
    Mpsi = 0.5 * at.cells.curvature * at.S2
    return at.stiffness, Mpsi, 0.5 * at.S2 * (at.stiffness + Mpsi)


class FeatureBlocks:
    """The approximate inverse of each feature's block, on 2×n×p."""

    def __init__(self, at: Evaluation) -> None:
        table, omega = at.table, at.layer.precision
        MM, Mpsi, psipsi = block_curvature(at)
        self.ratio = Mpsi / psipsi
        self._inverse = torch.addcmul(MM, self.ratio, Mpsi, value=-1.0).reciprocal_()
        self._own = psipsi.reciprocal_()
        n, p = at.R.shape
        F, gain = at.R.new_empty((n, 0)), at.R.new_empty((0, p))
        self._together: Tensor | None = None
        steep = at.layer.bent(BENT)
        if steep is not None:
            F, leverage = steep
            gain = 1.0 / (1.0 / (omega * leverage[:, None]) - gram(F.square(), self._inverse))
        Q = table.mean.basis
        if Q is not None:
            F = torch.cat([weigh(table.w, Q), F], 1)
            share = weigh(table.w, 1.0 / omega - weigh(table.w, self._inverse))
            design = _pseudo_inverse(weighted_grams(Q, share), ROUNDED * table.wbar / omega)
            if Q.shape[1] == 1:
                gain = torch.cat([design[:, :, 0].mT, gain])
            else:
                self._together = design
        self._F, self._gain = F, gain

    def __call__(self, v: Tensor) -> Tensor:
        """The inverse times v."""
        z = torch.empty_like(v)
        self.of_psi(v[1], self.of_means(self.without_psi(v), out=z[0]), z[1])
        return z

    def without_psi(self, v: Tensor) -> Tensor:
        """What is left of v for the means once psi is eliminated cell by cell, n×p."""
        return torch.addcmul(v[0], self.ratio, v[1], value=-1.0)

    def of_means(self, e: Tensor, *, out: Tensor) -> Tensor:
        """The means for what is left, n×p."""
        torch.mul(e, self._inverse, out=out)
        return out if not self._F.shape[1] else out.addcmul_(self._F @ self._solve(gram(self._F, out)), self._inverse)

    def of_psi(self, v: Tensor, means: Tensor, out: Tensor) -> None:
        """psi for its own v (n×p) and the means, written to `out`."""
        torch.mul(v, self._own, out=out).addcmul_(self.ratio, means, value=-1.0)

    def _solve(self, c: Tensor) -> Tensor:
        """The inner inverse of Woodbury's formula, on m×p, in place: the first rows together, the others by gains."""
        d = 0 if self._together is None else self._together.shape[1]
        if self._together is not None:
            c[:d] = torch.einsum("pij,jp->ip", self._together, c[:d])
        c[d:].mul_(self._gain)
        return c


def _pseudo_inverse(G: Tensor, least: Tensor) -> Tensor:
    """Inverse of symmetric positive semidefinite matrices (p×d×d), 0 along directions of curvature up to least (p,)."""
    values, V = torch.linalg.eigh(G)
    flat = values <= torch.maximum(1e-10 * values[:, -1], least)[:, None]
    return (V * torch.where(flat, 0.0, 1.0 / torch.where(flat, 1.0, values))[:, None, :]) @ V.mT
