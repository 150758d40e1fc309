"""The profiled ELBO of the Poisson log-normal model, twice: plain autograd, and a Function with analytic derivatives.

Model (Aitchison & Ho 1989): Z_i ~ N(B'x_i, Sigma), Y_ij | Z_ij ~ Poisson(exp(O_ij + Z_ij)).
Variational family (Chiquet, Mariadassou & Robin 2018): Z_i ~ N(m_i, diag(s_i²)), m_i the full mean, psi = log s².
q is kept as one tensor of 2×n×p: q[0] = M and q[1] = psi. With A = exp(O + M + S²/2) and R = M − XB at the best B,

    −ELBO = sum_i w_i [ K(A − Y(O + M) + log Y!) − ½ psi ]_ij  +  the layer's value (see `latent`)

which for a full covariance ends in (wbar/2) log|Sigma^|: the terms −½ tr(Omega Sigma^) and + p/2 cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.fused import Fused
from plncli.models.pln.structures import Layer
from plncli.numerics.linalg import weighted_grams

BENT = 0.95
"""Leverage above which a principal direction of the residuals is worth its place in the preconditioner."""
FLAT = 0.1
"""Curvature, as a share of what the features' blocks have, around which a direction of variances counts as flat."""
FLATTEST = 1e-3
"""Share that is added to all, for smaller ones are not to be believed."""


@dataclass(frozen=True)
class LatentTable:
    """The part of the data that has a latent layer, in n samples × p features.

    Y counts; O offset, n×p or n×1; K 1 where a cell counts, 0 where it is unobserved, None when all do; w weights or
    None for ones; Q: n×d basis of the design with Q'WQ = wbar·I; `centre`: XB held fixed (n×p) instead of profiled.
    layer: covariance structure; constant: sum w K log Y!; last: the latest evaluation.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor | None
    wbar: float
    Q: Tensor
    centre: Tensor | None
    layer: Callable[[Tensor, Tensor, Tensor | None, float], Layer]
    constant: float
    last: dict[str, Evaluation] = field(init=False, default_factory=dict, repr=False, compare=False)

    def at(self, q: Tensor) -> Evaluation:
        """The evaluation at q (2×n×p); the objective and the preconditioner ask for the same point in turn."""
        known = self.last.get("q")
        if known is None or known.q.data_ptr() != q.data_ptr() or known.version != q._version:
            self.last.clear()
            known = self.last["q"] = Evaluation(q.detach(), self)
        return known

    def fitted(self, M: Tensor) -> Tensor:
        """XB at the best B for M (or where it is held), n×p."""
        if self.centre is not None:
            return self.centre
        return self.Q @ self.coefficients(M)

    def coefficients(self, M: Tensor) -> Tensor:
        """Best coefficients in the basis Q, d×p: weighted least squares of M, or of the centre where it is held."""
        weighted = self.Q if self.w is None else self.Q * self.w[:, None]
        return (weighted.mT @ (M if self.centre is None else self.centre)) / self.wbar

    def project(self, dM: Tensor) -> Tensor:
        """Change of the residuals R with M, a new tensor."""
        if self.centre is not None:
            return dM.clone()
        return torch.addmm(dM, self.Q, self.coefficients(dM), alpha=-1.0)


def weigh(table: LatentTable, cells: Tensor) -> Tensor:
    """Cells (n×p) times the weight of their sample."""
    return cells if table.w is None else cells * table.w[:, None]


def plain_objective(q: Tensor | tuple[Tensor, Tensor], table: LatentTable) -> Tensor:
    """Minus the ELBO (scalar, nats) of q = (M, psi) in elementary operations: what the fast path is held against."""
    M, psi = q
    S2 = psi.exp()
    eta = table.O + M
    cells = (eta + 0.5 * S2).exp() - table.Y * eta
    if table.K is not None:
        cells = cells * table.K
    layer = table.layer(M - table.fitted(M), S2, table.w, table.wbar)
    return weigh(table, cells - 0.5 * psi).sum() + layer.value + table.constant


class Evaluation:
    """Value, gradient and Hessian products at one q, computed when asked for and kept.

    A = wK exp(O + M + S²/2) and, once the gradient is known, rate = A + w omega; all n×p.
    """

    def __init__(self, q: Tensor, table: LatentTable) -> None:
        self.q, self.version = q, q._version  # holding q keeps its address from being given to another tensor
        self.table = table
        M, psi = q
        self.S2 = psi.exp()
        eta = table.O + M
        self.R = M - table.fitted(M)
        self.layer = table.layer(self.R, self.S2, table.w, table.wbar)
        A = torch.add(eta, self.S2, alpha=0.5).exp_()
        linear = torch.addcmul(0.5 * psi, table.Y if table.K is None else table.Y * table.K, eta)
        self.A = weigh(table, A if table.K is None else A.mul_(table.K))
        self.value = (self.A - weigh(table, linear)).sum() + self.layer.value + table.constant

    @cached_property
    def rate(self) -> Tensor:
        """A + w omega, n×p: the curvature of M in its own cell."""
        return self.A + weigh(self.table, self.layer.precision.expand_as(self.A))

    def gradient(self) -> Tensor:
        """G_M = wK(A − Y) + w R Omega and G_psi = ½ (S²(wKA + w omega) − w), as 2×n×p."""
        table = self.table
        Y = table.Y if table.K is None else table.Y * table.K
        G = torch.empty((2, *self.A.shape), dtype=self.A.dtype, device=self.A.device)
        torch.add(self.A, weigh(table, self.layer.pull - Y), out=G[0])
        torch.mul(self.S2, self.rate, out=G[1])
        G[1].sub_(1.0 if table.w is None else table.w[:, None]).mul_(0.5)
        return G

    def product(self, dq: Tensor) -> Tensor:
        """Hessian times dq, 2×n×p: three products of size n×p×p for a full covariance."""
        table = self.table
        dM, dpsi = dq
        H = torch.empty_like(dq)
        dS2 = self.S2 * dpsi
        dA = torch.add(dM, dS2, alpha=0.5).mul_(self.A)
        dpull, dprecision = self.layer.turn(table.project(dM), dS2)
        torch.add(dA, weigh(table, dpull), out=H[0])
        dA.add_(dprecision if table.w is None else table.w[:, None] * dprecision)
        torch.mul(dS2, self.rate, out=H[1])
        H[1].addcmul_(dA, self.S2).mul_(0.5)
        return H


class ProfiledElbo(Fused):
    """Minus the ELBO of q."""


def objective(q: Tensor, table: LatentTable) -> Tensor:
    """Minus the ELBO (scalar, nats), with analytic gradient and Hessian product behind autograd's own interface."""
    return ProfiledElbo.apply(q, table)


