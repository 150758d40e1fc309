"""Figures of networks: marks as large as their degree, edges as wide as their partial correlation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from plncli.errors import counted, short
from plncli.plots import style
from plncli.plots.network.graph import OTHERS, UNNAMED, Network
from plncli.plots.network.names import beside

SIGNS: tuple[tuple[int, str, str, Any], ...] = (
    (1, "positive", style.RED, "-"),
    (-1, "negative", style.BLUE, (0, (4.0, 1.2))),
)
"""Of edges: name, colour and line."""
COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#F0E442", "#56B4E9", "#000000")
"""Of taxa (Okabe & Ito 2008), other than those of edges."""
PLAIN = "#4D4D4D"
NAME = 5.0
"""Size of names in points."""
EDGE = 16.0
"""Length of an edge in mm at most."""
TITLE, ROW = 4.0, 4.2
"""Of legends, in mm."""
LETTERS = 24


@dataclass(frozen=True)
class Geometry:
    """A network in mm from the lower left corner of a frame (width, height).

    spots: q×2; radii: (q,); widths of the edges (m,).
    """

    frame: np.ndarray = field(repr=False)
    spots: np.ndarray = field(repr=False)
    radii: np.ndarray = field(repr=False)
    widths: np.ndarray = field(repr=False)

    def edges(self, record: Network) -> np.ndarray:
        """m×2×2, from one end to the other."""
        return np.stack([self.spots[record.first], self.spots[record.second]], 1)


def geometry(record: Network, width: float, room: float) -> Geometry:
    """Where all lies in a frame `width` wide; `room` on both sides is for names."""
    span = record.places.max(0)
    scale = min((width - 2.0 * room) / max(float(span[0]), 1e-9), EDGE, (width / 1.1) / max(float(span[1]), 1e-9))
    spots = record.places * scale
    spots[:, 0] += (width - spots[:, 0].max()) / 2.0
    spots[:, 1] += 4.0
    radii = np.minimum(radius(record.degree, record), 0.24 * scale)
    return Geometry(np.array([width, spots[:, 1].max() + 4.0]), spots, radii, thickness(record.partial))


def radius(degree: np.ndarray, record: Network) -> np.ndarray:
    """Of marks, in mm: their areas grow with the degree."""
    return 0.65 + 1.35 * np.sqrt((degree - 1.0) / max(float(record.degree.max()) - 1.0, 4.0))


def thickness(partial: np.ndarray) -> np.ndarray:
    """Of edges, in mm."""
    return 0.12 + 0.75 * np.abs(partial)


def colours(record: Network) -> list[str]:
    """Of each feature: that of its taxon."""
    known = dict(zip(record.kinds, COLOURS, strict=False))
    return [known.get(taxon, style.PALE) for taxon in record.taxa] or [PLAIN] * len(record.names)


def draw(record: Network, width: float) -> Figure:
    """The network with names, below a legend."""
    figure = style.blank(width, width)
    figure.set_layout_engine("none")
    names = [short(name, LETTERS) for name in record.names]
    made = geometry(record, width, min(0.14 * width, style.longest(figure, names, NAME) * 0.6 + 3.0))
    order = record.order[: record.top]
    boxes = np.array([[style.longest(figure, [name], NAME), 1.15 * NAME / style.POINTS] for name in names])
    placed = beside(made.spots, made.radii, boxes, order, made.frame, made.edges(record))
    notes = list(record.notes)
    if len(placed) < len(names):
        why = " (--top N)" if record.top < len(names) and len(placed) == len(order) else ", the others lack the room"
        notes.append(f"{len(placed)} of {len(names)} features are named{why}.")
    keys = _keys(record)
    labels = [[str(one.get_label()) for one in key] for key in keys]
    columns = [max(1, int(width / (style.longest(figure, own, style.TEXT) + 11.0))) for own in labels]
    rows = [-(-len(key) // many) for key, many in zip(keys, columns, strict=True)]
    legend = TITLE * len(keys) + ROW * sum(rows) + 3.0
    figure.set_figheight((legend + float(made.frame[1]) + 2.5 * len(notes) + 2.0) * style.MM)
    axes = style.place(figure, 0.0, legend, width, float(made.frame[1]))
    axes.set(xlim=(0.0, width), ylim=(0.0, float(made.frame[1])))
    axes.set_axis_off()
    _edges(axes, record, made)
    sizes, flat = 2.0 * made.radii, np.zeros(len(names))
    shape: dict[str, Any] = {"units": "xy", "offset_transform": axes.transData, "zorder": 2}
    shape |= {"facecolors": colours(record), "edgecolors": "white", "linewidths": 0.4}
    axes.add_collection(EllipseCollection(sizes, sizes, flat, offsets=made.spots, **shape))
    halo = [withStroke(linewidth=1.2, foreground="white", alpha=0.85)]
    how: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": NAME, "zorder": 3, "path_effects": halo}
    for at, (middle, far) in placed.items():
        if far:
            axes.plot(*zip(made.spots[at], middle, strict=True), color=style.GREY, linewidth=0.3, zorder=1.5)
        axes.text(float(middle[0]), float(middle[1]), names[at], **how)
    down, titles = 0.0, ("partial correlation, and number of edges of a feature", record.rank)
    for key, many, high, title in zip(keys, columns, rows, titles, strict=False):
        above: dict[str, Any] = {"bbox_to_anchor": (0.0, 1.0 - down / (figure.get_figheight() / style.MM))}
        above |= {"loc": "upper left", "handletextpad": 0.4, "columnspacing": 1.2, "borderpad": 0.3}
        above |= {"title_fontsize": style.TEXT, "alignment": "left"}
        figure.legend(handles=key, ncols=many, title=title, **above)
        down += TITLE + ROW * high
    style.footnote(figure, notes)
    return figure


def _edges(axes: Axes, record: Network, made: Geometry) -> None:
    """Lines in the colour of their sign, the strongest above the others."""
    weak_first = np.argsort(np.abs(record.partial), kind="stable")
    for sign, _, colour, line in SIGNS:
        own = weak_first[np.sign(record.partial[weak_first]) == sign]
        look: dict[str, Any] = {"colors": colour, "linestyles": [line], "alpha": 0.75, "zorder": 1}
        widths = made.widths[own] * style.POINTS
        axes.add_collection(LineCollection(list(made.edges(record)[own]), linewidths=widths, **look))


def _keys(record: Network) -> list[list[Line2D]]:
    """What colours, widths and sizes stand for; and the taxa, if they are known."""
    spot: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgewidth": 0}
    found = [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.4, label=name)
        for sign, name, colour, line in SIGNS
        if (np.sign(record.partial) == sign).any()
    ]
    for value in (0.2, 0.8):
        wide = float(thickness(np.array(value))) * style.POINTS
        found.append(Line2D([], [], color=style.GREY, linewidth=wide, label=f"{value:g}"))
    for degree in sorted({1, int(record.degree.max())}):
        size = 2.0 * float(radius(np.array(degree), record)) * style.POINTS
        found.append(Line2D([], [], color=PLAIN, label=counted(degree, "edge"), markersize=size, **spot))
    if not record.kinds:
        return [found]
    rest = {*record.taxa} - {*record.kinds}
    known = [*zip(record.kinds, COLOURS, strict=False)]
    known += [(UNNAMED if rest == {UNNAMED} else OTHERS, style.PALE)] if rest else []
    return [
        found,
        [Line2D([], [], color=colour, markersize=3.5, label=short(name, 20), **spot) for name, colour in known],
    ]
