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
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from plncli import ranks
from plncli.models.pca.cells import FARTHEST, Samples
from plncli.models.pca.evaluation import Evaluation, inverses, preconditioner
from plncli.models.pca.posterior import Posterior, State, natural_step
from plncli.models.pca.starting.mixing import Mixing
from plncli.models.pca.table import Table
from plncli.numerics.rows import accumulate, gram, grand_total, over_rows, total, weigh

HALVINGS = 20
FARTHEST_STEP = 1.5
"""How far a feature goes in a round: with few counts some directions have next to no curvature."""
RECENT, SHARE = 10, 20.0
"""Rounds by whose gain a start is judged, and times that as much may still be gained."""
FOLLOWING = 2
"""Natural-gradient steps of the samples in a round."""


class Moments(NamedTuple):
    """Of the samples' posteriors, sums times their weights: of f; q m' (d×q); m m' and S (q×q)."""

    lost: Tensor
    on_design: Tensor
    second: Tensor
    spread: Tensor

    @staticmethod
    def of(table: Table, z: State) -> Moments:
        """Those of the samples of a table."""
        w, S = table.w, z.S.flatten(1)
        lost = grand_total(z.value if w is None else w * z.value)
        spread = total(weigh(w, S)).view_as(z.S[0])
        return Moments(lost, gram(weigh(w, table.Q), z.M), gram(weigh(w, z.M), z.M), spread)

    def trade(self, wbar: float) -> tuple[Tensor, Tensor] | None:
        """The best a (d×q) and L (q×q, lower); None where there is no best."""
        a = self.on_design / wbar
        L, failed = torch.linalg.cholesky_ex((self.second + self.spread) / wbar - a.mT @ a)
        return None if failed else (a, L)


