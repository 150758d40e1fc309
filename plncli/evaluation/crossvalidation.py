"""Cross-validation: how well models foretell what they have not seen (Stone 1974; Hastie, Tibshirani & Friedman, 7.10).

Samples are split into folds, each held out in turn from fits of all candidates; or, of a table of counts, cells are
hidden (Wold 1978; Owen & Perry 2009). Candidates meet the same splits, so that differences between them are paired.

Every fit starts from its own data alone, never from a fit that has seen what is held out; only designs are encoded
once, from the covariates of all samples. What of a fold cannot be scored for one candidate is scored for none: features
that its fits have no count of, samples whose covariates its fits do not determine, and counts of which some candidate
says that they cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, FitError, counted, some
from plncli.evaluation import scoring
from plncli.fitting import fit
from plncli.inference.workers import Kept, shared
from plncli.models.base import Model
from plncli.models.uncertainty import Interrupted
from plncli.numerics.linalg import dependent_columns
from plncli.numerics.separation import poisson_separation
from plncli.optim.base import Optimizer, Status, StopRule
from plncli.progress import OnDone

INSIDE = 1e-6
"""Share of a covariate's size by which a sample may lie outside of what the others span, and be rounding."""


@dataclass(frozen=True)
class Candidate:
    """A model of some data, by a formula. Candidates that are compared explain the same table."""

    formula: str
    model: Model = field(repr=False)
    data: Dataset = field(repr=False)

    @property
    def covariance(self) -> str:
        """Structure of the latent layer; empty without one."""
        return getattr(self.model, "covariance", "")

    @property
    def name(self) -> str:
        """How it is called."""
        return f"`{self.formula}` {self.covariance}".rstrip()


@dataclass(frozen=True)
class Fold:
    """What is held out: `hidden` cells of the samples `rows`, all of which are left out of the fits where `whole`.

    rows: (m,) indices; hidden, scored: m×p booleans, the second within the first; features: (q,) indices of those that
    are fitted and scored.
    """

    number: int
    whole: bool
    rows: Tensor
    hidden: Tensor
    scored: Tensor
    features: Tensor

    def training(self, data: Dataset) -> Dataset:
        """What the fits may see, of all features."""
        if self.whole:
            kept = torch.ones(data.n, dtype=torch.bool)
            kept[self.rows] = False
            rows = kept.nonzero()[:, 0].to(data.Y.device)
            return data.take(rows, torch.ones_like(rows))
        observed = _observed(data) & ~self.hidden.to(data.Y.device)
        return replace(data, Y=torch.where(observed, data.Y, 0.0), K=observed, clusters=None)


class Scored(NamedTuple):
    """A candidate in a fold: mean log-likelihood (or bound) of a held-out sample, or cell, and sums of deviances (p,).

    status, gap: how the fit ended; converged: whether that is at its optimum.
    """

    loglik: float
    deviance: Tensor
    status: str
    gap: float
    converged: bool

    def sound(self, p: int) -> bool:
        """Whether all is of its kind, for p responses: a score that is read back may be anybody's."""
        whole = self.deviance.shape == (p,) and self.deviance.dtype == torch.float64
        numbers = isinstance(self.loglik, float) and isinstance(self.gap, float) and isinstance(self.converged, bool)
        ended = self.status in [status.name.lower() for status in Status]
        known = whole and numbers and ended and (self.status == "converged" or not self.converged)
        return known and math.isfinite(self.loglik) and bool(self.deviance.isfinite().all())


