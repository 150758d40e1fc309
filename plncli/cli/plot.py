"""`plncli plot RUN KIND`: pictures of finished fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli.cli.options import Quiet, moved_table
from plncli.console import Console
from plncli.errors import PlncliError, UsageError, nearest
from plncli.names import LAST_SEED, OF_VALIDATION, PICTURES, WIDTHS
from plncli.names import PICTURE_FORMATS as FORMATS

if TYPE_CHECKING:
    from plncli.plots import Kind
    from plncli.plots.source import Source
    from plncli.runs.run import Run

EVERY = "all"
NAMES = tuple(dict.fromkeys([*(name for names in PICTURES.values() for name in names), OF_VALIDATION, EVERY]))
OFFERED = "; ".join(f"{model}: {', '.join(names)}" for model, names in PICTURES.items())
NARROWEST, WIDEST = 40.0, 1000.0
FLAGS = {"terms": "--term", "responses": "--only"}
"""Options that are not called like their field of `Wanted`."""
LOOK = "Size and format"

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN... KIND",
        help=f"Folder that `plncli fit` wrote (loss: one or several; cv: the file of `plncli cv --out`), and the kind "
        f"of picture. {OFFERED}; all: each of these; cv.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE|DIR",
        help="Write it there: .png, .svg or .pdf; for all, a folder. [default: RUN-KIND.png, RUN-pictures]",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file or folder of --out if there is one.")]
Top = Annotated[
    int | None,
    typer.Option(
        "--top", metavar="N", min=1, help="Coefficients (20), or arrows of the biplot (10).", show_default=False
    ),
]
Terms = Annotated[
    list[str] | None,
    typer.Option(
        "--term", metavar="NAME", help="Coefficients of this term alone; may be repeated.", show_default=False
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="This feature or response alone; may be repeated.", show_default=False),
]
Color = Annotated[
    str | None,
    typer.Option(
        "--color",
        metavar="COLUMN",
        help="Colour samples by a column of the covariates of the fit, or of --covariates.",
        show_default=False,
    ),
]
Remove = Annotated[
    bool, typer.Option("--remove-covariates", help="Components of M - XB: the part that covariates don't explain.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, max=LAST_SEED, help="Of residuals.", show_default=False)
]
Width = Annotated[
    str | None,
    typer.Option(
        "--width",
        metavar="single|double|MM",
        help="Of a column (85 mm), a page (178 mm), or in mm. [default: what suits the kind]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]
Dpi = Annotated[
    int, typer.Option("--dpi", metavar="N", min=30, max=2400, help="Pixels an inch of png.", rich_help_panel=LOOK)
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="Without --out FILE, whose suffix tells it. [default: png]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]


def plot(
    words: Words,
    out: Out = None,
    overwrite: Overwrite = False,
    top: Top = None,
    term: Terms = None,
    only: Only = None,
    color: Color = None,
    remove_covariates: Remove = False,
    seed: Seed = None,
    width: Width = None,
    dpi: Dpi = 300,
    format: Format = None,
    counts: Annotated[str | None, moved_table("counts")] = None,
    response: Annotated[str | None, moved_table("response")] = None,
    covariates: Annotated[str | None, moved_table("covariates")] = None,
    exposure: Annotated[str | None, moved_table("exposure")] = None,
    offsets: Annotated[str | None, moved_table("offsets")] = None,
    weights: Annotated[str | None, moved_table("weights")] = None,
    cluster: Annotated[str | None, moved_table("cluster")] = None,
    precision: Annotated[str | None, moved_table("precision")] = None,
    quiet: Quiet = False,
) -> int:
    """Draw a finished fit: how it ended, coefficients, covariances, components, and whether the model holds.

    Pictures of data read the tables of the fit again, which must not have changed.
    """
    places, name = _words(words)
    wanted = {
        "top": top,
        "terms": tuple(term or ()),
        "responses": tuple(only or ()),
        "color": color,
        "remove_covariates": remove_covariates,
        "seed": seed,
    }
    moved = {
        "counts": counts,
        "response": response,
        "covariates": covariates,
        "exposure": exposure,
        "offsets": offsets,
        "weights": weights,
        "cluster": cluster,
        "precision": precision,
    }
    asked = Asked(
        places,
        name,
        {key: value for key, value in wanted.items() if value not in (None, (), False)},
        {key: path for key, path in moved.items() if path is not None},
        _width(width),
        dpi,
        _format(format, out, name),
    )
    say = Console(quiet)
    from plncli import runtime

    with runtime.memory_guard():
        if name == OF_VALIDATION:
            _draw_validation(asked, out, overwrite, say)
        elif name == EVERY:
            _draw_every(asked, out, overwrite, say)
        else:
            _draw_one(asked, out, overwrite, say)
    return 0


@dataclass(frozen=True)
class Asked:
    """What is drawn, and how.

    places: of runs, or of the table of `plncli cv`; wanted: fields of `pictures.source.Wanted`; moved: tables by
    option; width: in mm, None for what suits the kind; suffix: the format where no file tells it.
    """

    places: tuple[str, ...]
    name: str
    wanted: dict[str, Any]
    moved: dict[str, str]
    width: float | None
    dpi: int
    suffix: str


# What is asked for


def _words(words: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The runs and the kind, which stands last. UsageError for what is no kind, or no run."""
    *places, name = words
    if name not in NAMES:
        kind = next((word for word in words if word in NAMES), None)
        if kind:
            others = [word for word in words if word != kind]
            raise UsageError(f"The kind stands last: plncli plot {' '.join([*others, kind])}.")
        if not places:
            raise UsageError(f"Which picture? plncli plot {name} KIND, KIND being one of {', '.join(NAMES)}.")
        raise UsageError(f"There is no picture `{name}`.{nearest(name, NAMES)} There are: {', '.join(NAMES)}.")
    if not places:
        raise UsageError(f"{name} of what? plncli plot {'FILE' if name == OF_VALIDATION else 'RUN'} {name}.")
    if len(places) > 1 and name != "loss":
        raise UsageError(f"{name} is drawn of one run, not of {len(places)}; only loss is of several together.")
    twice = [place for place in places if places.count(place) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is given twice.")
    return tuple(places), name


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


def _check_taken(asked: Asked, kind: Kind) -> None:
    """UsageError for an option that means nothing to the kind."""
    for key in asked.wanted:
        if key not in kind.takes:
            raise UsageError(f"{FLAGS.get(key, '--' + key.replace('_', '-'))} does not go with {asked.name}.")


def _sources(asked: Asked) -> list[Source]:
    """The runs; UsageError for a table in the place of one."""
    from plncli.plots.source import Source
    from plncli.runs.run import read_run
    from plncli.tables.writing import FORMATS as TABLES

    for place in map(Path, asked.places):
        if place.is_file() and place.suffix[1:] in TABLES:
            raise UsageError(f"{place} is a table, from which only {OF_VALIDATION} is drawn. Give the folder of a fit.")
    return [Source(read_run(Path(place)), asked.moved) for place in asked.places]


def _kind(asked: Asked, run: Run) -> Kind:
    """The kind for fits of the run's model. UsageError for one that is for other models."""
    from plncli.plots import kinds

    offered = kinds(run.model)
    if asked.name not in offered:
        raise UsageError(
            f"{asked.name} is not for a fit of the model {run.model}, as {run.place} is. There are: "
            f"{', '.join(offered)}."
        )
    return offered[asked.name]


def _file(asked: Asked, out: str | None, overwrite: bool, name: str) -> tuple[Path, str]:
    """The file to write, and its format, before any work is done."""
    from plncli.tables.target import check_file

    path = Path(out or f"{name}-{asked.name}.{asked.suffix}")
    return path, check_file(path, overwrite, formats=FORMATS)


# Drawing


def _draw_validation(asked: Asked, out: str | None, overwrite: bool, say: Console) -> None:
    """The picture of a table of `plncli cv`."""
    from plncli.plots import VALIDATION

    _check_taken(asked, VALIDATION)
    place = Path(asked.places[0])
    path, suffix = _file(asked, out, overwrite, place.name.partition(".")[0])
    _write(asked, path, suffix, VALIDATION, VALIDATION.content(place), say)


def _draw_one(asked: Asked, out: str | None, overwrite: bool, say: Console) -> None:
    """One picture, of a run or of several."""
    from plncli.plots.source import Wanted

    sources = _sources(asked)
    kind = _kind(asked, sources[0].run)
    _check_taken(asked, kind)
    path, suffix = _file(asked, out, overwrite, sources[0].name)
    records = [kind.content(source, Wanted(**asked.wanted)) for source in sources]
    if asked.name != "loss":  # which shows how a fit ended
        _warn(sources[0].run, say)
    _write(asked, path, suffix, kind, kind.together(records) if kind.together else records[0], say)


def _draw_every(asked: Asked, out: str | None, overwrite: bool, say: Console) -> None:
    """All pictures that apply to a run, into a folder; what cannot be drawn is said."""
    from plncli.plots import draw, kinds, style
    from plncli.plots.source import Wanted
    from plncli.tables.atomic import whole_folder, write_file
    from plncli.tables.target import check_target

    source = _sources(asked)[0]
    folder = Path(out or f"{source.name}-pictures")
    check_target(folder, overwrite, {f"{name}.{suffix}" for name in NAMES for suffix in FORMATS})
    _warn(source.run, say)
    drawn = []
    with whole_folder(folder) as partial:
        for name, kind in kinds(source.run.model).items():
            try:
                record = kind.content(source, Wanted(**asked.wanted))
            except PlncliError as error:
                say.note(f"note: {name} is left out: {error}")
                continue
            picture = style.save(draw(kind, record, asked.width), asked.suffix, asked.dpi)
            write_file(partial / f"{name}.{asked.suffix}", picture)
            drawn.append(name)
            for sentence in record.notes:
                say.note(f"note: {name}: {sentence}")
    say.note(f"The pictures are in {folder}: {', '.join(drawn)}.")


def _write(asked: Asked, path: Path, suffix: str, kind: Kind, record: Any, say: Console) -> None:
    from plncli.plots import draw, style
    from plncli.tables.atomic import whole_file

    whole_file(path, style.save(draw(kind, record, asked.width), suffix, asked.dpi))
    for sentence in record.notes:
        say.note(f"note: {sentence}")
    say.note(f"The picture is in {path}.")


def _warn(run: Run, say: Console) -> None:
    from plncli.cli.predict import warnings

    for sentence in warnings(run):
        say.warn(sentence)
