"""`plncli plot`: pictures of finished fits, and what is said where there are none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from plncli.errors import PlncliError
from plncli.models import MODELS
from plncli.names import PLOT_FORMATS, WIDTHS
from plncli.plots import KINDS, draw, kinds
from plncli.plots.effects import heatmap, volcano
from plncli.plots.source import Source, Wanted
from plncli.runs.run import read_run

Cli = Callable[..., Any]
MAGIC = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}
OAKS = Path(__file__).parents[2] / "sample_data" / "oaks"


def plots_of(model: str) -> tuple[str, ...]:
    return tuple(name for name, _ in MODELS[model].plots)


def words(path: Path) -> list[str]:
    """The texts of an svg, which has them as text."""
    return [text for node in ElementTree.parse(path).iter() if (text := (node.text or "").strip())]


@pytest.mark.parametrize(
    ("run", "model", "format", "skipped"),
    [
        pytest.param("markers", "logistic", "pdf", ("volcano", "effects"), marks=pytest.mark.slow),
        ("soil", "linear", "png", ("loss", "volcano", "effects", "sigma", "correlation")),
        pytest.param("part-low", "pln-pca", "svg", (), marks=pytest.mark.slow),  # 19 pictures, each drawn elsewhere too
    ],
)
def test_all_draws_every_kind_of_a_model(
    cli: Cli, fits: Path, tmp_path: Path, run: str, model: str, format: str, skipped: tuple[str, ...]
) -> None:
    ran = cli("plot", fits / run, "all", "--out", "drawn", "--format", format, "--dpi", "60")
    assert (ran.code, ran.out) == (0, ""), ran.err
    read = read_run(fits / run)
    offered = [name for name, kind in kinds(model, "linear").items() if kind.applies(read) and not kind.needs]
    names = [name for name in offered if name not in skipped]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(f"{name}.{format}" for name in names)
    for path in (tmp_path / "drawn").iterdir():
        assert path.read_bytes().startswith(MAGIC[format])
    assert f"The pictures are in drawn: {', '.join(names)}." in ran.err
    assert ran.err.count("is left out:") == len(skipped)


def test_pictures_of_the_oaks_hold_what_the_files_of_the_fit_hold(cli: Cli, fits: Path, tmp_path: Path) -> None:
    for kind in ("coefficients", "correlation", "loss"):
        assert cli("plot", fits / "part-means", kind, "--out", f"{kind}.svg").code == 0
    shown = {path.stem: words(path) for path in tmp_path.glob("*.svg")}
    table = pd.read_csv(fits / "part-means" / "coefficients.csv")
    assert shown["coefficients"].count("−∞") == np.isinf(table["estimate"]).sum() > 3
    best = table.nsmallest(20, "q_value")["response"]
    assert set(best) <= set(shown["coefficients"])
    assert f"20 of {len(table)} coefficients: those with the smallest q-values." in shown["coefficients"]
    features = pd.read_csv(fits / "part-means" / "sigma.csv", index_col=0).index
    assert set(features) <= set(shown["correlation"])
    assert "ELBO still to gain (nats)" in shown["loss"]


@pytest.mark.slow  # a process that loads torch and matplotlib
def test_the_installed_command_writes_one_picture(run_cli: Cli, fits: Path, tmp_path: Path) -> None:
    ran = run_cli("plot", fits / "one", "sigma")
    assert (ran.code, ran.out, ran.err) == (0, "", "The picture is in one-sigma.png.\n")
    with Image.open(tmp_path / "one-sigma.png") as image:
        assert image.width == pytest.approx(WIDTHS["double"] / 25.4 * 300, abs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["one-sigma.png"]


@pytest.mark.parametrize(("width", "mm"), [("single", 85.0), ("double", 178.0), ("120", 120.0)])
def test_pictures_have_the_width_of_a_column(cli: Cli, fits: Path, tmp_path: Path, width: str, mm: float) -> None:
    assert cli("plot", fits / "soil", "qq", "--out", "qq.png", "--width", width, "--dpi", "100").code == 0
    with Image.open(tmp_path / "qq.png") as image:
        assert image.width == pytest.approx(mm / 25.4 * 100, abs=1)


def test_several_runs_share_a_picture_whatever_the_format_of_their_files(
    cli: Cli, fits: Path, oaks: Any, tmp_path: Path
) -> None:
    same = [part for name in ("counts", "exposure") for part in (f"--{name}", fits / "part" / f"{name}.csv")]
    few = ["--optimizer", "lbfgs", "--max-iter", "5", "--allow-unconverged", "--se", "none"]
    fit = ["fit", "pln", *same, "--covariates", oaks.covariates, *few]
    assert cli(*fit, "--out", "slow", "--format", "parquet").code == 0
    ran = cli("plot", fits / "part-one", "slow", "loss", "--out", "loss.svg")
    assert (ran.code, "note: Fits of one problem are measured against the best of them." in ran.err) == (0, True)
    shown = words(tmp_path / "loss.svg")
    assert {"slow", "ELBO still to gain (nats)"} <= set(shown)
    assert any(text.endswith("/part-one") for text in shown)
    assert "warning" not in ran.err


def test_files_are_the_same_each_time_and_replaced_only_when_told(cli: Cli, fits: Path, tmp_path: Path) -> None:
    args = ("plot", fits / "part-one", "residuals", "--out", "r.svg")
    assert cli(*args).code == 0
    first = (tmp_path / "r.svg").read_bytes()
    ran = cli(*args)
    assert (ran.code, "--out r.svg exists. Add --overwrite" in ran.err) == (2, True)
    assert cli(*args, "--overwrite").code == 0
    assert (tmp_path / "r.svg").read_bytes() == first
    assert cli(*args, "--overwrite", "--seed", "1").code == 0
    assert (tmp_path / "r.svg").read_bytes() != first


def test_samples_are_coloured_by_a_covariate_of_the_fit_or_of_another_table(
    cli: Cli, fits: Path, tmp_path: Path
) -> None:
    assert cli("plot", fits / "tree", "pca", "--color", "tree", "--out", "tree.svg").code == 0
    assert {"intermediate", "resistant", "susceptible"} <= set(words(tmp_path / "tree.svg"))
    samples = pd.read_csv(OAKS / "counts.csv", index_col=0).index
    pd.DataFrame({"batch": np.arange(len(samples)) % 2 == 0}, index=samples[::-1]).to_csv(tmp_path / "other.csv")
    other = ("--color", "batch", "--covariates", "other.csv", "--out", "batch.svg")
    assert cli("plot", fits / "one", "biplot", *other, "--top", "3").code == 0
    shown = words(tmp_path / "batch.svg")
    assert {"batch", "False", "True"} <= set(shown)
    assert any(text.startswith("Arrows: the 3 of 114 features") for text in shown)


def test_covariates_are_left_in_the_components_or_taken_out(cli: Cli, fits: Path, tmp_path: Path) -> None:
    assert cli("plot", fits / "tree", "pca", "--out", "with.svg").code == 0
    assert cli("plot", fits / "tree", "pca", "--out", "without.svg", "--remove-covariates").code == 0
    kept, removed = words(tmp_path / "with.svg"), words(tmp_path / "without.svg")
    assert "principal components of the latent means" in kept
    assert "principal components of M − XB, covariates removed" in removed
    M = pd.read_csv(fits / "tree" / "latent_mean.csv", index_col=0)
    finite = M.loc[:, np.isfinite(M).all()]
    values = np.linalg.eigvalsh(np.cov(finite.T))
    assert f"PC1 ({100 * values[-1] / values.sum():.1f} %)" in kept
    assert any(f"{114 - finite.shape[1]} features with a latent mean of −∞" in text for text in kept)


def test_components_of_low_rank_are_those_of_the_files(cli: Cli, fits: Path, tmp_path: Path) -> None:
    run = fits / "part-low"
    share = pd.read_csv(run / "explained_variance.csv", index_col=0)["explained_variance"]
    shown = {}
    for name, more in {"own": (), "same": ("--remove-covariates",), "means": ("--keep-covariates",)}.items():
        assert cli("plot", run, "pca", *more, "--axes", "1,3", "--out", f"{name}.svg").code == 0
        shown[name] = words(tmp_path / f"{name}.svg")
    assert shown["own"] == shown["same"] != shown["means"]
    assert {f"PC1 ({100 * share['PC1']:.1f} %)", f"PC3 ({100 * share['PC3']:.1f} %)"} <= set(shown["own"])
    assert "components of the fit, covariates apart" in shown["own"]
    assert any(text.startswith("Ellipses: 95 % of the samples of each level") for text in shown["own"])
    assert "principal components of the latent means" in shown["means"]
    loadings = pd.read_csv(run / "loadings.csv", index_col=0)
    assert cli("plot", run, "loadings", "--top", "1", "--axes", "2", "--out", "two.svg").code == 0
    assert {loadings["PC2"].idxmax(), loadings["PC2"].idxmin()} <= set(words(tmp_path / "two.svg"))


def test_numbers_of_pictures_are_written_as_tables(cli: Cli, fits: Path, tmp_path: Path) -> None:
    run = fits / "part-low"
    loadings, scores = (pd.read_csv(run / f"{name}.csv", index_col=0) for name in ("loadings", "scores"))
    squares = loadings**2
    ran = cli("plot", run, "contributions", "--out", "c.csv")
    assert (ran.code, ran.out, ran.err) == (0, "", "The table is in c.csv.\n")
    made = pd.read_csv(tmp_path / "c.csv", index_col=0)
    assert made.index.name == "feature" and list(made.index) == list(loadings.index)
    assert np.allclose(made[["PC1", "PC2", "PC3"]], 100.0 * squares / squares.sum(), rtol=1e-9)
    together = squares[["PC1", "PC2"]].sum(axis=1) / squares[["PC1", "PC2"]].sum().sum()
    assert np.allclose(made["PC1+PC2"], 100.0 * together)
    assert cli("plot", run, "cos2", "--of", "samples", "--axes", "3", "--out", "s.parquet").code == 0
    of_samples = pd.read_parquet(tmp_path / "s.parquet").set_index("sample")
    inertia = scores**2 * squares.sum()
    assert np.allclose(of_samples[list(scores.columns)], inertia.div(inertia.sum(axis=1), axis=0))
    assert cli("plot", run, "biplot", "--axes", "2,1", "--out", "b.tsv").code == 0
    arrows = pd.read_csv(tmp_path / "b.tsv", sep="\t", index_col=0)
    sd = np.sqrt(squares.sum(axis=1))
    assert np.allclose(arrows, loadings[["PC2", "PC1"]].div(sd, axis=0)) and list(arrows) == ["PC2", "PC1"]


def test_terms_and_features_can_be_chosen(cli: Cli, fits: Path, tmp_path: Path) -> None:
    args = ("--term", "tree[resistant]", "--only", "f_OTU_4", "--only", "b_OTU_20", "--out", "some.svg")
    assert cli("plot", fits / "tree", "coefficients", *args).code == 0
    shown = words(tmp_path / "some.svg")
    assert {"tree[T.resistant]", "f_OTU_4", "b_OTU_20", "∞"} <= set(shown)
    assert "tree[T.susceptible]" not in shown
    assert cli("plot", fits / "tree", "coefficients", "--top", "2", "--out", "two.svg").code == 0
    assert any(text == "10 of 12 coefficients of ±∞ not drawn." for text in words(tmp_path / "two.svg"))


def test_estimates_are_those_of_the_tests(cli: Cli, fits: Path, tmp_path: Path) -> None:
    """Of a contrast as of coefficients: places of the volcano, and how many are coloured."""
    contrast = "tree[resistant] - tree[susceptible]"
    tests = pd.read_csv(StringIO(cli("test", fits / "part-tree", "--contrast", contrast).out))
    source = Source(read_run(fits / "part-tree"))
    (one,) = volcano.content(source, Wanted(contrasts=(contrast,))).effects
    for name, column in (("estimate", one.estimate), ("p_value", one.p_value), ("q_value", one.q_value)):
        assert np.array_equal(tests[name], column, equal_nan=True)
    both = volcano.abundances(source, Wanted(terms=("tree",), scale="ratio", min_effect=2.0))
    table = pd.read_csv(fits / "part-tree" / "coefficients.csv")
    assert [effect.name for effect in both.effects] == ["tree[T.resistant]", "tree[T.susceptible]"]
    far = table[(table["q_value"] < 0.05) & (np.abs(table["estimate"]) >= np.log(2.0)) & (table["term"] != "Intercept")]
    told = re.findall(r"(\d+) higher and (\d+) lower", volcano.describe(both))
    assert sum(int(up) + int(down) for up, down in told) == len(far) > 3
    counts, exposure = (pd.read_csv(fits / "part" / f"{name}.csv", index_col=0) for name in ("counts", "exposure"))
    normalised = (counts / exposure * np.exp(np.log(exposure).mean())).mean()
    assert both.abundance == pytest.approx(normalised.to_numpy())
    assert (
        cli("plot", fits / "part-tree", "volcano", "--contrast", contrast, "--scale", "log2", "--out", "v.svg").code
        == 0
    )
    assert "log2 of the ratio of expected counts" in words(tmp_path / "v.svg")


def test_features_are_drawn_by_name_against_a_covariate(cli: Cli, fits: Path, tmp_path: Path) -> None:
    drawn = cli("plot", fits / "part-tree", "feature", "f_OTU_1", "f_OTU_3", "--out", "two.svg")
    assert drawn.code == 0, drawn.err
    assert {"f_OTU_1", "f_OTU_3", "intermediate", "normalised count"} <= set(words(tmp_path / "two.svg"))
    by = ("--by", "distTOground", "--color", "tree", "--out", "by.svg")
    ran = cli("plot", fits / "part-tree", "feature", "f_OTU_1", *by)
    assert (ran.code, "`distTOground` is not in the formula `~ tree`, so there are no fitted means." in ran.err) == (
        0,
        True,
    )


def test_effects_are_grouped_by_taxon_where_taxa_are_known(cli: Cli, fits: Path, tmp_path: Path) -> None:
    run = read_run(fits / "part-tree")
    lineages = tuple(f"k__Fungi; p__{'AB'[j % 2]}" if j else None for j in range(len(run.responses)))
    known = Source(replace(run, features={"taxonomy": lineages}))
    record = heatmap.content(known, Wanted(group_by="phylum"))
    assert record.groups == tuple(sorted(record.groups)) and set(record.groups) == {"A", "B", "unnamed"}
    for name, group in zip(record.responses, record.groups, strict=True):
        j = run.responses.index(name)
        assert group == ("AB"[j % 2] if j else "unnamed")
    k = run.terms.index("tree[T.resistant]")
    rows = [run.responses.index(name) for name in record.responses]
    assert np.array_equal(record.blocks[0].values[:, 0], run.estimates["B"][k, rows], equal_nan=True)
    clustered = heatmap.content(known, Wanted())
    assert len(clustered.tree) == len(run.responses) - 1 and not len(record.tree)
    assert set(words_of(record)) >= {"A", "B", "unnamed"}
    with pytest.raises(PlncliError, match="does not know the genus of its features: it has kingdom, phylum"):
        heatmap.content(known, Wanted(group_by="genus"))
    ran = cli("plot", fits / "part-tree", "effects", "--group-by", "phylum")
    assert (ran.code, "its table of counts says nothing of taxa" in ran.err) == (3, True)


def words_of(record: heatmap.Effects) -> list[str]:
    figure = draw(KINDS["effects", ""], record)
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.usefixtures("unpainted")
def test_one_feature(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "--p", "1", "--n", "60", "--out", "made").code == 0
    assert cli("fit", "pln", "--config", "made/config.toml", "--out", "fit").code == 0
    ran = cli("plot", "fit", "all", "--dpi", "50")
    assert ran.code == 0
    drawn = {path.stem for path in (tmp_path / "fit-pictures").iterdir()}
    assert drawn == set(kinds("pln", "linear")) - {
        "volcano", "ma", "effects", "sigma", "correlation", "pca", "biplot"
    }  # fmt: skip
    assert "correlation is left out: fit has one feature, of variance" in ran.err
    assert "pca is left out: Principal components need 2 features" in ran.err


@pytest.mark.usefixtures("unpainted")
def test_what_needs_tables_that_are_gone_is_said_and_skipped(cli: Cli, oaks: Any, tmp_path: Path) -> None:
    shutil.copy(oaks.counts, tmp_path / "counts.csv")
    few = ["--top", "8", "--covariance", "diagonal", "--se", "none"]
    fit = ["fit", "pln", "--counts", "counts.csv", *few, "--out", "fit"]
    assert cli(*fit).code == 0
    (tmp_path / "counts.csv").unlink()
    ran = cli("plot", "fit", "all", "--dpi", "50")
    assert ran.code == 0
    assert {path.stem for path in (tmp_path / "fit-pictures").iterdir()} == {
        "loss",
        "coefficients",
        "effects",
        "pca",
        "biplot",
    }
    for name in ("fitted", "residuals", "depth", "zeros"):
        assert f"note: {name} is left out: " in ran.err
    assert "all its correlations are 0" in ran.err
    ran = cli("plot", "fit", "zeros")
    assert (ran.code, "is gone. Give the table as it was by --counts FILE." in ran.err) == (3, True)
    assert cli("plot", "fit", "zeros", "--counts", oaks.counts).code == 0


def test_a_cross_validation_is_drawn_from_its_table(cli: Cli, tmp_path: Path) -> None:
    assert cli("simulate", "linear", "--n", "60", "--out", "made").code == 0
    tables = ["--response", "made/response.csv", "--covariates", "made/covariates.csv"]
    formulas = ["--formula", "~ x", "--formula", "~ 1"]
    compared = cli("cv", "linear", *tables, *formulas, "--out", "scores.csv", "--json", "-q")
    assert compared.code == 0
    assert cli("plot", "scores.csv", "cv", "--out", "cv.svg").code == 0
    shown = words(tmp_path / "cv.svg")
    for candidate in json.loads(compared.out)["candidates"]:
        assert candidate["formula"] in shown
        assert f"{candidate['n_parameters']} parameters" in shown
    from plncli.plots.crossvalidation import content

    found = {one.name: one for one in content(tmp_path / "scores.csv").standings}
    for candidate in json.loads(compared.out)["candidates"]:
        one = found[candidate["formula"]]
        assert (one.best, one.simplest) == (candidate["best"], candidate["one_se"])
        assert (one.score, one.score_se, one.behind, one.behind_se) == pytest.approx(
            tuple(candidate[name] for name in ("loglik", "loglik_se", "behind", "behind_se"))
        )


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["{fits}/one", "sigmas"], 2, "There is no picture `sigmas`. Did you mean `sigma`?"),
        (["{fits}/one", "tree"], 2, "There are: loss, coefficients, volcano, ma,"),
        (["{fits}/one"], 2, "Which picture? plncli plot {fits}/one KIND, KIND being one of loss,"),
        (["loss", "{fits}/one"], 2, "The kind stands last: plncli plot {fits}/one loss."),
        (["a", "loss", "b"], 2, "The kind stands last: plncli plot a b loss."),
        (["loss"], 2, "loss of what? plncli plot RUN loss."),
        (["cv"], 2, "cv of what? plncli plot FILE cv."),
        (["{fits}/one", "{fits}/tree", "pca"], 2, "pca is drawn of one run, not of 2; only loss is of several"),
        (["{fits}/one", "{fits}/one", "loss"], 2, "{fits}/one is given twice."),
        (["{fits}/one", "roc"], 2, "roc is not for a fit of the model pln, as {fits}/one is. There are: loss,"),
        (["{fits}/soil", "zeros"], 2, "effects, feature, sigma, correlation, residuals, qq, leverage."),
        (["{fits}/one", "loss", "--top", "3"], 2, "--top does not go with loss."),
        (["{fits}/one", "pca", "--only", "x"], 2, "--only does not go with pca."),
        (["{fits}/one", "sigma", "--only", "f_OTU_4"], 3, "A correlation is of two: name another by --only NAME."),
        (["{fits}/one", "pca", "--scale", "ratio"], 2, "--scale does not go with pca."),
        (["{fits}/soil", "coefficients", "--scale", "ratio"], 2, "is for coefficients that are logarithms of ratios"),
        (["{fits}/tree", "volcano", "--contrast", "tree[red]"], 2, "tree[red]"),
        (["{fits}/soil", "volcano"], 3, "has one response, and this shows many at once. Draw coefficients instead."),
        (["{fits}/stopped", "volcano"], 3, "has no standard errors, so there are no p-values."),
        (["{fits}/tree", "feature", "f_OTU_44"], 3, "has no response `f_OTU_44`"),
        (["{fits}/tree", "feature", "--color", "distTOground"], 3, "--color colours by levels, and"),
        (["{fits}/one", "zeros", "--remove-covariates"], 2, "--remove-covariates does not go with zeros."),
        (["{fits}/one", "loss", "--out", "a.jpg"], 2, "--out a.jpg must end in one of .png, .svg, .pdf"),
        (["{fits}/one", "loss", "--out", "no/a.png"], 2, "there is no folder no"),
        (["{fits}/one", "all", "--out", "{fits}/one", "--overwrite"], 2, "would remove what plncli did not write"),
        (["{fits}/one", "loss", "--width", "wide"], 2, "--width must be single, double, or 40 to 1000 (mm)"),
        (["{fits}/one", "loss", "--format", "gif"], 2, "--format must be one of png, svg, pdf, not `gif`."),
        (["{fits}/one", "loss", "--format", "svg", "--out", "a.svg"], 2, "the suffix of a file tells its format"),
        (["nothing", "loss"], 3, "`nothing` does not exist. Give the folder that `plncli fit` wrote."),
        (["nothing.csv", "cv"], 3, "nothing.csv does not exist."),
        (["{oaks}/counts.csv", "sigma"], 2, "is a table, from which only cv is drawn"),
        (["{fits}/one", "cv"], 2, "cv is drawn from the table that `plncli cv --out FILE` wrote"),
        (["{oaks}/counts.csv", "cv"], 3, "has no columns formula, fold, and elbo or loglik"),
        (["{fits}/diagonal", "correlation"], 3, "with --covariance diagonal: all its correlations are 0"),
        (["{fits}/soil", "loss"], 3, "was solved in one step"),
        (
            ["{fits}/one", "pca", "--axes", "1,x"],
            2,
            "--axes must be numbers of components, each once, as in 1,2.",
        ),
        (["{fits}/one", "pca", "--axes", "2,2"], 2, "--axes must be numbers of components, each once"),
        (["{fits}/one", "pca", "--axes", ""], 2, "--axes must be numbers of components"),
        (["{fits}/part-low", "pca", "--axes", "1,4"], 3, "has 3 components, so there is no axis 4."),
        (
            ["{fits}/part-low", "biplot", "--axes", "1,2,3"],
            2,
            "--axes must name 2 components for this kind, and names 3",
        ),
        (["{fits}/part-low", "pca", "--ellipse", "circle"], 2, "--ellipse must be one of normal, mean, none"),
        (["{fits}/part-low", "biplot", "--ellipse", "mean"], 2, "--ellipse does not go with biplot."),
        (["{fits}/part-low", "cos2", "--of", "rows"], 2, "--of must be features or samples, not `rows`."),
        (
            ["{fits}/part-low", "cos2", "--top", "3", "--out", "a.csv"],
            2,
            "--top is for pictures; the table a.csv has every",
        ),
        (["{fits}/part-low", "depth", "--out", "a.csv"], 2, "--out a.csv must end in one of .png, .svg, .pdf"),
        (["{fits}/one", "scree"], 2, "scree is not for a fit of the model pln"),
        (["{fits}/tree", "pca", "--color", "three"], 3, "has no column `three` to colour by: it has tree,"),
        (["{fits}/one/model.safetensors", "pca", "--color", "x", "--covariates", "{oaks}/no"], 3, "does not exist"),
        (["{fits}/tree", "coefficients", "--term", "trees"], 2, "trees"),
        (["{fits}/tree", "coefficients", "--only", "f_OTU_44"], 3, "has no response `f_OTU_44`"),
        (["{fits}/markers", "roc", "--only", "cases"], 3, "has no response `cases`: it has case. Did you mean `case`?"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    args: list[str], code: int, reason: str, cli: Cli, fits: Path, tmp_path: Path
) -> None:
    ran = cli("plot", *(arg.format(fits=fits, oaks=OAKS) for arg in args))
    assert (ran.code, ran.out) == (code, "")
    assert reason.format(fits=fits) in " ".join(ran.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_its_trace_has_no_loss(cli: Cli, fits: Path, tmp_path: Path) -> None:
    shutil.copy(fits / "part-one" / "model.safetensors", tmp_path / "model.safetensors")
    ran = cli("plot", "model.safetensors", "loss")
    assert (ran.code, "has no loss_trace file" in ran.err) == (3, True)
    assert cli("plot", "model.safetensors", "sigma", "--out", "sigma.pdf").code == 0


def test_an_unconverged_fit_is_warned_of(cli: Cli, fits: Path) -> None:
    assert "did not converge" in cli("plot", fits / "stopped", "coefficients").err
    assert tuple(MAGIC) == PLOT_FORMATS


def test_samples_have_the_colours_of_the_factor_of_the_formula(cli: Cli, oaks: Any, tmp_path: Path) -> None:
    given = ("--counts", oaks.counts, "--top", "6", "--covariates", oaks.covariates)
    assert cli("fit", "pln", *given, "--formula", "~ distTOground + tree", "--out", "run").code == 0
    pictures = {}
    for name, more in {"own": (), "tree": ("--color", "tree"), "other": ("--color", "orientation")}.items():
        assert cli("plot", "run", "pca", *more, "--out", f"{name}.svg").code == 0
        pictures[name] = (tmp_path / f"{name}.svg").read_text()
    assert pictures["own"] == pictures["tree"] != pictures["other"] and "resistant" in pictures["own"]
