"""Plots of fits: for each kind, `content` makes a frozen record of the numbers drawn, and `draw` a figure of that.

What may enter: a record, a content, a drawing and a describing function in the file they belong to, and an entry in
KINDS. Never: numbers that cannot be asked of a fit, or the name of a model.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from plncli.models import MODELS
from plncli.names import PLOTS
from plncli.plots import classes, counts, loss, matrices, partial, path, regression, style
from plncli.plots import crossvalidation as validation
from plncli.plots.components import bars, circle, ordination, parts, samples
from plncli.plots.effects import coefficients, feature, heatmap, volcano
from plncli.plots.groups.kinds import GROUPS
from plncli.plots.kind import DOUBLE, SELECTED, Kind
from plncli.plots.network.kinds import NETWORKS
from plncli.runs.run import Run

EFFECTS = ("terms", "contrasts", "scale")
COMPONENTS = ("axes", "color", "remove_covariates")
SOME = ("responses",)
RESIDUALS = (
    "How to read it: where the model holds, residuals scatter about 0 as a standard normal variable does, without a "
    "trend; where their quantiles are drawn too, these lie on the diagonal."
)

EACH = {
    **GROUPS,
    **NETWORKS,
    ("loss", ""): Kind(
        loss.content,
        loss.draw,
        loss.describe,
        "Course of the fit",
        "How to read it: each point is a step of the optimizer. Both curves should fall to the end; the gap ends "
        "below the tolerance where the fit converged. Of a training the loss of held-out samples falls, and rises "
        "where weights follow noise: those of the dashed step are kept.",
        DOUBLE,
        data=False,
        together=loss.together,
    ),
    ("coefficients", ""): Kind(
        coefficients.content,
        coefficients.draw,
        coefficients.describe,
        "Coefficients with intervals",
        "How to read it: a row is a coefficient; the point is its estimate, the line its interval. Filled blue ones "
        "have q < 0.05; where the line crosses 0, the sign is uncertain. Red marks at the edge are coefficients "
        "without a finite value.",
        takes=("top", *EFFECTS, "responses"),
        data=False,
        mean="linear",
    ),
    ("volcano", ""): Kind(
        volcano.content,
        volcano.draw,
        volcano.describe,
        "Estimates and p-values",
        "How to read it: each point is a feature; to the right it is higher, to the left lower, and the higher up, the "
        "clearer that is. Those above the dashed line have q < 0.05.",
        DOUBLE,
        takes=("top", *EFFECTS, "max_q", "min_effect"),
        data=False,
        several=True,
        mean="linear",
    ),
    ("ma", "counts"): Kind(
        volcano.abundances,
        volcano.draw_abundances,
        volcano.describe,
        "Estimates and abundance",
        "How to read it: each point is a feature, to the right if it is counted often. Coloured ones have q < 0.05; "
        "estimates of rare features scatter widely. Triangles at the edge are estimates of ±∞.",
        DOUBLE,
        takes=("top", *EFFECTS, "max_q", "min_effect"),
        several=True,
        mean="linear",
    ),
    ("effects", ""): Kind(
        heatmap.content,
        heatmap.draw,
        heatmap.describe,
        "Effects of each term",
        "How to read it: a row is a feature, a column a coefficient: red where it is higher, blue where it is lower, "
        "with stars where that is clear. Each term has colours of its own, told by the bar below it. Features that "
        "change alike stand together.",
        takes=("top", *EFFECTS, "responses", "group_by"),
        data=False,
        several=True,
        mean="linear",
    ),
    ("feature", ""): Kind(
        feature.content,
        feature.draw,
        feature.describe,
        "Values and fitted means",
        takes=("responses", "by", "color"),
        width=DOUBLE,
    ),
    ("sigma", ""): Kind(
        matrices.covariance,
        matrices.draw,
        matrices.describe,
        "Covariances",
        width=DOUBLE,
        takes=SELECTED,
        data=False,
        several=True,
    ),
    ("correlation", ""): Kind(
        matrices.correlation,
        matrices.draw,
        matrices.describe,
        "Correlations",
        "How to read it: each cell is the correlation of two features in Σ, red where they go up together, blue where "
        "one falls as the other rises. Rows and columns are in the order of the tree, so blocks are groups of "
        "correlated features.",
        DOUBLE,
        SELECTED,
        data=False,
        several=True,
    ),
    ("path", ""): Kind(
        path.content,
        path.draw,
        path.describe,
        "Fits of the path",
        "How to read it: each point is a fit. The likelihood rises with every step; a criterion falls for as long as "
        "the step is worth its parameters. The dashed line is the fit that this page is of.",
        data=False,
        table=path.table,
        applies=lambda run: "path" in run.summary,
    ),
    ("partial", ""): Kind(
        partial.content,
        partial.draw,
        partial.describe,
        "Partial dependence",
        "How to read it: the thick line is the mean of all samples, were the covariate at that value in each of them; "
        "thin ones are single samples. Where these are not parallel, covariates interact. Ticks are the samples' own "
        "values.",
        DOUBLE,
        ("top", "terms", "responses"),
        table=partial.table,
        mean="neural",
    ),
    ("scree", ""): Kind(
        bars.scree,
        bars.draw_scree,
        bars.describe_scree,
        "Shares of the components",
        "How to read it: a bar is the share of a component in the latent variance that covariates leave, the line "
        "their sum. A fit of more components has more variance to share.",
        data=False,
        several=True,
        table=bars.scree_table,
    ),
    ("pca", ""): Kind(
        ordination.content,
        samples.draw,
        samples.describe,
        "Samples on the components",
        "How to read it: each point is a sample; samples close together have similar latent values. The percentages "
        "are the shares of the variance that the axes explain.",
        takes=(*COMPONENTS, "ellipse"),
        data=False,
        several=True,
        table=samples.table,
    ),
    ("pairs", ""): Kind(
        ordination.pairs,
        samples.draw_pairs,
        samples.describe,
        "Samples on the first components, two by two",
        takes=COMPONENTS[:2],
        width=DOUBLE,
        data=False,
        several=True,
        table=samples.table,
    ),
    ("biplot", ""): Kind(
        ordination.arrows,
        circle.draw,
        circle.describe,
        "Features and components",
        "How to read it: an arrow is a feature; where it ends tells the correlations of its latent value with the two "
        "axes, so the closer it comes to the circle, the better they explain it. Features whose arrows point the same "
        "way are abundant in the same samples, those that lie that way.",
        takes=("top", *COMPONENTS),
        data=False,
        several=True,
        table=circle.table,
    ),
    ("loadings", ""): Kind(
        bars.loadings,
        bars.draw_loadings,
        bars.describe_loadings,
        "Loadings",
        "How to read it: a bar is what the log of the count of a feature gains where the score on the component is "
        "higher by one standard deviation: samples at the high end have more of the red ones, and less of the blue.",
        DOUBLE,
        ("top", "axes"),
        data=False,
        several=True,
        table=bars.loadings_table,
    ),
    ("contributions", ""): Kind(
        parts.contributions,
        parts.draw,
        parts.describe,
        "Contributions to the components",
        "How to read it: a bar is the share of a feature in the variance along the axes, in the colour of each; those "
        "beyond the dashed line have more than the average.",
        takes=("top", "axes", "of"),
        data=False,
        several=True,
        table=parts.table,
    ),
    ("cos2", ""): Kind(
        parts.cos2,
        parts.draw,
        parts.describe,
        "Representation by the components (cos²)",
        takes=("top", "axes", "of"),
        data=False,
        several=True,
        table=parts.table,
    ),
    ("fitted", "counts"): Kind(
        counts.fitted,
        counts.draw_fitted,
        counts.describe_fitted,
        "Observed and fitted counts",
        "How to read it: points on the diagonal are counts that the fit reproduces. The fit has used each count, so "
        "this checks the fit, not how well it would predict.",
    ),
    ("residuals", "counts"): Kind(
        counts.residuals,
        counts.draw_residuals,
        counts.describe_residuals,
        "Residuals",
        RESIDUALS,
        DOUBLE,
        ("seed",),
    ),
    ("depth", "counts"): Kind(
        counts.depth,
        counts.draw_depth,
        counts.describe_depth,
        "Depth",
        "How to read it: neither the mean residual nor the first component should change with depth; a trend means "
        "that the offset does not account for it.",
        DOUBLE,
        ("seed",),
    ),
    ("zeros", "counts"): Kind(
        counts.zeros,
        counts.draw_zeros,
        counts.describe_zeros,
        "Zeros",
        "How to read it: each point is a feature. Those above the diagonal have more zeros than the model expects; "
        "named ones by more than three standard deviations. With zero inflation, open points show the zeros that are "
        "expected but for structural ones.",
    ),
    ("roc", "classes"): Kind(
        classes.roc,
        classes.draw_roc,
        classes.describe_curves,
        "Receiver operating characteristic",
        "How to read it: the closer a curve comes to the upper left corner, the better the classes are discriminated; "
        "the diagonal is chance. It is computed on the training samples, so it is optimistic.",
        takes=SOME,
    ),
    ("calibration", "classes"): Kind(
        classes.calibration,
        classes.draw_calibration,
        classes.describe_bins,
        "Calibration",
        "How to read it: where the model is calibrated, the shares lie on the diagonal within their intervals.",
        takes=SOME,
    ),
    ("confusion", "classes"): Kind(
        classes.confusion,
        classes.draw_confusion,
        classes.describe_tables,
        "Observed and predicted classes",
        "How to read it: the diagonal holds the samples classified correctly, at a threshold of 0.5.",
        takes=SOME,
    ),
    ("residuals", "numbers"): Kind(
        regression.content, regression.draw_residuals, regression.describe, "Residuals", RESIDUALS, takes=SOME
    ),
    ("qq", "numbers"): Kind(
        regression.content,
        regression.draw_quantiles,
        regression.describe,
        "Normal quantiles of the residuals",
        "How to read it: where errors are normal, points lie within the band about the diagonal.",
        takes=SOME,
    ),
    ("leverage", "numbers"): Kind(
        regression.content,
        regression.draw_leverage,
        regression.describe,
        "Leverage and influence",
        "How to read it: samples of high leverage with large residuals influence the fit most; those beyond the "
        "contours of Cook's distance deserve a look.",
        takes=SOME,
        mean="linear",
    ),
}
KINDS = {(name, response): EACH[name, response] for name, response, _ in PLOTS}
"""Kinds of plots of a fit by name, and by the kind of response where one name stands for several (`names.PLOTS`)."""
VALIDATION = Kind(validation.content, validation.draw, validation.describe, "Cross-validation", width=DOUBLE)
"""The kind that is drawn from a table of `plncli cv`, whose path is the source of its content."""


def kinds(model: str, mean: str | None = None) -> dict[str, Kind]:
    """The kinds for fits of a model by name, in the order in which they are told; of fits with a mean (`mean_of`)."""
    known = {name: KINDS[name, response] for name, response in MODELS[model].plots}
    return {name: kind for name, kind in known.items() if mean is None or kind.mean in ("", mean)}


def mean_of(run: Run) -> str:
    """Of which mean a fit is: `linear` or `neural`."""
    return "linear" if run.has_coefficients else "neural"


def draw(kind: Kind, record: Any, width: float | None = None) -> Figure:
    """The figure of a record, `width` mm wide; matplotlib's settings are those of the caller before and after."""
    with style.settings():
        return kind.draw(record, width or kind.width)
