"""Poisson regressions beside the latent layer: the features of a PLN model whose variance is exactly 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.pln.elbo import LatentTable
from plncli.numerics.linalg import weighted_grams


@dataclass(frozen=True)
class PoissonTable:
    """v features with log-linear means exp(O + Q gamma), gamma d×v; other letters as in LatentTable."""

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor
    Q: Tensor
    constant: float

    @staticmethod
    def of(table: LatentTable, features: Tensor, w: Tensor) -> PoissonTable:
        """The named features (indices) of a latent table, as Poisson regressions; losses leave out log Y!."""
        O = table.O if table.O.shape[1] == 1 else table.O[:, features]
        K = None if table.K is None else table.K[:, features]
        return PoissonTable(table.Y[:, features], O, K, w, table.Q, 0.0)

    def means(self, gamma: Tensor) -> Tensor:
        """Expected counts n×v, 0 in cells that don't count."""
        mu = (self.O + self.Q @ gamma).exp()
        return mu if self.K is None else mu * self.K

    def residuals(self, gamma: Tensor) -> Tensor:
        """Counts minus expected counts, n×v, 0 in cells that don't count."""
        return (self.Y if self.K is None else self.Y * self.K) - self.means(gamma)

    def losses(self, gamma: Tensor) -> Tensor:
        """(v,) sums of w (mu − y log mu), in nats, without log y!."""
        linear = self.Y * (self.O + self.Q @ gamma)
        cells = self.means(gamma) - (linear if self.K is None else linear * self.K)
        return (self.w[:, None] * cells).sum(0)

    def objective(self, gamma: Tensor) -> Tensor:
        """Minus the Poisson log-likelihood in nats, constants included."""
        return self.losses(gamma).sum() + self.constant

    def at(self, gamma: Tensor) -> Evaluation:
        """Value, gradient and Hessian at gamma."""
        return Evaluation(self, gamma)

    def hessians(self, gamma: Tensor) -> Tensor:
        """Hessian Q' diag(w mu) Q of each feature, v×d×d."""
        return weighted_grams(self.Q, self.w[:, None] * self.means(gamma.detach()))

    def preconditioner(self, gamma: Tensor) -> Callable[[Tensor], Tensor]:
        """Exact inverse Hessian of each feature, d×v -> d×v; directions without curvature are left as they are."""
        values, vectors = torch.linalg.eigh(self.hessians(gamma))
        flat = values <= 1e-12 * values[:, -1:].clamp_min(1e-300)
        inverse = torch.where(flat, 1.0, 1.0 / torch.where(flat, 1.0, values))

        def apply(v: Tensor) -> Tensor:
            inner = torch.einsum("vij,iv->vj", vectors, v) * inverse
            return torch.einsum("vij,vj->iv", vectors, inner)

        return apply

    def curvature(self, gamma: Tensor) -> Tensor:
        """Diagonal of each feature's Hessian, d×v, kept off zero where nothing is counted."""
        return (self.Q.square().mT @ (self.w[:, None] * self.means(gamma))).clamp_min(1e-6)

    def fit(self, gamma: Tensor, steps: int = 100) -> Tensor:
        """Maximum likelihood by Newton steps, halved where they overshoot, from `gamma`; each feature by itself."""
        loss = self.losses(gamma)
        for _ in range(steps):
            gradient = -(self.Q.mT @ (self.w[:, None] * self.residuals(gamma)))
            step = -self.preconditioner(gamma)(gradient)
            slope = (gradient * step).sum(0)
            if bool((-slope <= 1e-14 * (1.0 + loss.abs())).all()):
                break
            size = torch.ones_like(slope)
            for _ in range(40):
                trial = gamma + size * step
                trial_loss = self.losses(trial)
                worse = ~(trial_loss <= loss + 1e-4 * size * slope + 1e-13 * loss.abs())
                if not bool(worse.any()):
                    break
                size = torch.where(worse, 0.5 * size, size)
            good = ~worse
            gamma = torch.where(good, trial, gamma)
            loss = torch.where(good, trial_loss, loss)
        return gamma

    def variance_scores(self, gamma: Tensor, R: Tensor, S2: Tensor, correlated: bool) -> Tensor:
        """(v,) twice the slope of the ELBO as a latent variance t enters at 0; not positive where 0 is best.

        With residuals e = y − mu of the feature, and R, S2 (n×q) the other features' latent residuals and variances,

            sum_i w_i (e_i² − mu_i) + sum_k (sum_i w_i r_ik e_i)² / sum_i w_i s_ik²

        The second sum is what the feature gains by being correlated with the others: its latent mean may follow them,
        Z_j = x'B_j + t beta'r + N(0, t), and beta is best at the ratio of the two sums inside.
        """
        e = self.residuals(gamma)
        score = (self.w[:, None] * (e.square() - self.means(gamma))).sum(0)
        if correlated and R.shape[1]:
            follow = R.mT @ (self.w[:, None] * e)
            score = score + (follow.square() / (self.w @ S2)[:, None]).sum(0)
        return score


class Evaluation:
    """The objective of a table of Poisson regressions at gamma (d×v)."""

    def __init__(self, table: PoissonTable, gamma: Tensor) -> None:
        self._table, self._gamma = table, gamma.detach()
        self.value = table.objective(self._gamma)

    def gradient(self) -> Tensor:
        """Minus Q'W(Y − mu), d×v."""
        return -(self._table.Q.mT @ (self._table.w[:, None] * self._table.residuals(self._gamma)))

    @cached_property
    def _hessians(self) -> Tensor:
        return self._table.hessians(self._gamma)

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, d×v."""
        return torch.einsum("vij,jv->iv", self._hessians, v)
