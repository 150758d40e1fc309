"""`plncli simulate`: folders of tables that a fit takes as they are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Cli = Callable[..., Any]
OAKS = Path(__file__).parents[2] / "sample_data" / "oaks"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(said: str) -> list[str]:
    """The command that a simulation says fits its tables."""
    found = re.search(r"^Fit them with: plncli (.*)$", said, re.MULTILINE)
    assert found
    return shlex.split(found.group(1))


@pytest.mark.parametrize(
    ("args", "tables"),
    [
        (["--levels", "3", "--n", "60", "--p", "4"], {"counts", "covariates", "exposure", "true_sigma"}),
        (["--numeric", "0", "--covariance", "diagonal", "--p", "3"], {"counts", "exposure", "true_sigma"}),
        (["pln-pca", "--rank", "3", "--p", "8"], {"counts", "covariates", "exposure", "true_loadings"}),
        (["linear", "--p", "2", "--levels", "2"], {"response", "covariates", "true_sigma"}),
        (["logistic", "--numeric", "2", "--zeros", "0.7", "--format", "feather"], {"response", "covariates"}),
    ],
    ids=["pln", "pln-intercept", "pln-pca", "linear", "logistic"],
)
def test_a_design_of_ones_choice_can_be_fitted_as_it_is(
    args: list[str], tables: set[str], cli: Cli, tmp_path: Path
) -> None:
    ran = cli("simulate", *args, "--out", "a folder")
    assert (ran.code, ran.out) == (0, "")
    suffix = "feather" if "feather" in args else "csv"
    names = {f"{name}.{suffix}" for name in (*tables, "true_coefficients", "true_latent")}
    assert set(contents(tmp_path / "a folder")) == names | {"config.toml", "simulation.json"}
    assert cli(*command(ran.err), "--out", "fit").code == 0
    fitted = pd.read_csv(tmp_path / "fit" / "coefficients.csv")
    read = pd.read_csv if suffix == "csv" else pd.read_feather
    truth = read(tmp_path / "a folder" / f"true_coefficients.{suffix}")
    assert fitted[["response", "term"]].equals(truth[["response", "term"]].astype(fitted.dtypes["term"]))


def test_the_components_of_a_design_are_what_tables_vary_along(cli: Cli, tmp_path: Path) -> None:
    """The covariance of the latent values that were drawn is CC', of orthogonal columns in order of size."""
    made = cli("simulate", "pln-pca", "--n", "20000", "--p", "5", "--rank", "2", "--numeric", "0", "--out", "made")
    assert made.code == 0, made.err
    C = pd.read_csv(tmp_path / "made" / "true_loadings.csv", index_col=0).to_numpy()
    Z = pd.read_csv(tmp_path / "made" / "true_latent.csv", index_col=0).to_numpy()
    np.testing.assert_allclose(np.cov(Z.T), C @ C.T, atol=0.05 * (C @ C.T).max())
    sizes = C.T @ C
    assert abs(sizes[0, 1]) < 1e-9 and sizes[0, 0] > sizes[1, 1] > 0 and (C.max(0) > -C.min(0)).all()
    refused = cli("simulate", "pln-pca", "--p", "3", "--rank", "4", "--out", "no")
    assert refused.code == 2 and "--rank" in refused.err


def test_the_truth_is_that_of_the_tables(cli: Cli, tmp_path: Path) -> None:
    ran = cli("simulate", "--n", "4000", "--p", "3", "--sd", "0.5", "--depth", "60", "--json", "--out", "made")
    folder = tmp_path / "made"
    facts = json.loads(ran.out)
    assert facts == json.loads((folder / "simulation.json").read_text())
    counts, exposure, covariates, Z, Sigma = (
        pd.read_csv(folder / f"{name}.csv", index_col=0)
        for name in ("counts", "exposure", "covariates", "true_latent", "true_sigma")
    )
    B = pd.read_csv(folder / "true_coefficients.csv").pivot(index="term", columns="response", values="value")
    assert facts["mean_depth"] == pytest.approx(counts.sum(axis=1).mean(), rel=1e-12)
    assert facts["expected_depth"] == 60.0
    assert exposure.mean().item() == pytest.approx(60.0, rel=1e-9)
    residual = Z - (B.loc["Intercept"].to_numpy() + np.outer(covariates["x"], B.loc["x"]))
    assert np.abs(residual.cov() - Sigma).max().max() < 0.03
    pearson = (counts - exposure.to_numpy() * np.exp(Z)) / np.sqrt(exposure.to_numpy() * np.exp(Z))
    assert pearson.to_numpy().var() == pytest.approx(1.0, abs=0.05)
    assert facts["zeros"] == pytest.approx((counts == 0).to_numpy().mean(), rel=1e-12)


