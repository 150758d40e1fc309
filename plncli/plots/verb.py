"""`plot`: pictures of finished fits, or of the table of a cross-validation, into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plncli import runtime
from plncli.console import Console
from plncli.errors import PlncliError, UsageError
from plncli.names import OF_VALIDATION
from plncli.names import PLOT_FORMATS as FORMATS
from plncli.plots import VALIDATION, draw, kinds, mean_of, style
from plncli.plots.kind import Kind
from plncli.plots.source import Source, Wanted
from plncli.runs.run import Run, read_run
from plncli.tables.atomic import whole_file, whole_folder, write_file
from plncli.tables.target import check_file, check_target
from plncli.tables.writing import FORMATS as TABLES
from plncli.tables.writing import table, table_bytes
from plncli.verbs.plot import EVERY, NAMES, Asked
from plncli.verbs.predict import warnings


def plot(asked: Asked, say: Console) -> int:
    """Draw what is asked for, and write it."""
    with runtime.memory_guard():
        if asked.name == OF_VALIDATION:
            _draw_validation(asked, say)
        elif asked.name == EVERY:
            _draw_every(asked, say)
        else:
            _draw_one(asked, say)
    return 0


# What is asked for


FLAGS = {"terms": "--term", "responses": "--only", "contrasts": "--contrast"}
"""Options that are not called like their field of `Wanted`."""


OF_PICTURES = ("top", "color", "ellipse")
"""Options that matter to pictures, and not to the numbers in them."""


def _check_taken(asked: Asked, kind: Kind) -> None:
    """UsageError for an option that means nothing to the kind."""
    for key in asked.wanted:
        if key not in kind.takes:
            raise UsageError(f"{FLAGS.get(key, '--' + key.replace('_', '-'))} does not go with {asked.name}.")


def _sources(asked: Asked) -> list[Source]:
    """The runs; UsageError for a table in the place of one."""
    for place in map(Path, asked.places):
        if place.is_file() and place.suffix[1:] in TABLES:
            raise UsageError(f"{place} is a table, from which only {OF_VALIDATION} is drawn. Give the folder of a fit.")
    return [Source(read_run(Path(place)), asked.moved) for place in asked.places]


def _kind(asked: Asked, run: Run) -> Kind:
    """The kind for fits of the run's model. UsageError for one that is for other models."""
    offered = kinds(run.model, mean_of(run))
    if asked.name not in offered:
        other = kinds(run.model).get(asked.name)
        if other is not None:
            raise UsageError(
                f"{asked.name} is of fits with a {other.mean} mean, and {run.place} has a {mean_of(run)} one. There "
                f"are: {', '.join(offered)}."
            )
        raise UsageError(
            f"{asked.name} is not for a fit of the model {run.model}, as {run.place} is. There are: "
            f"{', '.join(offered)}."
        )
    return offered[asked.name]


def _file(asked: Asked, name: str, kind: Kind) -> tuple[Path, str]:
    """The file to write, and its format, before any work is done. UsageError for what means nothing to a table."""
    path = Path(asked.out or f"{name}-{asked.name}.{asked.suffix}")
    suffix = check_file(path, asked.overwrite, formats=FORMATS + TABLES if kind.table else FORMATS)
    of_pictures = [key for key in OF_PICTURES if key in asked.wanted] if suffix in TABLES else []
    if of_pictures:
        raise UsageError(f"--{of_pictures[0]} is for pictures; the table {path} has every row. Leave it out.")
    return path, suffix


# Drawing


def _draw_validation(asked: Asked, say: Console) -> None:
    """The picture of a table of `plncli cv`."""
    _check_taken(asked, VALIDATION)
    place = Path(asked.places[0])
    path, suffix = _file(asked, place.name.partition(".")[0], VALIDATION)
    _write(asked, path, suffix, VALIDATION, VALIDATION.content(place), say)


def _draw_one(asked: Asked, say: Console) -> None:
    """One picture, of a run or of several."""
    sources = _sources(asked)
    kind = _kind(asked, sources[0].run)
    _check_taken(asked, kind)
    path, suffix = _file(asked, sources[0].name, kind)
    records = [kind.content(source, Wanted(**asked.wanted)) for source in sources]
    if asked.name != "loss":  # which shows how a fit ended
        _warn(sources[0].run, say)
    _write(asked, path, suffix, kind, kind.together(records) if kind.together else records[0], say)


def _draw_every(asked: Asked, say: Console) -> None:
    """All pictures that apply to a run, into a folder; what cannot be drawn is said."""
    source = _sources(asked)[0]
    folder = Path(asked.out or f"{source.name}-pictures")
    check_target(folder, asked.overwrite, {f"{name}.{suffix}" for name in NAMES for suffix in FORMATS})
    _warn(source.run, say)
    drawn = []
    with whole_folder(folder) as partial:
        for name, kind in kinds(source.run.model, mean_of(source.run)).items():
            if (kind.needs and kind.needs not in asked.wanted) or not kind.applies(source.run):
                continue
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
    columns = kind.table(record) if kind.table and suffix in TABLES else None
    if columns is None:
        made = style.save(draw(kind, record, asked.width), suffix, asked.dpi)
    else:
        made = table_bytes(table(columns), suffix)
    whole_file(path, made)
    for sentence in record.notes:
        say.note(f"note: {sentence}")
    say.note(f"The {'picture' if columns is None else 'table'} is in {path}.")


def _warn(run: Run, say: Console) -> None:
    for sentence in warnings(run):
        say.warn(sentence)
