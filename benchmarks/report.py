"""From rows of single runs to medians, and from medians to a table. Time is compared at equal likelihood only."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

STATED_GAP = {"pln": 1e-3, "pln-pca": 1e-3, "logistic": 1e-6, "linear": 1e-6}
"""Nats per sample, by model, at which programs with a trace are compared: no digit that anyone reports changes there.

Regressions have far more samples per parameter, and every program solves them more closely.
"""
EQUAL = {"pln": 1e-6, "pln-pca": 1e-6, "logistic": 1e-9, "linear": 1e-9}
"""Nats per sample, by model: closer than this to the optimum counts as equal to it (1e-6 is plncli's tolerance)."""


@dataclass(frozen=True)
class Reference:
    """The optimum of a problem, and the problem's dimensions."""

    problem: str
    model: str
    n: int
    p: int
    d: int
    zeros: float
    threads: int
    likelihood: float
    note: str


def time_to(row: Row, value: float) -> float | None:
    """Seconds at which a run's trace first is at `value` or above; None when it never is."""
    return next((seconds for seconds, reached in row["trace"] if reached >= value), None)


def summarise(reference: Reference, rows: list[Row]) -> list[Row]:
    """One row of medians for each rival of a problem, in the order in which they first ran."""
    rivals = list(dict.fromkeys(row["rival"] for row in rows))
    runs = {rival: [row for row in rows if row["rival"] == rival] for rival in rivals}
    ours = [row for row in runs.get("plncli", []) if row["status"] == "ok"]
    return [_summary(reference, runs[rival], ours) for rival in rivals]


def _summary(reference: Reference, runs: list[Row], ours: list[Row]) -> Row:
    """Medians of a rival's runs.

    The comparison is made at the rival's own final likelihood, or, for one that leaves a trace and gets there, at the
    stated gap; there `compared_seconds` are the rival's, `plncli_seconds` those of plncli.
    """
    shared = {"problem": reference.problem, "rival": runs[0]["rival"], "runs": len(runs)}
    done = [row for row in runs if row["status"] == "ok"]
    if not done:
        return shared | {"status": runs[-1]["status"], "note": runs[-1]["note"]}
    gap = _median(done, lambda row: reference.likelihood - row["likelihood"])
    stated, equal = (table[reference.model] * reference.n for table in (STATED_GAP, EQUAL))
    to_stated = _median(done, lambda row: time_to(row, reference.likelihood - stated))
    at = stated if not math.isnan(to_stated) else max(gap, equal)
    seconds = _median(done, lambda row: row["seconds"])
    compared = seconds if math.isnan(to_stated) else to_stated
    plncli = _median(ours, lambda row: _our_time(row, reference.likelihood - at, equal))
    return shared | {
        "status": "ok",
        "seconds": seconds,
        "fastest": min(row["seconds"] for row in done),
        "slowest": max(row["seconds"] for row in done),
        "first_seconds": _median(done, lambda row: row["first_seconds"]),
        "load_seconds": _median(done, lambda row: row["load_seconds"]),
        "likelihood": _median(done, lambda row: row["likelihood"]),
        "gap": gap,
        "compared_at": at,
        "compared_seconds": compared,
        "plncli_seconds": plncli,
        "ratio": compared / plncli if not math.isnan(plncli) else math.nan,
        "peak_mb": _median(done, lambda row: row["peak_mb"]),
        "base_mb": _median(done, lambda row: row["base_mb"]),
        "threads": done[-1]["threads"],
        "version": done[-1]["version"],
        "note": done[-1]["note"],
    }


def _our_time(row: Row, value: float, equal: float) -> float | None:
    """Seconds that a run of plncli took to `value`, or in all when it ended within `equal` nats of it; else None."""
    reached = time_to(row, value)
    if reached is None and row["likelihood"] >= value - equal:
        return row["seconds"]
    return reached


def _median(rows: Iterable[Row], value: Callable[[Row], float | None]) -> float:
    """Median over the rows; nan when any has none, or there is no row."""
    values = [value(row) for row in rows]
    numbers = [v for v in values if v is not None]
    return statistics.median(numbers) if numbers and len(numbers) == len(values) else math.nan


# -- files ---------------------------------------------------------------------------------------------------------


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows, with the columns in the order in which they appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "trace"))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def markdown(references: list[Reference], summaries: list[Row], heading: list[str]) -> str:
    """The problems, the results, and where and with what they were made."""
    return "\n".join(
        [
            *heading,
            "",
            "| problem | model | n × p | d | zeros | threads | log-likelihood or ELBO at the optimum | reference fit |",
            "|---|---|---|---|---|---|---|---|",
            *(_problem_line(reference) for reference in references),
            "",
            "| problem | program | seconds | first call | gap, nats | compared at | its seconds | plncli | ratio "
            "| peak MB | how it ended |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *(_result_line(row) for row in summaries),
            "",
        ]
    )


def _problem_line(reference: Reference) -> str:
    return (
        f"| {reference.problem} | {reference.model} | {reference.n} × {reference.p} | {reference.d} "
        f"| {100 * reference.zeros:.0f} % | {reference.threads} | {reference.likelihood:.4f} | {reference.note} |"
    )


def _result_line(row: Row) -> str:
    if row["status"] != "ok":
        return f"| {row['problem']} | {row['rival']} | {row['status']} | | | | | | | | {row['note']} |"
    itself = row["rival"] in ("plncli", "plncli-command")
    versus = ["", ""] if itself else [_seconds(row["plncli_seconds"]), _ratio(row["ratio"])]
    cells = [
        row["problem"],
        row["rival"],
        _seconds(row["seconds"]),
        "" if row["rival"] == "plncli-command" else _seconds(row["first_seconds"]),
        _nats(row["gap"]),
        _nats(row["compared_at"]),
        _seconds(row["compared_seconds"]),
        *versus,
        f"{row['peak_mb']:.0f}",
        row["note"],
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.1f}×" if value >= 0.1 else f"{value:.1g}×"


def _nats(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2g}"
