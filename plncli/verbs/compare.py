"""`compare`: criteria of fits side by side, and likelihood-ratio tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli.console import Console
from plncli.errors import short
from plncli.layout import Grid, aligned, table_width
from plncli.runs.network.links import EDGES
from plncli.verbs.tables import Destination, write

if TYPE_CHECKING:
    from plncli.runs.comparison import Comparison


def compare(runs: Sequence[str], to: Destination, say: Console) -> int:
    """Read runs, compare them, and say what was found."""
    from plncli.runs.comparison import compare as compared
    from plncli.runs.run import read_run
    from plncli.tables.writing import to_json

    found = compared([read_run(Path(run)) for run in runs])
    if to.out is not None:
        write(columns(found), to.out, to.suffix)
    if to.json:
        console.out(to_json(asdict(found)))
    elif to.out is None:
        console.out("\n".join(lines(found)))
    for sentence in found.notes:
        say.note(f"note: {sentence}")
    for sentence in found.warnings:
        say.warn(sentence)
    return 0


def lines(found: Comparison) -> list[str]:
    """The table of criteria and that of tests, for a reader."""
    criteria, *tests = grids(found)
    told = aligned(criteria.rows, criteria.left, table_width())
    for table in tests:
        told += ["", table.caption, *aligned(table.rows, table.left, table_width())]
    return told


def grids(found: Comparison) -> list[Grid]:
    """The table of criteria, and that of tests where there are any."""
    shown = [name for name in found.criteria if any(row[name] is not None for row in found.rows)]
    edges = [EDGES] if EDGES in found.rows[0] else []
    rows = [["run", "model", found.likelihood, "parameters", *edges, *shown, "r2"]]
    for row in found.rows:
        criteria = [_criterion(row[name], row[f"delta_{name}"]) for name in shown]
        structure = f", {row['structure']}" if row["structure"] else ""
        model = short(f"{row['formula']}{structure}", 36) + ("" if row["done"] else " (not converged)")
        rows.append(
            [
                short(row["run"], 24),
                model,
                f"{row[found.likelihood]:.2f}",
                str(row["n_parameters"]),
                *(str(row[name]) for name in edges),
                *criteria,
                "" if row["r2"] is None else f"{row['r2']:.3f}",
            ]
        )
    tables = [Grid("Criteria: smaller is better, the best has a star", rows, left=2)]
    if found.ratios:
        tests = [["larger model", "against", "statistic", "df", "p"]]
        tests += [
            [short(r.large, 32), short(r.small, 32), f"{r.statistic:.2f}", str(r.df), f"{r.p_value:.3g}"]
            for r in found.ratios
        ]
        tables.append(Grid("Likelihood-ratio tests", tests, left=2))
    return tables


def _criterion(value: float | None, delta: float | None) -> str:
    """The best with a star, another with its distance to it."""
    if value is None or delta is None:
        return ""
    return f"{value:.1f} *" if delta == 0.0 else f"+{delta:.1f}"


def columns(found: Comparison) -> dict[str, Any]:
    """A row for each run."""
    import numpy as np

    def numbers(name: str) -> Any:
        return np.array([np.nan if row[name] is None else row[name] for row in found.rows], dtype=float)

    def texts(name: str) -> Sequence[str]:
        return ["" if row[name] is None else str(row[name]) for row in found.rows]

    edges = [EDGES] if EDGES in found.rows[0] else []
    distances = [f"delta_{name}" for name in found.criteria]
    return {
        **{name: texts(name) for name in ("run", "formula", "covariance", *found.told)},
        **{name: numbers(name) for name in (found.likelihood, "n_parameters", *edges, *found.criteria)},
        **{name: numbers(name) for name in ("r2", *distances, "gap")},
        "converged": ["true" if row["converged"] else "false" for row in found.rows],
    }
