"""Discrimination and calibration of a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from plncli.errors import counted, short, some
from plncli.plots import style
from plncli.plots.source import Source, Wanted, chosen_responses

THRESHOLD = 0.5


class Curve(NamedTuple):
    """Shares (m,) of the samples of class 0 and of class 1 above a falling threshold; the area below the curve."""

    response: str
    false_positive: np.ndarray
    true_positive: np.ndarray
    area: float


@dataclass(frozen=True)
class Curves:
    """Receiver operating characteristics."""

    curves: tuple[Curve, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


class Bins(NamedTuple):
    """Bins of samples of similar probability, (m,) each: weight, mean probability, share of ones, its 95 % interval.

    p_value: of Hosmer & Lemeshow's test, nan with fewer than three bins.
    """

    response: str
    weight: np.ndarray
    expected: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: float


@dataclass(frozen=True)
class Calibrations:
    """Calibration of each response."""

    bins: tuple[Bins, ...] = field(repr=False)
    notes: tuple[str, ...] = ()


class Table(NamedTuple):
    """Weights: rows the class observed, columns the class predicted, in the order of labels, such as (zero, one)."""

    response: str
    labels: tuple[str, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class Confusions:
    """Classes observed and predicted: the second of two where its probability is above the threshold.

    threshold: None where it is the most probable class.
    """

    tables: tuple[Table, ...] = field(repr=False)
    threshold: float | None = THRESHOLD
    notes: tuple[str, ...] = ()


def _scored(source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes Y and linear predictors eta, n×p, and weights (n,)."""
    data = source.data
    return data.Y.numpy(), source.run.fitted.linear_predictor(data).numpy(), data.w.numpy()


def roc(source: Source, wanted: Wanted) -> Curves:
    """A curve for each response."""
    Y, eta, w = _scored(source)
    chosen, notes = chosen_responses(source.run, wanted.responses)
    return Curves(tuple(curve(source.run.responses[j], Y[:, j], eta[:, j], w) for j in chosen), notes)


def curve(response: str, y: np.ndarray, score: np.ndarray, w: np.ndarray) -> Curve:
    """The curve of scores (n,) of samples whose class is y, 0 or 1, with weights w."""
    values, group = np.unique(-score, return_inverse=True)
    shares = []
    for part in (w * (1.0 - y), w * y):
        sums = np.bincount(group, part, minlength=len(values)).cumsum()
        shares.append(np.concatenate([[0.0], sums / sums[-1]]))
    x, z = shares
    return Curve(response, x, z, float((np.diff(x) * 0.5 * (z[1:] + z[:-1])).sum()))


def calibration(source: Source, wanted: Wanted) -> Calibrations:
    """The bins of `plncli diagnose`."""
    from plncli.models.regression.classification import calibration as calibrated

    data = source.data
    found = calibrated(data.Y, source.run.fitted.linear_predictor(data), data.w)
    chosen, notes = chosen_responses(source.run, wanted.responses)
    bins = []
    for j in chosen:
        there = (found.weight[:, j] > 0).numpy()
        weight, expected, observed = (getattr(found, name)[:, j].numpy()[there] for name in Bins._fields[1:4])
        interval = wilson(observed, weight)
        bins.append(Bins(data.responses[j], weight, expected, observed, *interval, float(found.p_value[j])))
    return Calibrations(tuple(bins), notes)


