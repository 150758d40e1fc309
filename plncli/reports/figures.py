"""Pictures of a fit for a page: each as PNG with a caption, an alternative text, and the values that hovering tells."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from plncli.errors import PlncliError, counted, some
from plncli.plots import draw, kinds, loss, style
from plncli.plots.counts import FAR
from plncli.plots.source import Source, Wanted
from plncli.reports.sentences import number
from plncli.runs.overview import SIGNIFICANT
from plncli.runs.run import Run

DPI = 200.0
HOVERED = 1000
"""Features up to which a page carries the values of a matrix."""
OF_RUN = ("loss", "coefficients", "correlation", "pca", "biplot")
"""Kinds that need no table of the fit."""
OF_SEVERAL = ("correlation", "pca", "biplot")
"""Kinds that say nothing of a single feature."""
COLOURS = 256

CAPTIONS = {
    "loss": "How to read it: each point is a step of the optimizer. Both curves should fall to the end; the gap ends "
    "below the tolerance where the fit converged.",
    "coefficients": "How to read it: a row is a coefficient; the point is its estimate, the line its interval. "
    "Filled blue ones have q < 0.05; where the line crosses 0, the sign is uncertain. Red marks at the edge are "
    "coefficients without a finite value.",
    "correlation": "How to read it: each cell is the correlation of two features in Σ, red where they go up "
    "together, blue where one falls as the other rises; white is none. Rows are ordered by clustering, so "
    "blocks are groups of correlated features.",
    "pca": "How to read it: each point is a sample; samples close together have similar latent values. The percentages "
    "are the shares of the variance that the axes explain.",
    "biplot": "How to read it: an arrow is a feature; the closer it comes to the circle, the better the two axes "
    "explain it. Features whose arrows point the same way are abundant in the same samples.",
    "fitted": "How to read it: points on the diagonal are counts that the fit reproduces. The fit has used each count, "
    "so this checks the fit, not how well it would predict.",
    "residuals": "How to read it: where the model holds, residuals scatter about 0 as a standard normal variable does, "
    "without a trend; where their quantiles are drawn too, these lie on the diagonal.",
    "depth": "How to read it: neither the mean residual nor the first component should change with depth; a trend "
    "means that the offset does not account for it.",
    "zeros": "How to read it: each point is a feature. Those above the diagonal have more zeros than the model "
    "expects; named ones by more than three standard deviations.",
    "roc": "How to read it: the closer a curve comes to the upper left corner, the better the classes are "
    "discriminated; the diagonal is chance. It is computed on the training samples, so it is optimistic.",
    "calibration": "How to read it: where the model is calibrated, the shares lie on the diagonal within "
    "their intervals.",
    "confusion": "How to read it: the diagonal holds the samples classified correctly, at a threshold of 0.5.",
    "qq": "How to read it: where errors are normal, points lie within the band about the diagonal.",
    "leverage": "How to read it: samples of high leverage with large residuals influence the fit most; "
    "those beyond the contours of Cook's distance deserve a look.",
}
"""How to read each kind; those without a caption, such as sigma, are for `plncli plot` alone."""
TITLES = {
    "loss": "Course of the fit",
    "coefficients": "Coefficients with intervals",
    "correlation": "Correlations",
    "pca": "Principal components of the latent means",
    "biplot": "Features and components",
    "fitted": "Observed and fitted counts",
    "residuals": "Residuals",
    "depth": "Depth",
    "zeros": "Zeros",
    "roc": "Receiver operating characteristic",
    "calibration": "Calibration",
    "confusion": "Observed and predicted classes",
    "qq": "Normal quantiles of the residuals",
    "leverage": "Leverage and influence",
}


def pictures(source: Source, with_data: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The pictures that apply to a fit, and sentences about those that cannot be drawn.

    with_data: those of its tables too, and samples in the colours of a factor. Each picture: kind, title, png (bytes),
    width and height in pixels, alt, caption, notes, marks (see `_marks`) and grid (see `_grid`), None for none.
    """
    drawn, left_out = [], []
    alone = len(source.run.responses) == 1
    wanted = Wanted(color=_factor(source.run) if with_data else None)
    for name, kind in kinds(source.run.model).items():
        if name not in CAPTIONS or not (with_data or name in OF_RUN) or (alone and name in OF_SEVERAL):
            continue
        try:
            record = kind.content(source, wanted if name == "pca" else Wanted())
        except PlncliError as error:
            left_out.append(f"{TITLES[name]}: not drawn. {error}")
            continue
        drawn.append(_picture(name, record, draw(kind, record)))
    return drawn, left_out


def _factor(run: Run) -> str | None:
    """The covariate by whose levels samples are coloured: the first of the formula that has any."""
    columns: Mapping[str, Any] = (run.design.get("x") or {}).get("columns", {})
    return next((name for name, levels in columns.items() if levels), None)


