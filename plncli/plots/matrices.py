"""Sigma and its correlations as heatmaps, features that go together side by side below their tree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from plncli.errors import DataError, counted, number, short
from plncli.models.spec import SQUARE
from plncli.numerics.covariance import Covariance
from plncli.plots import style
from plncli.plots.clusters import cluster
from plncli.plots.network.graph import linked
from plncli.plots.source import Source, Wanted, coefficient_scale, response_index
from plncli.runs.run import Run

WRITTEN = 12
"""Features up to which the numbers are written into the cells."""
CELL = 8.0
"""Side of such a cell in mm."""
TREE, BAR, BESIDE = 12.0, 3.0, 26.0
"""Height of the dendrogram and of the colour bar, width of the panel of variances, in mm."""


@dataclass(frozen=True)
class Matrix:
    """A symmetric p×p matrix with the names of its rows, in the order in which they are drawn; nan for no value.

    limit: size of the largest value that has a colour of its own; tree: of the features, m×4×2 (see `clusters.Tree`).
    variances: (p,), drawn beside it where there are any.
    """

    names: tuple[str, ...] = field(repr=False)
    values: np.ndarray = field(repr=False)
    label: str
    limit: float
    tree: np.ndarray = field(repr=False, default_factory=lambda: np.empty((0, 4, 2)))
    variances: np.ndarray | None = field(repr=False, default=None)
    notes: tuple[str, ...] = ()


def covariance(source: Source, wanted: Wanted) -> Matrix:
    """Sigma and its variances, features in the order of the clusters of their correlations.

    The colours end at the largest covariance, for variances go far beyond it. DataError where there is none but 0.
    """
    made, Sigma = _clustered(source.run, wanted)
    limit = float(np.abs(Sigma - np.diag(np.diagonal(Sigma))).max()) or 1.0
    label = f"{source.run.spec.words.covariance} covariance ({coefficient_scale(source.run)}, squared)"
    return replace(made, values=Sigma, label=label, limit=limit, variances=np.diagonal(Sigma).copy())


def correlation(source: Source, wanted: Wanted) -> Matrix:
    """Correlations of Sigma; nan in rows of features without variance. DataError where the fit has none."""
    return _clustered(source.run, wanted)[0]


def adjacency(source: Source, wanted: Wanted) -> Matrix:
    """Partial correlations of the features that have edges, by the tree of 1 − |partial correlation|; nan for itself.

    DataError where there is no edge.
    """
    run, found = source.run, linked(source.run)
    p = len(run.responses)
    P = np.zeros((p, p))
    P[found.first, found.second] = P[found.second, found.first] = found.partial
    strongest = np.abs(P).max(1)
    notes: tuple[str, ...] = ()
    if wanted.responses:
        chosen = np.unique([response_index(run, name) for name in wanted.responses])
        if len(chosen) < 2:
            raise DataError("A partial correlation is of two: name another by --only NAME.")
    else:
        chosen = np.flatnonzero(strongest)
        top = min(SQUARE if wanted.top is None else max(wanted.top, 2), len(chosen))
        if top < len(chosen):
            notes += (f"The {top} of {len(chosen)} linked features with the strongest partial correlations.",)
            chosen = np.sort(np.argsort(-strongest, kind="stable")[:top])
        elif top < p:
            notes += (f"Not drawn: {p - top} of {counted(p, 'feature')} without edges.",)
    tree = cluster(1.0 - np.abs(P[np.ix_(chosen, chosen)]))
    order = chosen[list(tree.order)]
    values = P[np.ix_(order, order)]
    np.fill_diagonal(values, np.nan)
    names = tuple(run.responses[j] for j in order.tolist())
    return Matrix(names, values, "partial correlation", 1.0, tree.lines, None, notes)


def correlations(Sigma: np.ndarray) -> np.ndarray:
    """Correlations of a covariance matrix p×p, nan where a variance is 0."""
    sd = np.sqrt(np.diagonal(Sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.outer(sd, sd) > 0, Sigma / np.outer(sd, sd), np.nan)


def _clustered(run: Run, wanted: Wanted) -> tuple[Matrix, np.ndarray]:
    """Correlations of the features that are wanted, in the order of their tree, and Sigma in the same order."""
    covariance = run.fitted.covariance
    assert covariance is not None
    if len(run.responses) == 1:
        variance = number(float(covariance.variances[0]))
        raise DataError(f"{run.place} has one {run.spec.noun}, of variance {variance}: nothing to correlate.")
    if covariance.independent:
        structure = run.summary.get("covariance")
        how = f"was fitted with --covariance {structure}" if structure else "has a diagonal covariance"
        raise DataError(f"{run.place} {how}: all its correlations are 0.")
    chosen, notes = _chosen(run, covariance, wanted)
    Sigma = covariance.block(torch.tensor(chosen), torch.tensor(chosen)).numpy()
    R = correlations(Sigma)
    if not wanted.responses and not np.nan_to_num(R - np.diag(np.diagonal(R))).any():
        raise DataError(f"{run.place} has a diagonal covariance: all its correlations are 0.")
    none = int(np.isnan(np.diagonal(R)).sum())
    if none:
        notes += (f"{counted(none, 'feature')} without variance beyond Poisson in grey.",)
    tree = cluster(1.0 - np.nan_to_num(R))
    order = list(tree.order)
    names = tuple(run.responses[chosen[j]] for j in order)
    made = Matrix(
        names, R[np.ix_(order, order)], f"{run.spec.words.covariance} correlation", 1.0, tree.lines, None, notes
    )
    return made, Sigma[np.ix_(order, order)]


def _chosen(run: Run, covariance: Covariance, wanted: Wanted) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the features that are drawn: those named, the `top` most correlated ones, or all; and a note.

    DataError where all are too many to be told apart, or held.
    """
    if wanted.responses:
        chosen = sorted({response_index(run, name) for name in wanted.responses})
        if len(chosen) < 2:
            raise DataError("A correlation is of two: name another by --only NAME.")
        return chosen, ()
    p = len(run.responses)
    if wanted.top is None and p > SQUARE:
        raise DataError(f"{p} features are too many for one picture: draw the most correlated ones with --top 50.")
    if wanted.top is None or wanted.top >= p:
        return list(range(p)), ()
    strongest = np.zeros(p)
    for rows, block in covariance.correlations():
        R = np.abs(np.nan_to_num(block.numpy()))
        R[np.arange(len(R)), np.arange(rows.start, rows.stop)] = 0.0
        strongest[rows] = R.max(1)
    chosen = np.sort(np.argsort(-strongest, kind="stable")[: max(wanted.top, 2)]).tolist()
    return chosen, (f"The {len(chosen)} of {p} features with the strongest correlations.",)


