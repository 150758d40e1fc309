"""summary.json and manifest.json are what their schemas say, and the schemas leave nothing unsaid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Oaks, Ran
from tries import quickly

from plncli.names import SCHEMAS
from plncli.optim.base import Status

Cli = Callable[..., Ran]
REFERENCE = Path(__file__).parents[1] / "reference"
FITS = {
    "pln": "--counts {counts} --exposure {exposure} --covariates {covariates} --formula ~0+tree",
    "pln cut": "--counts {counts} --all-zero drop --offset-method total --max-iter 2 --covariance diagonal",
    "pln dropped": "--counts {counts} --top 5 --covariates {covariates} --filter tree=='resistant' --se none --seed 7",
    "pln bootstrap": "--counts {counts} --top 3 --se bootstrap --resamples 5 --workers 1 --dtype float32",
    "pln cluster": "--counts {counts} --top 3 --covariates {covariates} --cluster orientation",
    "linear": "--covariates {covariates} --formula distTOground~tree",
    "logistic": "--covariates {covariates} --formula orientation~tree",
}


def schema(cli: Cli, name: str) -> Any:
    found = json.loads(cli("info", "--schema", name).out)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def nothing_unsaid(content: Any, known: Any) -> None:
    """Every key is among the properties that the schema describes."""
    assert set(content) <= set(known["properties"]), set(content) - set(known["properties"])
    assert all("description" in part for part in known["properties"].values())


@pytest.mark.parametrize("name", quickly(FITS, *(name for name in FITS if name != "pln bootstrap")))
def test_what_a_fit_writes_is_what_the_schemas_say(cli: Cli, oaks: Oaks, tmp_path: Path, name: str) -> None:
    words = FITS[name].format(**vars(oaks)).split()
    ran = cli("fit", name.split()[0], *words, "--out", "run", "--json")
    assert ran.code in (0, 4), ran.err
    for file in SCHEMAS:
        known, content = schema(cli, file), json.loads((tmp_path / f"run/{file}.json").read_text())
        jsonschema.validate(content, known, jsonschema.Draft202012Validator)
        nothing_unsaid(content, known)
    assert json.loads(ran.out) == json.loads((tmp_path / "run/summary.json").read_text())


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*/*/summary.json")), ids=lambda p: p.parent.name)
def test_files_of_earlier_versions_are_too(cli: Cli, path: Path) -> None:
    jsonschema.validate(json.loads(path.read_text()), schema(cli, "summary"), jsonschema.Draft202012Validator)


def test_every_ending_is_in_the_schema(cli: Cli) -> None:
    assert set(schema(cli, "summary")["properties"]["status"]["enum"]) == {status.name.lower() for status in Status}
    ran = cli("info", "--schema", "sumary")
    assert ran.code == 2 and "Did you mean `summary`?" in ran.err
