"""Steps of the features and of the samples by turns: from a rough start to the neighbourhood of a minimum.

A round is a natural-gradient step of each sample's posterior and a Newton step of each feature's coefficients and
loadings, in blocks that know how the samples will follow (`Evaluation.blocks`). It costs a fraction of a Newton step of
all, and the first rounds gain as much; near the minimum it is slow, and the optimizer takes over.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plncli.models.pca.cells import FARTHEST
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.posterior import Posterior, State, natural_step
from plncli.models.pca.table import Table
from plncli.numerics.rows import grand_total, most

HALVINGS = 20
FARTHEST_STEP = 3.0
"""How far a feature goes in a round: with few counts some directions have next to no curvature."""


class Alternation:
    """theta ((d+q)×p) and the posteriors of the samples; value: minus the bound there, in nats.

    zeta: parameters of the probabilities of structural zeros, held, where there are any.
    """

    def __init__(
        self, table: Table, theta: Tensor, z: tuple[Tensor, Tensor] | None = None, zeta: Tensor | None = None
    ) -> None:
        """Begin at theta, and at M and S (z) where they are given."""
        self.table, self.theta, self.zeta = table, theta, zeta
        self.samples = table.samples(theta, zeta)
        M, V = self.samples.cold() if z is None else (z[0], table.triangle.entries(z[1]))
        S = table.triangle.matrix(V)
        self.z = State.at(self.samples, M, S, V, torch.linalg.slogdet(S).logabsdet)

    @property
    def value(self) -> float:
        """Minus the bound, less its constant; inf where counts are expected that are beyond sense."""
        w, f = self.table.w, self.z.value
        lost = grand_total(f if w is None else w * f)
        return float(lost) if bool(most(self.z.A.amax(1)) < FARTHEST) else math.inf

    def settled(self, rounds: int) -> Alternation:
        """After some rounds, or as many as gain anything."""
        now = self
        for _ in range(rounds):
            after = now._round()
            if after is None:
                break
            now = after
        return now

    def _round(self) -> Alternation | None:
        """The state after a round; None where nothing is gained."""
        self._follow()
        at = Evaluation(self.theta, self.table, Posterior(*self.z, torch.zeros_like(self.z.value)), self.zeta)
        step = at.preconditioner()(at.gradient()).neg_()
        step *= FARTHEST_STEP / torch.linalg.vector_norm(step, dim=0).clamp_min(FARTHEST_STEP)
        for halving in range(HALVINGS):
            after = Alternation(self.table, self.theta + 0.5**halving * step, self.z[:2], self.zeta)
            if math.isfinite(after.value):
                after._follow()
                if after.value < self.value:
                    return after
        return None

    def _follow(self) -> None:
        """A step of the samples."""
        self.z = natural_step(self.samples, self.z)[0]
