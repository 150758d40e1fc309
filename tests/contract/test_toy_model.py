"""A model of a declaration and an objective alone has its command, options, files, schema and verbs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import Ran
from contract.laws import LAWS, Law
from contract.toy import SPEC

import plncli
from plncli.models import MODELS
from plncli.runs import schema


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy among the models, for as long as a test lasts."""
    monkeypatch.setitem(MODELS, SPEC.name, SPEC)
    schema.schema.cache_clear()
    yield
    schema.schema.cache_clear()


@pytest.fixture
def tables(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Overdispersed counts of three features, and a covariate; also as counts.csv and covariates.csv."""
    random = np.random.default_rng(3)
    x = random.standard_normal(120)
    mu = np.exp(1.5 + np.outer(x, [0.5, -0.3, 0.0]))
    counts = random.negative_binomial(2.0, 2.0 / (2.0 + mu))
    names = [f"s{i}" for i in range(120)]
    made = pd.DataFrame(counts, index=names, columns=["a", "b", "c"]), pd.DataFrame({"x": x}, index=names)
    for name, frame in zip(("counts", "covariates"), made, strict=True):
        frame.rename_axis("sample").to_csv(tmp_path / f"{name}.csv")
    return made


FIT = ("fit", "negbin", "--counts", "counts.csv", "--covariates", "covariates.csv", "--formula", "~ x", "--out", "run")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_laws(law: Law) -> None:
    law(SPEC)


def test_its_command_has_its_options(cli: Callable[..., Ran]) -> None:
    helped = cli("fit", "negbin", "--help")
    assert helped.code == 0 and "more variable than Poisson" in helped.out and "--shrink X" in helped.out
    assert "--covariance" not in helped.out and "--min-prevalence" in helped.out
    assert "negbin" in cli("fit", "--help").out
    assert "negbin" in cli("validate", "--help").out
    refused = cli("fit", "pln", "--shrink", "1")
    assert refused.code == 2 and "It goes with `plncli fit negbin`." in refused.err
    assert "shrink = 0.0" in cli("fit", "negbin", "--counts", "c.csv", "--print-config").out


def test_its_folder_is_whole_and_as_its_schema_says(
    cli: Callable[..., Ran], tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    done = cli(*FIT)
    assert done.code == 0, done.err
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {
        "coefficients.csv", "dispersion.csv", "loss_trace.csv", "summary.json", "manifest.json", "config.toml",
        "model.safetensors", "run.log",
    }  # fmt: skip
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    jsonschema.validate(summary, dict(schema.schema("summary")))
    assert summary["model"] == "negbin" and summary["n_parameters"] == 9 and summary["converged"]
    found = pd.read_csv(tmp_path / "run/coefficients.csv").pivot(index="term", columns="response", values="estimate")
    dispersion = pd.read_csv(tmp_path / "run/dispersion.csv", index_col=0)["dispersion"]
    counts, covariates = tables
    for feature in counts:
        exact = sm.NegativeBinomial(counts[feature], sm.add_constant(covariates["x"])).fit(disp=0, maxiter=200)
        assert np.allclose(found.loc[["Intercept", "x"], feature], exact.params[["const", "x"]], atol=1e-4)
        assert np.isclose(dispersion[feature], np.log(exact.params["alpha"]), atol=1e-3)


def test_verbs_take_its_runs(
    cli: Callable[..., Ran], tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    assert cli(*FIT, "-q").code == 0
    shown = cli("show", "run")
    assert shown.code == 0 and "negative binomial regression" in shown.out
    assert cli("rerun", "run", "--check").code == 0
    assert cli("plot", "run", "coefficients", "--out", "forest.svg").code == 0
    other = cli("plot", "run", "pca")
    assert other.code == 2 and "There are: loss, coefficients, " in other.err
    assert cli("report", "run", "--out", "page.html", "-q").code == 0
    assert "negative binomial regression" in (tmp_path / "page.html").read_text()
    refused = cli("predict", "run", "--covariates", "covariates.csv")
    assert refused.code == 3 and "A negbin fit predicts nothing." in refused.err
    started = cli(*FIT[:-1], "again", "--init", "run")
    assert started.code == 0 and "Starting from run" in started.err
    assert cli("compare", "run", "again").code == 0
    checked = cli("validate", "negbin", "--counts", "counts.csv")
    assert checked.code == 0 and "No faults" in checked.out


def test_it_resumes_to_the_same_bits(
    cli: Callable[..., Ran], tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    assert cli(*FIT, "-q").code == 0
    cut = cli(*FIT[:-1], "cut", "--max-iter", "2")
    assert cut.code == 4
    assert cli("resume", "cut", "-q").code == 0
    for name in ("coefficients.csv", "dispersion.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_standard_errors_of_any_model_are_resampled(
    cli: Callable[..., Ran], tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    done = cli(*FIT, "--se", "bootstrap", "--resamples", "8", "--workers", "1", "-q")
    assert done.code == 0, done.err
    assert pd.read_csv(tmp_path / "run/coefficients.csv")["std_error"].gt(0).all()


def test_python_fits_it(tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    counts, covariates = tables
    data = plncli.Dataset(counts=counts, covariates=covariates, formula="~ x")
    result = plncli.fit("negbin", data, shrink=0.5)
    assert result.converged and list(result.dispersion.columns) == ["dispersion"]
    result.save(tmp_path / "kept")
    again = plncli.load(tmp_path / "kept")
    assert again.dispersion.equals(result.dispersion) and again.run.settings["shrink"] == 0.5
    with pytest.raises(AttributeError, match="no sigma"):
        _ = result.sigma
    with pytest.raises(plncli.PlncliError, match="is not for pln fits"):
        plncli.fit("pln", data, shrink=0.5)
