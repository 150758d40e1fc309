"""`plncli info`: versions, devices and threads, for a bug report or a look at a new machine."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import typer

from plncli import console
from plncli.errors import UsageError, nearest

SCHEMAS = ("summary", "manifest")


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
    if schema is not None:
        if schema not in SCHEMAS:
            raise UsageError(f"--schema must be one of {', '.join(SCHEMAS)}, not `{schema}`.{nearest(schema, SCHEMAS)}")
        console.out((files("plncli.runs") / "schemas" / f"{schema}.json").read_text(encoding="utf-8"))
        return 0
    from plncli import runtime

    described = runtime.describe()
    if json:
        import json as encoder

        console.out(encoder.dumps(described, indent=2))
        return 0
    lines = [f"{package:<12} {version}" for package, version in described["versions"].items()]
    lines += [f"{device:<12} {name}" for device, name in described["devices"].items()]
    lines += [f"{name:<12} {described[name]}" for name in ("threads", "cores", "platform", "executable")]
    console.out("\n".join(lines))
    return 0
