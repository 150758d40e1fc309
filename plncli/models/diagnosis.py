"""What the diagnoses of all models have in common: sizes of residuals, whether they are normal, and what fits worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from plncli.numerics.rows import total
from plncli.numerics.significance import benjamini_hochberg, normality

DOUBTFUL = 0.05
"""q-value below which a response is said not to follow the model."""
SHOWN = 5


def sizes(R: Tensor, responses: tuple[str, ...]) -> dict[str, Any]:
    """By sample: the root mean square of its residuals R (n×p), and the largest in size, with the response it is of."""
    known = R.nan_to_num(nan=0.0)
    largest = known.abs().argmax(1)
    many = (~R.isnan()).sum(1)
    return {
        "residual_rms": (known.square().sum(1) / many).sqrt(),
        "largest": known.gather(1, largest[:, None])[:, 0],
        "of": [responses[j] for j in largest.tolist()],
    }


def normality_columns(R: Tensor) -> dict[str, Tensor]:
    """By response: mean and standard deviation of its residuals, and how far they are from standard normal."""
    many = total(~R.isnan())
    mean = total(R.nan_to_num(nan=0.0)) / many
    sd = (total((R - mean).square().nan_to_num(nan=0.0)) / many).sqrt()
    found = normality(R)
    q = benjamini_hochberg(found.p_value[None])[0]
    return {"residual_mean": mean, "residual_sd": sd, "ks": found.distance, "ks_p": found.p_value, "ks_q": q}


def residual_facts(R: Tensor, found: Mapping[str, Tensor], responses: tuple[str, ...]) -> dict[str, Any]:
    """All residuals together, and the responses whose residuals are not standard normal."""
    known = R[~R.isnan()]
    poor = (found["ks_q"] < DOUBTFUL).nonzero()[:, 0].tolist()
    return {
        "residuals": {
            "mean": float(known.mean()),
            "sd": float(known.std()),
            "beyond_2": float((known.abs() > 2.0).double().mean()),
            "expected_beyond_2": 2.0 * float(torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64))),
        },
        "poor": len(poor),
        "poor_features": [responses[j] for j in poor],
    }


def worst(columns: Mapping[str, Any], by: str, shown: tuple[str, ...]) -> list[dict[str, Any]]:
    """The SHOWN rows with the largest size in a column."""
    order = columns[by].abs().nan_to_num(nan=-1.0).argsort(descending=True, stable=True)[:SHOWN].tolist()
    return [{name: _plain(columns[name][i]) for name in shown} for i in order]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value
