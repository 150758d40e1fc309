"""Whether linear regressions hold: standardised residuals, their quantiles, leverage and influence."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import DataError, counted, number, short
from plncli.plots import style
from plncli.plots.source import Source, Wanted, chosen_responses

QUANTILES = 1000
NAMED = 3
CONTOURS = (0.5, 1.0)


class Regression(NamedTuple):
    """Of a response, (n,) each: fitted values, standardised residuals and Cook's distances (nan: none)."""

    response: str
    fitted: np.ndarray
    residuals: np.ndarray
    cook: np.ndarray


@dataclass(frozen=True)
class Regressions:
    """Linear regressions of n samples on d coefficients; leverage: (n,)."""

    samples: tuple[str, ...] = field(repr=False)
    leverage: np.ndarray = field(repr=False)
    d: int
    responses: tuple[Regression, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Regressions:
    """Residuals over their standard deviations, leverages and Cook's distances. DataError where there are none."""
    from plncli.models.regression.fitted import FittedLinear

    data, known = source.data, source.run.fitted
    assert isinstance(known, FittedLinear)
    mean, found = known.linear_predictor(data), known.influence(data)
    chosen, notes = chosen_responses(source.run, wanted.responses)
    made = tuple(
        Regression(data.responses[j], mean[:, j].numpy(), found.standardised[:, j].numpy(), found.cook[:, j].numpy())
        for j in chosen
    )
    none = int(np.isnan(made[0].residuals).sum())
    if none == data.n:
        raise DataError(f"{source.run.place} has no residuals: it fits all {data.n} samples exactly.")
    if none:
        notes = (*notes, f"{counted(none, 'sample')} of leverage 1, which have no residual, not drawn.")
    return Regressions(data.samples, found.leverage.numpy(), data.d, made, notes)


# Quantiles


class Quantiles(NamedTuple):
    """(m,) each, in rising order: quantiles of the standard normal distribution, and of residuals."""

    normal: np.ndarray
    observed: np.ndarray


def quantile_pairs(residuals: np.ndarray) -> Quantiles:
    """Residuals (nan left out) beside normal quantiles; of more than QUANTILES of them, as many quantiles."""
    known = np.sort(residuals[~np.isnan(residuals)])
    many = len(known)
    positions = (np.arange(1, many + 1) - 0.5) / max(many, 1)
    if many > QUANTILES:
        positions = np.r_[0.5 / many, (np.arange(1, QUANTILES - 1) + 0.5) / QUANTILES, 1.0 - 0.5 / many]
        known = np.quantile(known, positions)
    return Quantiles(np.array([NormalDist().inv_cdf(float(share)) for share in positions]), known)


def normal_band(number: int, shares: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Between which values order statistics of `number` independent standard normal numbers lie, each by itself.

    shares: (m,) in (0, 1), which of them; their law is a Beta distribution.
    """
    from scipy.special import betaincinv, ndtri

    k = shares * number + 0.5
    return tuple(ndtri(betaincinv(k, number + 1.0 - k, 0.5 + side * level / 2.0)) for side in (-1.0, 1.0))


def quantile_plot(axes: Axes, pairs: Quantiles, band: int | None, colour: str = style.BLUE) -> None:
    """Quantiles of residuals against normal ones; band: of how many independent ones, None for no band."""
    axes.axline((0.0, 0.0), slope=1.0, color=style.RED, linewidth=0.7)
    if band:
        from scipy.special import ndtr

        low, high = normal_band(band, ndtr(pairs.normal))
        axes.fill_between(pairs.normal, low, high, color=style.PALE, alpha=0.5, linewidth=0, label="95 %, pointwise")
        axes.legend(loc="upper left")
    axes.plot(pairs.normal, pairs.observed, "o", ms=2.0, color=colour, markeredgewidth=0)
    axes.set(xlabel="normal quantile", ylabel="residual quantile")


# Drawing


def draw_residuals(record: Regressions, width: float) -> Figure:
    """Residuals against fitted values: no trend, no fan."""
    figure, grid = style.panels(len(record.responses), width, min(0.75 * width, 70.0))
    for axes, one in zip(grid, record.responses, strict=True):
        known = ~np.isnan(one.residuals)
        style.cloud(axes, one.fitted[known], one.residuals[known], "samples")
        axes.axhline(0.0, color=style.RED, linewidth=0.7)
        x, y = style.running_median(one.fitted[known], one.residuals[known])
        axes.plot(x, y, color="black", marker="o", ms=1.8, linewidth=0.7, label="running median")
        axes.set(xlabel="fitted value", ylabel="standardised residual")
        _title(axes, one.response)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right")
    style.footnote(figure, record.notes)
    return figure


def draw_quantiles(record: Regressions, width: float) -> Figure:
    """Quantiles of standardised residuals against normal ones, with a pointwise band."""
    figure, grid = style.panels(len(record.responses), width, min(0.8 * width, 72.0))
    for axes, one in zip(grid, record.responses, strict=True):
        quantile_plot(axes, quantile_pairs(one.residuals), int((~np.isnan(one.residuals)).sum()))
        _title(axes, one.response)
    style.footnote(figure, record.notes)
    return figure


def draw_leverage(record: Regressions, width: float) -> Figure:
    """Residuals against leverage, contours of Cook's distance, and the samples that move the fit most."""
    figure, grid = style.panels(len(record.responses), width, min(0.8 * width, 72.0))
    named = []
    for axes, one in zip(grid, record.responses, strict=True):
        known = ~np.isnan(one.residuals)
        h, r = record.leverage[known], one.residuals[known]
        style.cloud(axes, h, r, "samples")
        axes.axhline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
        right, top = 1.08 * float(h.max()), 1.25 * max(float(np.abs(r).max()), 2.0)
        axes.set(xlim=(0.0, right), ylim=(-top, top))
        _contours(axes, record.d, right, top)
        axes.set(xlabel="leverage", ylabel="standardised residual")
        _title(axes, one.response)
        worst = np.argsort(-one.cook[known], kind="stable")[:NAMED]
        names = [record.samples[i] for i in np.flatnonzero(known)[worst]]
        named.append((axes, h[worst], r[worst], names, np.column_stack([h, r])))
    style.footnote(figure, record.notes)
    for of_panel in named:
        style.name_points(*of_panel)
    return figure


def _contours(axes: Axes, d: int, right: float, top: float) -> None:
    """Where Cook's distance r² h / (d (1 − h)) is one of CONTOURS, named where they leave the panel."""
    h = np.linspace(1e-4, min(right, 0.9999), 400)
    inside = []
    for distance in CONTOURS:
        r = np.sqrt(distance * d * (1.0 - h) / h)
        for sign in (1.0, -1.0):
            axes.plot(h, sign * r, color=style.RED, linewidth=0.6, linestyle="--")
        if r[-1] < top:
            inside.append(f"{distance:g}")
            axes.text(right, r[-1], f" {distance:g}", fontsize=5.0, color=style.RED, va="center", ha="left")
    label = f"Cook's distance {', '.join(inside)}" if inside else f"Cook's distance < {CONTOURS[0]:g} throughout"
    key = Line2D([], [], color=style.RED, linewidth=0.6, linestyle="--" if inside else "", label=label)
    axes.legend(handles=[key], loc="upper right", fontsize=5.0, handlelength=1.5 if inside else 0.0)


def _title(axes: Axes, name: str) -> None:
    axes.set_title(short(name, 32), loc="left")


# In words


def describe(record: Regressions) -> str:
    """The extremes of residuals, and of influence."""
    told = (
        f"{r.response}: standardised residuals from {np.nanmin(r.residuals):.2f} to {np.nanmax(r.residuals):.2f}, "
        f"largest Cook's distance {number(np.nanmax(r.cook))}"
        for r in record.responses
    )
    return f"{counted(len(record.samples), 'sample')}; {'; '.join(told)}; largest leverage {record.leverage.max():.2f}."
