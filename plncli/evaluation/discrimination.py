"""How well groups of samples are told apart: each sample is classified by a fit that has not seen it.

Samples are split into folds, those of each group evenly, or held out one by one (Lachenbruch & Mickey 1968). The fit to
the others starts where the fit to all ended, which costs it less, and ends at an optimum of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, FitError
from plncli.evaluation.folds import fitted_terms, fitted_zero_terms
from plncli.fitting import fit
from plncli.inference.workers import Kept, shared
from plncli.models.abilities import Discriminated, Discriminating
from plncli.models.base import INIT, Init, Model, startable
from plncli.models.uncertainty import Interrupted
from plncli.numerics.rows import mean
from plncli.optim.base import Optimizer, Status, StopRule
from plncli.progress import OnDone
from plncli.results import FitResult

SURE = 0.95
"""Probability from which a sample is assigned surely."""


class Classified(NamedTuple):
    """Held-out samples of a fold: log-probabilities of the groups of the whole fit, m×G, nan where none is told.

    converged: whether the fit to the others ended at its optimum.
    """

    log_posterior: Tensor
    converged: bool

    def sound(self, samples: int, groups: int) -> bool:
        """Whether all is of its kind: what is read back may be anybody's."""
        known = self.log_posterior
        of_samples = known.shape == (samples, groups) and known.dtype == torch.float64
        return isinstance(self.converged, bool) and of_samples and not bool((known > 0.0).any())


class Agreement(NamedTuple):
    """Shares of samples that are assigned to their group: of all, and the mean over groups.

    log_loss: mean −log of the probability of their group, in nats; number: of samples with a probability; surely: how
    many of them are assigned with one above SURE; surely_right: the share of these that is assigned to their group.
    """

    accuracy: float
    balanced: float
    log_loss: float
    number: int
    surely: int
    surely_right: float


@dataclass(frozen=True)
class Task:
    """The fits without one fold each. fold: of each sample, (n,); groups: names."""

    model: Model[Any]
    data: Dataset
    init: Init
    fold: Tensor
    groups: tuple[str, ...]
    optimizer: Optimizer
    stop: StopRule

    def __len__(self) -> int:
        return int(self.fold.max()) + 1

    @property
    def on_cpu(self) -> bool:
        """Whether processes can share the fits."""
        return self.data.Y.device.type == "cpu"

    def name(self, index: int) -> str:
        """The number of the fold."""
        return f"fold {index + 1}"

    def part(self, index: int, cancelled: Callable[[], bool] = lambda: False) -> Classified:
        """The samples of a fold, classified by the fit to the others. DataError or FitError name the fold."""
        try:
            return self._classified(index, replace(self.stop, cancelled=cancelled))
        except (DataError, FitError) as error:
            raise type(error)(f"Without the samples of fold {index + 1}: {error}") from None

    def _classified(self, index: int, stop: StopRule) -> Classified:
        data, device = self.data, self.data.Y.device
        rows, held = (self.fold != index).nonzero()[:, 0].to(device), (self.fold == index).nonzero()[:, 0].to(device)
        training = data.take(rows, torch.ones_like(rows))
        terms, gone = fitted_terms(training)
        features = self.model.fittable(training).nonzero()[:, 0]
        terms, zero_terms = terms.to(device), fitted_zero_terms(training)[0].to(device)
        model = self.model if len(features) == data.p else self.model.among(features)
        kept = training.among(terms, features).with_zero_terms(zero_terms)
        init = _among(self.init, {"sample": rows, "term": terms, "response": features})
        found = fit(model, kept, self.optimizer, stop, init=init)
        if found.optimum.status is Status.INTERRUPTED:
            raise Interrupted
        whole = data.among(terms, features).with_zero_terms(zero_terms)
        X0 = None if whole.X0 is None else whole.X0[held]
        K = torch.ones_like(whole.Y[held], dtype=torch.bool) if whole.K is None else whole.K[held]
        posterior = posterior_of(found, whole.X[held], whole.O[held], whole.Y[held], K, X0)
        made = torch.full((len(held), len(self.groups)), -torch.inf, dtype=torch.float64)
        made[:, [self.groups.index(name) for name in posterior.groups]] = posterior.log_posterior
        made[_elsewhere(data.X[held], gone)] = torch.nan
        return Classified(made, found.converged)


