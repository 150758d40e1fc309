"""Preconditioner of the profiled ELBO: each feature's block of the Hessian, and the flat directions of variances.

It asks of the emission nothing but a positive curvature, of the mean its basis, and of the structure what bends.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.models.pln.elbo import Evaluation
from plncli.models.pln.precondition.features import FeatureBlocks
from plncli.models.pln.precondition.samples import LOADED, SampleBlocks
from plncli.models.pln.precondition.variances import flat_directions
from plncli.numerics.rows import grand_total

NEAR = 1.0
"""Nats a sample, by the features' blocks, below which the samples' blocks are worth their making."""


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
    blocks = FeatureBlocks(at)
    loaded = at.layer.loadings(LOADED)
    samples = None
    if loaded is not None:
        g = at.gradient()
        if 0.5 * float(grand_total(g * blocks(g))) < NEAR * at.table.wbar:
            samples = SampleBlocks(at, *loaded)
            samples = samples if samples.positive else None
    flat = flat_directions(at, blocks)

    def apply(v: Tensor) -> Tensor:
        e, z, along = blocks.without_psi(v), torch.empty_like(v), None
        first = blocks.of_means(e, out=z[0])
        if flat is not None:
            along = flat.along(e, v[1])
            first.addcmul_(flat.means, along)
        if samples is not None:
            samples.add(e, first)
        blocks.of_psi(v[1] if flat is None or along is None else torch.addcmul(v[1], flat.slope, along), first, z[1])
        return z

    return apply
