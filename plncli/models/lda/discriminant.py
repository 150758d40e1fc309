"""Discriminant axes: the directions of the latent layer along which groups differ most (Fisher 1936; Rao 1948).

With Sigma within groups, shares pi_g of the groups, means mu_g and their mean mu = sum_g pi_g mu_g, axis k has weights
v_k with v_k' Sigma v_l = 1 where k = l, else 0, and groups differ along it by variance lambda_k, as large as can be:

    sum_g pi_g (mu_g − mu)(mu_g − mu)' v_k = lambda_k Sigma v_k

With rows pi_g^½ (mu_g − mu)' in D (G×p), lambda and u are eigenvalues and -vectors of D Omega D' (G×G), and
v_k = lambda_k^-½ Omega D' u_k: no more than Omega D' is asked of the covariance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.models.abilities import DiscriminantAxes
from plncli.numerics.covariance import Covariance, definite

LEAST = 1e-10
"""Share of the largest variance between groups below which an axis is rounding."""


def axes(means: Tensor, shares: Tensor, covariance: Covariance) -> DiscriminantAxes:
    """Those of groups with these means (G×p) and shares (G,). The largest weight of each axis is positive.

    Features without variance have no part in them.
    """
    mean, v = shares @ means, covariance.varied
    D = shares.sqrt()[:, None] * (means - mean)[:, v]
    turned = definite(covariance.precision()).times(D) if len(v) else D
    between, U = torch.linalg.eigh(turned @ D.mT)
    kept = (between > LEAST * between[-1].clamp_min(torch.finfo(D.dtype).tiny)).nonzero()[:, 0].flip(0)
    kept = kept[: max(len(means) - 1, 0)]
    V, correlations = (
        means.new_zeros((means.shape[1], len(kept))),
        means.new_full((means.shape[1], len(kept)), torch.nan),
    )
    size = U[:, kept] * between[kept].rsqrt()
    V[v] = turned.mT @ size
    # Sigma v is lambda^-½ D'u, to which groups add lambda times as much.
    variance = covariance.variances[v] + D.square().sum(0)
    correlations[v] = (D.mT @ size) * (1.0 + between[kept]).sqrt() / variance.sqrt()[:, None]
    sign = torch.sign(V.gather(0, V.abs().argmax(0, keepdim=True))) if V.numel() else 1.0
    return DiscriminantAxes(V * sign, between[kept], mean, means, correlations * sign)
