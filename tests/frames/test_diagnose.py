"""Diagnoses from Python: those of the command, from what a fit keeps, its files, or its tables given again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from plncli import Dataset, FitResult, PlncliError, fit, load, simulate

Cli = Callable[..., Any]
LINE_OF_RUN = 1  # the first line names the run


@pytest.fixture
def told(folder: Path, cli: Cli, tmp_path: Path) -> tuple[str, Path]:
    """What the command says of the same fit, and the folder that it writes."""
    ran = cli("diagnose", folder, "--draws", "60", "--seed", "3", "--residuals", "--out", "told")
    assert ran.code == 0, ran.err
    return ran.out, tmp_path / "told"


def test_a_fit_in_memory_is_diagnosed_as_its_files_are(result: FitResult, told: tuple[str, Path]) -> None:
    printed, files = told
    found = result.diagnose(draws=60, seed=3)
    for name in ("samples", "features"):
        assert_frame_equal(getattr(found, name), pd.read_csv(files / f"{name}.csv"), check_dtype=False)
    known = pd.read_csv(files / "residuals.csv", index_col=0)
    assert_frame_equal(found.residuals, known)
    assert found.responses is None and found.bins is None
    expected = json.loads((files / "diagnosis.json").read_text())
    assert found.facts | {"run": ""} == expected | {"run": ""}
    assert str(found).splitlines()[LINE_OF_RUN:] == printed.splitlines()[LINE_OF_RUN:]


def test_a_loaded_fit_reads_its_files_again(folder: Path, told: tuple[str, Path]) -> None:
    found = load(folder).diagnose(draws=60, seed=3)
    assert found.facts | {"run": ""} == json.loads((told[1] / "diagnosis.json").read_text()) | {"run": ""}
    counts = folder.parent / "counts.csv"
    counts.write_text(counts.read_text().replace("oak001,", "oak001,1", 1))
    with pytest.raises(PlncliError, match="counts.csv has changed since .* Give its tables as `data`, or fit again"):
        load(folder).diagnose()


def test_a_fit_of_frames_that_was_loaded_needs_them(
    result: FitResult, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    result.save(tmp_path / "saved")
    back = load(tmp_path / "saved")
    with pytest.raises(PlncliError, match="to a data frame, which cannot be read again. Give its tables as `data`"):
        back.diagnose()
    expected = result.diagnose(draws=60).facts | {"run": ""}
    for data in (Dataset(**tables), Dataset(**tables, formula="~ tree")):
        assert back.diagnose(data, draws=60).facts | {"run": ""} == expected
    assert result.diagnose(Dataset(**tables), draws=60).facts | {"run": ""} == expected


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"counts": lambda frame: frame + (frame.index == "oak001")[:, None]}, "entries"),
        ({"counts": lambda frame: frame.iloc[1:]}, "names of samples"),
        ({"counts": lambda frame: frame.iloc[:, 1:]}, "names of features"),
        ({"exposure": lambda frame: frame * 2}, "offsets"),
        ({"exposure": None}, "offsets"),
        ({"covariates": lambda frame: frame.assign(tree=frame.tree.to_numpy()[::-1])}, "covariates"),
        ({"formula": "~ 1"}, "covariates"),
        ({"weights": lambda: None}, "weights"),
    ],
)
def test_wrong_data_are_refused_by_what_differs(
    change: dict[str, Any], parts: str, result: FitResult, tables: dict[str, pd.DataFrame]
) -> None:
    given: dict[str, Any] = {**tables, "formula": "~ tree"}
    for name, how in change.items():
        if name == "weights":
            given[name] = pd.Series(2.0, index=tables["counts"].index)
        else:
            given[name] = how(tables[name]) if callable(how) else how
    with pytest.raises(PlncliError, match=f"not those that this fit was fitted to: they differ in .*{parts}"):
        result.diagnose(Dataset(**given))


def test_data_of_another_model_are_refused(result: FitResult, tables: dict[str, pd.DataFrame]) -> None:
    calls: list[tuple[Any, str]] = [
        (tables["counts"], r"must be a Dataset, but are a DataFrame: Dataset\(counts=...\)"),
        (Dataset(response=tables["counts"]), "have `response`, which is not for pln fits"),
        (Dataset(covariates=tables["covariates"]), "A pln fit needs counts"),
    ]
    for data, message in calls:
        with pytest.raises(PlncliError, match=message):
            result.diagnose(data)
    for draws, message in ((3, "`draws` must be 0, or 25 or more"), (-1, "whole number"), (30.5, "not 30.5")):
        with pytest.raises(PlncliError, match=message):
            result.diagnose(draws=draws)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["logistic", "linear"])
def test_regressions_too(model: str, cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", model, "--p", "2", "--n", "80", "--seed", "4", "--out", "made").code == 0
    assert cli("fit", model, "--config", "made/config.toml", "--out", "run").code == 0
    assert cli("diagnose", "run", "--out", "told", "--residuals").code == 0
    found = fit(model, simulate(model, p=2, n=80, seed=4).dataset).diagnose()
    assert found.features is None and (found.bins is None) == (model == "linear")
    for name in ("samples", "responses", *["bins"] * (model == "logistic")):
        expected = pd.read_csv(tmp_path / "told" / f"{name}.csv")
        assert_frame_equal(getattr(found, name), expected, check_dtype=False, rtol=1e-8)
    residuals = pd.read_csv(tmp_path / "told" / "residuals.csv", index_col=0)
    assert_frame_equal(found.residuals, residuals, rtol=1e-8)


def test_weights_a_fixed_precision_and_blocks_are_found_again(tmp_path: Path) -> None:
    made = simulate("pln", n=60, p=4, depth=800, seed=2)
    assert made.counts is not None and made.true_sigma is not None
    precision = pd.DataFrame(
        np.linalg.inv(made.true_sigma), index=made.true_sigma.index, columns=made.true_sigma.columns
    )
    blocks = pd.Series(list("abab"), index=made.counts.columns, name="block")
    weights = pd.Series(np.arange(60) % 3, index=made.counts.index)  # a third of them 0
    data = Dataset(counts=made.counts, weights=weights)
    settings: dict[str, Any] = {"covariance": "fixed", "precision": precision}
    result = fit("pln", data, offset_method="gmpr", offset_blocks=blocks, **settings)
    result.save(tmp_path / "saved")
    back = load(tmp_path / "saved")
    assert back.diagnose(data, draws=30).facts | {"run": ""} == result.diagnose(draws=30).facts | {"run": ""}
    depth = pd.Series(1.0, index=made.counts.index)
    with pytest.raises(PlncliError, match="they differ in offsets"):
        back.diagnose(Dataset(counts=made.counts, weights=weights, exposure=depth))


def test_what_is_kept_is_what_the_fit_has(result: FitResult) -> None:
    assert result.outcome is not None
    assert result._origin("").data.Y.data_ptr() == result.outcome.result.data.Y.data_ptr()


def test_doubts_are_warnings_and_torch_is_left_alone(tables: dict[str, pd.DataFrame]) -> None:
    result = fit("pln", Dataset(**tables), max_iter=1, se="none")
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with pytest.warns(UserWarning, match="^Stopped at the step limit") as caught:
        result.diagnose(draws=25)
    assert {warning.filename for warning in caught} == {__file__}
    torch.testing.assert_close(torch.rand(2), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit("pln", simulate("pln", n=60, p=2, depth=200, seed=1).dataset).diagnose(draws=0)
