"""What finished fits of logistic and linear regressions with a neural mean answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.abilities import Diagnosis, Prediction
from plncli.models.diagnosis import normality_columns, residual_facts, sizes, worst
from plncli.models.fitted import expected_values
from plncli.models.neural.fitted import NeuralMean
from plncli.models.regression.fitted import FittedLinear, FittedLogistic
from plncli.models.regression.influence import Influence


@dataclass(frozen=True)
class FittedNeuralLogistic(NeuralMean, FittedLogistic):
    """Probabilities 1/(1 + exp(−eta)) of the second class, eta = o + f(x)."""


@dataclass(frozen=True)
class FittedNeuralLinear(NeuralMean, FittedLinear):
    """Means eta = o + f(x)."""

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """`mean`; the prediction interval is mean ± z sqrt(Sigma_jj), Sigma that of the samples held out."""
        if "confidence" in intervals:
            raise DataError("A neural mean has no standard errors, and so no confidence interval.")
        variance = self.tensor("Sigma_unbiased").diagonal()
        if intervals and bool(variance.isnan().any()):
            raise DataError(
                "The prediction interval rests on the errors of samples held out, and this fit held out none: fit with "
                "--validation 0.2."
            )

        def observation(eta: Tensor, of_eta: Tensor, reach: float) -> tuple[Tensor, Tensor]:
            half_width = reach * (of_eta + variance).sqrt()
            return eta - half_width, eta + half_width

        return expected_values(
            self, X, O, intervals, level, column="mean", expected=_same, observation=observation, identity=True
        )

    def influence(self, data: Dataset) -> Influence:
        """Residuals over their standard deviations alone: the design says nothing of leverage."""
        R = (data.Y - self.linear_predictor(data)) / self.Sigma.diagonal().sqrt()
        nothing = torch.full_like(R, math.nan)
        return Influence(nothing[:, 0], R, nothing)

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """Residuals, in standard deviations."""
        del draws, generator
        R = self.influence(data).standardised
        by_response = normality_columns(R)
        samples = {"sample": list(data.samples), **sizes(R, data.responses)}
        responses = {"response": list(data.responses), **by_response}
        facts: dict[str, Any] = {
            **residual_facts(R, by_response, data.responses),
            "worst_samples": worst(samples, "largest", ("sample", "largest", "of")),
            "worst_features": worst(responses, "ks", tuple(responses)),
        }
        return Diagnosis(facts, {"samples": samples, "responses": responses}, R)


def _same(eta: Tensor) -> Tensor:
    return eta
