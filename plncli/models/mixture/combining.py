"""What clusters have together: moments, medians, quantiles and probabilities of their mixture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from plncli.models.pln.finished.fitted import FittedPLN
from plncli.numerics.distributions import poisson_lognormal_cdf, poisson_lognormal_logpmf, poisson_lognormal_quantile

LOW = -1e3
"""Logarithm of a rate that is 0."""


def median(log_pi: Tensor, etas: list[Tensor], variances: list[Tensor]) -> Tensor:
    """Median of the log rate, n×p, by bisection between those of the clusters."""
    stacked = torch.stack([eta.expand_as(etas[0]) for eta in etas])
    sd = torch.stack(variances)[:, None].sqrt().clamp_min(torch.finfo(stacked.dtype).tiny)
    low, high = stacked.amin(0), stacked.amax(0)
    known = torch.isfinite(low) & torch.isfinite(high)
    weights = log_pi.exp()[:, None, None]
    for _ in range(80):
        middle = 0.5 * (low + high)
        below = (weights * torch.special.ndtr((middle - stacked) / sd)).sum(0) < 0.5
        low, high = torch.where(known & below, middle, low), torch.where(known & ~below, middle, high)
    return torch.where(known, 0.5 * (low + high), low)


def quantile(log_pi: Tensor, probability: float, etas: list[Tensor], variances: list[Tensor]) -> Tensor:
    """Smallest count y with P(Y ≤ y) ≥ probability, n×p, by bisection between those of the clusters."""
    each = torch.stack([poisson_lognormal_quantile(probability, *pair) for pair in zip(etas, variances, strict=True)])
    low, high = each.amin(0) - 1.0, each.amax(0)
    known = torch.isfinite(low) & torch.isfinite(high)
    while bool((known & (high - low > 1.0)).any()):
        middle = torch.where(known, ((low + high) / 2.0).floor(), 0.0)
        enough = cdf(log_pi, middle, etas, variances) >= probability
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return torch.where(known, high, torch.nan)


def cdf(log_pi: Tensor, y: Tensor, etas: list[Tensor], variances: list[Tensor], *, upper: bool = False) -> Tensor:
    """P(Y ≤ y), or P(Y > y), n×p."""
    parts = [
        share * poisson_lognormal_cdf(y, eta.nan_to_num(nan=0.0, neginf=LOW).expand_as(y), v.expand_as(y), upper=upper)
        for share, eta, v in zip(log_pi.exp(), etas, variances, strict=True)
    ]
    return torch.stack(parts).sum(0)


def pmf(log_pi: Tensor, y: Tensor, etas: list[Tensor], variances: list[Tensor]) -> Tensor:
    """P(Y = y), n×p."""
    parts = [
        share * poisson_lognormal_logpmf(y, eta, v).exp()
        for share, eta, v in zip(log_pi.exp(), etas, variances, strict=True)
    ]
    return torch.stack(parts).sum(0)


def of_fit(cluster: FittedPLN, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> FittedPLN:
    """A cluster with q of these samples, as if they were those of its fit."""
    q = cluster.transform(X, O, Y, K)
    mean = torch.where(torch.isfinite(q.mean), q.mean, X @ cluster.B)
    return replace(cluster, state={**cluster.state, "M_finite": mean, "S": q.sd.nan_to_num(nan=0.0)})


def mixed(weights: Tensor, each: Tensor) -> Tensor:
    """Sum over clusters of weights (n×K) times tables (K×n×p), n×p."""
    return torch.where(weights.mT[:, :, None] > 0, weights.mT[:, :, None] * each, 0.0).sum(0)


def moments(weights: Tensor, means: Tensor, sds: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a mixture of these (K×n×p each), n×p; a mean of −inf stays that."""
    mean = mixed(weights, means)
    off = torch.where(torch.isfinite(mean), means - mean, 0.0)
    return mean, mixed(weights, sds.square() + off.square()).sqrt()


def any_of(reasons: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What is said of a cell in some cluster."""
    found: dict[str, Tensor] = {}
    for each in reasons:
        for name, cells in each.items():
            found[name] = cells | found[name] if name in found else cells
    return found
