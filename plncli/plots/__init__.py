"""Plots of fits: for each kind, `content` makes a frozen record of the numbers drawn, and `draw` a figure of that.

What may enter: a record, a content and a drawing function in the file they belong to, and a line in KINDS.
Never: numbers that cannot be asked of a fit, or the name of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from plncli.models import MODELS
from plncli.names import WIDTHS
from plncli.plots import classes, coefficients, counts, latent, loss, matrices, regression, style
from plncli.plots import crossvalidation as validation

SINGLE, DOUBLE = WIDTHS["single"], WIDTHS["double"]


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    content: (source, wanted) -> record; draw: (record, width in mm) -> figure.
    width: in mm, unless another is asked for. takes: the fields of `Wanted` that matter. together: makes one record of
    those of several fits.
    """

    content: Callable[..., Any]
    draw: Callable[[Any, float], Figure]
    width: float = SINGLE
    takes: tuple[str, ...] = ()
    together: Callable[[Sequence[Any]], Any] | None = None


ROWS = ("top", "terms", "responses")
COMPONENTS = ("top", "color", "remove_covariates")
SOME = ("responses",)

KINDS = {
    ("loss", ""): Kind(loss.content, loss.draw, DOUBLE, together=loss.together),
    ("coefficients", ""): Kind(coefficients.content, coefficients.draw, takes=ROWS),
    ("sigma", ""): Kind(matrices.covariance, matrices.draw, DOUBLE),
    ("correlation", ""): Kind(matrices.correlation, matrices.draw, DOUBLE),
    ("pca", ""): Kind(latent.content, latent.draw, takes=COMPONENTS[1:]),
    ("biplot", ""): Kind(latent.content, latent.draw_biplot, takes=COMPONENTS),
    ("fitted", "counts"): Kind(counts.fitted, counts.draw_fitted),
    ("residuals", "counts"): Kind(counts.residuals, counts.draw_residuals, DOUBLE, ("seed",)),
    ("depth", "counts"): Kind(counts.depth, counts.draw_depth, DOUBLE, ("seed",)),
    ("zeros", "counts"): Kind(counts.zeros, counts.draw_zeros),
    ("roc", "classes"): Kind(classes.roc, classes.draw_roc, takes=SOME),
    ("calibration", "classes"): Kind(classes.calibration, classes.draw_calibration, takes=SOME),
    ("confusion", "classes"): Kind(classes.confusion, classes.draw_confusion, takes=SOME),
    ("residuals", "numbers"): Kind(regression.content, regression.draw_residuals, takes=SOME),
    ("qq", "numbers"): Kind(regression.content, regression.draw_quantiles, takes=SOME),
    ("leverage", "numbers"): Kind(regression.content, regression.draw_leverage, takes=SOME),
}
"""Kinds of plots of a fit by name, and by the kind of response where one name stands for several (`names.PLOTS`)."""
VALIDATION = Kind(validation.content, validation.draw, DOUBLE)
"""The kind that is drawn from a table of `plncli cv`, whose path is the source of its content."""


def kinds(model: str) -> dict[str, Kind]:
    """The kinds for fits of a model by name, in the order in which they are told."""
    return {name: KINDS[name, response] for name, response in MODELS[model].plots}


def draw(kind: Kind, record: Any, width: float | None = None) -> Figure:
    """The figure of a record, `width` mm wide; matplotlib's settings are those of the caller before and after."""
    with style.settings():
        return kind.draw(record, width or kind.width)
