"""Estimates of all responses at once: against their p-values, and against how often features are counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import DataError, counted, number, short, some
from plncli.plots import style
from plncli.plots.effects.estimates import Effect, clear, effect_axis, effects, first, places, scale
from plncli.plots.source import Source, Wanted
from plncli.runs.run import Run
from plncli.runs.scales import Scale

NAMED = 10
DEEPEST = 300.0
"""The largest −log10 p that is drawn: those of smaller p lie there too."""


@dataclass(frozen=True)
class Cloud:
    """Effects of p responses, a panel each. abundance: (p,) mean normalised counts, for an MA plot.

    scale: of the estimates; max_q and least: the thresholds, `least` as a size of natural logarithms; top: how many
    responses beyond them are named in a panel.
    """

    responses: tuple[str, ...] = field(repr=False)
    effects: tuple[Effect, ...]
    scale: Scale
    max_q: float
    least: float
    top: int
    noun: str = "feature"
    abundance: np.ndarray | None = field(repr=False, default=None)
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Cloud:
    """Estimates and p-values. DataError for a fit without standard errors."""
    run = _several(source)
    if not run.inference:
        raise DataError(f"{run.place} has no standard errors, so there are no p-values. Fit again, with --se.")
    chosen, notes = first(effects(run, wanted), wanted)
    without = [(effect, int(np.isnan(effect.p_value).sum())) for effect in chosen]
    told = [f"{effect.name} {many}" for effect, many in without if many]
    if told:
        notes += (f"Without a p-value, such as coefficients of ±∞, and so not drawn: {some(told, 6)}.",)
    return _cloud(source, wanted, chosen, None, notes)


def abundances(source: Source, wanted: Wanted) -> Cloud:
    """Estimates and mean normalised counts: counts over the exposure of their cell, relative to that of the feature."""
    run = _several(source)
    chosen, notes = first(effects(run, wanted), wanted)
    counts, relative = source.normalised()
    total = np.where(np.isnan(counts), 0.0, counts).sum(0)
    mean = total / np.maximum((~np.isnan(counts)).sum(0), 1)
    notes += () if relative else ("The fit has no offset: counts are as they were counted.",)
    if not run.inference:
        notes += ("The fit has no standard errors, so no feature is marked.",)
    return _cloud(source, wanted, chosen, mean, notes)


def _several(source: Source) -> Run:
    """The run; DataError for one of a single response."""
    run = source.run
    if len(run.responses) == 1:
        raise DataError(f"{run.place} has one {run.spec.noun}, and this shows many at once. Draw coefficients instead.")
    return run


def _cloud(
    source: Source, wanted: Wanted, chosen: list[Effect], mean: np.ndarray | None, notes: tuple[str, ...]
) -> Cloud:
    run, own = source.run, scale(source.run, wanted)
    top = NAMED if wanted.top is None else wanted.top
    least = _least(own, wanted.min_effect)
    return Cloud(run.responses, tuple(chosen), own, wanted.max_q, least, top, run.spec.noun, mean, notes)


def _least(scale: Scale, size: float) -> float:
    """A size on a scale as one of natural logarithms: 2 is 2, of log2 2 log 2, and of ratios log 2, as is 1/2."""
    if not size:
        return 0.0
    return abs(math.log(size)) if scale.null else size / float(places(scale, 1.0))


# Drawing


def draw(record: Cloud, width: float) -> Figure:
    """A panel an effect: −log10 p against estimates; the dashed line is where q reaches its threshold."""
    figure, grid = _grid(record, width, 75.0)
    for axes, effect in zip(grid, record.effects, strict=True):
        depth = _depth(effect)
        axes.axvline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
        _marks(axes, places(record.scale, effect.estimate), depth, _colours(record, effect))
        axes.set_ylim(0.0, 1.08 * max(float(np.nanmax(depth, initial=0.0)), 1.0))
        passed = effect.q_value < record.max_q
        if passed.any():
            axes.axhline(_depth_of(effect.p_value[passed].max()), color=style.GREY, linewidth=0.6, linestyle="--")
        axes.set_ylabel("−log₁₀ p")
        effect_axis(axes.xaxis, record.scale)
        axes.set_title(short(effect.name, 40), loc="left")
        if record.least:
            for side in (-1.0, 1.0):
                place = side * float(places(record.scale, record.least))
                axes.axvline(place, color=style.GREY, linewidth=0.6, linestyle=":")
    spots = [(places(record.scale, effect.estimate), _depth(effect)) for effect in record.effects]
    return _named(figure, grid, record, spots)


def draw_abundances(record: Cloud, width: float) -> Figure:
    """A panel an effect: estimates against mean normalised counts; infinite ones are triangles at the edges."""
    assert record.abundance is not None
    figure, grid = _grid(record, width, 65.0)
    x = np.log10(np.maximum(record.abundance, 1e-12))
    spots = []
    for axes, effect in zip(grid, record.effects, strict=True):
        y = places(record.scale, effect.estimate)
        finite = np.isfinite(y)
        reach = 1.12 * float(np.abs(y[finite]).max(initial=0.0)) or 1.0
        drawn = np.where(np.isinf(y), np.sign(y) * reach, y)
        axes.axhline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
        _marks(axes, x[finite], y[finite], [_colours(record, effect)[j] for j in np.flatnonzero(finite)])
        for sign, mark in ((1.0, "^"), (-1.0, "v")):
            there = np.isinf(y) & (np.sign(y) == sign)
            if there.any():  # an empty line that is not clipped would take room
                axes.plot(x[there], drawn[there], mark, color=style.RED, ms=3.0, markeredgewidth=0, clip_on=False)
        axes.set_ylim(-reach, reach)
        style.decades(axes.xaxis)
        axes.set_xlabel("mean normalised count")
        effect_axis(axes.yaxis, record.scale)
        axes.set_title(short(effect.name, 40), loc="left")
        spots.append((x, drawn))
    return _named(figure, grid, record, spots)


def _grid(record: Cloud, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A panel an effect; one alone is not as wide as a page."""
    number = len(record.effects)
    width = min(width, 1.3 * height) if number == 1 else width
    return style.panels(number, width, min(0.9 * width, height))


