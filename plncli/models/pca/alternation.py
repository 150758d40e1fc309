"""Steps of the features and of the samples by turns: from a rough start to the neighbourhood of a minimum.

A round is a Newton step of each feature's coefficients and loadings, in blocks that know how the samples will follow
(`Evaluation.blocks`), two natural-gradient steps of each sample's posterior, and the exact best of what loadings and
samples can trade: C goes to CL and G to G + aC' while scores go to L^-1(m − a'x), which changes the prior's part alone,
and ends where scores have mean 0, given the design, and second moments I (parameter expansion: Liu, Rubin & Wu 1998,
Biometrika 85). These directions are the slow ones, and what is left is quickened by what earlier rounds tell
(`mixing`). A round costs a fraction of a Newton step of all; the last steps are the optimizer's.
"""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from plncli.models.pca.cells import FARTHEST
from plncli.models.pca.evaluation import Evaluation, inverses, preconditioner
from plncli.models.pca.mixing import Mixing
from plncli.models.pca.posterior import Posterior, State, natural_step
from plncli.models.pca.table import Table
from plncli.numerics.rows import gram, grand_total, most, total, weigh

HALVINGS = 20
FARTHEST_STEP = 3.0
"""How far a feature goes in a round: with few counts some directions have next to no curvature."""
RECENT, SHARE = 10, 20.0
"""Rounds by whose gain a start is judged, and times that as much may still be gained."""
FOLLOWING = 2
"""Natural-gradient steps of the samples in a round."""


class Alternation:
    """theta ((d+q)×p) and the posteriors of the samples; value: minus the bound there, in nats.

    zeta: parameters of the probabilities of structural zeros, held, where there are any.
    """

    def __init__(self, table: Table, theta: Tensor, z: State | None = None, zeta: Tensor | None = None) -> None:
        """Begin at theta, and with the posteriors z where they are given."""
        self.table, self.theta, self.zeta = table, theta, zeta
        self.samples = table.samples(theta, zeta)
        if z is None:
            M, V = self.samples.cold()
            S = table.triangle.matrix(V)
            self.z = State.at(self.samples, M, S, V, torch.linalg.slogdet(S).logabsdet)
        else:
            self.z = State.at(self.samples, z.M, z.S, z.V, z.logdet)

    @property
    def value(self) -> float:
        """Minus the bound, less its constant; inf where counts are expected that are beyond sense."""
        w, f = self.table.w, self.z.value
        lost = grand_total(f if w is None else w * f)
        return float(lost) if bool(most(self.z.A.amax(1)) < FARTHEST) else math.inf

    def settled(self, rounds: int, near: float = 0.0, best: float = math.inf) -> Alternation:
        """After some rounds, or as many as gain anything, or until the features' steps promise less nats than `near`.

        Given up where the last rounds have gained less than a share of what is missing to `best`, a value.
        """
        now, mixing = self, Mixing()
        values: deque[float] = deque(maxlen=RECENT + 1)
        now._follow()
        for _ in range(rounds):
            after = now._round(mixing, near)
            if after is None:
                break
            now = after
            values.append(now.value)
            if len(values) > RECENT and SHARE * (values[0] - now.value) < now.value - best:
                break
        return now

    def _round(self, mixing: Mixing, near: float) -> Alternation | None:
        """The state after a round; None where nothing is gained, or little is to be gained."""
        at = Evaluation(self.theta, self.table, Posterior.of(self.z), self.zeta)
        H, g = at.blocks(profiled=True), at.gradient()
        step = preconditioner(inverses(H))(g).neg_()
        if not -0.5 * float((g * step).sum()) > near:
            return None
        step *= FARTHEST_STEP / torch.linalg.vector_norm(step, dim=0).clamp_min(FARTHEST_STEP)
        advised = mixing.step(self.theta, step, preconditioner(H))
        if advised is not None:
            after = self._after(advised)
            if after is not None:
                return after
            mixing.forget()
        for halving in range(HALVINGS):
            after = self._after(0.5**halving * step)
            if after is not None:
                return after
        return None

    def _after(self, step: Tensor) -> Alternation | None:
        """The state after a step of theta, which the samples follow; None where nothing is gained."""
        after = Alternation(self.table, self.theta + step, self.z, self.zeta)
        if not math.isfinite(after.value):
            return None
        after._follow()
        return after if after.value < self.value else None

    def _follow(self) -> None:
        """Steps of the samples, and of what they and the loadings trade."""
        for _ in range(FOLLOWING):
            self.z = natural_step(self.samples, self.z)[0]
        self._trade()

    def _trade(self) -> None:
        """The best a and L, with no cell's latent value changed."""
        table, M, S = self.table, self.z.M, self.z.S
        a = gram(weigh(table.w, table.Q), M) / table.wbar
        M = M - table.Q @ a
        spread = total(S.flatten(1) if table.w is None else weigh(table.w, S.flatten(1))).view_as(S[0])
        L, failed = torch.linalg.cholesky_ex((gram(weigh(table.w, M), M) + spread) / table.wbar)
        if failed:
            return
        C = self.theta[table.d :].mT
        self.theta = torch.cat([self.theta[: table.d] + a @ C.mT, (C @ L).mT])
        self.samples = table.samples(self.theta, self.zeta)
        back = torch.linalg.solve_triangular(L, torch.eye(len(L), dtype=L.dtype, device=L.device), upper=False)
        V = table.triangle.entries(back @ S @ back.mT)
        logdet = self.z.logdet - 2.0 * L.diagonal().log().sum()
        self.z = State.at(self.samples, M @ back.mT, table.triangle.matrix(V), V, logdet)
