"""Features on two components, as arrows in the circle of correlations, with samples behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from plncli.errors import counted, short, some
from plncli.plots import style
from plncli.plots.components.ordination import Components
from plncli.plots.components.samples import key, labels, look, marks, shades

NAME = 5.5
"""Size of the names of arrows, in points."""


def draw(record: Components, width: float) -> Figure:
    """The circle of correlations: features as arrows, their names beside it, and samples behind.

    Samples lie at their scores, in standard deviations of a component, all scaled alike: the projection of a sample on
    an arrow is, times a constant, what the two components say of its latent value of that feature, in standard
    deviations.
    """
    tips, scores = record.correlations, record.scores[:, list(record.axes)]
    drawn = np.argsort(-(tips**2).sum(1), kind="stable")[: record.top]
    notes = record.notes
    if len(drawn) < len(record.features):
        notes += (f"Arrows: the {len(drawn)} of {len(record.features)} features that the two components explain best.",)
    names = [short(record.features[j], 24 if width > style.NARROW else 16) for j in drawn]
    room = width - 10.0  # of the axes, in mm
    figure = style.blank(width, width)
    half = 1.22 / (1.0 - 2.0 * style.longest(figure, names, NAME) / room)
    unit = 0.5 * room / half
    figure.set_figheight((2.24 * unit + (30.0 if record.colouring else 20.0) + 5.0 * len(notes)) * style.MM)
    axes, colours = figure.subplots(), shades(record.colouring, style.PALE)
    reach = float(np.sqrt((scores**2).sum(1)).max()) or 1.0
    marks(axes, scores / reach, colours, **look(len(scores), faint=True))
    key(figure, axes, colours)
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color=style.GREY, linewidth=0.5))
    for line, end in ((axes.hlines, (-1.0, 1.0)), (axes.vlines, (-1.0, 1.0))):
        line(0.0, *end, color=style.PALE, linewidth=0.5, zorder=0)
    for x, y in tips[drawn]:
        axes.annotate(
            "", (x, y), (0.0, 0.0), arrowprops={"arrowstyle": "-|>,head_length=0.3,head_width=0.15", "color": "black",
            "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    axes.set(xlim=(-half, half), ylim=(-1.12, 1.12), aspect="equal", xticks=[-1, 0, 1], yticks=[])
    axes.spines["bottom"].set_bounds(-1.0, 1.0)
    axes.spines["left"].set_visible(False)
    labels(axes, record, "correlation with ")
    lost = _beside(axes, tips[drawn], names, 2.4 / unit)
    notes += colours.notes
    style.footnote(figure, (*notes, f"{counted(lost, 'name')} had no room.") if lost else notes)
    return figure


def _beside(axes: Axes, tips: np.ndarray, names: list[str], pitch: float) -> int:
    """Names, `pitch` apart, in a column left or right of the circle, each with a line to its tip; how many had no room.

    Both columns have the order of the tips, so that lines do not cross; the middle ones go where there is more room.
    """
    most = int(2.2 / pitch)
    right = tips[:, 0] >= 0.0
    for side in (True, False):
        here = np.flatnonzero(right == side)
        if len(here) > most:
            right[here[np.argsort(np.abs(tips[here, 0]), kind="stable")][: len(here) - most]] = not side
    lost = 0
    for side, edge in ((True, 1.18), (False, -1.18)):
        here = np.flatnonzero(right == side)[:most]  # the strongest
        lost += int((right == side).sum()) - len(here)
        here = here[np.argsort(tips[here, 1], kind="stable")]
        heights = _spread(1.12 * tips[here, 1], pitch, 1.1)
        for j, height in zip(here, heights, strict=True):
            axes.plot([tips[j, 0], edge], [tips[j, 1], height], color=style.GREY, linewidth=0.35, zorder=1)
            beside: dict[str, Any] = {"ha": "left" if side else "right", "va": "center", "fontsize": NAME}
            axes.text(1.02 * edge, height, names[j], **beside)
    return lost


def _spread(heights: np.ndarray, pitch: float, end: float) -> np.ndarray:
    """Rising heights (m,) at least `pitch` apart within ±end, as near to the given ones as a few passes bring them."""
    out = heights.copy()
    for _ in range(200):
        gaps = np.diff(out)
        push = np.maximum(pitch - gaps, 0.0) / 2.0
        if not push.any():
            break
        out[:-1] -= push
        out[1:] += push
        out = np.clip(out, -end, end)
    steps = pitch * np.arange(len(out))  # what a few passes leave together at an end
    level = np.maximum.accumulate(np.maximum(out - steps, -end))
    return np.minimum(level, end - pitch * (len(out) - 1)) + steps


# In words


def describe(record: Components) -> str:
    """The features that are explained best."""
    tips = record.correlations
    strong = np.argsort(-(tips**2).sum(1), kind="stable")[:5]
    told = (f"{record.features[j]} ({tips[j, 0]:.2f}, {tips[j, 1]:.2f})" for j in strong)
    return f"Correlations of features with {' and '.join(record.names)}; the largest are those of {some(told)}."


def table(record: Components) -> dict[str, Any]:
    """Correlations of all features with the axes drawn."""
    return {"feature": list(record.features), **dict(zip(record.names, record.correlations.T, strict=True))}
