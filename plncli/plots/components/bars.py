"""What components hold and what makes them: shares of the variance, and the largest loadings at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plncli.errors import counted, short
from plncli.plots import style
from plncli.plots.components.ordination import chosen_axes, components, ends
from plncli.plots.components.samples import ends_told
from plncli.plots.source import Source, Wanted

FEW = 3
"""Components for which there is room, be there fewer."""
INSIDE = 15.0
"""Share in % above which it is written within the bar."""
ENDS, MOST = 5, 50
"""Features at each end of a component: usually, and at most."""
PANELS = 6
ROW = 3.2
"""Height in mm of a bar with its name."""


@dataclass(frozen=True)
class Scree:
    """By component (r,): the variance of the latent values along it, in squared log units, and its share of all."""

    names: tuple[str, ...]
    variance: np.ndarray
    share: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loadings:
    """Loadings of p features on a components, a×p, and how many are drawn at each end."""

    features: tuple[str, ...] = field(repr=False)
    names: tuple[str, ...]
    shares: np.ndarray
    loadings: np.ndarray = field(repr=False)
    top: int = ENDS
    notes: tuple[str, ...] = ()


def scree(source: Source, _: Wanted) -> Scree:
    """Variances along the components of the fit."""
    C = components(source).loadings
    variance, share = (C**2).sum(0), source.run.estimates["share"].astype(float)
    note = f"Shares are of the variance that the {counted(len(share), 'component')} of this fit have together."
    return Scree(source.run.components, variance, share, (note,))


def loadings(source: Source, wanted: Wanted) -> Loadings:
    """Loadings on the first components, or on those that are asked for."""
    made, shares = components(source), source.run.estimates["share"].astype(float)
    axes = chosen_axes(source, made.loadings.shape[1], wanted.axes, PANELS, 1, 2 * PANELS)
    names = tuple(source.run.components[k] for k in axes)
    left = () if wanted.axes or len(axes) == len(shares) else (f"The first {len(axes)} of {len(shares)} components.",)
    top = min(ENDS if wanted.top is None else wanted.top, MOST)
    return Loadings(made.features, names, shares[list(axes)], made.loadings.T[list(axes)], top, left)


# Drawing


def draw_scree(record: Scree, width: float) -> Figure:
    """Bars of the shares, and a line of their sums."""
    figure = style.blank(width, min(0.7 * width, 80.0))
    axes, share = figure.subplots(), 100.0 * record.share
    at, sums = np.arange(1, len(share) + 1), np.cumsum(share)
    axes.bar(at, share, color=style.BLUE, width=0.7)
    axes.plot(at, sums, color=style.RED, marker="o", markersize=2.5)
    pitch = (width - 12.0) * style.POINTS / (max(len(share), FEW) + 0.4)
    size = min(style.TEXT, 0.3 * pitch)  # of labels, which are three times as wide
    if size >= style.SMALLEST:
        label: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": size}
        for x, one, together in zip(at, share, sums, strict=True):
            within: dict[str, Any] = {"xytext": (0, -3), "va": "top", "color": "white"}
            where = within if one > INSIDE else {"xytext": (0, 2)}
            axes.annotate(f"{one:.1f}", (x, one), **label, **where)
            if x > 1:
                axes.annotate(f"{together:.1f}", (x, together), (0, 4), color=style.RED, **label)
    axes.set(ylim=(0.0, 112.0), yticks=np.arange(0, 101, 20), xlabel="component", ylabel="share of the variance (%)")
    step = next(step for step in (1, 5, 10, 50, len(share)) if step * pitch > 2.5 * style.TEXT)
    axes.set(xlim=(0.4, max(len(share), FEW) + 0.6), xticks=at[step - 1 :: step])
    axes.spines["left"].set_bounds(0.0, 100.0)
    line, (bar, *_) = axes.lines[0], axes.patches
    figure.legend(handles=[bar, line], labels=["component", "cumulative"], loc="outside upper left", ncols=2)
    style.footnote(figure, record.notes)
    return figure


def draw_loadings(record: Loadings, width: float) -> Figure:
    """A panel a component: the largest loadings, positive ones above."""
    chosen = [[*high, *reversed(low)] for high, low in (ends(c, record.top) for c in record.loadings)]
    rows = max(map(len, chosen))
    figure, grid = style.panels(len(chosen), width, ROW * max(rows, 3) + 14.0)
    notes = record.notes
    for axes, name, share, c, order in zip(grid, record.names, record.shares, record.loadings, chosen, strict=True):
        names = [short(record.features[j], 24 if width > style.NARROW else 14) for j in order]
        bars(axes, names, [(c[order], None)], rows)
        axes.axvline(0.0, color="black", linewidth=0.6)
        axes.set_title(f"{name} ({100.0 * share:.1f} %)", loc="left")
        axes.set_xlabel("loading")
    if 2 * record.top < len(record.features):
        notes = (f"Features with the largest loadings, up to {record.top} at each end.", *notes)
    style.footnote(figure, notes)
    return figure


def bars(axes: Axes, names: list[str], parts: Sequence[tuple[np.ndarray, str | None]], rows: int = 0) -> None:
    """Bars from the top, each of parts end to end: values (m,) and a colour, or that of their sign.

    rows: that there is room for, as many as names without it.
    """
    at, begin = np.arange(len(names)), np.zeros(len(names))
    for values, colour in parts:
        shaded = np.where(values < 0.0, style.BLUE, style.RED) if colour is None else colour
        axes.barh(at, values, left=begin, height=0.72, color=shaded)
        begin = begin + values
    axes.set_yticks(at, names, fontsize=5.5)
    axes.set_ylim(max(rows, len(names)) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0.0)
    axes.spines["left"].set_visible(False)


# In words


def describe_scree(record: Scree) -> str:
    """What the components hold."""
    told = ", ".join(
        f"{name} {100.0 * share:.1f} %" for name, share in zip(record.names[:8], record.share, strict=False)
    )
    more = f", and {len(record.names) - 8} more" if len(record.names) > 8 else ""
    return f"Shares of the latent variance by component: {told}{more}."


def describe_loadings(record: Loadings) -> str:
    """The features at the ends of each component."""
    told = zip(record.names, record.loadings, strict=True)
    return f"{'. '.join(ends_told(name, c, record.features, 3) for name, c in told)}."


# As tables


def scree_table(record: Scree) -> dict[str, Any]:
    """Variance, share and sum of the shares by component."""
    return {
        "component": list(record.names),
        "variance": record.variance,
        "share": record.share,
        "cumulative": np.cumsum(record.share),
    }


def loadings_table(record: Loadings) -> dict[str, Any]:
    """Loadings of all features on the components drawn."""
    return {"feature": list(record.features), **dict(zip(record.names, record.loadings, strict=True))}
