"""Figures of finished fits from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plncli.frames.data import listed, one_of, whole
from plncli.frames.messages import Sayings, tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from plncli.plots.source import Source

NAMED = {"term": "terms", "contrast": "contrasts", "only": "responses"}
"""Arguments that are one name or several, and the fields of `Wanted` that they are."""


def figure(source: Source, kind: str, width: float | None, options: dict[str, Any]) -> Figure:
    """The picture of a kind, `width` mm wide; options: as of `plncli plot`.

    UsageError for a kind that is not for the model, or an option of another type.
    """
    from plncli.plots import draw, kinds
    from plncli.plots.source import Wanted

    offered = kinds(source.run.model)
    one_of("kind", kind, tuple(offered))
    say = Sayings()
    fields = {NAMED.get(name, name): value for name, value in options.items()}
    fields |= {name: tuple(listed(fields[name])) for name in NAMED.values()}
    wanted = Wanted(**fields | {"seed": whole("seed", options["seed"])})
    chosen = offered[kind]
    record = chosen.content(source, wanted)
    record = record if chosen.together is None else chosen.together([record])
    say.notes += record.notes
    tell(say)
    return draw(chosen, record, width)
