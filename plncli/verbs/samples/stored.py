"""Predictions for a table whose rows stay in their file: made and written by blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from plncli.verbs import predict as verb
from plncli.verbs.tables import Destination

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.console import Console
    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run
    from plncli.tables.stored import StoredTable

ROWS = 1 << 16
"""Samples of a block."""


def stored(run: Run, sources: Sources, to: Destination) -> StoredTable | None:
    """The covariates, where they alone are given, in a large Parquet file, and a file is written; None elsewhere."""
    from plncli.inputs.blocks.loading import MANY
    from plncli.inputs.designs.design import Design
    from plncli.tables.stored import opened

    beside = (sources.counts, sources.given, *run.settings.get("na_values", ()), *sources.na_values)
    files = [path for path in (sources.exposure, sources.offsets) if path and not _is_number(path)]
    whole = sources.missing != "error" or sources.match != "name" or any(beside) or files
    if whole or to.out is None or to.json or not isinstance(sources.covariates, str):
        return None
    table = opened(sources.covariates, "covariates", sample_names=sources.sample_names)
    columns = Design.from_json(run.design).columns
    if table is None or table.n * len(columns) < MANY or not {*columns} <= {*table.columns}:
        return None
    return table


def _is_number(text: object) -> bool:
    try:
        return isinstance(text, str) and not Path(text).is_file() and float(text) is not None
    except ValueError:
        return False


def predict(
    run: Run,
    table: StoredTable,
    sources: Sources,
    to: Destination,
    say: Console,
    intervals: tuple[str, ...],
    level: float,
    wide: str | None,
) -> None:
    """Predict, block by block, into the file; see `verbs.predict`."""
    from plncli.inputs.designs.design import Design
    from plncli.runs.new_data import load
    from plncli.tables.appending import by_blocks
    from plncli.tables.atomic import partial_file
    from plncli.tables.writing import table as made

    assert to.out is not None
    table.check_samples(ROWS)
    names = chain(table.names(None), run.responses, *run.classes)
    reasons: dict[str, Tensor] = {}
    told: dict[str, None] = {}
    with partial_file(Path(to.out)) as path, by_blocks(path, to.suffix, names) as append:
        for _, block in table.blocks(Design.from_json(run.design).columns, ROWS, names=True):
            data = load(run, replace(sources, covariates=replace(block, samples=tuple(block.samples))))
            _say(say, data.warnings, data.notes, told)
            found = verb.predictions(run, data, intervals, level)
            append(made(verb.shaped(run, data, found, wide)))
            for reason, cells in found.reasons.items():
                reasons[reason] = cells.sum(0, keepdim=True) + reasons.get(reason, 0)
    verb.report(say, run, table.n, replace(found, reasons=reasons), intervals)


def _say(say: Console, warnings: Sequence[str], notes: Sequence[str], told: dict[str, None]) -> None:
    """Each sentence once."""
    for sentence in (*warnings, *notes):
        if sentence not in told:
            told[sentence] = None
            (say.warn if sentence in warnings else say.note)(sentence if sentence in warnings else f"note: {sentence}")
