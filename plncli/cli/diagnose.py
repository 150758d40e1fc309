"""`plncli diagnose RUN`: how good the bound of a finished fit is, and how well its model fits."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import MOVED, Quiet, RunFolder, TableJson, with_moved
from plncli.console import Console
from plncli.names import LAST_SEED, TABLE_FORMATS

Draws = Annotated[
    int, typer.Option("--draws", metavar="N", min=0, help="pln: draws a sample for its likelihood; 0: without it.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=LAST_SEED, help="Of the random numbers.")]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="DIR", help="Write tables of samples and features there.", show_default=False),
]
Residuals = Annotated[bool, typer.Option("--residuals", help="Write the table of residuals too, n×p.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder of an earlier diagnosis.")]
Format = Annotated[str, typer.Option("--format", metavar="|".join(TABLE_FORMATS), help="Of the tables.")]


@with_moved(*MOVED)
def diagnose(
    run: RunFolder,
    *,
    moved: dict[str, str],
    draws: Draws = 1000,
    seed: Seed = 0,
    out: Out = None,
    residuals: Residuals = False,
    overwrite: Overwrite = False,
    format: Format = "csv",
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Diagnose a finished fit: does the model hold?

    pln: the log-likelihood that the bound lies below, zeros and residuals; logistic: calibration; linear: residuals and
    influence. The tables of the fit are read again, and must not have changed.
    """
    from plncli.verbs import diagnose as verb

    tables = verb.Tables(out, format, residuals, overwrite)
    return verb.diagnose(run, moved, tables, Console(quiet), draws=draws, seed=seed, json=json)
