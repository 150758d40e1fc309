"""`plncli compare`: finished fits side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import stats

from plncli.runs.comparison import Ratio, disagreeing

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
PATIENTS = SAMPLE_DATA / "logistic" / "patients.csv"
PLOTS = SAMPLE_DATA / "linear" / "plots.csv"
Cli = Callable[..., Any]


def compared(cli: Cli, *words: Any) -> Any:
    ran = cli("compare", *words, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_best_is_marked_and_the_others_have_their_distance(
    cli: Cli, fits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    ran = cli("compare", fits / "one", fits / "tree", fits / "diagonal")
    assert ran.code == 0, ran.err
    header, *rows = ran.out.split("\n\n")[0].splitlines()
    assert header.split() == ["run", "model", "elbo", "parameters", "aic", "bic", "icl", "r2"]
    assert [row.count("*") for row in rows] == [0, 1, 2]
    assert "~ tree, full" in rows[1]
    assert "note: The tests compare bounds of likelihoods, not likelihoods" in ran.err


def test_criteria_are_those_of_the_summaries(cli: Cli, fits: Path) -> None:
    found = compared(cli, fits / "one", fits / "tree")
    summaries = [json.loads((fits / name / "summary.json").read_text()) for name in ("one", "tree")]
    for key in ("elbo", "n_parameters", "aic", "bic", "icl", "r2", "converged", "gap"):
        assert [row[key] for row in found["rows"]] == [summary[key] for summary in summaries]
    for key in ("aic", "bic", "icl"):
        best = min(summary[key] for summary in summaries)
        assert [row[f"delta_{key}"] for row in found["rows"]] == [summary[key] - best for summary in summaries]


def test_nested_models_are_found_and_tested(cli: Cli, fits: Path) -> None:
    """`~ tree` and `~ 0 + tree` span the same, with an intercept in it; the diagonal model has an intercept alone."""
    found = compared(cli, *(fits / name for name in ("tree", "means", "one", "diagonal")))
    pairs = {(Path(ratio["large"]).name, Path(ratio["small"]).name): ratio for ratio in found["ratios"]}
    assert set(pairs) == {
        ("tree", "one"), ("means", "one"), ("one", "diagonal"), ("tree", "diagonal"), ("means", "diagonal"),
    }  # fmt: skip
    ratio = pairs["tree", "one"]
    elbo = {Path(row["run"]).name: row["elbo"] for row in found["rows"]}
    assert ratio["statistic"] == pytest.approx(2 * (elbo["tree"] - elbo["one"]))
    assert (ratio["df"], pairs["one", "diagonal"]["df"]) == (228, 114 * 113 // 2)
    assert ratio["p_value"] == pytest.approx(stats.chi2.sf(ratio["statistic"], 228))
    assert [note.split(" are ")[1] for note in found["notes"] if "same model" in note] == [
        "the same model, written in two ways."
    ]


@pytest.mark.parametrize(
    ("model", "data", "small", "large", "fit"),
    [
        ("logistic", PATIENTS, "case ~ marker1", "case ~ marker1 + marker2 + marker3", smf.logit),
        ("linear", PLOTS, "harvest ~ soil1", "harvest ~ soil1 + soil2 + I(soil1 + soil3)", smf.ols),
    ],
)
def test_likelihood_ratios_equal_statsmodels(
    cli: Cli, tmp_path: Path, model: str, data: Path, small: str, large: str, fit: Any
) -> None:
    for name, formula in (("small", small), ("large", large)):
        assert cli("fit", model, "--covariates", data, "--formula", formula, "--out", name).code == 0
    found = compared(cli, "small", "large")
    (ratio,) = found["ratios"]
    table = pd.read_csv(data)
    a, b = (fit(formula, table).fit(disp=0) for formula in (small, large))
    assert [row["loglik"] for row in found["rows"]] == pytest.approx([a.llf, b.llf], rel=1e-9)
    assert (ratio["large"], ratio["small"], ratio["df"]) == ("large", "small", b.df_model - a.df_model)
    assert ratio["statistic"] == pytest.approx(2 * (b.llf - a.llf), rel=1e-6)
    assert ratio["p_value"] == pytest.approx(stats.chi2.sf(2 * (b.llf - a.llf), ratio["df"]), rel=1e-5)
    assert "icl" not in cli("compare", "small", "large").out.splitlines()[0]


def test_designs_beside_each_other_are_not_nested(cli: Cli) -> None:
    for term in ("soil1", "soil2 + soil3"):
        cli("fit", "linear", "--covariates", PLOTS, "--formula", f"harvest ~ {term}", "--out", term[:5])
    assert compared(cli, "soil1", "soil2")["ratios"] == []


def test_large_designs_are_compared_by_their_sketches(cli: Cli, tmp_path: Path) -> None:
    """3000 samples, three times the rows that are kept."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"g": rng.integers(0, 4, 3000).astype(str), "x": rng.normal(size=3000)})
    table["g"] = "g" + table["g"]
    table["y"] = table["x"] + rng.normal(size=3000)
    table.to_csv(tmp_path / "t.csv", index_label="sample")
    formulas = {"one": "y ~ 1", "levels": "y ~ 0 + g", "both": "y ~ g + x", "square": "y ~ I(x**2)"}
    for name, formula in formulas.items():
        assert cli("fit", "linear", "--covariates", "t.csv", "--formula", formula, "--out", name).code == 0
    pairs = [(ratio["small"], ratio["large"]) for ratio in compared(cli, *formulas)["ratios"]]
    assert pairs == [("one", "levels"), ("one", "both"), ("one", "square"), ("levels", "both")]


