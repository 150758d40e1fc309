"""A path of fits: likelihood and criteria along the setting, and the fit that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plncli.errors import DataError, counted, number
from plncli.plots import style
from plncli.plots.source import Source, Wanted

CRITERIA = ("aic", "bic", "icl")


@dataclass(frozen=True)
class Path:
    """The fits of a path, (r,) each: values of the setting, likelihood in nats, criteria by name.

    chosen: the place of the fit that was chosen, by `select`. held_out: score of hidden counts, and its standard error,
    where cross-validation chose.
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
    criteria = {name: column(name) for name in CRITERIA}
    return Path(
        setting, column(setting), likelihood, column(likelihood), criteria, chosen, told["select"], held_out, notes
    )


def draw(record: Path, width: float) -> Figure:
    """Likelihood above, criteria below, and hidden counts where they were scored."""
    count = 2 + (record.held_out is not None)
    figure = style.blank(width, 34.0 * count + 12.0)
    panels: list[Axes] = list(np.atleast_1d(figure.subplots(count, 1, sharex=True)))
    name = {"elbo": "ELBO", "loglik": "log-likelihood"}[record.likelihood]
    panels[0].plot(record.values, record.heights, marker="o", markersize=2.5, color=style.BLUE)
    panels[0].set_ylabel(f"{name} (nats)")
    for (label, values), colour in zip(record.criteria.items(), style.SERIES, strict=False):
        panels[1].plot(record.values, values, marker="o", markersize=2.5, color=colour, label=label.upper())
    panels[1].set_ylabel("criterion")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper left", ncols=len(record.criteria))
    if record.held_out is not None:
        score, se = record.held_out
        panels[2].errorbar(record.values, score, yerr=se, marker="o", markersize=2.5, color=style.GREEN, elinewidth=0.9)
        panels[2].set_ylabel("hidden counts\n(nats a count, ± se)")
    for axes in panels:
        axes.axvline(record.values[record.chosen], color=style.GREY, linewidth=0.8, linestyle="--", zorder=0)
    panels[-1].set_xlabel(f"{record.setting} (dashed: chosen)")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    style.footnote(figure, record.notes)
    return figure


def describe(record: Path) -> str:
    """What was chosen, and what it has."""
    how = "the last" if record.select not in (*CRITERIA, "cv") else f"by {record.select}"
    value, height = record.values[record.chosen], record.heights[record.chosen]
    return (
        f"{counted(len(record.values), 'fit')} along {record.setting}: {value:g} was chosen, {how}, with a "
        f"{record.likelihood} of {number(height)} nats."
    )


def table(record: Path) -> dict[str, Any]:
    """Likelihood and criteria by value."""
    held = () if record.held_out is None else zip(("cv", "cv_se"), record.held_out, strict=True)
    return {record.setting: record.values, record.likelihood: record.heights, **record.criteria, **dict(held)}
