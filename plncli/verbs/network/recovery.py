"""`compare --truth`: the edges of fits against those that are known to be true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli.console import Console
from plncli.errors import UsageError, short
from plncli.layout import Grid, aligned, table_width
from plncli.verbs.tables import Destination, write

if TYPE_CHECKING:
    from plncli.runs.network.recovery import Recovery


def recovery(runs: Sequence[str], truth: str, to: Destination, say: Console) -> int:
    """Read runs, judge their edges, and say what was found. UsageError for one that is given twice."""
    from plncli.runs.network.recovery import recovery as recovered
    from plncli.runs.run import read_run
    from plncli.tables.writing import finite, to_json

    twice = [run for run in runs if runs.count(run) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice.")
    found = [recovered(read_run(Path(run)), truth) for run in runs]
    if to.out is not None:
        write(columns(found), to.out, to.suffix)
    if to.json:
        console.out(to_json([finite(each.row()) for each in found]))
    elif to.out is None:
        console.out("\n".join(lines(found)))
    for note in dict.fromkeys(note for each in found for note in each.notes):
        say.note(f"note: {note}")
    return 0


def lines(found: Sequence[Recovery]) -> list[str]:
    """The choices, and the rankings below, for a reader."""
    chosen, ranked = grids(found)
    width = table_width()
    rows = [aligned(table.rows, table.left, width) for table in (chosen, ranked)]
    return [chosen.caption, *rows[0], "", ranked.caption, *rows[1]]


def grids(found: Sequence[Recovery]) -> tuple[Grid, Grid]:
    """A row a fit of what it chose, and one for each way to rank pairs."""
    from plncli.runs.network.recovery import RANKINGS

    chosen = [["run", "true edges", "edges", "of them true", "precision", "recall", "f1", "mcc"]]
    ranked = [["run", "pairs ranked by", "auc", "average precision"]]
    for each in found:
        name, own = short(each.name, 32), each.choice
        measures = (own.precision, own.recall, own.f1, own.mcc)
        numbers = (each.row()["true_edges"], own.edges, own.true_positives)
        chosen.append([name, *map(str, numbers), *map(_number, measures)])
        for way, curve in each.rankings.items():
            ranked.append([name, RANKINGS[way], f"{curve.auc:.3f}", f"{curve.average_precision:.3f}"])
    return (
        Grid("Edges that were chosen", chosen, left=1),
        Grid("Rankings of all pairs: auc is 0.5 by chance, average precision the share of true edges", ranked, left=2),
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def columns(found: Sequence[Recovery]) -> dict[str, Any]:
    """A row for each fit."""
    import numpy as np

    rows = [each.row() for each in found]

    def column(name: str) -> Any:
        values = [row[name] for row in rows]
        return values if name == "run" else np.array(values)

    return {name: column(name) for name in rows[0]}
