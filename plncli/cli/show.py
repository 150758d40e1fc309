"""`plncli show RUN`: a finished fit at a glance."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import RunFolder, TableJson

Top = Annotated[int, typer.Option("--top", metavar="N", help="Coefficients and correlations to show.")]


def show(run: RunFolder, top: Top = 10, json: TableJson = False) -> int:
    """Show a finished fit at a glance.

    Model and data, how it ended, criteria, warnings, the clearest coefficients, and the strongest correlations.
    """
    from plncli.verbs import show as verb

    return verb.show(run, top, json=json)
