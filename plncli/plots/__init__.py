"""Plots of fits: for each kind, `content` makes a frozen record of the numbers drawn, and `draw` a figure of that.

What may enter: a record, a content and a drawing function in the file they belong to, and a line in KINDS.
Never: numbers that cannot be asked of a fit, or the name of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from plncli.names import WIDTHS
from plncli.plots import classes, coefficients, counts, latent, linear, loss, matrices, style
from plncli.plots import crossvalidation as validation

SINGLE, DOUBLE = WIDTHS["single"], WIDTHS["double"]
PLN, LOGISTIC, LINEAR = "pln", "logistic", "linear"


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    models: of the fits that it is for. content: (source, wanted) -> record; draw: (record, width in mm) -> figure.
    width: in mm, unless another is asked for. takes: the fields of `Wanted` that matter. together: makes one record of
    those of several fits.
    """

    models: tuple[str, ...]
    content: Callable[..., Any]
    draw: Callable[[Any, float], Figure]
    width: float = SINGLE
    takes: tuple[str, ...] = ()
    together: Callable[[Sequence[Any]], Any] | None = None


ALL = (PLN, LOGISTIC, LINEAR)
ROWS = ("top", "terms", "responses")
COMPONENTS = ("top", "color", "remove_covariates")
SOME = ("responses",)

KINDS = (
    ("loss", Kind(ALL, loss.content, loss.draw, DOUBLE, together=loss.together)),
    ("coefficients", Kind(ALL, coefficients.content, coefficients.draw, takes=ROWS)),
    ("sigma", Kind((PLN, LINEAR), matrices.covariance, matrices.draw, DOUBLE)),
    ("correlation", Kind((PLN, LINEAR), matrices.correlation, matrices.draw, DOUBLE)),
    ("pca", Kind((PLN,), latent.content, latent.draw, takes=COMPONENTS[1:])),
    ("biplot", Kind((PLN,), latent.content, latent.draw_biplot, takes=COMPONENTS)),
    ("fitted", Kind((PLN,), counts.fitted, counts.draw_fitted)),
    ("residuals", Kind((PLN,), counts.residuals, counts.draw_residuals, DOUBLE, ("seed",))),
    ("depth", Kind((PLN,), counts.depth, counts.draw_depth, DOUBLE, ("seed",))),
    ("zeros", Kind((PLN,), counts.zeros, counts.draw_zeros)),
    ("roc", Kind((LOGISTIC,), classes.roc, classes.draw_roc, takes=SOME)),
    ("calibration", Kind((LOGISTIC,), classes.calibration, classes.draw_calibration, takes=SOME)),
    ("confusion", Kind((LOGISTIC,), classes.confusion, classes.draw_confusion, takes=SOME)),
    ("residuals", Kind((LINEAR,), linear.content, linear.draw_residuals, takes=SOME)),
    ("qq", Kind((LINEAR,), linear.content, linear.draw_quantiles, takes=SOME)),
    ("leverage", Kind((LINEAR,), linear.content, linear.draw_leverage, takes=SOME)),
)
"""Kinds of pictures of a fit by name; one name may stand for a kind of each model."""
VALIDATION = Kind((), validation.content, validation.draw, DOUBLE)
"""The kind that is drawn from a table of `plncli cv`, whose path is the source of its content."""


def kinds(model: str) -> dict[str, Kind]:
    """The kinds for fits of a model by name, in the order in which they are told."""
    return {name: kind for name, kind in KINDS if model in kind.models}


def draw(kind: Kind, record: Any, width: float | None = None) -> Figure:
    """The figure of a record, `width` mm wide; matplotlib's settings are those of the caller before and after."""
    with style.settings():
        return kind.draw(record, width or kind.width)
