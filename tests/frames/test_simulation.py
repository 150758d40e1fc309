"""Simulations from Python: the tables of `plncli simulate`, to the digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from plncli import FitResult, PlncliError, fit, load, simulate
from plncli.frames.simulation import Simulation

Cli = Callable[..., Any]


def assert_is(made: Simulation, folder: Path) -> None:
    """The frames are the files, each of them, and the facts those of the folder."""
    names = {path.stem for path in folder.glob("*.csv")}
    frames = {name: value for name, value in vars(made).items() if isinstance(value, pd.DataFrame)}
    assert set(frames) == names
    for name, found in frames.items():
        index = None if name == "true_coefficients" else 0
        known = pd.read_csv(folder / f"{name}.csv", index_col=index)
        assert_frame_equal(found, known, check_exact=True, check_dtype=False)
    facts = json.loads((folder / "simulation.json").read_text())
    assert {**made.facts, "from": 0, "design": 0} == {**facts, "from": 0, "design": 0}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("pln", {}),
        ("pln", {"n": 30, "p": 7, "levels": 3, "covariance": "diagonal", "zeros": 0.6, "depth": 50, "seed": 4}),
        ("logistic", {"p": 2, "numeric": 2, "zeros": 0.3}),
        ("linear", {"n": 40, "correlation": -0.2, "sd": 2, "seed": 9}),
    ],
)
def test_a_design_draws_the_files_of_the_command(
    model: str, settings: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    ran = cli("simulate", model, *[part for k, v in settings.items() for part in (f"--{k}", v)], "--out", "made")
    assert ran.code == 0, ran.err
    made = simulate(model, **settings)
    assert_is(made, tmp_path / "made")
    assert f"{str(made)[:-1]}, in made." in ran.err
    assert made.facts == json.loads((tmp_path / "made" / "simulation.json").read_text())
    result = fit(model, made.dataset, se="none")
    assert result.run.terms == tuple(dict.fromkeys(made.true_coefficients["term"]))


def test_a_covariance_is_a_frame(cli: Cli, tmp_path: Path) -> None:
    sigma = pd.DataFrame([[1.0, 0.3], [0.3, 2.0]], index=["u", "v"], columns=["u", "v"])
    sigma.to_csv(tmp_path / "sigma.csv")
    assert cli("simulate", "--sigma", "sigma.csv", "--n", "50", "--out", "made").code == 0
    made = simulate("pln", n=50, sigma=sigma.iloc[::-1])
    assert_is(made, tmp_path / "made")
    assert made.facts["design"]["sigma"] == "<DataFrame>"


def test_a_fit_draws_the_files_of_the_command(
    result: FitResult, folder: Path, tables: dict[str, pd.DataFrame], cli: Cli, tmp_path: Path
) -> None:
    """For its own samples, for some of them, and for new ones; the command's fit ends at the same digits."""
    few = tables["covariates"].iloc[:5]
    few.to_csv(tmp_path / "few.csv")
    cases: list[tuple[list[object], dict[str, Any]]] = [
        ([], {}),
        (["--n", 12], {"n": 12}),
        (["--covariates", "few.csv", "--exposure", 100], {"covariates": few, "exposure": 100}),
    ]
    for number, (flags, given) in enumerate(cases):
        assert cli("simulate", "--from", folder, *flags, "--seed", 5, "--out", f"made{number}").code == 0
        for fitted in (result, load(folder)):
            made = fitted.simulate(**given, seed=5)
            assert_is(made, tmp_path / f"made{number}")
    with pytest.raises(PlncliError, match="`n` draws from the samples of the fit; `covariates` and `exposure` say"):
        result.simulate(3, few, 100)
    again = fit("pln", result.simulate(seed=1).dataset, se="none")
    assert again.run.terms == result.run.terms and again.run.samples == result.run.samples


def test_a_fit_of_frames_that_was_loaded_takes_new_samples_alone(
    result: FitResult, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    result.save(tmp_path / "saved")
    back = load(tmp_path / "saved")
    with pytest.raises(PlncliError, match="Give the covariates or the exposure of new samples, or fit to a file"):
        back.simulate()
    new = {"covariates": tables["covariates"], "exposure": tables["exposure"]}
    assert_frame_equal(back.simulate(**new).counts, result.simulate(**new).counts, check_exact=True)


def test_classes_keep_their_labels() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80)})
    frame["tall"] = np.where(frame.x + rng.normal(size=80) > 0, "yes", "no")
    from plncli import Dataset

    made = fit("logistic", Dataset(covariates=frame, formula="tall ~ x")).simulate(seed=1)
    assert made.response is not None and set(made.response["tall"]) == {"yes", "no"}


def test_empty_features_are_told_and_left_out_of_a_fit() -> None:
    made = simulate("pln", n=20, p=30, depth=15, seed=1)
    assert any('a fit leaves them out with `all_zero="drop"`, as `dataset` says' in note for note in made.notes)
    assert made.settings["all_zero"] == "drop"
    result = fit("pln", made.dataset, covariance="diagonal", se="none")
    assert made.counts is not None
    assert result.run.responses == tuple(made.counts.columns[made.counts.sum() > 0])


def test_torch_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    simulate("pln", n=20, p=3)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    torch.testing.assert_close(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "plm"}, "Did you mean `pln`"),
        ({"n": 0}, "`n` must be from 1 to 1000000000, not 0"),
        ({"n": 2.5}, "`n` must be a whole number of 0 or more, not 2.5"),
        ({"p": "5"}, "`p` must be a whole number of 0 or more, not '5'"),
        ({"seed": -1}, "`seed` must be a whole number"),
        ({"effect": "x"}, "`effect` must be a number, not 'x'"),
        ({"depth_spread": -1}, "`depth_spread` must be 0 or more, not -1"),
        ({"covariance": "ful"}, "`covariance` is `ful`, but must be one of full, diagonal, spherical"),
        ({"covariance": "diagonal", "correlation": 0.1}, '`correlation` goes with `covariance="full"`, but that is'),
        ({"sigma": pd.DataFrame({"a": [1.0]}, index=["a"]), "sd": 1}, "`sd` does not go with `sigma`, which gives"),
        ({"sigma": pd.DataFrame({"a": [1.0]}, index=["b"])}, "`sigma` must have the same names in its rows and"),
        ({"sigma": np.eye(2)}, "`sigma` must be a pandas DataFrame"),
        ({"model": "linear", "zeros": 0.5}, "`zeros` is not for linear tables"),
    ],
)
def test_refusals_are_in_the_words_of_python(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PlncliError, match=message) as caught:
        simulate(**given)
    assert "--" not in str(caught.value)
