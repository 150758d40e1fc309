"""Figures of finished fits from Python, and the numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plncli.frames.data import frame, listed, one_of, whole
from plncli.frames.messages import Sayings, tell
from plncli.frames.recovery import truth_of
from plncli.runs.folder import trace_table
from plncli.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from plncli.plots.kind import Kind
    from plncli.plots.source import Source
    from plncli.runs.outcome import Outcome
    from plncli.runs.run import Run
    from plncli.runs.training_data import Origin

NAMED = {"term": "terms", "contrast": "contrasts", "only": "responses"}
"""Arguments that are one name or several, and the fields of `Wanted` that they are."""


def source_of(
    run: Run, outcome: Outcome | None, own: Callable[[], Origin], members: Callable[[], Sequence[Run]]
) -> Source:
    """A fit as pictures and pages ask it; outcome: what it left, None for one that was loaded; members: of its path."""
    from plncli.plots.source import Source

    source = Source(run, own=own, fits=members)
    if outcome is None:
        return source
    cells = trace_table(outcome.result)
    rows = tuple(map(str, range(1, cells.num_rows + 1)))
    trace = Table("the trace", "loss_trace", rows, tuple(cells.column_names), cells)
    return replace(source, trace=trace, told=outcome.manifest)


def figure(source: Source, kind: str, width: float | None, options: dict[str, Any]) -> Figure:
    """The picture of a kind, `width` mm wide; options: as of `plncli plot`.

    UsageError for a kind that is not for the model, or an option of another type.
    """
    from plncli.plots import draw

    chosen, record = _record(source, kind, options)
    return draw(chosen, record, width)


def numbers(source: Source, kind: str, options: dict[str, Any]) -> pd.DataFrame:
    """The numbers of a picture, of all features or samples, by name. UsageError for a kind that has no table."""
    from plncli.plots import kinds, mean_of

    offered = kinds(source.run.model, mean_of(source.run))
    one_of("kind", kind, tuple(name for name, known in offered.items() if known.table))
    chosen, record = _record(source, kind, options)
    assert chosen.table is not None
    made = frame(chosen.table(record))
    return made.set_index(made.columns[0])


def _record(source: Source, kind: str, options: dict[str, Any]) -> tuple[Kind, Any]:
    """A kind, and what is drawn."""
    from plncli.plots import kinds, mean_of
    from plncli.plots.source import Wanted

    offered = kinds(source.run.model, mean_of(source.run))
    one_of("kind", kind, tuple(offered))
    say = Sayings()
    fields = {NAMED.get(name, name): value for name, value in options.items()}
    fields |= {name: tuple(listed(fields[name])) for name in NAMED.values() if name in fields}
    axes = options["axes"]
    several = isinstance(axes, Iterable) and not isinstance(axes, str)
    fields["axes"] = tuple(whole("axes", one) for one in (axes if several else [axes]))
    fields |= {"seed": whole("seed", options["seed"])} if "seed" in options else {}
    if fields.get("truth") is not None:
        fields["truth"] = truth_of(fields["truth"])
    chosen = offered[kind]
    record = chosen.content(source, Wanted(**fields))
    record = record if chosen.together is None else chosen.together([record])
    say.notes += record.notes
    tell(say)
    return chosen, record
