"""p-values, quantiles and q-values; and whether residuals are standard normal."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.numerics.rows import total


def two_sided(statistic: Tensor, df: float = math.inf) -> Tensor:
    """P(|T| ≥ |statistic|), T normal or t with df degrees of freedom, without cancellation in the tails."""
    if math.isinf(df):
        return torch.special.erfc(statistic.abs() / math.sqrt(2.0))
    from scipy.special import betainc

    # P(|T| ≥ t) = I_x(df/2, ½) with x = df/(df + t²), the regularised incomplete beta function.
    x = df / (df + statistic.square())
    return torch.from_numpy(betainc(0.5 * df, 0.5, x.numpy()))


def quantile(probability: float, df: float = math.inf) -> float:
    """Quantile of the normal distribution, or of t with df degrees of freedom."""
    if math.isinf(df):
        return float(torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)))
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def benjamini_hochberg(p_value: Tensor) -> Tensor:
    """q-values (d×p) of p-values (d×p), each term by itself, over the responses that have a p-value.

    q_(r) = min over s ≥ r of p_(s) m/s, m p-values in ascending order (Benjamini & Hochberg 1995).
    """
    q = torch.full_like(p_value, math.nan)
    for k, row in enumerate(p_value):
        there = (~row.isnan()).nonzero()[:, 0]
        if not len(there):
            continue
        ordered, order = row[there].sort()
        m = len(there)
        scaled = ordered * (m / torch.arange(1, m + 1, dtype=row.dtype))
        best = scaled.flip(0).cummin(0).values.flip(0).clamp(max=1.0)
        q[k, there[order]] = best
    return q


def upper_tail(statistic: Tensor, rank: Tensor, df: float) -> Tensor:
    """P(chi2 with `rank` degrees of freedom ≥ statistic), or of F with `rank` and df; (p,) each."""
    from scipy.special import chdtrc, fdtrc

    k, x = rank.numpy(), statistic.numpy()
    return torch.as_tensor(chdtrc(k, x) if math.isinf(df) else fdtrc(k, df, x))


def rank_correlation(x: Tensor, y: Tensor) -> float:
    """Spearman's, of x and y (n,), equal values sharing their rank, nan in y left out; nan where one is constant."""
    there = ~y.isnan()
    a, b = (_ranks(values[there]) for values in (x, y))
    scale = (total(a.square()) * total(b.square())).sqrt()
    return float(total(a * b) / scale) if float(scale) > 0 else math.nan


def _ranks(values: Tensor) -> Tensor:
    """Ranks less their mean, (n,) -> (n,)."""
    _, group, size = torch.unique(values, return_inverse=True, return_counts=True)  # needs all rows
    rank = (size.cumsum(0) - 0.5 * size)[group].double()
    return rank - rank.mean()


class Normality(NamedTuple):
    """By column, (p,) each: Kolmogorov-Smirnov distance to the standard normal distribution, and its p-value."""

    distance: Tensor
    p_value: Tensor


def normality(R: Tensor) -> Normality:
    """Whether columns of residuals R (n×p, nan left out) are standard normal; nan for a column without any.

    p-values are asymptotic, with Stephens' (1970) correction for n.
    """
    distance = torch.full_like(R[0], math.nan)
    many = total(~R.isnan()).to(R)
    for j in range(R.shape[1]):
        r = R[~R[:, j].isnan(), j].sort().values  # needs all rows
        if len(r):
            F, steps = torch.special.ndtr(r), torch.arange(len(r) + 1, dtype=r.dtype) / len(r)
            distance[j] = torch.maximum((steps[1:] - F).max(), (F - steps[:-1]).max())
    root = many.sqrt()
    x = (root + 0.12 + 0.11 / root) * distance
    k = torch.arange(1, 101, dtype=R.dtype)[:, None]
    signs = torch.where(k % 2 == 1, 2.0, -2.0)
    p_value = (signs * (-2.0 * (k * x).square()).exp()).sum(dim=0).clamp(0.0, 1.0)  # over the terms of a series
    return Normality(distance, torch.where(x < 0.2, 1.0, p_value))
