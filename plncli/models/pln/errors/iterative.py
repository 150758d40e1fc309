"""Influences of very many correlated features by conjugate gradients: minus the Hessian of `sandwich` is not formed.

Where there are more features than samples Sigma = D + V'V with V of n rows, and for each sample (Woodbury 1950)

    W_i = E_i − E_i V'K_i^-1 V E_i,    E_i = (D + diag(1/h_i))^-1,    K_i = I + V E_i V'

so that minus the Hessian in the coefficients and log sd of q features, times a vector, costs n²q, where it has (qd)²
entries itself. All n influences are solved for at once, in n³q an iteration; 50 to 100 were enough.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.models.uncertainty import Interrupted
from plncli.numerics.covariance import FactoredCovariance
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram, total, weighted_total

TIGHT = 1e-7
"""Residual, relative and in the preconditioner's norm, at which a solution counts as one."""
MOST = 1000
"""Iterations after which it is none: rounding keeps the Hessian from being positive definite."""


LinearMap = Callable[[Tensor], Tensor]


class CurvatureProducts:
    """Minus the Hessian in the coefficients (of Q) and log sd of q correlated features, as a product.

    On (d + 1)×b×q: b vectors, their coefficients first. E, H, shift: n×q, as in `sandwich.Cells` and `Scales`, 1/h
    finite; bend: (q,). W: n×q, diagonals of W_i.
    """

    def __init__(
        self, Sigma: FactoredCovariance, Q: Tensor, w: Tensor, E: Tensor, variance: Tensor, shift: Tensor, bend: Tensor
    ) -> None:
        self._V, self._Q, self._w, self._shift = Sigma.V, Q, w, shift
        self._scale = (Sigma.D + variance).reciprocal_()
        n, r = len(Q), len(Sigma.V)
        self._factors, self.W = Q.new_empty((n, r, r)), torch.empty_like(E)
        for i in range(n):
            VE = self._V * self._scale[i]
            K = VE @ self._V.mT
            K.diagonal().add_(1.0)
            self._factors[i] = torch.linalg.cholesky_ex(K).L
            G = torch.linalg.solve_triangular(self._factors[i], VE, upper=False)
            self.W[i] = self._scale[i] - total(G.square())
        self._beside = gram(Q, w[:, None] * E), bend
        self._blocks = self._of_features(self._scale)

    def _of_features(self, W: Tensor) -> Tensor:
        """Blocks (d + 1)×(d + 1)×q of the features, if W_i were diagonal: W (n×q)."""
        d, w = self._Q.shape[1], self._w[:, None]
        out = W.new_empty((d + 1, d + 1, W.shape[1]))
        out[:d, :d] = weighted_grams(self._Q, w * W).permute(1, 2, 0)
        out[:d, d] = out[d, :d] = gram(self._Q, w * W * self._shift) + self._beside[0]
        out[d, d] = weighted_total(self._w, W * self._shift.square()) + self._beside[1]
        return out

    def own_blocks(self) -> Tensor:
        """The blocks of the features, q×(d + 1)×(d + 1)."""
        return self._of_features(self.W).permute(2, 0, 1)

    def times(self, x: Tensor) -> Tensor:
        """Minus the Hessian times x."""
        d, b, q = len(x) - 1, *x.shape[1:]
        out = torch.stack([torch.einsum("lj,lbj->bj", block, x) for block in self._blocks])
        levels, changes = out[:d].view(d, b * q), x[:d].view(d, b * q)
        for i in range(len(self._Q)):
            VE = self._V * self._scale[i]
            t = (self._Q[i] @ changes).view(b, q).addcmul_(x[d], self._shift[i])
            s = torch.cholesky_solve(VE @ t.mT, self._factors[i]).mT @ VE
            levels.addr_(self._w[i] * self._Q[i], s.view(-1), alpha=-1.0)
            out[d].addcmul_(s, self._w[i] * self._shift[i], value=-1.0)
        return out


def own_inverses(blocks: Tensor) -> LinearMap | None:
    """The preconditioner, on (d + 1)×b×q: the inverse of each feature's block. None where one is not positive definite.

    What a mean sample knows of how features follow each other, beside it, took more iterations, not fewer.
    """
    L, info = torch.linalg.cholesky_ex(blocks)
    if bool((info != 0).any()):
        return None
    return lambda r: torch.cholesky_solve(r.permute(2, 0, 1), L).permute(1, 2, 0).contiguous()


def solved(
    times: LinearMap, precondition: LinearMap, g: Tensor, cancelled: Callable[[], bool] = lambda: False
) -> Tensor | None:
    """H x = g for each of b vectors ((d + 1)×b×q) by preconditioned conjugate gradients. Raises Interrupted.

    None where H is not positive definite, to rounding.
    """
    x, r = torch.zeros_like(g), g.clone()
    z = precondition(r)
    s, rz = z.clone(), (r * z).sum((0, 2))
    enough = TIGHT**2 * rz
    for _ in range(MOST):
        left = rz > enough
        if not bool(left.any()):
            return x
        if cancelled():
            raise Interrupted
        Hs = times(s)
        bend = (s * Hs).sum((0, 2))
        if not bool((bend[left] > 0.0).all()):
            return None
        step = torch.where(left, rz / bend, 0.0)[:, None]
        x.addcmul_(s, step)
        r.addcmul_(Hs, step, value=-1.0)
        z = precondition(r)
        after = (r * z).sum((0, 2))
        s.mul_(torch.where(left, after / rz, 0.0)[:, None]).add_(z)
        rz = after
    return None
