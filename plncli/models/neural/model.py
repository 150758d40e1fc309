"""What models with a neural mean have in common: which samples are held out, the penalty, and where training begins."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.base import Init, Model
from plncli.models.neural.effects import partial_effects
from plncli.models.neural.network import INTERCEPT, Network, count, squares
from plncli.models.neural.spec import LAYER, sizes
from plncli.numerics.rows import total

FEWEST = 4
"""Samples held out, and left, at least."""


@dataclass(frozen=True)
class Split:
    """Data, those of them that the weights are fitted to, and those held out; the network, and weights to begin with.

    held: None where none are; rows: (n,) booleans, True in training.
    """

    data: Dataset
    training: Dataset
    held: Dataset | None
    rows: Tensor = field(repr=False)
    network: Network = field(repr=False)
    weights: Params = field(repr=False)


@dataclass(frozen=True)
class Neural(Model[Split]):
    """A model whose linear predictor is O + f(x), f a network (`network.Network`).

    hidden: widths of its hidden layers, as they are typed; weight_decay: of the weights, biases not among them;
    validation: share of the samples held out; seed: of the weights at the start, and of which samples these are.
    """

    hidden: str = "none"
    weight_decay: float = 1e-4
    validation: float = 0.2
    seed: int = 0

    @property
    def penalised(self) -> bool:
        """There are no criteria: weights are no parameters that likelihood alone has fitted."""
        return True

    @abstractmethod
    def check(self, data: Dataset) -> None:
        """DataError for responses that are none of the model."""

    @abstractmethod
    def units(self, data: Dataset) -> tuple[Tensor, Tensor]:
        """Where f begins, and what it is measured in, (p,) each."""

    @abstractmethod
    def loss(self, eta: Tensor, data: Dataset, params: Params) -> Tensor:
        """Minus the log-likelihood of a model with linear predictors eta (n×p), or its bound, in nats."""

    @abstractmethod
    def loss_of_held_out(self, params: Params, split: Split, held: Dataset) -> Tensor:
        """The same of samples held out, all else being as the others tell; nats."""

    def prepare(self, data: Dataset) -> Split:
        """Check responses and inputs, and hold out samples."""
        self.check(data)
        varied = data.X.amax(0) > data.X.amin(0)
        still = [term for term, moves in zip(data.terms, varied.tolist(), strict=True) if not moves]
        if not bool(varied.any()):
            raise DataError(
                f"`{some(still)}` is all that the design has: there is nothing to learn for a network. Name covariates "
                "in --formula, or leave out --hidden."
            )
        if constant := [f"`{term}`" for term in still if term != INTERCEPT]:
            raise DataError(
                f"{some(constant)} has one value in all samples, of which nothing can be learnt: leave it out."
            )
        rows = training_rows(data, self.validation, self.seed)
        training = _among(data, rows)
        fixed = (training.X.amax(0) > training.X.amin(0)).logical_not() & varied
        if bool(fixed.any()):
            names = [f"`{data.terms[k]}`" for k in fixed.nonzero()[:, 0].tolist()]
            raise DataError(
                f"{some(names)} varies in held-out samples alone. Take another --seed, a smaller --validation, or "
                "leave the term out."
            )
        held = None if bool(rows.all()) else _among(data, ~rows)
        widths = sizes(self.hidden) or ()
        network, weights = Network.begun(training.X, data.terms, widths, *self.units(training), self.seed)
        return Split(data, training, held, rows, network, weights)

    def start(self, prepared: Split, init: Init | None = None) -> Params:
        """Weights by chance; no earlier fit tells them."""
        del init
        return dict(prepared.weights)

    def eta(self, params: Params, split: Split, data: Dataset) -> Tensor:
        """Linear predictors of samples, n×p."""
        return data.O + split.network(params, data.X)

    def penalty(self, params: Params, split: Split) -> Tensor:
        """Weight decay: half the sum of squares times its factor, for each sample; nats."""
        return 0.5 * self.weight_decay * split.training.total_weight * squares(params)

    def objective(self, params: Params, prepared: Split) -> Tensor:
        """The loss of the samples in training, and the penalty."""
        training = prepared.training
        return self.loss(self.eta(params, prepared, training), training, params) + self.penalty(params, prepared)

    def curvature(self, params: Params, prepared: Split) -> Params:
        """As of a weight whose input and output are of size 1: one for each sample."""
        wbar = prepared.training.total_weight
        return {name: torch.full_like(tensor, wbar) for name, tensor in params.items()}

    def holds_out(self, prepared: Split) -> bool:
        """Whether samples are held out."""
        return prepared.held is not None

    def held_out_loss(self, params: Params, prepared: Split) -> float:
        """Minus the log-likelihood of the samples held out, or its bound, in nats a sample."""
        held = prepared.held
        return math.nan if held is None else float(self.loss_of_held_out(params, prepared, held)) / held.total_weight

    def whole_loss(self, params: Params, prepared: Split) -> float:
        """Of all samples, whether in training or held out; without the penalty."""
        loss = float(self.objective(params, prepared) - self.penalty(params, prepared))
        return loss if prepared.held is None else loss + float(self.loss_of_held_out(params, prepared, prepared.held))

    def facts(self, params: Params, prepared: Split, bic: float) -> dict[str, float]:
        """How many weights there are, and how well they do in training and beyond."""
        del bic
        training = prepared.training
        loss = float(self.objective(params, prepared) - self.penalty(params, prepared))
        held = {} if prepared.held is None else {"held_out_loss": self.held_out_loss(params, prepared)}
        return {
            "n_weights": count(params),
            "n_held_out": prepared.data.n - training.n,
            **held,
            "training_loss": loss / training.total_weight,
        }

    def n_parameters(self, prepared: Split, params: Params | None = None) -> int:
        """Weights and biases."""
        del params
        return count(prepared.weights)

    def state(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """The network: weights, what inputs and outputs are measured in, and what it is on average by covariate."""
        network, data = prepared.network, prepared.data
        effects = partial_effects(lambda X: network(params, X).detach(), data.X, data.w, data.terms)
        return {**network.tensors(params), "network_effects": effects}

    def estimates(self, params: Params, prepared: Split) -> dict[str, Tensor]:
        """None: there are no coefficients."""
        del params, prepared
        return {}


def own(params: Params) -> Params:
    """Weights and biases alone."""
    return {name: tensor for name, tensor in params.items() if name.startswith(LAYER)}


def training_rows(data: Dataset, validation: float, seed: int) -> Tensor:
    """(n,) booleans, False in the samples that are held out: by a hash of seed and name, whatever their order.

    Clusters are held out whole. DataError where too few would be held out, or left.
    """
    n = data.n
    if validation == 0.0:
        return torch.ones(n, dtype=torch.bool, device=data.X.device)
    keys = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in _unique(data.samples)]
    groups = list(range(n)) if data.clusters is None else data.clusters.tolist()
    first: dict[int, str] = {}
    for group, key in zip(groups, keys, strict=True):
        first[group] = min(key, first.get(group, key))
    many, wanted = Counter(groups), round(validation * n)
    held: set[int] = set()
    for group in sorted(first, key=lambda group: first[group]):
        if sum(many[one] for one in held) + many[group] <= wanted:
            held.add(group)
    rows = torch.tensor([group not in held for group in groups], device=data.X.device)
    left = int(total(rows))
    if n - left < FEWEST or left < FEWEST:
        what = "samples" if data.clusters is None else "samples in whole clusters"
        raise DataError(
            f"--validation {validation:g} would hold out {n - left} of {n} {what}, and leave {left}; at least {FEWEST} "
            "are needed of each. Take another share, or 0, which holds out none and does not stop early."
        )
    return rows


def _unique(names: Sequence[str]) -> list[str]:
    """Names, with how often they came before: samples that are drawn again have the same."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}:{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def _among(data: Dataset, rows: Tensor) -> Dataset:
    """Some samples (booleans)."""
    kept: Any = rows.nonzero()[:, 0]
    return data.take(kept, torch.ones_like(kept))
