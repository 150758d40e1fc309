"""What the samples' blocks of the Hessian know beside the features'."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.models.pln.elbo import Evaluation
from plncli.models.pln.precondition.features import block_curvature
from plncli.numerics.rows import weigh

LOADED = 0.9
"""The same of a direction of the features, in the blocks of samples."""


class SampleBlocks:
    """What the blocks of samples know beyond the diagonal, on the means: with more features than samples that is much.

    The block of sample i in its row of M is diag(a) + w_i Omega less what psi takes, and Omega = diag(c) − G'diag(l)G
    is all but gone along the loadings G of large variances; the features' blocks take it for its diagonal. Where a
    direction is flat for both, or steep for both, blocks of features + blocks of samples − diagonal is the inverse, or
    twice that; where for one, it is that one's. It is positive definite, for the features' blocks are below the
    diagonal.
    """

    def __init__(self, at: Evaluation, c: Tensor, G: Tensor, leverage: Tensor) -> None:
        w = at.table.w
        MM, Mpsi, psipsi = block_curvature(at)
        self._G = G
        cell = torch.addcmul(MM, Mpsi / psipsi, Mpsi, value=-1.0)
        excess = (c - at.layer.precision).expand_as(cell)
        self._inverse = (cell + weigh(w, excess)).reciprocal_()
        self._less = self._inverse - cell.reciprocal_()
        inner = cell.new_empty((len(cell), len(G), len(G)))  # its upper triangle alone
        for k, loading in enumerate(G):
            inner[:, k, k:] = self._inverse @ (G[k:] * loading).mT
        held = leverage.reciprocal().expand(len(cell), -1)
        inner.neg_().diagonal(dim1=1, dim2=2).add_(held if w is None else held / w[:, None])
        factor, info = torch.linalg.cholesky_ex(inner, upper=True)
        self.positive = bool((info == 0).all())  # not where a variance is all but 0, and rounding decides
        self._inner = torch.cholesky_inverse(factor, upper=True)

    def add(self, e: Tensor, means: Tensor) -> None:
        """Add (the samples' inverse − the diagonal's) times e to `means` (n×p each); e is overwritten."""
        c = ((e * self._inverse) @ self._G.mT).unsqueeze(2)
        across = torch.bmm(self._inner, c).squeeze(2) @ self._G
        means.addcmul_(e, self._less).addcmul_(self._inverse, across)
