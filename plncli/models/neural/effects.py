"""Partial dependence (Friedman 2001): what a neural mean is, on average, where one covariate has a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from plncli.models.neural.network import INTERCEPT

POINTS = 21
"""Values of a covariate, at most: quantiles at equal distances, ends included."""
OTHER = "(first level)"
"""The level of a factor that has no column of its own."""


@dataclass(frozen=True)
class Curve:
    """A covariate (its columns of the design by index) at some values, rows of those columns (v×c).

    values: (v,), to be shown; of a factor's level the column's index, −1 for the level that has none.
    """

    columns: tuple[int, ...]
    rows: Tensor = field(repr=False)
    values: Tensor = field(repr=False)

    @property
    def factor(self) -> bool:
        """Whether it is a factor, of which values are levels."""
        return len(self.columns) > 1


def curves(X: Tensor, terms: Sequence[str]) -> Iterator[Curve]:
    """Of each covariate of a design (n×d): its quantiles, or the levels of a factor, whose columns move together."""
    for columns in groups(terms):
        part = X[:, list(columns)]
        if len(columns) == 1:
            values = torch.unique(part[:, 0])
            if len(values) > POINTS:
                places = torch.linspace(0.0, 1.0, POINTS, dtype=X.dtype, device=X.device)
                values = torch.unique(torch.quantile(part[:, 0], places))
            yield Curve(columns, values[:, None], values)
        else:
            rows = torch.unique(part, dim=0).flip(0)
            single = rows[((rows != 0).sum(1) <= 1) & ((rows == 0) | (rows == 1)).all(1)]
            at = torch.tensor([columns[int(row.argmax())] if bool(row.any()) else -1 for row in single])
            yield Curve(columns, single, at.to(X))


def groups(terms: Sequence[str]) -> list[tuple[int, ...]]:
    """Columns that are of one factor, such as `tree[a]` and `tree[b]`, together; others each by itself."""
    found: dict[str, list[int]] = {}
    for k, term in enumerate(terms):
        if term != INTERCEPT:
            name = term.partition("[")[0] if term.endswith("]") and ":" not in term else term
            found.setdefault(name, []).append(k)
    return [tuple(columns) for columns in found.values()]


def label(curve: Curve, terms: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What a covariate is called, and its levels if it is a factor."""
    name = terms[curve.columns[0]]
    if not curve.factor:
        return name, ()
    return name.partition("[")[0], tuple(level(value, terms) for value in curve.values.tolist())


def level(value: float, terms: Sequence[str]) -> str:
    """The level of a factor that a value stands for (`Curve`)."""
    if value < 0:
        return OTHER
    return terms[int(value)].partition("[")[2].removesuffix("]").removeprefix("T.")


def dependence(mean: Callable[[Tensor], Tensor], X: Tensor, curve: Curve) -> Tensor:
    """The mean (n×p) of each sample of X (n×d), were its covariate at each value of a curve: v×n×p."""
    found = []
    for row in curve.rows:
        moved = X.clone()
        moved[:, list(curve.columns)] = row
        found.append(mean(moved))
    return torch.stack(found)


def partial_effects(mean: Callable[[Tensor], Tensor], X: Tensor, w: Tensor, terms: Sequence[str]) -> Tensor:
    """A row for each covariate and value, r×(2 + p): its first column, the value, and the mean of all samples there.

    w: (n,) weights of the samples.
    """
    rows = []
    for curve in curves(X, terms):
        average = torch.einsum("vnp,n->vp", dependence(mean, X, curve), w / w.sum())
        of = torch.full_like(curve.values, curve.columns[0])
        rows.append(torch.cat([of[:, None], curve.values[:, None], average], dim=1))
    return torch.cat(rows)
