"""Separated cells of a table of counts: where the expected count is 0 at the supremum, and what that leaves finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.numerics.rows import some_row
from plncli.numerics.separation import PredictorLimits, poisson_separation
from plncli.sparse import block_of, column_totals, is_sparse


@dataclass(frozen=True)
class Separated:
    """What has no finite estimate, for want of counts; there is always something (see `numerics.separation`).

    cells: n×p, True where the expected count is 0 at the supremum, sparse where counts are; limits: d×p, where
    coefficients go (0 a finite value, ±1 to ±inf, nan not estimable); limits_of_others: where linear predictors of
    other samples go.
    """

    cells: Tensor
    limits: Tensor
    limits_of_others: PredictorLimits

    @property
    def features(self) -> Tensor:
        """(p,) booleans, those that have such cells."""
        return column_totals(self.cells) > 0 if is_sparse(self.cells) else some_row(self.cells)


def separated_cells(data: Dataset) -> Separated | None:
    """Exact, by ranks and linear programs on the rows of the design and the zeros of each feature; None where none."""
    found = poisson_separation(data.X, data.Y, data.K)  # needs all rows
    return None if found is None else Separated(found.cells, found.limits().to(data.X), found.predictor_limits())


def counted_cells(data: Dataset, separated: Separated | None) -> Tensor | None:
    """n×p, 1 where a cell counts (observed, not separated), 0 elsewhere; None when all count, or counts are sparse."""
    counted = None if data.K is None else data.K.to(data.Y.dtype)
    if separated is None or data.sparse:
        return counted
    kept = (~separated.cells).to(data.Y.dtype)
    return kept if counted is None else counted * kept


def counted_rows(data: Dataset, counted: Tensor | None, separated: Separated | None, rows: slice) -> Tensor | None:
    """1 where a cell of some samples counts, b×p; None: in all. counted: see `counted_cells`."""
    if data.sparse:
        return None if separated is None else 1.0 - block_of(separated.cells, rows).to(data.X)
    return None if counted is None else counted[rows]


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
