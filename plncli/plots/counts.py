"""Whether counts follow the model: fitted counts, residuals, sequencing depth, and zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure

from plncli.errors import counted, number
from plncli.numerics.significance import rank_correlation
from plncli.plots import style
from plncli.plots.components.ordination import first_component, latent_residuals
from plncli.plots.regression import QUANTILES, quantile_pairs, quantile_plot
from plncli.plots.source import Source, Wanted

NAMED = 8
FAR = 3.0
"""Standard deviations beyond which a number of zeros is named."""


@dataclass(frozen=True)
class Fitted:
    """Counts and their fitted values, (m,) each, of the cells that count."""

    observed: np.ndarray = field(repr=False)
    fitted: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CountResiduals:
    """Randomised quantile residuals (m,) of the cells that count, and the counts expected of covariates alone (m,)."""

    expected: np.ndarray = field(repr=False)
    residuals: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Depth:
    """By sample (n,): depth, mean standardised latent residual, and first principal component of M − XB.

    scale: what depth is; rank_correlations: Spearman's, of depth with the other two.
    """

    depth: np.ndarray = field(repr=False)
    residuals: np.ndarray = field(repr=False)
    component: np.ndarray = field(repr=False)
    scale: str
    rank_correlations: tuple[float, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZeroCounts:
    """By feature (p,): zeros counted, expected, and the standard deviation of their number.

    sampling: expected of those that are not structural; empty where none are.
    """

    features: tuple[str, ...] = field(repr=False)
    counted: np.ndarray = field(repr=False)
    expected: np.ndarray = field(repr=False)
    sd: np.ndarray = field(repr=False)
    sampling: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0))
    notes: tuple[str, ...] = ()


def fitted(source: Source, _: Wanted) -> Fitted:
    """Counts and exp(o + m + s²/2), m and s those of q."""
    cells = source.cells
    log_mean = source.data.O.numpy() + source.of_samples("M_finite") + 0.5 * source.of_samples("S") ** 2
    K = cells.K.numpy()
    return Fitted(cells.Y.numpy()[K], np.exp(log_mean[K]))


def residuals(source: Source, wanted: Wanted) -> CountResiduals:
    """Residuals against exp(o + xB + Sigma_jj/2)."""
    cells, R = source.cells, source.residuals(wanted.seed)
    K = cells.K.numpy()
    expected = np.exp(cells.mean.numpy() + 0.5 * cells.variances.numpy())
    return CountResiduals(expected[K], R[K])


def depth(source: Source, _: Wanted) -> Depth:
    """Depth is the exposure of the fit (the geometric mean over features), or the total count where it had none."""
    data = source.data
    offset = data.O.double().mean(1).numpy()
    with_offset = float(np.ptp(offset)) > 1e-9
    per_sample = np.exp(offset) if with_offset else source.cells.Y.sum(1).clamp_min(1.0).numpy()
    mean = source.mean_residuals.nan_to_num(nan=0.0).numpy()
    left = latent_residuals(source)
    component = first_component(left)
    ranked = [torch.from_numpy(np.ascontiguousarray(values)) for values in (per_sample, mean, component)]
    related = (rank_correlation(ranked[0], ranked[1]), rank_correlation(ranked[0], ranked[2]))
    scale = "exposure of the sample" if with_offset else "total count of the sample"
    return Depth(per_sample, mean, component, scale, related)


def zeros(source: Source, _: Wanted) -> ZeroCounts:
    """Zeros of each feature beside what the model expects."""
    found = source.counting.expected_zeros(source.data)
    sampling = np.empty(0) if found.sampling is None else found.sampling.numpy()
    known = (found.counted.numpy(), found.expected.numpy(), found.sd.numpy())
    return ZeroCounts(source.run.responses, *known, sampling)


# Drawing


def draw_fitted(record: Fitted, width: float) -> Figure:
    """Observed counts against fitted ones, both as log(1 + count)."""
    figure = style.blank(width, min(0.88 * width, 120.0))
    axes = figure.subplots()
    x, y = np.log1p(record.fitted), np.log1p(record.observed)
    style.cloud(axes, x, y, "counts")
    end = float(max(x.max(), y.max()))
    axes.plot([0.0, end], [0.0, end], color=style.RED, linewidth=0.7)
    style.count_axis(axes.xaxis, float(record.fitted.max()))
    style.count_axis(axes.yaxis, float(record.observed.max()))
    axes.set(xlabel="fitted count", ylabel="observed count")
    return figure


def draw_residuals(record: CountResiduals, width: float) -> Figure:
    """Residuals against expected counts, and their quantiles against normal ones."""
    figure, (left, right) = style.panels(2, width, min(0.7 * width, 75.0))
    style.cloud(left, np.log10(record.expected), record.residuals, "counts")
    left.axhline(0.0, color=style.RED, linewidth=0.7)
    x, y = style.running_median(np.log10(record.expected), record.residuals)
    left.plot(x, y, color="black", marker="o", ms=1.8, linewidth=0.7, label="running median")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left")
    left.set(xlabel="expected count", ylabel="quantile residual")
    style.decades(left.xaxis)
    quantile_plot(right, quantile_pairs(record.residuals), band=None)
    if len(record.residuals) > QUANTILES:
        style.footnote(figure, [f"{QUANTILES} quantiles of {len(record.residuals)} residuals."])
    return figure


def draw_depth(record: Depth, width: float) -> Figure:
    """What the model should have taken out: nothing here ought to change with depth."""
    figure, grid = style.panels(2, width, min(0.7 * width, 70.0))
    labels = ("mean latent residual", "first component of M − XB")
    values = (record.residuals, record.component)
    for axes, y, label, rho in zip(grid, values, labels, record.rank_correlations, strict=True):
        style.cloud(axes, np.log10(record.depth), y, "samples")
        axes.axhline(0.0, color=style.PALE, linewidth=0.6, zorder=0)
        axes.plot(*style.running_median(np.log10(record.depth), y), color="black", marker="o", ms=1.8, linewidth=0.7)
        style.decades(axes.xaxis)
        axes.set(xlabel=record.scale, ylabel=label)
        axes.set_title("" if math.isnan(rho) else f"Spearman's ρ = {rho:.2f}".replace("-", "−"), loc="left")
    return figure


def draw_zeros(record: ZeroCounts, width: float) -> Figure:
    """Zeros counted against zeros expected, ± two standard deviations; those far off are named."""
    figure = style.blank(width, min(0.88 * width, 120.0))
    axes = figure.subplots()
    off = (record.counted - record.expected) / np.where(record.sd > 0, record.sd, np.inf)
    far = np.abs(off) > FAR
    axes.axline((0.0, 0.0), slope=1.0, color=style.GREY, linewidth=0.6)
    if len(record.sampling):
        axes.hlines(record.counted, record.sampling, record.expected, color=style.GREY, linewidth=0.4, linestyle=":")
        axes.plot(
            record.sampling, record.counted, "o", ms=2.8, mfc="white", mec=style.GREY, mew=0.5,
            label="without structural zeros",
        )  # fmt: skip
    for there, colour, label in ((~far, style.BLUE, f"within {FAR:g} sd"), (far, style.RED, f"beyond {FAR:g} sd")):
        if there.any():
            axes.errorbar(
                record.expected[there], record.counted[there], xerr=2.0 * record.sd[there], fmt="o", ms=2.2,
                color=colour, ecolor=style.PALE, elinewidth=0.5, markeredgewidth=0, label=label, rasterized=False,
            )  # fmt: skip
    top = float(max(record.counted.max(), (record.expected + 2.0 * record.sd).max(), 1.0))
    axes.set(xlim=(-0.03 * top, 1.03 * top), ylim=(-0.03 * top, 1.03 * top))
    axes.set(xlabel="zeros expected (± 2 sd)", ylabel="zeros counted")
    if far.any() or len(record.sampling):
        axes.legend(
            loc="lower right" if len(record.sampling) else "upper left",  # where hardly a point lies
            title=counted(len(off), "feature"),
            title_fontsize=style.TEXT,
        )
    if far.any():
        worst = [j for j in np.argsort(-np.abs(off), kind="stable")[:NAMED].tolist() if far[j]]
        if far.sum() > len(worst):
            style.footnote(
                figure, [f"The {len(worst)} farthest of {int(far.sum())} features beyond {FAR:g} sd are named."]
            )
        names = [record.features[j] for j in worst]
        marks = np.column_stack([record.expected, record.counted])
        style.name_points(axes, record.expected[worst], record.counted[worst], names, marks)
    return figure


# In words


def describe_fitted(record: Fitted) -> str:
    """How close fitted counts come."""
    r = np.corrcoef(np.log1p(record.observed), np.log1p(record.fitted))[0, 1] if len(record.observed) > 1 else np.nan
    return (
        f"{counted(len(record.observed), 'count')} against fitted ones: the correlation of log(1 + count) is {r:.3f}; "
        f"the largest count is {record.observed.max():g}, fitted as {number(record.fitted[record.observed.argmax()])}."
    )


def describe_residuals(record: CountResiduals) -> str:
    """Mean, spread and tails."""
    R = record.residuals
    return (
        f"{counted(len(R), 'residual')} against expected counts, and their normal quantiles: mean {R.mean():.3f}, "
        f"standard deviation {R.std():.3f}, {100 * (np.abs(R) > 2).mean():.1f} % beyond ±2 (4.6 % expected)."
    )


def describe_depth(record: Depth) -> str:
    """How residuals and components change with depth."""
    mean, component = record.rank_correlations
    return (
        f"{counted(len(record.depth), 'sample')} against the {record.scale}: its rank correlation with the mean "
        f"residual is {mean:.2f}, with the first latent component {component:.2f}."
    )


def describe_zeros(record: ZeroCounts) -> str:
    """How many zeros there are and ought to be."""
    far = np.abs(record.counted - record.expected) > FAR * record.sd
    of = record.expected.sum() - record.sampling.sum()
    structural = f", {of:.1f} of them structural" if len(record.sampling) else ""
    return (
        f"Zeros of {counted(len(record.features), 'feature')}: {record.counted.sum():g} counted, "
        f"{record.expected.sum():.1f} expected{structural}; {counted(int(far.sum()), 'feature')} beyond {FAR:g} "
        "standard deviations."
    )
