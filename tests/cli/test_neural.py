"""A neural mean from the command line: fitted, written, asked, gone on with, drawn and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Ran
from safetensors.numpy import load, load_file

from plncli.runs.run import read_run

Cli = Callable[..., Ran]
FORMULA = ("--covariates", "covariates.csv", "--formula", "~ a + b + site")
TABLES = {
    "pln": ("--counts", "counts.csv"),
    "logistic": ("--response", "classes.csv"),
    "linear": ("--response", "y.csv"),
}
pytestmark = pytest.mark.usefixtures("unpainted")


def write(folder: Path) -> None:
    """Tables of 90 samples."""
    rng = np.random.default_rng(4)
    names = pd.Index([f"s{i}" for i in range(90)], name="sample")
    about = pd.DataFrame({"a": rng.uniform(-2, 2, 90), "b": rng.uniform(-2, 2, 90)}, index=names)
    about["site"] = rng.choice(["ash", "elm", "oak"], 90)
    f = np.outer(np.sin(2 * about["a"]), [1, -1, 1]) + 0.3 * rng.normal(size=(90, 3))
    about.to_csv(folder / "covariates.csv")
    columns = ["x1", "x2", "x3"]
    pd.DataFrame(rng.poisson(np.exp(1.5 + f)), names, columns).to_csv(folder / "counts.csv")
    pd.DataFrame(10 * f, names, columns).to_csv(folder / "y.csv")
    pd.DataFrame((f > 0).astype(int), names, columns).to_csv(folder / "classes.csv")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def fitted(cli: Cli, model: str, *more: Any) -> Ran:
    return cli("fit", model, *TABLES[model], *FORMULA, "--hidden", "8", "--out", "run", *more)


@pytest.mark.parametrize("model", TABLES)
def test_what_a_fit_writes_and_verbs_read(cli: Cli, work: Path, model: str) -> None:
    ran = fitted(cli, model)
    assert ran.code == 0, ran.err
    assert "Stopped early" in ran.err and "(hidden 8)" in ran.err
    run, summary = work / "run", json.loads((work / "run" / "summary.json").read_text())
    assert (summary["status"], summary["converged"], summary["hidden"]) == ("early_stopped", False, "8")
    assert summary["aic"] is None and summary["n_held_out"] == 18 and summary["step_kept"] >= 0
    assert summary["n_weights"] == 8 * 5 + 3 * 9
    assert not (run / "coefficients.csv").exists()
    effects = pd.read_csv(run / "partial_effects.csv")
    assert list(effects) == ["covariate", "value", "response", "mean", "effect"]
    assert set(effects["covariate"]) == {"a", "b", "site"}
    assert set(effects.loc[effects["covariate"] == "site", "value"]) == {"(first level)", "elm", "oak"}
    tensors = load_file(run / "model.safetensors")
    assert tensors["state.network.0.weight"].shape == (8, 4) and tensors["state.network.2.weight"].shape == (3, 8)
    assert cli("predict", "run", *FORMULA[:2], "--out", "predicted.csv").code == 0
    assert len(pd.read_csv(work / "predicted.csv")) == 270
    for words in (("show", "run"), ("diagnose", "run"), ("simulate", "--from", "run", "--out", "again")):
        ran = cli(*words)
        assert ran.code == 0, ran.err
        assert "did not converge" not in ran.err
    assert not (work / "again" / "true_coefficients.csv").exists()
    assert cli("rerun", "run", "--check").code == 0


def test_what_needs_coefficients_says_what_there_is_instead(cli: Cli, work: Path) -> None:
    assert fitted(cli, "linear").code == 0
    for words in (("test", "run", "--equal", "site"), ("show", "run", "--coefficients")):
        ran = cli(*words)
        assert ran.code == 3 and "no coefficients" in ran.err, ran.err
    ran = cli("plot", "run", "coefficients")
    assert ran.code == 2 and "coefficients is of fits with a linear mean" in ran.err
    ran = cli("predict", "run", *FORMULA[:2], "--interval", "confidence")
    assert ran.code == 3 and "no standard errors" in ran.err
    assert cli("predict", "run", *FORMULA[:2], "--interval", "prediction", "--out", "p.csv").code == 0
    low, high = (pd.read_csv(work / "p.csv")[name] for name in ("pred_low", "pred_high"))
    assert (low < high).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--hidden", "0"), "whole numbers from 1"),
        (("--hidden", "-4"), "whole numbers from 1"),
        (("--hidden", "8;8"), "whole numbers from 1"),
        (("--validation", "1"), "up to, and without, 1"),
        (("--validation", "0.01"), "would hold out 1 of 90"),
        (("--weight-decay", "-1"), "0 or a positive number"),
        (("--se", "sandwich"), "leave out --se sandwich"),
        (("--optimizer", "newton-cg"), "use lbfgs"),
        (("--optimizer", "vem"), "use lbfgs"),
        (("--init", "other"), "begin by chance"),
        (("--zero-inflation", "single"), "does not go with --zero-inflation single"),
        (("--posterior", "full"), "does not go with --posterior full"),
        (("--formula", "~ 1"), "nothing to learn"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(cli: Cli, work: Path, more: tuple[str, ...], said: str) -> None:
    ran = fitted(cli, "pln", *more)
    assert ran.code in (2, 3) and said in " ".join(ran.err.split()), ran.err
    assert not (work / "run").exists()


def test_without_samples_held_out_it_stands_still(cli: Cli, work: Path) -> None:
    ran = fitted(cli, "linear", "--validation", "0", "--weight-decay", "0.1", "--tol", "1e-4")
    assert ran.code == 0 and "Stationary" in ran.err, ran.err
    summary = json.loads((work / "run" / "summary.json").read_text())
    assert summary["status"] == "stationary" and "held_out_loss" not in summary


def test_a_fit_that_is_cut_short_goes_on(cli: Cli, work: Path) -> None:
    assert fitted(cli, "pln").code == 0
    whole = load_file(work / "run" / "model.safetensors")
    ran = cli("fit", "pln", *TABLES["pln"], *FORMULA, "--hidden", "8", "--out", "cut", "--time-limit", "0.05")
    assert ran.code == 4, ran.err
    ran = cli("resume", "cut")
    assert ran.code == 0, ran.err
    for name, tensor in load_file(work / "cut" / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, whole[name], err_msg=name)


def test_both_means_stand_in_one_table(cli: Cli, work: Path) -> None:
    ran = cli(
        *("cv", "linear", *TABLES["linear"], *FORMULA, "--hidden", "none", "--hidden", "8", "--folds", "2"),
        *("--workers", "1", "--json"),
    )
    assert ran.code == 0, ran.err
    candidates = json.loads(ran.out)["candidates"]
    score = {one["hidden"]: one["loglik"] for one in candidates if not one["null"]}
    assert score["8"] > score["none"]


def test_the_graph_shows_the_layers(cli: Cli) -> None:
    for model in TABLES:
        ran = cli("graph", model, "--hidden", "16,4")
        assert ran.code == 0, ran.err
        for leaf in ("network.0.weight [16×1]", "network.2.weight [4×16]", "network.4.bias [2]", "ReluBackward"):
            assert leaf in ran.out


def test_partial_dependence_is_drawn_and_tabulated(cli: Cli, work: Path) -> None:
    assert fitted(cli, "linear").code == 0
    assert cli("plot", "run", "partial", "--out", "p.svg", "--term", "site", "--term", "a").code == 0
    assert ">site<" in (work / "p.svg").read_text() and ">a<" in (work / "p.svg").read_text()
    assert cli("plot", "run", "partial", "--out", "p.csv").code == 0
    drawn, told = pd.read_csv(work / "p.csv"), pd.read_csv(work / "run" / "partial_effects.csv")
    keys = ["covariate", "value", "response"]
    both = drawn.merge(told, on=keys, suffixes=("", "_told"))
    assert len(both) == len(told) == len(drawn)
    np.testing.assert_allclose(both["mean"], both["mean_told"], rtol=1e-9)
    assert cli("plot", "run", "partial", "--term", "bb").code == 2


def test_the_page_tells_of_it(cli: Cli, work: Path) -> None:
    assert fitted(cli, "pln").code == 0
    assert cli("report", "run", "--out", "page.html").code == 0
    page = (work / "page.html").read_text(encoding="utf-8")
    assert "Partial effects" in page and "Partial dependence" in page and "The fit was trained" in page
    assert "Coefficients with intervals" not in page


@pytest.mark.parametrize("model", TABLES)
def test_forged_networks_are_refused(cli: Cli, work: Path, model: str) -> None:
    assert fitted(cli, model).code == 0
    path = work / "run" / "model.safetensors"
    content = path.read_bytes()
    tensors = load(content)
    names = [name for name in tensors if name.startswith("state.network")]
    assert len(names) == 9
    from safetensors import safe_open
    from safetensors.numpy import save

    from plncli.runs.run import SUM, _sum

    with safe_open(path, framework="numpy") as file:
        texts = dict(file.metadata())
    texts.pop(SUM)

    def refused(forged: dict[str, np.ndarray]) -> bool:
        shapes = {name: tensor.shape for name, tensor in forged.items()}
        path.write_bytes(save(forged, {**texts, SUM: _sum(texts, shapes)}))
        ran = cli("predict", "run", *FORMULA[:2], "--out", "p.csv", "--overwrite")
        return ran.code == 3 and "is damaged" in ran.err

    for name in names:
        tensor = tensors[name]
        others = {other: each for other, each in tensors.items() if other != name}
        assert refused(others), name
        assert refused({**others, name: np.full_like(tensor, np.nan)}), name
        assert refused({**others, name: tensor[:-1] if "effects" not in name else tensor[:, :-1]}), name
        assert refused({**others, name: tensor.astype(np.int64)}), name
    path.write_bytes(content)
    assert read_run(work / "run").fitted.responses == ("x1", "x2", "x3")
