"""`plncli cv`: candidates compared by what they predict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
PLOTS = ["--covariates", SAMPLE_DATA / "linear" / "plots.csv"]
PATIENTS = ["--covariates", SAMPLE_DATA / "logistic" / "patients.csv"]
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The oaks' twelve commonest features, and their covariates."""
    folder, oaks = tmp_path_factory.mktemp("few"), SAMPLE_DATA / "oaks"
    counts = pd.read_csv(oaks / "counts.csv", index_col=0)
    names = counts.sum().nlargest(12).index
    counts[names].to_csv(folder / "counts.csv")
    pd.read_csv(oaks / "exposure.csv", index_col=0)[names].to_csv(folder / "exposure.csv")
    return [
        *("--counts", folder / "counts.csv", "--exposure", folder / "exposure.csv"),
        *("--covariates", oaks / "covariates.csv"),
    ]


TWO = ["--formula", "~ 1", "--formula", "~ tree", "--covariance", "full", "--covariance", "diagonal"]


def compared(cli: Cli, *words: Any) -> Any:
    ran = cli("cv", *words, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_formulas_and_covariances_are_compared_with_the_null(
    cli: Cli, few: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ran = cli("cv", "pln", *few, *TWO)
    assert ran.code == 0, ran.err
    header, *rows = ran.out.splitlines()
    assert header.split()[:4] == ["formula", "covariance", "parameters", "elbo"]
    assert [row.split("  ")[0] for row in rows] == ["~ 1", "~ 1 (null)", "~ tree", "~ tree"]
    assert sum("best" in row for row in rows) == sum("1-se" in row for row in rows) == 1
    assert "best" in rows[2]
    assert "note: Means over 5 folds. elbo: bound of the log-likelihood of a held-out sample" in ran.err


def test_json_and_the_table_by_fold_agree(cli: Cli, few: list[Any], tmp_path: Path) -> None:
    found = compared(cli, "pln", *few, *TWO, "--folds", 4, "--seed", 3, "--out", "folds.csv")
    assert (found["folds"], found["seed"], found["held_out"], found["left_out"]) == (4, 3, "samples", [])
    table = pd.read_csv(tmp_path / "folds.csv")
    assert len(table) == 4 * 4
    for candidate in found["candidates"]:
        mine = table[(table.formula == candidate["formula"]) & (table.covariance == candidate["covariance"])]
        assert mine.n_samples.sum() == 116
        assert (mine.n_entries == 12 * mine.n_samples).all()
        for score in ("elbo", "deviance", "deviance_of_means"):
            assert candidate[score] == pytest.approx(mine[score].mean())
            assert candidate[f"{score}_se"] == pytest.approx(mine[score].std() / 2)
    best = max(found["candidates"], key=lambda candidate: candidate["elbo"])
    assert [c["best"] for c in found["candidates"]] == [c is best for c in found["candidates"]]
    assert [c["null"] for c in found["candidates"]] == [False, True, False, False]
    assert found["candidates"][1]["r2"] == 0.0
    again = compared(cli, "pln", *few, *TWO, "--folds", 4, "--seed", 3)
    assert again == found
    assert compared(cli, "pln", *few, *TWO, "--folds", 4, "--seed", 4)["by_fold"] != found["by_fold"]


def test_hidden_entries_are_predicted_best_by_correlations(cli: Cli, few: list[Any]) -> None:
    found = compared(cli, "pln", *few, *TWO, "--entries", 0.1)
    assert (found["held_out"], found["share"]) == ("entries", 0.1)
    by_name = {(c["formula"], c["covariance"]): c for c in found["candidates"]}
    assert by_name["~ 1", "full"]["loglik"] > by_name["~ 1", "diagonal"]["loglik"]
    assert by_name["~ 1", "full"]["r2"] > 0.1
    assert {row["n_entries"] for row in found["by_fold"]} == {139}


def test_linear_scores_equal_a_loop_over_least_squares(cli: Cli) -> None:
    """From the folds' sizes alone: with as many folds as samples there is only one way to split."""
    found = compared(cli, "linear", *PLOTS, "--formula", "harvest ~ soil1 + soil2", "--folds", 100)
    table = pd.read_csv(PLOTS[1], index_col=0)
    y, scores, errors = table.harvest.to_numpy(), [], []
    X = np.column_stack([np.ones(len(y)), table.soil1, table.soil2])
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        B, rss = np.linalg.lstsq(X[rest], y[rest], rcond=None)[:2]
        variance, e = rss[0] / rest.sum(), y[i] - X[i] @ B
        scores.append(-0.5 * (e**2 / variance + np.log(2 * np.pi * variance)))
        errors.append(e**2)
    ours, null = found["candidates"]
    assert len(y) == 100
    assert "deviance_of_means" not in ours and "deviance_of_means" not in found["by_fold"][0]
    assert (ours["loglik"], ours["deviance"]) == pytest.approx((np.mean(scores), np.mean(errors)))
    assert ours["loglik_se"] == pytest.approx(np.std(scores, ddof=1) / 10)
    assert (null["null"], null["formula"], null["n_parameters"]) == (True, "~ 1", 2)
    assert "covariance" not in ours


def test_the_formula_with_markers_predicts_the_case(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ran = cli("cv", "logistic", *PATIENTS, "--formula", "case ~ marker1 + marker2", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert "best" in ran.out.splitlines()[1]


def test_samples_that_one_formula_cannot_use_are_left_out_for_all(cli: Cli, tmp_path: Path) -> None:
    table = pd.read_csv(PLOTS[1], index_col=0)
    table.iloc[:7, 2] = np.nan
    table.to_csv(tmp_path / "holes.csv")
    formulas = ["--formula", "harvest ~ soil1", "--formula", "harvest ~ soil2"]
    ran = cli("cv", "linear", "--covariates", "holes.csv", *formulas)
    assert ran.code == 3
    found = compared(cli, "linear", "--covariates", "holes.csv", *formulas, "--missing", "drop")
    sizes = {c["formula"]: 0 for c in found["candidates"]}
    for row in found["by_fold"]:
        sizes[row["formula"]] += row["n_samples"]
    assert set(sizes.values()) == {93}


def test_a_configuration_of_a_fit_serves(cli: Cli, few: list[Any], tmp_path: Path) -> None:
    assert cli("fit", "pln", *few, "--formula", "~ tree", "--covariance", "diagonal", "--out", "run", "-q").code == 0
    found = compared(cli, "pln", "--config", tmp_path / "run" / "config.toml", "--folds", 3)
    assert [(c["formula"], c["covariance"]) for c in found["candidates"]] == [
        ("~ tree", "diagonal"),
        ("~ 1", "diagonal"),
    ]


def test_a_fixed_precision_can_be_a_candidate(cli: Cli, few: list[Any], tmp_path: Path) -> None:
    names = pd.read_csv(few[1], index_col=0).columns
    pd.DataFrame(np.eye(12), index=names, columns=names).to_csv(tmp_path / "eye.csv")
    covariances = ["--covariance", "diagonal", "--covariance", "fixed"]
    found = compared(cli, "pln", *few, *covariances, "--precision", "eye.csv", "--folds", 2)
    assert [c["covariance"] for c in found["candidates"]] == ["diagonal", "fixed"]
    assert [c["n_parameters"] for c in found["candidates"]] == [24, 12]


def test_offsets_that_know_what_is_held_out_are_told(cli: Cli, few: list[Any]) -> None:
    words = [*few[:2], "--offset-method", "total", "--covariance", "diagonal", "--entries", 0.2, "--folds", 2]
    ran = cli("cv", "pln", *words)
    assert ran.code == 0, ran.err
    assert "Size factors were estimated from the whole table" in ran.err


def test_what_did_not_converge_has_an_exit_code(cli: Cli, few: list[Any]) -> None:
    ran = cli("cv", "pln", *few, "--max-iter", 1, "--folds", 2)
    assert ran.code == 4
    assert "4 fits did not converge" in ran.err
    assert "(not converged)" in ran.out
    assert cli("cv", "pln", *few, "--max-iter", 1, "--folds", 2, "--allow-unconverged").code == 0


def test_an_unseen_level_is_told(cli: Cli, few: list[Any], tmp_path: Path) -> None:
    counts = pd.read_csv(few[1], index_col=0)
    pd.DataFrame({"site": ["a", "a"] + ["b"] * 114}, index=counts.index).to_csv(tmp_path / "sites.csv")
    pd.DataFrame({"plot": ["p1", "p1"] + [f"q{i}" for i in range(114)]}, index=counts.index).to_csv(
        tmp_path / "plots.csv"
    )
    words = ["--counts", few[1], "--covariates", "sites.csv", "--formula", "~ site", "--covariance", "diagonal"]
    ran = cli("cv", "pln", *words, "--cluster", "plots.csv")
    assert ran.code == 0, ran.err
    assert "`site[T.b]` not estimable from the training samples; 2 held-out samples" in ran.err
    assert "the same data are scored for all candidates" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--folds", "1"], 2, "--folds must be 2 or more, not 1"),
        (["--folds", "200"], 3, "200 folds are more than the 116 samples"),
        (["--entries", "1.5"], 2, "--entries must be a share between 0 and 1"),
        (["--entries", "0.1", "--cluster", "tree"], 2, "leave one of them out"),
        (["--covariance", "ful"], 2, "Did you mean `full`?"),
        (["--formula", "~ tre"], 3, "tre"),
        (["--out", "folds.txt"], 2, "must end in one of"),
        (["--se", "none"], 2, "No such option: --se"),
        (["--covariance", "fixed"], 2, "--precision FILE"),
    ],
)
def test_refusals(cli: Cli, few: list[Any], words: list[str], code: int, message: str) -> None:
    ran = cli("cv", "pln", *few, *words)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_different_responses_do_not_compare(cli: Cli) -> None:
    ran = cli("cv", "linear", *PLOTS, "--formula", "harvest ~ soil1", "--formula", "soil2 ~ soil1")
    assert ran.code == 3
    assert "explain different responses" in ran.err


def test_counts_from_standard_input_serve_several_formulas(cli: Cli, few: list[Any]) -> None:
    text = Path(few[1]).read_text()
    words = ["--counts", "-", *few[2:], "--formula", "~ 1", "--formula", "~ tree", "--covariance", "diagonal"]
    ran = cli("cv", "pln", *words, "--folds", 2, "--json", stdin=text)
    assert ran.code == 0, ran.err
    assert [c["formula"] for c in json.loads(ran.out)["candidates"]] == ["~ 1", "~ tree"]
