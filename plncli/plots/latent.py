"""Principal components of the latent means: samples, and the features that make the components."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from plncli.errors import DataError, counted, short, some
from plncli.plots import style
from plncli.plots.colouring import Colouring, colouring, of_the_formula
from plncli.plots.source import Source, Wanted

ARROWS = 10
NAME = 5.5
"""Size of the names of arrows, in points."""
LEVELS = len(style.SERIES) - 1


@dataclass(frozen=True)
class Components:
    """The first two principal components of n samples × p features.

    scores: n×2; shares: (2,) of the variance; correlations: p×2, of features with the components. top: how many
    features are drawn; covariates_removed: whether they are of M − XB rather than of M.
    """

    samples: tuple[str, ...] = field(repr=False)
    features: tuple[str, ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    shares: np.ndarray
    correlations: np.ndarray = field(repr=False)
    covariates_removed: bool
    top: int = ARROWS
    colouring: Colouring | None = None
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Components:
    """Components of the latent means (with the part that covariates explain, unless it is removed), columns centred.

    DataError for fewer than two features or three samples. Features whose mean is −inf in some sample are left out,
    unless covariates are removed.
    """
    run = source.run
    names, notes = run.responses, []
    if wanted.remove_covariates:
        M = latent_residuals(source)
    else:
        M = run.estimates["M"].astype(float)
        kept = np.isfinite(M).all(0)
        if not kept.all():
            left = int((~kept).sum())
            notes.append(
                f"{counted(left, 'feature')} with a latent mean of −∞ in some samples left out; "
                "--remove-covariates keeps them."
            )
            M, names = M[:, kept], tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    if M.shape[1] < 2 or len(M) < 3:
        raise DataError(f"Principal components need 2 features and 3 samples, but there are {M.shape[1]} and {len(M)}.")
    scores, shares, correlations = components(M)
    colours = of_the_formula(source) if wanted.color is None else colouring(source, wanted.color)
    return Components(
        run.samples, names, scores, shares, correlations, wanted.remove_covariates,
        ARROWS if wanted.top is None else wanted.top, colours, tuple(notes),
    )  # fmt: skip


def latent_residuals(source: Source) -> np.ndarray:
    """M − XB, n×p: what covariates leave of the latent means."""
    B = source.run.fitted.B
    return source.run.state["M_finite"].astype(float) - (source.data.X.double() @ B).numpy()


def components(M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores n×2, shares (2,) and correlations p×2 of the columns of M (n×p) with their first two components.

    The feature that is correlated most with a component has a positive correlation.
    """
    R = M - M.mean(0)
    U, d, V = np.linalg.svd(R, full_matrices=False)
    size = np.sqrt((R**2).sum(0))
    correlations = V[:2].T * d[:2] / np.where(size > 0, size, 1.0)[:, None]
    flat = d[:2] <= 1e-12 * max(d[0], 1e-300)
    correlations[:, flat] = 0.0
    largest = correlations[np.abs(correlations).argmax(0), [0, 1]]
    signs = np.where(largest < 0, -1.0, 1.0)
    total = (d**2).sum()
    return U[:, :2] * d[:2] * signs, d[:2] ** 2 / (total or 1.0), correlations * signs


# Drawing


def draw(record: Components, width: float) -> Figure:
    """Samples on the first two components."""
    notes = record.notes
    figure = style.blank(width, min(0.86 * width, 130.0))
    axes = figure.subplots()
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=style.PALE, linewidth=0.5, zorder=0)
    notes += _samples(axes, record, record.scores)
    _labels(axes, record)
    axes.set_aspect("equal", adjustable="datalim")
    style.footnote(figure, notes)
    return figure


