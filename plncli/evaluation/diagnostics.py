"""How well a model fits its data: residuals that are standard normal where the model holds, and what goes with them.

Parameters were estimated from the same data, so residuals are a little too well behaved, and tests of them find too
little rather than too much.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plncli.models.pln.importance import Cells
from plncli.numerics.distributions import poisson_lognormal_cdf, poisson_lognormal_logpmf
from plncli.numerics.likelihoods import bernoulli_loglik

FARTHEST = 6.0
"""Size beyond which a quantile residual is not told: its probability is below what quadrature resolves."""
BLOCK = 1 << 14
BINS = 10


def quantile_residuals(cells: Cells, generator: Generator) -> Tensor:
    """Randomised quantile residuals n×p (Dunn & Smyth 1996), nan where a cell does not count.

    Phi^-1 of a number drawn between F(y − 1) and F(y), F the Poisson log-normal distribution of the cell given its
    covariates alone: standard normal where the model holds, and independent between samples, not between features.
    """
    out = torch.full_like(cells.mean, math.nan)
    variance = cells.Sigma.diagonal().expand_as(cells.mean)[cells.K]
    y, mean = cells.Y[cells.K], cells.mean[cells.K]
    share = torch.rand(len(y), generator=generator, dtype=y.dtype)
    found = [_residual(*part) for part in zip(*(x.split(BLOCK) for x in (y, mean, variance, share)), strict=True)]
    out[cells.K] = torch.cat(found) if found else y
    return out


def _residual(y: Tensor, mean: Tensor, variance: Tensor, share: Tensor) -> Tensor:
    drawn = share * poisson_lognormal_logpmf(y, mean, variance).exp()
    below, above = (poisson_lognormal_cdf(y, mean, variance, upper=upper) for upper in (False, True))
    low = torch.special.ndtri((below - drawn).clamp(0.0, 1.0))  # each tail from its own side
    high = -torch.special.ndtri((above + drawn).clamp(0.0, 1.0))
    return torch.where(below < above, low, high).clamp(-FARTHEST, FARTHEST)


class Zeros(NamedTuple):
    """By feature, (p,) each: zeros counted, expected, and the standard deviation of their number."""

    counted: Tensor
    expected: Tensor
    sd: Tensor


def zeros(cells: Cells) -> Zeros:
    """Zeros of each feature among the cells that count, beside what the model expects."""
    probability = poisson_lognormal_logpmf(torch.zeros_like(cells.mean), cells.mean, cells.Sigma.diagonal()).exp()
    probability = torch.where(cells.K, probability, 0.0)
    variance = (probability * (1.0 - probability)).sum(0)
    return Zeros((cells.K & (cells.Y == 0)).sum(0).to(cells.Y), probability.sum(0), variance.sqrt())


class Normality(NamedTuple):
    """By column, (p,) each: Kolmogorov-Smirnov distance to the standard normal distribution, and its p-value."""

    distance: Tensor
    p_value: Tensor


def normality(R: Tensor) -> Normality:
    """Whether columns of residuals R (n×p, nan left out) are standard normal; nan for a column without any.

    p-values are asymptotic, with Stephens' (1970) correction for n.
    """
    distance = torch.full_like(R[0], math.nan)
    many = (~R.isnan()).sum(0).to(R)
    for j in range(R.shape[1]):
        r = R[~R[:, j].isnan(), j].sort().values
        if len(r):
            F, steps = torch.special.ndtr(r), torch.arange(len(r) + 1, dtype=r.dtype) / len(r)
            distance[j] = torch.maximum((steps[1:] - F).max(), (F - steps[:-1]).max())
    root = many.sqrt()
    x = (root + 0.12 + 0.11 / root) * distance
    k = torch.arange(1, 101, dtype=R.dtype)[:, None]
    signs = torch.where(k % 2 == 1, 2.0, -2.0)
    p_value = (signs * (-2.0 * (k * x).square()).exp()).sum(0).clamp(0.0, 1.0)
    return Normality(distance, torch.where(x < 0.2, 1.0, p_value))


# Logistic regression


class Calibration(NamedTuple):
    """Bins of samples with similar probabilities: weight, mean probability, share of ones (bins×p each); the test.

    statistic, df, p_value: (p,), Hosmer & Lemeshow's (1980): chi-squared with bins − 2 degrees of freedom.
    """

    weight: Tensor
    expected: Tensor
    observed: Tensor
    statistic: Tensor
    df: Tensor
    p_value: Tensor


def calibration(Y: Tensor, eta: Tensor, w: Tensor) -> Calibration:
    """Whether probabilities 1/(1 + exp(−eta)) are shares: Y, eta n×p, w (n,) weights, as numbers of samples.

    Samples are put in order of eta into at most BINS bins of about equal weight; equal eta share a bin.
    """
    p = Y.shape[1]
    weight, ones, sums = (Y.new_zeros((BINS, p)) for _ in range(3))
    for j in range(p):
        values, group = torch.unique(eta[:, j], return_inverse=True)
        of_value = Y.new_zeros(len(values)).index_add(0, group, w)
        middle = (of_value.cumsum(0) - 0.5 * of_value) / w.sum()
        bins = (middle * BINS).long().clamp(max=BINS - 1)[group]
        weight[:, j].index_add_(0, bins, w)
        ones[:, j].index_add_(0, bins, w * Y[:, j])
        sums[:, j].index_add_(0, bins, w * torch.sigmoid(eta[:, j]))
    expected, observed = sums / weight, ones / weight
    cells = (ones - sums).square() / (sums * (1.0 - expected))
    df = ((weight > 0).sum(0) - 2).clamp_min(0).to(Y)
    statistic = torch.where(weight > 0, cells, 0.0).nan_to_num(nan=0.0).sum(0)
    p_value = torch.where(df > 0, torch.special.gammaincc(0.5 * df, 0.5 * statistic), math.nan)
    return Calibration(weight, expected, observed, statistic, df, p_value)


def brier(Y: Tensor, eta: Tensor, w: Tensor) -> Tensor:
    """(p,) mean squared distance of outcomes from their probabilities."""
    return w @ (Y - torch.sigmoid(eta)).square() / w.sum()


def area_under_curve(Y: Tensor, eta: Tensor, w: Tensor) -> Tensor:
    """(p,) probability that a sample of class 1 has a larger eta than one of class 0, ties counting half."""
    out = []
    for y, score in zip(Y.mT, eta.mT, strict=True):
        values, group = torch.unique(score, return_inverse=True)
        ones, others = (y.new_zeros(len(values)).index_add(0, group, part) for part in (w * y, w * (1.0 - y)))
        out.append((ones * (others.cumsum(0) - 0.5 * others)).sum() / (ones.sum() * others.sum()))
    return torch.stack(out)


def deviance_residuals(Y: Tensor, eta: Tensor) -> Tensor:
    """Signed roots of the deviances of outcomes (n×p)."""
    sign = 2.0 * Y - 1.0
    return sign * (-2.0 * bernoulli_loglik(sign, eta)).sqrt()


# Linear regression


class Influence(NamedTuple):
    """leverage (n,); residuals over their standard deviations, and Cook's distances, n×p."""

    leverage: Tensor
    standardised: Tensor
    cook: Tensor


def influence(Y: Tensor, mean: Tensor, X: Tensor, w: Tensor) -> Influence:
    """Of samples on a linear regression of Y (n×p) with fitted means; weights w (n,) are numbers of samples.

    With h = x'(X'WX)^-1 x and s² the unbiased residual variance, residuals have variance s²(1 − h), and leaving a
    sample out moves the fitted values by d s² times Cook's distance r² h / (d (1 − h)), r standardised (Cook 1977).
    """
    d = X.shape[1]
    Q = torch.linalg.qr(X * w.sqrt()[:, None]).Q
    h = Q.square().sum(1) / w
    R = Y - mean
    variance = w @ R.square() / (w.sum() - d)
    left = (1.0 - h)[:, None]
    left = torch.where(left > 1e-10, left, math.nan)  # a sample that decides a coefficient alone has no residual
    standardised = R / (variance * left).sqrt()
    return Influence(h, standardised, standardised.square() * h[:, None] / (d * left))