def wilson(share: np.ndarray, number: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Ends of Wilson's (1927) interval of shares (m,) of so many samples (m,)."""
    middle = share + z**2 / (2.0 * number)
    half = z * np.sqrt(share * (1.0 - share) / number + z**2 / (4.0 * number**2))
    return (middle - half) / (1.0 + z**2 / number), (middle + half) / (1.0 + z**2 / number)


def confusion(source: Source, wanted: Wanted) -> Confusions:
    """Observed and predicted classes of each response."""
    Y, eta, w = _scored(source)
    chosen, notes = chosen_responses(source.run, wanted.responses)
    tables = []
    for j in chosen:
        cell = 2 * Y[:, j].astype(int) + (eta[:, j] > 0.0)
        zero, one = source.run.classes[j]
        counts = np.bincount(cell, w, minlength=4).reshape(2, 2)
        tables.append(Table(source.run.responses[j], (str(zero), str(one)), counts))
    return Confusions(tuple(tables), notes=notes)


# Drawing


def draw_roc(record: Curves, width: float) -> Figure:
    """All curves in one panel, with their areas."""
    side = min(width, 110.0)
    figure = style.blank(side, side + 4.0 * len(record.notes))
    axes = figure.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0], color=style.PALE, linewidth=0.7, linestyle="--")
    for number, curve in enumerate(record.curves):
        axes.plot(
            curve.false_positive,
            curve.true_positive,
            color=style.SERIES[number % len(style.SERIES)],
            linestyle=style.DASHES[number // len(style.SERIES) % len(style.DASHES)],
            label=f"{short(curve.response, 24)}: area {curve.area:.3f}",
        )
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    style.footnote(figure, record.notes)
    return figure


def draw_calibration(record: Calibrations, width: float) -> Figure:
    """Shares of ones against mean probabilities, with Wilson's intervals."""
    alone = len(record.bins) == 1
    figure, grid = style.panels(
        len(record.bins), min(width, 110.0) if alone else width, min(width, 100.0 if alone else 65.0)
    )
    for axes, one in zip(grid, record.bins, strict=True):
        axes.plot([0.0, 1.0], [0.0, 1.0], color=style.PALE, linewidth=0.7, linestyle="--")
        axes.vlines(one.expected, one.low, one.high, color=style.BLUE, linewidth=0.8)
        size = 6.0 + 20.0 * one.weight / one.weight.max()
        axes.scatter(one.expected, one.observed, s=size, color=style.BLUE, linewidths=0, zorder=3)
        axes.set(xlabel="mean probability", ylabel="observed share (95 %)", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes.set_aspect("equal")
        test = "" if np.isnan(one.p_value) else f"\nHosmer-Lemeshow p = {one.p_value:.2g}"
        axes.set_title(f"{short(one.response, 24)}{test}", loc="left", fontsize=style.TEXT)
    style.footnote(figure, record.notes)
    return figure


def draw_confusion(record: Confusions, width: float) -> Figure:
    """Weights and shares of the observed class, in cells the darker the larger their share."""
    alone = len(record.tables) == 1
    many = max(len(one.labels) for one in record.tables)
    height = min(0.8 * width, 55.0) + 12.0 * min(many - 2, 8)
    figure, grid = style.panels(len(record.tables), min(width, 85.0 + 12.0 * (many - 2)) if alone else width, height)
    for axes, one in zip(grid, record.tables, strict=True):
        of_class = one.counts.sum(1, keepdims=True)
        shares = one.counts / np.where(of_class > 0, of_class, 1.0)
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        for (i, j), share in np.ndenumerate(shares):
            text = f"{one.counts[i, j]:g}\n{100.0 * share:.1f} %"
            axes.text(j, i, text, ha="center", va="center", color="white" if share > 0.55 else "black")
        labels = [short(label, 12) for label in one.labels]
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(
            xlabel=f"predicted (threshold {record.threshold:g})" if alone and record.threshold else "predicted",
            ylabel="observed",
        )
        right = float(np.trace(one.counts) / one.counts.sum())
        axes.set_title(f"{short(one.response, 24)}: {100.0 * right:.1f} % right", loc="left")
    style.footnote(figure, record.notes)
    return figure


# In words


def describe_curves(record: Curves) -> str:
    """The areas under the curves."""
    return f"Areas under the curves: {some((f'{c.response} {c.area:.3f}' for c in record.curves), 6)}."


def describe_bins(record: Calibrations) -> str:
    """The range of each calibration."""
    told = (
        f"{b.response} in {counted(len(b.weight), 'bin')}, observed shares from {b.observed.min():.2f} to "
        f"{b.observed.max():.2f} at mean probabilities from {b.expected.min():.2f} to {b.expected.max():.2f}"
        for b in record.bins
    )
    return f"Calibration: {'; '.join(told)}."


def describe_tables(record: Confusions) -> str:
    """The share of right ones."""
    told = (f"{t.response} {100 * np.trace(t.counts) / t.counts.sum():.1f} %" for t in record.tables)
    return f"Share of the samples whose class is predicted correctly: {', '.join(told)}."
