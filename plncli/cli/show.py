"""`plncli show RUN`: a finished fit at a glance."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import CoefficientScale, Overwrite, RunFolder, TableFile, TableJson, TextFormat

Top = Annotated[int, typer.Option("--top", metavar="N", help="Coefficients and correlations to show.")]
Coefficients = Annotated[
    bool,
    typer.Option("--coefficients", help="Print the whole table of coefficients instead, or write it to --out FILE."),
]


def show(
    run: RunFolder,
    top: Top = 10,
    scale: CoefficientScale = "log",
    coefficients: Coefficients = False,
    out: TableFile = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    json: TableJson = False,
) -> int:
    """Show a finished fit at a glance.

    Model and data, how it ended, criteria, warnings, the clearest coefficients, and the strongest correlations.
    """
    from plncli.verbs import show as verb
    from plncli.verbs.tables import destination, only_with

    if coefficients:
        return verb.coefficients(run, scale, destination(out, overwrite, format, json))
    only_with("--coefficients", {"--out": out, "--overwrite": overwrite, "--format": format})
    return verb.show(run, top, scale, json=json)
