"""Scales on which coefficients are told: natural logarithms as they are estimated, log2, and ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from plncli.errors import UsageError
from plncli.models.spec import Spec
from plncli.names import SCALES

NATURAL, LOG2, RATIO = SCALES


@dataclass(frozen=True)
class Scale:
    """A scale: its name, names of the columns of the value and its interval, and what is told on it.

    title: of an axis or a sentence; null: where there is no effect.
    """

    name: str
    columns: tuple[str, str, str]
    title: str
    null: float = 0.0

    def of(self, values: Any) -> np.ndarray:
        """Coefficients, or limits of their intervals, on this scale: β, β / log 2, or exp β; -inf is a ratio of 0."""
        values = np.asarray(values, dtype=np.float64)
        if self.name == RATIO:
            with np.errstate(over="ignore"):
                return np.exp(values)
        return values / math.log(2.0) if self.name == LOG2 else values


def scale_of(spec: Spec, name: str) -> Scale:
    """The scale of that name for coefficients of a model.

    UsageError for a name of none, or for a model whose coefficients are no logarithms of ratios.
    """
    if name not in SCALES:
        raise UsageError(f"--scale must be {', '.join(SCALES[:-1])} or {SCALES[-1]}, not `{name}`.")
    if name == NATURAL:
        return Scale(name, ("estimate", "conf_low", "conf_high"), spec.words.scale)
    ratio = spec.words.ratio
    if not ratio:
        raise UsageError(
            f"--scale {name} is for coefficients that are logarithms of ratios; those of {spec.title} are "
            f"{spec.words.scale}. Leave it out."
        )
    if name == LOG2:
        return Scale(name, ("log2_ratio", "log2_ratio_low", "log2_ratio_high"), f"log2 of the {ratio}")
    return Scale(name, ("ratio", "ratio_low", "ratio_high"), ratio, null=1.0)


def with_scale(columns: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """Columns of a table of coefficients, and after them those of the scale; natural logarithms stay as they are."""
    if scale.name == NATURAL:
        return dict(columns)
    return {**columns, **on_scale(columns, scale)}


def on_scale(row: Mapping[str, Any], scale: Scale) -> dict[str, np.ndarray]:
    """The value and its interval on the scale, under the names that they have there."""
    return {
        new: scale.of(row[old]) for new, old in zip(scale.columns, ("estimate", "conf_low", "conf_high"), strict=True)
    }
