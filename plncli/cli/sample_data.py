"""`plncli sample-data`: write the tables that come with the program."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli import resources


def sample_data(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Which data; the names are listed when it is left out.",
            show_default=False,
            autocompletion=lambda incomplete: [name for name in resources.sample_data() if name.startswith(incomplete)],
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder to write [default: NAME].", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names there.")] = False,
) -> int:
    """Write sample tables into a folder.

    Without a name, list what there is.
    """
    from plncli.verbs import sample_data as verb

    return verb.sample_data(name, out, overwrite=overwrite)