@dataclass(frozen=True)
class Standing:
    """A candidate over all folds: means over them, each with its standard error over them.

    score: of log-likelihoods (or bounds); behind: by how much the best's is higher; deviance; r2: share of the null's
    deviance that it explains. best: of the highest score; simplest: of the fewest parameters among those whose score is
    within one standard error of the best's (Breiman et al. 1984). unconverged: in how many folds. impossible: held-out
    counts that it says cannot be: with them its score would be −inf.
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
    impossible: int
    unconverged: int
    best: bool
    simplest: bool


@dataclass(frozen=True)
class Validated:
    """Standings in the order of the candidates; scores[f][c] of candidate c in fold f; what was left out, in words.

    weights: of what is scored in each fold, by which sums of deviances become means.
    """

    standings: tuple[Standing, ...]
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
            return _scored(candidate, fold, self.optimizer, replace(self.stop, cancelled=cancelled))
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
) -> Validated:
    """Fit and score all candidates, of which number `null` is the one that r2 is reckoned against.

    kept: has and keeps what was `Scored`. Raises DataError for what cannot be fitted, Interrupted and WorkerLost.
    """
    numbers = [_n_parameters(candidate) for candidate in candidates]
    judged, impossible, left_out = _judged(candidates, folds)
    task = Task(tuple(candidates), judged, optimizer, replace(stop, cancelled=_never))
    parts: list[Scored] = shared(task, workers, on_done, stop.cancelled, kept)
    size = len(candidates)
    scores = tuple(tuple(parts[k : k + size]) for k in range(0, len(parts), size))
    weights = tuple(_weights(candidates[0].data, fold) for fold in judged)
    standings = _standings(candidates, numbers, impossible, null, weights, scores)
    return Validated(standings, judged, weights, scores, left_out)


def _never() -> bool:
    return False


def _n_parameters(candidate: Candidate) -> int:
    """Its number of parameters; DataError for what cannot be fitted to all of the data."""
    try:
        return candidate.model.n_parameters(candidate.model.prepare(candidate.data))
    except DataError as error:
        raise type(error)(f"{candidate.name}: {error}") from None


# What is held out


def folds_of_samples(data: Dataset, count: int, seed: int) -> tuple[Fold, ...]:
    """Samples in `count` folds of nearly equal sizes, at random; those of a cluster stay together."""
    units = torch.arange(data.n) if data.clusters is None else data.clusters.cpu()
    if count > data.n_clusters:
        what = "samples" if data.clusters is None else "clusters"
        raise DataError(f"{count} folds are more than the {data.n_clusters} {what}; ask for fewer.")
    order = torch.randperm(data.n_clusters, generator=torch.Generator().manual_seed(seed))
    fold_of = torch.empty_like(order)
    fold_of[order] = torch.arange(len(order)) % count
    member, observed, features = fold_of[units], _observed(data).cpu(), torch.arange(data.p)
    folds = []
    for f in range(count):
        rows = (member == f).nonzero()[:, 0]
        folds.append(Fold(f + 1, True, rows, observed[rows], observed[rows], features))
    return tuple(folds)


def folds_of_cells(data: Dataset, share: float, count: int, seed: int) -> tuple[Fold, ...]:
    """A share of the observed cells in each of `count` folds, at random, and disjoint as far as there are enough.

    Where a sample or a feature would be left without a count other than 0, one of its counts is not hidden.
    """
    observed = _observed(data).cpu()
    cells = observed.flatten().nonzero()[:, 0]
    size = round(share * len(cells))
    if not 0 < size < len(cells):
        raise DataError(f"A share of {share:g} of {counted(len(cells), 'cell')} hides {size}; hide some, and not all.")
    order = cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(seed))]
    rank = torch.zeros(observed.numel(), dtype=torch.long).scatter_(0, order, torch.arange(len(order)))
    rank, positive = rank.view_as(observed), observed & (data.Y.cpu() > 0)
    folds = []
    for f in range(count):
        hidden = torch.zeros(observed.numel(), dtype=torch.bool)
        hidden[order[(f * size + torch.arange(size)) % len(order)]] = True
        hidden = hidden.view_as(observed)
        for axis in (0, 1):
            candidates = (positive & hidden).any(axis) & ~(positive & ~hidden).any(axis)
            first = rank.masked_fill(~(positive & hidden), len(order)).argmin(axis)
            line = candidates.nonzero()[:, 0]
            hidden[(first[line], line) if axis == 0 else (line, first[line])] = False
        folds.append(Fold(f + 1, False, torch.arange(data.n), hidden, hidden, torch.arange(data.p)))
    return tuple(folds)


def _observed(data: Dataset) -> Tensor:
    return torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K


# What of it is scored


def _judged(
    candidates: Sequence[Candidate], folds: Sequence[Fold]
) -> tuple[tuple[Fold, ...], list[int], tuple[str, ...]]:
    """The folds, with what is scored of them; how many counts each candidate says cannot be; and what is left out."""
    judged, told = [], []
    impossible: dict[int, int] = dict.fromkeys((id(candidate.data.X) for candidate in candidates), 0)
    for fold in folds:
        fold, words = _fitted_features(candidates[0], fold)
        told += words
        scored = fold.scored.clone()
        for candidate in _designs(candidates):
            lost, number, words = _unforetold(candidate, fold)
            impossible[id(candidate.data.X)] += number
            told += words
            scored &= ~lost
        if not bool(scored.any()):
            raise DataError(f"Nothing in fold {fold.number} can be scored. {' '.join(told[-2:])} Use fewer folds.")
        judged.append(replace(fold, scored=scored))
    return tuple(judged), [impossible[id(candidate.data.X)] for candidate in candidates], tuple(told)


def _designs(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of each design: what can be foretold does not hang on the covariance."""
    return list({id(candidate.data.X): candidate for candidate in reversed(candidates)}.values())[::-1]


