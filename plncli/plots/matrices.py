"""Sigma and its correlations as heatmaps, features that go together side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from plncli.errors import DataError, short
from plncli.plots import style
from plncli.plots.source import Source, Wanted
from plncli.runs.run import Run

WRITTEN = 12
"""Features up to which the numbers are written into the cells."""
OPTIMAL = 500
"""Features up to which the best order of the leaves of the tree is looked for."""


@dataclass(frozen=True)
class Matrix:
    """A symmetric p×p matrix with the names of its rows, in the order in which they are drawn; nan for no value.

    limit: size of the largest value that has a colour of its own.
    """

    names: tuple[str, ...] = field(repr=False)
    values: np.ndarray = field(repr=False)
    label: str
    limit: float
    notes: tuple[str, ...] = ()


def covariance(source: Source, _: Wanted) -> Matrix:
    """Sigma, features in the order of the clusters of their correlations.

    The colours end at the largest covariance, where variances go beyond it.
    """
    run = source.run
    Sigma, order, notes = _ordered(run)
    p = len(order)
    largest = float(np.abs(Sigma - np.diag(np.diagonal(Sigma))).max()) if p > 1 else 0.0
    limit = largest or float(np.abs(Sigma).max()) or 1.0
    names = tuple(run.responses[j] for j in order)
    return Matrix(names, Sigma[np.ix_(order, order)], f"{_layer(run)} covariance", limit, notes)


def correlation(source: Source, wanted: Wanted) -> Matrix:
    """Correlations of Sigma; nan in rows of features without variance. DataError where the fit has none."""
    run = source.run
    structure = run.summary.get("covariance")
    if structure and not run.fitted.correlated and len(run.responses) > 1:
        raise DataError(f"{run.place} was fitted with --covariance {structure}: all its correlations are 0.")
    made = covariance(source, wanted)
    return replace(made, values=correlations(made.values), label=f"{_layer(run)} correlation", limit=1.0)


def correlations(Sigma: np.ndarray) -> np.ndarray:
    """Correlations of a covariance matrix p×p, nan where a variance is 0."""
    sd = np.sqrt(np.diagonal(Sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.outer(sd, sd) > 0, Sigma / np.outer(sd, sd), np.nan)


def _layer(run: Run) -> str:
    return run.spec.words.covariance


def _ordered(run: Run) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """Sigma and the order of its features; that of the table, where they are not correlated."""
    Sigma = run.estimates["Sigma"].astype(float)
    R = correlations(Sigma)
    none = int(np.isnan(np.diagonal(R)).sum())
    notes = (f"Features without variance beyond Poisson: {none}, in grey.",) if none else ()
    return Sigma, cluster_order(np.nan_to_num(R)), notes


def cluster_order(R: np.ndarray) -> list[int]:
    """Leaves of the tree that average linkage makes of the distances 1 − R (p×p), neighbours close to each other."""
    p = len(R)
    if p < 3 or not np.triu(R, 1).any():
        return list(range(p))
    from scipy.cluster.hierarchy import leaves_list, linkage

    distances = np.clip(1.0 - R[np.triu_indices(p, 1)], 0.0, 2.0)
    return leaves_list(linkage(distances, "average", optimal_ordering=p <= OPTIMAL)).tolist()


def draw(record: Matrix, width: float) -> Figure:
    """A heatmap, white at 0, with the names of its rows at the left; columns have the same order."""
    p = len(record.names)
    names = [short(name, 20) for name in record.names]
    margin = min(0.35 * width, 6.0 + 0.9 * max(map(len, names)))
    side = min(width - margin - 20.0, 8.0 * p + 14.0 if p <= WRITTEN else width)
    size, step = style.thinned(p, side)
    notes = record.notes
    if step > 1:
        notes = (*notes, f"{-(-p // step)} of {p} names: one in {step}.")
    figure = style.blank(margin + side + 20.0 if p <= WRITTEN else width, side + 8.0 + 4.0 * len(notes))
    axes = figure.subplots()
    colours = colormaps[style.DIVERGING].with_extremes(bad=to_rgba(style.PALE))
    shown = axes.imshow(record.values, cmap=colours, vmin=-record.limit, vmax=record.limit)
    axes.set_yticks(range(0, p, step))
    axes.set_yticklabels(names[::step], fontsize=size)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=1.5 if size > 5.0 else 0.8, width=0.3, pad=1.5)
    axes.spines[:].set_visible(False)
    beyond = float(np.nanmax(record.values, initial=0.0)) > record.limit * (1.0 + 1e-9)
    bar = figure.colorbar(
        shown, ax=axes, label=record.label, extend="max" if beyond else "neither", fraction=0.04, pad=0.02, aspect=30
    )
    bar.outline.set_visible(False)
    if p <= WRITTEN:
        _write(axes, record, side / p)
        axes.set_xlabel("columns in the order of the rows" if p > 1 else "")
    else:
        axes.set_xlabel("the same features in the same order")
    style.footnote(figure, notes)
    return figure


def _write(axes: Axes, record: Matrix, room: float) -> None:
    """Each value into its cell, `room` mm wide, in black or white; nothing where it does not fit."""
    words = [f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}" for value in record.values.flat]
    size = min(5.5, room * style.POINTS / (0.68 * max(map(len, words))))
    if size < style.SMALLEST:
        return
    for (i, j), value in np.ndenumerate(record.values):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.65 * record.limit else "black"
            word = words[i * len(record.names) + j]
            axes.text(j, i, word, ha="center", va="center", fontsize=size, color=colour)
