"""A kind of picture: what makes its record, what draws it, and what it is on a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from plncli.names import WIDTHS
from plncli.runs.run import Run

SINGLE, DOUBLE = WIDTHS["single"], WIDTHS["double"]
SELECTED = ("top", "responses")
"""What many kinds take: the first ones, or those that are named."""


def always(run: Run) -> bool:
    """Every fit has it."""
    del run
    return True


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    content: (source, wanted) -> record; draw: (record, width in mm) -> figure; describe: record -> what is seen, in
    numbers. title and caption (how to read it): of pages; one without a caption is not on pages. width: in mm, unless
    another is asked for. takes: the fields of `Wanted` that matter. data: it needs tables of the fit; several: it says
    nothing of a single response. together: makes one record of those of several fits. table: record -> the numbers, of
    all features or samples, as columns by name. applies: whether a fit has what it shows, where that is not told
    by its model; mean: `linear` or `neural`, where it is of fits with such a mean alone. needs: a field of `Wanted`
    without which there is none.
    """

    content: Callable[..., Any]
    draw: Callable[[Any, float], Figure]
    describe: Callable[[Any], str]
    title: str
    caption: str = ""
    width: float = SINGLE
    takes: tuple[str, ...] = ()
    data: bool = True
    several: bool = False
    together: Callable[[Sequence[Any]], Any] | None = None
    table: Callable[[Any], dict[str, Any]] | None = None
    applies: Callable[[Run], bool] = always
    mean: str = ""
    needs: str = ""
