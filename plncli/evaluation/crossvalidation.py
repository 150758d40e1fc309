"""Cross-validation: how well models predict what they have not seen (Stone 1974; Hastie, Tibshirani & Friedman, 7.10).

Samples are split into folds, each held out in turn from fits of all candidates; or, of a table of counts, cells are
hidden (Wold 1978; Owen & Perry 2009). Candidates meet the same splits, so that differences between them are paired.

Every fit starts from its own data alone, never from a fit that has seen what is held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli.errors import DataError, FitError
from plncli.evaluation.folds import Candidate, Fold, fitted_terms, fitted_zero_terms, judged, weight_scored
from plncli.fitting import fit
from plncli.inference.workers import Kept, shared
from plncli.models.abilities import Score, Scoring, ScoringCells
from plncli.models.base import Model
from plncli.models.fitted import Fitted
from plncli.models.spec import COUNTS, NUMBERS
from plncli.models.uncertainty import Interrupted
from plncli.numerics.likelihoods import poisson_deviance
from plncli.numerics.rows import total, weighted_total
from plncli.optim.base import Optimizer, Status, StopRule
from plncli.progress import OnDone
from plncli.results import FitResult

BEYOND = 10.0
"""Times the deviance of a constant rate beyond which expected counts are beyond sense."""


class Scored(NamedTuple):
    """A candidate in a fold: mean log-likelihood (or bound) of a held-out sample, or cell, and sums of deviances (p,).

    of_means: those against expected values, where they are others (`Score`). status, gap: how the fit ended; converged:
    whether that is at its optimum.
    """

    loglik: float
    deviance: Tensor
    status: str
    gap: float
    converged: bool
    of_means: Tensor | None

    def sound(self, p: int) -> bool:
        """Whether all is of its kind, for p responses: a score that is read back may be anybody's."""
        sums = [self.deviance] if self.of_means is None else [self.deviance, self.of_means]
        whole = all(one.shape == (p,) and one.dtype == torch.float64 and not one.isnan().any() for one in sums)
        numbers = isinstance(self.loglik, float) and isinstance(self.gap, float) and isinstance(self.converged, bool)
        ended = self.status in [status.name.lower() for status in Status]
        known = whole and numbers and ended and (not self.converged or Status[self.status.upper()].done)
        return known and math.isfinite(self.loglik) and bool(self.deviance.isfinite().all())


@dataclass(frozen=True)
class Ranked:
    """A candidate over all folds: means over them, each with its standard error over them.

    score: of log-likelihoods (or bounds); behind: by how much the best's is higher; deviance; r2: share of the null's
    deviance that it explains; of_means: deviance against expected values, None where it is no other. best: of the
    highest score; simplest: of the fewest parameters among those whose score is within one standard error of the best's
    (Breiman et al. 1984). unconverged: in how many folds. impossible: held-out counts of probability 0: with them its
    score would be −inf.
    """

    candidate: Candidate
    n_parameters: int
    score: float
    score_se: float
    behind: float
    behind_se: float
    deviance: float
    deviance_se: float
    r2: float
    of_means: float | None
    of_means_se: float | None
    impossible: int
    unconverged: int
    best: bool
    simplest: bool


