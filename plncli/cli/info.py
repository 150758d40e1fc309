"""`plncli info`: versions, devices and threads, for a bug report or a look at a new machine."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.names import SCHEMAS


def info(
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="|".join(SCHEMAS),
            help="Print the JSON Schema of summary.json or manifest.json instead.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Print versions, devices and threads."""
    from plncli.verbs import info as verb

    return verb.info(schema, json=json)