def test_a_run_that_did_not_converge_is_warned_of(cli: Cli, fits: Path) -> None:
    ran = cli("compare", fits / "one", fits / "stopped")
    assert ran.code == 0
    assert "warning: 1 run did not converge, and would have smaller criteria at the optimum" in ran.err
    assert "(not converged)" in ran.out


def test_a_larger_model_below_a_smaller_one_is_warned_of(cli: Cli, fits: Path, tmp_path: Path) -> None:
    counts, tree = SAMPLE_DATA / "oaks" / "counts.csv", SAMPLE_DATA / "oaks" / "covariates.csv"
    exposure = SAMPLE_DATA / "oaks" / "exposure.csv"
    cli("fit", "pln", "--counts", counts, "--covariates", tree, "--exposure", exposure, "--formula", "~ tree",
        "--max-iter", "1", "--out", "early")  # fmt: skip
    ran = cli("compare", fits / "one", "early")
    assert "early has a lower elbo than " in ran.err
    assert "which is nested in it: early is not at its optimum" in ran.err


# --- what does not compare ---


def fit_counts(cli: Cli, tmp_path: Path, name: str, table: pd.DataFrame, *words: str) -> None:
    table.to_csv(tmp_path / f"{name}.csv", index_label="sample")
    ran = cli("fit", "pln", "--counts", f"{name}.csv", "--out", name, *words)
    assert ran.code == 0, ran.err


def test_runs_on_different_data_are_refused_with_what_differs(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.poisson(4, (12, 3)) + 1, index=[f"s{i}" for i in range(12)], columns=list("abc"))
    other = table.copy()
    other.iloc[3, 1] += 1
    variants = {
        "fewer": (table[1:], "the samples (12 and 11)"),
        "without": (table[["a", "b"]], "c only in base"),
        "turned": (table[["b", "a", "c"]], "the order of the columns"),
        "shuffled": (table[::-1], "the names or the order of the samples"),
        "other": (other, "the entries of the table"),
    }
    fit_counts(cli, tmp_path, "base", table)
    for name, (changed, message) in variants.items():
        fit_counts(cli, tmp_path, name, changed)
        ran = cli("compare", "base", name)
        assert (ran.code, ran.out) == (3, "")
        assert f"base and {name} were fitted to different data" in ran.err
        assert message in ran.err


def test_other_offsets_are_other_models_of_the_same_data(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.poisson(4, (12, 2)) + 1, index=[f"s{i}" for i in range(12)], columns=["a", "b"])
    pd.DataFrame({"depth": table.sum(axis=1)}).to_csv(tmp_path / "depth.csv", index_label="sample")
    fit_counts(cli, tmp_path, "plain", table, "--covariance", "diagonal")
    fit_counts(cli, tmp_path, "scaled", table, "--exposure", "depth.csv")
    found = compared(cli, "plain", "scaled")
    assert found["ratios"] == []
    assert any("different offsets" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("runs", "code", "message"),
    [
        (["tree"], 2, "Two runs or more are needed"),
        (["tree", "tree"], 2, "is given twice"),
        (["soil", "markers"], 3, "is a linear model and"),
        (["soil", "nothing"], 3, "does not exist"),
    ],
)
def test_what_is_no_comparison_is_refused(cli: Cli, fits: Path, runs: list[str], code: int, message: str) -> None:
    ran = cli("compare", *(fits / run for run in runs))
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_a_file_takes_the_table(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("compare", fits / "one", fits / "tree", "--out", "c.tsv")
    assert (ran.code, ran.out) == (0, "")
    table = pd.read_table(tmp_path / "c.tsv")
    assert list(table.columns[:5]) == ["run", "formula", "covariance", "elbo", "n_parameters"]
    assert table.delta_bic.min() == 0.0
    assert table.converged.all()
    assert cli("compare", fits / "one", fits / "tree", "--out", "c.tsv").code == 2


def test_a_failed_fit_is_shown_as_such_and_not_compared(cli: Cli, fits: Path, tmp_path: Path) -> None:
    """A likelihood that is not finite is null in the summary."""
    with safe_open(fits / "soil" / "model.safetensors", "numpy") as file:
        facts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    lost = dict.fromkeys(("loglik", "aic", "bic", "r2", "gap"))
    del facts["sha256"]  # as in files of earlier versions
    facts["summary"] = json.dumps(json.loads(facts["summary"]) | lost | {"converged": False, "status": "diverged"})
    save_file(tensors, tmp_path / "failed", facts)
    ran = cli("compare", "failed", fits / "soil")
    assert (ran.code, "failed has no finite loglik: its fit failed" in ran.err) == (3, True)
    shown = cli("show", "failed")
    assert shown.code == 0, shown.err
    assert "loglik    not finite" in shown.out
    assert "diverged (newton-cg" in shown.out


def test_criteria_and_tests_that_point_to_different_models_are_explained() -> None:
    ratio = Ratio("small", "large", 14.0, 6, 0.03)
    numbers = {"small": {"aic": 102.0, "bic": 110.0, "icl": None}, "large": {"aic": 100.0, "bic": 120.0, "icl": None}}
    (told,) = disagreeing(numbers, [ratio])
    assert told.startswith("BIC favours small and the test (p = 0.03) large: the test asks whether 6 parameters more")
    assert not list(disagreeing(numbers | {"small": numbers["small"] | {"bic": 130.0}}, [ratio]))
    assert list(disagreeing(numbers, [ratio, ratio, ratio]))[1] == "So it is for 2 other pairs of runs."
