"""The profiled ELBO of the Poisson log-normal model, twice: plain autograd, and a Function with analytic derivatives.

Model (Aitchison & Ho 1989): Z_i ~ N(B'x_i, Sigma), Y_ij | Z_ij ~ Poisson(exp(O_ij + Z_ij)).
Variational family (Chiquet, Mariadassou & Robin 2018): Z_i ~ N(m_i, diag(s_i²)), m_i the full mean, psi = log s².
With A = exp(O + M + S²/2) and the residuals R = M − XB at the best B for M,

    −ELBO = sum_i w_i [ K(A − Y(O + M) + log Y!) − ½ psi ]_ij  +  the layer's value (see `latent`)

which for a full covariance ends in (wbar/2) log|Sigma^|: the terms −½ tr(Omega Sigma^) and + p/2 cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from plncli.linalg import weighted_grams
from plncli.models.latent import Layer

BENT = 0.95
"""Leverage above which a principal direction of the residuals is worth its place in the preconditioner."""


@dataclass(frozen=True)
class LatentTable:
    """The part of the data that has a latent layer, in n samples × p features.

    Y counts; O offset, n×p or n×1; K 1 where a cell counts, 0 where it is unobserved, None when all do; w weights or
    None for ones; Q: n×d basis of the design with Q'WQ = wbar·I; `centre`: XB held fixed (n×p) instead of profiled.
    layer: covariance structure; constant: sum w K log Y!.
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

    def fitted(self, M: Tensor) -> Tensor:
        """XB at the best B for M (or where it is held), n×p."""
        if self.centre is not None:
            return self.centre
        return self.Q @ self.coefficients(M)

    def coefficients(self, M: Tensor) -> Tensor:
        """Best coefficients in the basis Q, d×p: weighted least squares of M."""
        weighted = self.Q if self.w is None else self.Q * self.w[:, None]
        return (weighted.mT @ M) / self.wbar

    def project(self, dM: Tensor) -> Tensor:
        """Change of the residuals R with M."""
        return dM if self.centre is not None else dM - self.Q @ self.coefficients(dM)


def weigh(table: LatentTable, cells: Tensor) -> Tensor:
    """Cells (n×p) times the weight of their sample."""
    return cells if table.w is None else cells * table.w[:, None]


def plain_objective(M: Tensor, psi: Tensor, table: LatentTable) -> Tensor:
    """Minus the ELBO (scalar, nats) in ordinary tensor operations: what the fast path is held against."""
    S2 = psi.exp()
    eta = table.O + M
    cells = (eta + 0.5 * S2).exp() - table.Y * eta
    if table.K is not None:
        cells = cells * table.K
    layer = table.layer(M - table.fitted(M), S2, table.w, table.wbar)
    return weigh(table, cells - 0.5 * psi).sum() + layer.value + table.constant


class Evaluation:
    """Value, gradient and Hessian products at one (M, psi), computed when asked for and kept."""

    def __init__(self, M: Tensor, psi: Tensor, table: LatentTable) -> None:
        self.table = table
        self.S2 = psi.exp()
        eta = table.O + M
        A = (eta + 0.5 * self.S2).exp_()
        self.layer = table.layer(M - table.fitted(M), self.S2, table.w, table.wbar)
        linear = table.Y * eta
        if table.K is not None:
            A *= table.K
            linear = linear * table.K
        self.A = weigh(table, A)
        likelihood = self.A - weigh(table, linear + 0.5 * psi)
        self.value = likelihood.sum() + self.layer.value + table.constant
        self._H_psi: Tensor | None = None

    def gradient(self) -> tuple[Tensor, Tensor]:
        """G_M = wK(A − Y) + w R Omega and G_psi = ½ (S²(wKA + w omega) − w), each n×p."""
        table = self.table
        Y = table.Y if table.K is None else table.Y * table.K
        self._precision = weigh(table, self.layer.precision.expand_as(self.A))
        self._rate = self.A + self._precision
        G_M = self.A + weigh(table, self.layer.pull - Y)
        ones = 1.0 if table.w is None else table.w[:, None]
        G_psi = 0.5 * (self.S2 * self._rate - ones)
        return G_M, G_psi

    def product(self, dM: Tensor, dpsi: Tensor) -> tuple[Tensor, Tensor]:
        """Hessian times (dM, dpsi), each n×p: three products of size n×p×p for a full covariance."""
        table = self.table
        dS2 = self.S2 * dpsi
        dA = self.A * torch.add(dM, dS2, alpha=0.5)
        dpull, dprecision = self.layer.turn(table.project(dM), dS2)
        H_M = dA + weigh(table, dpull)
        H_psi = dA.add_(weigh(table, dprecision.expand_as(dA))).mul_(self.S2).addcmul_(dS2, self._rate).mul_(0.5)
        return H_M, H_psi


