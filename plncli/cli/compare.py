"""`plncli compare RUN RUN ...`: criteria side by side, and likelihood-ratio tests."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import Overwrite, Quiet, TableFile, TableJson
from plncli.console import Console

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN...", help="Folders that `plncli fit` wrote, of fits to the same data.")
]


def compare(
    runs: Runs,
    out: TableFile = None,
    overwrite: Overwrite = False,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare finished fits to the same data.

    Criteria (smaller is better, `*` the best), and likelihood-ratio tests of nested models.
    """
    from plncli.verbs import compare as verb
    from plncli.verbs.tables import destination

    return verb.compare(runs, destination(out, overwrite, None, json), Console(quiet))
