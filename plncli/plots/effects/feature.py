"""A response by itself: its values by group or against a covariate, and the means that the fit expects there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import DataError, counted, number, short
from plncli.inference.hypotheses import INTERCEPT
from plncli.models.abilities import Predicting
from plncli.models.spec import CLASSES, COUNTS
from plncli.plots import style
from plncli.plots.colouring import Colouring, colouring, columns, covariates
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

PANELS = 4
"""Responses that are drawn where none is named: those with the smallest q-values."""
GRID = 50
"""Values of a number at which means are computed."""
GOLDEN = 0.6180339887498949


class Expected(NamedTuple):
    """Means at g values of a covariate, for c levels of another, and their intervals (nan: none); g×c each."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Panel(NamedTuple):
    """A response: its values (n,), nan where missing, and what is expected, None where the formula has no such term."""

    response: str
    values: np.ndarray
    expected: Expected | None


@dataclass(frozen=True)
class Features:
    """Panels against one covariate, `by` (None: all samples in one group), in the colours of another.

    at: (g,) values of `by` at which means are known, or codes of its levels. counts: whether
    the values are counts, drawn as log(1 + count); unit: what they are; level: of the intervals.
    """

    panels: tuple[Panel, ...] = field(repr=False)
    by: Colouring | None
    color: Colouring | None
    at: np.ndarray = field(repr=False)
    counts: bool
    unit: str
    level: float | None
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Features:
    """The responses that are wanted, against the first factor, or else number, of the formula unless `by` says another.

    Means are of samples of typical exposure, other covariates at their mean or most frequent level. DataError for a
    covariate that is not there, or colours that are no levels.
    """
    run = source.run
    kinds = covariates(run)
    by = wanted.by or next((name for name, factor in kinds.items() if factor), next(iter(kinds), None))
    shown = colouring(source, by) if by else None
    color = colouring(source, wanted.color) if wanted.color and wanted.color != by else None
    if color is not None and not color.levels:
        raise DataError(f"--color colours by levels, and `{color.name}` holds numbers: give it as --by.")
    at = np.zeros(1) if shown is None else _values(shown)
    chosen = [response_index(run, name) for name in wanted.responses] or clearest(run, PANELS)
    values, notes = _observed(source)
    expected, more = _expected(source, shown, at, color) if {*kinds} >= {*([by] if by else [])} else (None, ())
    if expected is None:
        more = (f"`{by}` is not in the formula `{run.formula}`, so there are no fitted means.",)
    panels = tuple(
        Panel(run.responses[j], values[:, j], expected and Expected(*(part[..., j] for part in expected)))
        for j in chosen
    )
    if not wanted.responses and len(run.responses) > len(chosen):
        how = "the smallest q-values" if run.inference else "the largest estimates"
        notes += (f"{len(chosen)} of {counted(len(run.responses), run.spec.noun)}, those with {how}; name others.",)
    level = run.summary["level"] if run.inference and expected is not None else None
    unit = {COUNTS.name: "normalised count", CLASSES.name: "probability"}.get(run.spec.response.name, "value")
    return Features(panels, shown, color, at, run.spec.response is COUNTS, unit, level, (*notes, *more))


def clearest(run: Run, most: int) -> list[int]:
    """Indices of the responses with the smallest p-values, or else the largest coefficients; intercepts don't count."""
    rows = [k for k, term in enumerate(run.terms) if term != INTERCEPT] or [0]
    if not run.has_coefficients:
        return list(range(len(run.responses)))
    table = run.inference["p_value"][rows] if run.inference else -np.abs(run.coefficient_table[rows])
    best = np.where(np.isfinite(table), table, np.inf).min(0)
    return np.argsort(best, kind="stable")[:most].tolist()


def _values(by: Colouring) -> np.ndarray:
    if by.levels:
        return np.arange(len(by.levels))
    known = by.values[~np.isnan(by.values)]
    return np.linspace(known.min(), known.max(), GRID)


