"""Cross-validation against loops by hand, simulated truth, and its own laws."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from tables import dataset, pln_table
from tries import quickly

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.crossvalidation import Validated, beyond_sense, validate
from plncli.evaluation.folds import Candidate, Fold, folds_of_cells, folds_of_samples
from plncli.fitting import fit
from plncli.inference import workers
from plncli.models.base import Model
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG

F = torch.float64


def null_of(data: Dataset) -> Dataset:
    return replace(data, X=torch.ones(data.n, 1, dtype=F), terms=("Intercept",))


def validated(
    candidates: list[Candidate], folds: tuple[Fold, ...], null: int = -1, workers: int = 1, tol: float = 1e-6
) -> Validated:
    return validate(candidates, null % len(candidates), folds, NewtonCG(), StopRule(tol), workers)


def candidates_of(data: Dataset, *models: Model) -> list[Candidate]:
    """Each model with the whole design, and the last one with an intercept alone."""
    named = [Candidate(f"{model.spec.name} {i}", model, data) for i, model in enumerate(models)]
    return [*named, Candidate("null", models[-1], null_of(data))]


def gaussian(n: int = 43, p: int = 2, **more) -> Dataset:
    g = torch.Generator().manual_seed(5)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 2, generator=g)], 1)
    return dataset(X @ torch.randn(3, p, generator=g) + torch.randn(n, p, generator=g), X, **more)


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_linear_scores_are_those_of_a_loop_over_least_squares(weighted: bool) -> None:
    data = gaussian(w=torch.arange(43) % 3 + 1.0) if weighted else gaussian()
    folds = folds_of_samples(data, 5, 7)
    found = validated(candidates_of(data, Linear()), folds)
    Y, w = data.Y.numpy(), data.w.numpy()
    for c, X in enumerate((data.X.numpy(), np.ones((43, 1)))):
        means, errors = [], []
        for fold in folds:
            out = np.isin(np.arange(43), fold.rows)
            root = np.sqrt(w[~out])[:, None]
            B = np.linalg.lstsq(root * X[~out], root * Y[~out], rcond=None)[0]
            R, E = Y[~out] - X[~out] @ B, Y[out] - X[out] @ B
            Sigma = R.T @ (w[~out][:, None] * R) / w[~out].sum()
            density = -0.5 * np.einsum("ij,jk,ik->i", E, np.linalg.inv(Sigma), E)
            density -= 0.5 * np.linalg.slogdet(2 * np.pi * Sigma)[1]
            means.append(np.average(density, weights=w[out]))
            errors.append(np.average((E**2).sum(1), weights=w[out]))
        standing = found.standings[c]
        assert standing.score == pytest.approx(np.mean(means))
        assert standing.score_se == pytest.approx(np.std(means, ddof=1) / math.sqrt(5))
        assert standing.deviance == pytest.approx(np.mean(errors))
        assert standing.deviance_se == pytest.approx(np.std(errors, ddof=1) / math.sqrt(5))
        difference = [row[0].loglik - row[c].loglik for row in found.scores]
        assert standing.behind == pytest.approx(np.mean(difference), abs=1e-12)
        assert standing.behind_se == pytest.approx(np.std(difference, ddof=1) / math.sqrt(5), abs=1e-12)
    assert found.standings[1].r2 == 0.0


def test_logistic_scores_are_those_of_a_loop_over_statsmodels() -> None:
    data = gaussian(150, 1)
    data = replace(data, Y=(data.Y > 0).double())
    folds = folds_of_samples(data, 4, 0)
    found = validated(candidates_of(data, Logistic()), folds, tol=1e-12)
    y = data.Y[:, 0].numpy()
    sums = []
    for c, X in enumerate((data.X.numpy(), np.ones((150, 1)))):
        means, deviance = [], 0.0
        for fold in folds:
            out = np.isin(np.arange(150), fold.rows)
            mu = sm.Logit(y[~out], X[~out]).fit(disp=0, tol=1e-12).predict(X[out])
            cells = np.log(np.where(y[out] == 1, mu, 1 - mu))
            means.append(cells.mean())
            deviance -= 2 * cells.sum()
        sums.append(deviance)
        assert found.standings[c].score == pytest.approx(np.mean(means), rel=1e-7)
    assert found.standings[0].r2 == pytest.approx(1 - sums[0] / sums[1], rel=1e-6)


def test_the_null_of_hidden_counts_is_a_distribution_for_each_feature() -> None:
    data, *_ = pln_table(60, 3)
    (fold, *_) = folds = folds_of_cells(data, 0.1, 3, 0)
    found = validated(candidates_of(data, PLN("diagonal")), folds, tol=1e-11)
    visible = replace(null_of(data), Y=torch.where(fold.hidden, 0.0, data.Y), K=~fold.hidden)
    alone = fit(PLN("diagonal"), visible, stop=StopRule(1e-11))
    mean = alone.estimates["B"].expand(60, 3)
    variance = alone.estimates["Sigma"].diagonal().expand(60, 3)
    cells = poisson_lognormal_logpmf(data.Y, mean, variance)[fold.hidden]
    assert found.scores[0][1].loglik == pytest.approx(float(cells.mean()), abs=1e-6)


# -- truth -----------------------------------------------------------------------------------------------------------


def test_the_true_design_wins_over_none_and_over_too_much() -> None:
    data, *_ = pln_table(200, 8, d=3)
    noise = torch.randn(200, 40, generator=torch.Generator().manual_seed(9), dtype=F)
    more = replace(data, X=torch.cat([data.X, noise], 1), terms=())
    candidates = [
        Candidate("over", PLN("diagonal"), more),
        Candidate("true", PLN("diagonal"), data),
        Candidate("null", PLN("diagonal"), null_of(data)),
    ]
    found = validated(candidates, folds_of_samples(data, 5, 0))
    assert [standing.best for standing in found.standings] == [False, True, False]
    assert [standing.simplest for standing in found.standings] == [False, True, False]
    assert all(standing.behind > 2 * standing.behind_se for standing in (found.standings[0], found.standings[2]))
    assert found.standings[1].r2 > 0.1


def test_hidden_counts_are_predicted_from_those_they_go_with() -> None:
    g = torch.Generator().manual_seed(3)
    Z = 2.0 + torch.randn(200, 1, generator=g) + 0.2 * torch.randn(200, 5, generator=g)
    data = dataset(torch.poisson(Z.exp(), generator=g))
    found = validated(candidates_of(data, PLN("full"), PLN("diagonal")), folds_of_cells(data, 0.1, 4, 0))
    full, diagonal, null = found.standings
    assert full.best and full.simplest
    assert full.score > diagonal.score + 0.5
    assert full.r2 > 0.7
    assert (diagonal.score, diagonal.r2) == pytest.approx((null.score, 0.0), abs=1e-9)


@pytest.mark.parametrize("p", quickly([8, 110], 8))
def test_a_feature_of_a_single_count_drowns_the_deviance_of_means_alone(p: int) -> None:
    """`~ x` is true of all features but the last, whose one count, at a large x, makes it expect 10^7 at a larger x."""
    data, *_ = pln_table(100, p)
    rare = torch.zeros(100, 1, dtype=F)
    rare[data.X[:, 1].argsort()[90]] = 1000.0
    data = replace(data, Y=torch.cat([data.Y, rare], 1), responses=())
    candidates = candidates_of(data, PLN("diagonal"))
    variance = fit(candidates[0].model, data).estimates["Sigma"].diagonal()
    assert float(variance[-1]) > 10 * float(variance[:-1].max())
    found = validated(candidates, folds_of_samples(data, 5, 0))
    true, null = found.standings
    assert true.of_means > 10 * null.of_means  # its mean expected counts, by one feature in a thousand of its cells
    assert true.best and true.score - null.score > 2 * null.behind_se
    assert true.deviance < 0.9 * null.deviance and true.r2 > 0.1
    names = beyond_sense(candidates[0], found.folds, [row[0] for row in found.scores])
    assert names == (data.responses[-1],)


def test_the_simplest_within_a_standard_error_is_marked() -> None:
    data = gaussian(43, 1)
    noise = torch.randn(43, 1, generator=torch.Generator().manual_seed(2), dtype=F)
    more = replace(data, X=torch.cat([data.X, noise], 1), terms=())
    candidates = [Candidate("more", Linear(), more), *candidates_of(data, Linear())]
    found = validated(candidates, folds_of_samples(data, 5, 1))
    best = next(standing for standing in found.standings if standing.best)
    near = [s for s in found.standings if s.score >= best.score - best.score_se]
    (marked,) = (standing for standing in found.standings if standing.simplest)
    assert marked.n_parameters == min(s.n_parameters for s in near)
    assert marked.candidate.formula == "linear 0"


# -- what is held out ------------------------------------------------------------------------------------------------


def test_every_sample_is_held_out_once_and_a_seed_tells_when() -> None:
    data = gaussian()
    folds = folds_of_samples(data, 5, 3)
    assert torch.cat([fold.rows for fold in folds]).sort().values.tolist() == list(range(43))
    assert sorted(len(fold.rows) for fold in folds) == [8, 8, 9, 9, 9]
    same, other = folds_of_samples(data, 5, 3), folds_of_samples(data, 5, 4)
    assert all(torch.equal(a.rows, b.rows) for a, b in zip(folds, same, strict=True))
    assert not all(torch.equal(a.rows, b.rows) for a, b in zip(folds, other, strict=True))


def test_clusters_stay_together() -> None:
    clusters = torch.arange(43) % 11
    folds = folds_of_samples(gaussian(clusters=clusters), 4, 0)
    seen = [set(clusters[fold.rows].tolist()) for fold in folds]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 11


def test_hidden_cells_are_disjoint_and_leave_no_sample_or_feature_empty() -> None:
    g = torch.Generator().manual_seed(0)
    Y = (torch.rand(40, 12, generator=g) < 0.15).double() * 3
    Y[:, 0] = 0
    Y[5, 0] = 2
    data = dataset(Y[Y.sum(1) > 0])
    K = torch.rand(data.Y.shape, generator=g) > 0.1
    data = replace(data, Y=torch.where(K | (data.Y > 0), data.Y, 0.0), K=K | (data.Y > 0))
    folds = folds_of_cells(data, 0.3, 3, 0)
    total = torch.stack([fold.hidden for fold in folds]).sum(0)
    assert int(total.max()) == 1
    assert not bool((total > 0)[~data.K].any())
    for fold in folds:
        left = torch.where(fold.hidden, 0.0, data.Y)
        assert bool((left.sum(0) > 0).all() and (left.sum(1) > 0).all())
        assert not bool(fold.hidden[:, 0][data.Y[:, 0] > 0].any())
        assert 0.2 < int(fold.hidden.sum()) / int(data.K.sum()) <= 0.301
    many = folds_of_cells(data, 0.3, 5, 0)
    assert len({tuple(fold.hidden.flatten().tolist()) for fold in many}) == 5


def test_more_folds_than_samples_are_refused() -> None:
    with pytest.raises(DataError, match="44 folds are more than the 43 samples"):
        folds_of_samples(gaussian(), 44, 0)
    with pytest.raises(DataError, match="hides 0"):
        folds_of_cells(gaussian(), 0.001, 2, 0)


# -- what cannot be scored -------------------------------------------------------------------------------------------


def one_fold(data: Dataset, rows: list[int]) -> tuple[Fold, ...]:
    """These samples, and all others."""
    parts = (rows, sorted(set(range(data.n)) - set(rows)))
    cells = [torch.ones(len(part), data.p, dtype=torch.bool) for part in parts]
    return tuple(
        Fold(k + 1, True, torch.tensor(part), cell, cell, torch.arange(data.p))
        for k, (part, cell) in enumerate(zip(parts, cells, strict=True))
    )


def test_samples_of_a_level_that_was_not_seen_are_not_scored_for_any_candidate() -> None:
    data = gaussian()
    level = torch.zeros(43, 1, dtype=F)
    level[:3] = 1.0
    more = replace(data, X=torch.cat([data.X, level], 1), terms=("Intercept", "a", "b", "site[T.x]"))
    folds = one_fold(data, list(range(20)))
    found = validated([Candidate("~ site", Linear(), more), *candidates_of(data, Linear())], folds)
    assert found.folds[0].scored.any(1).tolist() == [False] * 3 + [True] * 17
    assert found.folds[1].scored.all()
    assert found.weights == (17.0, 23.0)
    assert found.left_out == (
        "`~ site`, fold 1: `site[T.x]` not estimable from the training samples; 3 held-out samples not scored.",
    )
    assert found.scores[0][0].loglik == pytest.approx(found.scores[0][1].loglik)


def test_terms_that_follow_from_each_other_alike_predict_as_well() -> None:
    data = gaussian()
    twice = 2.0 * data.X[:, 1:2] + 1.0
    twice[0] = 5.0  # only this sample tells the two apart
    more = replace(data, X=torch.cat([data.X, twice], 1), terms=())
    candidates = [Candidate("twice", Linear(), more), *candidates_of(data, Linear())]
    found = validated(candidates, one_fold(data, list(range(20))))
    assert found.folds[0].scored.any(1).tolist() == [False] + [True] * 19
    assert found.scores[0][0].loglik == pytest.approx(found.scores[0][1].loglik)


def test_features_without_a_count_are_left_out_of_their_fold() -> None:
    data, *_ = pln_table(40, 3)
    Y = data.Y.clone()
    Y[20:, 1] = 0.0
    data = replace(data, Y=Y)
    found = validated(candidates_of(data, PLN("diagonal")), one_fold(data, list(range(20))))
    assert found.folds[0].features.tolist() == [0, 2]
    assert found.left_out[0] == "Fold 1: y2 left out, having no count in the samples that are fitted."
    assert [row[1].deviance[1].item() > 0 for row in found.scores] == [False, True]
    rest = data.among(torch.arange(2), torch.tensor([0, 2]))
    expected = validated(candidates_of(rest, PLN("diagonal")), one_fold(rest, list(range(20))))
    assert found.scores[0][0].loglik == pytest.approx(expected.scores[0][0].loglik, abs=1e-5)


@pytest.mark.parametrize("by_cells", [False, True])
def test_a_count_that_a_candidate_says_cannot_be_is_not_scored_for_any(by_cells: bool) -> None:
    data, *_ = pln_table(60, 3)
    group = (torch.arange(60) % 2 == 0).double()
    Y = data.Y.clamp_min(1.0)
    Y[group == 1, 1] = 0.0
    Y[4, 1] = 3.0  # the one count of its group
    data = replace(data, Y=Y, X=torch.stack([torch.ones(60).double(), group], 1))
    if by_cells:
        cells = torch.zeros(60, 3, dtype=torch.bool)
        cells[:8] = True
        folds = (Fold(1, False, torch.arange(60), cells, cells, torch.arange(3)),) * 2
    else:
        folds = one_fold(data, list(range(8)))
    found = validated(candidates_of(data, PLN("diagonal")), folds)
    assert int(found.folds[0].hidden.sum() - found.folds[0].scored.sum()) == 1
    assert not bool(found.folds[0].scored[4, 1])
    assert [standing.impossible for standing in found.standings] == [len(folds) if by_cells else 1, 0]
    assert "1 held-out count not scored, of probability 0 (log-likelihood -inf): y2." in found.left_out[0]
    assert all(math.isfinite(part.loglik) for row in found.scores for part in row)


def test_what_cannot_be_fitted_names_candidate_and_fold() -> None:
    g = torch.Generator().manual_seed(0)
    data = dataset(torch.randn(12, 1, generator=g), torch.randn(12, 6, generator=g))
    with pytest.raises(DataError, match=r"^`wide`, fold 1: 6 samples and 6 coefficients leave no residual"):
        validated([Candidate("wide", Linear(), data)], folds_of_samples(data, 2, 0))
    same = replace(data, X=torch.ones(12, 2).double(), terms=("a", "b"))
    with pytest.raises(DataError, match=r"^`same`: .*`b`"):
        validated([Candidate("same", Linear(), same)], folds_of_samples(data, 2, 0))


def test_a_fit_that_did_not_converge_is_counted() -> None:
    data, *_ = pln_table(60, 3)
    candidates = candidates_of(data, PLN())
    found = validate(candidates, 1, folds_of_samples(data, 3, 0), NewtonCG(), StopRule(max_iter=1))
    assert [standing.unconverged for standing in found.standings] == [3, 3]
    assert found.scores[0][0].status == "max_iter"


# -- who fits what ---------------------------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen]]:
    """Workers start at once."""
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def start(*args, **options) -> subprocess.Popen:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(workers, "WORTH", -1.0)
    monkeypatch.setattr(workers.subprocess, "Popen", start)
    yield started
    assert all(process.returncode is not None for process in started)


@pytest.mark.slow  # workers start in seconds; those of a bootstrap, which are the same, are tried ordinarily
@pytest.mark.parametrize("of", ["samples", "cells"])
def test_the_number_of_workers_changes_no_digit(processes: list[subprocess.Popen], of: str) -> None:
    data, *_ = pln_table(60, 4)
    candidates = candidates_of(data, PLN(), PLN("diagonal"))
    folds = folds_of_samples(data, 3, 0) if of == "samples" else folds_of_cells(data, 0.1, 3, 0)
    alone, together = (validated(candidates, folds, workers=number) for number in (1, 2))
    for a, b in zip(alone.standings, together.standings, strict=True):
        assert replace(a, candidate=b.candidate) == b
    assert len(processes) == 2
