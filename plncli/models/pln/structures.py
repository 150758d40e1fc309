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

from typing import Protocol

import torch
from torch import Tensor

from plncli.numerics.linalg import Factor, cholesky_scaled


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

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        """Directions of the samples along which Sigma^ follows: W^½F (n×m), F orthonormal, and leverages (m,) > floor.

        They are the eigenvectors of W^½ R Omega R' W^½ / wbar; None where there are none.
        """
        ...

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        """Second derivatives of `value` among p directions, the j-th of which changes feature j alone.

        dR: n×p, column j the change of R's; dS2: (p,) weighted means of the change of S2. As a difference of two p×p
        matrices, or two of (p,) where features hardly meet: with Omega held, and what the profile bends. None where
        Sigma is not profiled.
        """
        ...

    def covariance(self) -> Tensor:
        """Sigma (p×p)."""
        ...

    def inverse(self) -> Tensor:
        """Omega (p×p)."""
        ...


def _weigh(w: Tensor | None, A: Tensor) -> Tensor:
    return A if w is None else A * w[:, None]


def _undefined(like: Tensor) -> Tensor:
    return torch.full((), float("inf"), dtype=like.dtype, device=like.device)


class Full:
    """Sigma^ = (R'WR + diag(sum_i w_i s_i²)) / wbar, p×p."""

    def __init__(self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float) -> None:
        self._R, self._w, self._wbar = R, w, wbar
        self._Sigma = (R.mT @ _weigh(w, R)).div_(wbar)
        self._Sigma.diagonal().add_(_weigh(w, S2).sum(0), alpha=1.0 / wbar)
        self._factor = cholesky_scaled(self._Sigma)
        self.value = _undefined(R) if self._factor is None else 0.5 * wbar * self._factor.logdet
        self._Omega: Tensor | None = None
        self._pull: Tensor | None = None

    def inverse(self) -> Tensor:
        if self._Omega is None:
            assert self._factor is not None
            self._Omega = self._factor.inverse()
        return self._Omega

    def covariance(self) -> Tensor:
        return self._Sigma

    @property
    def precision(self) -> Tensor:
        return self.inverse().diagonal()

    @property
    def pull(self) -> Tensor:
        if self._pull is None:
            self._pull = self._R @ self.inverse()
        return self._pull

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        half = _weigh(self._w, self._R).mT @ dR
        dSigma = (half + half.mT).div_(self._wbar)
        dSigma.diagonal().add_(_weigh(self._w, dS2).sum(0), alpha=1.0 / self._wbar)
        Omega = self.inverse()
        dpull = dR.addmm_(self.pull, dSigma, alpha=-1.0) @ Omega
        dprecision = -((Omega @ dSigma) * Omega).sum(1)
        return dpull, dprecision

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        Omega = self.inverse()
        held = (dR.mT @ _weigh(self._w, dR)) * Omega
        # dSigma of direction j is e_j b' + b e_j', b the j-th column of:
        B = (_weigh(self._w, self._R).mT @ dR).div_(self._wbar)
        B.diagonal().add_(dS2, alpha=0.5)
        C = Omega @ B
        return held, self._wbar * (C * C.mT + (B.mT @ C) * Omega)

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        root = None if self._w is None else self._w.sqrt()
        factor = torch.linalg.cholesky_ex(self.inverse()).L
        half = _weigh(root, self._R @ factor) / self._wbar**0.5
        n, p = half.shape
        leverage, V = torch.linalg.eigh(half @ half.mT if n < p else half.mT @ half)
        keep = leverage > floor
        if not bool(keep.any()):
            return None
        F = V[:, keep] if n < p else (half @ V[:, keep]) / leverage[keep].sqrt()
        return _weigh(root, F), leverage[keep]


class Diagonal:
    """sigma_j² = sum_i w_i (r_ij² + s_ij²) / wbar, one per feature; `shared` pools them: spherical."""

    def __init__(self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float, *, shared: bool = False) -> None:
        self._R, self._w, self._wbar, self._shared = R, w, wbar, shared
        self._variance = self._pool(R.square() + S2)
        self.value = 0.5 * wbar * self._variance.log().sum()
        self.precision = self._variance.reciprocal()

    def _pool(self, A: Tensor) -> Tensor:
        """Weighted mean over the samples, and over the features too when shared; (p,) either way."""
        means = _weigh(self._w, A).sum(0) / self._wbar
        return means.mean().expand_as(means) if self._shared else means

    @property
    def pull(self) -> Tensor:
        return self._R * self.precision

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        dprecision = -self.precision.square() * self._pool(2.0 * self._R * dR + dS2)
        return dR * self.precision + self._R * dprecision, dprecision

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        held = _weigh(self._w, dR.square()).sum(0) * self.precision
        change = (2.0 * _weigh(self._w, self._R * dR).sum(0) / self._wbar + dS2) * self.precision
        return held, (0.5 * self._wbar / (len(change) if self._shared else 1)) * change.square()

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        return None

    def covariance(self) -> Tensor:
        return torch.diag(self._variance)

    def inverse(self) -> Tensor:
        return torch.diag(self.precision)


class Fixed:
    """Omega given (p×p) and factored: ½ sum_i w_i (r_i'Omega r_i + omega's_i²) − (wbar/2)(log|Omega| + p)."""

    def __init__(
        self,
        R: Tensor,
        S2: Tensor,
        w: Tensor | None,
        wbar: float,
        *,
        Omega: Tensor,
        factor: Factor,
        Sigma: Tensor | None = None,
    ) -> None:
        self._Omega, self._factor, self._Sigma = Omega, factor, Sigma
        self.precision = Omega.diagonal()
        self.pull = R @ Omega
        quadratic = _weigh(w, R * self.pull).sum() + _weigh(w, S2).sum(0) @ self.precision
        self.value = 0.5 * quadratic - 0.5 * wbar * (factor.logdet + Omega.shape[0])

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        return dR @ self._Omega, torch.zeros_like(self.precision)

    def couple(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

    def bent(self, floor: float) -> tuple[Tensor, Tensor] | None:
        return None

    def covariance(self) -> Tensor:
        return self._factor.inverse() if self._Sigma is None else self._Sigma

    def inverse(self) -> Tensor:
        return self._Omega
