"""The workflows of examples: their commands exist, and run from tables to a report."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plncli import cli as command_line

ROOT = Path(__file__).parents[1]
SNAKEMAKE, NEXTFLOW = ROOT / "examples" / "snakemake", ROOT / "examples" / "nextflow"
FITS = {"one": "~ 1", "tree": "~ tree", "distance": "~ distTOground"}
FEW = "--top 6"


def commands(path: Path) -> Iterator[list[str]]:
    """The commands of plncli in a file, by word; what a workflow fills in is one word."""
    text = re.sub(r'"\n *"|\\\n', "", path.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^(#|//).*$", "", text)
    text = re.sub(r"\$?\{[^{}]*\}", "FILLED", text)
    for line in re.findall(r"(?m)^\W*(plncli .*?)[\"']?,?$", text):
        yield shlex.split(line.replace('"$(cat FILLED)"', "FILLED"))[1:]


@pytest.mark.parametrize("path", [SNAKEMAKE / "Snakefile", NEXTFLOW / "main.nf"], ids=lambda path: path.name)
def test_the_commands_exist(path: Path) -> None:
    known = command_line.application()
    found = list(commands(path))
    assert {words[0] for words in found} == {"sample-data", "fit", "compare", "diagnose", "report"}
    for verb, *words in found:
        command: Any = known.commands[verb]  # type: ignore[attr-defined]
        command = command.commands["pln"] if verb == "fit" else command
        offered = {flag for option in command.params for flag in option.opts}
        assert {word for word in words if word.startswith("--")} <= offered


def test_both_are_the_same_study() -> None:
    import yaml

    config = yaml.safe_load((SNAKEMAKE / "config.yaml").read_text(encoding="utf-8"))
    text = (NEXTFLOW / "nextflow.config").read_text(encoding="utf-8")
    assert config["fits"] == FITS == dict(re.findall(r"(\w+): '(~ \w+)'", text))
    assert f"'{config['options']}'" in text
    assert set(config["tables"]) == {"counts", "covariates", "exposure"}


@pytest.fixture
def beside(tmp_path: Path) -> dict[str, str]:
    """An environment in which `plncli` is the one that is tested, with few threads."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "plncli"
    inner = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m plncli "$@"'
    program.write_text(f"#!/bin/sh\n{inner}\n", encoding="utf-8")
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def check(results: Path) -> None:
    """What a workflow leaves: fits that converged, the best of which was diagnosed, and a page about all."""
    assert {name: json.loads((results / "fits" / name / "summary.json").read_text())["converged"] for name in FITS} == (
        dict.fromkeys(FITS, True)
    )
    rows = json.loads((results / "comparison.json").read_text())["rows"]
    assert {Path(row["run"]).name: row["formula"] for row in rows} == FITS
    best = Path(min(rows, key=lambda row: row["bic"])["run"]).name
    assert Path(json.loads((results / "diagnosis.json").read_text())["run"]).name == best
    page = (results / "report.html").read_text(encoding="utf-8")
    assert 'id="comparison"' in page and all(f">{name}</h2>" in page for name in FITS)


@pytest.mark.slow  # six commands, each in a process of its own
@pytest.mark.skipif(shutil.which("snakemake") is None, reason="no snakemake on the PATH: `make workflows` has one")
def test_snakemake_runs_and_goes_on(tmp_path: Path, beside: dict[str, str]) -> None:
    folder = tmp_path / "study"
    shutil.copytree(SNAKEMAKE, folder, ignore=shutil.ignore_patterns(".snakemake", "data", "results"))
    config = folder / "config.yaml"
    config.write_text(re.sub("options: .*", f'options: "{FEW}"', config.read_text()), encoding="utf-8")

    def run(*args: str) -> str:
        done = subprocess.run(["snakemake", *args], cwd=folder, env=beside, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run()
    check(folder / "results")
    assert "Nothing to be done" in run()
    config.write_text(config.read_text().replace('"~ distTOground"', '"~ orientation"'), encoding="utf-8")
    planned = run("--dry-run")  # of the fits, the one whose formula has changed
    jobs = dict.fromkeys(("all", "best", "compare", "diagnose", "fit", "report"), "1")
    assert dict(re.findall(r"(?m)^(\w+) +(\d+)$", planned)) == jobs | {"total": "6"}


@pytest.mark.slow  # six commands, each in a process of its own
def test_the_commands_of_nextflow_run(tmp_path: Path, beside: dict[str, str]) -> None:
    """The scripts of its processes, filled in as Nextflow does and run in its order: it cannot be had everywhere."""
    scripts = dict(re.findall(r'process (\w+) \{.*?"""\n(.*?)\n    """', (NEXTFLOW / "main.nf").read_text(), re.DOTALL))
    tables = {name: f"data/{name}.csv" for name in ("counts", "covariates", "exposure")}

    def run(process: str, **filled: str) -> None:
        values = {"params.options": FEW, "task.cpus": "1", **tables, **filled}
        script = re.sub(r"\$\{(.*?)\}", lambda found: values[found[1]], scripts[process])
        done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=beside, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr.decode()

    run("SAMPLE_DATA", name="oaks")
    for name, formula in FITS.items():
        run("FIT", name=name, formula=formula)
    run("COMPARE", fits=" ".join(FITS))
    rows = json.loads((tmp_path / "comparison.json").read_text())["rows"]
    run("DIAGNOSE", best=min(rows, key=lambda row: row["bic"])["run"])
    run("REPORT", fits=" ".join(FITS))
    (tmp_path / "fits").mkdir()
    for name in FITS:
        (tmp_path / name).rename(tmp_path / "fits" / name)
    check(tmp_path)


def usable(program: str) -> bool:
    """Whether a program is there whole: the launcher of Nextflow alone fetches the rest when it is first run."""
    if shutil.which(program) is None:
        return False
    return subprocess.run([program, "-version"], capture_output=True, timeout=300).returncode == 0


@pytest.fixture
def nextflow() -> Callable[..., None]:
    if not usable("nextflow"):
        pytest.skip("no nextflow that starts: it comes with conda, or from its own site")

    def run(folder: Path, env: dict[str, str], *args: str) -> None:
        asked = ["nextflow", "run", str(NEXTFLOW / "main.nf"), *args]
        done = subprocess.run(asked, cwd=folder, env=env, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.mark.slow  # starts a Java machine, and six commands
def test_nextflow_runs_and_goes_on(nextflow: Callable[..., None], tmp_path: Path, beside: dict[str, str]) -> None:
    nextflow(tmp_path, beside, "--options", FEW)
    check(tmp_path / "results")
    nextflow(tmp_path, beside, "--options", FEW, "-resume")
    check(tmp_path / "results")
