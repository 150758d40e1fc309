"""The coefficients that stand out, with their intervals; those without a finite estimate beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import counted, short
from plncli.inference.hypotheses import INTERCEPT
from plncli.plots import style
from plncli.plots.source import Source, Wanted, coefficient_scale, response_index
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run

TOP = 20
ROW = 3.3
"""Height of a row in mm."""


class Row(NamedTuple):
    """A coefficient: estimate, interval and q-value, nan where there is none; the estimate may be ±inf."""

    term: str
    response: str
    estimate: float
    low: float
    high: float
    q_value: float


@dataclass(frozen=True)
class Forest:
    """Coefficients in order, the first on top; level of the intervals; what a coefficient is measured in."""

    rows: tuple[Row, ...] = field(repr=False)
    level: float
    scale: str
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Forest:
    """The coefficients with the smallest q-values, by term and in order of size, and as many without finite estimate.

    Intercepts are among them only where they are asked for, or alone. Without standard errors: the largest in size.
    """
    run, top = source.run, TOP if wanted.top is None else wanted.top
    terms = _terms(run, wanted.terms)
    responses = [response_index(run, name) for name in wanted.responses] or range(len(run.responses))
    tables = [run.estimates["B"], *(_table(run, name) for name in ("conf_low", "conf_high", "q_value"))]
    rows = [
        Row(run.terms[k], run.responses[j], *(float(table[k, j]) for table in tables)) for k in terms for j in responses
    ]
    infinite = [row for row in rows if np.isinf(row.estimate)]
    finite = [row for row in rows if np.isfinite(row.estimate)]
    known = [row for row in finite if not np.isnan(row.q_value)]
    ranked = sorted(known if run.inference else finite, key=_rank)
    order = {run.terms[k]: place for place, k in enumerate(terms)}
    infinite.sort(key=lambda row: (order[row.term], -row.estimate))
    shown = sorted([*ranked[:top], *infinite[:top]], key=lambda row: (order[row.term], -row.estimate))
    notes = _notes(run, len(ranked), len(finite) - len(ranked), len(infinite), len(rows), top)
    return Forest(tuple(shown), float(run.summary.get("level") or 0.95), coefficient_scale(run), notes)


def _terms(run: Run, names: tuple[str, ...]) -> list[int]:
    """Indices of the coefficients that terms of the formula, or coefficients, name."""
    if names:
        rows = [row for name in names for row in run.coefficients.zero(name).rows]
        return list(dict.fromkeys(row.index(1.0) for row in rows))
    return [k for k, term in enumerate(run.terms) if term != INTERCEPT] or [0]


def _table(run: Run, name: str) -> np.ndarray:
    """A table of the inference, d×p: nan throughout, where there is none."""
    return run.inference[name] if run.inference else np.full(run.estimates["B"].shape, np.nan)


def _rank(row: Row) -> tuple[float, float]:
    """Small for what stands out: by q-value, equal ones by estimate over the width of the interval."""
    if np.isnan(row.q_value):
        return 0.0, -abs(row.estimate)
    return row.q_value, -abs(row.estimate) / max(row.high - row.low, 1e-300)


def _notes(run: Run, ranked: int, without: int, infinite: int, total: int, top: int) -> tuple[str, ...]:
    """How many coefficients are not drawn, and why."""
    notes = []
    if ranked > top:
        by = "the smallest q-values" if run.inference else "the largest estimates; the fit has no standard errors"
        notes.append(f"{top} of {counted(total, 'coefficient')}: those with {by}.")
    elif not run.inference:
        notes.append("The fit has no standard errors, so there are no intervals.")
    if infinite > top:
        notes.append(f"{infinite - top} of {counted(infinite, 'coefficient')} of ±∞ not drawn.")
    if without and run.inference:
        notes.append(f"{counted(without, 'coefficient')} without a standard error not drawn.")
    return tuple(notes)


def draw(record: Forest, width: float) -> Figure:
    """A forest plot: a row a coefficient, below the name of its term."""
    lines = _lines(record.rows)
    figure = style.blank(width, 18.0 + ROW * max(len(lines), 3))
    axes = figure.subplots()
    axes.axvline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
    for place, (_, row) in enumerate(lines):
        if row is not None and np.isinf(row.estimate):
            _infinite(axes, -place, row.estimate > 0)
        elif row is not None:
            clear = row.q_value < SIGNIFICANT
            colour = style.BLUE if clear else style.GREY
            axes.plot([row.low, row.high], [-place, -place], color=colour, linewidth=0.9, solid_capstyle="butt")
            axes.plot(row.estimate, -place, "o", color=colour, markerfacecolor=colour if clear else "white", ms=3.0)
    if not any(np.isfinite(row.estimate) for row in record.rows):
        axes.set_xlim(-1.0, 1.0)
    elif any(np.isinf(row.estimate) for row in record.rows):
        axes.margins(x=0.12)
    axes.set_yticks([-place for place in range(len(lines))], [short(text, 28) for text, _ in lines])
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    if lines and all(row is not None for _, row in lines):
        axes.set_title(short(record.rows[0].response, 28), loc="left")
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    intervals = f", {100 * record.level:g} % intervals" if any(row.low < row.high for row in record.rows) else ""
    axes.set_xlabel(f"coefficient ({record.scale}){intervals}")
    _key(figure, record.rows)
    style.footnote(figure, record.notes)
    return figure


def _lines(rows: tuple[Row, ...]) -> list[tuple[str, Row | None]]:
    """The rows by response, with the name of a term before those of it; by term, where there is one response."""
    if len({row.response for row in rows}) == 1:
        return [(row.term, row) for row in rows]
    lines: list[tuple[str, Row | None]] = []
    for before, row in zip((None, *rows), rows, strict=False):
        if before is None or before.term != row.term:
            lines.append((row.term, None))
        lines.append((row.response, row))
    return lines


def _infinite(axes: Axes, place: int, up: bool) -> None:
    """A mark at the edge of the panel, and its sign."""
    across = axes.get_yaxis_transform()
    edge, beside, sign = (0.988, 0.965, "∞") if up else (0.012, 0.035, "−∞")
    axes.plot(edge, place, ">" if up else "<", color=style.RED, ms=3.5, transform=across, clip_on=False)
    side = "right" if up else "left"
    axes.text(beside, place, sign, transform=across, fontsize=style.TEXT, ha=side, va="center", color=style.RED)


def _key(figure: Figure, rows: tuple[Row, ...]) -> None:
    """What the marks mean, of those that occur."""
    kinds = {
        f"q < {SIGNIFICANT:g}": (style.BLUE, style.BLUE, any(row.q_value < SIGNIFICANT for row in rows)),
        f"q ≥ {SIGNIFICANT:g}": (style.GREY, "white", any(row.q_value >= SIGNIFICANT for row in rows)),
    }
    marks = [
        Line2D([], [], marker="o", ms=3.0, color=edge, markerfacecolor=face, linewidth=0.9, label=label)
        for label, (edge, face, there) in kinds.items()
        if there
    ]
    if marks:
        figure.legend(handles=marks, loc="outside upper right", ncols=2)
