"""Edges against true ones: receiver operating characteristics and precision-recall curves of rankings of pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plncli.errors import UsageError, counted
from plncli.plots import style
from plncli.plots.source import Source, Wanted
from plncli.runs.network.recovery import RANKINGS, recovery

if TYPE_CHECKING:
    from plncli.evaluation.recovery import Curve

COLUMNS = ("threshold", "pairs", "true_positives", "false_positive_rate", "recall", "precision")
POINTS = 500
"""Of a curve, beside those of its scores."""


@dataclass(frozen=True)
class Ranking:
    """Pairs from the highest score down, (k,) each: how many, true edges among them, rates and precision.

    tied: whether the last of them have the score 0, which tells nothing of their order.
    """

    name: str
    auc: float
    average_precision: float
    tied: bool
    threshold: np.ndarray = field(repr=False)
    pairs: np.ndarray = field(repr=False)
    true_positives: np.ndarray = field(repr=False)
    false_positive_rate: np.ndarray = field(repr=False)
    recall: np.ndarray = field(repr=False)
    precision: np.ndarray = field(repr=False)

    def between(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision, pairs of one score taken in any order (Davis & Goadrich 2006)."""
        pairs = np.union1d(self.pairs, np.linspace(self.pairs[0], self.pairs[-1], POINTS))
        hits = np.interp(pairs, self.pairs, self.true_positives)
        return hits / self.true_positives[-1], hits / pairs


@dataclass(frozen=True)
class Recovered:
    """Rankings of all pairs of a fit; choice: false positive rate, recall and precision of its edges; along: r×3.

    share: of true edges among all pairs; edges: true ones, and those of the fit.
    """

    rankings: tuple[Ranking, ...]
    choice: np.ndarray
    along: np.ndarray = field(repr=False)
    share: float
    edges: tuple[int, int]
    told: str
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Recovered:
    """Of a fit, by `wanted.truth`. UsageError without it."""
    if wanted.truth is None:
        raise UsageError(
            "Which edges are true? Give --truth DIR, a folder that `plncli simulate --graph` wrote, or FILE."
        )
    found = recovery(source.run, wanted.truth, source.members)
    rankings = tuple(_ranking(name, curve) for name, curve in found.rankings.items())
    points = [(each.false_positive_rate, each.recall, each.precision) for each in (found.choice, *found.along)]
    choice, *along = np.array(points)
    true = found.choice.true_positives + found.choice.false_negatives
    own = found.choice
    told = f"precision {own.precision:.2f}, recall {own.recall:.2f}, F1 {own.f1:.2f}, MCC {own.mcc:.2f}"
    return Recovered(
        rankings,
        choice,
        np.array(along).reshape(-1, 3),
        true / sum(found.choice),
        (true, own.edges),
        told if own.edges else "none chosen",
        found.notes,
    )


def _ranking(name: str, curve: Curve) -> Ranking:
    columns = {column: getattr(curve, column).numpy() for column in COLUMNS}
    return Ranking(name, curve.auc, curve.average_precision, bool(curve.threshold[-1] == 0.0), **columns)


def draw(record: Recovered, width: float) -> Figure:
    """Both kinds of curves side by side, a line a ranking; marks are fits of the path, and the one that was chosen."""
    tied = any(ranking.tied for ranking in record.rankings)
    notes = [*record.notes, *["Dotted: pairs that are never linked, or never found, are tied."] * tied]
    figure, (left, right) = style.panels(2, width, min(0.5 * width, 85.0) + 12.0 + 4.0 * len(notes))
    left.plot([0.0, 1.0], [0.0, 1.0], color=style.PALE, linewidth=0.7, linestyle="--")
    right.axhline(record.share, color=style.PALE, linewidth=0.7, linestyle="--")
    for place, (ranking, colour) in enumerate(zip(record.rankings, style.SERIES, strict=False)):
        told = f"by {RANKINGS[ranking.name]}: AUC {ranking.auc:.3f}, average precision {ranking.average_precision:.3f}"
        look: dict[str, Any] = {"color": colour, "zorder": 3.0 - 0.1 * place}
        x, y = (np.concatenate([[0.0], rate]) for rate in (ranking.false_positive_rate, ranking.recall))
        last = float(ranking.recall[-2]) if ranking.tied and len(ranking.recall) > 1 else 1.0
        _line(left, x, y, len(x) - 1 if ranking.tied else len(x), label=told, **look)
        x, y = ranking.between()
        _line(right, np.append(0.0, x), np.append(y[0], y), int((x <= last).sum()) + 1, **look)
    for axes, across, up in ((left, 0, 1), (right, 1, 2)):
        dots: dict[str, Any] = {"clip_on": False, "zorder": 4, "linestyle": ""}
        if len(record.along):
            points = record.along[:, across], record.along[:, up]
            axes.plot(*points, ".", color=style.BLUE, markersize=3.5, label="edges of the fits of the path", **dots)
        chosen: dict[str, Any] = {"markersize": 7.0, "markerfacecolor": "none", "markeredgecolor": "black"}
        label = f"edges of the fit: {record.told}"
        axes.plot(record.choice[across], record.choice[up], "o", label=label, **chosen, **dots)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set(xlabel="recall (true positive rate)", ylabel="precision")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=1)
    style.footnote(figure, notes)
    return figure


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, sure: int, **look: Any) -> None:
    """A curve, dotted beyond its first points."""
    axes.plot(x[:sure], y[:sure], **look)
    axes.plot(x[sure - 1 :], y[sure - 1 :], linestyle=":", color=look["color"], linewidth=0.8)


def describe(record: Recovered) -> str:
    """Areas of the curves, and what the choice has."""
    true, own = record.edges
    curves = [
        f"{RANKINGS[each.name]}, AUC {each.auc:.3f} and average precision {each.average_precision:.3f}"
        for each in record.rankings
    ]
    return (
        f"{counted(own, 'edge')} of the fit against {counted(true, 'true edge')}: {record.told}. Pairs ranked by "
        f"{'; by '.join(curves)}."
    )


def table(record: Recovered) -> dict[str, Any]:
    """All points of the curves."""
    each = record.rankings
    return {
        "ranking": [one.name for one in each for _ in one.threshold],
        **{name: np.concatenate([getattr(one, name) for one in each]) for name in COLUMNS},
    }
