"""Discriminant axes: samples with the regions of groups, and correlations of features with the axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from plncli.errors import DataError, counted, short, some
from plncli.models.abilities import Separating
from plncli.plots import style
from plncli.plots.colouring import Colouring
from plncli.plots.components import bars, circle, samples
from plncli.plots.components.ordination import ARROWS, Components, chosen_axes
from plncli.plots.source import Source, Wanted
from plncli.runs.groups import group_column_of

POINTS = 300
"""Of a grid, along each axis, on which regions are found."""


@dataclass(frozen=True)
class Discriminants(Components):
    """Samples on discriminant axes; r axes, G groups.

    scores: n×r, of variance 1 within groups; loadings: weights of the latent values, p×r; total: correlations of these
    with the axes, p×r; between: variances between groups, (r,); means: of the groups on the axes, G×r; prior: (G,).
    """

    total: np.ndarray = field(repr=False, default_factory=lambda: np.zeros((0, 0)))
    between: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))
    means: np.ndarray = field(repr=False, default_factory=lambda: np.zeros((0, 0)))
    prior: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes drawn."""
        return tuple(f"LD{k + 1}" for k in self.axes)

    @property
    def shares(self) -> np.ndarray:
        """Of the variance between groups, by axis drawn."""
        return (self.between / self.between.sum())[list(self.axes)]

    @property
    def lengths(self) -> np.ndarray:
        """Scores are drawn in standard deviations within groups."""
        return np.ones(len(self.axes))

    @property
    def correlations(self) -> np.ndarray:
        """Of the latent value of each feature with the axes drawn, over all groups; 0 without variance."""
        return np.nan_to_num(self.total[:, list(self.axes)])

    @property
    def groups(self) -> tuple[str, ...]:
        """Their names."""
        assert self.colouring is not None
        return self.colouring.levels


def discriminants(source: Source, wanted: Wanted) -> Discriminants:
    """All axes of a fit, the first two drawn, or those that are asked for. DataError for one without any."""
    run, fitted = source.run, source.run.fitted
    if not isinstance(fitted, Separating):
        raise DataError(f"{run.place} has no discriminant axes: these need one covariance that all groups have.")
    if not len(fitted.axes.between):
        raise DataError(f"{run.place} has no discriminant axes.")
    known, scores = fitted.axes, fitted.scores.numpy()
    drawn = chosen_axes(source, len(known.between), wanted.axes, 2, 1, 2)
    return Discriminants(
        run.samples,
        run.responses,
        scores,
        known.V.numpy(),
        "discriminant axes, in standard deviations within groups",
        axes=drawn,
        top=ARROWS if wanted.top is None else wanted.top,
        colouring=Colouring(group_column_of(run), fitted.group_of.numpy(), fitted.groups),
        total=known.correlations.numpy(),
        between=known.between.numpy(),
        means=known.scores(known.means).numpy(),
        prior=fitted.prior.numpy(),
    )


def draw(record: Discriminants, width: float) -> Figure:
    """Samples on two axes with the regions of the groups; on a single axis, how each group is distributed."""
    if len(record.axes) == 1:
        return _draw_one(record, width)
    figure = samples.draw(record, width)
    axes = figure.axes[0]
    colours = samples.shades(record.colouring)
    x, y = record.means[:, list(record.axes)].T
    axes.scatter(x, y, marker="+", s=30.0, color="black", linewidths=0.9, zorder=3.0)
    figure.draw_without_rendering()  # which settles the limits
    _regions(axes, record, colours.levels)
    others = record.means.shape[1] > len(record.axes)
    said = f"Regions: the group that is most probable there{', the other axes being at the mean' * others}."
    style.footnote(figure, (*record.notes, said, "Crosses: means of the groups.", *colours.notes))
    return figure


