"""`info`: versions, devices and threads, for a bug report or a look at a new machine."""

from __future__ import annotations

from plncli import console
from plncli.errors import UsageError, nearest
from plncli.names import SCHEMAS


def info(schema: str | None, *, json: bool) -> int:
    """Print versions, devices and threads; or the JSON Schema of a file of a run."""
    if schema is not None:
        if schema not in SCHEMAS:
            raise UsageError(f"--schema must be one of {', '.join(SCHEMAS)}, not `{schema}`.{nearest(schema, SCHEMAS)}")
        from plncli.runs.schema import published

        console.out(published(schema))
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
