"""Preconditioner of the profiled ELBO: each feature's block of the Hessian, and the flat directions of variances.

It asks of the emission nothing but a positive curvature, of the mean its basis, and of the structure what bends.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.models.pln.elbo import Evaluation
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram, grand_total, total, weigh

BENT = 0.95
"""Leverage above which a principal direction of the residuals is worth its place in the preconditioner."""
LOADED = 0.9
"""The same of a direction of the features, in the blocks of samples."""
NEAR = 1.0
"""Nats a sample, by the features' blocks, below which the samples' blocks are worth their making."""
FLAT = 0.1
"""Curvature, as a share of what the features' blocks have, around which a direction of variances counts as flat."""
ROUNDED = 1e-12
"""Curvature along the design, as a share of what Omega alone would give, that is no more than rounding."""
FLATTEST = 1e-3
"""Share that is added to all, for smaller ones are not to be believed."""


def block_curvature(at: Evaluation) -> tuple[Tensor, Tensor, Tensor]:
    """Entries MM, M-psi and psi-psi (n×p each) of the Hessian's 2×2 block of each cell, Omega held fixed.

    The block is [[a + o, a s²/2], [., s²(a(1 + s²/2) + o)/2]] with a the emission's positive curvature (Poisson: wKA,
    and then it is exact) and o = w omega; it is positive definite.
    """
    Mpsi = 0.5 * at.cells.curvature * at.S2
    return at.stiffness, Mpsi, 0.5 * at.S2 * (at.stiffness + Mpsi)


def feature_preconditioner(at: Evaluation) -> Callable[[Tensor], Tensor]:
    """Approximate inverse of the Hessian's block of each feature, as a map on 2×n×p.

    With psi eliminated cell by cell, the block of feature j in its column of M is, for a full covariance,

        D − omega_j W^½ (F diag(lambda) F') W^½,    D = diag(a + w omega_j) less what psi takes,

    where the orthonormal columns of F are the directions that the profile bends: those of the design, along which B
    follows M and nothing is lost (lambda = 1), and those along which the feature's covariances follow, the principal
    directions of the residuals with lambda from their share of Sigma^ (near 1 for features that are well measured).
    By Woodbury its inverse is D^-1 + D^-1 W^½F (diag(1/(omega_j lambda)) − F'W D^-1 F)^-1 F'W^½ D^-1. The inner matrix
    is kept whole among the columns of the design and diagonal among the others. Rare features need it: their D is
    almost all omega, and without F the preconditioner takes the flat directions for steep ones.
    """
    blocks = _FeatureBlocks(at)
    loaded = at.layer.loadings(LOADED)
    samples = None
    if loaded is not None:
        g = at.gradient()
        if 0.5 * float(grand_total(g * blocks(g))) < NEAR * at.table.wbar:
            samples = _SampleBlocks(at, *loaded)
            samples = samples if samples.positive else None
    flat = _flat_directions(at, blocks)

    def apply(v: Tensor) -> Tensor:
        z = blocks(v)
        if flat is not None:
            W, inner = flat
            c = total((W * v).flatten(0, 1))
            z.addcmul_(W, inner * c if inner.ndim == 1 else inner @ c)
        return z if samples is None else samples.add(v, z)

    return apply


class _FeatureBlocks:
    """The approximate inverse of each feature's block, on 2×n×p."""

    def __init__(self, at: Evaluation) -> None:
        table, omega = at.table, at.layer.precision
        MM, Mpsi, psipsi = block_curvature(at)
        self._ratio = Mpsi / psipsi
        self._inverse = torch.addcmul(MM, self._ratio, Mpsi, value=-1.0).reciprocal_()
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
        first = torch.addcmul(v[0], self._ratio, v[1], value=-1.0, out=z[0]).mul_(self._inverse)
        if self._F.shape[1]:
            first.addcmul_(self._F @ self._solve(gram(self._F, first)), self._inverse)
        torch.mul(v[1], self._own, out=z[1]).addcmul_(self._ratio, first, value=-1.0)
        return z

    def _solve(self, c: Tensor) -> Tensor:
        """The inner inverse of Woodbury's formula, on m×p, in place: the first rows together, the others by gains."""
        d = 0 if self._together is None else self._together.shape[1]
        if self._together is not None:
            c[:d] = torch.einsum("pij,jp->ip", self._together, c[:d])
        c[d:].mul_(self._gain)
        return c