class ProfiledElbo(torch.autograd.Function):
    """Minus the ELBO of (M, psi); its backward is a function too, whose backward is the Hessian product."""

    @staticmethod
    def forward(ctx: Any, M: Tensor, psi: Tensor, table: LatentTable) -> Tensor:
        """The value (scalar)."""
        ctx.at = Evaluation(M, psi, table)
        ctx.save_for_backward(M, psi)
        return ctx.at.value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradient times the upstream scalar."""
        G_M, G_psi = ProfiledElboGradient.apply(*ctx.saved_tensors, ctx.at)
        return upstream * G_M, upstream * G_psi, None


class ProfiledElboGradient(torch.autograd.Function):
    """Gradient in (M, psi) of an evaluation."""

    @staticmethod
    def forward(ctx: Any, M: Tensor, psi: Tensor, at: Evaluation) -> tuple[Tensor, Tensor]:  # noqa: ARG004 (graph)
        """The pair of gradients (n×p each)."""
        ctx.at = at
        return at.gradient()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dM: Tensor, dpsi: Tensor) -> tuple[Tensor, Tensor, None]:
        """Hessian times (dM, dpsi): the Hessian is symmetric."""
        return *ctx.at.product(dM, dpsi), None


def objective(M: Tensor, psi: Tensor, table: LatentTable) -> Tensor:
    """Minus the ELBO (scalar, nats), with analytic gradient and Hessian product behind autograd's own interface."""
    return ProfiledElbo.apply(M, psi, table)


def block_curvature(at: Evaluation) -> tuple[Tensor, Tensor, Tensor]:
    """Entries MM, M-psi and psi-psi (n×p each) of the Hessian's 2×2 block of each cell, Omega held fixed.

    The block is [[a + o, a s²/2], [., s²(a(1 + s²/2) + o)/2]] with a = wKA and o = w omega; it is positive definite.
    """
    MM = at.A + weigh(at.table, at.layer.precision.expand_as(at.A))
    Mpsi = 0.5 * at.A * at.S2
    return MM, Mpsi, 0.5 * at.S2 * (MM + Mpsi)


def feature_preconditioner(
    M: Tensor, psi: Tensor, table: LatentTable
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Approximate inverse of the Hessian's block of each feature, as a map (v_M, v_psi) -> (z_M, z_psi).

    With psi eliminated cell by cell, the block of feature j in its column of M is, for a full covariance,

        D − omega_j W^½ (F diag(lambda) F') W^½,    D = diag(w (A + omega_j)) less what psi takes,

    where the orthonormal columns of F are the directions that the profile bends: those of the design, along which B
    follows M and nothing is lost (lambda = 1), and those along which the feature's covariances follow, the principal
    directions of the residuals with lambda from their share of Sigma^ (near 1 for features that are well measured).
    By Woodbury its inverse is D^-1 + D^-1 W^½F (diag(1/(omega_j lambda)) − F'W D^-1 F)^-1 F'W^½ D^-1. The inner matrix
    is kept whole among the columns of the design and diagonal among the others. Rare features need it: their D is
    almost all omega, and without F the preconditioner takes the flat directions for steep ones.
    """
    at = Evaluation(M, psi, table)
    MM, Mpsi, psipsi = block_curvature(at)
    ratio = Mpsi / psipsi
    inverse = (MM - ratio * Mpsi).reciprocal_()
    omega = at.layer.precision
    bends: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = []
    if table.centre is None:
        Q = table.Q if table.w is None else table.Q * table.w[:, None]
        share = weigh(table, 1.0 / omega - weigh(table, inverse))
        inner = _pseudo_inverse(weighted_grams(table.Q, share))
        bends.append((Q, lambda c: torch.einsum("pij,jp->ip", inner, c)))
    steep = at.layer.bent(BENT)
    if steep is not None:
        F, leverage = steep
        gain = 1.0 / (1.0 / (omega * leverage[:, None]) - F.square().mT @ inverse)
        bends.append((F, lambda c: gain * c))

    def apply(v_M: Tensor, v_psi: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.addcmul(v_M, ratio, v_psi, value=-1.0).mul_(inverse)
        z_M = first
        for F, solve in bends:
            z_M = torch.addcmul(z_M, F @ solve(F.mT @ first), inverse)
        return z_M, torch.addcmul(v_psi / psipsi, ratio, z_M, value=-1.0)

    return apply


def _pseudo_inverse(G: Tensor) -> Tensor:
    """Inverse of symmetric positive semidefinite matrices (p×d×d), 0 along directions without curvature."""
    values, V = torch.linalg.eigh(G)
    flat = values <= 1e-10 * values[:, -1:]
    return (V * torch.where(flat, 0.0, 1.0 / torch.where(flat, 1.0, values))[:, None, :]) @ V.mT
