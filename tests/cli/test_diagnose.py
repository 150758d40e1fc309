"""`plncli diagnose`: the bound against the likelihood, residuals, and tables of both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Cli = Callable[..., Any]
PLOTS = Path(__file__).parents[2] / "sample_data" / "linear" / "plots.csv"
OAKS = Path(__file__).parents[2] / "sample_data" / "oaks"


@pytest.mark.slow  # importance sampling of the whole oaks
def test_the_bound_of_the_oaks_lies_below_their_likelihood(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("diagnose", fits / "tree", "--json", "--out", "told", "--residuals")
    assert ran.code == 0
    facts = json.loads(ran.out)
    summary = json.loads((fits / "tree" / "summary.json").read_text())
    assert facts["elbo"] == summary["elbo"]
    assert facts["elbo_by_sample"] == pytest.approx(summary["elbo"], abs=1e-6)
    assert facts["loglik"] == pytest.approx(-30732.8, abs=3.0)
    assert 0.2 < facts["loglik_se"] < 0.8
    assert facts["khat"]["unreliable"] == 0
    assert facts["gap"] == pytest.approx(facts["loglik"] - facts["elbo"], abs=1e-6)
    samples, features, residuals = (
        pd.read_csv(tmp_path / "told" / f"{name}.csv", index_col=0) for name in ("samples", "features", "residuals")
    )
    assert samples["elbo"].sum() == pytest.approx(summary["elbo"], abs=1e-6)
    assert (samples["gap"] > 0).all()
    counts = pd.read_csv(OAKS / "counts.csv", index_col=0)
    never = np.isneginf(pd.read_csv(fits / "tree" / "latent_mean.csv", index_col=0))
    assert (residuals.isna() == never).all(axis=None)
    counting = (counts == 0) & ~never
    assert (features["zeros"] == counting.sum()).all()
    assert features["residual_sd"].to_numpy() == pytest.approx(residuals.std(ddof=0).to_numpy())
    assert json.loads((tmp_path / "told" / "diagnosis.json").read_text()) == facts


def test_a_diagonal_covariance_is_done_by_quadrature(cli: Cli, fits: Path) -> None:
    facts = json.loads(cli("diagnose", fits / "diagonal", "--json").out)
    assert facts["loglik_by"] == "quadrature" and facts["loglik_se"] == 0.0 and "khat" not in facts
    assert facts["gap"] > 100.0


def test_it_says_in_words_what_json_holds(cli: Cli, fits: Path) -> None:
    ran = cli("diagnose", fits / "part-one", "--draws", "100")
    facts = json.loads(cli("diagnose", fits / "part-one", "--draws", "100", "--json").out)
    assert max(map(len, ran.out.splitlines()[1:])) <= 100
    assert f"loglik      {facts['loglik']:.2f} ± {facts['loglik_se']:.2g}, by importance sampling" in ran.out
    assert f"the bound lies {facts['gap']:.2f} nats below it" in ran.out
    assert f"poor fit    {facts['poor']} of 23 features" in ran.out
    unreliable = facts["khat"]["unreliable"]
    assert ("unreliable (k above 0.7)" in ran.err) == (unreliable > 0)


def test_without_draws_there_is_no_likelihood(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "--p", "4", "--out", "made").code == 0
    assert cli("fit", "pln", "--config", "made/config.toml", "--out", "fit").code == 0
    out = cli("diagnose", "fit", "--draws", "0").out
    assert "loglik" not in out and "residuals" in out


def test_classes_are_checked_for_calibration(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("diagnose", fits / "markers", "--out", "told", "--json")
    facts = json.loads(ran.out)
    bins = pd.read_csv(tmp_path / "told" / "bins.csv")
    samples = pd.read_csv(tmp_path / "told" / "samples.csv")
    assert bins["weight"].sum() == len(samples) == facts["n_samples"]
    assert (bins["weight"] * bins["expected"]).sum() == pytest.approx((bins["weight"] * bins["observed"]).sum())
    assert (samples["largest"] ** 2).sum() == pytest.approx(-2 * facts["loglik"], rel=1e-9)
    assert 0.5 < facts["worst_features"][0]["auc"] < 1.0


def test_real_responses_are_checked_for_influence(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("diagnose", fits / "soil", "--out", "told")
    assert "residuals" in ran.out
    samples = pd.read_csv(tmp_path / "told" / "samples.csv")
    assert samples["leverage"].sum() == pytest.approx(3.0)
    assert samples["cook"].max() < 0.5


def test_data_that_do_not_follow_the_model_are_flagged(cli: Cli, tmp_path: Path) -> None:
    """Extra zeros in one feature of eight: that one is found, and no other."""
    assert cli("simulate", "--n", "500", "--p", "8", "--sd", "0.5", "--depth", "400", "--out", "made").code == 0
    path = tmp_path / "made" / "counts.csv"
    counts = pd.read_csv(path, index_col=0)
    feature = counts.mean().idxmax()
    counts.loc[np.random.RandomState(0).uniform(size=500) < 0.1, feature] = 0
    counts.to_csv(path)
    assert cli("fit", "pln", "--config", "made/config.toml", "--out", "fit", "--se", "none").code == 0
    facts = json.loads(cli("diagnose", "fit", "--json", "--draws", "200").out)
    assert facts["poor_features"] == [feature]
    assert facts["worst_features"][0]["feature"] == feature


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["nothing"], 3, "`nothing` does not exist"),
        (["{fits}/one", "--draws", "3"], 2, "--draws must be 0, or 25 or more"),
        (["{fits}/one", "--residuals"], 2, "--residuals goes with --out DIR."),
        (["{fits}/one", "--format", "xls"], 2, "--format must be one of csv"),
        (["{fits}/one", "--counts", "{fits}/one/latent_mean.csv"], 3, "negative count"),
        (["{fits}/one", "--counts", "other.csv"], 3, "they differ in entries"),
        (["{fits}/soil", "--covariates", "shifted.csv"], 3, "they differ in covariates"),
        (["{fits}/soil", "--counts", "other.csv"], 2, "--counts is not for a fit of the model linear"),
        (["{fits}/one", "--out", "{fits}/one", "--overwrite"], 2, "would remove what plncli did not write"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(
    args: list[str], code: int, reason: str, cli: Cli, fits: Path, tmp_path: Path
) -> None:
    counts = pd.read_csv(OAKS / "counts.csv", index_col=0)
    counts.iloc[0, 0] += 1
    counts.to_csv(tmp_path / "other.csv")
    plots = pd.read_csv(PLOTS, index_col=0)
    plots.assign(soil1=plots["soil1"] + np.arange(len(plots)) % 2).to_csv(tmp_path / "shifted.csv")
    ran = cli("diagnose", *(arg.format(fits=fits) for arg in args))
    assert (ran.code, ran.out) == (code, "")
    assert reason in " ".join(ran.err.split())


def test_tables_that_have_moved_can_be_named(cli: Cli, fits: Path, tmp_path: Path) -> None:
    """The model file alone does not say where the tables were."""
    shutil.copy(fits / "soil" / "model.safetensors", tmp_path / "model.safetensors")
    moved = shutil.copy(PLOTS, tmp_path / "moved.csv")
    assert cli("diagnose", "model.safetensors", "--covariates", moved).code == 0


def test_blocks_that_have_moved_can_be_named(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "--p", "4", "--depth", "800", "--out", "made").code == 0
    (tmp_path / "blocks.csv").write_text("feature,block\nf1,u\nf2,v\nf3,u\nf4,v\n")
    flags = ["--counts", "made/counts.csv", "--offset-method", "total", "--offset-blocks", "blocks.csv"]
    assert cli("fit", "pln", *flags, "--out", "fit", "--se", "none").code == 0
    (tmp_path / "blocks.csv").rename(tmp_path / "moved.csv")
    assert "Give the table as it was by --offset-blocks FILE." in cli("diagnose", "fit").err
    assert cli("diagnose", "fit", "--draws", "0", "--offset-blocks", "moved.csv").code == 0
    (tmp_path / "moved.csv").write_text("feature,block\nf1,u\nf2,u\nf3,v\nf4,v\n")
    assert "they differ in offsets" in cli("diagnose", "fit", "--offset-blocks", "moved.csv").err


def test_weights_missing_counts_and_single_precision(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "--n", "80", "--p", "4", "--depth", "400", "--out", "made").code == 0
    r = np.random.RandomState(1)
    counts = pd.read_csv(tmp_path / "made" / "counts.csv", index_col=0).astype("Int64")
    counts.mask(r.uniform(size=counts.shape) < 0.1).to_csv(tmp_path / "made" / "counts.csv")
    covariates = pd.read_csv(tmp_path / "made" / "covariates.csv", index_col=0)
    covariates.assign(w=r.randint(0, 4, size=80)).to_csv(tmp_path / "made" / "covariates.csv")
    more = ["--missing", "keep", "--weights", "w", "--dtype", "float32", "--tol", "1e-3"]
    assert cli("fit", "pln", "--config", "made/config.toml", *more, "--out", "fit").code == 0
    facts = json.loads(cli("diagnose", "fit", "--json", "--out", "told").out)
    assert facts["elbo_by_sample"] == pytest.approx(facts["elbo"], rel=1e-4)  # the fit's own is summed in float32
    samples = pd.read_csv(tmp_path / "told" / "samples.csv", index_col=0)
    w = pd.read_csv(tmp_path / "made" / "covariates.csv", index_col=0)["w"]
    assert samples.index.to_list() == w.index[w > 0].to_list()
    assert facts["loglik"] == pytest.approx((w * samples["loglik"]).sum(), rel=1e-12)


def test_a_table_from_standard_input_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    counts = (OAKS / "counts.csv").read_text()
    assert cli("fit", "pln", "--counts", "-", "--covariance", "diagonal", "--out", "fit", stdin=counts).code == 0
    ran = cli("diagnose", "fit")
    assert (ran.code, "from standard input, which cannot be read again" in ran.err) == (2, True)
    assert cli("diagnose", "fit", "--counts", OAKS / "counts.csv").code == 0
    assert "Put the table back as it was, or fit to a file." in cli("simulate", "--from", "fit").err