def _fitted_features(candidate: Candidate, fold: Fold) -> tuple[Fold, list[str]]:
    """The fold with the features that its fits have something of."""
    training = fold.training(candidate.data)
    fittable = candidate.model.fittable(training).cpu()
    if bool(fittable.all()):
        return fold, []
    if not bool(fittable.any()):
        raise DataError(f"Fold {fold.number} leaves nothing to fit. Use more folds, or fewer of larger classes.")
    names = [training.responses[j] for j in (~fittable).nonzero()[:, 0].tolist()]
    why = "no count" if candidate.model.name == "pln" else "a single value"
    told = f"Fold {fold.number}: {some(names)} left out, having {why} in the samples that are fitted."
    hidden, scored = fold.hidden & fittable, fold.scored & fittable
    return replace(fold, features=fittable.nonzero()[:, 0], hidden=hidden, scored=scored), [told]


def _terms(training: Dataset) -> tuple[Tensor, tuple[int, ...]]:
    """Indices of the columns of the design that are fitted, and those that follow from them."""
    dropped = tuple(k for k, _ in dependent_columns(training.X, training.w))
    kept = torch.ones(training.d, dtype=torch.bool)
    kept[list(dropped)] = False
    return kept.nonzero()[:, 0], dropped


def _unforetold(candidate: Candidate, fold: Fold) -> tuple[Tensor, int, list[str]]:
    """Cells (m×p) of a fold that the candidate cannot foretell, or says cannot be; how many of the latter; in words."""
    data, training = candidate.data, fold.training(candidate.data)
    terms, dropped = _terms(training)
    X = data.X.cpu().double()[fold.rows]
    told, number = [], 0
    lost = torch.zeros_like(fold.scored)
    if dropped:
        beyond = _outside(training.X.cpu().double(), X, terms, dropped)
        lost |= beyond[:, None]
        names = some(f"`{data.terms[k]}`" for k in dropped)
        many = int(beyond.sum())
        what = f"{counted(many, 'held-out sample')} that rest on it are not scored" if many else "none rests on it"
        told.append(f"`{candidate.formula}`, fold {fold.number}: the samples fitted do not determine {names}; {what}.")
    if candidate.model.name == "pln":
        among = training.among(terms.to(training.X.device), fold.features.to(training.X.device))
        separation = poisson_separation(among.X, among.Y, among.K)
        if separation is not None:
            course = torch.zeros(lost.shape, dtype=torch.float64)
            course[:, fold.features] = separation.courses().of_samples(X[:, terms])
            positive = data.Y.cpu()[fold.rows] > 0
            impossible = fold.scored & ~lost & (((course < 0) & positive) | (course > 0))
            unknown = fold.scored & ~lost & course.isnan()
            told += _told(candidate, fold, impossible, "that it says cannot be (log-likelihood -inf)")
            told += _told(candidate, fold, unknown, "of which it says nothing")
            lost |= impossible | unknown
            number = int(impossible.sum())
    return lost, number, told


def _told(candidate: Candidate, fold: Fold, cells: Tensor, what: str) -> Iterator[str]:
    if bool(cells.any()):
        names = some(candidate.data.responses[j] for j in cells.any(0).nonzero()[:, 0].tolist())
        number = counted(int(cells.sum()), "held-out count")
        yield f"`{candidate.formula}`, fold {fold.number}: {number} {what} not scored: {names}."


