"""`plot`: what is asked for; `plots.verb` draws it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from plncli.errors import UsageError, nearest
from plncli.models import MODELS
from plncli.names import OF_VALIDATION, PLOTS, TABLE_FORMATS, WIDTHS
from plncli.names import PLOT_FORMATS as FORMATS

EVERY, OF_FEATURE = "all", "feature"
"""All kinds, and the kind that names of features may follow."""
OFFERED = {model: tuple(name for name, _ in spec.plots) for model, spec in MODELS.items()}
"""Kinds of plots by model."""
NAMES = (*dict.fromkeys(name for name, _, _ in PLOTS), OF_VALIDATION, EVERY)
NARROWEST, WIDEST = 40.0, 1000.0


@dataclass(frozen=True)
class Asked:
    """What is drawn, and how.

    places: of runs, or of the table of `plncli cv`; wanted: fields of `plots.source.Wanted`; moved: tables by
    option; width: in mm, None for what suits the kind; suffix: the format where no file tells it; out: a file, or for
    all pictures a folder.
    """

    places: tuple[str, ...]
    name: str
    wanted: dict[str, Any]
    moved: dict[str, str]
    width: float | None
    dpi: int
    suffix: str
    out: str | None
    overwrite: bool


def asked(
    words: Sequence[str],
    wanted: Mapping[str, Any],
    moved: Mapping[str, str],
    *,
    out: str | None,
    overwrite: bool,
    width: str | None,
    dpi: int,
    format: str | None,
) -> Asked:
    """What the words and options of the command line ask for; UsageError for what does not go together."""
    places, name, features = _words(words)
    wanted = {**wanted, "responses": (*features, *wanted.get("responses", ())), "axes": _axes(wanted.get("axes"))}
    return Asked(
        places,
        name,
        {key: value for key, value in wanted.items() if value is not None and value != ()},
        dict(moved),
        _width(width),
        dpi,
        _format(format, out, name),
        out,
        overwrite,
    )


def _axes(text: str | None) -> tuple[int, ...]:
    """Components by number, 0 for what is none."""
    words = [] if text is None else text.split(",")
    return tuple(int(word) if re.fullmatch(r" *\d{1,9} *", word) else 0 for word in words)


def _words(words: Sequence[str]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """The runs, the kind, which stands last, and names after OF_FEATURE. UsageError for what is no kind, or no run."""
    end = words.index(OF_FEATURE, 1) + 1 if OF_FEATURE in words[1:] else len(words)
    *places, name = words[:end]
    if name not in NAMES:
        kind = next((word for word in words if word in NAMES), None)
        if kind:
            others = [word for word in words if word != kind]
            raise UsageError(f"The kind stands last: plncli plot {' '.join([*others, kind])}.")
        if not places:
            raise UsageError(_which(name))
        raise UsageError(f"There is no picture `{name}`.{nearest(name, NAMES)} There are: {', '.join(NAMES)}.")
    if not places:
        raise UsageError(f"{name} of what? plncli plot {'FILE' if name == OF_VALIDATION else 'RUN'} {name}.")
    if len(places) > 1 and name != "loss":
        raise UsageError(f"{name} is drawn of one run, not of {len(places)}; only loss is of several together.")
    twice = [place for place in places if places.count(place) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice.")
    return tuple(places), name, tuple(words[end:])


def _which(place: str) -> str:
    """What to say of a run, or of what is none, without a kind."""
    from plncli.runs.run import read_run

    path = Path(place)
    if not path.exists():
        return f"`{place}` is no kind of picture, and no file or folder of that name exists. plncli plot RUN KIND."
    if path.is_file() and path.suffix[1:] in TABLE_FORMATS:
        return f"Which picture? Of a table that `plncli cv --out` wrote: plncli plot {quote(place)} {OF_VALIDATION}."
    offered = (*OFFERED[read_run(path).model], EVERY)
    return f"Which picture? plncli plot {quote(place)} KIND, KIND being one of {', '.join(offered)}."


def _width(text: str | None) -> float | None:
    """In mm; None where it was not given."""
    if text is None or text in WIDTHS:
        return WIDTHS[text] if text else None
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not NARROWEST <= width <= WIDEST:
        raise UsageError(f"--width must be {', '.join(WIDTHS)}, or {NARROWEST:g} to {WIDEST:g} (mm), not `{text}`.")
    return width


def _format(format: str | None, out: str | None, name: str) -> str:
    """The format that was given, or the first; that of a file is told by its suffix."""
    if format is not None and format not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, not `{format}`.")
    if format is not None and out is not None and name != EVERY:
        raise UsageError("--format is for pictures without --out FILE; the suffix of a file tells its format.")
    return format or FORMATS[0]
