"""What is done already: a fit in its folder, and a table beside which a receipt says what it is of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plncli.errors import DataError, UsageError
from plncli.runs import schema as schemas
from plncli.runs.unfinished.checkpoints import about_fit, differences, unfinished
from plncli.settings import FitConfig, recorded, settings, split_part
from plncli.settings.paths import NOWHERE
from plncli.tables.atomic import tidy, whole_file
from plncli.tables.formats import digest, lies_at


def finished(out: Path, config: FitConfig) -> dict[str, Any] | None:
    """The manifest of a fit in `out` that has no more to gain; None where there is none, or it can go on.

    UsageError where it is that of another fit.
    """
    try:
        manifest = schemas.read(out / "manifest.json", "manifest")
        before = _configured(manifest, out / "manifest.json")
    except DataError:
        return None
    if unfinished(out):
        return None
    known = {"settings": about_fit(before, ())["settings"], "inputs": manifest["inputs"]}
    _check_same(out, "fit", known, about_fit(config, ())["settings"], config)
    return None if manifest.get("cut_short", manifest["exit_code"] in (130, 143)) else manifest


def _check_same(out: Path, what: str, known: Mapping[str, Any], chosen: Mapping[str, Any], config: FitConfig) -> None:
    """UsageError unless what is known of `out` is what is `chosen` now, of tables as they are now."""
    now = []
    for source in known["inputs"]:
        path = Path(split_part(str(_named(config, source["role"]) or source["path"]))[0])
        now.append({**source, "sha256": digest(path) if lies_at(path) else source["sha256"]})
    different = differences(known, {"settings": chosen, "inputs": now})
    if different:
        raise UsageError(
            f"{out} holds another {what}: {'; '.join(different)}. Choose another --out, or replace it with --overwrite "
            "instead of --resume."
        )


def _named(config: FitConfig, role: str) -> Any:
    """The value of the setting of that name, None where there is none."""
    return config.value(role) if role in settings(config.model) else None


def _configured(manifest: Mapping[str, Any], where: Path) -> FitConfig:
    """The configuration of a finished fit, its paths as they were meant then; ConfigError where it is none."""
    config, folder = recorded(manifest["configuration"]["model"], manifest["configuration"], where), manifest["folder"]
    named = [name for name, setting in settings(config.model).items() if setting.path in ("file", "folder")]
    paths = {name: config.value(name) for name in named}
    meant: dict[str, Any] = {name: str(Path(folder) / path) for name, path in paths.items() if path not in NOWHERE}
    return config.but(**meant)


def receipt_of(out: Path) -> Path:
    """The file that says what the table `out` is of: a table has no room for it."""
    return out.with_name(f".{out.name}.done")


def write_receipt(out: Path, content: bytes, about: Mapping[str, Any], code: int) -> None:
    """Say of the table `out`, yet to be written with that content, what it is of, and how the command ends."""
    known = {"sha256": hashlib.sha256(content).hexdigest(), "exit_code": code}
    forget(out)
    whole_file(receipt_of(out), json.dumps(known | {name: about[name] for name in ("settings", "inputs")}).encode())


def forget(out: Path) -> None:
    """Remove the receipt of `out`; also a link in its place, which would be followed."""
    receipt_of(out).unlink(missing_ok=True)


def done(out: Path, chosen: Mapping[str, Any], config: FitConfig) -> int | None:
    """The exit code of the command that wrote the table `out`; None unless there is one, and a receipt of it.

    For whoever holds the lock of `out`.
    UsageError where it is of other settings or tables.
    """
    path = receipt_of(out)
    tidy(path)
    if not out.is_file() or path.is_symlink() or not path.is_file():
        return None
    try:
        known = schemas.read(path, "receipt")
    except DataError:
        return None
    if known["sha256"] != digest(out):
        return None
    _check_same(out, "comparison", known, chosen, config)
    return int(known["exit_code"])