def draw_biplot(record: Components, width: float) -> Figure:
    """The correlation circle: features as arrows, their names beside it, and samples behind, scaled to fit."""
    strength = (record.correlations**2).sum(1)
    drawn = np.argsort(-strength, kind="stable")[: record.top]
    notes = record.notes
    if len(drawn) < len(record.features):
        notes += (f"Arrows: the {len(drawn)} of {len(record.features)} features that the two components explain best.",)
    names = [short(record.features[j], 24 if width > style.NARROW else 16) for j in drawn]
    room = width - 10.0  # of the axes, in mm
    figure = style.blank(width, width)
    half = 1.22 / (1.0 - 2.0 * style.longest(figure, names, NAME) / room)
    unit = 0.5 * room / half
    figure.set_figheight((2.24 * unit + (30.0 if record.colouring else 20.0) + 5.0 * len(notes)) * style.MM)
    axes = figure.subplots()
    reach = float(np.abs(record.scores).max()) or 1.0
    notes += _samples(axes, record, record.scores / reach, faint=True)
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color=style.GREY, linewidth=0.5))
    for line, end in ((axes.hlines, (-1.0, 1.0)), (axes.vlines, (-1.0, 1.0))):
        line(0.0, *end, color=style.PALE, linewidth=0.5, zorder=0)
    for x, y in record.correlations[drawn]:
        axes.annotate(
            "", (x, y), (0.0, 0.0), arrowprops={"arrowstyle": "-|>,head_length=0.3,head_width=0.15", "color": "black",
            "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    axes.set(xlim=(-half, half), ylim=(-1.12, 1.12), aspect="equal", xticks=[-1, 0, 1], yticks=[])
    axes.spines["bottom"].set_bounds(-1.0, 1.0)
    axes.spines["left"].set_visible(False)
    _labels(axes, record, "correlation with ")
    lost = _beside(axes, record.correlations[drawn], names, 2.4 / unit)
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


def _labels(axes: Axes, record: Components, before: str = "") -> None:
    what = "of M − XB, covariates removed" if record.covariates_removed else "of the latent means"
    first, second = (f"{100.0 * share:.1f} %" for share in record.shares)
    axes.set_xlabel(f"{before}component 1 ({first})")
    axes.set_ylabel(f"{before}component 2 ({second})")
    axes.set_title(f"principal components {what}", loc="left", color=style.GREY)


def _samples(axes: Axes, record: Components, at: np.ndarray, faint: bool = False) -> tuple[str, ...]:
    """Samples in their colours, and the key to these; what must be said of it."""
    many = len(at) > 1000
    look: dict[str, Any] = {"s": 2.5 if many else 9.0, "linewidths": 0, "rasterized": len(at) > style.MANY}
    look |= {"alpha": 0.35 if faint else 0.6 if many else 0.85, "zorder": 1.5}
    colouring = record.colouring
    if colouring is None:
        axes.scatter(at[:, 0], at[:, 1], color=style.PALE if faint else style.BLUE, **look)
        return ()
    if colouring.levels:
        return _by_level(axes, colouring, at, look)
    known = ~np.isnan(colouring.values)
    axes.scatter(at[~known, 0], at[~known, 1], color=style.PALE, **look)
    shown = axes.scatter(at[known, 0], at[known, 1], c=colouring.values[known], cmap=style.NUMERIC, **look)
    opaque = ScalarMappable(shown.norm, shown.cmap)
    bar = axes.figure.colorbar(opaque, ax=axes, label=short(colouring.name, 40), fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    return (f"{counted(int((~known).sum()), 'sample')} without {colouring.name} in grey.",) if not known.all() else ()


def _by_level(axes: Axes, colouring: Colouring, at: np.ndarray, look: dict[str, Any]) -> tuple[str, ...]:
    """The most frequent levels in colours, the others in grey."""
    sizes = np.bincount(colouring.values[colouring.values >= 0], minlength=len(colouring.levels))
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:LEVELS])
    colours = np.array([style.PALE] * (len(colouring.levels) + 1), dtype=object)  # the last one: missing
    colours[chosen] = style.SERIES[: len(chosen)]
    axes.scatter(at[:, 0], at[:, 1], c=list(colours[colouring.values]), **look)
    named = [(short(colouring.levels[k], 24), colours[k]) for k in chosen]
    others = len(colouring.levels) - len(chosen)
    if others:
        named.append((f"{others} other levels", style.PALE))
    if (colouring.values < 0).any():
        named.append(("missing", style.PALE))
    handles = [Line2D([], [], marker="o", ms=3.0, linestyle="", color=colour, label=name) for name, colour in named]
    title = short(colouring.name, 40)
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": 4, "handletextpad": 0.2, "columnspacing": 1.0}
    axes.figure.legend(handles=handles, title=title, title_fontsize=style.TEXT, **place)
    return (f"Colours: the {len(chosen)} most frequent of {len(colouring.levels)} levels.",) if others else ()


# In words


def describe(record: Components) -> str:
    """What the components show."""
    first, second = 100.0 * record.shares
    strong = np.argsort(-(record.correlations**2).sum(1), kind="stable")[:3]
    colours = ""
    if record.colouring is not None:
        colours = f", coloured by {record.colouring.name}"
        colours += f" ({some(record.colouring.levels, 8)})" if record.colouring.levels else ""
    return (
        f"{counted(len(record.scores), 'sample')} on two principal components, which show {first:.1f} % and "
        f"{second:.1f} % of the variance{colours}. The features that they explain best are "
        f"{some(record.features[k] for k in strong)}."
    )


def describe_arrows(record: Components) -> str:
    """The features that are explained best."""
    strong = np.argsort(-(record.correlations**2).sum(1), kind="stable")[:5]
    told = (f"{record.features[k]} ({record.correlations[k, 0]:.2f}, {record.correlations[k, 1]:.2f})" for k in strong)
    return f"Correlations of features with the two components; the largest are those of {some(told)}."
