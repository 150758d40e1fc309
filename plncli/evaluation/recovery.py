"""How well the edges of a network are recovered where the true ones are known: by a ranking of pairs, or a choice."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Choice(NamedTuple):
    """Pairs that are linked or not, by whether they are in truth; what is not defined is nan."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def edges(self) -> int:
        """Pairs that are linked."""
        return self.true_positives + self.false_positives

    @property
    def precision(self) -> float:
        """Share of the edges that are true."""
        return _share(self.true_positives, self.edges)

    @property
    def recall(self) -> float:
        """Share of the true edges that are found: the true positive rate."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float:
        """Share of the other pairs that are linked."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def mcc(self) -> float:
        """Correlation of the two divisions of the pairs (Matthews 1975)."""
        hits, spurious, missed, rest = self
        margins = (hits + spurious) * (hits + missed) * (rest + spurious) * (rest + missed)
        return (hits * rest - spurious * missed) / math.sqrt(margins) if margins else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def choice(linked: Tensor, truth: Tensor) -> Choice:
    """Of pairs, (m,) booleans each."""
    each = (linked & truth, linked & ~truth, ~linked & truth, ~linked & ~truth)
    return Choice(*(int(part.sum()) for part in each))


@dataclass(frozen=True)
class Curve:
    """A ranking of pairs, cut at each of its k distinct scores, from the highest down.

    threshold: (k,) scores; pairs: how many have at least that; true_positives: how many of these are true edges. edges,
    number: of all pairs, true ones and all.
    """

    threshold: Tensor = field(repr=False)
    pairs: Tensor = field(repr=False)
    true_positives: Tensor = field(repr=False)
    edges: int
    number: int

    @property
    def recall(self) -> Tensor:
        """Share of the true edges, (k,)."""
        return self.true_positives.double() / self.edges

    @property
    def precision(self) -> Tensor:
        """Share of the pairs that are true edges, (k,)."""
        return self.true_positives.double() / self.pairs

    @property
    def false_positive_rate(self) -> Tensor:
        """Share of the other pairs, (k,)."""
        return (self.pairs - self.true_positives).double() / (self.number - self.edges)

    @property
    def auc(self) -> float:
        """Probability that a true edge ranks above another pair, ties counting half: the area below the ROC curve."""
        x, y = (torch.cat([rate.new_zeros(1), rate]) for rate in (self.false_positive_rate, self.recall))
        return float(torch.trapezoid(y, x))

    @property
    def average_precision(self) -> float:
        """Mean over true edges of the precision at their score, ties cut together."""
        return float((self.recall.diff(prepend=self.recall.new_zeros(1)) * self.precision).sum())


def curve(scores: Tensor, truth: Tensor) -> Curve:
    """Of pairs by their scores (m,), the highest first; truth: (m,) booleans, some True and some False."""
    values, group = torch.unique(-scores.double(), return_inverse=True)
    pairs = torch.bincount(group, minlength=len(values)).cumsum(0)
    hits = torch.bincount(group[truth], minlength=len(values)).cumsum(0)
    return Curve(-values, pairs, hits, int(truth.sum()), len(truth))
