"""Poisson regressions beside the latent layer: the features of a PLN model whose variance is exactly 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.pln.emissions import Poisson
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram, mean, total, weighted_total


@dataclass(frozen=True)
class PoissonTable:
    """v features with log-linear means exp(O + Q gamma), gamma d×v.

    Y, O, K, constant as in `emissions.Poisson`, of these features; w: (n,) weights; Q: n×d basis of the design.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor
    Q: Tensor
    constant: float

    @staticmethod
    def of(cells: Poisson, features: Tensor, w: Tensor, Q: Tensor) -> PoissonTable:
        """Some features (indices) of cells with a latent layer, as Poisson regressions; losses leave out log Y!."""
        O = cells.O if cells.O.shape[1] == 1 else cells.O[:, features]
        K = None if cells.K is None else cells.K[:, features]
        return PoissonTable(cells.Y[:, features], O, K, w, Q, 0.0)

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
        return total(self.w[:, None] * cells)

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
        return gram(self.Q.square(), self.w[:, None] * self.means(gamma)).clamp_min(1e-6)

    def fit(self, gamma: Tensor, steps: int = 100) -> Tensor:
        """Maximum likelihood by Newton steps, halved where they overshoot, from `gamma`; each feature by itself."""
        loss = self.losses(gamma)
        for _ in range(steps):
            gradient = -gram(self.Q, self.w[:, None] * self.residuals(gamma))
            step = -self.preconditioner(gamma)(gradient)
            slope = (gradient * step).sum(dim=0)  # over the d coefficients
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
        score = total(self.w[:, None] * (e.square() - self.means(gamma)))
        if correlated and R.shape[1]:
            follow, own = self._follow(e, R, S2)
            score = score + (follow.square() / own[:, None]).sum(dim=0)  # over other features
        return score

    def _follow(self, e: Tensor, R: Tensor, S2: Tensor) -> tuple[Tensor, Tensor]:
        """The two sums inside, q×v and (q,)."""
        return gram(R, self.w[:, None] * e), weighted_total(self.w, S2)

    def small_variance(self, gamma: Tensor, R: Tensor, S2: Tensor, correlated: bool) -> tuple[Tensor, Tensor]:
        """Latent means (n×v) and the log of a small variance (v,) at which features of positive score leave 0.

        The means move by t (e + R beta), along which the ELBO has that slope; t is where the counts' own curvature
        would end the rise, and small beside the moves that double a count.
        """
        mu, e = self.means(gamma), self.residuals(gamma)
        move = e
        if correlated and R.shape[1]:
            follow, own = self._follow(e, R, S2)
            move = e + R @ (follow / own[:, None])
        score = self.variance_scores(gamma, R, S2, correlated)
        bend = 2.0 * total(self.w[:, None] * mu * move.square())
        variance = torch.minimum(score / bend, 0.1 / torch.maximum(1.0 + mean(mu), move.abs().amax(0)))
        return self.Q @ gamma + variance * move, variance.log()


class Evaluation:
    """The objective of a table of Poisson regressions at gamma (d×v)."""

    def __init__(self, table: PoissonTable, gamma: Tensor) -> None:
        self._table, self._gamma = table, gamma.detach()
        self.value = table.objective(self._gamma)

    def gradient(self) -> Tensor:
        """Minus Q'W(Y − mu), d×v."""
        return -gram(self._table.Q, self._table.w[:, None] * self._table.residuals(self._gamma))

    @cached_property
    def _hessians(self) -> Tensor:
        return self._table.hessians(self._gamma)

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, d×v."""
        return torch.einsum("vij,jv->iv", self._hessians, v)
