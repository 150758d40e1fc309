"""The Poisson log-normal model with a neural mean: Z_i ~ N(f(x_i), Sigma), f a network.

M and psi of the samples in training are parameters beside the weights, and Sigma is profiled, as without a network.
With C = f(X) and R = M − C, minus the ELBO is that of `elbo` with the mean held at C, and its slope in C is −w R Omega.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.models.base import Init
from plncli.models.neural.model import Neural, Split, own
from plncli.models.pln.elbo import Evaluation, LatentTable, plain_objective
from plncli.models.pln.emissions import Poisson, log_factorials
from plncli.models.pln.estimates import explained
from plncli.models.pln.means import Held
from plncli.models.pln.prepared import check_counts
from plncli.models.pln.spec import PLN as SPEC
from plncli.models.pln.structures import Layer, LayerAt, Structure, held
from plncli.models.pln.variational_step import variational_step
from plncli.models.spec import Spec, writes_square
from plncli.numerics.covariance import FactoredCovariance
from plncli.numerics.rows import grand_total, weigh, weighted_total

ROUNDS = 50
LITTLE = 1e-3
"""Nats a sample."""


@dataclass(frozen=True)
class Counts:
    """Counts of some samples and their structure, with the mean to be held at any centre.

    layer: of the samples in training; or with Omega held.
    """

    data: Dataset
    layer: LayerAt

    @cached_property
    def w(self) -> Tensor | None:
        """Weights (n,), None for ones."""
        return None if bool((self.data.w == 1).all()) else self.data.w

    @cached_property
    def emission(self) -> Poisson:
        """Of the counts."""
        data = self.data
        K = None if data.K is None else data.K.to(data.Y)
        return Poisson(data.Y, data.O, K, self.w, log_factorials(data.Y, K, data.w))

    def table(self, C: Tensor) -> LatentTable[Poisson]:
        """The objective with the mean held at C (n×p)."""
        return LatentTable(self.emission, Held(C, C), self.layer, self.w, self.data.total_weight)


@dataclass(frozen=True)
class NeuralSplit(Split):
    """With the counts of the samples in training; of all, once q has been settled, with Omega held (`whole`)."""

    counts: Counts = field(repr=False, kw_only=True)
    whole: bool = field(default=False, kw_only=True)


class NeuralElbo(torch.autograd.Function):
    """Minus the ELBO of q (2×n×p) around a centre C (n×p)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, C: Tensor, counts: Counts) -> Tensor:
        """The value (scalar); slopes in q and C are kept."""
        at = Evaluation(q.detach(), counts.table(C.detach()))
        if bool(torch.isfinite(at.value)):
            ctx.save_for_backward(at.gradient(), weigh(counts.w, at.layer.pull).neg())
        return at.value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        """The slopes."""
        of_q, of_C = ctx.saved_tensors
        return of_q * upstream, of_C * upstream, None


