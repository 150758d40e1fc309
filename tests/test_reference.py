"""Fits that earlier versions wrote: every later version reads them, and predicts what they predicted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

REFERENCE = Path(__file__).parent / "reference"
RUNS = sorted(path.parent.relative_to(REFERENCE) for path in REFERENCE.glob("*/*/model.safetensors"))
Cli = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path, run: Path) -> Path:
    shutil.copytree(REFERENCE / run.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_there_are_runs_of_every_model() -> None:
    assert {path.name for path in RUNS} == {"pln", "pln-estimated", "logistic", "linear"}


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_every_verb_takes_the_run_of_an_earlier_version(cli: Cli, here: Path, run: Path) -> None:
    pln, estimated = run.name.startswith("pln"), run.name == "pln-estimated"
    covariates = {"pln": "trees.csv", "logistic": "patients.csv", "linear": "plots.csv"}.get(run.name)
    new = ["--covariates", covariates] if covariates else []
    new += ["--exposure", "oaks-exposure.csv"] if pln else []
    ran = cli("predict", run.name, *new)
    assert ran.code == 0, ran.err
    (here / "found.csv").write_text(ran.out)
    found, expected = (pd.read_csv(here / path) for path in ("found.csv", f"{run.name}-expected.csv"))
    pd.testing.assert_frame_equal(found[expected.columns], expected, rtol=1e-9)  # a later version may tell more
    verbs = [("show",), ("diagnose",), ("simulate", "--out", "made")]
    verbs += [] if estimated else [("test", "--terms", "all")]
    verbs += [("transform", "--counts", "oaks.csv", *new)] if pln else []
    verbs += [("offsets", "--counts", "some.csv")] if estimated else []
    (here / "some.csv").write_text("".join((here / "oaks.csv").open().readlines()[:10]) if pln else "")
    for verb, *options in verbs:
        where = ("--from", run.name) if verb in ("simulate", "offsets") else (run.name,)
        ran = cli(verb, *where, *options)
        assert ran.code == 0, (verb, ran.err)
    model = run.name.partition("-")[0]
    given = ["--counts", "oaks.csv", "--all-zero", "drop", *new] if pln else new
    formula = {"pln": "~tree", "logistic": "case~marker1", "linear": "harvest~soil1"}.get(run.name, "~1")
    ran = cli("fit", model, *given, "--formula", formula, "--init", run.name, "--out", "again")
    assert ran.code == 0, ran.err
