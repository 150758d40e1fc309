"""Offsets: what is known before the fit about how much of each feature a sample can show, on the log scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spread(NamedTuple):
    """How far the total counts of samples lie apart: highest over lowest, and the samples (rows) of the two."""

    fold: float
    lowest: int
    highest: int


def log_exposure(E: Tensor) -> Tensor:
    """Offset of an exposure E > 0 on the natural scale, of any shape: its natural logarithm."""
    return torch.log(E)


def depths(Y: Tensor) -> Tensor:
    """(n,) total count of each sample of Y (n×p)."""
    return Y.sum(1)


def spread(Y: Tensor) -> Spread:
    """Spread of the depths of Y (n×p) over the samples that have any count."""
    depth = depths(Y)
    lowest = int(torch.where(depth > 0, depth, torch.inf).argmin())
    highest = int(depth.argmax())
    fold = float(depth[highest] / depth[lowest]) if depth[lowest] > 0 else 1.0
    return Spread(fold, lowest, highest)