@pytest.mark.parametrize("args", [["--levels", "2"], ["--n", "50"]], ids=["design", "run"])
def test_a_seed_makes_the_same_files(args: list[str], cli: Cli, fits: Path, tmp_path: Path) -> None:
    args = args if args[0] == "--levels" else ["--from", str(fits / "one"), *args]
    for out, seed in (("first", 4), ("second", 4), ("other", 5)):
        assert cli("simulate", *args, "--seed", seed, "--out", out, "-q").err == ""
    first, second, other = (contents(tmp_path / out) for out in ("first", "second", "other"))
    assert first == second
    assert first["counts.csv"] != other["counts.csv"]


def test_a_run_gives_its_parameters_and_samples(cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = cli("simulate", "--from", fits / "tree", "--out", "made")
    assert ran.code == 0
    made = tmp_path / "made"
    covariates = pd.read_csv(made / "covariates.csv", index_col=0)
    assert covariates["tree"].equals(pd.read_csv(OAKS / "covariates.csv", index_col=0)["tree"])
    exposure = pd.read_csv(made / "exposure.csv", index_col=0)
    given = pd.read_csv(OAKS / "exposure.csv", index_col=0)
    np.testing.assert_allclose(exposure, given.loc[exposure.index, exposure.columns], rtol=1e-13)
    estimates = pd.read_csv(fits / "tree" / "coefficients.csv")
    truth = pd.read_csv(made / "true_coefficients.csv")
    assert truth["value"].equals(estimates["estimate"])
    counts = pd.read_csv(made / "counts.csv", index_col=0)
    never = np.isneginf(pd.read_csv(fits / "tree" / "latent_mean.csv", index_col=0))
    assert never.to_numpy().sum() > 100
    assert not counts.to_numpy()[never].any()
    assert cli(*command(ran.err), "--out", "fit").code == 0


def test_rows_of_a_run_are_drawn_whole(cli: Cli, fits: Path, tmp_path: Path) -> None:
    assert cli("simulate", "--from", fits / "tree", "--n", "400", "--out", "made").code == 0
    made = pd.concat(
        [pd.read_csv(tmp_path / "made" / f"{t}.csv", index_col=0) for t in ("covariates", "exposure")], axis=1
    )
    own = pd.concat([pd.read_csv(OAKS / f"{t}.csv", index_col=0) for t in ("covariates", "exposure")], axis=1)
    known = {(row.tree, round(row.iloc[-1], 6)) for _, row in own[made.columns].iterrows()}
    drawn = [(row.tree, round(row.iloc[-1], 6)) for _, row in made.iterrows()]
    assert len(drawn) == 400 and set(drawn) <= known
    assert made.index[0] == "s001"


def test_new_covariates_are_encoded_as_in_the_fit(cli: Cli, fits: Path, tmp_path: Path) -> None:
    new = pd.DataFrame({"soil1": [0.0, 1.0], "soil2": [0.0, -1.0]}, index=pd.Index(["a", "b"], name="plot"))
    new.to_csv(tmp_path / "new.csv")
    assert cli("simulate", "--from", fits / "soil", "--covariates", "new.csv", "--out", "made").code == 0
    B = pd.read_csv(fits / "soil" / "coefficients.csv").set_index("term")["estimate"]
    mean = pd.read_csv(tmp_path / "made" / "true_latent.csv", index_col=0)["harvest"]
    expected = [B["Intercept"], B["Intercept"] + B["soil1"] - B["soil2"]]
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def test_tables_of_new_samples_are_matched_by_name_or_position(cli: Cli, fits: Path, tmp_path: Path) -> None:
    trees = pd.read_csv(OAKS / "covariates.csv", index_col=0).head(3)
    trees.to_csv(tmp_path / "trees.csv")
    pd.DataFrame({"depth": [10.0, 1e6, 10.0]}, index=["x", "y", "z"]).to_csv(tmp_path / "depth.csv")
    ask = ["simulate", "--from", fits / "one", "--covariates", "trees.csv", "--exposure", "depth.csv", "--out", "made"]
    refused = cli(*ask)
    assert refused.code == 3 and "use --match position" in refused.err
    assert cli(*ask, "--match", "position").code == 0
    made = pd.read_csv(tmp_path / "made" / "exposure.csv", index_col=0)
    assert list(made["exposure"].round(6)) == [10.0, 1e6, 10.0] and list(made.index) == list(trees.index)


def test_new_samples_where_a_fit_expects_nothing_have_no_counts(cli: Cli, fits: Path, tmp_path: Path) -> None:
    new = [f"--covariates={OAKS / 'covariates.csv'}", "--exposure=1000"]
    assert cli("simulate", "--from", fits / "tree", *new, "--out", "made").code == 0
    never = np.isneginf(pd.read_csv(fits / "tree" / "latent_mean.csv", index_col=0)).to_numpy()
    made = pd.read_csv(tmp_path / "made" / "true_latent.csv", index_col=0)
    assert (np.isneginf(made) == never).to_numpy().all()
    assert (pd.read_csv(tmp_path / "made" / "exposure.csv")["exposure"] - 1000).abs().max() < 1e-9


def test_classes_keep_their_labels(cli: Cli, tmp_path: Path) -> None:
    x = np.linspace(-2, 2, 80)
    ill = np.where(np.sin(40 * x) > -x / 2, "yes", "no")
    pd.DataFrame({"x": x, "ill": ill}, index=[f"p{i}" for i in range(80)]).to_csv(tmp_path / "t.csv")
    assert cli("fit", "logistic", "--covariates", "t.csv", "--formula", "ill ~ x", "--out", "fit").code == 0
    ran = cli("simulate", "--from", "fit", "--out", "made")
    response = pd.read_csv(tmp_path / "made" / "response.csv", index_col=0)
    assert set(response["ill"]) == {"yes", "no"}
    assert cli(*command(ran.err), "--out", "again").code == 0


def test_empty_rows_and_columns_are_told_and_can_be_fitted(cli: Cli, tmp_path: Path) -> None:
    ran = cli("simulate", "--depth", "2", "--p", "10", "--numeric", "0", "--out", "made")
    assert re.search(
        r"note: \d+ samples without any count \(s\d.*\): a fit leaves them out with --all-zero drop", ran.err
    )
    facts = json.loads((tmp_path / "made" / "simulation.json").read_text())
    counts = pd.read_csv(tmp_path / "made" / "counts.csv", index_col=0)
    assert facts["empty_samples"] == counts.index[(counts == 0).all(axis=1)].to_list()
    assert cli(*command(ran.err), "--out", "fit").code == 0


def test_a_covariance_of_ones_own(cli: Cli, fits: Path, tmp_path: Path) -> None:
    assert cli("simulate", "--sigma", fits / "one" / "sigma.csv", "--out", "made").code == 0
    made, given = (
        pd.read_csv(path, index_col=0) for path in (tmp_path / "made" / "true_sigma.csv", fits / "one" / "sigma.csv")
    )
    pd.testing.assert_frame_equal(made, given, rtol=1e-12)


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["--p", "0"], 2, "--p must be from 1 to 1000000000, not 0."),
        (["--zeros", "1"], 2, "--zeros must be a share between 0 and 1, not 1."),
        (["--levels", "1"], 2, "--levels must be 0, or from 2"),
        (["--sd", "nan"], 2, "--sd must be positive, not nan."),
        (["plm"], 2, "Did you mean `pln`?"),
        (["--covariance", "fixed"], 2, "--covariance must be one of full, diagonal, spherical, not `fixed`."),
        (["linear", "--zeros", "0.5"], 2, "--zeros is not for linear tables."),
        (["--covariance", "diagonal", "--correlation", "0.1"], 2, "--correlation goes with --covariance full"),
        (["--covariates", "x.csv"], 2, "--covariates needs --from RUN"),
        (["--match", "position"], 2, "--match needs --from RUN"),
        (["--sigma", "{fits}/one/sigma.csv", "--p", "3"], 2, "--p does not go with --sigma"),
        (["--sigma", "{fits}/one/latent_mean.csv"], 3, "must have the same names in its rows and columns"),
        (["--sigma", "bad.csv"], 3, "bad.csv: Sigma is no covariance matrix: its correlations have a negative"),
        (["--depth", "40", "--zeros", "0.001"], 3, "raise --depth"),
        (["--sd", "1e9"], 3, "Every count drawn is 0."),
        (["--from", "nothing"], 3, "`nothing` does not exist"),
        (["--from", "{fits}/one", "--p", "3"], 2, "with --from RUN, the run gives the parameters"),
        (["linear", "--from", "{fits}/one"], 2, "is a fit of the model pln, not linear"),
        (["--from", "{fits}/one", "--n", "0"], 2, "--n must be from 1 to 1000000000, not 0."),
        (["--from", "{fits}/one", "--covariates", "bad.csv"], 2, "Give --exposure FILE of the new samples"),
        (["--from", "{fits}/soil", "--covariates", "bad.csv"], 3, "lacks 2 columns that the fit used: soil1, soil2."),
        (["--from", "{fits}/soil", "--n", "3", "--covariates", "bad.csv"], 2, "--n draws from the samples of the fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_refused(
    args: list[str], code: int, reason: str, cli: Cli, fits: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("f,a,b\na,1,2\nb,2,1\n")
    ran = cli("simulate", *(arg.format(fits=fits) for arg in args))
    assert (ran.code, ran.out) == (code, "")
    assert reason in " ".join(ran.err.split())
    assert not (tmp_path / "simulated").exists()


def test_a_folder_in_the_way_stays(cli: Cli, fits: Path, tmp_path: Path) -> None:
    assert cli("simulate", "--p", "2").code == 0
    before = contents(tmp_path / "simulated")
    assert "exists. Add --overwrite" in cli("simulate", "--p", "2", "--seed", "1").err
    assert contents(tmp_path / "simulated") == before
    assert cli("simulate", "--p", "2", "--seed", "1", "--overwrite").code == 0
    assert contents(tmp_path / "simulated") != before
    run = shutil.copytree(fits / "one", tmp_path / "run")
    assert "would remove what plncli did not write" in cli("simulate", "--out", run, "--overwrite").err


def test_a_run_whose_tables_have_changed_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "--p", "3", "--n", "40").code == 0
    assert cli("fit", "pln", "--config", "simulated/config.toml", "--out", "fit").code == 0
    covariates = tmp_path / "simulated" / "covariates.csv"
    text = covariates.read_text()
    covariates.write_text(text.replace("s01,", "s01,1"))
    ran = cli("simulate", "--from", "fit", "--out", "again")
    assert (ran.code, "has changed since fit was fitted to it" in ran.err) == (3, True)
    covariates.unlink()
    assert "is gone. Put the table back as it was." in cli("simulate", "--from", "fit", "--out", "again").err
    covariates.write_text(text)
    assert cli("simulate", "--from", "fit", "--out", "again").code == 0


