"""Sizes, colours and type of all pictures, and what they have in common; matplotlib's own settings stay as they are.

Figures are made and written within `settings`, never with pyplot: a program that draws with matplotlib itself notices
nothing. Colours are told apart by colour-blind readers: Okabe & Ito (2008), cividis and viridis, red to blue.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from plncli.errors import short

MM = 1.0 / 25.4
"""Inches."""
POINTS = 72.0 / 25.4
"""Of a millimetre."""
SCREEN = 110.0
"""Points of a screen to an inch: small letters of print are legible there."""
NARROW = 120.0
"""Width in mm below which panels stand below each other."""
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
BLUE, RED, GREEN = SERIES[:3]
GREY = "#6E6E6E"
PALE = "#BDBDBD"
DENSITY = "cividis"
NUMERIC = "viridis"
DIVERGING = "RdBu_r"
TEXT = 6.0
SMALLEST = 4.5
"""Sizes of names, in points: the usual one, and the one below which some are left out instead."""
MANY = 4000
"""Points beyond which their density is drawn."""

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "text.parse_math": False,  # a feature may be called `$x$`
    "svg.fonttype": "none",
    "svg.hashsalt": "plncli",
    "pdf.fonttype": 42,
}
OF_THE_SESSION = ("backend", "interactive", "toolbar", "webagg", "tk.", "macosx", "date.epoch", "savefig.directory")
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def settings() -> Iterator[None]:
    """The settings of all pictures, whatever a matplotlibrc says, for as long as this lasts."""
    usual: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith(OF_THE_SESSION)
    }
    with matplotlib.rc_context(usual | RC):
        yield


@contextmanager
def _any_sign() -> Iterator[None]:
    """Nothing is said of signs that the font lacks: a box stands in their place."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def save(figure: Figure, suffix: str, dpi: float = 300.0) -> bytes:
    """A figure as png, svg or pdf: the same bytes each time. Text of the last two stays text. Also as `raw` pixels."""
    sink = io.BytesIO()
    with settings(), _any_sign():
        figure.savefig(sink, format=suffix, dpi=dpi, metadata=UNDATED.get(suffix))
    return sink.getvalue()


def pixels(figure: Figure, dpi: float) -> tuple[bytes, int, int]:
    """A figure as pixels: red, green, blue and opacity of each, row by row; width and height."""
    width, height = (int(inches * dpi) for inches in figure.get_size_inches())
    return save(figure, "raw", dpi), width, height


class Picture(Figure):
    """A figure that a notebook shows by itself, whatever backend of matplotlib is in use, or none."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture with twice the points that it takes on a page, and its size there."""
        width, height = (round(inches * SCREEN) for inches in self.get_size_inches())
        return save(self, "png", 2 * SCREEN), {"width": width, "height": height}


def blank(width: float, height: float) -> Figure:
    """An empty figure of a size in mm, whose parts make room for each other."""
    room = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.04, hspace=0.04)
    figure = Picture(figsize=(width * MM, height * MM), layout=room)
    FigureCanvasAgg(figure)
    return figure


