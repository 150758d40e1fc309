"""Groups of samples on the command line and in Python: fits, bad input, new samples, pictures, and pages."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from parsed import parser

import plncli
from plncli import cli as command_line
from plncli.runs.run import read_run

Cli = Callable[..., Any]
TABLES = ("--counts", "counts.csv", "--covariates", "covariates.csv", "--exposure", "exposure.csv")
FIT = ("fit", "pln-lda", *TABLES, "--se", "none", "--folds", "3", "-q")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of three groups of 20 samples, and `run`, a fit with a covariate; columns that are no groups."""
    folder = tmp_path_factory.mktemp("groups")
    r = np.random.RandomState(1)
    group, names = np.repeat(["a", "b", "c"], 20), [f"s{i:02d}" for i in range(60)]
    means = pd.DataFrame({"a": [0, 0, 0, 0, 0], "b": [1, 0, -1, 0, 0], "c": [0, 1.2, 0, -1, 0]})
    x, depth = r.normal(size=60), r.uniform(0.5, 2.0, size=60)
    Z = 2.5 + means[group].T.to_numpy() + 0.3 * x[:, None] + 0.6 * r.normal(size=(60, 5))
    Y = r.poisson(depth[:, None] * np.exp(Z))
    Y[group == "a", 4] = 0
    pd.DataFrame(Y, names, list("vwxyz")).to_csv(folder / "counts.csv")
    covariates = pd.DataFrame({"g": group, "x": x}, names)
    covariates["number"] = pd.Series(group, names).map({"a": 1, "b": 2, "c": 3})
    covariates["same"], covariates["own"], covariates["copy"] = "u", names, "copy " + covariates["g"]
    covariates["alone"] = ["one", *group[1:]]
    covariates["gaps"] = [None, *group[1:]]
    covariates.to_csv(folder / "covariates.csv")
    pd.DataFrame({"depth": depth}, names).to_csv(folder / "exposure.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["plncli", *FIT, "--groups", "g", "--formula", "~ x", "--out", "run"])
        patch.setattr(command_line, "application", parser)
        with pytest.raises(SystemExit) as exited:
            command_line.main()
    assert not exited.value.code
    return folder


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the same, in which commands run."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_tells_how_held_out_samples_are_classified(here: Path) -> None:
    found = json.loads((here / "run/summary.json").read_text())
    table = pd.read_csv("run/classification.csv")
    right = table["group"] == table["predicted"]
    assert found["accuracy"] == pytest.approx(right.mean()) and found["held_out"] == 60
    assert found["balanced_accuracy"] == pytest.approx(right.groupby(table["group"]).mean().mean())
    assert 0.6 < found["accuracy"] <= found["apparent_accuracy"]
    assert table.filter(like="posterior_").sum(axis=1).to_numpy() == pytest.approx(np.ones(60))
    assert table.groupby("fold").size().tolist() == [20, 20, 20]
    counts = pd.read_csv("run/confusion.csv", index_col=0)
    assert np.trace(counts) == right.sum() and counts.to_numpy().sum() == 60
    assert [*pd.read_csv("run/axes.csv")] == ["feature", "LD1", "LD2"]
    assert pd.read_csv("run/scores.csv")["group"].tolist() == table["group"].tolist()
    means = pd.read_csv("run/group_means.csv", index_col=0)
    assert means.loc["a", "z"] == -np.inf and np.isfinite(means.loc[["b", "c"]]).all(axis=None)
    assert read_run(here / "run").terms == ("g[a]", "g[b]", "g[c]", "x")


def test_new_samples_need_not_say_their_group(here: Path, cli: Cli) -> None:
    told = cli("classify", "run", *TABLES, "--json")
    assert told.code == 0 and "are assigned to their group" in told.err
    pd.read_csv("covariates.csv")[["Unnamed: 0", "x"]].to_csv("x.csv", index=False)
    without = cli("classify", "run", *TABLES[:2], "--covariates", "x.csv", *TABLES[4:], "--json")
    assert without.code == 0 and "assigned" not in without.err
    a, b = pd.DataFrame(json.loads(told.out)), pd.DataFrame(json.loads(without.out))
    assert [*a] == ["sample", "group", *[*b][1:]]
    pd.testing.assert_frame_equal(a.drop(columns="group"), b)
    right = float((a["group"] == a["predicted"]).mean())
    assert right == pytest.approx(json.loads((here / "run/summary.json").read_text())["apparent_accuracy"])
    assert "half a count" in without.err


def test_without_covariates_counts_are_enough(here: Path, cli: Cli) -> None:
    assert cli(*FIT, "--groups", "g", "--covariance", "diagonal", "--folds", "0", "--out", "bare").code == 0
    assert not (here / "bare/classification.csv").exists()
    assert "accuracy" not in json.loads((here / "bare/summary.json").read_text())
    ran = cli("classify", "bare", *TABLES[:2], *TABLES[4:])
    assert ran.code == 0 and ran.out.startswith("sample,predicted,posterior_a,posterior_b,posterior_c,elbo\n")
    drawn = cli("plot", "bare", "confusion")
    assert drawn.code == 3 and "no held-out samples" in drawn.err


def test_python_classifies_alike(here: Path) -> None:
    counts, covariates, exposure = (
        pd.read_csv(f"{name}.csv", index_col=0) for name in ("counts", "covariates", "exposure")
    )
    data = plncli.Dataset(counts=counts, covariates=covariates, exposure=exposure, formula="~ x")
    fitted = plncli.fit("pln-lda", data, groups="g", folds=3, se="none")
    found = fitted.classify(counts, covariates[["x"]], exposure=exposure)
    table = pd.read_csv("run/classification.csv", index_col=0)
    assert [*found] == ["predicted", *table.filter(like="posterior_"), "elbo"]
    assert (found["predicted"] == table["group"]).mean() >= (table["predicted"] == table["group"]).mean()


def test_groups_may_be_numbers(here: Path, cli: Cli) -> None:
    ran = cli(*FIT, "--groups", "number", "--formula", "~ x", "--out", "numbers")
    assert ran.code == 0, ran.err
    assert read_run(here / "numbers").terms == ("number[1]", "number[2]", "number[3]", "x")
    likelihoods = [json.loads((here / name / "summary.json").read_text())["elbo"] for name in ("run", "numbers")]
    assert likelihoods[0] == pytest.approx(likelihoods[1], abs=1e-6)
    again = cli("classify", "numbers", *TABLES)
    assert again.code == 0 and "group \\ predicted   1   2   3" in again.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "A pln-lda fit needs a column of groups that it tells apart: --groups COLUMN"),
        (("--groups", "h"), 3, "--groups h: covariates.csv has no such column."),
        (("--groups", "g", "--formula", "~ g + x"), 3, "these are in the model already. Take it out of the formula."),
        (("--groups", "same"), 3, "has one group only, u, in the 60 samples: nothing to tell apart."),
        (("--groups", "own"), 3, "has 60 different entries in 60 samples"),
        (("--groups", "alone"), 3, "has 1 group of a single sample: one."),
        (("--groups", "gaps"), 3, "1 missing entry: sample s00, column gaps. Use --missing drop"),
        (("--groups", "x"), 3, "holds numbers such as 1.62435, which are no labels of groups."),
        (("--groups", "g", "--formula", "~ copy"), 3, "`copy[T.copy b]` is a linear combination of `g[b]`"),
        (("--groups", "g", "--prior", "a=1,b=1"), 3, "--prior a=1,b=1 lacks c. Give a number for each of the groups"),
        (("--groups", "g", "--prior", "even"), 2, "--prior is `even`, but must be proportional, equal, or a positive"),
        (("--groups", "g", "--folds", "61"), 3, "--folds 61 is more than the 60 samples. Give fewer, or loo"),
        (("--groups", "g", "--folds", "one"), 2, "--folds is `one`, but must be a whole number from 2, loo, or 0."),
    ],
)
def test_what_are_no_groups_is_refused(here: Path, cli: Cli, words: tuple[str, ...], code: int, message: str) -> None:
    ran = cli(*FIT[:-3], *(() if "--folds" in words else FIT[-3:]), *words, "--out", "refused")
    assert ran.code == code, ran.err
    assert message in ran.err