@pytest.mark.slow
def test_fits_of_simulated_tables_find_the_truth(cli: Cli, tmp_path: Path) -> None:
    within = []
    for seed in range(5):
        out = f"made{seed}"
        args = ["--n", "1000", "--p", "10", "--levels", "2", "--sd", "0.7", "--depth", "100", "--seed", seed]
        assert cli("simulate", *args, "--out", out).code == 0
        assert cli("fit", "pln", "--config", f"{out}/config.toml", "--out", f"fit{seed}").code == 0
        fitted = pd.read_csv(tmp_path / f"fit{seed}" / "coefficients.csv")
        truth = pd.read_csv(tmp_path / out / "true_coefficients.csv")["value"]
        slopes = fitted["term"] != "Intercept"
        within += ((fitted["conf_low"] <= truth) & (truth <= fitted["conf_high"]))[slopes].to_list()
        Sigma, known = (
            pd.read_csv(tmp_path / path, index_col=0) for path in (f"fit{seed}/sigma.csv", f"{out}/true_sigma.csv")
        )
        assert np.abs(Sigma - known).max().max() < 0.2
    assert np.mean(within) > 0.88


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--n", "900000000"], 5),
        (["--p", "90000000"], 5),
        (["logistic", "--p", "900000000", "--n", "2"], 5),
        (["--numeric", "900000000", "--n", "5"], 5),
        (["--n", "1" + "0" * 400], 2),
        (["--n", "-1" + "0" * 400], 2),
        (["--seed", "9" * 30], 2),
    ],
)
def test_what_no_memory_holds_is_refused_at_once(args: list[str], code: int, cli: Cli, tmp_path: Path) -> None:
    refused = cli("simulate", *args)
    assert refused.code == code and refused.err.count("plncli: error: ") == 1
    assert not list(tmp_path.iterdir())


def test_rows_of_a_run_that_no_memory_holds_are_not_drawn(cli: Cli, fits: Path) -> None:
    refused = cli("simulate", "--from", fits / "tree", "--n", "900000000")
    assert refused.code == 5 and "900000000 samples × 114 columns" in refused.err
