"""Run the benchmarks: `python -m benchmarks.run [--quick] [--device cuda] [--problems ...] [--rivals ...]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import machine, report
from benchmarks.problems import GPU_ONLY, PROBLEMS, QUICK, NotHere, Problem, load
from benchmarks.report import Reference, Row
from benchmarks.rivals import RIVALS
from benchmarks.rivals.base import Settings

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("plncli", "torch", "numpy", "scipy", "pyPLNmodels", "statsmodels", "scikit-learn", "glum")
SLOW = 10.0
"""A run that takes longer than this, in seconds, is not repeated."""
GRACE = 90.0
"""Seconds beyond twice the time limit after which a process is ended: for starting, reading and scoring."""


def main(arguments: list[str] | None = None) -> None:
    """Every problem with every rival that takes it; a CSV and a Markdown table in benchmarks/results."""
    args = _arguments(arguments)
    began = time.perf_counter()
    references: list[Reference] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.problems:
            try:
                problem = load(name)
            except NotHere as error:
                print(f"{name}: left out, {error}", flush=True)
                continue
            measured = _measure(problem, args, Path(folder))
            if measured is not None:
                references.append(measured[0])
                rows += measured[1]
    summaries = [row for reference in references for row in _of(reference, rows)]
    heading = _heading(args, time.perf_counter() - began, rows)
    table = report.markdown(references, summaries, heading)
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
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds a rival may take (default: 60)")
    parser.add_argument("--name", help="name of the files in benchmarks/results (default: table, quick or cuda)")
    args = parser.parse_args(arguments)
    usual = [name for name in PROBLEMS if args.device == "cuda" or name not in GPU_ONLY]
    args.problems = args.problems or (list(QUICK) if args.quick else usual)
    args.rivals = args.rivals or list(RIVALS)
    args.repeats = args.repeats or (1 if args.quick else 3)
    args.name = args.name or ("quick" if args.quick else "table" if args.device == "cpu" else args.device)
    return args


def _measure(problem: Problem, args: argparse.Namespace, folder: Path) -> tuple[Reference, list[Row]] | None:
    """The reference fit, then all rivals in turn, as many times as asked."""
    settings = Settings(args.threads or _threads(problem), args.device, args.time_limit)
    problem.save(folder / "problem.npz")
    (folder / "separated.npy").unlink(missing_ok=True)
    best = run_apart("reference", problem.name, replace(settings, time_limit=5 * args.time_limit), folder)
    if best["status"] != "ok":
        print(f"{problem.name}: left out, the reference fit {best['status']}: {best['note']}", flush=True)
        return None
    sizes = (problem.n, problem.p, problem.d, problem.zeros, settings.threads)
    reference = Reference(problem.name, problem.model, *sizes, best["likelihood"], best["note"])
    rivals = [name for name in args.rivals if RIVALS[name].takes(problem)]
    rows: list[Row] = []
    for turn in range(args.repeats):
        for rival in rivals:
            before = [row for row in rows if row["rival"] == rival]
            if any(row["status"] != "ok" or row["seconds"] > SLOW for row in before):
                continue
            rows.append(run_apart(rival, problem.name, settings, folder) | {"turn": turn + 1})
            _show(reference, rows[-1])
    return reference, rows


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


def _of(reference: Reference, rows: list[Row]) -> list[Row]:
    return report.summarise(reference, [row for row in rows if row["problem"] == reference.problem])


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
        f"up to {args.repeats} processes in turn{load}.",
        f"Machine: {machine.describe()}.{device}",
        f"Versions: {', '.join(_versions())}.",
        "",
        "*seconds*: the whole fit, warm (plncli-command: the whole process, files to files). *gap*: nats between the "
        "result and the optimum, scored alike for everyone. *compared at*: the gap at which times are compared, namely "
        f"{report.STATED_GAP:g} nats per sample where a program's trace passes it, else its own final gap; *its "
        "seconds* and *plncli*: the time either takes to get there; *ratio*: the one over the other.",
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