def _picture(name: str, record: Any, figure: Figure) -> dict[str, Any]:
    png, width, height = _indexed(style.save(figure, "png", DPI))
    return {
        "kind": name,
        "title": TITLES[name],
        "png": png,
        "width": width,
        "height": height,
        "alt": (_arrows if name == "biplot" else ALT[type(record).__name__])(record),
        "caption": CAPTIONS[name],
        "notes": list(record.notes),
        "marks": _marks(record, figure) if name == "coefficients" else None,
        "grid": _grid(record, figure) if name == "correlation" and len(record.names) <= HOVERED else None,
    }


def _indexed(png: bytes) -> tuple[bytes, int, int]:
    """The same picture in COLOURS colours, a third as large, and no different to the eye; its width and height."""
    sink = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        ground = Image.new("RGBA", image.size, "white")  # the last pixels of an edge may be transparent
        flat = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    made = flat.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    made.save(sink, "png", optimize=True)
    return sink.getvalue(), *flat.size


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def trace(source: Source) -> list[tuple[int, float]]:
    """Steps of a fit and the gap after each, where it is known and above 0; nothing where there is no trace."""
    try:
        (found,) = loss.content(source, Wanted()).traces
    except PlncliError:
        return []
    known = ~np.isnan(found.gap)
    return list(zip(found.steps[known].astype(int).tolist(), found.gap[known].tolist(), strict=True))


# What hovering tells


def _marks(record: Any, figure: Figure) -> list[list[Any]]:
    """Of each row of a forest: its height in the picture, from the top, as a share; and what is said of it."""
    axes = figure.axes[0]
    texts = {label.get_position()[1]: label for label in axes.get_yticklabels()}
    rows = iter(record.rows)
    marks = []
    for place in sorted(texts, reverse=True):
        if texts[place].get_fontweight() != "bold":
            row = next(rows)
            y = figure.transFigure.inverted().transform(axes.transData.transform((0.0, place)))[1]
            marks.append([round(1.0 - float(y), 5), _told(row, record.level)])
    return marks


def _told(row: Any, level: float) -> str:
    interval = f", {100 * level:g} % interval {number(row.low)} to {number(row.high)}" if row.low < row.high else ""
    q = "" if np.isnan(row.q_value) else f", q = {number(row.q_value)}"
    return f"{row.response}, {row.term}: {number(row.estimate)}{interval}{q}"


def _grid(record: Any, figure: Figure) -> dict[str, Any]:
    """Of a matrix: its box in the picture, as shares from the upper left; its names; hundredths as signed bytes.

    The values are those of the lower triangle row by row, −128 for none.
    """
    box = figure.axes[0].get_position()
    values = record.values[np.tril_indices(len(record.names))]
    bytes_ = np.where(np.isnan(values), -128, np.rint(100.0 * values)).astype(np.int8).tobytes()
    return {
        "box": [round(float(side), 5) for side in (box.x0, 1.0 - box.y1, box.x1, 1.0 - box.y0)],
        "names": list(record.names),
        "values": base64.b64encode(bytes_).decode(),
    }


# What is seen, in numbers


def _loss(record: Any) -> str:
    (trace,) = record.traces
    known = trace.gap[~np.isnan(trace.gap)]
    gaps = f"; the gap falls from {number(known[0])} to {number(known[-1])} nats" if len(known) > 1 else ""
    objective = {"elbo": "ELBO", "loglik": "log-likelihood"}[trace.likelihood]
    return (
        f"Course of the fit over {counted(int(trace.steps[-1]), 'step')}: the {objective} rises from "
        f"{number(trace.objective[0])} to {number(trace.objective[-1])}{gaps}."
    )


def _forest(record: Any) -> str:
    finite = [row for row in record.rows if np.isfinite(row.estimate)]
    clear = [row for row in finite if row.q_value < SIGNIFICANT]
    told = f"Forest plot of {counted(len(record.rows), 'coefficient')}: {len(clear)} with q < {SIGNIFICANT:g}, "
    told += f"{sum(row.estimate > 0 for row in clear)} of them above 0"
    if len(record.rows) > len(finite):
        told += f"; {len(record.rows) - len(finite)} without a finite value"
    if finite:
        ends = max(finite, key=lambda row: row.estimate), min(finite, key=lambda row: row.estimate)
        told += "; " + ", ".join(
            f"{word} {row.response} ({row.term}) at {number(row.estimate)}"
            for word, row in zip(("largest", "smallest"), ends[: len(finite)], strict=False)
        )
    return f"{told}."


