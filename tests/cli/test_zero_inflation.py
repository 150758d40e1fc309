"""Zero inflation by the commands: tables of a known truth, fitted, compared, predicted from and repeated."""

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
from scipy import stats
from tries import quickly

import plncli
import plncli.cli
from plncli.numerics.nesting import mixture_p_value

Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 100 samples × 5 features with structural zeros, and fits of it."""
    place = tmp_path_factory.mktemp("made")

    def run(words: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            patch.setattr(sys, "argv", ["plncli", *words.split()])
            with pytest.raises(SystemExit) as ended:
                plncli.cli.main()
        assert not ended.value.code

    run("simulate pln --n 100 --p 5 --zero-inflation 0.3 --zero-inflation-spread 0.8 --depth 400 --seed 4 --out tables")
    for kind in ("none", "single", "feature", "sample"):
        run(f"fit pln --config tables/config.toml --zero-inflation {kind} --latent --quiet --out {kind}")
    return place


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


def test_a_simulation_has_the_zeros_that_were_asked_for(made: Path) -> None:
    truth, Y = read(made / "tables" / "true_zero_inflation.csv"), read(made / "tables" / "counts.csv")
    latent = read(made / "tables" / "true_latent.csv")
    sampling = np.exp(-np.exp(latent.to_numpy() + np.log(read(made / "tables" / "exposure.csv").to_numpy())))
    expected = truth["probability"].to_numpy() + (1 - truth["probability"].to_numpy()) * sampling.mean(0)
    assert (Y.to_numpy() == 0).mean(0) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 100))
    facts = json.loads((made / "tables" / "simulation.json").read_text())
    assert facts["mean_depth"] == pytest.approx(400, rel=0.5)


def test_a_fit_leaves_probabilities_of_features_and_of_counts(made: Path) -> None:
    found, truth = read(made / "feature" / "zero_inflation.csv"), read(made / "tables" / "true_zero_inflation.csv")
    assert [*found] == ["logit", "probability", "logit_std_error", "logit_conf_low", "logit_conf_high"]
    assert found["probability"].to_numpy() == pytest.approx(truth["probability"].to_numpy(), abs=0.2)
    inside = (found["logit_conf_low"] < truth["logit"]) & (truth["logit"] < found["logit_conf_high"])
    assert inside.sum() >= 4
    each, Y = read(made / "feature" / "zero_probability.csv"), read(made / "tables" / "counts.csv")
    assert (each.to_numpy()[Y.to_numpy() > 0] == 0).all() and each.to_numpy().max() > 0.9
    assert read(made / "sample" / "zero_inflation.csv").index.tolist() == Y.index.tolist()
    assert read(made / "single" / "zero_inflation.csv").index.tolist() == ["all"]
    assert not (made / "none" / "zero_inflation.csv").exists()
    summary = json.loads((made / "feature" / "summary.json").read_text())
    assert summary["zero_inflation"] == "feature"
    assert "zero_inflation" not in json.loads((made / "none" / "summary.json").read_text())


def test_fits_are_compared_by_the_mixture_at_the_edge(made: Path, cli: Cli) -> None:
    ran = cli("compare", *(made / kind for kind in ("none", "single", "feature")))
    assert ran.code == 0, ran.err
    assert "½ chi2(0) + ½ chi2(1)" in ran.err
    assert "zero-inflated by feature" in ran.out


@pytest.mark.parametrize("edge", [0, 1, 3, 40])
def test_p_values_are_those_of_the_mixture(edge: int) -> None:
    df, statistic = edge + 2, 9.5
    weights = stats.binom.pmf(range(edge + 1), edge, 0.5)
    wanted = sum(weight * stats.chi2.sf(statistic, df - k) for k, weight in enumerate(weights))
    assert mixture_p_value(statistic, df, edge) == pytest.approx(wanted, rel=1e-10)
    assert mixture_p_value(0.0, 1, 1) == pytest.approx(1.0)
    assert mixture_p_value(3.0, 1, 1) == pytest.approx(0.5 * stats.chi2.sf(3.0, 1), rel=1e-12)


@pytest.mark.parametrize("kind", quickly(["single", "sample"], "single"))
def test_fitted_counts_know_of_structural_zeros(made: Path, cli: Cli, tmp_path: Path, kind: str) -> None:
    tables = [f"--{name}={made / 'tables' / f'{name}.csv'}" for name in ("counts", "covariates", "exposure")]
    assert cli("predict", made / kind, *tables, "--out", "fitted.csv").code == 0
    found = pd.read_csv(tmp_path / "fitted.csv")
    told = found.pivot(index="sample", columns="response", values="zero_probability")
    kept = read(made / kind / "zero_probability.csv")
    assert told.loc[kept.index, kept.columns].to_numpy() == pytest.approx(kept.to_numpy(), abs=5e-3)


def test_a_fit_is_repeated_and_begun_from(made: Path, cli: Cli) -> None:
    assert cli("rerun", made / "feature", "--check").code == 0
    again = cli(
        "fit", "pln", "--config", made / "feature" / "config.toml", "--init", made / "feature", "--out", "again"
    )
    assert again.code == 0, again.err


def test_python_has_the_tables_and_the_setting(made: Path) -> None:
    tables: dict[str, Any] = {
        name: read(made / "tables" / f"{name}.csv") for name in ("counts", "covariates", "exposure")
    }
    result = plncli.fit("pln", plncli.Dataset(**tables, formula="~ x"), zero_inflation="feature", se="none")
    kept = read(made / "feature" / "zero_inflation.csv")
    assert result.zero_inflation["logit"].to_numpy() == pytest.approx(kept["logit"].to_numpy(), abs=1e-3)
    assert result.zero_probability.shape == (100, 5)
    with pytest.raises(AttributeError):
        _ = plncli.fit("pln", plncli.Dataset(**tables, formula="~ x"), se="none").zero_inflation


def test_what_it_cannot_be_is_refused(made: Path, cli: Cli) -> None:
    ran = cli("fit", "pln", "--config", made / "tables" / "config.toml", "--zero-inflation", "cell", "--out", "x")
    assert ran.code == 2 and "none, single, feature, sample" in ran.err
    ran = cli("simulate", "logistic", "--zero-inflation", "0.3", "--out", "y")
    assert ran.code == 2 and "--zero-inflation is not for logistic tables" in ran.err
    ran = cli("simulate", "pln", "--zero-inflation", "0.6", "--zeros", "0.3", "--out", "y")
    assert ran.code == 2 and "structural zeros alone" in ran.err
    ran = cli("simulate", "pln", "--zero-inflation-spread", "1", "--out", "y")
    assert ran.code == 2 and "goes with --zero-inflation" in ran.err
    ran = cli("simulate", "pln", "--zero-inflation-effect", "1", "--out", "y")
    assert ran.code == 2 and "--zero-inflation-effect goes with --zero-inflation" in ran.err
    words = ("--zero-inflation", "0.3", "--zero-inflation-effect", "1", "--numeric", "0")
    ran = cli("simulate", "pln", *words, "--out", "y")
    assert ran.code == 2 and "give --numeric K or --levels K" in ran.err


def test_structural_zeros_by_covariates_are_simulated_and_found_again(tmp_path: Path, cli: Cli) -> None:
    """The truth lies within the intervals of a fit as often as these say, and zeros go by it."""
    design = ("--n", "400", "--p", "8", "--levels", "2", "--depth", "400", "--seed", "3")
    words = ("--zero-inflation", "0.3", "--zero-inflation-effect", "1")
    assert cli("simulate", "pln", *design, *words, "--out", "tables").code == 0
    truth = pd.read_csv(tmp_path / "tables/true_zero_inflation.csv").set_index(["feature", "term"])
    assert {term for _, term in truth.index} == {"Intercept", "x", "group[T.b]"}
    assert (truth.xs("Intercept", level="term")["estimate"] == truth["estimate"].iloc[0]).all()
    assert truth.drop("Intercept", level="term")["estimate"].std() == pytest.approx(1.0, abs=0.5)
    config = (tmp_path / "tables" / "config.toml").read_text()
    assert 'zero_inflation = "~ x + group"' in config
    assert cli("fit", "pln", "--config", "tables/config.toml", "--out", "run", "-q").code == 0
    found = pd.read_csv(tmp_path / "run/zero_inflation.csv").set_index(["feature", "term"]).loc[truth.index]
    off = (found["estimate"] - truth["estimate"]) / found["std_error"]
    assert (off.abs() < 1.96).mean() > 0.8 and off.abs().max() < 4.0
    assert np.corrcoef(found["estimate"], truth["estimate"])[0, 1] > 0.95
    drawn = plncli.simulate("pln", n=50, p=3, zero_inflation=0.3, zero_inflation_effect=1.0)
    assert drawn.settings["zero_inflation"] == "~ x" and len(drawn.true_zero_inflation) == 6
    assert cli("simulate", "pln", *design, *words[:2], "--out", "plain").code == 0
    plain = cli("simulate", "pln", *design, *words[:2], "--zero-inflation-effect", "0", "--out", "none")
    assert plain.code == 0
    for name in ("counts", "true_zero_inflation", "true_coefficients"):
        assert (tmp_path / "plain" / f"{name}.csv").read_bytes() == (tmp_path / "none" / f"{name}.csv").read_bytes()
