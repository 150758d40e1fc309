"""Paths as users write them: a file, and the part of it that is meant."""

from __future__ import annotations

import os

PART = "::"


def split_part(path: str) -> tuple[str, str]:
    """A path, and the part of the file that stands after `::`; nothing where there is none."""
    file, found, part = path.rpartition(PART)
    return (file, part) if found and file and not os.path.exists(path) else (path, "")  # noqa: PTH110 (never raises)
