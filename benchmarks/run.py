"""Run the benchmarks: `python -m benchmarks.run [--quick] [--device cuda] [--problems ...] [--rivals ...]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import machine, report
from benchmarks.problems import GPU_ONLY, LONG, PROBLEMS, QUICK, NotHere, Problem, load
from benchmarks.report import Reference, Row
from benchmarks.rivals import RIVALS
from benchmarks.rivals.base import Settings

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("plncli", "torch", "numpy", "scipy", "pyPLNmodels", "statsmodels", "scikit-learn", "glum")
SLOW = 10.0
"""A fit that takes longer than this, in seconds, is not repeated."""
REFERENCE_TIME = 2.5
"""The reference fit has this many times the time limit."""
GRACE = 60.0
"""Seconds beyond twice the time limit after which a process is ended: for starting, reading and scoring."""


@dataclass(frozen=True)
class Study:
    """A problem under way: where it is stored, who fits it, and the rows so far."""

    reference: Reference
    settings: Settings
    folder: Path
    rivals: list[str]
    rows: list[Row] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> None:
    """Every problem with every rival that takes it; a CSV and a Markdown table in benchmarks/results.

    The first turn goes through everything; further turns go on for as long as the budget lasts.
    """
    args = _arguments(arguments)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = [_prepared(name, args, Path(folder)) for name in args.problems]
        studies = [study for study in prepared if study is not None]
        for turn in range(args.repeats):
            for study in studies:
                if turn == 0 or time.perf_counter() - began < 60.0 * args.budget:
                    _turn(study, turn + 1)
    rows = [row for study in studies for row in study.rows]
    summaries = [row for study in studies for row in report.summarise(study.reference, study.rows)]
    heading = _heading(args, time.perf_counter() - began, rows)
    table = report.markdown([study.reference for study in studies], summaries, heading)
    RESULTS.mkdir(exist_ok=True)
    report.write_csv(RESULTS / f"{args.name}.csv", [row | _facts(args) for row in summaries])
    report.write_csv(RESULTS / f"{args.name}-runs.csv", rows)
    (RESULTS / f"{args.name}.md").write_text(table, encoding="utf-8")
    print(f"\n{table}")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="plncli and its rivals, in turn.")
    parser.add_argument("--quick", action="store_true", help="small problems, one run each: less than two minutes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), metavar="NAME", help=", ".join(PROBLEMS))
    parser.add_argument("--rivals", nargs="+", choices=list(RIVALS), metavar="NAME", help=", ".join(RIVALS))
    parser.add_argument("--threads", type=int, help="CPU threads of everyone; by default plncli's choice by size")
    parser.add_argument("--repeats", type=int, help="runs of each rival, in turn (default: 3; 1 with --quick)")
    parser.add_argument("--budget", type=float, default=14.0, help="minutes after which no run is repeated (14)")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds a rival may take (default: 60)")
    parser.add_argument("--name", help="name of the files in benchmarks/results (default: table, quick or cuda)")
    args = parser.parse_args(arguments)
    left_out = LONG if args.device == "cuda" else GPU_ONLY + LONG
    usual = [name for name in PROBLEMS if name not in left_out]
    args.problems = args.problems or (list(QUICK) if args.quick else usual)
    args.rivals = args.rivals or list(RIVALS)
    args.repeats = args.repeats or (1 if args.quick else 3)
    args.name = args.name or ("quick" if args.quick else "table" if args.device == "cpu" else args.device)
    return args


def _prepared(name: str, args: argparse.Namespace, folder: Path) -> Study | None:
    """The problem, stored for everyone, and its reference fit; None, with a line that says why, when it has none."""
    try:
        problem = load(name)
    except NotHere as error:
        print(f"{name}: left out, {error}", flush=True)
        return None
    own = folder / name
    own.mkdir()
    problem.save(own / "problem.npz")
    settings = Settings(args.threads or _threads(problem), args.device, args.time_limit)
    best = run_apart("reference", name, replace(settings, time_limit=REFERENCE_TIME * args.time_limit), own)
    if best["status"] != "ok":
        print(f"{name}: left out, the reference fit {best['status']}: {best['note']}", flush=True)
        return None
    sizes = (problem.n, problem.p, problem.d, problem.zeros, settings.threads)
    reference = Reference(name, problem.model, *sizes, best["likelihood"], best["note"])
    _show(reference, best)
    return Study(reference, settings, own, [rival for rival in args.rivals if RIVALS[rival].takes(problem)])


def _turn(study: Study, turn: int) -> None:
    """One run of each rival, but for those that were slow or ended badly before."""
    for rival in study.rivals:
        before = [row for row in study.rows if row["rival"] == rival]
        if any(row["status"] != "ok" or row["seconds"] > SLOW for row in before):
            continue
        row = run_apart(rival, study.reference.problem, study.settings, study.folder)
        study.rows.append(row | {"turn": turn})
        _show(study.reference, row)


def run_apart(rival: str, problem: str, settings: Settings, folder: Path) -> Row:
    """One run in a process of its own, with its threads pinned; what it prints is thrown away."""
    row = folder / "row.json"
    row.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.worker", str(folder / "problem.npz"), rival, str(row)]
    command += ["--threads", str(settings.threads), "--device", settings.device]
    command += ["--time-limit", str(settings.time_limit), "--separated", str(folder / "separated.npy")]
    bound = 2.0 * settings.time_limit + GRACE
    ended: Row = {"problem": problem, "rival": rival, "device": settings.device}
    try:
        finished = subprocess.run(
            command, cwd=ROOT, env=_environment(settings), timeout=bound, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return ended | {"status": "timeout", "note": f"no end after {bound:.0f} s"}
    if not row.exists():
        last = (finished.stderr.strip().splitlines() or ["nothing said"])[-1][:300]
        return ended | {"status": "failed", "note": f"exit code {finished.returncode}: {last}"}
    return json.loads(row.read_text(encoding="utf-8"))


def _environment(settings: Settings) -> dict[str, str]:
    pools = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA")
    pinned = {f"{pool}_NUM_THREADS": str(settings.threads) for pool in pools}
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if settings.device == "cpu" else {}
    return os.environ | pinned | hidden | {"PYTHONWARNINGS": "ignore"}


def _threads(problem: Problem) -> int:
    """The threads that plncli chooses for a problem of this size; the rivals get the same."""
    from plncli.runtime import threads_for

    return threads_for(problem.n, problem.p, problem.d, "auto")


def _show(reference: Reference, row: Row) -> None:
    """A line on each run as it ends."""
    if row["status"] != "ok":
        print(f"{row['problem']:<20} {row['rival']:<15} {row['status']}: {row['note']}", flush=True)
        return
    gap = reference.likelihood - row["likelihood"]
    print(
        f"{row['problem']:<20} {row['rival']:<15} {row['seconds']:9.3f} s   gap {gap:9.2g} nats   "
        f"peak {row['peak_mb']:6.0f} MB   load {row['load']:.1f}   {row['note']}",
        flush=True,
    )


def _facts(args: argparse.Namespace) -> Row:
    return {"device": args.device, "machine": machine.describe()}


def _heading(args: argparse.Namespace, seconds: float, rows: list[Row]) -> list[str]:
    """Machine, versions, and how to read the columns."""
    loads = sorted(row["load"] for row in rows if "load" in row)
    load = f"; load average of the machine before a run: median {loads[len(loads) // 2]:.1f}" if loads else ""
    device = "" if args.device == "cpu" else f" GPU: {_gpu()}."
    return [
        f"Made by `python -m benchmarks.run` on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.0f} minutes: medians of "
        f"up to {args.repeats} processes, in turn{load}.",
        f"Machine: {machine.describe()}.{device}",
        f"Versions: {', '.join(_versions())}.",
        "",
        "*seconds*: the whole fit, warm (plncli-command: the whole process, files to files). *gap*: nats between the "
        "result and the optimum, scored alike for everyone. *compared at*: the gap at which times are compared, namely "
        f"{report.STATED_GAP['pln']:g} nats per sample (regressions: {report.STATED_GAP['logistic']:g}) where a "
        "program's trace passes it, else its own final gap; *its seconds* and *plncli*: the time either takes to get "
        "there; *ratio*: the one over the other.",
    ]


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name(0)


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
