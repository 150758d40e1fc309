"""Where the probabilities of structural zeros live: one for all cells, one a feature or a sample, or by covariates.

zeta are the parameters; entries their logits, of a shape that n×p cells share: 1×1, 1×p, n×1, or n×p with covariates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from plncli.models.inflation.cells import LINEAR
from plncli.models.inflation.spec import SYMBOLS
from plncli.numerics.rows import gram, grand_total, group_totals, total

START = -3.0
"""Logit at which probabilities begin."""


@dataclass(frozen=True)
class Inflation:
    """n×p cells with a probability of being a structural zero.

    kind: what has one of its own, `single`, `feature`, `sample`, or anything else with X. X: n×c, columns on which the
    logit depends, None without covariates; weights: of entries' shape, sum of the weights of the cells that count;
    free: the entries whose probability may be more than 0, of entries' shape; the others are exactly 0.
    """

    kind: str
    weights: Tensor
    free: Tensor
    X: Tensor | None = None

    @staticmethod
    def of(kind: str, weights: Tensor, X: Tensor | None = None) -> Inflation:
        """All open. weights: of the cells, n×p."""
        if X is None:
            weights = _pooled(kind, weights)
        return Inflation(kind, weights, weights > 0, X)

    def with_free(self, free: Tensor) -> Inflation:
        """Others open."""
        return replace(self, free=free)

    @property
    def closed(self) -> Inflation:
        """All held at 0."""
        return self.with_free(torch.zeros_like(self.free))

    @property
    def opposite(self) -> Inflation:
        """Open where this is closed."""
        return self.with_free(~self.free & (self.weights > 0))

    @property
    def shape(self) -> torch.Size:
        """Of the entries."""
        return self.weights.shape

    @property
    def n_parameters(self) -> int:
        """Of the model, 0 or not."""
        return self.start(0.0).numel()

    def start(self, logit: float) -> Tensor:
        """zeta at which all entries, as nearly as covariates let them, have a logit."""
        if self.X is None:
            return torch.full_like(self.weights, logit)
        ones = self.X.new_ones((len(self.X), 1))
        return (logit * torch.linalg.lstsq(self.X, ones).solution).expand(-1, self.shape[1]).clone()  # needs all rows

    def entries(self, zeta: Tensor) -> Tensor:
        """Logits."""
        return zeta if self.X is None else self.X @ zeta

    def logits(self, zeta: Tensor) -> Tensor:
        """The same, −inf where entries are closed."""
        return torch.where(self.free, self.entries(zeta), -math.inf)

    def left(self, zeta: Tensor) -> dict[str, Tensor]:
        """What a fit leaves of them, by symbol."""
        logits, symbol = self.logits(zeta).detach(), SYMBOLS[self.kind]
        return {symbol: logits[0, 0] if self.kind == "single" else logits.flatten()}

    def known(self, init: Mapping[str, Tensor]) -> Tensor | None:
        """Logits of entries' shape that an earlier fit left (`left`), nan where it knows none; None: of no such fit."""
        symbol = SYMBOLS.get(self.kind, "")
        return init[symbol].to(self.weights).reshape(self.shape) if symbol in init else None

    def begun(self, init: Mapping[str, Tensor] | None) -> Tensor:
        """zeta where a fit begins: as an earlier fit left it, and as low as START elsewhere."""
        zeta, known = self.start(START), None if init is None else self.known(init)
        return zeta if known is None else torch.where(torch.isfinite(known), known, zeta)

    def probabilities(self, zeta: Tensor) -> Tensor:
        """Of entries' shape, 0 where they are closed."""
        return torch.where(self.free, self.entries(zeta).sigmoid(), 0.0)

    def back(self, slopes: Tensor) -> Tensor:
        """Slopes in zeta of what has these slopes in the entries; closed ones have none."""
        slopes = torch.where(self.free, slopes, 0.0)
        return slopes if self.X is None else gram(self.X, slopes)

    def base(self, zeta: Tensor) -> Tensor:
        """What all cells pay: sum of weights times −log(1 − pi), scalar."""
        return grand_total(self.base_cost(zeta))

    def base_cost(self, zeta: Tensor) -> Tensor:
        """The same by entry."""
        return torch.where(self.free, self.weights * softplus(self.entries(zeta), threshold=LINEAR), 0.0)

    def base_slope(self, zeta: Tensor) -> Tensor:
        """Slope of it in the entries."""
        return self.weights * self.entries(zeta).sigmoid()

    def base_bend(self, zeta: Tensor) -> Tensor:
        """Its second derivative in the entries."""
        pi = self.entries(zeta).sigmoid()
        return self.weights * pi * (1.0 - pi)

    def places(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries of cells (k,), as numbers into the flattened entries."""
        n, p = self.shape
        return (rows if n > 1 else 0 * rows) * p + (columns if p > 1 else 0 * columns)


def _pooled(kind: str, A: Tensor) -> Tensor:
    """Sums of A (n×p) over the cells of each entry."""
    if kind == "single":
        return grand_total(A).reshape(1, 1)
    return total(A)[None] if kind == "feature" else A.sum(1, keepdim=True)


@dataclass(frozen=True)
class Zeros:
    """Cells (k,) of a table with a zero that may be structural: row and column there, entry, and weight."""

    rows: Tensor
    columns: Tensor
    place: Tensor
    w: Tensor
    inflation: Inflation

    @staticmethod
    def among(Y: Tensor, K: Tensor | None, w: Tensor | None, inflation: Inflation, features: Tensor) -> Zeros:
        """Those of a table of some features (indices): counts Y, K 1 where a cell counts, n×q, weights w (n,)."""
        zero = Y == 0 if K is None else (Y == 0) & (K > 0)
        free = inflation.free
        zero = zero & (free[:, features] if free.shape[1] > 1 else free)
        rows, columns = zero.nonzero(as_tuple=True)
        weight = torch.ones_like(Y[0, :1]).expand(len(rows)) if w is None else w[rows]
        return Zeros(rows, columns, inflation.places(rows, features[columns]), weight, inflation)

    def logits(self, zeta: Tensor) -> Tensor:
        """z of each cell, (k,)."""
        return self.inflation.entries(zeta).reshape(-1)[self.place]

    def pooled(self, values: Tensor) -> Tensor:
        """Weighted sums of values (k,) over the cells of each entry, of entries' shape."""
        shape = self.inflation.shape
        return group_totals(self.w * values, self.place, shape.numel()).view(shape)

    def of(self, table: Tensor) -> Tensor:
        """A table's values (k,) there."""
        return table[self.rows, self.columns]

    def put(self, values: Tensor, table: Tensor) -> Tensor:
        """The table (n×q), in place, with values there."""
        table[self.rows, self.columns] = values
        return table
