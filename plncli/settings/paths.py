"""Paths in settings: the part of a file that is meant, where results go, and what means the same from any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from plncli.errors import UsageError
from plncli.settings.common import FitConfig
from plncli.settings.listing import settings

PART = "::"
FRAME = "<DataFrame>"
"""What stands for the path of a table that Python gave as a data frame."""
NOWHERE = (None, "-", FRAME)  # paths that lead to no file


def split_part(path: str) -> tuple[str, str]:
    """A path, and the part of the file that stands after `::`; nothing where there is none."""
    file, found, part = path.rpartition(PART)
    return (file, part) if found and file and not os.path.exists(path) else (path, "")  # noqa: PTH110 (never raises)


def output_folder(config: FitConfig) -> Path:
    """Where the results go: --out, or `<name of the main table>-<model>` in the current folder."""
    if config.out:
        return named_folder(config.out)
    main = config.counts or config.response or config.covariates or ""
    name = "stdin" if main == "-" else Path(main).name.split(".")[0] or "fit"
    return Path(f"{name}-{config.model}")


def named_folder(out: str) -> Path:
    """A folder to write, by a path that ends in its name; UsageError where there is none, as of `/`."""
    path = Path(out)
    if path.name in ("", ".."):  # `.`, or a way up
        path = Path(os.path.realpath(path))
    if not path.name:
        raise UsageError(f"--out {out} has no name under which results could appear. Choose another --out.")
    return path


def absolute(config: FitConfig) -> FitConfig:
    """The same configuration with absolute paths: it means the same from any folder."""
    paths: dict[str, Any] = {}
    for name, setting in settings(config.model).items():
        value = config.value(name)
        if setting.path and value not in NOWHERE and (setting.path != "maybe" or Path(value).is_file()):
            paths[name] = os.path.abspath(value)  # noqa: PTH100 (a link stays a link)
    return config.but(**paths)
