"""How well candidates of a cross-validation predict: their scores, with standard errors over the folds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import DataError, UsageError, counted, number, short
from plncli.plots import style
from plncli.tables.numbers import numbers
from plncli.tables.reading import read_table
from plncli.tables.table import Table

ROW = 6.0
"""Height of a row in mm."""
RULE = "It must be the table that `plncli cv --out FILE` wrote."


class Standing(NamedTuple):
    """A candidate: its name, score in each fold (nan: none), their mean and its standard error, parameters (or None).

    behind, behind_se: distance to the best over the same folds. best: the highest score; simplest: fewest parameters
    within one standard error of it.
    """

    name: str
    folds: np.ndarray
    score: float
    score_se: float
    behind: float
    behind_se: float
    n_parameters: int | None
    best: bool
    simplest: bool


@dataclass(frozen=True)
class Standings:
    """Candidates, the best first; likelihood: what the score is called."""

    standings: tuple[Standing, ...] = field(repr=False)
    likelihood: str
    notes: tuple[str, ...] = ()


def content(path: Path) -> Standings:
    """The table that `plncli cv --out FILE` wrote. UsageError for a folder, DataError for another table."""
    if path.is_dir():
        raise UsageError(f"cv is drawn from the table that `plncli cv --out FILE` wrote, but {path} is a folder.")
    if not path.exists():
        raise DataError(f"{path} does not exist. Give the file that `plncli cv --out` wrote.")
    table = read_table(str(path), "out", sample_names=False)
    likelihood = next((name for name in ("elbo", "loglik") if name in table.columns), None)
    if likelihood is None or "formula" not in table.columns or "fold" not in table.columns:
        raise DataError(f"{path} has no columns formula, fold, and elbo or loglik. {RULE}")
    numbered = min(table.columns.index(name) for name in ("n_parameters", "fold") if name in table.columns)
    labels = [_texts(table, name) for name in table.columns[:numbered]]
    names = [", ".join(parts) for parts in zip(*labels, strict=True)]
    order = list(dict.fromkeys(names))
    values, _ = numbers(table.select(["fold", likelihood]), RULE)
    folds = sorted(set(values[:, 0].tolist()))
    scores = np.full((len(order), len(folds)), math.nan)
    for name, (fold, score) in zip(names, values.tolist(), strict=True):
        scores[order.index(name), folds.index(fold)] = score
    if np.isnan(scores).any():
        raise DataError(f"{path} lacks folds of some candidates. {RULE}")
    parameters: list[int | None] = [None] * len(order)
    if "n_parameters" in table.columns:
        many = numbers(table.select(["n_parameters"]), RULE)[0][:, 0]
        parameters = [int(many[names.index(name)]) for name in order]
    return Standings(standings(order, scores, parameters), likelihood)


def _texts(table: Table, name: str) -> list[str]:
    return table.cells.column(table.columns.index(name)).cast(pa.string()).to_pylist()


def standings(names: list[str], scores: np.ndarray, parameters: list[int | None]) -> tuple[Standing, ...]:
    """Candidates in order of their mean score; scores: candidates × folds."""
    root = math.sqrt(scores.shape[1])
    mean, se = scores.mean(1), scores.std(1, ddof=1) / root
    best = int(mean.argmax())
    behind = scores[best] - scores
    gap, gap_se = behind.mean(1), behind.std(1, ddof=1) / root
    near = [c for c in range(len(names)) if gap[c] <= se[best] and parameters[c] is not None]
    simplest = min(near, key=lambda c: (parameters[c], gap[c]), default=None)
    made = [
        Standing(
            name=names[c],
            folds=scores[c],
            score=float(mean[c]),
            score_se=float(se[c]),
            behind=float(gap[c]),
            behind_se=float(gap_se[c]),
            n_parameters=parameters[c],
            best=c == best,
            simplest=c == simplest,
        )
        for c in range(len(names))
    ]
    return tuple(sorted(made, key=lambda one: -one.score))


def draw(record: Standings, width: float) -> Figure:
    """Scores and distances to the best, a row a candidate, the best on top."""
    many = len(record.standings)
    figure = style.blank(width, 26.0 + ROW * max(many, 2))
    left, right = figure.subplots(1, 2, sharey=True)
    best = record.standings[0]
    left.axvline(best.score - best.score_se, color=style.GREY, linewidth=0.6, linestyle="--")
    right.axvline(best.score_se, color=style.GREY, linewidth=0.6, linestyle="--")
    for place, one in enumerate(record.standings):
        colour = style.RED if one.best else style.GREEN if one.simplest else style.BLUE
        look = {"fmt": "D" if one.best else "s" if one.simplest else "o", "ms": 3.2, "color": colour, "elinewidth": 0.9}
        left.plot(one.folds, [-place] * len(one.folds), "|", color=style.PALE, ms=4.0, zorder=1)
        left.errorbar(one.score, -place, xerr=one.score_se, **look)
        right.errorbar(one.behind, -place, xerr=one.behind_se, **look)
    left.set_yticks([-place for place in range(many)])
    left.set_yticklabels([_label(one, 24 if width < style.NARROW else 40) for one in record.standings])
    left.set_ylim(-many + 0.4, 0.6)
    gap = "\n" if width < style.NARROW else " "
    noun = {"elbo": "ELBO", "loglik": "log-likelihood"}[record.likelihood]
    left.set_xlabel(f"{noun} held out{gap}(nats, ± se)")
    right.set_xlabel(f"behind the best{gap}(nats, ± se)")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
    _key(figure, record)
    style.footnote(figure, record.notes)
    return figure


def _label(one: Standing, signs: int) -> str:
    size = "" if one.n_parameters is None else f"\n{one.n_parameters} parameters"
    return f"{short(one.name, signs)}{size}"


def _key(figure: Figure, record: Standings) -> None:
    def mark(sign: str, colour: str, label: str) -> Line2D:
        return Line2D([], [], marker=sign, ms=3.2, linestyle="", color=colour, label=label)

    both = any(one.best and one.simplest for one in record.standings)
    marks = [mark("D", style.RED, "best, and simplest within 1 se" if both else "best")]
    if not both and any(one.simplest for one in record.standings):
        marks.append(mark("s", style.GREEN, "fewest parameters within 1 se"))
    marks.append(mark("|", style.PALE, "a fold"))
    marks.append(Line2D([], [], color=style.GREY, linewidth=0.6, linestyle="--", label="1 se of the best"))
    figure.legend(handles=marks, loc="outside upper left", ncols=2)


def describe(record: Standings) -> str:
    """The best candidate, and how far the others are."""
    best, last = record.standings[0], record.standings[-1]
    return (
        f"Scores of {counted(len(record.standings), 'candidate')} over {counted(len(best.folds), 'fold')}: the best, "
        f"{best.name}, has {number(best.score)} nats a fold; {last.name} is {number(last.behind)} behind."
    )
