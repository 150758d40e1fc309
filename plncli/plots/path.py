"""A path of fits: likelihood, criteria and edges along the setting, and the fit that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from plncli.errors import DataError, counted, number
from plncli.evaluation.stability import STABLE
from plncli.plots import style
from plncli.plots.source import Source, Wanted
from plncli.runs.network.links import EDGES
from plncli.runs.path import LAST

INSTABILITY = "instability"
LIKELIHOODS = {"elbo": "ELBO", "loglik": "log-likelihood"}
SPREAD = 2.0
"""Largest over smallest value, from which on an axis of numbers that are not whole is logarithmic."""


@dataclass(frozen=True)
class Path:
    """The fits of a path, (r,) each: values of the setting, likelihood in nats, criteria by name.

    chosen: the place of the fit that was chosen, by `select`. held_out: score of hidden counts, and its standard error,
    where cross-validation chose. edges: how many each has, of networks; instability: of these in subsamples, where it
    chose.
    """

    setting: str
    values: np.ndarray
    likelihood: str
    heights: np.ndarray = field(repr=False)
    criteria: Mapping[str, np.ndarray] = field(repr=False)
    chosen: int
    select: str
    held_out: tuple[np.ndarray, np.ndarray] | None = field(repr=False, default=None)
    notes: tuple[str, ...] = ()
    edges: np.ndarray | None = field(repr=False, default=None)
    instability: np.ndarray | None = field(repr=False, default=None)


def content(source: Source, _: Wanted) -> Path:
    """From the summary of the fit. DataError for a single fit."""
    run = source.run
    told = run.summary.get("path")
    if told is None:
        raise DataError(f"{run.place} is a single fit, not one of a path, so there is nothing to compare.")
    setting, fits = told["setting"], told["fits"]

    def column(name: str) -> np.ndarray:
        return np.array([np.nan if row[name] is None else row[name] for row in fits], float)

    likelihood = run.likelihood[0]
    held_out = (column("cv"), column("cv_se")) if "cv" in fits[0] else None
    chosen = next(place for place, row in enumerate(fits) if row["chosen"])
    unsure = [str(row[setting]) for row in fits if row["status"] != "converged"]
    notes = (f"Not converged: {setting} {', '.join(unsure)}.",) if unsure else ()
    criteria = {name: column(name) for name in run.spec.criteria}
    return Path(
        setting,
        column(setting),
        likelihood,
        column(likelihood),
        criteria,
        chosen,
        told["select"],
        held_out,
        notes,
        *(column(name) if name in fits[0] else None for name in (EDGES, INSTABILITY)),
    )


def draw(record: Path, width: float) -> Figure:
    """Likelihood above, criteria below, and edges, and hidden counts where they were scored."""
    count = 2 + sum(known is not None for known in (record.edges, record.instability, record.held_out))
    figure = style.blank(width, 34.0 * count + 12.0)
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(count, 1, sharex=True)))
    rest = iter(panels[2:])
    dots: dict[str, Any] = {"marker": "o", "markersize": 2.5}
    panels[0].plot(record.values, record.heights, color=style.BLUE, **dots)
    panels[0].set_ylabel(f"{LIKELIHOODS[record.likelihood]} (nats)")
    for (label, values), colour in zip(record.criteria.items(), style.SERIES, strict=False):
        if np.isfinite(values).any():
            wide = 1.8 if label == record.select else 0.8
            above = values - np.nanmin(values)
            panels[1].plot(record.values, above, color=colour, label=label.upper(), linewidth=wide, **dots)
    panels[1].set_ylabel("criterion − its smallest")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper left", ncols=len(record.criteria))
    if record.edges is not None:
        axes = next(rest)
        axes.plot(record.values, record.edges, color=style.RED, **dots)
        axes.set_ylabel(EDGES)
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if record.instability is not None:
        axes = next(rest)
        axes.plot(record.values, record.instability, color=style.GREEN, **dots)
        axes.axhline(STABLE, color=style.GREY, linewidth=0.6, linestyle=":")
        axes.set_ylabel("instability of edges\n(dotted: stable)")
    if record.held_out is not None:
        score, se = record.held_out
        axes = next(rest)
        axes.errorbar(record.values, score, yerr=se, color=style.GREEN, elinewidth=0.9, **dots)
        axes.set_ylabel("hidden counts\n(nats a count, ± se)")
    for axes in panels:
        axes.axvline(record.values[record.chosen], color=style.GREY, linewidth=0.8, linestyle="--", zorder=0)
    along(panels[-1], record.setting, record.values)
    style.footnote(figure, record.notes)
    return figure


def along(axes: Axes, setting: str, values: np.ndarray) -> None:
    """The axis of the setting, in the order of the path."""
    axes.set_xlabel(f"{setting} (dashed: chosen)")
    if (values == values.round()).all():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif values.min() > 0.0 and values.max() >= SPREAD * values.min():
        style.log_axis(axes.xaxis)
        low, high = values.min(), values.max()
        ticks = [step * 10.0**power for power in range(-12, 13) for step in (1, 2, 3, 5, 7)]
        ticks = [tick for tick in ticks if 0.97 * low <= tick <= 1.03 * high]
        axes.xaxis.set_major_locator(FixedLocator(ticks if len(ticks) < 9 else ticks[:: -(-len(ticks) // 8)]))
    if values[0] > values[-1]:
        axes.xaxis.set_inverted(True)


def describe(record: Path) -> str:
    """What was chosen, and what it has."""
    how = "the last" if record.select == LAST else f"by {record.select}"
    value, height = record.values[record.chosen], number(record.heights[record.chosen])
    likelihood = f"{'an' if record.likelihood == 'elbo' else 'a'} {LIKELIHOODS[record.likelihood]}"
    edges = "" if record.edges is None else f" and {counted(int(record.edges[record.chosen]), 'edge')}"
    fits = counted(len(record.values), "fit")
    return f"{fits} along {record.setting}: {value:g} was chosen, {how}, with {likelihood} of {height} nats{edges}."


def table(record: Path) -> dict[str, Any]:
    """Likelihood, criteria and edges by value."""
    held = () if record.held_out is None else zip(("cv", "cv_se"), record.held_out, strict=True)
    more = {EDGES: record.edges, INSTABILITY: record.instability}
    known = {name: column for name, column in more.items() if column is not None}
    return {record.setting: record.values, record.likelihood: record.heights, **record.criteria, **known, **dict(held)}
