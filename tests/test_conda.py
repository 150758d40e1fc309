"""The conda recipe says what pyproject.toml says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from plncli import cli as command_line
from plncli.version import __version__

ROOT = Path(__file__).parents[1]
FILE = ROOT / "packaging" / "conda" / "recipe.yaml"
RECIPE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CALLED = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Distribution -> conda package, where they differ: the latter without the windows of Qt."""


def conda(requirement: str) -> str:
    """A requirement as conda writes it."""
    name, bounds = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    return f"{CALLED.get(name, name)} {bounds}".strip()


def test_what_it_needs_is_what_the_program_declares() -> None:
    python = f"python {PROJECT['project']['requires-python']}"
    needs = RECIPE["requirements"]
    assert needs["run"] == [python, *map(conda, PROJECT["project"]["dependencies"])]
    assert needs["host"] == [python, "pip", *map(conda, PROJECT["build-system"]["requires"])]


def test_it_is_this_program_built_from_the_clone() -> None:
    assert RECIPE["context"] == {"name": PROJECT["project"]["name"], "version": __version__}
    assert (FILE.parent / RECIPE["source"]["path"]).resolve() == ROOT
    assert RECIPE["build"]["python"]["entry_points"] == [
        f"{name} = {place}" for name, place in PROJECT["project"]["scripts"].items()
    ]
    assert (ROOT / RECIPE["about"]["license_file"]).read_text(encoding="utf-8").startswith(RECIPE["about"]["license"])
    assert {"--no-deps", "--no-build-isolation", "--no-index"} <= set(RECIPE["build"]["script"].split())


def test_what_it_tries_exists() -> None:
    known: Any = command_line.application()
    for line in RECIPE["tests"][0]["script"]:
        program, verb, *_ = line.split()
        assert program == "plncli" and verb in {"--version", *known.commands}


@pytest.mark.skipif(shutil.which("rattler-build") is None, reason="no rattler-build on the PATH")
def test_the_builder_takes_it(tmp_path: Path) -> None:
    asked = ["rattler-build", "build", "--render-only", "--recipe", str(FILE), "--output-dir", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["recipe"]["package"] == {"name": "plncli", "version": __version__}
