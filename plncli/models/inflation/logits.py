"""Curvature in the parameters of the probabilities of structural zeros, as a preconditioner takes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.models.inflation.entries import Inflation
from plncli.numerics.linalg import weighted_grams

LEAST = 1e-2
"""Share of what all cells pay that the curvature in a logit keeps in the preconditioner, whatever the zeros take."""


def curvatures(inflation: Inflation, zeta: Tensor, bends: Tensor) -> Tensor:
    """Positive curvature in the entries' logits, of entries' shape, 0 in closed ones; bends: that of the zeros."""
    base = inflation.base_bend(zeta)
    return torch.where(inflation.free, torch.maximum(base + bends, LEAST * base), 0.0)


def diagonal(curvature: Tensor, X: Tensor | None) -> Tensor:
    """The same in the parameters, of their shape, nowhere 0."""
    return (curvature if X is None else X.square().mT @ curvature).clamp_min(1e-6)


def preconditioner(curvature: Tensor, X: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Its inverse, as a map of parameters; a unit in directions without curvature."""
    if X is None:
        inverse = torch.where(curvature > 0, curvature, 1.0).reciprocal()
        return lambda v: inverse * v
    values, V = torch.linalg.eigh(weighted_grams(X, curvature))
    flat = values <= 1e-12 * values[:, -1:].clamp_min(1e-300)
    scale = torch.where(flat, 1.0, values).reciprocal()
    return lambda v: (V @ (scale[:, :, None] * (V.mT @ v.mT[:, :, None])))[:, :, 0].mT