def _regions(axes: Axes, record: Discriminants, colours: tuple[str, ...]) -> None:
    """The most probable group at each point of the plane, in pale colours."""
    x, y = (np.linspace(*_wider(*ends), POINTS) for ends in (axes.get_xlim(), axes.get_ylim()))
    grid = np.zeros((POINTS, POINTS, record.means.shape[1]))
    grid[..., record.axes[0]], grid[..., record.axes[1]] = x[None, :], y[:, None]
    far = ((grid[..., None, :] - record.means) ** 2).sum(-1)
    best = (np.log(record.prior) - 0.5 * far).argmax(-1)
    pale = np.array([0.82 + 0.18 * np.array(to_rgb(colour)) for colour in colours])
    limits = axes.dataLim.frozen()
    mesh = axes.pcolormesh(x, y, pale[best], shading="nearest", zorder=-1.0, rasterized=True)
    mesh.sticky_edges.x[:], mesh.sticky_edges.y[:] = [], []
    axes.dataLim.set(limits)
    axes.autoscale_view()


def _wider(low: float, high: float) -> tuple[float, float]:
    """Beyond the ends: the room of the picture may still change."""
    return low - 0.25 * (high - low), high + 0.25 * (high - low)


def _draw_one(record: Discriminants, width: float) -> Figure:
    """The density of the scores of each group, the samples below, and where the most probable group changes."""
    figure = style.blank(width, 0.62 * width)
    axes, colours, x = figure.subplots(), samples.shades(record.colouring), record.positions[:, 0]
    assert record.colouring is not None
    codes, span = record.colouring.values, float(np.ptp(x)) or 1.0
    at = np.linspace(x.min() - 0.08 * span, x.max() + 0.08 * span, POINTS)
    top = 0.0
    for code, colour in enumerate(colours.levels):
        own = x[codes == code]
        y = len(own) / len(x) * samples.density(own, at)
        axes.fill_between(at, y, color=colour, alpha=0.25, linewidth=0)
        axes.plot(at, y, color=colour, linewidth=0.8)
        top = max(top, float(y.max()))
    rows = -0.04 * (1.0 + codes) * (top or 1.0)
    samples.marks(axes, np.column_stack([x, rows]), colours, **samples.look(len(x)))
    k = record.axes[0]
    best = (np.log(record.prior) - 0.5 * (at[:, None] - record.means[:, k]) ** 2).argmax(1)
    for place in np.flatnonzero(np.diff(best)):
        axes.axvline(float(at[place : place + 2].mean()), color=style.GREY, linewidth=0.7, linestyle="--")
    samples.key(figure, axes, colours)
    axes.set(xlabel=samples.titles(record)[0], yticks=[], ylabel="share of samples")
    axes.spines["left"].set_visible(False)
    axes.set_title(record.of, loc="left", color=style.GREY)
    style.footnote(figure, (*record.notes, "Dashed: where the most probable group changes.", *colours.notes))
    return figure


def draw_correlations(record: Discriminants, width: float) -> Figure:
    """Features as arrows in the circle of correlations; on a single axis, as bars."""
    if len(record.axes) == 2:
        return circle.draw(record, width)
    figure = bars.draw_loadings(_bars(record), width)
    figure.axes[0].set_xlabel("correlation with the axis")
    note = f"Features with the largest correlations, up to {record.top} at each end."
    style.footnote(figure, (*record.notes, *([note] if 2 * record.top < len(record.features) else [])))
    return figure


def _bars(record: Discriminants) -> bars.Loadings:
    return bars.Loadings(record.features, record.names, record.shares, record.correlations.T, record.top)


# In words


def describe(record: Discriminants) -> str:
    """Which axes there are."""
    told, number = " and ".join(samples.titles(record)), len(record.groups)
    return (
        f"{counted(len(record.scores), 'sample')} on {told} of the variance between {counted(number, 'group')}: "
        f"{some((short(group, 24) for group in record.groups), 8)}."
    )


def describe_correlations(record: Discriminants) -> str:
    """The features that vary most along the axes."""
    return circle.describe(record) if len(record.axes) == 2 else bars.describe_loadings(_bars(record))


def table(record: Discriminants) -> dict[str, Any]:
    """Samples on the axes drawn, with their groups."""
    assert record.colouring is not None
    groups = [record.groups[code] for code in record.colouring.values.tolist()]
    return {"sample": list(record.samples), "group": groups} | dict(zip(record.names, record.positions.T, strict=True))
