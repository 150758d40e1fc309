"""What finished fits of logistic and linear regressions answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.abilities import Diagnosis, Prediction, Score, Simulated
from plncli.models.diagnosis import DOUBTFUL, normality_columns, residual_facts, sizes, worst
from plncli.models.fitted import Fitted, check_errors, expected_values
from plncli.models.neural.spec import NETWORK
from plncli.models.regression.classification import (
    Calibration,
    area_under_curve,
    brier,
    calibration,
    deviance_residuals,
)
from plncli.models.regression.influence import INFLUENTIAL, Influence, influence
from plncli.numerics.likelihoods import bernoulli_loglik
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.significance import benjamini_hochberg
from plncli.numerics.simulation import by_blocks, normal, square_root


@dataclass(frozen=True)
class FittedLogistic(Fitted):
    """Probabilities 1/(1 + exp(−eta)) of the second class, eta = o + B'x."""

    classified: ClassVar[str] = "probability"

    @classmethod
    def answering(cls, state: Mapping[str, Any]) -> type[Fitted]:
        """`FittedNeuralLogistic` where the mean is neural."""
        from plncli.models.regression.neural_fitted import FittedNeuralLogistic

        return FittedNeuralLogistic if NETWORK in state else cls

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """`link` and `probability`."""
        if "prediction" in intervals:
            raise DataError(
                "A logistic model has no prediction interval: a new observation is one class or the other, with the "
                "probability that is predicted. Ask for the confidence interval of that."
            )
        check_errors(self, "confidence" in intervals)
        return expected_values(self, X, O, intervals, level, column=self.classified, expected=torch.sigmoid)

    def classify(self, prediction: Prediction) -> Tensor:
        """The more probable class of each cell that was predicted, n×p."""
        return (prediction.columns[self.classified] >= 0.5).long()

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """Y_ij ~ Bernoulli(1/(1 + exp(−eta_ij))), eta = O + XB, for all n rows of X."""

        def draw(rows: slice, eta: Tensor) -> tuple[Tensor, Tensor]:
            eta = eta + O[rows]
            uniform = torch.rand(eta.shape, generator=generator, dtype=eta.dtype)
            return (uniform < torch.sigmoid(eta)).to(eta.dtype), eta

        return Simulated(*by_blocks(X, len(self.responses), self.mean, draw))

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of classes; their deviance is −2 times that."""
        cells = scored * bernoulli_loglik(2.0 * Y - 1.0, O + self.mean(X))
        return Score(cells.sum(1), -2.0 * cells)

    def calibration(self, data: Dataset) -> Calibration:
        """Bins of samples with similar probabilities, and Hosmer & Lemeshow's test."""
        return calibration(data.Y, self.linear_predictor(data), data.w)

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """Calibration and discrimination."""
        del draws, generator
        eta = self.linear_predictor(data)
        made = calibration(data.Y, eta, data.w)
        q_value = benjamini_hochberg(made.p_value[None])[0]
        R = deviance_residuals(data.Y, eta)
        responses = {
            "response": list(data.responses),
            "brier": brier(data.Y, eta, data.w),
            "auc": area_under_curve(data.Y, eta, data.w),
            "hosmer_lemeshow": made.statistic,
            "df": made.df,
            "p_value": made.p_value,
            "q_value": q_value,
        }
        there = made.weight > 0
        at, of = there.mT.nonzero().unbind(1)[::-1]
        bins = {
            "response": [data.responses[j] for j in of.tolist()],
            "bin": at + 1,
            **{name: getattr(made, name)[at, of] for name in ("weight", "expected", "observed")},
        }
        samples = {"sample": list(data.samples), **sizes(R, data.responses)}
        facts: dict[str, Any] = {
            "poor": int(q_value.lt(DOUBTFUL).sum()),
            "poor_features": [data.responses[j] for j in q_value.lt(DOUBTFUL).nonzero()[:, 0].tolist()],
            "worst_features": worst(responses, "hosmer_lemeshow", tuple(responses)),
            "worst_samples": worst(samples, "largest", ("sample", "largest", "of")),
        }
        return Diagnosis(facts, {"samples": samples, "responses": responses, "bins": bins}, R)


@dataclass(frozen=True)
class FittedLinear(Fitted):
    """Means eta = o + B'x; Sigma of the residuals by maximum likelihood, and without bias for predictions."""

    @classmethod
    def answering(cls, state: Mapping[str, Any]) -> type[Fitted]:
        """`FittedNeuralLinear` where the mean is neural."""
        from plncli.models.regression.neural_fitted import FittedNeuralLinear

        return FittedNeuralLinear if NETWORK in state else cls

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """`mean`; the prediction interval is mean ± t sqrt(Sigma_jj + the variance of the mean)."""
        check_errors(self, bool(intervals))
        residual = self.tensor("Sigma_unbiased").diagonal()

        def observation(eta: Tensor, of_eta: Tensor, reach: float) -> tuple[Tensor, Tensor]:
            half_width = reach * (of_eta + residual).sqrt()
            return eta - half_width, eta + half_width

        return expected_values(
            self,
            X,
            O,
            intervals,
            level,
            column="mean",
            expected=lambda eta: eta,
            observation=observation,
            identity=True,
        )

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """Rows y_i ~ Normal(o_i + B'x_i, Sigma), for all n rows of X."""
        root = square_root(self.Sigma)

        def draw(rows: slice, eta: Tensor) -> tuple[Tensor, Tensor]:
            eta = eta + O[rows]
            return eta + normal(eta, generator) @ root.mT, eta

        return Simulated(*by_blocks(X, len(self.responses), self.mean, draw))

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """Log-densities of samples; deviances are squared errors."""
        factor = cholesky_scaled(self.Sigma)
        if factor is None:
            raise DataError("The fit's covariance is not positive definite to rounding; fit with --dtype float64.")
        eta = O + self.mean(X)
        R = scored * (Y - eta)
        distance = (R @ factor.inverse() * R).sum(1)
        density = -0.5 * (distance + factor.logdet + R.shape[1] * math.log(2.0 * math.pi))
        return Score(torch.where(scored.any(1), density, 0.0), R.square())

    def influence(self, data: Dataset) -> Influence:
        """Leverage, standardised residuals and Cook's distances of the data of the fit."""
        return influence(data.Y, self.linear_predictor(data), data.X, data.w)

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """Residuals, leverage and influence."""
        del draws, generator
        found = self.influence(data)
        R = found.standardised
        cook, of = found.cook.nan_to_num(nan=0.0).max(1)
        samples = {
            "sample": list(data.samples),
            "leverage": found.leverage,
            "cook": cook,
            "cook_of": [data.responses[j] for j in of.tolist()],
            **sizes(R, data.responses),
        }
        by_response = normality_columns(R)
        responses = {"response": list(data.responses), **by_response}
        facts: dict[str, Any] = {
            **residual_facts(R, by_response, data.responses),
            "largest_leverage": float(found.leverage.max()),
            "influential": {
                "largest_cook": float(cook.max()),
                "names": [data.samples[i] for i in cook.gt(INFLUENTIAL).nonzero()[:, 0].tolist()],
            },
            "worst_samples": worst(samples, "cook", ("sample", "cook", "cook_of", "leverage", "largest")),
            "worst_features": worst(responses, "ks", tuple(responses)),
        }
        return Diagnosis(facts, {"samples": samples, "responses": responses}, R)
