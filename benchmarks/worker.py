"""One run of one rival on one problem, in a process of its own: fit, measure, score."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, problems
from benchmarks.problems import Array, Problem
from benchmarks.rivals import REFERENCE, RIVALS
from benchmarks.rivals.base import Outcome, Settings
from benchmarks.score import score

AGAIN_BELOW, AGAIN_FOR, AGAIN = 6.0, 4.0, 2
"""A fit below 6 s, late imports counted, is repeated at most twice within 4 s, warm: caches filled, threads started."""


def execute(problem: Problem, rival: str, settings: Settings, separated: Array | None = None) -> dict[str, Any]:
    """Run and score; a row of results. A rival that raises is a row too, and says what it raised."""
    chosen = REFERENCE if rival == "reference" else RIVALS[rival]
    settings = replace(settings, time_limit=min(settings.time_limit, chosen.patience))
    base = machine.resident_mb()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    row: dict[str, Any] = {"problem": problem.name, "rival": rival, "device": settings.device, "load": load}
    try:
        outcomes = _repeated(lambda: chosen.run(problem, settings))
    except TimeoutError as error:
        return row | {"status": "timeout", "note": str(error)}
    except Exception as error:  # noqa: BLE001 (whatever a rival raises is its result)
        return row | {"status": "failed", "note": f"{type(error).__name__}: {error}"[:300]}
    peak = machine.peak_mb()
    last = outcomes[-1]
    if separated is None:
        separated = last.params.get("separated")
    return row | {
        "status": "ok",
        "likelihood": score(problem, last.params, separated, settings.device),
        "seconds": statistics.median(outcome.seconds for outcome in outcomes[1:] or outcomes),
        "first_seconds": outcomes[0].seconds,
        "load_seconds": outcomes[0].load_seconds,
        "peak_mb": last.peak_mb or peak,
        "base_mb": base,
        "threads": last.threads,
        "version": last.version,
        "note": last.note,
        "trace": _improvements(last.trace),
        "separated": separated,
    }


def _repeated(run: Any) -> list[Outcome]:
    outcomes = [run()]
    if outcomes[0].peak_mb is not None or outcomes[0].seconds > AGAIN_BELOW:
        return outcomes
    while len(outcomes) <= AGAIN and sum(outcome.seconds for outcome in outcomes[1:]) < AGAIN_FOR:
        outcomes.append(run())
    return outcomes


def _improvements(trace: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """The rows of a trace that are better than all before."""
    kept: list[tuple[float, float]] = []
    for seconds, value in trace:
        if not kept or value > kept[-1][1]:
            kept.append((seconds, value))
    return kept


def main() -> None:
    """Read a stored problem, run, and write the row as JSON; the reference also leaves its separated cells."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", type=Path)
    parser.add_argument("rival")
    parser.add_argument("row", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--time-limit", type=float, required=True)
    parser.add_argument("--separated", type=Path, required=True)
    args = parser.parse_args()
    separated = np.load(args.separated) if args.rival != "reference" and args.separated.exists() else None
    settings = Settings(args.threads, args.device, args.time_limit)
    row = execute(problems.read(args.problem), args.rival, settings, separated)
    found = row.pop("separated", None)
    if args.rival == "reference" and found is not None and found.any():
        np.save(args.separated, found)
    args.row.write_text(json.dumps(row), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
