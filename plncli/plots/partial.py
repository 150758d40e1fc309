"""Partial dependence of a neural mean (Friedman 2001), with the curves of single samples (Goldstein et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plncli.errors import DataError, UsageError, nearest, number, short
from plncli.plots import style
from plncli.plots.source import PANELS, Source, Wanted

SAMPLES = 40
"""Curves of single samples, at most."""


@dataclass(frozen=True)
class Panel:
    """A covariate and a response: the mean (v,) of all samples at values (v,), and single samples (k×v).

    levels: of a factor, at whose places the values are; own: the covariate of all samples (n,).
    """

    covariate: str
    response: str
    values: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    single: np.ndarray = field(repr=False)
    own: np.ndarray = field(repr=False)
    levels: tuple[str, ...] = ()

    @property
    def reach(self) -> float:
        """How far the mean moves."""
        return float(self.mean.max() - self.mean.min())


@dataclass(frozen=True)
class Partial:
    """The panels drawn, of all that there are (`every`); what means are measured in."""

    panels: tuple[Panel, ...]
    every: tuple[Panel, ...] = field(repr=False)
    scale: str
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Partial:
    """The covariates and responses that are wanted, else those whose means move furthest; by covariate.

    DataError for a fit with a linear mean; UsageError for a covariate or response that there is not.
    """
    from plncli.models.neural.effects import curves, dependence, label

    run = source.run
    if run.has_coefficients:
        raise DataError(
            f"{run.place} has a linear mean: `plncli plot RUN coefficients` draws it. Partial dependence is of "
            "fits with --hidden."
        )
    data, fitted = source.data, run.fitted
    X, w = data.X.double().cpu(), data.w.double().cpu()
    keep = np.unique(np.linspace(0, len(X) - 1, SAMPLES).round().astype(int))
    every = []
    for curve in curves(X, run.terms):
        at = dependence(fitted.mean, X, curve)
        average = (at * (w / w.sum())[:, None]).sum(1).numpy()
        name, levels = label(curve, run.terms)
        values = np.arange(len(levels), dtype=float) if levels else curve.values.numpy()
        own = np.empty(0) if levels else X[:, curve.columns[0]].numpy()
        parts = at[:, keep].numpy()
        every += [
            Panel(name, response, values, average[:, j], parts[:, :, j].T, own, levels)
            for j, response in enumerate(run.responses)
        ]
    chosen = _chosen(every, wanted, run.spec.noun)
    more = len(every) - len(chosen)
    note = f"The {len(chosen)} of {len(every)} that move furthest; --top, --term and --only draw others."
    notes = (note,) if more and not (wanted.terms or wanted.responses) else ()
    return Partial(tuple(chosen), tuple(every), run.spec.words.scale, notes)


def _chosen(every: Sequence[Panel], wanted: Wanted, noun: str) -> list[Panel]:
    for names, known, what in (
        (wanted.terms, [panel.covariate for panel in every], "covariate"),
        (wanted.responses, [panel.response for panel in every], noun),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"There is no {what} `{name}`.{nearest(name, list(dict.fromkeys(known)))}")
    found = [
        panel
        for panel in every
        if (not wanted.terms or panel.covariate in wanted.terms)
        and (not wanted.responses or panel.response in wanted.responses)
    ]
    top = wanted.top or (len(found) if wanted.terms and wanted.responses else PANELS)
    leading = sorted(found, key=lambda panel: -panel.reach)[:top]
    return [panel for panel in found if any(panel is one for one in leading)]


def draw(record: Partial, width: float) -> Figure:
    """A panel a covariate and response, on one scale for all."""
    many = len(record.panels)
    width = min(width, 100.0) if many == 1 else width
    figure, grid = style.panels(many, width, min(0.75 * width, 52.0))
    for axes, panel in zip(grid, record.panels, strict=True):
        _panel(axes, panel)
        axes.set_ylabel(f"mean ({record.scale})")
    style.footnote(figure, record.notes)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    dots: dict[str, Any] = {"marker": "o", "markersize": 3.0} if panel.levels else {}
    for curve in panel.single:
        axes.plot(panel.values, curve, color=style.GREY, linewidth=0.4, alpha=0.5)
    axes.plot(panel.values, panel.mean, color=style.BLUE, linewidth=1.8, **dots)
    if panel.levels:
        axes.set_xticks(panel.values, [short(level, 14) for level in panel.levels])
        axes.set_xlim(-0.4, len(panel.levels) - 0.6)
    else:
        low, high = axes.get_ylim()
        axes.vlines(panel.own, low, low + 0.03 * (high - low), color="black", linewidth=0.3)
        axes.set_ylim(low, high)
    axes.set_xlabel(short(panel.covariate, 40))
    axes.set_title(short(panel.response, 40), loc="left")


def describe(record: Partial) -> str:
    """How far the means move."""
    told = (
        f"{panel.response} moves by {number(panel.reach, 3)} with {panel.covariate}"
        for panel in sorted(record.panels, key=lambda panel: -panel.reach)
    )
    return f"Partial dependence, in {record.scale}: {'; '.join(told)}."


def table(record: Partial) -> dict[str, Any]:
    """All means: a row a covariate, response and value."""
    rows = [(panel, k) for panel in record.every for k in range(len(panel.values))]
    return {
        "covariate": [panel.covariate for panel, _ in rows],
        "response": [panel.response for panel, _ in rows],
        "value": [panel.levels[k] if panel.levels else f"{panel.values[k]:.6g}" for panel, k in rows],
        "mean": np.array([panel.mean[k] for panel, k in rows]),
    }
