"""Residuals of counts that are standard normal where the model holds, and zeros beside those expected.

Parameters were estimated from the same data, so residuals are a little too well behaved, and tests of them find too
little rather than too much.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from plncli.models.abilities import Zeros
from plncli.models.diagnosis import DOUBTFUL
from plncli.models.pln.finished.importance import Cells
from plncli.numerics.distributions import poisson_lognormal_cdf, poisson_lognormal_logpmf
from plncli.numerics.rows import total
from plncli.numerics.significance import benjamini_hochberg, two_sided

FARTHEST = 6.0
"""Size beyond which a quantile residual is not told: its probability is below what quadrature resolves."""
BLOCK = 1 << 14


def quantile_residuals(cells: Cells, generator: Generator) -> Tensor:
    """Randomised quantile residuals n×p (Dunn & Smyth 1996), nan where a cell does not count.

    Phi^-1 of a number drawn between F(y − 1) and F(y), F the (zero-inflated) Poisson log-normal distribution of the
    cell given its covariates alone: standard normal where the model holds, and independent between samples, not between
    features.
    """
    out = torch.full_like(cells.mean, math.nan)
    variance = cells.variances.expand_as(cells.mean)[cells.K]
    y, mean = cells.Y[cells.K], cells.mean[cells.K]
    pi = torch.zeros_like(y) if cells.logits is None else cells.logits[cells.K].sigmoid()
    share = torch.rand(len(y), generator=generator, dtype=y.dtype)
    found = [_residual(*part) for part in zip(*(x.split(BLOCK) for x in (y, mean, variance, pi, share)), strict=True)]
    out[cells.K] = torch.cat(found) if found else y
    return out


def _residual(y: Tensor, mean: Tensor, variance: Tensor, pi: Tensor, share: Tensor) -> Tensor:
    probability = (1.0 - pi) * poisson_lognormal_logpmf(y, mean, variance).exp()
    drawn = share * torch.where(y > 0, probability, pi + probability)
    below, above = (poisson_lognormal_cdf(y, mean, variance, upper=upper) for upper in (False, True))
    below, above = pi + (1.0 - pi) * below, (1.0 - pi) * above
    low = torch.special.ndtri((below - drawn).clamp(0.0, 1.0))  # each tail from its own side
    high = -torch.special.ndtri((above + drawn).clamp(0.0, 1.0))
    return torch.where(below < above, low, high).clamp(-FARTHEST, FARTHEST)


def zeros(cells: Cells) -> Zeros:
    """Zeros of each feature among the cells that count, beside what the model expects."""
    probability = poisson_lognormal_logpmf(torch.zeros_like(cells.mean), cells.mean, cells.variances).exp()
    sampling = None
    if cells.logits is not None:
        pi = cells.logits.sigmoid()
        probability = (1.0 - pi) * probability
        sampling = total(torch.where(cells.K, probability, 0.0))
        probability = pi + probability
    probability = torch.where(cells.K, probability, 0.0)
    variance = total(probability * (1.0 - probability))
    return Zeros(total(cells.K & (cells.Y == 0)).to(cells.Y), total(probability), variance.sqrt(), sampling)


def far_off(found: Zeros) -> Tensor:
    """(p,) booleans: features whose zeros are more or fewer than the model expects, q < DOUBTFUL.

    By z = (|difference| − ½)/sqrt(variance + ¼), with Yates' correction; the quarter keeps one zero, where next to none
    is expected, from being called far off.
    """
    z = ((found.counted - found.expected).abs() - 0.5).clamp_min(0.0) / (found.sd.square() + 0.25).sqrt()
    return benjamini_hochberg(two_sided(z)[None])[0] < DOUBTFUL