def block_curvature(at: Evaluation) -> tuple[Tensor, Tensor, Tensor]:
    """Entries MM, M-psi and psi-psi (n×p each) of the Hessian's 2×2 block of each cell, Omega held fixed.

    The block is [[a + o, a s²/2], [., s²(a(1 + s²/2) + o)/2]] with a = wKA and o = w omega; it is positive definite.
    """
    Mpsi = 0.5 * at.A * at.S2
    return at.rate, Mpsi, 0.5 * at.S2 * (at.rate + Mpsi)


def feature_preconditioner(q: Tensor, table: LatentTable) -> Callable[[Tensor], Tensor]:
    """Approximate inverse of the Hessian's block of each feature, as a map on 2×n×p.

    With psi eliminated cell by cell, the block of feature j in its column of M is, for a full covariance,

        D − omega_j W^½ (F diag(lambda) F') W^½,    D = diag(w (A + omega_j)) less what psi takes,

    where the orthonormal columns of F are the directions that the profile bends: those of the design, along which B
    follows M and nothing is lost (lambda = 1), and those along which the feature's covariances follow, the principal
    directions of the residuals with lambda from their share of Sigma^ (near 1 for features that are well measured).
    By Woodbury its inverse is D^-1 + D^-1 W^½F (diag(1/(omega_j lambda)) − F'W D^-1 F)^-1 F'W^½ D^-1. The inner matrix
    is kept whole among the columns of the design and diagonal among the others. Rare features need it: their D is
    almost all omega, and without F the preconditioner takes the flat directions for steep ones.
    """
    at = table.at(q)
    blocks = _FeatureBlocks(at)
    flat = _flat_directions(at, blocks)
    if flat is None:
        return blocks
    W, inner = flat

    def apply(v: Tensor) -> Tensor:
        z = blocks(v)
        c = (W * v).flatten(0, 1).sum(0)
        return z.addcmul_(W, inner * c if inner.ndim == 1 else inner @ c)

    return apply