def _observed(source: Source) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values n×p: counts over their exposure, relative to the typical one; classes as 0 and 1; numbers."""
    if source.run.spec.response is COUNTS:
        values, relative = source.normalised()
        return values, () if relative else ("The fit has no offset: counts are as they were counted.",)
    data = source.data
    seen = np.ones(data.Y.shape, bool) if data.K is None else data.K.numpy()
    return np.where(seen, data.Y.double().numpy(), np.nan), ()


def _expected(
    source: Source, by: Colouring | None, at: np.ndarray, color: Colouring | None
) -> tuple[Expected | None, tuple[str, ...]]:
    """Means of all responses, g×c×p, and a note of what other covariates are held at."""
    import torch

    from plncli.inputs.designs.design import Design
    from plncli.models.fitted import predict

    run, design = source.run, Design.from_json(source.run.design)
    encoding = design.encoding
    of_mean = tuple(encoding.columns) if encoding else ()
    names = tuple(dict.fromkeys((*of_mean, *(design.zeros.columns if design.zeros else ()))))
    own = columns(source, names)
    levels = color.levels if color is not None and color.name in names else ("",)
    grid, held = _reference(own, len(at) * len(levels), {one.name for one in (by, color) if one is not None})
    if by is not None:
        grid[by.name] = _column(own[by.name], np.repeat(at, len(levels)))
    if color is not None and color.name in names:
        grid[color.name] = _column(own[color.name], np.tile(np.arange(len(levels)), len(at)))
    if not isinstance(run.fitted, Predicting):
        return None, ()
    X, zeros = torch.from_numpy(np.ascontiguousarray(design.build(grid))), design.build_zeros(grid)
    X0 = None if zeros is None else torch.from_numpy(np.ascontiguousarray(zeros))
    O = source.data.O.double().mean(0).expand(len(X), -1)
    intervals = ("confidence",) if run.inference else ()
    level = float(run.summary.get("level") or 0.95)
    found = predict(run.fitted, X, O, intervals=intervals, level=level, X0=X0).columns
    mean = next(values for name, values in found.items() if name != "link")
    shape = (len(at), len(levels), len(run.responses))
    nothing = torch.full_like(mean, float("nan"))
    parts = (mean, found.get("conf_low", nothing), found.get("conf_high", nothing))
    note = (f"Fitted means at {', '.join(held)}.",) if held else ()
    return Expected(*(part.reshape(shape).numpy() for part in parts)), note


def _reference(own: pd.DataFrame, rows: int, free: set[str]) -> tuple[pd.DataFrame, list[str]]:
    """Rows of a typical sample: numbers at their mean, factors at their most frequent level; and which those are."""
    import pandas as pd

    content: dict[str, Any] = {}
    held = []
    for name, column in own.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            value = column.value_counts(sort=False).idxmax()
            content[name] = pd.Categorical([value] * rows, categories=column.cat.categories)
        else:
            value = float(column.mean())
            content[name] = np.full(rows, value)
        if name not in free:
            held.append(f"{name} = {value if isinstance(value, str) else number(float(value), 3)}")
    return pd.DataFrame(content, index=[str(i) for i in range(rows)]), held


def _column(own: pd.Series, at: np.ndarray) -> Any:
    """Values of a covariate for the design: levels of codes as the table has them, or numbers."""
    import pandas as pd

    if isinstance(own.dtype, pd.CategoricalDtype):
        return pd.Categorical.from_codes(at.astype(int), categories=own.cat.categories)
    return at


# Drawing


def draw(record: Features, width: float) -> Figure:
    """A panel a response: points are samples, diamonds or lines the means, with their intervals."""
    number_ = len(record.panels)
    width = min(width, 100.0) if number_ == 1 else width
    figure, grid = style.panels(number_, width, min(0.75 * width, 62.0))
    for axes, panel in zip(grid, record.panels, strict=True):
        room = width / (2 if number_ > 1 and width > style.NARROW else 1) - 15.0
        (_groups if record.by is None or record.by.levels else _slope)(axes, record, panel, room)
        axes.set_title(short(panel.response, 40), loc="left")
        axes.set_ylabel(record.unit)
        if record.counts:
            top = [np.nanmax(panel.values, initial=0.0)]
            if panel.expected is not None:
                top.append(np.nanmax(np.where(np.isfinite(panel.expected.high), panel.expected.high, 0.0), initial=0.0))
            style.count_axis(axes.yaxis, float(min(max(top), 20.0 * max(top[0], 1.0))))
            axes.set_ylim(-0.15, 1.05 * np.log1p(min(max(top), 20.0 * max(top[0], 1.0))) + 0.1)
    _key(figure, record)
    style.footnote(figure, record.notes)
    return figure


def _y(record: Features, values: Any) -> np.ndarray:
    """Where values stand: counts as log(1 + count)."""
    return np.log1p(values) if record.counts else np.asarray(values, dtype=float)


def _shades(record: Features) -> list[str]:
    """A colour of each level; beyond those that there are, grey."""
    many = len(record.color.levels) if record.color is not None else 1
    return [*style.SERIES[:-1], *[style.PALE] * many][:many]


def _codes(record: Features) -> np.ndarray:
    """(n,) which colour each sample has, −1 for none."""
    return record.color.values if record.color is not None else np.zeros(len(record.panels[0].values), int)


def _groups(axes: Axes, record: Features, panel: Panel, room: float) -> None:
    """Samples of a level beside each other, those of other colours in lanes of their own; `room` mm wide."""
    by, shades, codes = record.by, _shades(record), _codes(record)
    x = by.values if by is not None else np.zeros(len(panel.values), int)
    lanes = len(shades)
    lane = 0.8 / lanes
    spread = ((np.arange(len(x)) * GOLDEN) % 1.0 - 0.5) * 0.7 * lane  # the same each time
    shift = (np.arange(lanes) - 0.5 * (lanes - 1)) * lane
    for k, colour in enumerate(shades):
        there = (codes == k) & (x >= 0) & ~np.isnan(panel.values)
        colour = style.BLUE if record.color is None else colour
        axes.scatter(x[there] + shift[k] + spread[there], _y(record, panel.values[there]), s=5.0, alpha=0.5,
                     color=colour, linewidths=0)  # fmt: skip
        if panel.expected is not None:
            c = min(k, panel.expected.mean.shape[1] - 1)
            mean, low, high = (_y(record, part[:, c]) for part in panel.expected)
            places = record.at + shift[k]
            axes.vlines(places, low, high, color="black", linewidth=1.0, zorder=3)
            axes.plot(places, mean, "D", ms=3.2, color="black", markerfacecolor=colour, markeredgewidth=0.7, zorder=4)
    labels = [short(level, 16) for level in by.levels] if by is not None else ["all samples"]
    crowded = sum(map(len, labels)) > 0.75 * room
    axes.set_xticks(range(len(labels)), labels, rotation=90 if crowded else 0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(short(by.name, 40) if by is not None else "")


def _slope(axes: Axes, record: Features, panel: Panel, _: float) -> None:
    """Samples against a number, with a line of the means and a band about it."""
    assert record.by is not None
    codes = _codes(record)
    for k, shade in enumerate(_shades(record)):
        colour = style.BLUE if record.color is None else shade
        there = codes == k
        axes.scatter(record.by.values[there], _y(record, panel.values[there]), s=6.0, alpha=0.6, color=colour,
                     linewidths=0)  # fmt: skip
        if panel.expected is not None and k < panel.expected.mean.shape[1]:
            mean, low, high = (_y(record, part[:, k]) for part in panel.expected)
            axes.plot(record.at, mean, color=colour if record.color is not None else "black", linewidth=1.0, zorder=3)
            axes.fill_between(record.at, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel(short(record.by.name, 40))


def _key(figure: Figure, record: Features) -> None:
    marks = []
    if record.color is not None:
        marks += [
            Line2D([], [], marker="o", ms=3.0, linestyle="", color=colour, label=short(level, 20))
            for level, colour in zip(record.color.levels, _shades(record), strict=True)
        ]
    if any(panel.expected is not None for panel in record.panels):
        sign = "D" if record.by is None or record.by.levels else ""
        interval = f", {100 * record.level:g} % interval" if record.level else ""
        marks.append(Line2D([], [], marker=sign, ms=3.2, color="black", linewidth=1.0, label=f"fitted mean{interval}"))
    if marks:
        title = short(record.color.name, 40) if record.color is not None else None
        figure.legend(handles=marks[:12], loc="outside upper left", ncols=3, title=title, title_fontsize=style.TEXT)


def describe(record: Features) -> str:
    """The least and the greatest of the fitted means."""
    told = []
    for panel in record.panels:
        text = f"{panel.response}: {counted(int((~np.isnan(panel.values)).sum()), 'value')}"
        if panel.expected is not None and np.isfinite(panel.expected.mean).any():
            means = panel.expected.mean[np.isfinite(panel.expected.mean)]
            text += f", fitted means from {number(float(means.min()), 3)} to {number(float(means.max()), 3)}"
        told.append(text)
    against = f" by {record.by.name}" if record.by is not None else ""
    return f"Values of the samples{against}. {'; '.join(told)}."
