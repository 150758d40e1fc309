"""How well logits of structural zeros are known, beside the coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.spec import SYMBOLS
from plncli.models.uncertainty import Beside, Uncertainty, from_influence


def beside(
    answer: Uncertainty,
    inflation: Inflation,
    zeta: Tensor,
    influence: Callable[[slice], Tensor],
    w: Tensor,
    clusters: Tensor | None,
    correction: float,
) -> Uncertainty:
    """The answer, with variances of the logits of open entries; influence: rows -> b×Z, as in `from_influence`."""
    estimate = inflation.left(zeta)[SYMBOLS[inflation.kind]]
    shape = (1, int(inflation.free.sum()))
    none = torch.zeros(shape, dtype=torch.bool, device=w.device)
    found = from_influence(
        answer.method, lambda rows: influence(rows)[:, :, None], w, shape, none, clusters, correction
    )
    variance = torch.full_like(estimate.reshape(-1), torch.nan)
    variance[inflation.free.flatten()] = found.blocks[:, 0, 0]
    return replace(answer, beside={SYMBOLS[inflation.kind]: Beside(estimate, variance.view(estimate.shape))})