class _SampleBlocks:
    """What the blocks of samples know beyond the diagonal, on 2×n×p: with more features than samples that is much.

    The block of sample i in its row of M is diag(a) + w_i Omega less what psi takes, and Omega = diag(c) − G'diag(l)G
    is all but gone along the loadings G of large variances; the features' blocks take it for its diagonal. Where a
    direction is flat for both, or steep for both, blocks of features + blocks of samples − diagonal is the inverse, or
    twice that; where for one, it is that one's. It is positive definite, for the features' blocks are below the
    diagonal.
    """

    def __init__(self, at: Evaluation, c: Tensor, G: Tensor, leverage: Tensor) -> None:
        w = at.table.w
        MM, Mpsi, psipsi = block_curvature(at)
        self._ratio, self._G = Mpsi / psipsi, G
        cell = torch.addcmul(MM, self._ratio, Mpsi, value=-1.0)
        excess = (c - at.layer.precision).expand_as(cell)
        self._inverse = (cell + weigh(w, excess)).reciprocal_()
        self._less = self._inverse - cell.reciprocal_()
        inner = torch.stack([(G * row) @ G.mT for row in self._inverse]).neg_()
        held = leverage.reciprocal().expand(len(cell), -1)
        inner.diagonal(dim1=1, dim2=2).add_(held if w is None else held / w[:, None])
        factor, info = torch.linalg.cholesky_ex(inner)
        self.positive = bool((info == 0).all())  # not where a variance is all but 0, and rounding decides
        self._inner = torch.cholesky_inverse(factor)

    def add(self, v: Tensor, z: Tensor) -> Tensor:
        """z + (the samples' inverse − the diagonal's) times v, in place."""
        first = torch.addcmul(v[0], self._ratio, v[1], value=-1.0)
        c = ((first * self._inverse) @ self._G.mT).unsqueeze(2)
        across = torch.bmm(self._inner, c).squeeze(2) @ self._G
        first.mul_(self._less).addcmul_(self._inverse, across)
        z[0].add_(first)
        z[1].addcmul_(self._ratio, first, value=-1.0)
        return z


def _flat_directions(at: Evaluation, features: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor] | None:
    """Directions in which the variances of features hardly change the bound: W (2×n×p) and what goes between W and W'.

    Column j of W is what the features' blocks make of the derivative of log Sigma_jj: all S² of the feature grow, and
    its mean falls. For a rare feature, or one with hardly any variance, the gain and the loss cancel almost exactly,
    and conjugate gradients alone take hundreds of products to find such a valley. W'HW takes three
    products, and is exact where the emission's curvature is.
    With S its share of what the blocks have, (S + FLATTEST)^-1 − (S + FLAT)^-1 stands between: nearly the inverse along
    flat directions, and nothing to speak of along steep ones, which the blocks know. p×p, or (p,) where features hardly
    meet. None far from the optimum, where the bound bends down in some of them.
    """
    table = at.table
    if not at.R.numel():
        return None
    W = features(torch.stack([weigh(table.w, at.layer.pull / at.layer.precision), weigh(table.w, 0.5 * at.S2)]))
    W_M, W_psi = W
    coupled = at.layer.couple(table.mean.project(W_M), total(weigh(table.w, at.S2 * W_psi)) / table.wbar)
    if coupled is None:
        return None
    blocks, bend = coupled
    A, rate = at.cells.curvature, at.stiffness
    half = 0.5 * at.S2 * A
    cells = A * W_M.square() + 2.0 * half * W_M * W_psi + 0.5 * at.S2 * (rate + half) * W_psi.square()
    if blocks.ndim == 1:
        blocks = blocks + total(cells)
        share = 1.0 - bend / blocks
        inner = (share + FLATTEST).reciprocal() - (share + FLAT).reciprocal()
        return W, torch.where(share > -0.5 * FLATTEST, inner / blocks, 0.0)
    blocks.diagonal().add_(total(cells))
    scale = blocks.diagonal().rsqrt()
    S = (blocks - bend).mul_(scale[:, None]).mul_(scale)
    S.diagonal().add_(FLATTEST)
    factor, info = torch.linalg.cholesky_ex(S)
    if bool(info != 0):
        return None
    S.diagonal().add_(FLAT - FLATTEST)
    inner = torch.cholesky_inverse(factor) - torch.cholesky_inverse(torch.linalg.cholesky_ex(S).L)
    return W, inner.mul_(scale[:, None]).mul_(scale)


def _pseudo_inverse(G: Tensor, least: Tensor) -> Tensor:
    """Inverse of symmetric positive semidefinite matrices (p×d×d), 0 along directions of curvature up to least (p,)."""
    values, V = torch.linalg.eigh(G)
    flat = values <= torch.maximum(1e-10 * values[:, -1], least)[:, None]
    return (V * torch.where(flat, 0.0, 1.0 / torch.where(flat, 1.0, values))[:, None, :]) @ V.mT
