"""Principal components of the latent means: samples, and the features that make the components."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from plncli.errors import DataError, PlncliError, counted, nearest, short, some
from plncli.plots import style
from plncli.plots.source import Source, Wanted
from plncli.tables.table import frame

ARROWS = 10
LEVELS = len(style.SERIES) - 1


@dataclass(frozen=True)
class Colouring:
    """A covariate of the n samples: (n,) numbers, nan where missing; or, with levels, (n,) their codes, −1 missing."""

    name: str
    values: np.ndarray = field(repr=False)
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Components:
    """The first two principal components of n samples × p features.

    scores: n×2; shares: (2,) of the variance; correlations: p×2, of features with the components. top: how many
    features are drawn; covariates_removed: whether they are of M − XB rather than of M.
    """

    samples: tuple[str, ...] = field(repr=False)
    features: tuple[str, ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    shares: np.ndarray
    correlations: np.ndarray = field(repr=False)
    covariates_removed: bool
    top: int = ARROWS
    colouring: Colouring | None = None
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Components:
    """Components of the latent means (with the part that covariates explain, unless it is removed), columns centred.

    DataError for fewer than two features or three samples. Features whose mean is −inf in some sample are left out,
    unless covariates are removed.
    """
    run = source.run
    names, notes = run.responses, []
    if wanted.remove_covariates:
        M = latent_residuals(source)
    else:
        M = run.estimates["M"].astype(float)
        kept = np.isfinite(M).all(0)
        if not kept.all():
            left = int((~kept).sum())
            notes.append(
                f"{counted(left, 'feature')} with a latent mean of −∞ in some samples left out; "
                "--remove-covariates keeps them."
            )
            M, names = M[:, kept], tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    if M.shape[1] < 2 or len(M) < 3:
        raise DataError(f"Principal components need 2 features and 3 samples, but there are {M.shape[1]} and {len(M)}.")
    scores, shares, correlations = components(M)
    colouring = _of_the_formula(source) if wanted.color is None else _colouring(source, wanted.color)
    return Components(
        run.samples, names, scores, shares, correlations, wanted.remove_covariates,
        ARROWS if wanted.top is None else wanted.top, colouring, tuple(notes),
    )  # fmt: skip


def latent_residuals(source: Source) -> np.ndarray:
    """M − XB, n×p: what covariates leave of the latent means."""
    B = source.run.fitted.B
    return source.run.state["M_finite"].astype(float) - (source.data.X.double() @ B).numpy()


def components(M: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores n×2, shares (2,) and correlations p×2 of the columns of M (n×p) with their first two components.

    The feature that is correlated most with a component has a positive correlation.
    """
    R = M - M.mean(0)
    U, d, V = np.linalg.svd(R, full_matrices=False)
    size = np.sqrt((R**2).sum(0))
    correlations = V[:2].T * d[:2] / np.where(size > 0, size, 1.0)[:, None]
    flat = d[:2] <= 1e-12 * max(d[0], 1e-300)
    correlations[:, flat] = 0.0
    largest = correlations[np.abs(correlations).argmax(0), [0, 1]]
    signs = np.where(largest < 0, -1.0, 1.0)
    total = (d**2).sum()
    return U[:, :2] * d[:2] * signs, d[:2] ** 2 / (total or 1.0), correlations * signs


def _of_the_formula(source: Source) -> Colouring | None:
    """The first factor of the formula, where its table can be read again."""
    factors = [name for name in source.run.coefficients.levels if name.isidentifier()]
    if not factors:
        return None
    try:
        return _colouring(source, factors[0])
    except PlncliError:  # a picture without colours is better than none
        return None


def _colouring(source: Source, name: str) -> Colouring:
    """A column of the covariates, for the samples of the fit in their order."""
    table = source.covariates
    if name not in table.columns:
        raise DataError(
            f"{table.name} has no column `{name}` to colour by: it has {some(table.columns)}."
            f"{nearest(name, table.columns)}"
        )
    row_of = {sample: row for row, sample in enumerate(table.samples)}
    absent = [sample for sample in source.run.samples if sample not in row_of]
    if absent:
        raise DataError(f"{table.name} lacks {counted(len(absent), 'sample')} of {source.run.place}: {some(absent)}.")
    rows = np.array([row_of[sample] for sample in source.run.samples])
    column = frame(table.take(rows), [name])[name]
    kind = table.cells.column(table.columns.index(name)).type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Colouring(name, column.to_numpy(dtype=float))
    return Colouring(name, column.cat.codes.to_numpy(), tuple(map(str, column.cat.categories)))


# Drawing


def draw(record: Components, width: float) -> Figure:
    """Samples on the first two components."""
    notes = record.notes
    figure = style.blank(width, min(0.86 * width, 130.0))
    axes = figure.subplots()
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=style.PALE, linewidth=0.5, zorder=0)
    notes += _samples(axes, record, record.scores)
    _labels(axes, record)
    axes.set_aspect("equal", adjustable="datalim")
    style.footnote(figure, notes)
    return figure


