"""A model that is nothing but a declaration and an objective: negative binomial regression of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.base import Checked, Model
from plncli.models.spec import COUNTS, B, Setting, Spec, Symbol
from plncli.names import MODEL
from plncli.numerics.rows import weighted_total

SPEC = Spec(
    name="negbin",
    title="negative binomial regression",
    help="""Negative binomial: counts more variable than Poisson.

    Each feature by itself.""",
    response=COUNTS,
    model="contract.toy:NegativeBinomial",
    symbols=(B, Symbol("log_dispersion", ("response",), "dispersion", free=True, meaning="log dispersions")),
    settings=(
        Setting(
            "Weight of a penalty on the squared log dispersions.",
            MODEL,
            name="shrink",
            kind=float,
            default=0.0,
            check=lambda value: 0.0 <= value < float("inf"),
            expects="0 or a positive number",
        ),
    ),
)


@dataclass(frozen=True)
class NegativeBinomial(Model[Checked]):
    """Y_ij with mean mu = exp(O + XB)_ij and variance mu + a_j mu² (Lawless 1987), a_j = exp(log_dispersion_j)."""

    spec: ClassVar[Spec] = SPEC
    shrink: float = 0.0

    def objective(self, params: Params, prepared: Checked) -> Tensor:
        """Minus the log-likelihood in nats, constants included."""
        data = prepared.data
        size = (-params["log_dispersion"]).exp()
        eta = data.O + data.X @ params["B"]
        odds = eta + params["log_dispersion"]
        cells = torch.lgamma(data.Y + size) - torch.lgamma(size) - torch.lgamma(data.Y + 1.0)
        cells = cells - (data.Y + size) * torch.nn.functional.softplus(odds) + data.Y * odds
        penalty = self.shrink * params["log_dispersion"].square().sum()
        return penalty - weighted_total(data.w, cells).sum()
