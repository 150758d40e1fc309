"""How fits came to their end: the objective still to gain, and the gap, against steps and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from plncli.errors import DataError, counted, number, short
from plncli.plots import style
from plncli.plots.source import Source, Wanted
from plncli.tables.numbers import numbers
from plncli.tables.reading import read_table
from plncli.tables.table import Table
from plncli.tables.writing import FORMATS

HELD_OUT = "held_out_loss"
NUMBERS_RULE = "It must be the file that `plncli fit` wrote."


@dataclass(frozen=True)
class Trace:
    """Of a fit, (t,) each: steps, seconds, and objective (elbo or loglik) and gap in nats, nan where there is none.

    held_out: loss of samples held out of a training, in nats a sample, and kept: the step whose weights were; None for
    other fits. optimum: where the objective is estimated to end, its last value and the gap; problem: what was fitted,
    in the sense that fits of one problem have one optimum.
    """

    name: str
    likelihood: str
    steps: np.ndarray = field(repr=False)
    seconds: np.ndarray = field(repr=False)
    objective: np.ndarray = field(repr=False)
    gap: np.ndarray = field(repr=False)
    optimum: float
    problem: str = ""
    held_out: np.ndarray | None = field(repr=False, default=None)
    kept: int | None = None

    @property
    def left(self) -> np.ndarray:
        """(t,) nats still to gain: log scales need them positive, so nan where they are not."""
        left = self.optimum - self.objective
        return np.where(left > 0.0, left, np.nan)


@dataclass(frozen=True)
class Loss:
    """The traces of one fit or several."""

    traces: tuple[Trace, ...]
    notes: tuple[str, ...] = ()


def content(source: Source, _: Wanted) -> Loss:
    """The trace in the folder of a fit, in any format. DataError where there is none, or nothing but its end."""
    run = source.run
    path = _trace_file(run.path.parent)
    if path is None and source.trace is None:
        raise DataError(f"{run.path.parent} has no loss_trace file; give the folder that `plncli fit` wrote.")
    table = source.trace or read_table(str(path), "loss_trace", sample_names=False)
    likelihood = "elbo" if "elbo" in table.columns else "loglik"
    names = ("step", "seconds", likelihood, "gap")
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise DataError(f"{table.name} lacks the column {absent[0]}. {NUMBERS_RULE}")
    values, missing = numbers(table.select(names), NUMBERS_RULE)
    if missing is not None:
        values = np.where(missing, np.nan, values)
    steps, seconds, objective, gap = values.T
    if len(steps) < 2:
        raise DataError(f"{run.place} was solved in one step, so there is no course of it to draw.")
    last = float(objective[-1]) + (float(gap[-1]) if np.isfinite(gap[-1]) else 0.0)
    problem = repr([run.model, run.summary["covariance"], sorted(run.terms), *sorted(run.fingerprint.items())])
    trace = Trace(str(run.place), likelihood, steps, seconds, objective, np.where(gap > 0, gap, np.nan), last, problem)
    return Loss((replace(trace, held_out=_held_out(table), kept=run.summary.get("step_kept")),))


def _held_out(table: Table) -> np.ndarray | None:
    """The loss of samples held out, (t,), where there are any."""
    if HELD_OUT not in table.columns:
        return None
    values, missing = numbers(table.select((HELD_OUT,)), NUMBERS_RULE)
    return (values if missing is None else np.where(missing, np.nan, values))[:, 0]


def _trace_file(folder: Path) -> Path | None:
    return next((path for suffix in FORMATS if (path := folder / f"loss_trace.{suffix}").is_file()), None)


def together(losses: Sequence[Loss]) -> Loss:
    """Several fits in one picture: those of one problem are measured against the best optimum among them."""
    traces = [trace for loss in losses for trace in loss.traces]
    best: dict[str, float] = {}
    for trace in traces:
        best[trace.problem] = max(trace.optimum, best.get(trace.problem, -np.inf))
    made = tuple(replace(trace, optimum=best[trace.problem]) for trace in traces)
    shared = ("Fits of one problem are measured against the best of them.",) if len(best) < len(traces) else ()
    return Loss(made, shared)


def draw(record: Loss, width: float) -> Figure:
    """Four panels: what is left and the gap, on log scales, against steps and seconds; of a training: `_training`."""
    if len(record.traces) == 1 and record.traces[0].kept is not None:
        return _training(record.traces[0], width)
    figure = style.blank(width, max(90.0, min(0.72 * width, 120.0)))
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    for place, trace in enumerate(record.traces):
        look: dict[str, Any] = {
            "color": style.SERIES[place % len(style.SERIES)],
            "linestyle": style.DASHES[place // len(style.SERIES) % len(style.DASHES)],
            "marker": "o" if len(trace.steps) <= 60 else None,
            "markersize": 2.0,
        }
        for column, x in enumerate((trace.steps, trace.seconds)):
            grid[0, column].plot(x, trace.left, label=short(trace.name, 40), **look)
            known = ~np.isnan(trace.gap)
            few = {"marker": "o"} if known.sum() <= 60 else {}
            grid[1, column].plot(x[known], trace.gap[known], **look | few)
    likelihood = {trace.likelihood for trace in record.traces}
    noun = "ELBO" if likelihood == {"elbo"} else "log-likelihood" if likelihood == {"loglik"} else "objective"
    grid[0, 0].set_ylabel(f"{noun} still to gain (nats)")
    grid[1, 0].set_ylabel("estimated gap (nats)")
    grid[1, 0].set_xlabel("step")
    grid[1, 1].set_xlabel("seconds")
    for axes in grid.ravel():
        style.log_axis(axes.yaxis)
        if not any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
            axes.set_ylim(0.1, 1.0)
            axes.text(0.5, 0.5, "none above 0", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.grid(axis="y", linewidth=0.3, color=style.PALE)
    for column, values in enumerate(([t.steps[-1] for t in record.traces], [t.seconds[-1] for t in record.traces])):
        if max(values) > 20.0 * min(values) > 0.0:
            grid[1, column].set_xscale("symlog", linthresh=max(min(values) / 4.0, 1.0 if column == 0 else 0.0))
            grid[1, column].set_xlim(left=0.0)
            grid[1, column].xaxis.set_major_formatter(FuncFormatter(style.power_of_ten))
        else:
            grid[1, column].xaxis.set_major_locator(MaxNLocator(5, integer=column == 0))
    longest = max(len(short(trace.name, 40)) for trace in record.traces)
    columns = max(1, int(width / (12.0 + 1.3 * longest)))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=columns)
    style.footnote(figure, record.notes)
    return figure


def _training(trace: Trace, width: float) -> Figure:
    """What training gained, and the loss of samples held out, by step; dashed: the step whose weights were kept."""
    rows = 1 if trace.held_out is None else 2
    figure = style.blank(width, 45.0 * rows + 8.0)
    panels = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    panels[0].plot(trace.steps, -trace.objective, color=style.BLUE)
    panels[0].set_ylabel("loss in training,\nwith penalty (nats)")
    if trace.held_out is not None:
        panels[1].plot(trace.steps, trace.held_out, color=style.RED)
        panels[1].set_ylabel("held-out loss\n(nats a sample)")
        low, start = np.nanmin(trace.held_out), trace.held_out[0]
        panels[1].set_ylim(low - 0.1 * (start - low), low + 1.2 * max(start - low, 1e-9))
    for axes in panels:
        axes.axvline(float(trace.kept or 0), color=style.GREY, linewidth=0.8, linestyle="--", zorder=0)
        axes.grid(axis="y", linewidth=0.3, color=style.PALE)
    panels[-1].set_xlabel("step (dashed: kept)")
    panels[-1].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


# In words


def describe(record: Loss) -> str:
    """How far the fit came, in numbers."""
    (trace,) = record.traces
    if trace.kept is not None:
        known = trace.held_out
        held = "" if known is None else f", where the held-out loss was {number(float(np.nanmin(known)))} nats a sample"
        return (
            f"Training over {counted(int(trace.steps[-1]), 'step')}: the weights of step {trace.kept} are kept{held}."
        )
    known = trace.gap[~np.isnan(trace.gap)]
    gaps = f"; the gap falls from {number(known[0])} to {number(known[-1])} nats" if len(known) > 1 else ""
    objective = {"elbo": "ELBO", "loglik": "log-likelihood"}[trace.likelihood]
    return (
        f"Course of the fit over {counted(int(trace.steps[-1]), 'step')}: the {objective} rises from "
        f"{number(trace.objective[0])} to {number(trace.objective[-1])}{gaps}."
    )
