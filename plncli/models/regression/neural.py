"""Logistic and linear regression with a neural mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.neural.model import Neural, Split
from plncli.models.regression.linear import check_numbers
from plncli.models.regression.logistic import check_classes, null_loss
from plncli.models.regression.spec import LINEAR, LOGISTIC
from plncli.models.spec import Spec
from plncli.numerics.likelihoods import bernoulli_loglik
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.rows import gram, total, weighted_total


@dataclass(frozen=True)
class NeuralLogistic(Neural):
    """Y_ij ~ Bernoulli(1/(1 + exp(−eta_ij))), eta = O + f(x)."""

    spec: ClassVar[Spec] = LOGISTIC

    def check(self, data: Dataset) -> None:
        """Responses of two classes."""
        check_classes(data)

    def prepare(self, data: Dataset) -> Split:
        """As always; both classes must be in training."""
        split = super().prepare(data)
        Y = split.training.Y
        single = (Y.amin(0) == Y.amax(0)).nonzero()[:, 0].tolist()
        if single:
            names = some(f"`{data.responses[j]}`" for j in single)
            raise DataError(
                f"{names}: one class is in held-out samples alone. Take another --seed, or a smaller share."
            )
        return split

    def units(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """From the constant log odds, in log odds."""
        odds = torch.logit(weighted_total(data.w, data.Y) / total(data.w))
        return odds - weighted_total(data.w, data.O.expand_as(data.Y)) / total(data.w), torch.ones_like(odds)

    def loss(self, eta: Tensor, data: Dataset, params: Params) -> Tensor:
        """−sum_ij w_i log p(y_ij | eta_ij)."""
        del params
        return -weighted_total(data.w, bernoulli_loglik(2.0 * data.Y - 1.0, eta)).sum()

    def loss_of_held_out(self, params: Params, split: Split, held: Dataset) -> Tensor:
        """The same."""
        return self.loss(self.eta(params, split, held), held, params)

    def r2(self, params: Params, prepared: Split) -> float:
        """1 − deviance / null deviance, of all samples."""
        return 1.0 - self.whole_loss(params, prepared) / float(null_loss(prepared.data))


@dataclass(frozen=True)
class NeuralLinear(Neural):
    """Rows y_i ~ N(o_i + f(x_i), Sigma); Sigma is where it is best for the residuals of the samples in training."""

    spec: ClassVar[Spec] = LINEAR

    def check(self, data: Dataset) -> None:
        """Finite numbers, that vary."""
        check_numbers(data)
        still = (~self.fittable(data)).nonzero()[:, 0].tolist()
        if still:
            names = some(f"`{data.responses[j]}`" for j in still)
            raise DataError(f"{names}: a single value in all samples. Leave out what tells nothing.")

    def prepare(self, data: Dataset) -> Split:
        """As always; the responses must vary in training, and be fewer than its samples."""
        split = super().prepare(data)
        training = split.training
        if training.p >= training.n:
            raise DataError(
                f"{training.p} responses are too many for a joint fit of {training.n} samples in training: their "
                "covariance would be singular. Fit them separately, or in smaller groups."
            )
        return split

    def units(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """From the mean of Y − O, in standard deviations."""
        table = data.Y - data.O
        mean = weighted_total(data.w, table) / total(data.w)
        sd = (weighted_total(data.w, (table - mean).square()) / total(data.w)).sqrt()
        still = (sd == 0).nonzero()[:, 0].tolist()
        if still:
            names = some(f"`{data.responses[j]}`" for j in still)
            raise DataError(f"{names} varies in held-out samples alone. Take another --seed, or a smaller share.")
        return mean, sd

    def loss(self, eta: Tensor, data: Dataset, params: Params) -> Tensor:
        """(wbar/2) (log|R'WR / wbar| + p log 2 pi + p); inf where it is not defined."""
        del params
        factor = cholesky_scaled(_covariance(data.Y - eta, data.w))
        if factor is None:
            return torch.full_like(data.w[0], math.inf)
        return 0.5 * total(data.w) * (factor.logdet + data.p * (math.log(2.0 * math.pi) + 1.0))

    def loss_of_held_out(self, params: Params, split: Split, held: Dataset) -> Tensor:
        """Minus their log-density with Sigma as in training."""
        factor = cholesky_scaled(self.Sigma(params, split))
        if factor is None:
            return torch.full_like(held.w[0], math.inf)
        R = held.Y - self.eta(params, split, held)
        distance = (R @ factor.inverse() * R).sum(1)
        return 0.5 * weighted_total(held.w, distance + factor.logdet + held.p * math.log(2.0 * math.pi))

    def Sigma(self, params: Params, split: Split) -> Tensor:
        """Covariance of the residuals in training, p×p."""
        training = split.training
        return _covariance(training.Y - self.eta(params, split, training), training.w)

    def estimates(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """Sigma and its inverse Omega (p×p)."""
        Sigma = self.Sigma(params, prepared)
        factor = cholesky_scaled(Sigma)
        Omega = torch.full_like(Sigma, math.nan) if factor is None else factor.inverse()
        return {"Sigma": Sigma, "Omega": Omega}

    def state(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """The network; and Sigma_unbiased (p×p): of the residuals of the samples held out, nan without any."""
        held = prepared.held
        Sigma = self.Sigma(params, prepared) if held is None else self._of_held_out(params, prepared, held)
        known = Sigma if held is not None else torch.full_like(Sigma, math.nan)
        return {**super().state(params, prepared), "Sigma_unbiased": known}

    def _of_held_out(self, params: Params, split: Split, held: Dataset) -> Tensor:
        return _covariance(held.Y - self.eta(params, split, held), held.w)

    def n_parameters(self, prepared: Split, params: Params | None = None) -> int:
        """Weights and biases, and p(p+1)/2 variances and covariances."""
        p = prepared.data.p
        return super().n_parameters(prepared, params) + p * (p + 1) // 2

    def r2(self, params: Params, prepared: Split) -> float:
        """1 − RSS/TSS of all samples, the mean of it over responses; TSS about the mean of Y − O."""
        data = prepared.data
        table = data.Y - data.O
        mean = weighted_total(data.w, table) / total(data.w)
        left = weighted_total(data.w, (data.Y - self.eta(params, prepared, data)).square())
        return 1.0 - float((left / weighted_total(data.w, (table - mean).square())).mean())


def _covariance(R: Tensor, w: Tensor) -> Tensor:
    return gram(R, w[:, None] * R) / total(w)
