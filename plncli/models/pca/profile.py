"""The profiled bound at a point: evaluated whole, or by blocks of rows, of which nothing but the posteriors stays.

In blocks no table of n×p numbers is ever there, and counts may be sparse: each pass over the rows makes what it needs
of a block anew. A pass for the value finds the posteriors, one for the gradient brings them to where they are exact,
and one for each product follows them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.models.fused import Fused
from plncli.models.pca.evaluation import Evaluation, Profile
from plncli.models.pca.posterior import Posterior
from plncli.models.pca.table import Table
from plncli.numerics.rows import over_rows


class Blocked(Profile):
    """As `Evaluation`, by blocks of rows; M (n×q) and V (n×t) are where the samples' posteriors are."""

    def __init__(self, theta: Tensor, table: Table) -> None:
        self.theta, self.table, self.loadings = theta, table, table.loadings(theta)
        _ = self.loadings.map  # before threads ask for it
        n, q, t = len(table.Q), table.q, len(table.triangle.k)
        self.M, self.V, self.gap = theta.new_empty((n, q)), theta.new_empty((n, t)), theta.new_empty(n)
        self._polished = False

        def found(rows: slice) -> tuple[Tensor]:
            at = Evaluation(theta, table.rows(rows), loadings=self.loadings)
            self.M[rows], self.V[rows], self.gap[rows] = at.z.M, at.z.V, at.z.gap
            return (at.value.clone(),)

        (value,) = self.over(found)
        value = value + table.constant
        self.value = torch.where(torch.isfinite(value), value, torch.inf)

    def over(self, work: Callable[[slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The sum of `work(rows)` over blocks of rows."""
        return over_rows(work, self.table.Q, 1, self.block)

    @property
    def block(self) -> int:
        """Rows that are looked at together."""
        assert self.table.block is not None
        return self.table.block

    def part(self, rows: slice) -> Evaluation:
        """Of some samples, as exact as it is now."""
        triangle, M, V = self.table.triangle, self.M[rows], self.V[rows]
        table = self.table.rows(rows)
        samples = table.samples(self.theta, None, self.loadings)
        z = Posterior(M, triangle.matrix(V), V, self.gap[rows], samples.means(M, V), None, self.gap[rows])
        return Evaluation(self.theta, table, z, None, self.loadings, polished=self._polished)

    @property
    def C(self) -> Tensor:
        """Loadings p×q."""
        return self.loadings.C

    @property
    def scores(self) -> Tensor:
        """Means of the samples' posteriors, n×q."""
        return self.M

    @property
    def covariances(self) -> Tensor:
        """Covariances of the samples' posteriors, n×q×q."""
        return self.table.triangle.matrix(self.V)

    def gradient(self) -> Tensor:
        """(d+q)×p."""

        def add(rows: slice) -> tuple[Tensor]:
            part = self.part(rows)
            slope = part.gradient()
            self.M[rows], self.V[rows] = part.z.M, part.z.V
            return (slope,)

        (slope,) = self.over(add)
        self._polished = True
        return slope

    def turn(self, v: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, None]:
        """As `Evaluation.turn`, without structural zeros."""
        assert dzeta is None
        self._polish()
        (turned,) = self.over(lambda rows: (self.part(rows).product(v),))
        return turned, None

    def blocks(self, *, profiled: bool) -> Tensor:
        """Each feature's block of the Hessian, p×(d+q)×(d+q): see `Evaluation.blocks`."""
        self._polish()
        (H,) = self.over(lambda rows: (self.part(rows).blocks(profiled=profiled),))
        return H

    def _polish(self) -> None:
        if not self._polished:
            self.gradient()


def evaluated(theta: Tensor, table: Table, zeta: Tensor | None = None) -> Evaluation | Blocked:
    """The evaluation there, which depends on nothing else: fits are repeated, and gone on with, to the bit."""
    place = _place(theta, zeta)
    known, at = table.last.get("at", (None, None))
    if at is None or known != place:
        theta, zeta = theta.detach(), None if zeta is None else zeta.detach()
        at = Blocked(theta, table) if table.block else Evaluation(theta, table, zeta=zeta)
        table.last["at"] = (place, at)
    return at


def _place(theta: Tensor, zeta: Tensor | None) -> list[int]:
    """Which numbers these are: where they lie, and how often they were changed there."""
    given = [each for each in (theta, zeta) if each is not None]
    return [number for each in given for number in (each.data_ptr(), each._version)]


class ProfiledPCA(Fused):
    """Minus the ELBO of theta."""


class _Source:
    def __init__(self, table: Table) -> None:
        self.table = table

    def at(self, theta: Tensor) -> Evaluation | Blocked:
        return evaluated(theta, self.table)


def objective(theta: Tensor, table: Table) -> Tensor:
    """Minus the ELBO (scalar, nats) at the best posteriors, with its derivatives behind autograd's own interface."""
    return ProfiledPCA.apply(theta, _Source(table))
