"""Leverage and influence of samples in a linear regression."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.numerics.rows import total, weighted_total

INFLUENTIAL = 1.0
"""Cook's distance above which a sample moves the fit far (Cook & Weisberg 1982)."""


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
    Q = torch.linalg.qr(X * w.sqrt()[:, None]).Q  # needs all rows
    h = Q.square().sum(1) / w
    R = Y - mean
    variance = weighted_total(w, R.square()) / (total(w) - d)
    left = (1.0 - h)[:, None]
    left = torch.where(left > 1e-10, left, math.nan)  # a sample that decides a coefficient alone has no residual
    standardised = R / (variance * left).sqrt()
    return Influence(h, standardised, standardised.square() * h[:, None] / (d * left))
