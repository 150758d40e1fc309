"""What tables are drawn with: blocks of rows, counts, square roots of covariances, and parameters of a design.

Samples go through in blocks of a fixed number of rows: the same generator draws the same table, bit for bit, and
temporaries do not grow with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plncli.errors import DataError
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.rows import mean

BLOCK = 1 << 20
"""Cells of a block."""
LARGEST = 2.0**53
"""Counts beyond it are not exact in float64."""
LOOKED_AT = 1 << 16
"""Cells from which the share of zeros of a table is computed."""


def poisson_counts(rate: Tensor, generator: Generator) -> Tensor:
    """Poisson counts with means `rate`, elementwise; DataError for means beyond what float64 holds exactly."""
    if not bool((rate < LARGEST).all()):
        raise DataError(
            f"Expected counts go up to {float(rate.max()):.3g}, beyond what a table can hold exactly. "
            "Take smaller standard deviations, effects, exposures or a smaller depth."
        )
    return torch.poisson(rate, generator=generator)


def by_blocks(
    X: Tensor, p: int, mean: Callable[[Tensor], Tensor], draw: Callable[[slice, Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """The two tables (n×p) that `draw` makes of blocks of rows and of the mean of X (rows×p) in them."""
    n = X.shape[0]
    Y, latent = X.new_empty((n, p)), X.new_empty((n, p))
    step = max(1, BLOCK // p)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        Y[rows], latent[rows] = draw(rows, mean(X[rows]))
    return Y, latent


def normal(like: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers in the shape of `like`."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def square_root(Sigma: Tensor) -> Tensor:
    """L (p×p) with LL' = Sigma; DataError unless Sigma is a covariance matrix. Variances of 0 make rows of zeros."""
    varied = (Sigma.diagonal() != 0).nonzero()[:, 0]
    root = torch.zeros_like(Sigma)
    if len(varied):
        place = (varied[:, None], varied)
        root[place] = _root_of_varied(Sigma[place])
    still = Sigma.diagonal() == 0
    if bool((Sigma[still] != 0).any()):
        raise DataError("Sigma is no covariance matrix: a feature of variance 0 has a covariance with another.")
    return root


def _root_of_varied(Sigma: Tensor) -> Tensor:
    factor = cholesky_scaled(Sigma)
    if factor is not None:
        return factor.L
    if not bool((Sigma.diagonal() > 0).all()) or not bool(torch.isfinite(Sigma).all()):
        raise DataError("Sigma is no covariance matrix: its diagonal must hold finite variances of 0 or more.")
    sd = Sigma.diagonal().sqrt()
    values, V = torch.linalg.eigh(Sigma / sd / sd[:, None])
    if float(values[0]) < -1e-8 * len(sd):
        raise DataError(
            f"Sigma is no covariance matrix: its correlations have a negative eigenvalue, {float(values[0]):.3g}."
        )
    return sd[:, None] * V * values.clamp_min(0.0).sqrt()


# Parameters of a design


def toeplitz(sd: Tensor, correlation: float) -> Tensor:
    """Covariance (p×p) of features with standard deviations sd (p,), correlated by correlation^|j − k|."""
    index = torch.arange(len(sd), dtype=sd.dtype)
    return sd[:, None] * correlation ** (index[:, None] - index).abs() * sd


class Level(NamedTuple):
    """Intercepts (p,), the expected total of a sample, and the expected share of zeros (nan where not asked for)."""

    intercepts: Tensor
    depth: float
    zeros: float


def count_intercepts(eta: Tensor, variance: Tensor, profile: Tensor, depth: float | None, zeros: float | None) -> Level:
    """Intercepts `level + profile`, such that samples have a mean expected total `depth`, or a share `zeros` of zeros.

    eta: n×p, log-means without the intercepts; variance: (p,) of the latent layer. Where depth and zeros are both
    wanted, the profile is stretched: the more uneven the features, the more zeros at the same depth. DataError where
    no profile gives that. Zeros are computed from `LOOKED_AT` cells of evenly spaced samples.
    """
    half = eta + 0.5 * variance
    few = eta[:: max(1, -(-eta.numel() // LOOKED_AT))]

    def level_for(depth: float, b: Tensor) -> float:
        return math.log(depth) - float(torch.logsumexp((half + b).flatten(), 0)) + math.log(len(eta))

    def share(b: Tensor) -> float:
        return float(zero_probability(few + b, variance).mean())

    if zeros is None:
        assert depth is not None
        return Level(profile + level_for(depth, profile), depth, math.nan)
    if depth is None:
        level = _root(lambda level: zeros - share(profile + level), -100.0, 100.0)
        b = profile + level
        return Level(b, math.exp(-level_for(1.0, b)), share(b))

    def stretched(t: float) -> Tensor:
        b = t * profile
        return b + level_for(depth, b)

    least, most = share(stretched(0.0)), share(stretched(20.0))
    if not least <= zeros <= most:
        raise DataError(
            f"With a depth of {depth:g} for {len(variance)} features, between {100 * least:.2g} % and "
            f"{100 * most:.2g} % of the counts are 0, not {100 * zeros:g} %: {'raise' if zeros < least else 'lower'} "
            "--depth, or leave it out."
        )
    b = stretched(_root(lambda t: share(stretched(t)) - zeros, 0.0, 20.0))
    return Level(b, depth, share(b))


def logistic_intercepts(eta: Tensor, zeros: float) -> Tensor:
    """Intercepts (p,) with which a share `zeros` of each response is expected to be 0; eta: n×p without them."""
    low = torch.full_like(eta[0], -1000.0)
    high = -low
    for _ in range(100):
        middle = 0.5 * (low + high)
        many = mean(torch.sigmoid(-(eta + middle))) > zeros
        low, high = torch.where(many, middle, low), torch.where(many, high, middle)
    return 0.5 * (low + high)


def zero_probability(mean: Tensor, variance: Tensor) -> Tensor:
    """P(Y = 0) of Y ~ Poisson(exp(Z)), Z ~ Normal(mean, variance), elementwise, by the trapezoid rule."""
    step = 0.25
    out = torch.zeros_like(mean)
    sigma = variance.sqrt()
    for k in range(-34, 35):
        weight = step / math.sqrt(2.0 * math.pi) * math.exp(-0.5 * (k * step) ** 2)
        out.add_((-(mean + sigma * (k * step)).exp()).exp_(), alpha=weight)
    return out


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f, negative at `low` and positive at `high`, is 0, to 1e-6."""
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        if f(middle) < 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