@dataclass(frozen=True)
class Validated:
    """Standings in the order of the candidates; scores[f][c] of candidate c in fold f; what was left out, in words.

    weights: of what is scored in each fold, by which sums of deviances become means.
    """

    standings: tuple[Ranked, ...]
    folds: tuple[Fold, ...]
    weights: tuple[float, ...]
    scores: tuple[tuple[Scored, ...], ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """All fits: each candidate in each fold."""

    candidates: tuple[Candidate, ...]
    folds: tuple[Fold, ...]
    optimizer: Optimizer
    stop: StopRule

    def __len__(self) -> int:
        return len(self.candidates) * len(self.folds)

    @property
    def on_cpu(self) -> bool:
        """Whether processes can share the fits."""
        return self.candidates[0].data.Y.device.type == "cpu"

    def name(self, index: int) -> str:
        """The candidate and the fold."""
        candidate, fold = self._pair(index)
        return f"{candidate.name}, fold {fold.number}"

    def part(self, index: int, cancelled: Callable[[], bool] = lambda: False) -> Scored:
        """One candidate in one fold. DataError or FitError name both."""
        candidate, fold = self._pair(index)
        try:
            return _scored(
                candidate, fold, candidate.optimizer or self.optimizer, replace(self.stop, cancelled=cancelled)
            )
        except (DataError, FitError) as error:
            raise type(error)(f"{self.name(index)}: {error}") from None

    def _pair(self, index: int) -> tuple[Candidate, Fold]:
        number, of = divmod(index, len(self.candidates))
        return self.candidates[of], self.folds[number]


def validate(
    candidates: Sequence[Candidate],
    null: int,
    folds: Sequence[Fold],
    optimizer: Optimizer,
    stop: StopRule,
    workers: int = 1,
    on_done: OnDone | None = None,
    kept: Kept | None = None,
    threads: int = 1,
) -> Validated:
    """Fit and score all candidates, of which number `null` is the null model of r2.

    threads: of each fit; kept: has and keeps what was `Scored`. Raises DataError for what cannot be fitted, Interrupted
    and WorkerLost.
    """
    numbers = [_n_parameters(candidate) for candidate in candidates]
    folds, impossible, left_out = judged(candidates, folds)
    task = Task(tuple(candidates), tuple(folds), optimizer, replace(stop, cancelled=_never))
    parts: list[Scored] = shared(task, workers, on_done, stop.cancelled, kept, threads)
    size = len(candidates)
    scores = tuple(tuple(parts[k : k + size]) for k in range(0, len(parts), size))
    weights = tuple(weight_scored(candidates[0].data, fold) for fold in folds)
    standings = _standings(candidates, numbers, impossible, null, weights, scores)
    return Validated(standings, tuple(folds), weights, scores, left_out)


def _never() -> bool:
    return False


def _n_parameters(candidate: Candidate) -> int:
    """Its number of parameters; DataError for what cannot be fitted to all of the data."""
    try:
        return candidate.model.n_parameters(candidate.model.prepare(candidate.data))
    except DataError as error:
        raise type(error)(f"{candidate.name}: {error}") from None


# Fits and scores


def _scored(candidate: Candidate, fold: Fold, optimizer: Optimizer, stop: StopRule) -> Scored:
    data, model = candidate.data, candidate.model
    training = fold.training(data)
    device = data.Y.device
    terms, features = fitted_terms(training)[0].to(device), fold.features.to(device)
    model = model if len(features) == data.p else model.among(features)
    zero_terms = fitted_zero_terms(training)[0].to(device)
    found = fit(model, training.among(terms, features).with_zero_terms(zero_terms), optimizer, stop)
    if found.optimum.status is Status.INTERRUPTED:
        raise Interrupted
    if found.optimum.status is Status.DIVERGED:
        raise FitError(found.optimum.status.sentence)
    whole, scored = data.among(terms, features).with_zero_terms(zero_terms), fold.scored[:, fold.features]
    if fold.whole:
        rows = fold.rows.to(device)
        fitted = found.fitted.of_samples(None if whole.X0 is None else whole.X0[rows])
        score = _of_samples(fitted, whole.X[rows], whole.O[rows], whole.Y[rows], scored)
    else:
        score = _of_cells(found, whole.Y, scored)
    w = data.w.cpu().double()[fold.rows]

    def sums(cells: Tensor) -> Tensor:
        return torch.zeros(data.p, dtype=torch.float64).index_copy(0, fold.features, weighted_total(w, cells))

    by_sample = score.loglik if fold.whole else score.loglik.sum(1)
    loglik = float(weighted_total(w, by_sample)) / weight_scored(data, fold)
    converged = found.done and score.converged
    of_means = None if score.of_means is None else sums(score.of_means)
    status = found.optimum.status.name.lower()
    return Scored(loglik, sums(score.deviance), status, found.optimum.gap, converged, of_means)


def _of_samples(fitted: Fitted, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
    """The score of held-out samples; DataError where its model scores none."""
    if not isinstance(fitted, Scoring):
        raise DataError(f"A {fitted.spec.name} fit has no likelihood of held-out samples.")
    X, O, Y, scored = (tensor.detach().cpu().double() for tensor in (X, O, Y, scored))
    return fitted.score_samples(X, O, Y, scored > 0)


def _of_cells(found: FitResult, Y: Tensor, scored: Tensor) -> Score:
    """The score of cells that were hidden from the fit; DataError where its model scores none."""
    fitted = found.fitted
    if not isinstance(fitted, ScoringCells):
        raise DataError(f"A {fitted.spec.name} fit has no latent layer to predict hidden cells from the others.")
    return fitted.score_cells(found.data, Y, scored)


def _standings(
    candidates: Sequence[Candidate],
    numbers: Sequence[int],
    impossible: Sequence[int],
    null: int,
    weights: Sequence[float],
    scores: Sequence[Sequence[Scored]],
) -> tuple[Ranked, ...]:
    loglik = torch.tensor([[part.loglik for part in row] for row in scores], dtype=torch.float64)
    sums = torch.stack([torch.stack([part.deviance for part in row]) for row in scores])
    score, score_se = _mean(loglik)
    best = int(score.argmax())
    behind, behind_se = _mean(loglik[:, [best]] - loglik)
    deviance, deviance_se = _per_weight(sums, weights)
    means = [part.of_means for row in scores for part in row if part.of_means is not None]
    of_means = _per_weight(torch.stack(means).reshape(sums.shape), weights) if len(means) == loglik.numel() else None
    near = [c for c in range(len(candidates)) if float(behind[c]) <= float(score_se[best])]
    simplest = min(near, key=lambda c: (numbers[c], float(behind[c])), default=best)
    whole = sums.sum(dim=0)  # over folds
    return tuple(
        Ranked(
            candidate,
            numbers[c],
            float(score[c]),
            float(score_se[c]),
            float(behind[c]),
            float(behind_se[c]),
            float(deviance[c]),
            float(deviance_se[c]),
            _explained(candidate.model, whole[c], whole[null]),
            None if of_means is None else float(of_means[0][c]),
            None if of_means is None else float(of_means[1][c]),
            impossible[c],
            sum(not row[c].converged for row in scores),
            c == best,
            c == simplest,
        )
        for c, candidate in enumerate(candidates)
    )


def beyond_sense(candidate: Candidate, folds: Sequence[Fold], scores: Sequence[Scored]) -> tuple[str, ...]:
    """Features of counts that a rate without any model would have predicted far better, the worst first.

    Those whose deviance against expected counts is more than BEYOND times that of one rate for all samples (times their
    exposure), which all counts tell, held out or not. scores: of the candidate, by fold.
    """
    data = candidate.data
    if candidate.model.spec.response is not COUNTS:
        return ()
    Y, w = data.Y.cpu().double(), data.w.cpu().double()[:, None]
    exposure = data.O.cpu().double().exp().expand_as(Y)
    seen = w.expand_as(Y) if data.K is None else w * data.K.cpu()
    weight = torch.zeros_like(Y)
    for fold in folds:
        weight[fold.rows] += fold.scored * w[fold.rows]
    rate = total(seen * Y) / total(seen * exposure)
    flat = total(weight * poisson_deviance(Y, rate * exposure))
    of_means = [score.deviance if score.of_means is None else score.of_means for score in scores]
    times = torch.stack(of_means).sum(dim=0) / flat  # over folds
    order = times.nan_to_num(nan=0.0).argsort(descending=True, stable=True)
    return tuple(data.responses[j] for j in order.tolist() if flat[j] > 0 and times[j] > BEYOND)


def _per_weight(sums: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Means over the folds of sums (folds × candidates × responses) by weight scored, and their standard errors."""
    return _mean(sums.sum(2) / torch.tensor(weights, dtype=torch.float64)[:, None])


def _mean(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the folds, and their standard errors."""
    return values.mean(dim=0), values.std(dim=0) / math.sqrt(len(values))


def _explained(model: Model[Any], deviance: Tensor, null: Tensor) -> float:
    """1 − deviance / null deviance, of sums over responses; of numbers, whose units differ, its mean over responses."""
    if model.spec.response is not NUMBERS:
        deviance, null = deviance.sum(), null.sum()
    share = torch.where(null > 0, 1.0 - deviance / null, math.nan)
    return float(share.nanmean())
