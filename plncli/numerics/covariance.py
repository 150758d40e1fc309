"""Covariance matrices of p features, whole or as factors: with many features they are too large to be formed.

A factored one is D + V'V with D diagonal and V r×p, r far below p. With T = V D^-½ and C = I + TT' (Woodbury 1950),

    log|Sigma| = log|D| + log|C|,    Sigma^-1 = D^-1 − G'G,    G = C^-½ T D^-½ (r×p)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from plncli.errors import DataError
from plncli.numerics.linalg import Factor, cholesky_scaled
from plncli.numerics.simulation import normal, square_root

BLOCK = 1 << 23
"""Numbers in a block of rows of a matrix that is not formed whole."""


class Precision(ABC):
    """The inverse of a covariance of p features. diagonal: (p,)."""

    diagonal: Tensor

    @property
    @abstractmethod
    def logdet(self) -> Tensor:
        """Logarithm of its determinant."""

    @abstractmethod
    def times(self, R: Tensor) -> Tensor:
        """R Omega, n×p."""

    @abstractmethod
    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        """A part of it, rows and columns by index, each column once."""

    def dense(self) -> Tensor:
        """p×p."""
        return self.block(slice(None), slice(None))

    @property
    def p(self) -> int:
        """Number of features."""
        return len(self.diagonal)


class DensePrecision(Precision):
    """p×p. factor: of it, where that is known."""

    def __init__(self, Omega: Tensor, factor: Factor | None = None) -> None:
        self.Omega, self.diagonal, self._factor = Omega, Omega.diagonal(), factor

    @property
    def logdet(self) -> Tensor:
        factor = self._factor or cholesky_scaled(self.Omega)
        return self.Omega.new_full((), torch.nan) if factor is None else factor.logdet

    def times(self, R: Tensor) -> Tensor:
        return R @ self.Omega

    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        return self.Omega[rows][:, columns]

    def dense(self) -> Tensor:
        return self.Omega


class DiagonalPrecision(Precision):
    """Features are independent."""

    def __init__(self, omega: Tensor) -> None:
        self.diagonal = omega

    @property
    def logdet(self) -> Tensor:
        return self.diagonal.log().sum()

    def times(self, R: Tensor) -> Tensor:
        return R * self.diagonal

    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        part = self.diagonal.new_zeros((len(self.diagonal[rows]), len(self.diagonal[columns])))
        return _add_diagonal(part, self.diagonal, rows, columns)


class FactoredPrecision(Precision):
    """diag(c) − G'G, with c (p,) and G (r×p)."""

    def __init__(self, c: Tensor, G: Tensor, logdet: Tensor) -> None:
        self.c, self.G, self._logdet = c, G, logdet
        self.diagonal = c - G.square().sum(0)

    @property
    def logdet(self) -> Tensor:
        return self._logdet

    def times(self, R: Tensor) -> Tensor:
        return (R * self.c).sub_((R @ self.G.mT) @ self.G)

    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        return _add_diagonal((self.G[:, rows].mT @ self.G[:, columns]).neg_(), self.c, rows, columns)


