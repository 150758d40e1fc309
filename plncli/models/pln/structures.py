"""Covariance structures of a Gaussian latent layer, each profiled: Sigma is where it is best for the residuals.

Notation: R (n×p) residuals M − XB, S2 (n×p) variances of q, w (n,) weights or None for ones, wbar their sum.
Each structure is evaluated at one (R, S2) and then answers:

value      its share of minus the ELBO, in nats: (wbar/2) log|Sigma^| when profiled; inf where Sigma^ is not
           positive definite, and then nothing else may be asked
precision  diagonal of Omega (p,)
pull       R Omega (n×p), the gradient of `value` in M per unit weight
turn       for a direction (dR, dS2), the pair d(R Omega) (n×p) and d diag(Omega) (p,); dR may be overwritten
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from plncli import ranks
from plncli.errors import DataError
from plncli.models.pln.spec import COVARIANCES, wide
from plncli.models.pln.wide import Wide
from plncli.numerics.covariance import Covariance, DenseCovariance, DensePrecision, DiagonalPrecision, Precision
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.rows import gram, grand_total, number, total, weigh


class Layer(Protocol):
    """What the objective asks of a covariance structure."""

    value: Tensor

    @property
    def precision(self) -> Tensor:
        """Diagonal of Omega (p,)."""
        ...

    @property
    def pull(self) -> Tensor:
        """R Omega (n×p)."""
        ...

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        """Derivative of (R Omega, diag Omega) along (dR, dS2); dR may be overwritten."""
        ...

    def loadings(self, floor: float) -> tuple[Tensor, Tensor, Tensor] | None:
        """c (p,), G (m×p) and leverages l (m,) > floor, by which Omega is nearly diag(c) − G'diag(l)G.

        Directions of the features along which Sigma is large, and so hardly holds anything: None where there are none,
        or as many as features.
        """
        ...

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        """Directions of the samples along which Sigma^ follows: W^½F (n×m), F orthonormal, and leverages (m,) > floor.

        They are the eigenvectors of W^½ R Omega R' W^½ / wbar; None where there are none.
        """
        ...

    def curve(self, dR: Tensor) -> Tensor | None:
        """Second-order term (n×p) of a path R + t dR + t² curve along which the rank of the residuals stays.

        Sigma^ bends down steeply where residuals leave the few directions that they have: a straight step along a
        valley of given rank climbs its wall. C^-1 dR R+ dR D^½PD^-½, with R+ = R'(RR' + ...)^-1 the regularised
        inverse, C^-1 and P the parts of the samples and features that the residuals leave free: the normal
        component of a move on matrices of fixed rank (Absil, Mahony & Sepulchre 2008, section 3.6). None where
        features are not correlated, or samples are as many.
        """
        ...

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        """Second derivatives of `value` among p directions, the j-th of which changes feature j alone.

        dR: n×p, column j the change of R's; dS2: (p,) weighted means of the change of S2. As a difference of two p×p
        matrices, or two of (p,) where features hardly meet: with Omega held, and what the profile bends. None where
        Sigma is not profiled.
        """
        ...

    def covariance(self) -> Covariance:
        """Sigma."""
        ...

    def inverse(self) -> Precision:
        """Omega."""
        ...


LayerAt = Callable[[Tensor, Tensor, Tensor | None, float], Layer]
"""A structure as a function of R and S2 (n×p each), w (n,) or None, and wbar."""


class Unbent:
    """What a structure answers that has nothing to tell of its curvature."""

    def curve(self, dR: Tensor) -> Tensor | None:
        return None

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

    def loadings(self, floor: float) -> tuple[Tensor, Tensor, Tensor] | None:
        return None

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        return None


def _undefined(like: Tensor) -> Tensor:
    return torch.full((), float("inf"), dtype=like.dtype, device=like.device)


class Full:
    """Sigma^ = (R'WR + diag(sum_i w_i s_i²)) / wbar, p×p."""

    def __init__(self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float) -> None:
        self._R, self._w, self._wbar = R, w, wbar
        self._Sigma = gram(R, weigh(w, R)).div_(wbar)
        self._own = total(weigh(w, S2)).div_(wbar)
        self._Sigma.diagonal().add_(self._own)
        self._factor = cholesky_scaled(self._Sigma)
        self.value = _undefined(R) if self._factor is None else 0.5 * wbar * self._factor.logdet
        self._Omega: Tensor | None = None
        self._pull: Tensor | None = None

    @property
    def _inverse(self) -> Tensor:
        """Omega (p×p), nan where Sigma^ is not positive definite: a run may end there, by rounding alone."""
        if self._Omega is None:
            self._Omega = torch.full_like(self._Sigma, torch.nan) if self._factor is None else self._factor.inverse()
        return self._Omega

    def inverse(self) -> Precision:
        return DensePrecision(self._inverse)

    def covariance(self) -> Covariance:
        return DenseCovariance(self._Sigma, self._inverse)

    @property
    def precision(self) -> Tensor:
        return self._inverse.diagonal()

    @property
    def pull(self) -> Tensor:
        if self._pull is None:
            self._pull = self._R @ self._inverse
        return self._pull

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        half = gram(weigh(self._w, self._R), dR)
        dSigma = (half + half.mT).div_(self._wbar)
        dSigma.diagonal().add_(total(weigh(self._w, dS2)), alpha=1.0 / self._wbar)
        Omega = self._inverse
        dpull = dR.addmm_(self.pull, dSigma, alpha=-1.0) @ Omega
        dprecision = -((Omega @ dSigma) * Omega).sum(1)
        return dpull, dprecision

    def curve(self, dR: Tensor) -> Tensor | None:
        if number(len(dR)) >= dR.shape[1]:  # residuals of full rank
            return None
        Omega, dR_w = self._inverse, weigh(self._w, dR)
        Q = dR @ (Omega @ gram(self._R, dR_w)) @ (Omega * self._own)
        return Q.div_(self._wbar).addmm_(self.pull, gram(weigh(self._w, self._R), Q), alpha=-1.0 / self._wbar)

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        Omega = self._inverse
        held = gram(dR, weigh(self._w, dR)) * Omega
        # dSigma of direction j is e_j b' + b e_j', b the j-th column of:
        B = gram(weigh(self._w, self._R), dR).div_(self._wbar)
        B.diagonal().add_(dS2, alpha=0.5)
        C = Omega @ B
        return held, self._wbar * (C * C.mT + torch.mm(B.mT, C) * Omega)

    def loadings(self, floor: float) -> tuple[Tensor, Tensor, Tensor] | None:
        return None

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        root = None if self._w is None else self._w.sqrt()
        factor = torch.linalg.cholesky_ex(self._inverse).L
        half = weigh(root, self._R @ factor) / self._wbar**0.5
        few = ranks.now() is None and len(half) < half.shape[1]
        leverage, V = torch.linalg.eigh(half @ half.mT if few else gram(half, half))  # few: needs all rows
        keep = leverage > floor
        if not bool(keep.any()):
            return None
        F = V[:, keep] if few else (half @ V[:, keep]) / leverage[keep].sqrt()
        return weigh(root, F), leverage[keep]


def full(R: Tensor, S2: Tensor, w: Tensor | None, wbar: float) -> Layer:
    """Sigma^ of correlated features, in the form that costs less."""
    return Wide(R, S2, w, wbar) if factored(full, *R.shape) else Full(R, S2, w, wbar)


def factored(layer: LayerAt, n: int, p: int) -> bool:
    """Whether Sigma of p features is told by factors of n rows."""
    return layer is full and ranks.now() is None and wide(n, p)


class Diagonal(Unbent):
    """sigma_j² = sum_i w_i (r_ij² + s_ij²) / wbar, one per feature; `shared` pools them: spherical."""

    def __init__(self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float, *, shared: bool = False) -> None:
        self._R, self._w, self._wbar, self._shared = R, w, wbar, shared
        self._variance = self._pool(R.square() + S2)
        self.value = 0.5 * wbar * self._variance.log().sum()
        self.precision = self._variance.reciprocal()

    def _pool(self, A: Tensor) -> Tensor:
        """Weighted mean over the samples, and over the features too when shared; (p,) either way."""
        means = total(weigh(self._w, A)) / self._wbar
        return means.mean().expand_as(means) if self._shared else means

    @property
    def pull(self) -> Tensor:
        return self._R * self.precision

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        dprecision = -self.precision.square() * self._pool(2.0 * self._R * dR + dS2)
        return dR * self.precision + self._R * dprecision, dprecision

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        held = total(weigh(self._w, dR.square())) * self.precision
        change = (2.0 * total(weigh(self._w, self._R * dR)) / self._wbar + dS2) * self.precision
        return held, (0.5 * self._wbar / (len(change) if self._shared else 1)) * change.square()

    def covariance(self) -> Covariance:
        return DenseCovariance(torch.diag(self._variance), torch.diag(self.precision))

    def inverse(self) -> Precision:
        return DiagonalPrecision(self.precision)


class Fixed(Unbent):
    """Omega given, and its inverse if known: ½ sum_i w_i (r_i'Omega r_i + omega's_i²) − (wbar/2)(log|Omega| + p)."""

    def __init__(
        self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float, *, Omega: Precision, Sigma: Covariance | None = None
    ) -> None:
        self._Omega, self._Sigma = Omega, Sigma
        self.precision = Omega.diagonal
        self.pull = Omega.times(R)
        quadratic = grand_total(weigh(w, R * self.pull)) + total(weigh(w, S2)) @ self.precision
        self.value = 0.5 * quadratic - 0.5 * wbar * (Omega.logdet + Omega.p)

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        return self._Omega.times(dR), torch.zeros_like(self.precision)

    def covariance(self) -> Covariance:
        if self._Sigma is None:
            self._Sigma = DenseCovariance(torch.linalg.inv(self._Omega.dense()), self._Omega.dense())
        return self._Sigma

    def inverse(self) -> Precision:
        return self._Omega


class LatentStructure(Protocol):
    """A structure before it is evaluated, and what may be said of it then."""

    @property
    def correlated(self) -> bool:
        """Whether features may be correlated."""
        ...

    def followed(self, features: Tensor, others: Tensor) -> Tensor | None:
        """Which others (o,) features of hardly any variance (v,) gain by following, o×v booleans; None for none."""
        ...

    @property
    def shared(self) -> bool:
        """Whether all features have one variance."""
        ...

    @property
    def estimated(self) -> bool:
        """Whether variances may fall to 0."""
        ...

    def layer(self, features: Tensor) -> LayerAt:
        """The structure of some features (indices)."""
        ...


@dataclass(frozen=True)
class Structure:
    """A structure as it is chosen, and what may be said of it before it is evaluated.

    covariance: full, diagonal, spherical, or fixed at the inverse of `precision` (p×p). DataError for another one, or
    a precision without `fixed`.
    """

    covariance: str = "full"
    precision: Tensor | None = None

    def __post_init__(self) -> None:
        if self.covariance not in COVARIANCES:
            raise DataError(f"Unknown covariance `{self.covariance}`; choose one of {', '.join(COVARIANCES)}.")
        if (self.covariance == "fixed") != (self.precision is not None):
            raise DataError("A precision matrix goes with the covariance `fixed`, and only with it.")

    @property
    def correlated(self) -> bool:
        """Whether features may be correlated."""
        return self.covariance in ("full", "fixed")

    def followed(self, features: Tensor, others: Tensor) -> Tensor | None:
        """Which others (o,) features of hardly any variance (v,) gain by following: all, or none."""
        return others.new_ones((len(others), len(features)), dtype=torch.bool) if self.correlated else None

    @property
    def shared(self) -> bool:
        """Whether all features have one variance."""
        return self.covariance == "spherical"

    @property
    def estimated(self) -> bool:
        """Whether Sigma is estimated, so that variances may fall to 0."""
        return self.precision is None

    def n_parameters(self, p: int) -> int:
        """Free parameters of Sigma: p(p + 1)/2, p, 1 or 0."""
        return {"full": p * (p + 1) // 2, "diagonal": p, "spherical": 1, "fixed": 0}[self.covariance]

    def layer(self, features: Tensor) -> LayerAt:
        """The structure of some features (indices). DataError where the precision is not positive definite."""
        if self.precision is None:
            return partial(Diagonal, shared=self.shared) if not self.correlated else full
        Omega = self.precision.to(device=features.device)[features][:, features]
        factor = cholesky_scaled(Omega)
        if factor is None:
            raise DataError("The precision matrix is not positive definite; give one that is symmetric and invertible.")
        return partial(Fixed, Omega=DensePrecision(Omega, factor))


def held(layer: Layer) -> LayerAt:
    """The structure with Omega held where it is in `layer`, which must be positive definite."""
    return partial(Fixed, Omega=layer.inverse(), Sigma=layer.covariance())
