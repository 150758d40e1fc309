"""Links between pairs of responses: the entries of a sparse precision that are not 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PairFrequencies:
    """How often m pairs of responses, j < k, were linked in subsamples, at v values of a setting: all that ever were.

    values: (v,); first, second: (m,); shares: v×m, of the subsamples.
    """

    values: Tensor
    first: Tensor
    second: Tensor
    shares: Tensor


def partial_correlations(Omega: Tensor) -> Tensor:
    """−omega_jk / sqrt(omega_jj omega_kk), p×p, 1 on the diagonal, 0 for features without variance (nan in Omega)."""
    Omega = Omega.nan_to_num(nan=0.0)
    scale = Omega.diagonal().clamp_min(0.0).sqrt()
    scale = torch.where(scale > 0, 1.0 / scale, 0.0)
    found = -Omega * (scale * scale[:, None])
    found.fill_diagonal_(1.0)
    return found


def linked_pairs(partial: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of features j < k whose partial correlation (p×p) is not 0, strongest first."""
    j, k = torch.triu(partial, 1).nonzero(as_tuple=True)
    order = partial[j, k].abs().argsort(descending=True, stable=True)
    return j[order], k[order]


def edge_columns(Omega: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """The table of edges of a precision p×p, strongest first."""
    partial = partial_correlations(Omega)
    j, k = linked_pairs(partial)
    values = partial[j, k]
    return {
        "feature_a": [names[place] for place in j.tolist()],
        "feature_b": [names[place] for place in k.tolist()],
        "omega": Omega[j, k],
        "partial_correlation": values,
        "sign": ["positive" if value > 0 else "negative" for value in values.tolist()],
    }