def _matrix(record: Any) -> str:
    p = len(record.names)
    i, j = np.triu_indices(p, 1)
    values = record.values[i, j]
    known = ~np.isnan(values)
    told = f"Heatmap of the {record.label}s of {counted(p, 'feature')}"
    if not known.any():
        return f"{told}."
    i, j, values = i[known], j[known], values[known]
    top, low = int(values.argmax()), int(values.argmin())
    return (
        f"{told}: from {values[low]:.2f} ({record.names[i[low]]} and {record.names[j[low]]}) to {values[top]:.2f} "
        f"({record.names[i[top]]} and {record.names[j[top]]}); half of them are smaller in size than "
        f"{np.median(np.abs(values)):.2f}."
    )


def _components(record: Any) -> str:
    first, second = 100.0 * record.shares
    strong = np.argsort(-(record.correlations**2).sum(1), kind="stable")[:3]
    colours = ""
    if record.colouring is not None:
        colours = f", coloured by {record.colouring.name}"
        colours += f" ({some(record.colouring.levels, 8)})" if record.colouring.levels else ""
    return (
        f"{counted(len(record.scores), 'sample')} on two principal components, which show {first:.1f} % and "
        f"{second:.1f} % of the variance{colours}. The features that they explain best are "
        f"{some(record.features[k] for k in strong)}."
    )


def _arrows(record: Any) -> str:
    strong = np.argsort(-(record.correlations**2).sum(1), kind="stable")[:5]
    told = (f"{record.features[k]} ({record.correlations[k, 0]:.2f}, {record.correlations[k, 1]:.2f})" for k in strong)
    return f"Correlations of features with the two components; the largest are those of {some(told)}."


def _fitted(record: Any) -> str:
    r = np.corrcoef(np.log1p(record.observed), np.log1p(record.fitted))[0, 1] if len(record.observed) > 1 else np.nan
    return (
        f"{counted(len(record.observed), 'count')} against fitted ones: the correlation of log(1 + count) is {r:.3f}; "
        f"the largest count is {record.observed.max():g}, fitted as {number(record.fitted[record.observed.argmax()])}."
    )


def _residuals(record: Any) -> str:
    R = record.residuals
    return (
        f"{counted(len(R), 'residual')} against expected counts, and their normal quantiles: mean {R.mean():.3f}, "
        f"standard deviation {R.std():.3f}, {100 * (np.abs(R) > 2).mean():.1f} % beyond ±2 (4.6 % expected)."
    )


def _depth(record: Any) -> str:
    mean, component = record.rank_correlations
    return (
        f"{counted(len(record.depth), 'sample')} against the {record.scale}: its rank correlation with the mean "
        f"residual is {mean:.2f}, with the first latent component {component:.2f}."
    )


def _zeros(record: Any) -> str:
    far = np.abs(record.counted - record.expected) > FAR * record.sd
    return (
        f"Zeros of {counted(len(record.features), 'feature')}: {record.counted.sum():g} counted, "
        f"{record.expected.sum():.1f} expected; {counted(int(far.sum()), 'feature')} beyond {FAR:g} standard "
        "deviations."
    )


def _curves(record: Any) -> str:
    return f"Areas under the curves: {some((f'{c.response} {c.area:.3f}' for c in record.curves), 6)}."


def _bins(record: Any) -> str:
    told = (
        f"{b.response} in {counted(len(b.weight), 'bin')}, observed shares from {b.observed.min():.2f} to "
        f"{b.observed.max():.2f} at mean probabilities from {b.expected.min():.2f} to {b.expected.max():.2f}"
        for b in record.bins
    )
    return f"Calibration: {'; '.join(told)}."


def _confusions(record: Any) -> str:
    told = (f"{t.response} {100 * np.trace(t.counts) / t.counts.sum():.1f} %" for t in record.tables)
    return f"Share of the samples whose class is predicted correctly: {', '.join(told)}."


def _regressions(record: Any) -> str:
    told = (
        f"{r.response}: standardised residuals from {np.nanmin(r.residuals):.2f} to {np.nanmax(r.residuals):.2f}, "
        f"largest Cook's distance {number(np.nanmax(r.cook))}"
        for r in record.responses
    )
    return f"{counted(len(record.samples), 'sample')}; {'; '.join(told)}; largest leverage {record.leverage.max():.2f}."


ALT: Mapping[str, Callable[[Any], str]] = {
    "Loss": _loss,
    "Forest": _forest,
    "Matrix": _matrix,
    "Components": _components,
    "Fitted": _fitted,
    "CountResiduals": _residuals,
    "Depth": _depth,
    "ZeroCounts": _zeros,
    "Curves": _curves,
    "Calibrations": _bins,
    "Confusions": _confusions,
    "Regressions": _regressions,
}
"""What a picture shows, by the name of its record."""
