"""Samples on components: two of them with ellipses, or the first few, each against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plncli.errors import counted, short, some
from plncli.plots import style
from plncli.plots.colouring import Colouring
from plncli.plots.components.ellipses import SAID
from plncli.plots.components.ordination import Components, ends

LEVELS = len(style.SERIES) - 1
FEW = 400
"""Samples up to which intervals of scores are drawn."""
NORMAL = 1.959964
"""The quantile of 97.5 % of the normal distribution."""


@dataclass(frozen=True)
class Shades:
    """Colours of n samples (of none: one for all), and of levels by code; the key to them, and what must be said.

    numbers: the scale of a numeric covariate, for a bar in place of the key.
    """

    samples: Any
    levels: tuple[str, ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    title: str = ""
    numbers: ScalarMappable | None = None
    notes: tuple[str, ...] = ()


def shades(colours: Colouring | None, plain: str = style.BLUE) -> Shades:
    """The most frequent levels in colours, the others in grey; numbers on a scale, missing ones in grey."""
    if colours is None:
        return Shades(plain)
    title = short(colours.name, 40)
    if not colours.levels:
        known = ~np.isnan(colours.values)
        seen = colours.values[known]
        limits = Normalize(*((seen.min(), seen.max()) if len(seen) else (0.0, 1.0)))
        scale = ScalarMappable(limits, style.NUMERIC)
        told = f"{counted(int((~known).sum()), 'sample')} without {colours.name} in grey."
        values = [scale.to_rgba(x) if there else style.PALE for x, there in zip(colours.values, known, strict=True)]
        return Shades(values, title=title, numbers=scale, notes=() if known.all() else (told,))
    sizes = np.bincount(colours.values[colours.values >= 0], minlength=len(colours.levels))
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:LEVELS])
    found = np.array([style.PALE] * (len(colours.levels) + 1), dtype=object)  # the last one: missing
    found[chosen] = style.SERIES[: len(chosen)]
    key = [(short(colours.levels[k], 24), found[k]) for k in chosen]
    others = len(colours.levels) - len(chosen)
    key += [(f"{others} other levels", style.PALE)] if others else []
    key += [("missing", style.PALE)] if (colours.values < 0).any() else []
    notes = (f"Colours: the {len(chosen)} most frequent of {len(colours.levels)} levels.",) if others else ()
    return Shades(list(found[colours.values]), tuple(found[:-1]), tuple(key), title, notes=notes)


def look(n: int, faint: bool = False) -> dict[str, Any]:
    """Of the marks of n samples."""
    many = n > 1000
    plain = {"s": 2.5 if many else 9.0, "linewidths": 0, "rasterized": n > style.MANY, "zorder": 1.5}
    return plain | {"alpha": 0.35 if faint else 0.6 if many else 0.85}


def marks(axes: Axes, at: np.ndarray, colours: Shades, **how: Any) -> None:
    """Samples at n×2 in their colours."""
    shade = {"color": colours.samples} if isinstance(colours.samples, str) else {"c": colours.samples}
    axes.scatter(at[:, 0], at[:, 1], **shade, **how)


def key(figure: Figure, axes: Axes | None, colours: Shades, bar: Axes | None = None, **where: Any) -> None:
    """What the colours stand for: a key, above unless it is told where; of numbers, a bar beside axes, or in `bar`."""
    if colours.numbers is not None:
        place: dict[str, Any] = {"ax": axes, "fraction": 0.04, "pad": 0.02, "label": colours.title}
        figure.colorbar(colours.numbers, **(place if bar is None else {"cax": bar})).outline.set_visible(False)
        if bar is not None:
            bar.set_title(colours.title, loc="right", fontsize=style.TEXT)
    elif colours.key:
        handles = [
            Line2D([], [], marker="o", ms=3.0, linestyle="", color=colour, label=name) for name, colour in colours.key
        ]
        place = {"handletextpad": 0.2, "columnspacing": 1.0, "title_fontsize": style.TEXT}
        place |= where or {"loc": "outside upper left", "ncols": 4}
        figure.legend(handles=handles, title=colours.title, **place)


# Two components


def draw(record: Components, width: float) -> Figure:
    """Samples on two components."""
    figure = style.blank(width, min(0.86 * width, 130.0))
    axes, colours, at = figure.subplots(), shades(record.colouring), record.positions
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=style.PALE, linewidth=0.5, zorder=0)
    marks(axes, at, colours, **look(len(at)))
    around = np.linspace(0.0, 2.0 * np.pi, 121)
    for one in record.ellipses:
        colour = colours.levels[one.code]
        if colour != style.PALE:  # which stands for several
            x, y = one.centre[:, None] + one.shape @ np.array([np.cos(around), np.sin(around)])
            axes.plot(x, y, color=colour, linewidth=0.8, zorder=1.2)
            axes.plot(*one.centre[:, None], marker="+", color=colour, markersize=5.0, zorder=2.0)
    said = (SAID[record.ellipse],) if record.ellipses else ()
    notes = (*record.notes, *said, *_intervals(axes, record, colours), *colours.notes)
    key(figure, axes, colours)
    labels(axes, record)
    axes.set_aspect("equal", adjustable="datalim")
    style.footnote(figure, notes)
    return figure


def _intervals(axes: Axes, record: Components, colours: Shades) -> tuple[str, ...]:
    """Intervals of the scores given the counts, where they are known and can be told apart; what they are."""
    if record.scores_sd is None or len(record.samples) > FEW:
        return ()
    (x, y), (sx, sy) = record.positions.T, (NORMAL * record.scores_sd[:, list(record.axes)] * record.lengths).T
    how: dict[str, Any] = {"colors": colours.samples, "linewidth": 0.4, "alpha": 0.5, "zorder": 1.3}
    axes.hlines(y, x - sx, x + sx, **how)
    axes.vlines(x, y - sy, y + sy, **how)
    return ("Lines: 95 % intervals of the scores, given the counts.",)


def labels(axes: Axes, record: Components, before: str = "") -> None:
    """Names of the axes with their shares of the variance, and what they are components of."""
    first, second = titles(record)
    axes.set(xlabel=before + first, ylabel=before + second)
    axes.set_title(record.of, loc="left", color=style.GREY)


def titles(record: Components) -> list[str]:
    """Of axes: the name of the component and its share."""
    return [f"{name} ({100.0 * share:.1f} %)" for name, share in zip(record.names, record.shares, strict=True)]


# Several


def draw_pairs(record: Components, width: float) -> Figure:
    """Each component against each other, and along the diagonal how samples are distributed on it, by level."""
    many, colours, at = len(record.axes), shades(record.colouring), record.positions
    figure = style.blank(width, 0.94 * width)
    grid = figure.subplots(many, many, sharex="col", squeeze=False)
    told, pitch = [title.replace(" (", "\n(") for title in titles(record)], (width - 14.0) / many
    size = min(7.0, 0.5 * pitch)
    for row, column in np.ndindex(many, many):
        axes: Any = grid[row, column]
        if column > row:
            axes.set_axis_off()
        elif column == row:
            _densities(axes, at[:, row], record.colouring, colours)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        else:
            marks(axes, at[:, [column, row]], colours, **look(len(at)) | {"s": 2.0 if len(at) > 400 else 4.0})
            axes.tick_params(labelleft=column == 0)
        axes.tick_params(labelsize=min(style.TEXT, 0.42 * pitch))
        for axis in (axes.xaxis, axes.yaxis)[: 2 if row > column else 1]:
            axis.set_major_locator(MaxNLocator(max(1, min(int(pitch / 9.0), 5)), steps=[1, 2, 5, 10]))
        if row == many - 1:
            axes.set_xlabel(told[column], fontsize=size)
        if column == 0 and row:
            axes.set_ylabel(told[row], fontsize=size)
    figure.suptitle(record.of, x=0.01, ha="left", fontsize=7.0, color=style.GREY)
    grid[0, -1].set_in_layout(False)
    corner = grid[0, -1].inset_axes((0.45, 0.0, 0.12, 0.8)) if colours.numbers else None
    key(figure, None, colours, corner, loc="upper right", ncols=1, bbox_to_anchor=(0.99, 1.0 - 5.0 / (0.94 * width)))
    style.footnote(figure, (*record.notes, *colours.notes))
    return figure


def _densities(axes: Axes, x: np.ndarray, colouring: Colouring | None, colours: Shades) -> None:
    """How the values x (n,) are distributed: of each level in a colour, or of all; areas are shares of the samples."""
    span = float(np.ptp(x)) or 1.0
    at = np.linspace(x.min() - 0.08 * span, x.max() + 0.08 * span, 200)
    groups = [(style.GREY, x)]
    if colouring is not None and colouring.levels:
        shaded = [(code, colour) for code, colour in enumerate(colours.levels) if colour != style.PALE]
        groups = [(colour, x[colouring.values == code]) for code, colour in shaded]
    for colour, own in groups:
        y = len(own) / len(x) * density(own, at)
        axes.fill_between(at, y, color=colour, alpha=0.25, linewidth=0)
        axes.plot(at, y, color=colour, linewidth=0.8)
    axes.set_ylim(bottom=0.0)


def density(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The Gaussian kernel estimate of the density of x (n,) at (m,), with the bandwidth of Silverman (1986, eq. 3.31).

    0 for fewer than two different values.
    """
    if len(x) < 2 or not np.ptp(x):
        return np.zeros(len(at))
    quartiles = np.quantile(x, (0.25, 0.75))
    spread = min(filter(None, (float(x.std(ddof=1)), float(np.diff(quartiles)[0]) / 1.34)))
    h = 0.9 * spread * len(x) ** -0.2
    sums = np.array([np.exp(-0.5 * ((one - x) / h) ** 2).sum() for one in at])
    return sums / (len(x) * h * np.sqrt(2.0 * np.pi))


