"""Which cells of a table count: observed, neither separated nor structural zeros for sure; and what zeros may be."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.inflation.design import ZeroDesign, check_intercept
from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.spec import NONE, ZERO_INFLATION
from plncli.models.pln.separation import Separated, counted_cells, separated_cells

Counting = tuple[Separated | None, Tensor | None, Inflation | None]


def counting(data: Dataset, zero_inflation: str) -> Counting:
    """What has no finite coefficient, None where there is nothing; 1 where a cell counts, n×p, None: in all; zeros."""
    separated = separated_cells(data)
    counted = counted_cells(data, separated)
    if zero_inflation == NONE:
        return separated, counted, None
    if ZERO_INFLATION.is_formula(zero_inflation):
        if data.X0 is None:
            raise DataError(f"--zero-inflation `{zero_inflation}` asks for a design of structural zeros: X0, n×c.")
        check_intercept(data.X0)
        if data.X0.shape[1] > 1:
            return _by_design(data, separated, counted)
        zero_inflation = "feature"
    return separated, counted, Inflation.of(zero_inflation, _weights(data, counted))


def _by_design(data: Dataset, separated: Separated | None, counted: Tensor | None) -> Counting:
    """Where a design tells of structural zeros.

    Zeros that are structural for sure count no more, which may leave coefficients of the mean without a finite
    estimate, and so on until nothing changes.
    """
    assert data.X0 is not None
    zero, positive = data.Y == 0, data.Y > 0
    sure = torch.zeros_like(zero)
    while True:
        counts = torch.ones_like(zero) if counted is None else counted > 0
        design = ZeroDesign.of(data.X0, data.w, data.zero_terms, counts & positive, (counts | sure) & zero)
        now = sure | (design.sure > 0)
        if torch.equal(now, sure):
            return separated, counted, Inflation.by(design, _weights(data, counted))
        sure = now
        observed = ~sure if data.K is None else data.K & ~sure
        seen = replace(data, K=observed)
        separated = separated_cells(seen)
        counted = counted_cells(seen, separated)


def _weights(data: Dataset, counted: Tensor | None) -> Tensor:
    """Of the cells that count, n×p."""
    weights = data.w[:, None].expand_as(data.Y)
    return weights if counted is None else weights * counted


def cell_limits(training: Dataset, X: Tensor, X0: Tensor | None, zero_inflation: str) -> Tensor | None:
    """Where linear predictors of samples X (m×d), X0 (m×c) go in a fit to `training`, m×p; None: all are finite.

    Where all zeros are structural, no count is expected: −1 too. nan: that is not estimable.
    """
    separated, _, inflation = counting(training, zero_inflation)
    limits = None if separated is None else separated.limits_of_others.of_samples(X)
    wider = None if inflation is None else inflation.wider
    if wider is None or wider.faces is None or X0 is None:
        return limits
    zeros = wider.faces.predictor_limits().of_samples(X0)
    found = torch.where(zeros.isnan(), math.nan, torch.where(zeros > 0, -1.0, 0.0).to(zeros))
    return found if limits is None else torch.where(limits == 0, found, limits)
