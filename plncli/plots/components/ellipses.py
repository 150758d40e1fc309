"""Ellipses about the samples of each level of a factor, or about their mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from plncli.errors import UsageError, some
from plncli.names import ELLIPSES
from plncli.plots.colouring import Colouring

LEVEL = 0.95
SAID = {
    "normal": f"Ellipses: {100 * LEVEL:g} % of the samples of each level, were they normal.",
    "mean": f"Ellipses: {100 * LEVEL:g} % confidence regions of the level means.",
}
"""What the ellipses of a kind are."""
FEWEST = 5
"""Samples that a level must have for an ellipse."""


@dataclass(frozen=True)
class Ellipse:
    """The points centre (2,) + shape (2×2) e, |e| = 1, of the level with a code."""

    code: int
    centre: np.ndarray = field(repr=False)
    shape: np.ndarray = field(repr=False)


def ellipses(at: np.ndarray, colours: Colouring | None, kind: str) -> tuple[tuple[Ellipse, ...], tuple[str, ...]]:
    """Those of each level of a factor about its samples, which lie at n×2; and what must be said of them.

    kind: `normal`, which holds LEVEL of the samples where they are normal with the level's mean and covariance
    (chi-square, 2 degrees of freedom); `mean`, a confidence region of the level's mean (Hotelling 1931); or `none`.
    UsageError for another.
    """
    if kind not in ELLIPSES:
        raise UsageError(f"--ellipse must be one of {', '.join(ELLIPSES)}, not `{kind}`.")
    if colours is None or not colours.levels or kind == "none":
        return (), ()
    made, few = [], []
    for code, name in enumerate(colours.levels):
        points = at[colours.values == code]
        if len(points) >= FEWEST:
            made.append(Ellipse(code, points.mean(0), radius(len(points), kind) * root(np.cov(points.T))))
        elif len(points):
            few.append(name)
    return tuple(made), (f"No ellipse for fewer than {FEWEST} samples: {some(few)}.",) if few else ()


def radius(n: int, kind: str) -> float:
    """In standard deviations of n samples in two dimensions; both quantiles have a closed form there."""
    out = 1.0 - LEVEL
    if kind == "normal":
        return math.sqrt(-2.0 * math.log(out))
    upper = (n - 2) / 2.0 * (out ** (-2.0 / (n - 2)) - 1.0)  # of F with 2 and n − 2 degrees of freedom
    return math.sqrt(2.0 * (n - 1) / (n - 2) * upper / n)


def root(S: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance, 2×2."""
    values, vectors = np.linalg.eigh(S)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
