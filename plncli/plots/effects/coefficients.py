"""The coefficients that stand out, with their intervals; those without a finite estimate beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import counted, number, short
from plncli.plots import style
from plncli.plots.effects.estimates import Effect, effect_axis, effects, places, scale
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run
from plncli.runs.scales import Scale

TOP, LEAST = 20, 5
"""Rows with finite estimates: of all terms together, and of each at least."""
ROW, AROUND = 3.3, 7.0
"""Height in mm of a row, and of what a panel has besides."""


class Row(NamedTuple):
    """A coefficient: estimate, interval and q-value, nan where there is none; the estimate may be ±inf.

    group: the term of the formula that it is of.
    """

    group: str
    term: str
    response: str
    estimate: float
    low: float
    high: float
    q_value: float


@dataclass(frozen=True)
class Forest:
    """Coefficients in order, the first on top; level of the intervals; the scale that they are drawn on."""

    rows: tuple[Row, ...] = field(repr=False)
    level: float
    scale: Scale
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Forest:
    """Of each term, the coefficients with the smallest q-values, in order of size, and those without finite estimate.

    Intercepts are among them only where they are asked for, or alone. Without standard errors: the largest in size.
    """
    run, found = source.run, effects(source.run, wanted)
    responses = [response_index(run, name) for name in wanted.responses] or list(range(len(run.responses)))
    terms = list(dict.fromkeys(effect.term for effect in found))
    top = max(LEAST, TOP // len(terms)) if wanted.top is None else wanted.top
    rows = [row for effect in found for row in _rows(run, effect, responses)]
    ranked = sorted((row for row in rows if _rankable(run, row)), key=_rank)
    infinite = [row for row in rows if np.isinf(row.estimate)]
    order = {effect.name: place for place, effect in enumerate(found)}
    infinite.sort(key=lambda row: (order[row.term], -row.estimate))
    chosen = [
        row for term in terms for each in (ranked, infinite) for row in [row for row in each if row.group == term][:top]
    ]
    shown = sorted(chosen, key=lambda row: (terms.index(row.group), order[row.term], -row.estimate))
    left = len(rows) - len(ranked) - len(infinite)
    total = len(run.terms) * len(run.responses) if not (wanted.terms or wanted.responses) else len(rows)
    notes = _notes(run, shown, len(ranked), left, len(infinite), total)
    return Forest(tuple(shown), float(run.summary.get("level") or 0.95), scale(run, wanted), notes)


def _rows(run: Run, effect: Effect, responses: list[int]) -> list[Row]:
    parts = (effect.estimate, effect.low, effect.high, effect.q_value)
    return [Row(effect.term, effect.name, run.responses[j], *(float(part[j]) for part in parts)) for j in responses]


def _rankable(run: Run, row: Row) -> bool:
    """Whether a row is finite and, where the fit has standard errors, has one."""
    return bool(np.isfinite(row.estimate)) and not (run.inference and np.isnan(row.q_value))


def _rank(row: Row) -> tuple[float, float]:
    """Small for what stands out: by q-value, equal ones by estimate over the width of the interval."""
    if np.isnan(row.q_value):
        return 0.0, -abs(row.estimate)
    return row.q_value, -abs(row.estimate) / max(row.high - row.low, 1e-300)


def _notes(run: Run, shown: list[Row], ranked: int, without: int, infinite: int, total: int) -> tuple[str, ...]:
    """How many coefficients are not drawn, and why."""
    notes, finite = [], sum(bool(np.isfinite(row.estimate)) for row in shown)
    if ranked > finite:
        of_each = " of each term" if len({row.group for row in shown}) > 1 else ""
        by = "smallest q-values" if run.inference else "largest estimates; the fit has no standard errors"
        notes.append(f"{finite} of {counted(total, 'coefficient')}: those{of_each} with the {by}.")
    elif not run.inference:
        notes.append("The fit has no standard errors, so there are no intervals.")
    if infinite > len(shown) - finite:
        notes.append(f"{infinite - len(shown) + finite} of {counted(infinite, 'coefficient')} of ±∞ not drawn.")
    if without and run.inference:
        notes.append(f"{counted(without, 'coefficient')} without a standard error not drawn.")
    return tuple(notes)


# Drawing


def draw(record: Forest, width: float) -> Figure:
    """A forest plot: a panel a term, each with an axis of its own, and a row a coefficient."""
    terms = [list(rows) for _, rows in groupby(record.rows, key=lambda row: row.group)] or [[]]
    alone = len({row.response for row in record.rows}) == 1
    lines = [_lines(rows, alone) for rows in terms]
    heights = [ROW * max(len(one), 1 if alone else 3) + AROUND for one in lines]
    figure = style.blank(width, sum(heights) + 11.0 + 3.0 * len(record.notes))
    grid = figure.subplots(len(terms), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, rows, each in zip(grid, terms, lines, strict=True):
        _panel(axes, rows, each, record.scale)
    if alone:
        grid[0].set_title(short(record.rows[0].response, 28), loc="left")
    intervals = f", {100 * record.level:g} % intervals" if any(row.low < row.high for row in record.rows) else ""
    for axes in grid:
        effect_axis(axes.xaxis, record.scale)
        axes.set_xlabel("")
    grid[-1].set_xlabel(f"{_noun(record.scale)}{intervals}")
    _key(figure, record.rows)
    style.footnote(figure, record.notes)
    return figure


def _noun(scale: Scale) -> str:
    return scale.title if scale.name != "log" else f"coefficient ({scale.title})"


def _lines(rows: list[Row], alone: bool) -> list[tuple[str, Row | None]]:
    """Rows of a panel by response, with the name of a coefficient before those of it; by term, of one response."""
    if alone:
        return [(row.term, row) for row in rows]
    lines: list[tuple[str, Row | None]] = []
    for before, row in zip((None, *rows), rows, strict=False):
        if before is None or before.term != row.term:
            lines.append((row.term, None))
        lines.append((row.response, row))
    return lines


def _panel(axes: Axes, rows: list[Row], lines: list[tuple[str, Row | None]], scale: Scale) -> None:
    """The coefficients of a term, the first line on top."""
    axes.axvline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
    for place, (_, row) in enumerate(lines):
        if row is not None and np.isinf(row.estimate):
            _infinite(axes, -place, row.estimate > 0, scale)
        elif row is not None:
            clear = row.q_value < SIGNIFICANT
            colour = style.BLUE if clear else style.GREY
            low, middle, high = places(scale, (row.low, row.estimate, row.high))
            axes.plot([low, high], [-place, -place], color=colour, linewidth=0.9, solid_capstyle="butt")
            axes.plot(middle, -place, "o", color=colour, markerfacecolor=colour if clear else "white", ms=3.0)
    if not any(np.isfinite(row.estimate) for row in rows):
        axes.set_xlim(-1.0, 1.0)
    elif any(np.isinf(row.estimate) for row in rows):
        axes.margins(x=0.12)
    axes.set_yticks([-place for place in range(len(lines))], [short(text, 28) for text, _ in lines])
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _infinite(axes: Axes, place: int, up: bool, scale: Scale) -> None:
    """A mark at the edge of the panel, and its value."""
    across = axes.get_yaxis_transform()
    edge, beside, sign = (0.988, 0.965, "∞") if up else (0.012, 0.035, number(float(scale.of(-np.inf))))
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


def told(row: Row, level: float, scale: Scale) -> str:
    """A row in words: response and term, estimate, interval and q."""
    estimate, low, high = (number(float(scale.of(value))) for value in (row.estimate, row.low, row.high))
    interval = f", {100 * level:g} % interval {low} to {high}" if row.low < row.high else ""
    q = "" if np.isnan(row.q_value) else f", q = {number(row.q_value)}"
    return f"{row.response}, {row.term}: {estimate}{interval}{q}"


def describe(record: Forest) -> str:
    """How many coefficients are clear, and the largest."""
    finite = [row for row in record.rows if np.isfinite(row.estimate)]
    clear = [row for row in finite if row.q_value < SIGNIFICANT]
    text = f"Forest plot of {counted(len(record.rows), 'coefficient')}: {len(clear)} with q < {SIGNIFICANT:g}, "
    text += f"{sum(row.estimate > 0 for row in clear)} of them above {record.scale.null:g}"
    if len(record.rows) > len(finite):
        text += f"; {len(record.rows) - len(finite)} without a finite value"
    if finite:
        ends = max(finite, key=lambda row: row.estimate), min(finite, key=lambda row: row.estimate)
        text += "; " + ", ".join(
            f"{word} {row.response} ({row.term}) at {number(float(record.scale.of(row.estimate)))}"
            for word, row in zip(("largest", "smallest"), ends[: len(finite)], strict=False)
        )
    return f"{text}."
