"""What cross-validation holds out of a table: folds of samples or of cells, and what of them can be scored.

Designs are encoded once, from the covariates of all samples. What of a fold cannot be scored for one candidate is
scored for none: features that its fits have no count of, samples whose linear predictors its fits cannot estimate,
and counts of probability 0 under some candidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, counted, some
from plncli.models.base import Model, SeparatedCells
from plncli.numerics.linalg import independent_columns
from plncli.optim.base import Optimizer

INSIDE = 1e-6
"""Share of a covariate's size by which a sample may lie outside of what the others span, and be rounding."""


@dataclass(frozen=True)
class Candidate:
    """A model of some data, by a formula. Candidates that are compared explain the same table.

    labels: the values of those of its settings that are compared, by name. optimizer: its own, None for that of all.
    """

    formula: str
    model: Model[Any] = field(repr=False)
    data: Dataset = field(repr=False)
    labels: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Optimizer | None = None

    @property
    def name(self) -> str:
        """How it is called."""
        told = (value if isinstance(value, str) else f"{name} {value}" for name, value in self.labels.items())
        return " ".join((f"`{self.formula}`", *told))


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


def judged(
    candidates: Sequence[Candidate], folds: Sequence[Fold]
) -> tuple[tuple[Fold, ...], list[int], tuple[str, ...]]:
    """The folds, with what is scored of them; how many counts each candidate says cannot be; and what is left out."""
    judged, told = [], []
    impossible: dict[tuple[int, int], int] = dict.fromkeys(map(_design_of, candidates), 0)
    for fold in folds:
        fold, words = _fitted_features(candidates[0], fold)
        told += words
        scored = fold.scored.clone()
        for candidate in _designs(candidates):
            lost, number, words = _unpredicted(candidate, fold)
            impossible[_design_of(candidate)] += number
            told += words
            scored &= ~lost
        if not bool(scored.any()):
            raise DataError(f"Nothing in fold {fold.number} can be scored. {' '.join(told[-2:])} Use fewer folds.")
        judged.append(replace(fold, scored=scored))
    return tuple(judged), [impossible[_design_of(candidate)] for candidate in candidates], tuple(told)


def _designs(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of each design: what can be predicted does not hang on the covariance."""
    return list({_design_of(candidate): candidate for candidate in reversed(candidates)}.values())[::-1]


def _design_of(candidate: Candidate) -> tuple[int, int]:
    """What tells the designs of candidates apart."""
    return id(candidate.data.X), id(candidate.data.X0)


def _fitted_features(candidate: Candidate, fold: Fold) -> tuple[Fold, list[str]]:
    """The fold with the features that its fits have something of."""
    training = fold.training(candidate.data)
    fittable = candidate.model.fittable(training).cpu()
    if bool(fittable.all()):
        return fold, []
    if not bool(fittable.any()):
        raise DataError(f"Fold {fold.number} leaves nothing to fit. Use more folds, or fewer of larger classes.")
    names = [training.responses[j] for j in (~fittable).nonzero()[:, 0].tolist()]
    why = candidate.model.spec.response.null
    told = f"Fold {fold.number}: {some(names)} left out, having {why} in the samples that are fitted."
    hidden, scored = fold.hidden & fittable, fold.scored & fittable
    return replace(fold, features=fittable.nonzero()[:, 0], hidden=hidden, scored=scored), [told]


def fitted_terms(training: Dataset) -> tuple[Tensor, tuple[int, ...]]:
    """Indices of the columns of the design that are fitted, and those that follow from them."""
    return independent_columns(training.X, training.w)


def fitted_zero_terms(training: Dataset) -> tuple[Tensor, tuple[int, ...]]:
    """The same of the design of structural zeros; none without one."""
    if training.X0 is None:
        return torch.arange(0), ()
    return independent_columns(training.X0, training.w)


def _unpredicted(candidate: Candidate, fold: Fold) -> tuple[Tensor, int, list[str]]:
    """Cells (m×p) of a fold that the candidate cannot predict, or gives probability 0; how many of these; in words."""
    data, training = candidate.data, fold.training(candidate.data)
    terms, dropped = fitted_terms(training)
    zero_terms, no_zeros = fitted_zero_terms(training)
    X = data.X.cpu().double()[fold.rows]
    X0 = None if data.X0 is None else data.X0.cpu().double()[fold.rows]
    told, number = [], 0
    lost = torch.zeros_like(fold.scored)

    def leave_out(fitted: Tensor, held: Tensor, kept: Tensor, gone: Sequence[int], names: Sequence[str]) -> None:
        beyond = _outside(fitted.cpu().double(), held, kept, gone)
        lost.logical_or_(beyond[:, None])
        many = int(beyond.sum())
        what = f"{counted(many, 'held-out sample')} not scored" if many else "no held-out sample depends on it"
        told.append(
            f"`{candidate.formula}`, fold {fold.number}: {some(f'`{names[k]}`' for k in gone)} not estimable from the "
            f"training samples; {what}."
        )

    if dropped:
        leave_out(training.X, X, terms, dropped, data.terms)
    if no_zeros and training.X0 is not None and X0 is not None:
        leave_out(training.X0, X0, zero_terms, no_zeros, data.zero_terms)
    if isinstance(candidate.model, SeparatedCells):
        among = training.among(terms.to(training.X.device), fold.features.to(training.X.device))
        among = among.with_zero_terms(zero_terms.to(training.X.device))
        found = candidate.model.cell_limits(among, X[:, terms], None if X0 is None else X0[:, zero_terms])
        if found is not None:
            limits = torch.zeros(lost.shape, dtype=torch.float64)
            limits[:, fold.features] = found
            positive = data.Y.cpu()[fold.rows] > 0
            impossible = fold.scored & ~lost & (((limits < 0) & positive) | (limits > 0))
            unknown = fold.scored & ~lost & limits.isnan()
            told += _told(candidate, fold, impossible, "of probability 0 (log-likelihood -inf)")
            told += _told(candidate, fold, unknown, "whose expected values are not estimable")
            lost |= impossible | unknown
            number = int(impossible.sum())
    return lost, number, told


def _told(candidate: Candidate, fold: Fold, cells: Tensor, what: str) -> Iterator[str]:
    if bool(cells.any()):
        names = some(candidate.data.responses[j] for j in cells.any(0).nonzero()[:, 0].tolist())
        number = counted(int(cells.sum()), "held-out count")
        yield f"`{candidate.formula}`, fold {fold.number}: {number} not scored, {what}: {names}."


def _outside(fitted: Tensor, held: Tensor, kept: Tensor, dropped: Sequence[int]) -> Tensor:
    """(m,) rows of `held` (m×d) in which dropped columns are not what they are of the kept ones in `fitted`."""
    size = torch.cat([fitted, held]).abs().amax(0).clamp_min(torch.finfo(held.dtype).tiny)
    A, H, rest = fitted / size, held / size, list(dropped)
    share = torch.linalg.lstsq(A[:, kept], A[:, rest], driver="gelsd").solution
    return ((H[:, rest] - H[:, kept] @ share).abs() > INSIDE * (1.0 + H[:, kept].abs() @ share.abs())).any(1)


def weight_scored(data: Dataset, fold: Fold) -> float:
    """Total weight of what is scored: of samples, or of cells."""
    scored = fold.scored.any(1) if fold.whole else fold.scored.sum(1)
    return float(data.w.cpu().double()[fold.rows] @ scored.double())
