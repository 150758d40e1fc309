"""`plncli offsets`: sequencing depths estimated from a table of counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli.cli.options import NoSampleNames, Overwrite, Quiet, TableFile, TableJson, TextFormat
from plncli.console import Console
from plncli.errors import DataError, UsageError, nearest
from plncli.names import OFFSET_METHODS, OFFSET_SCALES

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.files.tables import Table

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts, a row a sample.", show_default=False)]
OffsetMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--offset-method",
        metavar="|".join(OFFSET_METHODS),
        help="Estimator; may be given several times [default: all that are defined for the table].",
        show_default=False,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--offset-scale",
        metavar="|".join(OFFSET_SCALES),
        help="The geometric mean of the depths is that of the total counts, or 1 [default: counts].",
        show_default=False,
    ),
]
BlocksFile = Annotated[
    str | None,
    typer.Option(
        "--offset-blocks",
        metavar="FILE",
        help="Table of the block of each feature. One method then, and a column a feature.",
        show_default=False,
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Hold new samples against those of a fit, by its method, scale and blocks.",
        show_default=False,
    ),
]
Log = Annotated[bool, typer.Option("--log", help="Logarithms, for --offsets of a fit; else depths, for --exposure.")]


def offsets(
    counts: Counts,
    offset_method: OffsetMethods = None,
    offset_scale: Scale = None,
    offset_blocks: BlocksFile = None,
    run: From = None,
    log: Log = False,
    no_sample_names: NoSampleNames = False,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Estimate the sequencing depth of samples from their counts.

    A row a sample and a column a method. The table of one method is what `plncli fit pln --exposure` takes.
    """
    from plncli.cli.tables import check, deliver

    suffix = check(out, overwrite, format)
    _check(offset_method, offset_scale, offset_blocks, run)
    say = Console(quiet)
    samples, columns = (
        _against(run, counts, not no_sample_names, say)
        if run
        else _estimated(counts, offset_method, offset_scale or "counts", offset_blocks, not no_sample_names, say)
    )
    numbers = {name: _rounded(values if log else values.exp()) for name, values in columns.items()}
    deliver({"sample": list(samples), **numbers}, out, suffix, json)
    return 0


def _rounded(values: Tensor) -> Any:
    """Twelve digits: a total that went through its logarithm is whole again."""
    import numpy as np

    return np.array([float(f"{value:.12g}") for value in values.tolist()])


def _check(methods: list[str] | None, scale: str | None, blocks: str | None, run: str | None) -> None:
    """UsageError for names that do not exist, and options that do not go together."""
    for flag, given, known in (
        ("--offset-method", methods or (), OFFSET_METHODS),
        ("--offset-scale", (scale,) if scale else (), OFFSET_SCALES),
    ):
        for name in given:
            if name not in known:
                raise UsageError(f"{flag} is `{name}`, but must be one of {', '.join(known)}.{nearest(name, known)}")
    if run and (methods or scale or blocks):
        raise UsageError("--from takes method, scale and blocks of the fit; leave out the other --offset options.")
    if blocks and len(methods or ()) != 1:
        raise UsageError("--offset-blocks makes a column for each feature: give one --offset-method.")


def _estimated(
    path: str, methods: list[str] | None, scale: str, blocks_file: str | None, named: bool, say: Console
) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Samples, and log depths (n,) by method; by feature where there are blocks."""
    import torch

    from plncli.files.depths import blocks_of, depths_of
    from plncli.files.inputs import count_cells
    from plncli.files.tables import read_table

    table = _read(path, named, say)
    Y, missing = count_cells(table)
    blocks = blocks_of(read_table(blocks_file, "offset-blocks") if blocks_file else None, table.columns)
    columns: dict[str, Tensor] = {}
    for method in methods or OFFSET_METHODS:
        try:
            found = depths_of(table, Y, None if missing is None else ~missing, method, scale, blocks)
        except DataError as error:
            if methods or method == OFFSET_METHODS[0]:  # where total is not defined, none is
                raise
            say.note(f"note: {error}")
            continue
        say.note(f"note: {found.told}")
        offset = torch.from_numpy(found.offset)
        by_feature = zip(table.columns, offset.expand(-1, len(table.columns)).T, strict=True)
        columns |= dict(by_feature) if blocks_file else {method: offset[:, 0]}
    return table.samples, columns


def _against(run: str, path: str, named: bool, say: Console) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Samples, and their log depths against the samples of a fit."""
    import torch

    from plncli.depths import SizeFactors
    from plncli.files.inputs import count_cells, match_features
    from plncli.files.matching import Tables
    from plncli.files.runs import read_run
    from plncli.files.tables import refuse

    fitted = read_run(Path(run))
    learnt = fitted.design.get("size_factors")
    if learnt is None:
        raise UsageError(f"{run} was fitted without --offset-method, so there is nothing to hold new samples against.")
    factors = SizeFactors.from_json(learnt)
    table = _read(path, named, say)
    table, tables = match_features(table, fitted.responses, Tables({"counts": table}, "counts"))
    for note in tables.notes:
        say.note(f"note: {note}")
    Y, missing = count_cells(table)
    refuse(table, missing, "missing entry", "A depth cannot be estimated without it: leave the sample out.")
    log_factors = factors.log_factors(torch.from_numpy(Y), table.samples)
    if len(factors.blocks) == 1:
        return table.samples, {factors.method: log_factors[:, 0]}
    return table.samples, dict(zip(fitted.responses, factors.spread_out(log_factors).T, strict=True))


def _read(path: str, named: bool, say: Console) -> Table:
    """The table of counts, with samples in rows."""
    from plncli.files.matching import Tables, check_orientation
    from plncli.files.tables import read_table

    table = read_table(path, "counts", sample_names=named)
    for note in (*table.notes, *check_orientation(Tables({"counts": table}, "counts")).notes):
        say.note(f"note: {note}")
    return table