class _FeatureBlocks:
    """The approximate inverse of each feature's block, on 2×n×p."""

    def __init__(self, at: Evaluation) -> None:
        table, omega = at.table, at.layer.precision
        MM, Mpsi, psipsi = block_curvature(at)
        self._ratio = Mpsi / psipsi
        self._inverse = torch.addcmul(MM, self._ratio, Mpsi, value=-1.0).reciprocal_()
        self._own = psipsi.reciprocal_()
        F, gain = at.A.new_empty((table.Q.shape[0], 0)), at.A.new_empty((0, at.A.shape[1]))
        self._together: Tensor | None = None
        steep = at.layer.bent(BENT)
        if steep is not None:
            F, leverage = steep
            gain = 1.0 / (1.0 / (omega * leverage[:, None]) - F.square().mT @ self._inverse)
        if table.centre is None:
            F = torch.cat([table.Q if table.w is None else table.Q * table.w[:, None], F], 1)
            share = weigh(table, 1.0 / omega - weigh(table, self._inverse))
            design = _pseudo_inverse(weighted_grams(table.Q, share))
            if table.Q.shape[1] == 1:
                gain = torch.cat([design[:, :, 0].mT, gain])
            else:
                self._together = design
        self._F, self._gain = F, gain

    def __call__(self, v: Tensor) -> Tensor:
        """The inverse times v."""
        z = torch.empty_like(v)
        first = torch.addcmul(v[0], self._ratio, v[1], value=-1.0, out=z[0]).mul_(self._inverse)
        if self._F.shape[1]:
            first.addcmul_(self._F @ self._solve(self._F.mT @ first), self._inverse)
        torch.mul(v[1], self._own, out=z[1]).addcmul_(self._ratio, first, value=-1.0)
        return z

    def _solve(self, c: Tensor) -> Tensor:
        """The inner inverse of Woodbury's formula, on m×p, in place: the first rows together, the others by gains."""
        d = 0 if self._together is None else self._together.shape[1]
        if self._together is not None:
            c[:d] = torch.einsum("pij,jp->ip", self._together, c[:d])
        c[d:].mul_(self._gain)
        return c


def _flat_directions(at: Evaluation, features: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor] | None:
    """Directions in which the variances of features hardly change the bound: W (2×n×p) and what goes between W and W'.

    Column j of W is what the features' blocks make of the derivative of log Sigma_jj: all S² of the feature grow, and
    its mean falls. For a rare feature, or one with hardly any variance, the gain and the loss cancel almost exactly,
    and conjugate gradients alone take hundreds of products to find such a valley. W'HW is exact, in three products.
    With S its share of what the blocks have, (S + FLATTEST)^-1 − (S + FLAT)^-1 stands between: nearly the inverse along
    flat directions, and nothing to speak of along steep ones, which the blocks know. p×p, or (p,) where features hardly
    meet. None far from the optimum, where the bound bends down in some of them.
    """
    table = at.table
    if not at.A.numel():
        return None
    W = features(torch.stack([weigh(table, at.R), weigh(table, 0.5 * at.S2)]))
    W_M, W_psi = W
    coupled = at.layer.couple(table.project(W_M), weigh(table, at.S2 * W_psi).sum(0) / table.wbar)
    if coupled is None:
        return None
    blocks, bend = coupled
    half = 0.5 * at.S2 * at.A
    cells = at.A * W_M.square() + 2.0 * half * W_M * W_psi + 0.5 * at.S2 * (at.rate + half) * W_psi.square()
    if blocks.ndim == 1:
        blocks = blocks + cells.sum(0)
        share = 1.0 - bend / blocks
        inner = (share + FLATTEST).reciprocal() - (share + FLAT).reciprocal()
        return W, torch.where(share > -0.5 * FLATTEST, inner / blocks, 0.0)
    blocks.diagonal().add_(cells.sum(0))
    scale = blocks.diagonal().rsqrt()
    S = (blocks - bend).mul_(scale[:, None]).mul_(scale)
    S.diagonal().add_(FLATTEST)
    factor, info = torch.linalg.cholesky_ex(S)
    if bool(info != 0):
        return None
    S.diagonal().add_(FLAT - FLATTEST)
    inner = torch.cholesky_inverse(factor) - torch.cholesky_inverse(torch.linalg.cholesky_ex(S).L)
    return W, inner.mul_(scale[:, None]).mul_(scale)


def _pseudo_inverse(G: Tensor) -> Tensor:
    """Inverse of symmetric positive semidefinite matrices (p×d×d), 0 along directions without curvature."""
    values, V = torch.linalg.eigh(G)
    flat = values <= 1e-10 * values[:, -1:]
    return (V * torch.where(flat, 0.0, 1.0 / torch.where(flat, 1.0, values))[:, None, :]) @ V.mT
