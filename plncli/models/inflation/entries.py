"""Where the probabilities of structural zeros live: one for all cells, one a feature or a sample, or by covariates.

zeta are the parameters; entries their logits, of a shape that n×p cells share: 1×1, 1×p, n×1, or n×p with covariates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from plncli.dataset import Dataset
from plncli.models.inflation.cells import LINEAR
from plncli.models.inflation.design import ZeroDesign
from plncli.models.inflation.spec import COURSES, FEATURE, SINGLE, SYMBOLS, TERMS
from plncli.numerics.rows import gram, grand_total, group_totals, total
from plncli.numerics.separation import Separation

START = -3.0
"""Logit at which probabilities begin."""


@dataclass(frozen=True)
class Inflation:
    """n×p cells with a probability of being a structural zero.

    kind: what has one of its own, `single`, `feature`, `sample`, or anything else with X. X: n×c, columns on which the
    logit depends, None without covariates; weights: of entries' shape, sum of the weights of the cells that count;
    free: the entries whose probability may be more than 0, of entries' shape; the others are exactly 0.
    design: what X is the basis of (TERMS), None of others; wider: what a fit goes on with where this has its optimum,
    which is a case of it.
    """

    kind: str
    weights: Tensor
    free: Tensor
    X: Tensor | None = None
    design: ZeroDesign | None = None
    wider: Inflation | None = None

    @staticmethod
    def of(kind: str, weights: Tensor, X: Tensor | None = None) -> Inflation:
        """All open. weights: of the cells, n×p."""
        if X is None:
            weights = _pooled(kind, weights)
        return Inflation(kind, weights, weights > 0, X)

    @staticmethod
    def by(design: ZeroDesign, weights: Tensor) -> Inflation:
        """One a feature, all open, and then by covariates: a fit of these never ends below that of the former."""
        own = torch.where(design.sure == 0, weights, 0.0)
        wider = Inflation(TERMS, own, own > 0, design.basis.Q, design)
        return replace(Inflation.of("feature", weights), wider=wider)

    @property
    def goal(self) -> str:
        """The kind that a fit ends with."""
        return self.kind if self.wider is None else self.wider.kind

    def widened(self, zeta: Tensor) -> tuple[Inflation, Tensor]:
        """What the fit goes on with, at the same probabilities; itself where it does not."""
        wider = self.wider
        if wider is None:
            return self, zeta
        return wider.with_free(wider.free & self.free), wider.start(1.0) * zeta

    def resumed(self, known: Tensor) -> Inflation:
        """Closed where an earlier fit, whose logits are `known`, left probabilities at 0."""
        wider = self.wider
        if wider is None or known.shape != wider.shape:
            return self.with_free(self.free & ~known.isneginf())
        return wider.closing(wider.free & known.isneginf())

    def closing(self, near: Tensor) -> Inflation:
        """Also closed, of `near` entries, where all others can hold still."""
        assert self.design is not None
        found = self.design.faces(near | (~self.free & (self.weights > 0)))
        return self if found is None else self.with_free(self.free & ~found.cells)

    @cached_property
    def faces(self) -> Separation | None:
        """Where logits run off, now that entries are closed."""
        assert self.design is not None
        return self.design.faces(~self.free)

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

    @cached_property
    def _limits(self) -> Tensor | None:
        """Where logits of the samples go by covariates, n×p; None where all are finite."""
        if self.design is None or self.faces is None:
            return None
        return self.faces.predictor_limits().of_samples(self.design.X)

    def known_alone(self, table: Tensor) -> Tensor:
        """A table n×p, nan where no cell that counts says anything of a probability."""
        return table if self._limits is None else table.masked_fill(self._limits.isnan().to(table.device), math.nan)

    @property
    def shape(self) -> torch.Size:
        """Of the entries."""
        return self.weights.shape

    @property
    def n_parameters(self) -> int:
        """Of the model, 0 or not."""
        return (self.wider or self).start(0.0).numel()

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
        """The same, −inf where entries are closed; by covariates also of cells that do not count, ±inf at limits."""
        if self.design is None:
            return torch.where(self.free, self.entries(zeta), -math.inf)
        logits = self.entries(zeta)
        if self._limits is not None:
            limits = self._limits.to(logits)
            logits = torch.where(limits.abs() == 1, limits * math.inf, logits)
        closed = ~self.free & self.design.counted
        return torch.where(self.design.sure > 0, math.inf, torch.where(closed, -math.inf, logits))

    def left(self, zeta: Tensor) -> dict[str, Tensor]:
        """What a fit leaves of them, by symbol."""
        inflation, zeta = self.widened(zeta.detach())
        logits, design = inflation.logits(zeta), inflation.design
        if design is not None:
            faces = inflation.faces
            courses = {} if faces is None else faces.predictor_limits().tensors()
            found = {"zeta_terms": design.basis.coefficients(zeta), "zeta_cells": inflation.known_alone(logits)}
            return found | {f"{COURSES}{name}": tensor for name, tensor in courses.items()}
        symbol = SYMBOLS[self.kind]
        return {symbol: logits[0, 0] if self.kind == SINGLE else logits.flatten()}

    def known(self, init: Mapping[str, Tensor]) -> Tensor | None:
        """Logits of entries' shape that an earlier fit left (`left`), nan where it knows none; None: of no such fit."""
        wide = self if self.design is not None else self.wider
        if wide is not None and "zeta_cells" in init:
            return init["zeta_cells"].to(wide.weights)
        symbol = SYMBOLS.get(self.kind, "")
        return init[symbol].to(self.weights).reshape(self.shape) if symbol in init else None

    def begun(self, init: Mapping[str, Tensor] | None) -> Tensor:
        """zeta where a fit begins: as an earlier fit left it, and as low as START elsewhere."""
        zeta, known = self.start(START), None if init is None else self.known(init)
        if known is None:
            return zeta
        if self.design is None:
            return torch.where(torch.isfinite(known), known, zeta) if known.shape == zeta.shape else zeta
        return torch.where(torch.isfinite(known).any(0), self.design.nearest(known), zeta)

    def probabilities(self, zeta: Tensor) -> Tensor:
        """Of entries' shape, 0 where they are closed."""
        return torch.where(self.free, self.entries(zeta).sigmoid(), 0.0)

    def back(self, slopes: Tensor) -> Tensor:
        """Slopes in zeta of what has these slopes in the entries; closed ones have none."""
        slopes = torch.where(self.free, slopes, 0.0)
        return slopes if self.X is None else gram(self.X, slopes)

    def base(self, zeta: Tensor) -> Tensor:
        """What all cells pay: sum of weights times −log(1 − pi), scalar."""
        cost = self.base_cost(zeta)
        return cost.sum() if self.kind in (SINGLE, FEATURE) else grand_total(cost)  # of entries, or of samples' own

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
    if kind == SINGLE:
        return grand_total(A).reshape(1, 1)
    return total(A)[None] if kind == FEATURE else A.sum(1, keepdim=True)


