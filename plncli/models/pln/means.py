"""Means of the latent layer: where it is centred, given the latent means M (n×p). A mean knows no other part.

`fitted` is n×p on the scale of M (log); R = M − fitted are the residuals, of which the structure is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from plncli.numerics.rows import gram, weigh


class Mean(Protocol):
    """What the evaluation asks of a mean.

    It must be best for M whatever Omega is, or not follow M at all: the gradient rests on the envelope theorem. What
    is linear with the same covariates for all features is (seemingly unrelated regressions, Zellner 1962).
    """

    @property
    def basis(self) -> Tensor | None:
        """Q (n×d), along whose columns the mean follows M, Q'WQ = wbar·I; None where it stays."""
        ...

    def fitted(self, M: Tensor) -> Tensor:
        """The mean that is best for M, n×p."""
        ...

    def coefficients(self, M: Tensor) -> Tensor:
        """Its coefficients in the basis of the design, d×p."""
        ...

    def project(self, dM: Tensor) -> Tensor:
        """Change of the residuals R with M, n×p, a new tensor."""
        ...

    def held(self, M: Tensor) -> Mean:
        """The mean, held where it is best for M."""
        ...


@dataclass(frozen=True)
class Linear:
    """QG with G profiled: weighted least squares of M on Q, whatever the structure.

    Q: n×d with Q'WQ = wbar·I, a basis of the design, so that units of covariates do not matter; w: (n,) weights, None
    for ones; wbar: their sum.
    """

    Q: Tensor
    w: Tensor | None
    wbar: float

    @property
    def basis(self) -> Tensor:
        """Q."""
        return self.Q

    def fitted(self, M: Tensor) -> Tensor:
        """QG at the best G for M."""
        return self.Q @ self.coefficients(M)

    def coefficients(self, M: Tensor) -> Tensor:
        """G = Q'WM / wbar, d×p."""
        return gram(weigh(self.w, self.Q), M) / self.wbar

    def project(self, dM: Tensor) -> Tensor:
        """dM − QQ'W dM / wbar."""
        return torch.addmm(dM, self.Q, self.coefficients(dM), alpha=-1.0)

    def held(self, M: Tensor) -> Held:
        """QG, held."""
        centre = self.fitted(M)
        return Held(centre, self.coefficients(centre))


@dataclass(frozen=True)
class Shifted:
    """A centre (n×p) beside the mean of what it leaves."""

    own: Linear
    centre: Tensor

    @property
    def basis(self) -> Tensor:
        """Q."""
        return self.own.Q

    def fitted(self, M: Tensor) -> Tensor:
        """The centre, and QG at the best G for what it leaves of M."""
        return self.own.fitted(M - self.centre) + self.centre

    def coefficients(self, M: Tensor) -> Tensor:
        """G, d×p."""
        return self.own.coefficients(M - self.centre)

    def project(self, dM: Tensor) -> Tensor:
        """Change of the residuals with M."""
        return self.own.project(dM)

    def held(self, M: Tensor) -> Held:
        """The same mean, held where it is best for M."""
        return Held(self.fitted(M), self.coefficients(M))


@dataclass(frozen=True)
class Held:
    """A centre (n×p) that stays where it is; known: its coefficients in the basis of the design, d×p."""

    centre: Tensor
    known: Tensor
    basis: None = None

    def fitted(self, M: Tensor) -> Tensor:
        """The centre."""
        return self.centre

    def coefficients(self, M: Tensor) -> Tensor:
        """Those of the centre."""
        return self.known

    def project(self, dM: Tensor) -> Tensor:
        """dM, copied."""
        return dM.clone()

    def held(self, M: Tensor) -> Held:
        """The same."""
        return self