# In words


def describe(record: Components) -> str:
    """What the components show."""
    strong = np.argsort(-(record.correlations**2).sum(1), kind="stable")[:3]
    told = ", ".join(titles(record)[:-1]) + f" and {titles(record)[-1]}"
    return (
        f"{counted(len(record.scores), 'sample')} on {told} of the variance{_coloured(record)}. The features that they "
        f"explain best are {some(record.features[k] for k in strong)}."
    )


def _coloured(record: Components) -> str:
    if record.colouring is None:
        return ""
    levels = f" ({some(record.colouring.levels, 8)})" if record.colouring.levels else ""
    return f", coloured by {record.colouring.name}{levels}"


def ends_told(name: str, c: np.ndarray, features: tuple[str, ...], most: int) -> str:
    """The features at both ends of a component."""
    high, low = ends(c, most)
    parts = [(high, "more of"), (low, "less of")]
    return f"{name}: " + "; ".join(f"{what} {some(features[j] for j in of)}" for of, what in parts if of)


def table(record: Components) -> dict[str, Any]:
    """Positions of the samples on the axes drawn, and their standard deviations given the counts, where known."""
    columns = dict(zip(record.names, record.positions.T, strict=True))
    if record.scores_sd is not None:
        sd = record.scores_sd[:, list(record.axes)] * record.lengths
        columns |= {f"{name}_sd": values for name, values in zip(record.names, sd.T, strict=True)}
    return {"sample": list(record.samples), **columns}
