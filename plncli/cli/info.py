"""`plncli info`: versions, devices and threads, for a bug report or a look at a new machine."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli import console


def info(
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """Print versions, devices and threads."""
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
