"""Discrimination and calibration of a logistic regression."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.numerics.likelihoods import bernoulli_loglik
from plncli.numerics.rows import group_totals, total, weighted_total

BINS = 10


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
    """Calibration of probabilities 1/(1 + exp(−eta)): Y, eta n×p, w (n,) weights, as numbers of samples.

    Samples are put in order of eta into at most BINS bins of about equal weight; equal eta share a bin.
    """
    p = Y.shape[1]
    weight, ones, sums = (Y.new_zeros((BINS, p)) for _ in range(3))
    for j in range(p):
        values, group = torch.unique(eta[:, j], return_inverse=True)  # needs all rows
        of_value = group_totals(w, group, len(values))
        middle = (of_value.cumsum(0) - 0.5 * of_value) / total(w)
        bins = (middle * BINS).long().clamp(max=BINS - 1)[group]
        weight[:, j] = group_totals(w, bins, BINS)
        ones[:, j] = group_totals(w * Y[:, j], bins, BINS)
        sums[:, j] = group_totals(w * torch.sigmoid(eta[:, j]), bins, BINS)
    expected, observed = sums / weight, ones / weight
    cells = (ones - sums).square() / (sums * (1.0 - expected))
    df = ((weight > 0).sum(dim=0) - 2).clamp_min(0).to(Y)
    statistic = torch.where(weight > 0, cells, 0.0).nan_to_num(nan=0.0).sum(dim=0)  # over bins
    p_value = torch.where(df > 0, torch.special.gammaincc(0.5 * df, 0.5 * statistic), math.nan)
    return Calibration(weight, expected, observed, statistic, df, p_value)


def brier(Y: Tensor, eta: Tensor, w: Tensor) -> Tensor:
    """(p,) mean squared distance of outcomes from their probabilities."""
    return weighted_total(w, (Y - torch.sigmoid(eta)).square()) / total(w)


def area_under_curve(Y: Tensor, eta: Tensor, w: Tensor) -> Tensor:
    """(p,) probability that a sample of class 1 has a larger eta than one of class 0, ties counting half."""
    out = []
    for y, score in zip(Y.mT, eta.mT, strict=True):
        values, group = torch.unique(score, return_inverse=True)  # needs all rows
        ones, others = (group_totals(part, group, len(values)) for part in (w * y, w * (1.0 - y)))
        out.append((ones * (others.cumsum(0) - 0.5 * others)).sum() / (ones.sum() * others.sum()))
    return torch.stack(out)


def deviance_residuals(Y: Tensor, eta: Tensor) -> Tensor:
    """Signed roots of the deviances of outcomes (n×p)."""
    sign = 2.0 * Y - 1.0
    return sign * (-2.0 * bernoulli_loglik(sign, eta)).sqrt()