def _depth(effect: Effect) -> np.ndarray:
    return np.array([_depth_of(p) for p in effect.p_value])


def _depth_of(p: float) -> float:
    """−log10 p, at most DEEPEST."""
    return float("nan") if np.isnan(p) else DEEPEST if p <= 10.0**-DEEPEST else -float(np.log10(p)) + 0.0


def _colours(record: Cloud, effect: Effect) -> list[str]:
    """Red above, blue below, grey for what is not beyond the thresholds."""
    beyond = clear(effect, record.max_q, record.least)
    return [
        style.PALE if not there else style.RED if up else style.BLUE
        for there, up in zip(beyond, effect.estimate > 0, strict=True)
    ]


def _marks(axes: Axes, x: np.ndarray, y: np.ndarray, colours: list[str]) -> None:
    size = 9.0 if len(x) <= 400 else 4.0
    order = np.argsort([colour != style.PALE for colour in colours], kind="stable")  # clear ones on top
    axes.scatter(
        x[order], y[order], s=size, c=[colours[j] for j in order], linewidths=0, rasterized=len(x) > style.MANY
    )


def _named(figure: Figure, grid: list[Axes], record: Cloud, spots: list[tuple[np.ndarray, np.ndarray]]) -> Figure:
    """The key, the notes, and at last the names of what is beyond the thresholds, the clearest first."""
    _key(figure, record)
    notes = [*record.notes]
    beyond = [np.flatnonzero(clear(effect, record.max_q, record.least)) for effect in record.effects]
    more = max((len(each) for each in beyond), default=0) > record.top
    if more:
        notes.append(f"Named: the {record.top} with the smallest p-values of each panel, where they have room.")
    style.footnote(figure, [*notes, "Names without room: 0."])  # keeps a line free until it is known
    lost = 0
    for axes, effect, each, (x, y) in zip(grid, record.effects, beyond, spots, strict=True):
        order = np.lexsort((-np.abs(effect.estimate[each]), effect.p_value[each]))
        chosen = each[order][: record.top]
        seen = np.isfinite(x) & np.isfinite(y)
        marks = np.column_stack([x[seen], y[seen]])
        lost += style.name_points(axes, x[chosen], y[chosen], [record.responses[j] for j in chosen], marks)
    style.footnote(figure, [*notes, f"Names without room: {lost}."] if lost else notes)
    return figure


def _key(figure: Figure, record: Cloud) -> None:
    """What the colours mean."""
    least = ""
    if record.least:
        size = float(record.scale.of(record.least))
        least = f" and {number(size)} times or more" if record.scale.null else f" and |estimate| ≥ {number(size)}"
    found = [clear(effect, record.max_q, record.least) for effect in record.effects]
    up = any((there & (effect.estimate > 0)).any() for there, effect in zip(found, record.effects, strict=True))
    down = any((there & (effect.estimate < 0)).any() for there, effect in zip(found, record.effects, strict=True))
    named = [("higher", style.RED)] * up + [("lower", style.BLUE)] * down
    marks = [
        Line2D([], [], marker="o", ms=3.0, linestyle="", color=colour, label=f"{word}, q < {record.max_q:g}{least}")
        for word, colour in named
    ]
    if marks:
        figure.legend(handles=marks, loc="outside upper left", ncols=1 if least else 2, handletextpad=0.2)


def describe(record: Cloud) -> str:
    """How many responses are beyond the thresholds, and the clearest, by panel."""
    told = []
    for effect in record.effects:
        there = clear(effect, record.max_q, record.least)
        up = int((there & (effect.estimate > 0)).sum())
        best = sorted(np.flatnonzero(there), key=lambda j: effect.p_value[j])[:3]
        names = f" (clearest: {some(record.responses[j] for j in best)})" if best else ""
        told.append(f"{effect.name}: {up} higher and {int(there.sum()) - up} lower at q < {record.max_q:g}{names}")
    return f"Estimates of {counted(len(record.responses), record.noun)}. {'; '.join(told)}."