def test_what_cannot_be_classified_is_refused(here: Path, cli: Cli) -> None:
    covariates = pd.read_csv("covariates.csv", index_col=0)
    covariates.assign(g=["new", *covariates["g"][1:]]).to_csv("unseen.csv")
    unseen = cli("classify", "run", *TABLES[:2], "--covariates", "unseen.csv", *TABLES[4:])
    assert unseen.code == 3 and "holds new, which is no group of the fit: a, b, c." in unseen.err
    lacking = cli("classify", "run", *TABLES[:2], *TABLES[4:])
    assert lacking.code == 2 and "The fit explains by `x`" in lacking.err
    assert cli("fit", "pln", *TABLES, "--formula", "~ g", "--se", "none", "-q", "--out", "plain").code == 0
    plain = cli("classify", "plain", *TABLES)
    assert (
        plain.code == 3
        and "A pln fit tells no groups apart; `plncli classify` is for fits of pln-mixture, pln-lda." in plain.err
    )


def test_other_verbs_go_on_as_ever(here: Path, cli: Cli) -> None:
    for words in (
        ("predict", "run", *TABLES[2:]),
        ("transform", "run", *TABLES),
        ("diagnose", "run"),
        ("show", "run"),
        ("simulate", "--from", "run", "--out", "drawn", "--overwrite"),
        ("cv", "pln-lda", *TABLES, "--groups", "g", "--covariance", "full", "--covariance", "diagonal", "--folds", "2"),
    ):
        assert cli(*words).code == 0, words


