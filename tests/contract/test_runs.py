"""Runs of every model: what is declared is written, is read back the same, is repeated and gone on with to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Ran
from contract.laws import N, P, fitted, groups_of, model_of, table

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models import MODELS
from plncli.models.abilities import Predicting, Simulating, Transforming
from plncli.models.fitted import fitted_of
from plncli.models.spec import SIGMA, Spec, writes_square
from plncli.runs import schema
from plncli.runs.run import read_run
from plncli.settings.values import asks_many

NAMES = list(MODELS)
RPROP = ("--optimizer", "rprop", "--tol", "1e-3")


@pytest.fixture(scope="module", params=NAMES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of a small problem; its name is the model's."""
    folder = tmp_path_factory.mktemp("runs") / request.param
    folder.mkdir()
    spec = MODELS[request.param]
    data = table(spec)
    Y = data.Y.numpy().astype(int) if spec.response.whole else data.Y.numpy()
    frames = {
        spec.response.option: pd.DataFrame(Y, columns=list(data.responses)),
        "covariates": covariates(spec, data),
        "offsets": pd.DataFrame(data.O.numpy(), columns=["offset"]),
    }
    for name, frame in frames.items():
        frame.set_axis(list(data.samples)).rename_axis("sample").to_csv(folder / f"{name}.csv")
    return folder


def covariates(spec: Spec, data: Dataset) -> pd.DataFrame:
    """Numbers x1 and x2; the groups in the place of x1 where the model has any."""
    frame = pd.DataFrame(data.X[:, 1:].numpy(), columns=["x1", "x2"])
    return frame.assign(g=frame.pop("x1").map({0.0: "a", 1.0: "b"})) if groups_of(spec) else frame


def words(place: Path, out: str, *more: str) -> list[str]:
    """The command of a fit of these tables."""
    spec = MODELS[place.name]
    files = (spec.response.option, "covariates", "offsets")
    given = [word for name in files for word in (f"--{name}", str(place / f"{name}.csv"))]
    for setting in spec.settings:  # one fit, not a path of them
        given += [f"--{setting.name}", "0.05"] if setting.several and asks_many(setting.default, setting.kind) else []
    given += [f"--{groups_of(spec)}", "g"] if groups_of(spec) else []
    formula = "~ x2" if groups_of(spec) else "~ x1 + x2"
    return ["fit", place.name, *given, "--formula", formula, "--out", str(place / out), *more]


@pytest.fixture
def run(place: Path, cli: Callable[..., Ran]) -> Path:
    """The folder of the fit."""
    if not (place / "run").exists():
        done = cli(*words(place, "run"))
        assert done.code == 0, done.err
    return place / "run"


def test_every_declared_file_is_written_and_as_its_schema_says(run: Path) -> None:
    spec = MODELS[run.parent.name]
    square = writes_square(next((one.default for one in spec.settings if one.name == SIGMA.name), None), P)
    written = [symbol for symbol in spec.tables if not (symbol.optional or symbol.asked or symbol.square > square)]
    tables = {f"{symbol.table}.csv" for symbol in written} | {
        "coefficients.csv",
        "loss_trace.csv",
    }
    others = {"summary.json", "manifest.json", "config.toml", "model.safetensors", "run.log", *dict(spec.files)}
    there = {path.name for path in run.iterdir()}
    assert there >= tables | others
    optional = {f"{symbol.table}.csv" for symbol in spec.tables if symbol.optional}
    assert there - tables - others <= optional | {f"{name}.csv" for name, _ in spec.further}
    for name in ("summary", "manifest"):
        jsonschema.validate(json.loads((run / f"{name}.json").read_text()), dict(schema.schema(name)))
    known = read_run(run)
    names = {"sample": N, "response": P, "term": 3, "component": len(known.components), "cluster": len(known.clusters)}
    for symbol in written:
        frame = pd.read_csv(run / f"{symbol.table}.csv", index_col=0)
        rows, columns = (*(names[axis] for axis in symbol.axes), 1)[:2]
        assert frame.shape == (rows, columns)


def test_tables_of_the_latent_layer_are_written_as_asked(place: Path, cli: Callable[..., Ran]) -> None:
    spec = MODELS[place.name]
    if not spec.latent:
        return
    for flag, wanted in (("--latent", True), ("--no-latent", False)):
        assert cli(*words(place, "latent", flag, "--overwrite")).code == 0
        there = {symbol.table for symbol in spec.tables if (place / "latent" / f"{symbol.table}.csv").exists()}
        of_samples = {symbol.table for symbol in spec.tables if "sample" in symbol.axes and not symbol.optional}
        assert there & of_samples == (of_samples if wanted else set())


