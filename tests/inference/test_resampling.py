"""Bootstrap and jackknife, against closed forms, refits and the other standard errors."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import faulty
import pytest
import torch
from tables import dataset, pln_table

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.fitting.estimation import _estimate
from plncli.inference import resampling, workers
from plncli.inference.resampling import Resampling, Task, resampled
from plncli.inference.wald import InferenceRule
from plncli.inference.workers import shared
from plncli.models import MODELS
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.models.uncertainty import Interrupted, Uncertainty
from plncli.progress import Done
from plncli.results import FitResult

F = torch.float64


def gaussian(n: int = 40, d: int = 3, p: int = 2, seed: int = 0, **more) -> Dataset:
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, d - 1, generator=g)], 1)
    return dataset(X @ torch.randn(d, p, generator=g) + torch.randn(n, p, generator=g), X, **more)


def binary(n: int = 200, seed: int = 0) -> Dataset:
    data = gaussian(n, seed=seed)
    return dataset((data.Y > 0).double(), data.X)


def with_se(name: str, data: Dataset, method: str, resamples: int = 200, **model) -> FitResult:
    rule = InferenceRule(method, vcov=True)
    return fit(MODELS[name].load_model()(**model), data, inference=rule, resampling=Resampling(resamples))


def task_of(
    name: str, data: Dataset, method: str, resamples: int = 20, solve=_estimate, seed: int = 0
) -> tuple[Task, FitResult]:
    result = fit(MODELS[name].load_model()(), data)
    known = {**result.estimates, **result.state}
    return Task.of(method, solve, MODELS[name].load_model()(), data, known, Resampling(resamples, seed)), result


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_the_jackknife_of_least_squares_is_that_of_deleted_residuals(weighted: bool) -> None:
    """B − B_(i) = (X'WX)^-1 x_i w_i e_i / (1 − h_i)."""
    g = torch.Generator().manual_seed(1)
    data = gaussian(w=torch.randint(1, 4, (40,), generator=g).double()) if weighted else gaussian()
    result = with_se("linear", data, "jackknife")
    X, w, n = data.X, data.w, data.n
    inverse = torch.linalg.inv(X.mT @ (w[:, None] * X))
    e = data.Y - X @ result.estimates["B"]
    h = w * ((X @ inverse) * X).sum(1)
    moved = torch.einsum("ik,ij->ijk", X @ inverse, e * (w / (1.0 - h))[:, None]).flatten(1)
    centred = moved - moved.mean(0)
    expected = (n - 1) / n * centred.mT @ centred
    assert torch.allclose(result.inference.covariance, expected, rtol=1e-8, atol=1e-14)
    assert torch.allclose(result.inference.std_error.mT.flatten(), expected.diagonal().sqrt(), rtol=1e-8)


def test_the_jackknife_over_clusters_leaves_each_out() -> None:
    clusters = torch.arange(40) % 7
    data = gaussian(clusters=clusters)
    result = with_se("linear", data, "jackknife")
    left = [torch.linalg.lstsq(data.X[clusters != c], data.Y[clusters != c]).solution.mT.flatten() for c in range(7)]
    centred = torch.stack(left) - torch.stack(left).mean(0)
    assert torch.allclose(result.inference.covariance, 6 / 7 * centred.mT @ centred, rtol=1e-8)
    assert result.inference.facts["resamples"] == result.inference.facts["clusters"] == 7


@pytest.mark.parametrize("clustered", [False, True])
def test_the_bootstrap_is_the_covariance_of_fits_to_repeated_samples(clustered: bool) -> None:
    clusters = torch.arange(40) % 9 if clustered else None
    data = gaussian(clusters=clusters)
    task, result = task_of("linear", data, "bootstrap", 30)
    fits = []
    for index in range(30):
        times = task.weights(index)
        assert int((times if clusters is None else times[:9]).sum()) == (40 if clusters is None else 9)
        if clusters is not None:
            assert all(len(times[clusters == c].unique()) == 1 for c in range(9))
        rows = torch.arange(40).repeat_interleave(times)
        fits.append(torch.linalg.lstsq(data.X[rows], data.Y[rows]).solution.mT.flatten())
    expected = torch.cov(torch.stack(fits).mT)
    found = resampled(task, result.estimates["B"], Resampling(30), lambda: False)
    assert isinstance(found, Uncertainty)
    assert torch.allclose(found.covariance(), expected, rtol=1e-8)


def test_replicates_are_the_optima_of_their_resamples() -> None:
    data, *_ = pln_table(60, 3)
    task, _ = task_of("pln", data, "bootstrap")
    for index in (0, 1):
        rows = torch.arange(60).repeat_interleave(task.weights(index))
        again = fit(PLN(), Dataset(data.Y[rows], data.X[rows], data.O[rows], data.w[rows]))
        assert torch.allclose(task.part(index).B, again.estimates["B"], atol=5e-3)


@pytest.mark.slow  # hundreds of fits
@pytest.mark.parametrize(("n", "p"), [(100, 1), (200, 1), (200, 3)])
def test_they_agree_with_the_sandwich_where_all_hold(n: int, p: int) -> None:
    """Well measured counts; a standard error of 100 resamples is off by about 7 %."""
    data, *_ = pln_table(n, p, mean=2.5, seed=p)
    sandwich = with_se("pln", data, "sandwich").inference.std_error
    jackknife = with_se("pln", data, "jackknife").inference.std_error
    bootstrap = with_se("pln", data, "bootstrap", 100).inference.std_error
    assert torch.allclose(jackknife, sandwich, rtol=0.12)
    assert torch.allclose(bootstrap, sandwich, rtol=0.25)
    assert float((bootstrap / sandwich).mean()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow  # hundreds of fits; so are those of counts, which agree with the sandwich
def test_they_agree_with_fisher_in_logistic_regression() -> None:
    g = torch.Generator().manual_seed(4)
    X = torch.cat([torch.ones(150, 1), torch.randn(150, 1, generator=g)], 1).double()
    data = dataset((X.sum(1, keepdim=True) * 0.3 + torch.randn(150, 1, generator=g) > 0).double(), X)
    fisher, jackknife, bootstrap = (
        with_se("logistic", data, method).inference.std_error for method in ("fisher", "jackknife", "bootstrap")
    )
    assert torch.allclose(jackknife, with_se("logistic", data, "hc3").inference.std_error, rtol=0.03)
    assert torch.allclose(jackknife, fisher, rtol=0.15)
    assert torch.allclose(bootstrap, jackknife, rtol=0.2)


@pytest.mark.parametrize("method", ["bootstrap", "jackknife"])
def test_clusters_of_one_change_nothing_and_copies_are_seen_through(method: str) -> None:
    data = gaussian(30)
    plain = with_se("linear", data, method, 50).inference
    alone = with_se("linear", Dataset(data.Y, data.X, data.O, data.w, clusters=torch.arange(30)), method, 50).inference
    assert torch.equal(plain.covariance, alone.covariance)
    twice = torch.arange(30).repeat_interleave(2)
    copied = Dataset(data.Y[twice], data.X[twice], data.O[twice], data.w[twice], clusters=twice)
    assert torch.allclose(with_se("linear", copied, method, 50).inference.covariance, plain.covariance, rtol=1e-7)


# -- what goes wrong -------------------------------------------------------------------------------------------------


def rare() -> Dataset:
    """A factor one level of which has 2 of 40 samples, with an intercept."""
    data = gaussian(40)
    X = data.X.clone()
    X[:, 2] = 0.0
    X[:2, 2] = 1.0
    return dataset(data.Y, X)


def test_a_coefficient_that_is_not_determined_in_a_resample_is_counted_and_costs_the_others_nothing() -> None:
    data = rare()
    task, result = task_of("linear", data, "bootstrap", 60)
    without = [index for index in range(60) if not bool(task.weights(index)[:2].any())]
    assert without
    rows = torch.arange(40).repeat_interleave(task.weights(without[0]))
    fitted = torch.linalg.lstsq(data.X[rows][:, :2], data.Y[rows]).solution
    B = task.part(without[0]).B
    assert bool(B[2].isnan().all())
    assert torch.allclose(B[:2], fitted, atol=1e-8)
    found = resampled(task, result.estimates["B"], Resampling(60), lambda: False)
    assert isinstance(found, Uncertainty)
    assert bool(found.variance[2].isnan().all()) == (len(without) > 6)
    assert bool(found.variance[:2].isfinite().all())
    (told,) = found.findings
    assert told.code == "not-finite-in-resamples"
    assert told.cells == (("y1", "x3"), ("y2", "x3"))
    assert f"y1 (x3) in {len(without)}" in told.message
    assert found.facts["resamples_not_finite"][0] == {"response": "y1", "term": "x3", "resamples": len(without)}


def test_a_term_takes_those_that_it_is_made_of_with_it() -> None:
    """Without the reference level, an intercept and a contrast mean something else."""
    data = rare()
    X = torch.stack([torch.ones(40), 1.0 - data.X[:, 2].float(), data.X[:, 1].float()], 1)
    task, _ = task_of("linear", dataset(data.Y, X), "bootstrap", 60)
    index = next(index for index in range(60) if not bool(task.weights(index)[:2].any()))
    assert task.part(index).B.isnan()[:, 0].tolist() == [True, True, False]


def test_features_without_counts_in_a_resample_are_counted() -> None:
    data, *_ = pln_table(40, 3)
    Y = data.Y.clone()
    Y[:, 2] = 0.0
    Y[:3, 2] = torch.tensor([1.0, 2.0, 1.0], dtype=F)
    data = dataset(Y, data.X)
    task, result = task_of("pln", data, "bootstrap", 40)
    without = [index for index in range(40) if not bool(task.weights(index)[:3].any())]
    B = task.part(without[0]).B
    assert bool(B[:, 2].isnan().all())
    times = task.weights(without[0])
    rows = torch.arange(40).repeat_interleave(times)
    alone = fit(PLN(), Dataset(Y[rows][:, :2], data.X[rows], data.O[rows], data.w[rows])).estimates["B"]
    assert torch.allclose(B[:, :2], alone, atol=5e-3)
    found = resampled(task, result.estimates["B"], Resampling(40), lambda: False)
    assert isinstance(found, Uncertainty)
    (told,) = [finding for finding in found.findings if finding.code == "not-finite-in-resamples"]
    assert ("y3", "x1") in told.cells


def test_a_given_precision_becomes_that_of_the_features_left() -> None:
    Omega = torch.tensor([[2.0, 0.8, 0.3], [0.8, 1.5, 0.4], [0.3, 0.4, 1.0]], dtype=F)
    model = PLN("fixed", Omega).among(torch.tensor([0, 2]))
    assert torch.allclose(torch.linalg.inv(model.precision), torch.linalg.inv(Omega)[[0, 2]][:, [0, 2]])
    full = PLN()
    assert full.among(torch.tensor([0])) is full


def test_a_response_of_one_class_in_a_resample_does_not_cost_the_others() -> None:
    data = binary(40)
    Y = data.Y.clone()
    Y[:, 1] = 0.0
    Y[:2, 1] = 1.0
    data = dataset(Y, data.X[:, :2])
    task, _ = task_of("logistic", data, "bootstrap", 60)
    without = next(index for index in range(60) if not bool(task.weights(index)[:2].any()))
    B = task.part(without).B
    assert bool(B[:, 1].isnan().all()) and bool(B[:, 0].isfinite().all())


def test_separation_in_a_resample_is_counted() -> None:
    """Group 2 holds a single success: deleting it separates the group."""
    g = torch.Generator().manual_seed(2)
    group = (torch.arange(60) >= 40).double()
    y = (torch.rand(60, generator=g) > 0.5).double()
    y[40:] = 0.0
    y[45] = 1.0
    data = dataset(y[:, None], torch.stack([torch.ones(60).double(), group], 1))
    result = with_se("logistic", data, "jackknife")
    assert result.inference.std_error.isnan()[:, 0].tolist() == [False, True]
    (told,) = result.findings
    assert told.cells == (("y1", "x2"),)
    assert "y1 (x2) in 1*" in told.message


def test_fits_that_fail_are_counted_and_left_out() -> None:
    data = gaussian(30)
    data = Dataset(data.Y, data.X, data.O, data.w, samples=("first", *(f"s{i}" for i in range(29))))
    solve = faulty.failing_where_the_first_sample_is_drawn_thrice
    task, result = task_of("linear", data, "bootstrap", 60, solve, seed=2)
    bad = [index for index in range(60) if int(task.weights(index)[0]) == 3]
    assert 0 < len(bad) <= 6
    found = resampled(task, result.estimates["B"], Resampling(60), lambda: False)
    assert isinstance(found, Uncertainty)
    (told,) = found.findings
    assert told.message.startswith(f"{len(bad)} of the 60 fits of the bootstrap failed")
    assert "drawn thrice" in told.message
    assert found.facts["resamples_failed"] == len(bad)
    others = [task.part(index).B.mT.flatten() for index in range(60) if index not in bad]
    assert torch.allclose(found.covariance(), torch.cov(torch.stack(others).mT))


def test_too_many_failures_leave_no_standard_errors() -> None:
    task, result = task_of("linear", gaussian(30), "jackknife", solve=faulty.failing)
    found = resampled(task, result.estimates["B"], Resampling(), lambda: False)
    assert not isinstance(found, Uncertainty)
    assert found.code == "no-standard-errors"
    assert "30 of the 30 fits" in found.message
    assert "It never works." in found.message


def test_a_sample_that_alone_determines_a_coefficient_leaves_it_without_standard_error() -> None:
    data = rare()
    X = data.X.clone()
    X[1, 2] = 0.0
    result = with_se("linear", dataset(data.Y, X), "jackknife")
    assert bool(result.inference.std_error[2].isnan().all())
    assert bool(result.inference.std_error[:2].isfinite().all())


# -- processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen]]:
    """Workers start at once; none is left when a test ends."""
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def start(*args, **options) -> subprocess.Popen:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(workers, "WORTH", -1.0)
    monkeypatch.setattr(workers.subprocess, "Popen", start)
    yield started
    assert all(process.returncode is not None for process in started)


@pytest.mark.slow  # workers start in seconds
def test_the_number_of_workers_changes_no_digit(processes: list[subprocess.Popen]) -> None:
    data, *_ = pln_table(50, 3)
    rule = InferenceRule("bootstrap")
    alone = fit(PLN(), data, inference=rule, resampling=Resampling(12, seed=3)).inference
    shown: list[tuple[int, int]] = []
    more = Resampling(12, seed=3, workers=2, on_done=lambda done: shown.append(done[:2]))
    together = fit(PLN(), data, inference=rule, resampling=more).inference
    assert len(processes) == 2
    assert torch.equal(alone.blocks, together.blocks)
    assert shown == [(done, 12) for done in range(1, 13)]
    other = fit(PLN(), data, inference=rule, resampling=Resampling(12, seed=4)).inference
    assert not torch.equal(alone.blocks, other.blocks)


def test_small_work_is_not_shared(processes: list[subprocess.Popen], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORTH", 60.0)
    task, _ = task_of("linear", gaussian(), "jackknife")
    assert len(shared(task, 4, None, lambda: False)) == 40
    assert not processes


@pytest.mark.slow  # workers start in seconds
@pytest.mark.skipif(not os.path.exists("/proc/self/cmdline"), reason="reads /proc")  # noqa: PTH110
def test_a_killed_worker_is_told_and_does_not_hang(processes: list[subprocess.Popen]) -> None:
    task, result = task_of("linear", gaussian(), "jackknife", solve=faulty.killed_in_a_worker)
    found = resampled(task, result.estimates["B"], Resampling(workers=2), lambda: False)
    assert not isinstance(found, Uncertainty)
    assert "killed by signal 9, as the system does where memory runs out" in found.message
    assert "--workers 1" in found.message


@pytest.mark.slow  # workers start in seconds, and an interrupt of the program ends some among the ordinary tests too
def test_an_interrupt_ends_the_workers(processes: list[subprocess.Popen]) -> None:
    task, _ = task_of("linear", gaussian(400), "jackknife", solve=faulty.slow)
    done = 0

    def count(fits: Done) -> None:
        nonlocal done
        done = fits.number

    began = time.monotonic()
    with pytest.raises(Interrupted):
        shared(task, 2, count, lambda: done > 3)
    assert len(processes) == 2
    assert 3 < done < 100
    assert time.monotonic() - began < 60.0


def test_an_interrupted_bootstrap_leaves_the_fit() -> None:
    data, *_ = pln_table(50, 3)
    done = 0

    def count(fits: Done) -> None:
        nonlocal done
        done = fits.number

    from plncli.optim.base import StopRule

    stop = StopRule(cancelled=lambda: done >= 2)
    result = fit(PLN(), data, stop=stop, inference=InferenceRule("bootstrap"), resampling=Resampling(on_done=count))
    assert result.converged
    assert result.inference is None
    assert done == 2
    assert "Interrupted before the standard errors were done" in result.findings[-1].message


def test_a_time_limit_ends_a_bootstrap() -> None:
    data, *_ = pln_table(50, 3)
    from plncli.optim.base import StopRule

    stop = StopRule(time_limit=0.5)
    result = fit(PLN(), data, stop=stop, inference=InferenceRule("bootstrap"), resampling=Resampling(10**5))
    assert result.converged
    assert result.inference is None
    assert "The time limit was reached" in result.findings[-1].message


def test_models_that_have_no_chance_are_not_fitted_twice() -> None:
    """A single response that is refused is refused: there are no smaller parts."""
    task, _ = task_of("logistic", binary(40), "bootstrap")
    data = task.data.among(torch.arange(3), torch.tensor([0]))
    assert resampling.Part.of(Logistic(), data) == []
    assert len(resampling.Part.of(Linear(), gaussian())) == 2