def _outside(fitted: Tensor, held: Tensor, kept: Tensor, dropped: Sequence[int]) -> Tensor:
    """(m,) rows of `held` (m×d) in which dropped columns are not what they are of the kept ones in `fitted`."""
    size = torch.cat([fitted, held]).abs().amax(0).clamp_min(torch.finfo(held.dtype).tiny)
    A, H, rest = fitted / size, held / size, list(dropped)
    share = torch.linalg.lstsq(A[:, kept], A[:, rest], driver="gelsd").solution
    return ((H[:, rest] - H[:, kept] @ share).abs() > INSIDE * (1.0 + H[:, kept].abs() @ share.abs())).any(1)


# Fits and scores


def _scored(candidate: Candidate, fold: Fold, optimizer: Optimizer, stop: StopRule) -> Scored:
    data, model = candidate.data, candidate.model
    training = fold.training(data)
    device = data.Y.device
    terms, features = _terms(training)[0].to(device), fold.features.to(device)
    model = model if len(features) == data.p else model.among(features)
    found = fit(model, training.among(terms, features), optimizer, stop)
    if found.optimum.status is Status.INTERRUPTED:
        raise Interrupted
    if found.optimum.status is Status.DIVERGED:
        raise FitError(found.optimum.status.sentence)
    whole, scored = data.among(terms, features), fold.scored[:, fold.features]
    if fold.whole:
        rows = fold.rows.to(device)
        score = scoring.of_samples(found, whole.X[rows], whole.O[rows], whole.Y[rows], scored)
    else:
        score = scoring.of_cells(found, whole.Y, scored)
    w = data.w.cpu().double()[fold.rows]
    deviance = torch.zeros(data.p, dtype=torch.float64)
    deviance[fold.features] = w @ score.deviance
    loglik = float(w @ (score.loglik if fold.whole else score.loglik.sum(1))) / _weights(data, fold)
    converged = found.converged and score.converged
    return Scored(loglik, deviance, found.optimum.status.name.lower(), found.optimum.gap, converged)


def _weights(data: Dataset, fold: Fold) -> float:
    """Total weight of what is scored: of samples, or of cells."""
    scored = fold.scored.any(1) if fold.whole else fold.scored.sum(1)
    return float(data.w.cpu().double()[fold.rows] @ scored.double())


def _standings(
    candidates: Sequence[Candidate],
    numbers: Sequence[int],
    impossible: Sequence[int],
    null: int,
    weights: Sequence[float],
    scores: Sequence[Sequence[Scored]],
) -> tuple[Standing, ...]:
    loglik = torch.tensor([[part.loglik for part in row] for row in scores], dtype=torch.float64)
    sums = torch.stack([torch.stack([part.deviance for part in row]) for row in scores])
    deviance = sums.sum(2) / torch.tensor(weights, dtype=torch.float64)[:, None]
    score, score_se = _mean(loglik)
    best = int(score.argmax())
    behind, behind_se = _mean(loglik[:, [best]] - loglik)
    mean_deviance, deviance_se = _mean(deviance)
    near = [c for c in range(len(candidates)) if float(behind[c]) <= float(score_se[best])]
    simplest = min(near, key=lambda c: (numbers[c], float(behind[c])), default=best)
    total = sums.sum(0)
    return tuple(
        Standing(
            candidate,
            numbers[c],
            float(score[c]),
            float(score_se[c]),
            float(behind[c]),
            float(behind_se[c]),
            float(mean_deviance[c]),
            float(deviance_se[c]),
            _explained(candidate.model, total[c], total[null]),
            impossible[c],
            sum(not row[c].converged for row in scores),
            c == best,
            c == simplest,
        )
        for c, candidate in enumerate(candidates)
    )


def _mean(values: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the folds, and their standard errors."""
    return values.mean(0), values.std(0) / math.sqrt(len(values))


def _explained(model: Model, deviance: Tensor, null: Tensor) -> float:
    """1 − deviance / null deviance, of sums over responses; linear: its mean over responses, whose units differ."""
    if model.name != "linear":
        deviance, null = deviance.sum(), null.sum()
    share = torch.where(null > 0, 1.0 - deviance / null, math.nan)
    return float(share.nanmean())
