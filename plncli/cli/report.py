"""`plncli report RUN...`: finished fits on one page for a reader, and as tables for MultiQC."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import MOVED, CoefficientScale, Overwrite, Quiet, with_moved
from plncli.console import Console
from plncli.names import SCALES

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Folders that `plncli fit` wrote; several are compared.")
]
Out = Annotated[str, typer.Option("--out", metavar="FILE", help="Write the page there: .html.")]
Diagnose = Annotated[
    bool,
    typer.Option(
        "--diagnose/--no-diagnose",
        help="Read the tables of the fit again, which must not have changed, and check whether the model holds.",
    ),
]
MultiQC = Annotated[
    str | None,
    typer.Option("--multiqc", metavar="DIR", help="Write custom content for MultiQC there too.", show_default=False),
]


@with_moved(*MOVED)
def report(
    runs: Runs,
    out: Out = "report.html",
    overwrite: Overwrite = False,
    diagnose: Diagnose = True,
    multiqc: MultiQC = None,
    scale: CoefficientScale = SCALES[0],
    *,
    moved: dict[str, str],
    quiet: Quiet = False,
) -> int:
    """Write a report of finished fits: one page that opens anywhere.

    It needs no network. What was fitted, whether to trust it, what differs between the levels of factors,
    coefficients, and pictures.
    """
    from plncli.reports import verb

    say = Console(quiet)
    return verb.report(runs, moved, say, out=out, overwrite=overwrite, diagnose=diagnose, multiqc=multiqc, scale=scale)