def test_the_same_answers_from_memory_and_from_disk(run: Path) -> None:
    """A fit in memory and the same fit read back answer every ability they have with the same numbers."""
    spec = MODELS[run.parent.name]
    kept = read_run(run)
    read = kept.fitted
    groups = (kept.estimates, kept.state, kept.inference)
    tensors = [{name: torch.from_numpy(group[name].copy()) for name in group} for group in groups]
    memory = fitted_of(spec, kept.terms, kept.responses, *tensors)
    X = torch.cat([torch.ones(4, 1), torch.randn(4, 2, generator=torch.Generator().manual_seed(1))], 1).double()
    O, g = torch.zeros(4, 1).double(), torch.Generator
    for one in (read, memory):
        assert type(one) is spec.load_fitted()
    if isinstance(read, Predicting):
        intervals = ("confidence",) if read.has_errors else ()
        a, b = (one.predict(X, O, intervals, 0.9) for one in (read, memory))
        assert all(torch.equal(a.columns[name], b.columns[name]) for name in a.columns) and set(a.columns) == set(
            b.columns
        )
        assert not intervals or bool((a.columns["conf_low"] <= a.columns["conf_high"]).all())
    if isinstance(read, Simulating):
        drawn, again = (one.simulate(X, O, g().manual_seed(2)) for one in (read, memory))
        assert torch.equal(drawn.Y, again.Y)
    if isinstance(read, Transforming):
        Y = table(spec, seed=6).Y[:4]
        seen = torch.ones_like(Y, dtype=torch.bool)
        assert torch.equal(read.transform(X, O, Y, seen).mean, memory.transform(X, O, Y, seen).mean)


@pytest.mark.slow  # fits of many samples of each model; laws of the simulation are quick
def test_a_table_drawn_from_a_fit_gives_the_fit_back() -> None:
    """Simulate from the estimates of a fit to many samples, and fit again: within a few standard errors."""
    for spec in (MODELS[name] for name in NAMES):
        data = table(spec, seed=5)
        first = fitted(spec, data)
        if not isinstance(first.fitted, Simulating):
            continue
        X = data.X.repeat(25, 1)
        drawn = first.fitted.simulate(X, data.O.repeat(25, 1), torch.Generator().manual_seed(3))
        many = replace(
            data, Y=drawn.Y, X=X, O=data.O.repeat(25, 1), w=torch.ones(len(X)).double(),
            samples=tuple(f"s{i}" for i in range(len(X))),
        )  # fmt: skip
        again = fit(model_of(spec), many)
        assert again.converged
        assert np.allclose(again.estimates["B"], first.estimates["B"], atol=0.25), spec.name


def test_it_is_repeated_to_the_bit(run: Path, cli: Callable[..., Ran]) -> None:
    done = cli("rerun", run, "--check")
    assert done.code == 0 and "is repeated to the bit" in done.err


def test_a_fit_that_was_cut_short_ends_in_the_same_bits(run: Path, cli: Callable[..., Ran]) -> None:
    place = run.parent
    cut = cli(*words(place, "cut", "--max-iter", "1", *RPROP))
    assert cut.code == 4 and "Go on with: plncli resume" in cut.err
    resumed = cli("resume", place / "cut", "--allow-unconverged")
    whole = cli(*words(place, "whole", *RPROP, "--allow-unconverged"))
    assert resumed.code == 0 and whole.code == 0
    tables = [path.name for path in (place / "whole").glob("*.csv") if path.name != "loss_trace.csv"]
    assert "coefficients.csv" in tables
    for name in tables:
        assert (place / "cut" / name).read_bytes() == (place / "whole" / name).read_bytes()


def test_it_starts_where_an_earlier_fit_ended(run: Path, cli: Callable[..., Ran]) -> None:
    place = run.parent
    started = cli(*words(place, "again", "--init", str(run)))
    assert started.code == 0
    steps = [json.loads((place / name / "summary.json").read_text())["steps"] for name in ("run", "again")]
    assert steps[1] <= steps[0]
    both = [pd.read_csv(place / name / "coefficients.csv")["estimate"] for name in ("run", "again")]
    assert np.allclose(*both, atol=1e-3)


def test_its_standard_errors_are_resampled(run: Path, cli: Callable[..., Ran]) -> None:
    """Each resample starts from what the fit left, whatever axes that has."""
    place = run.parent
    done = cli(*words(place, "resampled", "--se", "bootstrap", "--resamples", "4", "--workers", "1"))
    assert done.code == 0, done.err
    assert pd.read_csv(place / "resampled/coefficients.csv")["std_error"].gt(0).all()