def draw_biplot(record: Components, width: float) -> Figure:
    """The correlation circle: features as arrows, samples behind them, scaled to fit."""
    strength = (record.correlations**2).sum(1)
    drawn = np.argsort(-strength, kind="stable")[: record.top]
    notes = record.notes
    if len(drawn) < len(record.features):
        notes += (f"Arrows: the {len(drawn)} of {len(record.features)} features that the two components explain best.",)
    figure = style.blank(width, width + 6.0)
    axes = figure.subplots()
    reach = float(np.abs(record.scores).max()) or 1.0
    notes += _samples(axes, record, record.scores / reach, faint=True)
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color=style.GREY, linewidth=0.5))
    for line in (axes.axhline, axes.axvline):
        line(0.0, color=style.PALE, linewidth=0.5, zorder=0)
    for x, y in record.correlations[drawn]:
        axes.annotate(
            "", (x, y), (0.0, 0.0), arrowprops={"arrowstyle": "-|>,head_length=0.3,head_width=0.15", "color": "black",
            "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    axes.set(xlim=(-1.22, 1.22), ylim=(-1.22, 1.22), aspect="equal")
    _labels(axes, record, "correlation with ")
    tips = record.correlations[drawn]
    style.footnote(figure, (*notes, _without_room(len(drawn))))  # keeps a line free until it is known
    arrows = np.concatenate([tips * along for along in np.linspace(0.1, 1.0, 19)])
    lost = style.name_points(axes, tips[:, 0], tips[:, 1], [record.features[j] for j in drawn], arrows)
    style.footnote(figure, (*notes, _without_room(lost)) if lost else notes)
    return figure


def _without_room(names: int) -> str:
    return f"{counted(names, 'name')} had no room."


def _labels(axes: Axes, record: Components, before: str = "") -> None:
    what = "of M − XB, covariates removed" if record.covariates_removed else "of the latent means"
    first, second = (f"{100.0 * share:.1f} %" for share in record.shares)
    axes.set_xlabel(f"{before}component 1 ({first})")
    axes.set_ylabel(f"{before}component 2 ({second})")
    axes.set_title(f"principal components {what}", loc="left", color=style.GREY)


def _samples(axes: Axes, record: Components, at: np.ndarray, faint: bool = False) -> tuple[str, ...]:
    """Samples in their colours, and the key to these; what must be said of it."""
    many = len(at) > 1000
    look: dict[str, Any] = {"s": 2.5 if many else 9.0, "linewidths": 0, "rasterized": len(at) > style.MANY}
    look |= {"alpha": 0.35 if faint else 0.6 if many else 0.85, "zorder": 1.5}
    colouring = record.colouring
    if colouring is None:
        axes.scatter(at[:, 0], at[:, 1], color=style.PALE if faint else style.BLUE, **look)
        return ()
    if colouring.levels:
        return _by_level(axes, colouring, at, look)
    known = ~np.isnan(colouring.values)
    axes.scatter(at[~known, 0], at[~known, 1], color=style.PALE, **look)
    shown = axes.scatter(at[known, 0], at[known, 1], c=colouring.values[known], cmap=style.NUMERIC, **look)
    opaque = ScalarMappable(shown.norm, shown.cmap)
    bar = axes.figure.colorbar(opaque, ax=axes, label=short(colouring.name, 40), fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    return (f"{counted(int((~known).sum()), 'sample')} without {colouring.name} in grey.",) if not known.all() else ()


def _by_level(axes: Axes, colouring: Colouring, at: np.ndarray, look: dict[str, Any]) -> tuple[str, ...]:
    """The most frequent levels in colours, the others in grey."""
    sizes = np.bincount(colouring.values[colouring.values >= 0], minlength=len(colouring.levels))
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:LEVELS])
    colours = np.array([style.PALE] * (len(colouring.levels) + 1), dtype=object)  # the last one: missing
    colours[chosen] = style.SERIES[: len(chosen)]
    axes.scatter(at[:, 0], at[:, 1], c=list(colours[colouring.values]), **look)
    named = [(short(colouring.levels[k], 24), colours[k]) for k in chosen]
    others = len(colouring.levels) - len(chosen)
    if others:
        named.append((f"{others} other levels", style.PALE))
    if (colouring.values < 0).any():
        named.append(("missing", style.PALE))
    handles = [Line2D([], [], marker="o", ms=3.0, linestyle="", color=colour, label=name) for name, colour in named]
    title = short(colouring.name, 40)
    place: dict[str, Any] = {"loc": "outside upper left", "ncols": 4, "handletextpad": 0.2, "columnspacing": 1.0}
    axes.figure.legend(handles=handles, title=title, title_fontsize=style.TEXT, **place)
    return (f"Colours: the {len(chosen)} most frequent of {len(colouring.levels)} levels.",) if others else ()