class Alternation(ABC):
    """theta ((d+q)×p) and the posteriors of the samples; value: minus the bound there, less its constant, in nats.

    It is inf where counts are expected that are beyond sense.
    """

    table: Table
    theta: Tensor
    value: float

    def settled(
        self,
        rounds: int,
        near: float = 0.0,
        best: float = math.inf,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Self:
        """After some rounds, or as many as gain anything, or until the features' steps promise less nats than `near`.

        Given up where the last rounds have gained less than a share of what is missing to `best`, a value, or where it
        is cancelled, which is asked before each round.
        """
        now, mixing = self, Mixing()
        values: deque[float] = deque(maxlen=RECENT + 1)
        now._follow()
        for _ in range(rounds):
            if ranks.agreed(cancelled()):
                break
            after = now._round(mixing, near)
            if after is None:
                break
            now = after
            values.append(now.value)
            if len(values) > RECENT and SHARE * (values[0] - now.value) < now.value - best:
                break
        return now

    def _round(self, mixing: Mixing, near: float) -> Self | None:
        """The state after a round; None where nothing is gained, or little is to be gained."""
        H, g = self._systems()
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

    def _after(self, step: Tensor) -> Self | None:
        """The state after a step of theta, which the samples follow; None where nothing is gained."""
        after = self._at(self.theta + step)
        if after.value == math.inf:
            return None
        after._follow()
        return after if after.value < self.value else None

    @abstractmethod
    def _at(self, theta: Tensor) -> Self:
        """The same posteriors at another theta."""

    @abstractmethod
    def _systems(self) -> tuple[Tensor, Tensor]:
        """Blocks of the Hessian, p×(d+q)×(d+q), less what samples take, and the gradient, (d+q)×p."""

    @abstractmethod
    def _follow(self) -> None:
        """Steps of the samples, and of what they and the loadings trade."""

    def _traded(self, a: Tensor, L: Tensor) -> Tensor:
        """theta after a trade; returns L^-1."""
        d, C = self.table.d, self.theta[self.table.d :].mT
        self.theta = torch.cat([self.theta[:d] + a @ C.mT, (C @ L).mT])
        return torch.linalg.solve_triangular(L, torch.eye(len(L), dtype=L.dtype, device=L.device), upper=False)


class Whole(Alternation):
    """Of a table that is looked at whole.

    zeta: parameters of the probabilities of structural zeros, held, where there are any.
    """

    def __init__(self, table: Table, theta: Tensor, z: State | None = None, zeta: Tensor | None = None) -> None:
        """Begin at theta, and with the posteriors z where they are given."""
        self.table, self.theta, self.zeta = table, theta, zeta
        self.samples = table.samples(theta, zeta)
        self.z = (
            State.begun(self.samples, *self.samples.cold())
            if z is None
            else State.at(self.samples, z.M, z.S, z.V, z.logdet)
        )
        self._judge()

    def _judge(self) -> None:
        w, f = self.table.w, self.z.value
        sensible = torch.where(self.z.A.amax(1) < FARTHEST, f, math.inf)
        self.value = float(grand_total(sensible if w is None else w * sensible).nan_to_num(math.inf))

    def _at(self, theta: Tensor) -> Whole:
        return Whole(self.table, theta, self.z, self.zeta)

    def _systems(self) -> tuple[Tensor, Tensor]:
        at = Evaluation(self.theta, self.table, Posterior.of(self.z), self.zeta)
        return at.blocks(profiled=True), at.gradient()

    def _follow(self) -> None:
        for _ in range(FOLLOWING):
            self.z = natural_step(self.samples, self.z)[0]
        self._trade()
        self._judge()

    def _trade(self) -> None:
        """The best a and L, with no cell's latent value changed."""
        table, z = self.table, self.z
        found = Moments.of(table, z).trade(table.wbar)
        if found is None:
            return
        a, L = found
        back = self._traded(a, L)
        self.samples = table.samples(self.theta, self.zeta)
        V = table.triangle.entries(back @ z.S @ back.mT)
        logdet = z.logdet - 2.0 * L.diagonal().log().sum()
        self.z = State.at(self.samples, (z.M - table.Q @ a) @ back.mT, table.triangle.matrix(V), V, logdet)


class ByBlocks(Alternation):
    """Of a table that is looked at by blocks of rows, of which nothing but the posteriors stays.

    A round is two passes: one for the features' steps, one for those of the samples, after which the trade is known.
    """

    def __init__(self, table: Table, theta: Tensor, z: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        """Begin at theta, and with M (n×q), V (n×t) and log-determinants (n,) where they are given."""
        self.table, self.theta, self.value = table, theta, math.nan
        n, q, t = len(table.Q), table.q, len(table.triangle.k)
        self._cold = z is None
        self.M, self.V, self.logdet = (theta.new_empty(s) for s in ((n, q), (n, t), (n,))) if z is None else z

    def _at(self, theta: Tensor) -> ByBlocks:
        return ByBlocks(self.table, theta, (self.M.clone(), self.V.clone(), self.logdet.clone()))

    def _state(self, samples: Samples, rows: slice) -> State:
        if self._cold:
            return State.begun(samples, *samples.cold())
        V = self.V[rows]
        return State.at(samples, self.M[rows], self.table.triangle.matrix(V), V, self.logdet[rows])

    def _systems(self) -> tuple[Tensor, Tensor]:
        loadings = self.table.loadings(self.theta)
        _ = loadings.map  # before threads ask for it

        def work(rows: slice) -> tuple[Tensor, Tensor]:
            part = self.table.rows(rows)
            z = self._state(part.samples(self.theta, None, loadings), rows)
            at = Evaluation(self.theta, part, Posterior.of(z), None, loadings)
            return at.blocks(profiled=True), at.gradient()

        H, g = over_rows(work, self.table.Q, 1, self.table.block)
        return H, g

    def _follow(self) -> None:
        table, loadings = self.table, self.table.loadings(self.theta)
        _ = loadings.map

        def work(rows: slice) -> tuple[Tensor, ...]:
            part = table.rows(rows)
            samples = part.samples(self.theta, None, loadings)
            z = self._state(samples, rows)
            sensible = torch.where((z.A.amax() < FARTHEST) & z.value.isfinite().all(), 0.0, math.inf)
            for _ in range(FOLLOWING):
                z = natural_step(samples, z)[0]
            self.M[rows], self.V[rows], self.logdet[rows] = z.M, z.V, z.logdet
            return (*Moments.of(part, z), sensible.to(z.M))

        *parts, sensible = over_rows(work, table.Q, 1, table.block)
        self._cold, sums = False, Moments(*parts)
        self.value = float((sums.lost + sensible).nan_to_num(math.inf))
        found = None if self.value == math.inf else sums.trade(table.wbar)
        if found is not None:
            self._trade(sums, *found)

    def _trade(self, sums: Moments, a: Tensor, L: Tensor) -> None:
        """No cell changes, and of the prior's part nothing but sums is needed."""
        table, back = self.table, self._traded(a, L)
        half = L.diagonal().log().sum()

        def work(rows: slice) -> None:
            self.M[rows] = (self.M[rows] - table.Q[rows] @ a) @ back.mT
            self.V[rows] = table.triangle.entries(back @ table.triangle.matrix(self.V[rows]) @ back.mT)

        accumulate((), work, len(self.M), 1, table.block or len(self.M))
        self.logdet -= 2.0 * half
        prior = 0.5 * (table.wbar * table.q - sums.second.trace() - sums.spread.trace()) + table.wbar * half
        self.value += float(prior)