def posterior_of(found: FitResult, X: Tensor, O: Tensor, Y: Tensor, K: Tensor, X0: Tensor | None) -> Discriminated:
    """Which groups samples are of, by a fit that tells groups apart."""
    fitted = found.fitted.of_samples(None if X0 is None else X0.cpu().double())
    assert isinstance(fitted, Discriminating)
    X, O, Y = (tensor.detach().cpu().double() for tensor in (X, O, Y))
    return fitted.discriminate(X, O, torch.where(K.cpu(), Y, 0.0), K.cpu())


def _elsewhere(X: Tensor, gone: Sequence[int]) -> Tensor:
    """(m,) samples with something in columns of the design that the fit to the others has not."""
    return (X[:, list(gone)] != 0).any(1).cpu() if gone else torch.zeros(len(X), dtype=torch.bool)


def _among(init: Init, kept: dict[str, Tensor]) -> Init:
    """Where a fit to some rows and columns starts."""
    found = {}
    for symbol, tensor in init.items():
        for place, axis in enumerate(INIT[symbol]):
            tensor = tensor.index_select(place, kept[axis].to(tensor.device)) if axis in kept else tensor
        found[symbol] = tensor
    return found


def folds_of(data: Dataset, groups: Tensor, count: int, seed: int) -> Tensor:
    """The fold of each sample, (n,), from 0: in each group at random, and as evenly as can be over all folds.

    groups: of each sample, (n,). As many folds as samples hold them out one by one. Samples of a cluster stay together,
    at random, whatever their groups.
    """
    units = data.n_clusters
    count = min(count, units)
    order = torch.randperm(units, generator=torch.Generator().manual_seed(seed))
    if data.clusters is None and count < data.n:
        order = order[groups[order].argsort(stable=True)]
    elif count == units:
        order = torch.arange(units)
    fold = torch.empty_like(order)
    fold[order] = torch.arange(units) % count
    return fold if data.clusters is None else fold[data.clusters.cpu()]


def held_out(
    result: FitResult,
    fold: Tensor,
    optimizer: Optimizer,
    stop: StopRule,
    workers: int = 1,
    on_done: OnDone | None = None,
    kept: Kept | None = None,
) -> tuple[Tensor, int]:
    """Log-probabilities of the groups of each sample, n×G, by fits without its fold; and how many did not converge."""
    fitted = result.fitted
    assert isinstance(fitted, Discriminating)
    init = startable(result.model.spec, {**result.estimates, **result.state})
    bare = replace(stop, cancelled=_never, time_limit=StopRule().time_limit)
    task = Task(result.model, result.data, init, fold, fitted.groups, optimizer, bare)
    parts: list[Classified] = shared(task, workers, on_done, stop.cancelled, kept)
    made = torch.full((result.data.n, len(fitted.groups)), torch.nan, dtype=torch.float64)
    for index, part in enumerate(parts):
        made[fold == index] = part.log_posterior
    return made, sum(not part.converged for part in parts)


def _never() -> bool:
    return False


def agreement(truth: Tensor, log_posterior: Tensor) -> Agreement:
    """How well log-probabilities of groups (n×G) agree with the groups (n,), where there are any."""
    known = ~log_posterior.isnan().any(1)
    truth, log_posterior = truth[known], log_posterior[known]
    right = (log_posterior.argmax(1) == truth).double()
    by_group = [mean(right[truth == group]) for group in truth.unique().tolist()]
    own = log_posterior.gather(1, truth[:, None])
    balanced = float(torch.stack(by_group).mean(dim=0)) if by_group else torch.nan
    sure = log_posterior.amax(1) > math.log(SURE)
    told = float(mean(right)), balanced, float(mean(own).abs()), len(truth)
    return Agreement(*told, int(sure.sum()), float(mean(right[sure])))
