"""plncli as a user runs it: one process from files to files."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.launch import launch
from benchmarks.problems import Array, Problem
from benchmarks.rivals.base import Outcome, Settings


def run(problem: Problem, settings: Settings) -> Outcome:
    """Write the problem's tables (not timed), time the whole command, and read its estimates back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "out"
        command = [sys.executable, "-m", "plncli", "fit", problem.model, *_write(problem, folder), "--out", str(out)]
        command += ["--threads", str(settings.threads), "--device", settings.device, "--no-progress", "--quiet"]
        finished = launch(command, settings.time_limit)
        if finished["exit_code"] not in (0, 4):
            raise RuntimeError(f"exit code {finished['exit_code']}: {_last_line(finished['stderr'])}")
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        params = _estimates(out, problem)
    import plncli

    note = f"whole process; {finished['cpu_seconds']:.2f} s of CPU, {summary.get('status', '')}"
    return Outcome(
        params,
        0.0,
        finished["seconds"],
        plncli.__version__,
        settings.threads,
        peak_mb=finished["peak_mb"],
        note=note,
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing said"])[-1]


def _write(problem: Problem, folder: Path) -> list[str]:
    """The tables as CSV, and the options that name them."""
    terms = [f"x{k + 1}" for k in range(problem.d)]
    _csv(folder / "covariates.csv", problem.X, terms)
    _csv(folder / "offsets.csv", problem.O, [f"y{j + 1}" for j in range(problem.O.shape[1])])
    _csv(folder / "table.csv", problem.Y, [f"y{j + 1}" for j in range(problem.p)], "%d" if _whole(problem) else "%.17g")
    table = "--counts" if problem.model == "pln" else "--response"
    options = [table, str(folder / "table.csv"), "--covariates", str(folder / "covariates.csv")]
    if np.any(problem.O):
        options += ["--offsets", str(folder / "offsets.csv")]
    return [*options, "--formula", f"~ 0 + {' + '.join(terms)}"]


def _whole(problem: Problem) -> bool:
    return problem.model != "linear"


def _csv(path: Path, table: Array, columns: list[str], form: str = "%.17g") -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(["sample", *columns]) + "\n")
        for i, row in enumerate(table.tolist()):
            file.write(f"s{i + 1}," + ",".join(form % value for value in row) + "\n")


def _estimates(out: Path, problem: Problem) -> dict[str, Array]:
    from safetensors.numpy import load_file

    stored = load_file(out / "model.safetensors")
    if problem.model != "pln":
        return {"B": stored["estimates.B"]}
    estimates = {symbol: stored[f"estimates.{symbol}"] for symbol in ("B", "Sigma", "S")}
    return estimates | {"M": stored["state.M_finite"]}