def test_it_is_shown_how_many_are_assigned_to_their_group(here: Path, cli: Cli) -> None:
    found = json.loads((here / "run/summary.json").read_text())
    told = f"groups    {100 * found['accuracy']:.1f} % of 60 held-out samples assigned to theirs"
    assert told in cli("show", "run").out


def test_the_page_says_how_well_groups_are_told_apart(here: Path, cli: Cli) -> None:
    assert cli("report", "run", "--out", "run.html", "--overwrite").code == 0
    page = (here / "run.html").read_text(encoding="utf-8")
    assert "3 groups of g: held out in 3 folds, " in page
    assert "by chance alone, by the largest group, 33.3 % would be." in page
    for title in ("Samples on the discriminant axes.", "Features and discriminant axes.", "Groups of held-out samples"):
        assert f"<strong>{title}" in page


def test_of_two_groups_there_is_one_axis(here: Path, cli: Cli) -> None:
    ran = cli(*FIT, "--groups", "g", "--filter", "g != 'c'", "--out", "two")
    assert ran.code == 0, ran.err
    assert [*pd.read_csv("two/correlations.csv")] == ["feature", "LD1"]
    for kind in ("discriminant", "circle", "roc", "confusion"):
        assert cli("plot", "two", kind, "--out", f"{kind}.svg", "--overwrite").code == 0
    assert "Dashed: where the most probable group changes." in (here / "discriminant.svg").read_text(encoding="utf-8")
    assert cli("plot", "run", "discriminant", "--out", "axes.csv", "--overwrite").code == 0
    assert [*pd.read_csv("axes.csv")] == ["sample", "group", "LD1", "LD2"]


def test_samples_of_a_cluster_are_held_out_together(here: Path, cli: Cli) -> None:
    covariates = pd.read_csv("covariates.csv", index_col=0)
    covariates.assign(pair=[f"p{i // 2}" for i in range(60)]).to_csv("pairs.csv")
    words = [word if word != "covariates.csv" else "pairs.csv" for word in FIT]
    assert cli(*words, "--groups", "g", "--cluster", "pair", "--out", "pairs").code == 0
    fold = pd.read_csv("pairs/classification.csv")["fold"].to_numpy().reshape(30, 2)
    assert (fold[:, 0] == fold[:, 1]).all()


QUADRATIC = ("--groups", "g", "--quadratic", "--formula", "~ x", "--out", "quadratic")