@dataclass(frozen=True)
class Zeros:
    """Cells (k,) of a table with a zero that may be structural: row and column there, entry, and weight.

    features: indices of the table's columns.
    """

    rows: Tensor
    columns: Tensor
    place: Tensor
    w: Tensor
    inflation: Inflation
    features: Tensor

    @staticmethod
    def among(Y: Tensor, K: Tensor | None, w: Tensor | None, inflation: Inflation, features: Tensor) -> Zeros:
        """Those of a table of some features (indices): counts Y, K 1 where a cell counts, n×q, weights w (n,)."""
        zero = Y == 0 if K is None else (Y == 0) & (K > 0)
        free = inflation.free
        zero = zero & (free[:, features] if free.shape[1] > 1 else free)
        rows, columns = zero.nonzero(as_tuple=True)
        weight = torch.ones_like(Y[0, :1]).expand(len(rows)) if w is None else w[rows]
        return Zeros(rows, columns, inflation.places(rows, features[columns]), weight, inflation, features)

    @cached_property
    def _flat(self) -> Tensor:
        """Where they are in the flattened table."""
        return self.rows * len(self.features) + self.columns

    def logits(self, zeta: Tensor) -> Tensor:
        """z of each cell, (k,)."""
        return self.inflation.entries(zeta).reshape(-1)[self.place]

    def pooled(self, values: Tensor) -> Tensor:
        """Weighted sums of values (k,) over the cells of each entry, of entries' shape."""
        shape = self.inflation.shape
        return group_totals(self.w * values, self.place, shape.numel()).view(shape)

    def of(self, table: Tensor) -> Tensor:
        """A table's values (k,) there."""
        return table.reshape(-1)[self._flat]

    def put(self, values: Tensor, table: Tensor) -> Tensor:
        """The table (n×q), in place, with values there."""
        table = table.contiguous()
        table.view(-1)[self._flat] = values
        return table

    def spread(self, entries: Tensor) -> Tensor:
        """What entries have, in a shape that the table's cells share."""
        return entries if entries.shape[1] == 1 or self._whole else entries[:, self.features]

    def gathered(self, table: Tensor) -> Tensor:
        """Sums of a table (n×q) over the cells of each entry, of entries' shape."""
        inflation = self.inflation
        sums = _pooled(inflation.kind, table) if inflation.X is None else table
        if sums.shape == inflation.shape:
            return sums
        return torch.zeros_like(inflation.weights).index_copy_(1, self.features, sums)

    @cached_property
    def _whole(self) -> bool:
        """Whether the table has all features of the entries."""
        return len(self.features) == self.inflation.shape[1]


class Inflatable(Protocol):
    """Data made ready for a model that may have structural zeros: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def data(self) -> Dataset:
        """What is fitted."""
        ...

    @property
    def inflation(self) -> Inflation | None:
        """Probabilities of structural zeros, None without any."""
        ...

    @property
    def nodes(self) -> int:
        """Of quadrature, for zeros."""
        ...
