"""What the covariates of a fit change: differences between the levels of factors, and slopes of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from plncli.errors import UsageError, counted, number, some
from plncli.inference.hypotheses import INTERCEPT, Hypothesis
from plncli.models.spec import COUNTS
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run
from plncli.runs.testing import wald_tests

CLEAREST = 3
"""Responses that a sentence names."""


def noun(run: Run) -> str:
    """What a column of the table is called."""
    return run.spec.noun


def factors(run: Run) -> Iterator[tuple[str, Hypothesis]]:
    """The terms of the formula that are a factor alone, with the hypothesis that its levels are equal."""
    known = run.coefficients
    for term in known.groups:
        if term in known.levels:
            try:
                yield term, known.equal(term)
            except UsageError:  # a contrast of its own, which has other columns
                continue


def differences(run: Run) -> list[dict[str, Any]]:
    """Of each factor: Wald tests of equal levels by response, and a sentence; nothing without standard errors."""
    if not run.inference:
        return []
    found = []
    for factor, hypothesis in factors(run):
        ((_, tested),) = wald_tests(run, [hypothesis], run.summary["level"])
        q = tested.q_value.numpy()
        levels = run.coefficients.levels[factor]
        effects = _effects(run, factor)
        table = {
            noun(run): list(run.responses),
            **_extremes(run, levels, effects),
            "statistic": tested.statistic.numpy(),
            "df": tested.df.numpy(),
            "p_value": tested.p_value.numpy(),
            "q_value": q,
        }
        reasons = Counter(filter(None, tested.reasons))
        found.append(
            {
                "factor": factor,
                "levels": list(levels),
                "kind": tested.kind,
                "sentence": _sentence(run, factor, q),
                "clearest": _clearest(run, table),
                "untested": [
                    f"{counted(many, noun(run))} cannot be tested, for {why}" for why, many in reasons.items()
                ],
                "absent": _absent(run, factor),
                "interacts": any(factor in term.split(":") for term in run.coefficients.groups if term != factor),
                "columns": table,
            }
        )
    return found


def _sentence(run: Run, factor: str, q: np.ndarray) -> str:
    """How many responses differ, as a sentence."""
    done, many = int((~np.isnan(q)).sum()), int((q < SIGNIFICANT).sum())
    if not done:
        return f"No {noun(run)} could be tested for a difference between the levels of {factor}."
    if len(run.responses) == 1:
        word = "differs" if many else "shows no clear difference"
        return f"{run.responses[0]} {word} between the levels of {factor} (p = {number(float(np.nanmin(q)), 2)})."
    tested = " that could be tested" if done < len(run.responses) else ""
    verb = "differs" if many == 1 else "differ"
    return f"{many} of {counted(done, noun(run))}{tested} {verb} between the levels of {factor} at q < {SIGNIFICANT:g}."


def _clearest(run: Run, table: dict[str, Any]) -> str:
    """The responses with the smallest p-values that differ, and where they are highest, as a sentence."""
    order = [j for j in np.argsort(table["p_value"], kind="stable")[:CLEAREST] if table["q_value"][j] < SIGNIFICANT]
    words = run.spec.words
    told = []
    for j in order:
        far = float(table[words.effect][j])
        apart = words.apart.format(effect=words.effect, far=number(far, 3))
        told.append(f"{run.responses[j]} (highest in {table['highest'][j]}, {apart} {table['lowest'][j]})")
    return f"Clearest: {', '.join(told)}." if told else ""


def _effects(run: Run, factor: str) -> np.ndarray:
    """Levels×p: the coefficient of each level, that of a level without one being 0."""
    known, B = run.coefficients, run.coefficient_table
    columns = known.groups[factor]
    out = np.zeros((len(known.levels[factor]), B.shape[1]))
    out[len(out) - len(columns) :] = B[list(columns)]
    return out


def _extremes(run: Run, levels: tuple[str, ...], effects: np.ndarray) -> dict[str, Any]:
    """The levels at which each response is highest and lowest, and how far these are apart; empty where not finite."""
    known = np.isfinite(effects).all(0)
    filled = np.where(known, effects, 0.0)
    high, low = filled.argmax(0), filled.argmin(0)
    apart = filled.max(0) - filled.min(0)
    distance = np.exp(apart) if run.spec.words.ratio else apart
    return {
        "highest": [levels[k] if ok else "" for k, ok in zip(high, known, strict=True)],
        "lowest": [levels[k] if ok else "" for k, ok in zip(low, known, strict=True)],
        run.spec.words.effect: np.where(known, distance, math.nan),
    }


def _absent(run: Run, factor: str) -> list[str]:
    """Features that are never counted in a level, where the factor is all that the formula has."""
    known = run.coefficients
    if run.spec.response is not COUNTS or set(known.groups) - {INTERCEPT, factor}:
        return []
    levels, columns, B = known.levels[factor], known.groups[factor], run.coefficient_table
    never = np.zeros((len(levels), B.shape[1]), bool)
    never[len(levels) - len(columns) :] = np.isneginf(B[list(columns)]) | np.isnan(B[list(columns)])
    if len(columns) < len(levels):  # the first level is the intercept
        never[0] = np.isneginf(B[known.groups[INTERCEPT][0]])
    separated = {name for one in run.summary["findings"] if one["code"] == "separation" for name in one["names"]}
    return [
        f"{name} (none in {some(level for level, gone in zip(levels, never[:, j], strict=True) if gone)})"
        for j, name in enumerate(run.responses)
        if name in separated and never[:, j].any()
    ]


def slopes(run: Run) -> list[str]:
    """A sentence for each coefficient that belongs to no factor alone and is no intercept."""
    if not run.inference:
        return []
    covered = {k for factor, _ in factors(run) for k in run.coefficients.groups[factor]}
    told = []
    for k, term in enumerate(run.terms):
        if term == INTERCEPT or k in covered:
            continue
        q, b = run.inference["q_value"][k], run.coefficient_table[k]
        clear = q < SIGNIFICANT
        if len(run.responses) == 1:
            word = f"{'rises' if b[0] > 0 else 'falls'} with" if clear[0] else "shows no clear dependence on"
            value = "" if np.isnan(q[0]) else f" (coefficient {number(float(b[0]), 3)}, p = {number(float(q[0]), 2)})"
            told.append(f"{run.responses[0]} {word} {term}{value}.")
            continue
        up = int((clear & (b > 0)).sum())
        told.append(
            f"{int(clear.sum())} of {int((~np.isnan(q)).sum())} {noun(run)}s depend on {term} at q < {SIGNIFICANT:g}: "
            f"{up} rise with it, {int(clear.sum()) - up} fall."
        )
    return told