def _add_diagonal(part: Tensor, values: Tensor, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
    """A part of a matrix p×p, rows and columns by index, with `values` (p,) added on its diagonal, in place."""
    places = torch.arange(len(values), device=values.device)
    at, across = places[rows], places[columns]
    column = torch.full_like(places, -1)
    column[across] = torch.arange(len(across), device=values.device)
    on = (column[at] >= 0).nonzero()[:, 0]
    part[on, column[at[on]]] += values[at[on]]
    return part


def as_precision(Omega: Tensor | Precision) -> Precision:
    """A precision p×p, or its diagonal (p,), as what answers for it; diagonal where all else is 0."""
    if isinstance(Omega, Precision):
        return Omega
    if Omega.ndim == 1:
        return DiagonalPrecision(Omega)
    if torch.equal(Omega, torch.diag(Omega.diagonal())):
        return DiagonalPrecision(Omega.diagonal())
    return DensePrecision(Omega)


def definite(Omega: Precision | None) -> Precision:
    """The precision of a fit's covariance; DataError where there is none."""
    if Omega is None:
        raise DataError("The fit's covariance is not positive definite to rounding; fit again with --dtype float64.")
    return Omega


class Covariance(ABC):
    """Covariance of p features. variances: (p,), 0 for features without any."""

    variances: Tensor

    @property
    @abstractmethod
    def independent(self) -> bool:
        """Whether all covariances are 0."""

    @abstractmethod
    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        """A part of it, rows and columns by index, each column once."""

    @abstractmethod
    def times(self, R: Tensor) -> Tensor:
        """R Sigma, n×p."""

    @abstractmethod
    def among(self, features: Tensor) -> Covariance:
        """That of some features (indices, each once)."""

    @abstractmethod
    def precision(self) -> Precision | None:
        """The inverse among the features that vary; None where it is not positive definite to rounding."""

    @abstractmethod
    def draws(self, like: Tensor, generator: Generator) -> Tensor:
        """As many rows of N(0, Sigma) as `like` (n×p) has. DataError where it is no covariance matrix."""

    @cached_property
    def varied(self) -> Tensor:
        """Indices of the features that vary."""
        return (self.variances > 0).nonzero()[:, 0]

    def dense(self) -> Tensor:
        """p×p."""
        return self.block(slice(None), slice(None))

    def correlations(self) -> Iterator[tuple[slice, Tensor]]:
        """Correlations by blocks of rows, nan in rows and columns of features without variance."""
        p, sd = len(self.variances), self.variances.sqrt()
        scale = torch.where(sd > 0, 1.0 / sd, torch.nan)
        step = max(1, BLOCK // max(p, 1))
        for start in range(0, p, step):
            rows = slice(start, min(start + step, p))
            yield rows, self.block(rows, slice(None)) * scale[rows, None] * scale


class DenseCovariance(Covariance):
    """Sigma p×p. Omega: its inverse, where it is known; rows of features without variance are not looked at."""

    def __init__(self, Sigma: Tensor, Omega: Tensor | None = None) -> None:
        self.Sigma, self._Omega, self.variances = Sigma, Omega, Sigma.diagonal()

    @cached_property
    def independent(self) -> bool:
        return not bool(torch.triu(self.Sigma, 1).any())

    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        return self.Sigma[rows][:, columns]

    def times(self, R: Tensor) -> Tensor:
        return R @ self.Sigma

    def among(self, features: Tensor) -> DenseCovariance:
        return DenseCovariance(self.block(features, features))

    def precision(self) -> Precision | None:
        if self._Omega is not None:
            Omega = self._Omega[self.varied][:, self.varied]  # of a file that others may have written
            return None if cholesky_scaled(Omega) is None else as_precision(Omega)
        factor = cholesky_scaled(self.block(self.varied, self.varied))
        return None if factor is None else as_precision(factor.inverse())

    def draws(self, like: Tensor, generator: Generator) -> Tensor:
        return normal(like, generator) @ self._root.mT

    @cached_property
    def _root(self) -> Tensor:
        return square_root(self.Sigma)

    def dense(self) -> Tensor:
        return self.Sigma


@dataclass(frozen=True)
class FactoredCovariance(Covariance):
    """diag(D) + V'V, with D (p,) and V (r×p)."""

    D: Tensor
    V: Tensor

    @cached_property
    def variances(self) -> Tensor:  # type: ignore[override]
        return self.D + self.V.square().sum(0)

    @cached_property
    def independent(self) -> bool:
        loaded = self.V[:, (self.V != 0).any(0)]
        step = max(1, BLOCK // max(loaded.shape[1], 1))
        return not any(
            bool(torch.triu(loaded[:, start : start + step].mT @ loaded, start + 1).any())
            for start in range(0, loaded.shape[1], step)
        )

    def block(self, rows: Tensor | slice, columns: Tensor | slice) -> Tensor:
        return _add_diagonal(self.V[:, rows].mT @ self.V[:, columns], self.D, rows, columns)

    def times(self, R: Tensor) -> Tensor:
        return torch.addmm(R * self.D, R @ self.V.mT, self.V)

    def among(self, features: Tensor) -> FactoredCovariance:
        return FactoredCovariance(self.D[features], self.V[:, features])

    def precision(self) -> Precision | None:
        D, V = self.D[self.varied], self.V[:, self.varied]
        if not bool((D > 0).all()):
            return None
        sd = D.sqrt()
        T = V / sd
        C = T @ T.mT
        C.diagonal().add_(1.0)
        factor = cholesky_scaled(C)
        if factor is None:
            return None
        G = torch.linalg.solve_triangular(factor.L, T, upper=False) / sd
        return FactoredPrecision(1.0 / D, G, -(D.log().sum() + factor.logdet))

    def draws(self, like: Tensor, generator: Generator) -> Tensor:
        shared = normal(like[:, :1].expand(-1, len(self.V)), generator)
        return normal(like, generator).mul_(self.D.sqrt()).add_(shared @ self.V)
