"""A path of fits along one setting: what is told of each, which of them is chosen, and where they lie."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plncli.errors import DataError
from plncli.evaluation.stability import STABLE
from plncli.runs import schema as schemas
from plncli.runs.outcome import FOLDER
from plncli.runs.run import Run, read_run
from plncli.runs.unfinished.checkpoints import PATH
from plncli.settings import option
from plncli.tables.atomic import whole_file

TABLE = "path"
LAST, STARS = "none", "stars"
"""The choice of the last of a path, or of the last that is stable."""


def name_of(setting: str, value: Any, values: Sequence[Any]) -> str:
    """The name of the folder of a fit: rank-07, or, of numbers that are not whole, by their place: penalty-01."""
    whole = isinstance(value, int)
    number, largest = (value, max(values)) if whole else (values.index(value) + 1, len(values))
    return f"{setting}-{number:0{max(2, len(str(largest)))}d}"


def best(rows: Sequence[Mapping[str, Any]], criterion: str) -> int:
    """The place of the smallest criterion among the fits that converged, or of all where none has.

    `cv`: of the highest score; `stars`: the last whose instability is small; `none`: the last. DataError where no fit
    has one.
    """

    def value(row: Mapping[str, Any]) -> float:
        known = row.get(criterion)
        return math.inf if known is None or math.isnan(known) else -known if criterion == "cv" else known

    if criterion == LAST:
        return len(rows) - 1
    if criterion == STARS:
        stable = [k for k, row in enumerate(rows) if row["instability"] <= STABLE]
        return stable[-1] if stable else 0
    converged = [k for k, row in enumerate(rows) if row["status"] == "converged"] or range(len(rows))
    place = min(converged, key=lambda k: value(rows[k]))
    if not math.isfinite(value(rows[place])):
        raise DataError(f"No fit of the path has a finite {criterion}. Choose another {option('select')}.")
    return place


def folders(place: Path) -> list[Path]:
    """The folders of the fits of a path that is done, in order."""
    return sorted((place / FOLDER).iterdir())


def member_runs(run: Run) -> list[Run]:
    """The fits of the path that a fit was chosen from, in order, where they lie beside it; else none."""
    told, place = run.summary.get("path"), run.path.resolve().parent
    if told is None or not (place / FOLDER).is_dir():
        return []
    found = [read_run(folder) for folder in folders(place)]
    if len(found) != len(told["fits"]):
        raise DataError(
            f"{place / FOLDER} has {len(found)} fits, and {run.place} was chosen from {len(told['fits'])}. Fit again."
        )
    return found


# --- on disk, while it is not done ---


def begin(folder: Path, about: Mapping[str, Any]) -> None:
    """Say in the folder of checkpoints which path it is that is not done."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    whole_file(folder / PATH, json.dumps(about).encode())


def about(folder: Path) -> dict[str, Any] | None:
    """Which path in that folder of checkpoints is not done; None without one. DataError where that is damaged."""
    path = folder / PATH
    if not path.is_file() or path.is_symlink() or (folder / FOLDER).is_symlink():
        return None
    return dict(schemas.read(path, "path"))


def kept(folder: Path) -> list[Path]:
    """What lies there of the fits of a path."""
    return sorted((folder / FOLDER).glob("*"))


def discard(folder: Path) -> None:
    """Remove the fits of a path that is done, or is to begin anew."""
    if folder.is_symlink():
        return
    with suppress(OSError):
        (folder / PATH).unlink(missing_ok=True)
    if not (folder / FOLDER).is_symlink():
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()
