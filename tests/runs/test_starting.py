"""An earlier fit as the start of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.runs.run import read_run
from plncli.runs.warm_start import initial

Cli = Callable[..., Any]


def table(names: list[str], features: list[str]) -> Dataset:
    n, p = len(names), len(features)
    kind = {"dtype": torch.float64}
    data = (torch.ones(n, p, **kind), torch.ones(n, 1, **kind), torch.zeros(n, 1, **kind), torch.ones(n, **kind))
    return Dataset(*data, samples=tuple(names), terms=("Intercept",), responses=tuple(features))


@pytest.fixture
def run(cli: Cli, oaks: Any, tmp_path: Path) -> Path:
    counts = pd.read_csv(oaks.counts, index_col=0)
    counts = counts[counts.sum().nlargest(6).index]
    counts.to_csv(tmp_path / "counts.csv")
    ran = cli("fit", "pln", "--counts", "counts.csv", "--exposure", oaks.exposure, "--out", "a")
    assert ran.code == 0, ran.err
    return tmp_path / "a"


def test_estimates_are_matched_by_name(run: Path) -> None:
    counts = pd.read_csv(run.parent / "counts.csv", index_col=0)
    samples, features = list(counts.index[5:9]), list(counts.columns[[4, 1]])
    init, told = initial(read_run(run), "pln", table([*samples, "new"], ["other", *features]))
    mean = pd.read_csv(run / "latent_mean.csv", index_col=0)
    assert torch.allclose(init["M_finite"][:4, 1:], torch.tensor(mean.loc[samples, features].to_numpy()))
    assert init["M_finite"].isnan().tolist() == [[True, False, False]] * 4 + [[True] * 3]
    assert init["S"].isnan().equal(init["M_finite"].isnan())
    assert init["B"].isnan().tolist() == [[True, False, False]]
    assert told == f"Starting from {run}, which has 4 of 5 samples and 2 of 3 responses."


def test_a_run_about_other_things_is_refused(run: Path) -> None:
    with pytest.raises(DataError, match="is a pln fit, which a linear fit cannot start from"):
        initial(read_run(run), "linear", table(["x"], ["y"]))
    with pytest.raises(DataError, match="shares no sample with this fit"):
        initial(read_run(run), "pln", table(["x"], ["y"]))
    with pytest.raises(DataError, match="does not exist"):
        initial(read_run(run / "none"), "pln", table(["x"], ["y"]))


def test_a_fit_from_a_fit_takes_fewer_steps_to_the_same_optimum(cli: Cli, oaks: Any, run: Path) -> None:
    found = {}
    options = ["--exposure", oaks.exposure, "--tol", "1e-8"]
    for name, more in (("cold", []), ("warm", ["--init", "a"])):
        ran = cli("fit", "pln", "--counts", "counts.csv", *options, "--out", name, *more)
        assert ran.code == 0, ran.err
        found[name] = json.loads((run.parent / name / "summary.json").read_text())
    assert "Starting from a, which has 116 of 116 samples and 6 of 6 responses." in ran.err
    assert found["warm"]["elbo"] == pytest.approx(found["cold"]["elbo"], abs=1e-6)
    assert found["warm"]["steps"] < found["cold"]["steps"]
    again = cli("fit", "pln", "--config", "warm/config.toml", "--out", "again")
    assert "Starting from" in again.err


def test_a_regression_starts_from_its_coefficients(cli: Cli, tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "logistic.toml"
    cli("fit", "logistic", "--config", config, "--out", "a")
    ran = cli("fit", "logistic", "--config", config, "--init", "a", "--out", "b")
    assert ran.code == 0, ran.err
    cold, warm = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab")
    assert warm["loglik"] == pytest.approx(cold["loglik"], abs=1e-9)
    assert warm["steps"] < cold["steps"]
