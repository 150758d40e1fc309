"""`plncli rerun RUN`: fit again as a finished fit was made, and hold the two against each other."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import Quiet, RunFolder

Check = Annotated[
    bool, typer.Option("--check", help="Compare the two, and let the second go; exit with 3 where they differ.")
]
Out = Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder for the results.", show_default=False)]


def rerun(run: RunFolder, check: Check = False, out: Out = None, quiet: Quiet = False) -> int:
    """Fit again, as the configuration of a finished fit says.

    The same command on the same machine gives the same bits, whatever else the machine does; other versions, or
    another number of threads, agree to rounding.
    """
    from plncli.verbs import rerun as verb

    return verb.rerun(run, check=check, out=out, quiet=quiet)
