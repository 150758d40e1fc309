"""`plncli compare RUN RUN ...`: criteria side by side, and likelihood-ratio tests."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import Overwrite, Quiet, TableFile, TableJson
from plncli.console import Console

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN...", help="Folders that `plncli fit` wrote, of fits to the same data.")
]
Truth = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="DIR|FILE",
        help="Compare the edges of networks, of one run or several, with true ones: of a folder that `plncli simulate "
        "--graph` wrote, or a table with the columns feature_a and feature_b.",
        show_default=False,
    ),
]


def compare(
    runs: Runs,
    truth: Truth = None,
    out: TableFile = None,
    overwrite: Overwrite = False,
    json: TableJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare finished fits to the same data.

    Criteria (smaller is better, `*` the best), and likelihood-ratio tests of nested models; or, with --truth, how well
    edges are recovered.
    """
    from plncli.verbs.tables import destination

    to, say = destination(out, overwrite, None, json), Console(quiet)
    if truth is not None:
        from plncli.verbs.network import recovery

        return recovery.recovery(runs, truth, to, say)
    from plncli.verbs import compare as verb

    return verb.compare(runs, to, say)
