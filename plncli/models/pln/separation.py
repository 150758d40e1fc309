"""Separated cells of a table of counts: where the expected count is 0 at the supremum, and what that leaves finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.numerics.separation import PredictorLimits, poisson_separation


@dataclass(frozen=True)
class Separated:
    """What has no finite estimate, for want of counts; there is always something (see `numerics.separation`).

    cells: n×p, True where the expected count is 0 at the supremum; limits: d×p, where coefficients go (0 a finite
    value, ±1 to ±inf, nan not estimable); limits_of_others: where linear predictors of other samples go.
    """

    cells: Tensor
    limits: Tensor
    limits_of_others: PredictorLimits


def separated_cells(data: Dataset) -> Separated | None:
    """Exact, by ranks and linear programs on the rows of the design and the zeros of each feature; None where none."""
    found = poisson_separation(data.X, data.Y, data.K)  # needs all rows
    return None if found is None else Separated(found.cells, found.limits().to(data.Y), found.predictor_limits())


def counted_cells(data: Dataset, separated: Separated | None) -> Tensor | None:
    """n×p, 1 where a cell counts (observed and not separated), 0 elsewhere; None when all count."""
    counted = None if data.K is None else data.K.to(data.Y.dtype)
    if separated is None:
        return counted
    kept = (~separated.cells).to(data.Y.dtype)
    return kept if counted is None else counted * kept


def cell_limits(training: Dataset, X: Tensor) -> Tensor | None:
    """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
    separation = poisson_separation(training.X, training.Y, training.K)
    return None if separation is None else separation.predictor_limits().of_samples(X)


def with_limits(B: Tensor, separated: Separated | None) -> Tensor:
    """Coefficients B (d×p, finite) with ±inf where they diverge and nan where they are not estimable."""
    return B if separated is None else torch.where(separated.limits == 0, B, separated.limits * math.inf)


def without_estimate(data: Dataset, separated: Separated | None) -> Tensor:
    """d×p booleans, coefficients without a finite estimate."""
    if separated is None:
        return torch.zeros(data.d, data.p, dtype=torch.bool, device=data.Y.device)
    return separated.limits != 0


def at_supremum(table: Tensor, separated: Separated | None, value: float) -> Tensor:
    """A table (n×p) with its separated cells at `value`."""
    return table if separated is None else table.masked_fill(separated.cells, value)
