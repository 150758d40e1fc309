"""Structural zeros by a formula of the covariates, by the commands: settings, tables, new samples, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Ran

import plncli
import plncli.cli

Cli = Callable[..., Ran]
PI = {"bog": 0.05, "fen": 0.6}


def draw(place: Path) -> None:
    """80 samples × 4 features: structural zeros depend on the habitat, means on x; `age` has a missing entry."""
    rng = np.random.default_rng(3)
    names = pd.Index([f"s{i:02d}" for i in range(80)], name="sample")
    habitat = np.array([*PI])[np.arange(80) % 2]
    x, age = rng.normal(size=80), (100 + 10 * rng.normal(size=80)).round(1)
    rate = np.exp(2.5 + 0.3 * x[:, None] + 0.5 * rng.normal(size=(80, 4)))
    Y = rng.poisson(rate) * (rng.uniform(size=(80, 4)) >= np.array([PI[h] for h in habitat])[:, None])
    Y[habitat == "bog", 3] = np.maximum(Y[habitat == "bog", 3], 1)  # no zero: a probability of 0
    Y[Y.sum(1) == 0, 0] = 1
    pd.DataFrame(Y, names, [f"f{j}" for j in range(1, 5)]).to_csv(place / "counts.csv")
    covariates = pd.DataFrame({"x": x.round(3), "habitat": habitat, "age": age}, names)
    covariates.loc["s07", "age"] = np.nan
    covariates.to_csv(place / "covariates.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables, and fits of them with and without a formula of zeros."""
    place = tmp_path_factory.mktemp("made")
    draw(place)
    for name, zeros in (("none", "none"), ("feature", "feature"), ("terms", "~ habitat"), ("both", "~ x + habitat")):
        words = ["fit", "pln", "--counts", "counts.csv", "--covariates", "covariates.csv", "--formula", "~ x"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            patch.setattr(sys, "argv", ["plncli", *words, "--zero-inflation", zeros, "--latent", "-q", "--out", name])
            with pytest.raises(SystemExit) as ended:
                plncli.cli.main()
        assert not ended.value.code
    return place


def tables(place: Path) -> list[str]:
    return [f"--{name}={place / f'{name}.csv'}" for name in ("counts", "covariates")]


def fit(cli: Cli, place: Path, *words: str) -> Ran:
    return cli("fit", "pln", *tables(place), "--formula", "~ x", *words)


def test_a_fit_leaves_a_coefficient_a_feature_and_term(made: Path) -> None:
    found = pd.read_csv(made / "terms" / "zero_inflation.csv")
    assert [*found] == ["feature", "term", "estimate", "std_error", "conf_low", "conf_high", "status"]
    wide = found.pivot(index="feature", columns="term", values="estimate")
    logits = np.column_stack([wide["Intercept"], wide["Intercept"] + wide["habitat[T.fen]"]])[:3]
    # three standard errors of 40 samples
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(np.tile([*PI.values()], (3, 1)), abs=0.25)
    assert wide.loc["f4"].tolist() == [-np.inf, np.inf]
    assert found[found["feature"] == "f4"]["status"].tolist() == ["infinite", "infinite"]
    assert found[found["feature"] == "f4"]["std_error"].isna().all()
    assert (found[found["feature"] == "f1"]["conf_low"] < found[found["feature"] == "f1"]["estimate"]).all()
    summary = json.loads((made / "terms" / "summary.json").read_text())
    assert summary["zero_inflation"] == "~ habitat" and summary["n_parameters"] == 4 * 2 + 10 + 4 * 2
    each = pd.read_csv(made / "terms" / "zero_probability.csv", index_col=0).to_numpy()
    Y = pd.read_csv(made / "counts.csv", index_col=0).to_numpy()
    assert (each[Y > 0] == 0).all() and each[Y == 0].max() > 0.9


def test_an_intercept_is_one_a_feature(made: Path, cli: Cli, tmp_path: Path) -> None:
    assert fit(cli, made, "--zero-inflation", "~ 1", "--latent", "--out", "one").code == 0
    for name in ("zero_inflation.csv", "coefficients.csv", "sigma.csv", "zero_probability.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (made / "feature" / name).read_bytes()


def test_fits_are_compared_where_a_distribution_is_known(made: Path, cli: Cli) -> None:
    ran = cli("compare", *(made / name for name in ("none", "feature", "terms", "both")), "--json")
    pairs = {(Path(r["large"]).name, Path(r["small"]).name): r for r in json.loads(ran.out)["ratios"]}
    assert set(pairs) == {("feature", "none"), ("both", "terms"), ("terms", "feature"), ("both", "feature")}
    assert pairs["terms", "feature"]["df"] == 4 and pairs["terms", "feature"]["edge"] == 0
    assert pairs["terms", "feature"]["p_value"] < 1e-6
    assert "the distribution of that statistic is not known" in ran.err


def test_new_samples_get_the_same_columns(made: Path, cli: Cli, tmp_path: Path) -> None:
    cov = pd.read_csv(made / "covariates.csv", index_col=0)
    cov[cov["habitat"] == "fen"].drop(columns="age").iloc[:5].to_csv(tmp_path / "fen.csv")
    ran = cli("predict", made / "terms", "--covariates", "fen.csv", "--out", "new.csv")
    assert ran.code == 0, ran.err
    assert cli("predict", made / "terms", "--covariates", made / "covariates.csv", "--out", "all.csv").code == 0
    new, whole = (pd.read_csv(tmp_path / name).set_index(["sample", "response"]) for name in ("new.csv", "all.csv"))
    assert new["marginal"].to_numpy() == pytest.approx(whole.loc[new.index, "marginal"].to_numpy())
    assert cli("predict", made / "terms", *tables(made), "--out", "fitted.csv").code == 0
    told = pd.read_csv(tmp_path / "fitted.csv").pivot(index="sample", columns="response", values="zero_probability")
    kept = pd.read_csv(made / "terms" / "zero_probability.csv", index_col=0)
    assert told.loc[kept.index, kept.columns].to_numpy() == pytest.approx(kept.to_numpy(), abs=5e-3)
    cov[["x"]].to_csv(tmp_path / "x.csv")
    ran = cli("predict", made / "terms", "--covariates", "x.csv")
    assert ran.code == 3 and "habitat" in ran.err
    cov.assign(habitat="mire").to_csv(tmp_path / "mire.csv")
    ran = cli("predict", made / "terms", "--covariates", "mire.csv")
    assert ran.code == 3 and "levels that the fit has not seen: mire" in ran.err


def test_it_is_repeated_drawn_from_and_looked_at(made: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("rerun", made / "terms", "--check").code == 0
    again = fit(cli, made, "--zero-inflation", "~ habitat", "--init", str(made / "terms"), "--out", "again")
    assert again.code == 0 and json.loads((tmp_path / "again" / "summary.json").read_text())["steps"] <= 2
    assert cli("simulate", "--from", made / "terms", "--seed", "1", "--out", "drawn").code == 0
    Y = pd.read_csv(tmp_path / "drawn" / "counts.csv", index_col=0)
    assert "habitat" in pd.read_csv(tmp_path / "drawn" / "covariates.csv").columns
    fen = np.arange(80) % 2 == 1
    assert (Y.to_numpy()[fen] == 0).mean() > (Y.to_numpy()[~fen] == 0).mean() + 0.3
    config = (tmp_path / "drawn" / "config.toml").read_text()
    assert 'zero_inflation = "~ habitat"' in config and 'formula = "~ x"' in config
    truth = pd.read_csv(tmp_path / "drawn" / "true_zero_inflation.csv")
    assert truth["term"].unique().tolist() == ["Intercept", "habitat[T.fen]"]
    assert cli("diagnose", made / "terms").code == 0
    assert cli("plot", made / "terms", "zeros", "--out", "zeros.png").code == 0
    assert cli("report", made / "terms", "--out", "report.html").code == 0
    assert "zero-inflated by ~ habitat" in cli("show", made / "terms").out


def test_python_the_environment_and_files_say_it_too(
    made: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = pd.read_csv(made / "terms" / "zero_inflation.csv")["estimate"].to_numpy()
    frames: dict[str, Any] = {name: pd.read_csv(made / f"{name}.csv", index_col=0) for name in ("counts", "covariates")}
    frames["covariates"] = frames["covariates"].drop(columns="age")
    result = plncli.fit("pln", plncli.Dataset(**frames, formula="~ x"), zero_inflation="~ habitat", se="none")
    finite = np.isfinite(kept)
    assert result.zero_inflation["estimate"].to_numpy()[finite] == pytest.approx(kept[finite], abs=1e-3)
    assert len(result.predict(frames["covariates"])) == 80 * 4
    (tmp_path / "c.toml").write_text('zero_inflation = "~habitat"\nse = "none"\n')
    assert fit(cli, made, "--config", "c.toml", "--out", "file").code == 0
    monkeypatch.setenv("PLNCLI_ZERO_INFLATION", "~ habitat")
    assert fit(cli, made, "--se", "none", "--out", "environment").code == 0
    for name in ("file", "environment"):
        found = pd.read_csv(tmp_path / name / "zero_inflation.csv")["estimate"].to_numpy()
        assert found[finite] == pytest.approx(kept[finite], abs=1e-12)


def test_samples_without_an_entry_go_from_both_designs(made: Path, cli: Cli, tmp_path: Path) -> None:
    ran = fit(cli, made, "--zero-inflation", "~ age", "--out", "a")
    assert ran.code == 3 and "sample s07, column age" in ran.err
    ran = fit(cli, made, "--zero-inflation", "~ age", "--missing", "drop", "--se", "none", "--out", "b")
    assert ran.code == 0 and "s07" in ran.err
    assert json.loads((tmp_path / "b" / "summary.json").read_text())["n_samples"] == 79
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert "s07" in json.dumps(manifest["dropped"])
    assert cli("predict", "b", "--covariates", made / "covariates.csv", "--missing", "drop").code == 0


def test_a_validation_looks_at_both_formulas(made: Path, cli: Cli) -> None:
    assert cli("validate", "pln", *tables(made), "--formula", "~ x", "--zero-inflation", "~ habitat").code == 0
    for zeros, fault in (("~ habitt", "habitt"), ("~ age", "column age"), ("~ log(habitat)", "needs numbers")):
        ran = cli("validate", "pln", *tables(made), "--formula", "~ x", "--zero-inflation", zeros)
        assert ran.code == 3 and fault in ran.out + ran.err


@pytest.mark.slow  # twelve fits
def test_candidates_may_differ_in_their_formula_of_zeros(made: Path, cli: Cli, tmp_path: Path) -> None:
    kinds = [f"--zero-inflation={kind}" for kind in ("none", "feature", "~ habitat", "~ x")]
    for more in ((), ("--entries", "0.1")):
        ran = cli(
            "cv", "pln", *tables(made), "--formula", "~ x", *kinds, "--folds", "3", "--workers", "1", *more, "--json"
        )
        assert ran.code == 0, ran.err
        best = next(one for one in json.loads(ran.out)["candidates"] if one["best"])
        assert best["zero_inflation"] == "~ habitat"


@pytest.mark.slow  # a search, and a Hessian product for each parameter
def test_components_take_a_formula_too(made: Path, cli: Cli, tmp_path: Path) -> None:
    words = ["--formula", "~ x", "--rank", "1:2", "--zero-inflation", "~ habitat", "--se", "sandwich", "--out", "pca"]
    ran = cli("fit", "pln-pca", *tables(made), *words)
    assert ran.code == 0, ran.err
    found = pd.read_csv(tmp_path / "pca" / "zero_inflation.csv")
    assert found[found["status"] == "estimated"]["std_error"].notna().all()
    assert cli("predict", "pca", *tables(made), "--out", "p.csv").code == 0
    assert cli("simulate", "--from", "pca", "--out", "drawn").code == 0
    assert cli("rerun", "pca", "--check").code == 0


def test_what_it_cannot_be_is_refused(made: Path, cli: Cli) -> None:
    cases = {
        "habitat": "none, single, feature, sample, or a formula that begins with `~`",
        "~ 0 + x": "has no intercept",
        "~ habitat + C(habitat)": "linear combination",
        "~ nowhere": "is no column",
        "~ offset(x)": "takes no offset",
        "~ x |": "bars",
    }
    for zeros, sentence in cases.items():
        ran = fit(cli, made, f"--zero-inflation={zeros}", "--out", "x")
        assert ran.code in (2, 3) and sentence in ran.err, ran.err
    ran = cli("fit", "pln", f"--counts={made / 'counts.csv'}", "--zero-inflation", "~ habitat", "--out", "x")
    of_mean = cli("fit", "pln", f"--counts={made / 'counts.csv'}", "--formula", "~ habitat", "--out", "x")
    assert ran.code == of_mean.code and ran.err == of_mean.err and "Add --covariates FILE" in ran.err