def panels(number: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `number` panels, each `height` mm high: side by side, where the width in mm allows it."""
    columns = min(number, 1 if width < NARROW and number < 4 else 2 if width < NARROW or number in (2, 4) else 3)
    rows = math.ceil(number / columns)
    figure = blank(width, rows * height)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in grid[number:]:
        spare.remove()
    return figure, grid[:number]


def footnote(figure: Figure, notes: Sequence[str]) -> None:
    """What a reader of the picture must know, below it; in the place of what was there."""
    if notes or figure.get_supxlabel():
        signs = int(figure.get_figwidth() / MM / 1.04)
        text = "\n".join(line for note in notes for line in textwrap.wrap(note, signs))
        figure.supxlabel(text, x=0.01, ha="left", fontsize=5.5, color=GREY, linespacing=1.3)


# Names


def thinned(number: int, room: float) -> tuple[float, int]:
    """Size in points of `number` names along `room` mm, and the step at which they are told: 1 if all fit."""
    pitch = room * POINTS / max(number, 1)
    size = min(TEXT, 0.88 * pitch)  # letters with their descenders are higher than the size
    return (size, 1) if size >= SMALLEST else (SMALLEST, math.ceil(SMALLEST / (0.88 * pitch)))


def longest(figure: Figure, names: Sequence[str], size: float) -> float:
    """Width in mm of the longest of some names, written in a size in points."""
    assert isinstance(figure.canvas, FigureCanvasAgg)
    renderer, font = figure.canvas.get_renderer(), FontProperties(size=size)
    with _any_sign():
        widths = [renderer.get_text_width_height_descent(name, font, ismath=False)[0] for name in names]
    return float(max(widths, default=0.0) / figure.dpi / MM)


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place of a figure without a layout, in mm from its upper left corner."""
    across, down = figure.get_figwidth() / MM, figure.get_figheight() / MM
    return figure.add_axes((left / across, 1.0 - (top + height) / down, width / across, height / down))


PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (3.0, 9.0, 16.0)
"""Points from a mark to its name; from the second on a line joins them."""


def name_points(
    axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str], others: np.ndarray | None = None
) -> int:
    """Write names beside points, the first ones first, where they cover no mark or name; how many had no room.

    others: m×2, marks that are not named. Called last: from then on the parts of the figure stay where they are.
    """
    figure = axes.figure
    assert isinstance(figure, Figure) and isinstance(figure.canvas, FigureCanvasAgg)
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    renderer, bounds, legend = figure.canvas.get_renderer(), axes.get_window_extent(), axes.get_legend()
    spots = axes.transData.transform(np.column_stack([x, y]))
    marks = spots if others is None else np.concatenate([spots, axes.transData.transform(others)])
    taken = [] if legend is None else [legend.get_window_extent(renderer)]
    middle = np.array([bounds.x0 + bounds.x1, bounds.y0 + bounds.y1]) / 2.0
    lost = 0
    for name, at, spot in zip(names, zip(x, y, strict=True), spots, strict=True):
        for dx, dy in _around(spot - middle):
            text = axes.annotate(
                short(name, 24),
                at,
                xytext=(dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                fontsize=5.0,
                arrowprops=None if max(abs(dx), abs(dy)) <= DISTANCES[0] else LEADER,
            )
            text.set_in_layout(False)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the line
            inside = bounds.x0 <= box.x0 and box.x1 <= bounds.x1 and bounds.y0 <= box.y0 and box.y1 <= bounds.y1
            if inside and not any(box.overlaps(other) for other in taken) and not box.count_contains(marks):
                taken.append(box)
                break
            text.remove()
        else:
            lost += 1
    return lost


LEADER: dict[str, Any] = {"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkA": 0.0, "shrinkB": 1.0}


def _around(outwards: np.ndarray) -> list[tuple[float, float]]:
    """Where a name may stand beside its point: near before far, and away from the middle before towards it."""

    def towards(place: tuple[int, int]) -> float:
        return -float(np.dot(place, outwards) / math.hypot(*place))

    return [(far * dx, far * dy) for far in DISTANCES for dx, dy in sorted(PLACES, key=towards)]


# Scales


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float, _: Any = None) -> str:
    """A tick of a logarithmic axis: plain numbers from 0.01 to below 10 000, powers beyond."""
    if 0.00999 < value < 9999.0 or value <= 0.0:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = value / 10.0**exponent
    return ("" if abs(factor - 1.0) < 1e-6 else f"{factor:g}·") + f"10{str(exponent).translate(SUPERSCRIPTS)}"


def log_axis(axis: Any) -> None:
    """Make an axis logarithmic, with its ticks as plain text."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(FuncFormatter(power_of_ten))
    axis.set_minor_locator(NullLocator())


def decades(axis: Any) -> None:
    """Ticks of an axis on which log10 of something positive is drawn, by what is in view."""
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if high - low < 2.2 else (1,) if high - low < 6.0 else ()
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [math.log10(step * 10.0**power) for power in powers for step in steps] or list(powers)[::2]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda place, _: power_of_ten(float(f"{10.0**place:.3e}"))))


def count_axis(axis: Any, largest: float) -> None:
    """Ticks of an axis on which counts are drawn as log(1 + count), which has a place for 0."""
    tens = [10.0**k for k in range(math.floor(math.log10(max(largest, 1.0))) + 1)]
    ticks = [0.0, *(tens if len(tens) > 2 else sorted({1, 2, 5, 10, 20, 50, *tens}))]
    ticks = [tick for tick in ticks if tick <= max(largest, 1.0)]
    axis.set_major_locator(FixedLocator([math.log1p(tick) for tick in ticks]))
    axis.set_major_formatter(FuncFormatter(lambda place, _: power_of_ten(round(math.expm1(place), 6))))


# Marks


def cloud(axes: Axes, x: np.ndarray, y: np.ndarray, noun: str, colour: str = BLUE) -> None:
    """Points; beyond MANY of them, how many there are in each of many small hexagons."""
    if len(x) <= MANY:
        size, alpha = (7.0, 0.75) if len(x) <= 400 else (3.0, 0.5)
        axes.scatter(x, y, s=size, alpha=alpha, color=colour, linewidths=0)
        return
    drawn = axes.hexbin(x, y, gridsize=45, bins="log", mincnt=1, cmap=DENSITY, linewidths=0.1)
    bar = axes.figure.colorbar(drawn, ax=axes, label=noun, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    log_axis(bar.ax.yaxis)


def running_median(x: np.ndarray, y: np.ndarray, parts: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Medians of x and of y in `parts` groups of about equal size, in order of x; fewer of them for few points."""
    order = np.argsort(x, kind="stable")
    groups = [group for group in np.array_split(order, max(1, min(parts, len(x) // 8))) if len(group)]
    return np.array([np.median(x[g]) for g in groups]), np.array([np.median(y[g]) for g in groups])
