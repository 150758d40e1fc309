"""Poisson regressions beside the latent layer: the features of a PLN model whose variance is exactly 0.

Where zeros may be structural they are zero-inflated Poisson regressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.inflation.cells import Nodes, ZeroCells
from plncli.models.inflation.entries import Zeros
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram, mean, most, number, total, weighted_total


@dataclass(frozen=True)
class PoissonTable:
    """v features with log-linear means exp(O + Q gamma), gamma d×v.

    Y, O, K, constant as in `emissions.Poisson`, of these features; w: (n,) weights; Q: n×d basis of the design.
    zeros: the cells with a zero that may be structural, None where there are none, and z: their logits (`given`).
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor
    Q: Tensor
    constant: float
    zeros: Zeros | None = None
    z: Tensor | None = None

    def given(self, zeta: Tensor | None) -> PoissonTable:
        """With the probabilities of structural zeros that zeta tells."""
        return self if self.zeros is None or zeta is None else replace(self, z=self.zeros.logits(zeta))

    def means(self, gamma: Tensor) -> Tensor:
        """Expected counts n×v of cells that are no structural zeros, 0 in cells that don't count."""
        mu = (self.O + self.Q @ gamma).exp()
        return mu if self.K is None else mu * self.K

    def zero_cells(self, gamma: Tensor) -> ZeroCells | None:
        """Those that may be structural: at one node, for nothing varies."""
        if self.zeros is None or not number(len(self.zeros.place)):
            return None
        assert self.z is not None
        eta = self.zeros.of(self.O + self.Q @ gamma)
        return ZeroCells(eta, torch.ones_like(eta), self.z, Nodes(torch.zeros_like(eta[:1]), torch.ones_like(eta[:1])))

    def _with_zeros(self, cells: Tensor, gamma: Tensor, of: Callable[[ZeroCells], Tensor]) -> Tensor:
        """A table (n×v, overwritten) with other values in zeros that may be structural."""
        at = self.zero_cells(gamma)
        if at is None:
            return cells
        assert self.zeros is not None
        return self.zeros.put(of(at), cells)

    def curvatures(self, gamma: Tensor) -> Tensor:
        """Second derivative of cells in the linear predictor, n×v: mu; any number in zeros that may be structural."""
        return self._with_zeros(self.means(gamma), gamma, lambda at: at.sums.bend)

    def stiffness(self, gamma: Tensor) -> Tensor:
        """A positive stand-in: what it would be if it were known which zeros are structural."""
        return self._with_zeros(self.means(gamma), gamma, lambda at: at.sums.slope)

    def residuals(self, gamma: Tensor) -> Tensor:
        """Counts minus expected counts, n×v, 0 in cells that don't count: minus the slope in the linear predictor."""
        return (self.Y if self.K is None else self.Y * self.K) - self.stiffness(gamma)

    def losses(self, gamma: Tensor) -> Tensor:
        """(v,) sums of w (mu − y log mu), in nats, without log y!."""
        linear = self.Y * (self.O + self.Q @ gamma)
        costs = self._with_zeros(self.means(gamma), gamma, lambda at: at.loss)
        return total(self.w[:, None] * (costs - (linear if self.K is None else linear * self.K)))

    def objective(self, gamma: Tensor) -> Tensor:
        """Minus the Poisson log-likelihood in nats, constants included."""
        return self.losses(gamma).sum() + self.constant

    def at(self, gamma: Tensor) -> Evaluation:
        """Value, gradient and Hessian at gamma."""
        return Evaluation(self, gamma)

    def hessians(self, gamma: Tensor) -> Tensor:
        """Hessian Q' diag(w mu) Q of each feature, v×d×d."""
        return weighted_grams(self.Q, self.w[:, None] * self.curvatures(gamma.detach()))

    def preconditioner(self, gamma: Tensor) -> Callable[[Tensor], Tensor]:
        """Inverse Hessian of each feature, d×v -> d×v, exact where no zero may be structural.

        Directions without curvature are left as they are.
        """
        values, vectors = torch.linalg.eigh(weighted_grams(self.Q, self.w[:, None] * self.stiffness(gamma.detach())))
        flat = values <= 1e-12 * values[:, -1:].clamp_min(1e-300)
        inverse = torch.where(flat, 1.0, 1.0 / torch.where(flat, 1.0, values))

        def apply(v: Tensor) -> Tensor:
            inner = torch.einsum("vij,iv->vj", vectors, v) * inverse
            return torch.einsum("vij,vj->iv", vectors, inner)

        return apply

    def curvature(self, gamma: Tensor) -> Tensor:
        """Diagonal of each feature's Hessian, d×v, kept off zero where nothing is counted."""
        return gram(self.Q.square(), self.w[:, None] * self.stiffness(gamma)).clamp_min(1e-6)

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

    def variance_scores(self, gamma: Tensor, R: Tensor, S2: Tensor, followed: Tensor | None) -> Tensor:
        """(v,) twice the slope of the ELBO as a latent variance t enters at 0; not positive where 0 is best.

        With residuals e = y − mu of the feature, and R, S2 (n×q) the latent residuals and variances of the other
        features k, those that are followed (q×v; None: none) in the second sum,

            sum_i w_i (e_i² − mu_i) + sum_k (sum_i w_i r_ik e_i)² / sum_i w_i s_ik²

        The second sum is what the feature gains by being correlated with the others: its latent mean may follow them,
        Z_j = x'B_j + t beta'r + N(0, t), and beta is best at the ratio of the two sums inside.
        """
        e = self.residuals(gamma)
        score = total(self.w[:, None] * (e.square() - self.curvatures(gamma)))
        if followed is not None and R.shape[1]:
            follow, own = self._follow(e, R, S2, followed)
            score = score + (follow.square() / own[:, None]).sum(dim=0)  # over other features
        return score

    def _follow(self, e: Tensor, R: Tensor, S2: Tensor, followed: Tensor) -> tuple[Tensor, Tensor]:
        """The two sums inside, q×v and (q,)."""
        return gram(R, self.w[:, None] * e) * followed, weighted_total(self.w, S2)

    def small_variance(self, gamma: Tensor, R: Tensor, S2: Tensor, followed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Latent means (n×v) and the log of a small variance (v,) at which features of positive score leave 0.

        The means move by t (e + R beta), along which the ELBO has that slope; t is where the counts' own curvature
        would end the rise, and small beside the moves that double a count.
        """
        mu, e = self.stiffness(gamma), self.residuals(gamma)
        move = e
        if followed is not None and R.shape[1]:
            follow, own = self._follow(e, R, S2, followed)
            move = e + R @ (follow / own[:, None])
        score = self.variance_scores(gamma, R, S2, followed)
        bend = 2.0 * total(self.w[:, None] * mu * move.square())
        variance = torch.minimum(score / bend, 0.1 / torch.maximum(1.0 + mean(mu), most(move.abs())))
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

    @cached_property
    def zero_cells(self) -> ZeroCells | None:
        """Zeros that may be structural."""
        return self._table.zero_cells(self._gamma)

    def logit_slopes(self) -> Tensor | float:
        """Slopes in the logits of the entries, but for what all cells pay."""
        zeros, at = self._table.zeros, self.zero_cells
        return 0.0 if zeros is None or at is None else zeros.pooled(-at.sums.structural)

    def logit_bends(self) -> Tensor | float:
        """Second derivatives in the logits of the entries, but for what all cells pay."""
        zeros, at = self._table.zeros, self.zero_cells
        return 0.0 if zeros is None or at is None else zeros.pooled(-at.sums.doubt)

    def turn(self, dgamma: Tensor, dzeta: Tensor) -> tuple[Tensor, Tensor | float]:
        """Change of the gradient, and of `logit_slopes`, along (dgamma, dzeta)."""
        H, zeros, at = self.product(dgamma), self._table.zeros, self.zero_cells
        if zeros is None or at is None:
            return H, 0.0
        dz, deta = zeros.logits(dzeta), zeros.of(self._table.Q @ dgamma)
        mixed = zeros.put(-zeros.w * at.sums.mixed * dz, torch.zeros_like(self._table.Y))
        return H + gram(self._table.Q, mixed), zeros.pooled(at.turn(deta, torch.zeros_like(deta), dz)[2])
