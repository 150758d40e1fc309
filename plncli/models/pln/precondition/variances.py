"""Directions in which the variances of features hardly change the bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.models.pln.elbo import Evaluation
from plncli.models.pln.precondition.features import FeatureBlocks
from plncli.numerics.rows import total, weigh

FLAT = 0.1
"""Curvature, as a share of what the features' blocks have, around which a direction of variances counts as flat."""
RARE = 0.5
"""Share of q's own variance in a feature's above which it is rare."""
FLATTEST = 1e-3
"""Share that is added to all, for smaller ones are not to be believed."""


@dataclass(frozen=True)
class Flat:
    """W = (means, own·slope − ratio·means), n×p each, and what goes between W and W': p×p, or (p,)."""

    means: Tensor
    slope: Tensor
    own: Tensor
    inner: Tensor

    def along(self, e: Tensor, v: Tensor) -> Tensor:
        """What goes along each column of W (p,), for (v_M, v), e what is left of it for the means."""
        c = total((self.means * e).addcmul_(self.own, v))
        return self.inner * c if self.inner.ndim == 1 else self.inner @ c


def flat_directions(at: Evaluation, features: FeatureBlocks) -> Flat | None:
    """Directions in which the variances of features hardly change the bound.

    Column j of W is what the features' blocks make of the derivative of log Sigma_jj: all S² of the feature grow, and
    its residuals with them, or of a rare one what no other feature explains of them. For a rare feature, or one with
    hardly any variance, the gain and the loss cancel almost exactly, and conjugate gradients alone take hundreds of
    products to find such a valley. W'HW takes three products, and is exact where the emission's curvature is.
    With S its share of what the blocks have, (S + FLATTEST)^-1 − (S + FLAT)^-1 stands between: nearly the inverse along
    flat directions, and nothing to speak of along steep ones, which the blocks know. p×p, or (p,) where features hardly
    meet. None far from the optimum, where the bound bends down in some of them.
    """
    table = at.table
    if not at.R.numel():
        return None
    S2, slope = total(weigh(table.w, at.S2)), weigh(table.w, 0.5 * at.S2)
    rare = RARE * total(weigh(table.w, at.R.square())) < (1.0 - RARE) * S2
    beside = torch.where(rare, at.layer.pull / at.layer.precision, at.R)
    W_M, W_psi = features(torch.stack([weigh(table.w, beside), slope]))
    coupled = at.layer.couple(table.mean.project(W_M), total(weigh(table.w, at.S2 * W_psi)) / table.wbar)
    if coupled is None:
        return None
    blocks, bend = coupled
    own = torch.addcmul(W_psi, features.ratio, W_M)
    A, rate = at.cells.curvature, at.stiffness
    half = 0.5 * at.S2 * A
    cells = A * W_M.square() + 2.0 * half * W_M * W_psi + 0.5 * at.S2 * (rate + half) * W_psi.square()
    if blocks.ndim == 1:
        blocks = blocks + total(cells)
        share = 1.0 - bend / blocks
        inner = (share + FLATTEST).reciprocal() - (share + FLAT).reciprocal()
        return Flat(W_M, slope, own, torch.where(share > -0.5 * FLATTEST, inner / blocks, 0.0))
    blocks.diagonal().add_(total(cells))
    scale = blocks.diagonal().rsqrt()
    S = (blocks - bend).mul_(scale[:, None]).mul_(scale)
    S.diagonal().add_(FLATTEST)
    factor, info = torch.linalg.cholesky_ex(S)
    if bool(info != 0):
        return None
    S.diagonal().add_(FLAT - FLATTEST)
    inner = torch.cholesky_inverse(factor) - torch.cholesky_inverse(torch.linalg.cholesky_ex(S).L)
    return Flat(W_M, slope, own, inner.mul_(scale[:, None]).mul_(scale))