@dataclass(frozen=True)
class NeuralPLN(Neural):
    """With a covariance that is full, diagonal, spherical, or fixed at the inverse of `precision` (p×p)."""

    spec: ClassVar[Spec] = SPEC
    covariance: str = "full"
    precision: Tensor | None = None
    sigma: bool | None = None

    def __post_init__(self) -> None:
        _ = self.structure  # which checks the two

    @property
    def structure(self) -> Structure:
        """Of Sigma."""
        return Structure(self.covariance, self.precision)

    def among(self, responses: Tensor) -> NeuralPLN:
        """The model of some features alone: a precision that is given becomes that of their marginal distribution."""
        if self.precision is None:
            return self
        Sigma = torch.linalg.inv(self.precision)[responses][:, responses]
        return replace(self, precision=torch.linalg.inv(Sigma))

    def check(self, data: Dataset) -> None:
        """Counts."""
        check_counts(data)

    def units(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """From the mean of log(1 + Y) − O where counts are observed, in logs."""
        K = torch.ones_like(data.Y) if data.K is None else data.K.to(data.Y)
        logs = (data.Y.log1p() - data.O) * K
        level = weighted_total(data.w, logs) / weighted_total(data.w, K).clamp_min(1.0)
        return level, torch.ones_like(level)

    def prepare(self, data: Dataset) -> NeuralSplit:
        """As always, with the structure of Sigma."""
        split = super().prepare(data)
        every = torch.arange(data.p, device=data.Y.device)
        counts = Counts(split.training, self.structure.layer(every))
        known = {name: getattr(split, name) for name in ("data", "training", "held", "rows", "network", "weights")}
        return NeuralSplit(**known, counts=counts)

    def start(self, prepared: Split, init: Init | None = None) -> Params:
        """Weights by chance; q and Sigma nearly where they are best for these: from M = log(1 + Y) − O by ROUNDS of EM.

        Else they would go on changing in training, and the held-out loss would tell of them more than of the weights.
        """
        assert isinstance(prepared, NeuralSplit)
        cells = prepared.counts.emission
        M, psi = cells.Y.log1p() - cells.O, -(2.0 + cells.counted()).log()
        C = prepared.network(prepared.weights, prepared.counts.data.X)
        M = M if cells.K is None else torch.where(cells.K > 0, M, C)
        q = alternated(prepared.counts, C, torch.stack([M, psi]))
        return {"q": q, **prepared.weights}

    plain_start = start

    def objective(self, params: Params, prepared: Split) -> Tensor:
        """Minus the ELBO of the samples in training and the penalty; once settled, of all, without it."""
        assert isinstance(prepared, NeuralSplit)
        C = prepared.network(params, prepared.counts.data.X)
        loss: Tensor = NeuralElbo.apply(params["q"], C, prepared.counts)
        return loss if prepared.whole else loss + self.penalty(params, prepared)

    def plain_objective(self, params: Params, prepared: Split) -> Tensor:
        """The same in ordinary tensor operations, differentiated by autograd alone."""
        assert isinstance(prepared, NeuralSplit)
        C = prepared.network(params, prepared.counts.data.X)
        return plain_objective(params["q"], prepared.counts.table(C)) + self.penalty(params, prepared)

    def loss(self, eta: Tensor, data: Dataset, params: Params) -> Tensor:
        """Not by linear predictors alone."""
        raise NotImplementedError

    def curvature(self, params: Params, prepared: Split) -> Params:
        """Of M and psi that of their cells, the rest held."""
        assert isinstance(prepared, NeuralSplit)
        at = self._at(params, prepared)
        rate = at.rate
        of_q = torch.stack([rate, 0.5 * at.S2 * rate])
        return {**super().curvature(own(params), prepared), "q": of_q}

    def _at(self, params: Params, prepared: NeuralSplit) -> Evaluation:
        counts = prepared.counts
        return Evaluation(params["q"].detach(), counts.table(prepared.network(params, counts.data.X).detach()))

    def loss_of_held_out(self, params: Params, split: Split, held_out: Dataset) -> Tensor:
        """Minus their ELBO after a variational step, Omega being as in training; inf where there is none."""
        assert isinstance(split, NeuralSplit)
        layer = self._at(params, split).layer
        if not bool(torch.isfinite(layer.value)) or not bool(torch.isfinite(layer.inverse().logdet)):
            return torch.full_like(held_out.w[0], math.inf)
        counts, C = Counts(held_out, held(layer)), split.network(params, held_out.X)
        return Evaluation(best_q(counts, C, layer), counts.table(C)).value

    def settle(self, params: Params, prepared: Split) -> tuple[Params, Split]:
        """Weights and Sigma held, and q of all samples, held out or not, where it is best for them."""
        assert isinstance(prepared, NeuralSplit)
        layer = self._at(params, prepared).layer
        counts = Counts(prepared.data, held(layer))
        q = best_q(counts, prepared.network(params, prepared.data.X), layer)
        return {**params, "q": q}, replace(prepared, counts=counts, whole=True)

    def entropy(self, params: Params, prepared: Split) -> float:
        """½ sum_ij w_i log(2πe s_ij²), in nats."""
        cells = 0.5 * (params["q"][1] + math.log(2.0 * math.pi * math.e))
        return float(grand_total(prepared.data.w[:, None] * cells))

    def facts(self, params: Params, prepared: Split, bic: float) -> dict[str, float]:
        """As always; losses are those of q where it is best, sample by sample."""
        assert isinstance(prepared, NeuralSplit)
        del bic
        layer = self._at(params, prepared).layer
        found: dict[str, float] = {"n_weights": super().n_parameters(prepared), "n_held_out": 0.0}
        for name, data in (("held_out_loss", prepared.held), ("training_loss", prepared.training)):
            if data is not None:
                counts, C = Counts(data, held(layer)), prepared.network(params, data.X)
                value = float(Evaluation(best_q(counts, C, layer), counts.table(C)).value)
                found[name] = value / data.total_weight
        return found | {"n_held_out": prepared.data.n - prepared.training.n}

    def estimates(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """Sigma, Omega (p×p), unless they are wanted as factors, M and S (n×p), on the log scale of the counts."""
        assert isinstance(prepared, NeuralSplit)
        found = {"M": params["q"][0], "S": (0.5 * params["q"][1]).exp()}
        layer = self._at(params, prepared).layer
        if self._factors(layer, prepared.data.p) is None:
            found |= {"Sigma": layer.covariance().dense(), "Omega": layer.inverse().dense()}
        return found

    def _factors(self, layer: Layer, p: int) -> FactoredCovariance | None:
        covariance = layer.covariance()
        wanted = not writes_square(self.sigma, p)
        return covariance if wanted and isinstance(covariance, FactoredCovariance) else None

    def state(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """The network, latent means, and factors of Sigma if they are wanted."""
        assert isinstance(prepared, NeuralSplit)
        data = prepared.data
        factors: dict[str, Tensor] = {}
        if (found := self._factors(self._at(params, prepared).layer, data.p)) is not None:
            V = data.Y.new_zeros((data.n, data.p))
            V[: len(found.V)] = found.V
            factors = {"D": found.D, "V": V}
        none = torch.arange(0, device=data.Y.device)
        known = {"M_finite": params["q"][0], "poisson_features": none}
        return {**super().state(params, prepared), **known, **factors}

    def n_parameters(self, prepared: Split, params: Params | None = None) -> int:
        """Weights and biases, and those of Sigma."""
        return super().n_parameters(prepared, params) + self.structure.n_parameters(prepared.data.p)

    def r2(self, params: Params, prepared: Split) -> float:
        """Share of the deviance that the fitted means explain, of all samples."""
        assert isinstance(prepared, NeuralSplit)
        M, psi = params["q"]
        return explained(prepared.data, prepared.counts.emission.means(M, psi.exp()))


def alternated(counts: Counts, C: Tensor, q: Tensor) -> Tensor:
    """q after ROUNDS of EM with the mean held at C, or fewer where they gain next to nothing."""
    at = Evaluation(q, counts.table(C))
    for _ in range(ROUNDS):
        if not bool(torch.isfinite(at.layer.value)) or not bool(torch.isfinite(at.layer.inverse().logdet)):
            break
        after = Evaluation(best_q(counts, C, at.layer, (at.q[0], at.q[1])), counts.table(C))
        gained, at = float(at.value - after.value), after
        if not gained > LITTLE * counts.data.total_weight:
            break
    return at.q


def best_q(counts: Counts, C: Tensor, layer: Layer, near: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """q (2×n×p) of samples where it is best for a centre C (n×p), and Omega as in `layer`."""
    cells = counts.emission
    K = torch.ones_like(C) if cells.K is None else cells.K
    step = variational_step(cells.Y, K, cells.O, C.detach(), layer.inverse(), near)
    return torch.stack([step.M, 2.0 * step.S.log()])
