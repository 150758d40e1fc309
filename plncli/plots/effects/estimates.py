"""Estimates that pictures show: of coefficients, or of contrasts of them, in every response, and the axis of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from plncli.errors import UsageError, counted, some
from plncli.inference.hypotheses import INTERCEPT
from plncli.plots import style
from plncli.plots.source import Wanted
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run
from plncli.runs.scales import NATURAL, RATIO, Scale, scale_of
from plncli.runs.testing import wald_tests

PANELS = 6
"""Coefficients that have a panel each, unless some are named."""


@dataclass(frozen=True)
class Effect:
    """A coefficient, or a contrast, of p responses, as natural logarithms or whatever the model has; (p,) each.

    term: of the formula, a contrast being one of its own. nan where there is none; an estimate may be ±inf.
    """

    name: str
    term: str
    estimate: np.ndarray = field(repr=False)
    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)
    p_value: np.ndarray = field(repr=False)
    q_value: np.ndarray = field(repr=False)


def effects(run: Run, wanted: Wanted) -> list[Effect]:
    """The coefficients and contrasts that are wanted; all coefficients but intercepts, where none are.

    UsageError for what is no coefficient, or a contrast of a fit without standard errors.
    """
    found = [_coefficient(run, k) for k in _columns(run, wanted)]
    if not wanted.contrasts:
        return found
    hypotheses = [run.coefficients.contrast(text) for text in wanted.contrasts]
    if not run.inference:
        raise UsageError(f"{run.place} has no standard errors, which a contrast needs. Fit again, with --se.")
    for hypothesis, test in wald_tests(run, hypotheses, run.summary["level"]):
        parts = (test.estimate, test.conf_low, test.conf_high, test.p_value, test.q_value)
        found.append(Effect(hypothesis.label, hypothesis.label, *(part.numpy() for part in parts)))
    return found


def _columns(run: Run, wanted: Wanted) -> list[int]:
    """Indices of the coefficients that terms of the formula, or coefficients, name."""
    if wanted.terms:
        rows = [row for name in wanted.terms for row in run.coefficients.zero(name).rows]
        return list(dict.fromkeys(row.index(1.0) for row in rows))
    if wanted.contrasts:
        return []
    return [k for k, term in enumerate(run.terms) if term != INTERCEPT] or [0]


def _coefficient(run: Run, k: int) -> Effect:
    """A coefficient; tests and intervals of nan throughout, where there are no standard errors."""
    B = run.coefficient_table[k].astype(float)
    names = ("conf_low", "conf_high", "p_value", "q_value")
    tables = (run.inference[name][k].astype(float) if run.inference else np.full(len(B), np.nan) for name in names)
    term = next((term for term, columns in run.coefficients.groups.items() if k in columns), run.terms[k])
    return Effect(run.terms[k], term, B, *tables)


def first(found: Sequence[Effect], wanted: Wanted, most: int = PANELS) -> tuple[list[Effect], tuple[str, ...]]:
    """As many of the effects as have room, and a note of those that are left out; all of those that were named."""
    if len(found) <= most or wanted.terms or wanted.contrasts:
        return list(found), ()
    left = some((one.name for one in found[most:]), 3)
    return list(found[:most]), (f"The first {most} of {counted(len(found), 'coefficient')}; --term NAME draws {left}.",)


# The axis


def scale(run: Run, wanted: Wanted) -> Scale:
    """The scale that is wanted. UsageError where coefficients of the model are no logarithms of ratios."""
    return scale_of(run.spec, wanted.scale)


def places(scale: Scale, values: Any) -> np.ndarray:
    """Where values stand on an axis: natural logarithms as they are, others as log2, whose ticks may tell ratios."""
    return np.asarray(values, dtype=float) / (1.0 if scale.name == NATURAL else math.log(2.0))


def effect_axis(axis: Any, scale: Scale) -> None:
    """Ticks and name of an axis on which `places` are drawn; those of ratios are 1/4, 1/2, 1, 2, 4."""
    upright = axis.axis_name == "y"
    axis.set_label_text(textwrap.fill(scale.title, 24) if upright else scale.title)
    if scale.name != RATIO:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        return
    low, high = axis.get_view_interval()
    if high - low < 2.0:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(FuncFormatter(lambda place, _: f"{2.0**place:.3g}"))
        return
    step = max(1, math.ceil((high - low) / 6.0))
    powers = np.arange(step * math.ceil(low / step), high + 1e-9, step)
    axis.set_major_locator(FixedLocator(powers.tolist()))
    axis.set_major_formatter(FuncFormatter(_ratio))


def _ratio(place: float, _: Any = None) -> str:
    """1/4, 1, 8; powers of ten beyond some thousands."""
    power = round(abs(place))
    if power > 12:
        return style.power_of_ten(float(f"{2.0**place:.1e}"))
    return f"1/{2**power}" if place < 0 else f"{2**power}"


def clear(effect: Effect, max_q: float = SIGNIFICANT, least: float = 0.0) -> np.ndarray:
    """(p,) whether an effect is beyond both thresholds: q below `max_q`, and at least `least` in size."""
    with np.errstate(invalid="ignore"):
        return (effect.q_value < max_q) & (np.abs(effect.estimate) >= least)