def test_each_group_may_have_a_covariance_of_its_own(here: Path, cli: Cli) -> None:
    ran = cli(*FIT[:-5], "--folds", "3", *QUADRATIC)
    assert ran.code == 0 and "pln-lda (full covariance) (one for each group)" in ran.err
    fitted = read_run(here / "quadratic")
    assert fitted.terms == ("g[a]", "g[b]", "g[c]", "g[a]:x", "g[b]:x", "g[c]:x")
    found = json.loads((here / "quadratic/summary.json").read_text())
    parts = 0.0
    for group in "abc":
        words = ("fit", "pln", *TABLES, "--formula", "~ x", "--filter", f"g == '{group}'", "--all-zero", "drop")
        assert cli(*words, "--out", group, "-q").code == 0
        alone = json.loads((here / group / "summary.json").read_text())
        parts += alone["elbo"]
        ours = pd.read_csv("quadratic/coefficients.csv").query(f"term == 'g[{group}]:x' and estimate < inf")
        theirs = pd.read_csv(f"{group}/coefficients.csv").query("term == 'x'")
        known = ours[ours["response"].isin(theirs["response"])]
        assert known["estimate"].to_numpy() == pytest.approx(theirs["estimate"].to_numpy(), abs=1e-3)
        assert known["std_error"].to_numpy() == pytest.approx(theirs["std_error"].to_numpy(), rel=1e-2)
        covariances = pd.read_csv("quadratic/group_covariances.csv").query(f"group == '{group}'").set_index("feature")
        Sigma = pd.read_csv(f"{group}/sigma.csv", index_col=0)
        assert covariances.loc[Sigma.index, Sigma.columns].to_numpy() == pytest.approx(Sigma.to_numpy(), abs=2e-3)
    assert found["elbo"] == pytest.approx(parts, abs=1e-3)
    assert pd.read_csv("quadratic/group_variances.csv", index_col=0).loc["a", "z"] == 0.0
    for words in (
        ("predict", "quadratic", *TABLES[2:], "--interval", "confidence"),
        ("predict", "quadratic", *TABLES),
        ("transform", "quadratic", *TABLES),
        ("classify", "quadratic", *TABLES),
        ("diagnose", "quadratic"),
        ("show", "quadratic"),
        ("compare", "run", "quadratic"),
        ("simulate", "--from", "quadratic", "--out", "drawn", "--overwrite"),
        ("rerun", "quadratic", "--out", "again"),
        ("plot", "quadratic", "confusion", "--out", "confusion.svg"),
        ("report", "quadratic", "--out", "quadratic.html"),
        ("cv", "pln-lda", *TABLES, "--groups", "g", "--quadratic", "--covariance", "full", "--folds", "2"),
    ):
        assert cli(*words).code == 0, words
    page = (here / "quadratic.html").read_text(encoding="utf-8")
    assert "Each group has a covariance of its own, so there are no axes" in page
    axes = cli("plot", "quadratic", "discriminant")
    assert axes.code == 3 and "these need one covariance that all groups have" in axes.err


def test_groups_too_small_for_a_covariance_are_refused(here: Path, cli: Cli) -> None:
    few = pd.read_csv("covariates.csv", index_col=0)["g"].index[18:]  # two of a
    (here / "few.txt").write_text("\n".join(few) + "\n")
    few = cli(*FIT, *QUADRATIC, "--samples", "few.txt")
    assert few.code == 3 and "1 group with too few samples for a covariance of its own: a (2)." in few.err
    both = cli(*FIT, *QUADRATIC, "--zero-inflation", "feature")
    assert both.code == 2 and "--quadratic and --zero-inflation do not go together" in both.err


def test_a_fit_is_not_lost_with_its_folds(here: Path, cli: Cli) -> None:
    """Three samples are enough for a group with a covariate, two that are left without a fold are not."""
    names = [f"s{i:02d}" for i in range(17, 60)]
    (here / "three.txt").write_text("\n".join(names) + "\n")
    ran = cli(*FIT[:-3], "--folds", "loo", *QUADRATIC, "--samples", "three.txt")
    assert ran.code == 0 and "How well groups are told apart is not known" in ran.err
    assert "accuracy" not in json.loads((here / "quadratic/summary.json").read_text())
