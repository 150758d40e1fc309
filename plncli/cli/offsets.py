"""`plncli offsets`: size factors estimated from a table of counts."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from plncli.cli.new_data import NoSampleNames, Round, Transpose
from plncli.cli.options import Overwrite, Quiet, TableFile, TableJson, TextFormat
from plncli.console import Console
from plncli.names import OFFSET_METHODS, OFFSET_SCALES

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts, a row a sample.", show_default=False)]
OffsetMethods = Annotated[
    list[str] | None,
    typer.Option(
        "--offset-method",
        metavar="|".join(OFFSET_METHODS),
        help="Method; may be given several times [default: all that are defined for the table].",
        show_default=False,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--offset-scale",
        metavar="|".join(OFFSET_SCALES),
        help="The geometric mean of the size factors is that of the total counts, or 1 [default: counts].",
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
        help="Size factors of new samples relative to those of a fit, by its method, scale and blocks.",
        show_default=False,
    ),
]
Log = Annotated[
    bool, typer.Option("--log", help="Logarithms, for --offsets of a fit; else size factors, for --exposure.")
]


def offsets(
    counts: Counts,
    offset_method: OffsetMethods = None,
    offset_scale: Scale = None,
    offset_blocks: BlocksFile = None,
    run: From = None,
    log: Log = False,
    transpose: Transpose = None,
    no_sample_names: NoSampleNames = False,
    round: Round = False,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Estimate the size factors of samples from their counts.

    A row a sample and a column a method. The table of one method is what `plncli fit pln --exposure` takes.
    """
    from plncli.verbs import size_factors as verb
    from plncli.verbs.tables import destination

    to, say = destination(out, overwrite, format, json), Console(quiet)
    read = partial(verb.offsets, transpose=transpose, sample_names=not no_sample_names, round=round)
    return read(counts, offset_method, offset_scale, offset_blocks, run, to, say, log=log)