# Drawing


def draw(record: Matrix, width: float) -> Figure:
    """A heatmap, white at 0, below the tree of its features, with their names on one side or on both."""
    p, beside = len(record.names), 0.0 if record.variances is None else BESIDE
    names = [short(name, 24) for name in record.names]
    figure = style.blank(width, width)
    figure.set_layout_engine("none")
    side, size, step, both = _sizes(figure, names, width - beside)
    margin = style.longest(figure, names, size) + 2.5
    notes = record.notes
    if step > 1:
        notes = (*notes, f"{-(-p // step)} of {p} names: one in {step}. --top N draws the most correlated ones alone.")
    top = 2.0 + (TREE if len(record.tree) else 0.0)
    figure.set_figheight((top + side + 18.0 + 4.0 * len(notes)) * style.MM)
    if p <= WRITTEN:
        figure.set_figwidth(min(width, max(margin + side + beside + 4.0, 60.0)) * style.MM)
    axes = style.place(figure, margin, top, side, side)
    colours = colormaps[style.DIVERGING].with_extremes(bad=to_rgba(style.PALE))
    shown = axes.imshow(record.values, cmap=colours, vmin=-record.limit, vmax=record.limit, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    _name(axes, names, size, step, both)
    if p <= WRITTEN:
        _write(axes, record, side / p)
    if len(record.tree):
        _tree(style.place(figure, margin, 2.0, side, TREE), record)
    if record.variances is not None:
        left = margin + side + (margin if both else 4.0)
        _variances(style.place(figure, left, top, beside - 8.0, side), record.variances)
    length = min(side, 60.0)
    _bar(figure, shown, record, style.place(figure, margin + 0.5 * (side - length), top + side + 3.0, length, BAR))
    style.footnote(figure, notes)
    return figure


def _sizes(figure: Figure, names: list[str], width: float) -> tuple[float, float, int, bool]:
    """Side of the heatmap in mm, size of names in points, their step, and whether they stand on both sides.

    That makes room for twice as many.
    """
    p, size, step = len(names), style.TEXT, 1
    for both in (False, True):
        margins = 2.0 if both else 1.0
        side = width - margins * (style.longest(figure, names, style.TEXT) + 2.5) - (0.0 if both else 3.0)
        side = min(side, CELL * p) if p <= WRITTEN else side
        size, step = style.thinned(-(-p // 2) if both else p, side)
        if size > 0.9 * style.TEXT:
            break
    return side, size, step, both


def _name(axes: Axes, names: list[str], size: float, step: int, both: bool) -> None:
    """Names of rows at the left, or by turns at the left and at the right."""
    told = range(0, len(names), step)
    left = told[::2] if both else told
    axes.set_yticks(left, [names[j] for j in left], fontsize=size)
    axes.tick_params(axis="y", length=1.5, width=0.3, pad=1.0)
    if both:
        right = axes.secondary_yaxis("right")
        right.set_yticks(told[1::2], [names[j] for j in told[1::2]], fontsize=size)
        right.tick_params(length=1.5, width=0.3, pad=1.0)
        right.spines[:].set_visible(False)


def _tree(axes: Axes, record: Matrix) -> None:
    """The dendrogram above the columns."""
    axes.add_collection(LineCollection(list(record.tree), colors=style.GREY, linewidths=0.5))
    axes.set(xlim=(-0.5, len(record.names) - 0.5), ylim=(0.0, 1.02 * float(record.tree[..., 1].max())))
    axes.set_axis_off()


def _variances(axes: Axes, variances: np.ndarray) -> None:
    """Variances of the rows, on a log scale."""
    there = variances > 0
    axes.plot(variances[there], np.flatnonzero(there), "o", ms=2.0, color=style.BLUE, markeredgewidth=0)
    axes.set_ylim(len(variances) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_color(style.PALE)
    axes.set_xlabel("variance")
    low, high = variances[there].min(initial=1.0), variances[there].max(initial=1.0)
    axes.set_xlim(0.7 * low, 1.4 * high)
    style.log_axis(axes.xaxis)
    axes.set_xticks([low, high] if high > 1.3 * low else [low], minor=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")


def _bar(figure: Figure, shown: AxesImage, record: Matrix, axes: Axes) -> None:
    beyond = float(np.nanmax(record.values, initial=0.0)) > record.limit * (1.0 + 1e-9)
    bar = figure.colorbar(
        shown, cax=axes, label=record.label, extend="max" if beyond else "neither", orientation="horizontal"
    )
    bar.outline.set_visible(False)


def _write(axes: Axes, record: Matrix, room: float) -> None:
    """Each value into its cell, `room` mm wide, in black or white; nothing where it does not fit."""
    words = [(f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}").replace("-", "−") for value in record.values.flat]
    size = min(5.5, room * style.POINTS / (0.68 * max(map(len, words))))
    if size < style.SMALLEST:
        return
    for (i, j), value in np.ndenumerate(record.values):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.65 * record.limit else "black"
            word = words[i * len(record.names) + j]
            axes.text(j, i, word, ha="center", va="center", fontsize=size, color=colour)


def describe(record: Matrix) -> str:
    """The largest and the smallest values."""
    p = len(record.names)
    i, j = np.triu_indices(p, 1)
    values = record.values[i, j]
    known = ~np.isnan(values)
    told = f"Heatmap of the {record.label.partition(' (')[0]}s of {counted(p, 'feature')}"
    if not known.any():
        return f"{told}."
    i, j, values = i[known], j[known], values[known]
    top, low = int(values.argmax()), int(values.argmin())
    return (
        f"{told}: from {values[low]:.2f} ({record.names[i[low]]} and {record.names[j[low]]}) to {values[top]:.2f} "
        f"({record.names[i[top]]} and {record.names[j[top]]}); half of them are smaller in size than "
        f"{np.median(np.abs(values)):.2f}."
    )
