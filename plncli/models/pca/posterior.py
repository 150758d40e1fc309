"""The posterior of each sample in the space of the components, with loadings and coefficients held.

With the linear predictor eta_j = o_j + x'b_j of a sample and loadings C (p×q, rows c_j'), it minimises, in nats,

    f(m, S) = sum_j k_j (A_j − y_j (eta_j + c_j'm)) + ½ (m'm + tr S − log|S| − q)
    A_j = exp(eta_j + c_j'm + ½ c_j'S c_j)

over m (q) and all positive definite S (q×q), which is convex. Pi = I + sum_j k_j A_j c_j c_j' is the Hessian in m, and
the inverse of S where f is stationary in it: steps go from m to m − Pi^-1 g and from S^-1 to Pi, or as far on that way
as f falls (natural gradients: Amari 1998, Neural Computation 10). Near the minimum each leaves about a hundredth of
the nats; samples where they leave more end by Newton's method on both. S is kept by its distinct entries, row by row of
its upper triangle: t = q(q + 1)/2 of them.

Zeros that may be structural have another loss (`cells`), which is not convex. What is A in Pi is then twice the slope
in c_j'S c_j, and can be negative: a step in m takes, where Pi is not positive definite, the curvature that there would
be if it were known which zeros are structural, which is positive. Samples go down from two starts, at which their zeros
are counts and at which they are unobserved, to the better end, which depends on nothing but what is held.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from plncli.models.pca.cells import FARTHEST, HALVINGS, Samples
from plncli.models.pca.curvature import Curvature
from plncli.models.pca.triangle import inverse

TOLERANCE = 1e-11
"""Nats left in a sample at which one more step is the last; it leaves about a hundredth of them."""
ROUNDING = 50.0
"""Rounding of f, in units of the last place: what is less is no fall, and not worth another step."""
NATURAL, STEPS = 12, 100
"""Natural-gradient steps of a sample, and all of its steps, at most."""
ARMIJO = 1e-4
COARSE, NEAR = 8, 1e-4
"""Nodes with which zeros are summed on the way to the neighbourhood of a minimum, and nats left in a sample there."""
TOGETHER = 1e-4
"""Squared distance of means, in units of S, at which two ways down have come together."""


class State(NamedTuple):
    """Means M (b×q), covariances S (b×q×q), their entries V (b×t) and logdet (b,), f (b,), `cells.Slopes` of cells."""

    M: Tensor
    S: Tensor
    V: Tensor
    logdet: Tensor
    value: Tensor
    A: Tensor
    bent: Tensor | None

    @staticmethod
    def at(samples: Samples, M: Tensor, S: Tensor, V: Tensor, logdet: Tensor) -> State:
        """Where the samples are at M and S."""
        A, bent, lost = samples.slopes(M, V)
        return State(M, S, V, logdet, samples.value(lost, M, S, logdet), A, bent)

    @staticmethod
    def begun(samples: Samples, M: Tensor, V: Tensor) -> State:
        """Where they are at M and the entries V of S, of which nothing else is known."""
        S = samples.triangle.matrix(V)
        return State.at(samples, M, S, V, torch.linalg.slogdet(S).logabsdet)

    @property
    def second(self) -> Tensor:
        """Slopes of the cells in h, b×p."""
        return self.A if self.bent is None else self.bent

    def take(self, rows: Tensor) -> State:
        """Some of the samples."""
        bent = None if self.bent is None else self.bent[rows]
        return State(self.M[rows], self.S[rows], self.V[rows], self.logdet[rows], self.value[rows], self.A[rows], bent)

    def put(self, rows: Tensor, new: State) -> None:
        """Some of the samples anew, in place."""
        for each, part in zip(self, new, strict=True):
            if each is not None and part is not None:
                each[rows] = part

    def or_else(self, take: Tensor, new: State) -> State:
        """The new state of the samples that take it (b,)."""
        chosen = [_where(take, there, here) for here, there in zip(self, new, strict=True) if here is not None]
        return State(*chosen, *([None] if self.bent is None else []))


def _where(take: Tensor, new: Tensor | None, old: Tensor) -> Tensor:
    assert new is not None
    return torch.where(take.view(-1, *[1] * (old.ndim - 1)), new, old)


@dataclass(frozen=True)
class Posterior:
    """As `State`, without log-determinants, and the nats left in each sample, (b,)."""

    M: Tensor
    S: Tensor
    V: Tensor
    value: Tensor
    A: Tensor
    bent: Tensor | None
    gap: Tensor

    @property
    def second(self) -> Tensor:
        """Slopes of the cells in h, b×p."""
        return self.A if self.bent is None else self.bent

    @staticmethod
    def of(z: State, gap: Tensor | None = None) -> Posterior:
        """What a state is, with these nats left; 0 unless given."""
        return Posterior(z.M, z.S, z.V, z.value, z.A, z.bent, torch.zeros_like(z.value) if gap is None else gap)

    @property
    def converged(self) -> Tensor:
        """(b,) samples whose minimum was found."""
        return (self.gap <= TOLERANCE) | (self.gap <= _rounding(self.value))

    def or_else(self, take: Tensor, new: Self) -> Posterior:
        """The new one of the samples that take it (b,)."""

        def chosen(name: str) -> Tensor:
            return _where(take, getattr(new, name), getattr(self, name))

        M, S, V, value, A, gap = (chosen(name) for name in ("M", "S", "V", "value", "A", "gap"))
        return Posterior(M, S, V, value, A, None if self.bent is None else chosen("bent"), gap)


def posterior(samples: Samples) -> Posterior:
    """The minimum of f for each sample."""
    if samples.zeros is None:
        return _descent(samples, *samples.cold())
    coarse = samples.with_nodes(COARSE)
    found = _descent(coarse, *coarse.cold(), NEAR)
    other = _descent(coarse, *coarse.without_zeros().cold(), NEAR, found)
    found = found.or_else(other.value < found.value, other)
    return _descent(samples, found.M, found.V, natural=0)


def _descent(
    samples: Samples,
    M: Tensor,
    V: Tensor,
    tolerance: float = TOLERANCE,
    beside: Posterior | None = None,
    natural: int = NATURAL,
) -> Posterior:
    """Down from M and V, to the tolerance in nats. Samples that are done wait for the others without work.

    beside: another end; samples that are coming there are given up, with f = inf. natural: natural-gradient steps
    before those of Newton's method.
    """
    b, like = len(samples.Y), samples.predictor
    now = State.begun(samples, M, V)
    gap = torch.full_like(now.value, math.inf)
    if not bool((now.A.amax() < FARTHEST) & torch.isfinite(now.value).all()):
        return Posterior.of(now._replace(value=torch.full_like(now.value, math.inf)), gap)
    going = torch.arange(b, device=like.device)
    for number in range(STEPS):
        if beside is not None:
            there = _together(now.M[going], beside.M[going], beside.S[going])
            now.value[going[there]] = math.inf
            going = going[~there]
            if not len(going):
                break
        whole = len(going) == b
        at = samples if whole else samples.take(going)
        new, left, moved = (natural_step if number < natural else _newton)(at, now if whole else now.take(going))
        if whole:
            now, gap = new, left
        else:
            now.put(going, new)
            gap[going] = left
        going = going[(left > tolerance) & (left > _rounding(now.value[going])) & moved]
        if not len(going):
            break
    return Posterior.of(now, gap)


def _together(M: Tensor, other: Tensor, S: Tensor) -> Tensor:
    """Which means (b×q) are next to others with covariances S."""
    L, _ = torch.linalg.cholesky_ex(S)
    apart = torch.linalg.solve_triangular(L, (M - other)[:, :, None], upper=False)
    return apart.square().sum((1, 2)) < TOGETHER


def natural_step(at: Samples, now: State) -> tuple[State, Tensor, Tensor]:
    """The next state, the nats that were left at this one, and which samples moved."""
    M, S, triangle, q = now.M, now.S, at.triangle, now.M.shape[1]
    g, Pi = at.slope(now.A, M), at.curvature(now.second)
    target, logdet = inverse(Pi)
    spread = (Pi * S).sum((1, 2)) - q + logdet - now.logdet
    towards = target
    definite = torch.isfinite(logdet)
    if now.bent is not None and not bool(definite.all()):
        towards = torch.where(definite[:, None, None], target, inverse(at.curvature(now.A))[0])
        spread = torch.where(definite, spread, 0.5 * _distance(Pi, torch.linalg.cholesky_ex(S)[0]))
    d = -(towards @ g[:, :, None])[:, :, 0]
    left = 0.5 * (-(g * d).sum(1) + spread)

    def trial(size: Tensor, rows: Tensor | None) -> State:
        if rows is None:
            return State.at(at, M + d, target, triangle.entries(target), logdet)
        new_S, new_logdet = _between(S[rows], Pi[rows], size)
        return State.at(at.take(rows), M[rows] + size[:, None] * d[rows], new_S, triangle.entries(new_S), new_logdet)

    after, moved = _backtracked(trial, now, left)
    return after, left, moved


def _distance(Pi: Tensor, before: Tensor) -> Tensor:
    """Squared norm of L'Pi L − I, L (before) the factors of S: what S is from Pi^-1 in its own metric; (b,)."""
    D = before.mT @ Pi @ before
    D.diagonal(dim1=1, dim2=2).sub_(1.0)
    return D.square().sum((1, 2))


def _newton(at: Samples, now: State) -> tuple[State, Tensor, Tensor]:
    """As `natural_step`, by Newton's method on m and S."""
    M, S, V, triangle, q = now.M, now.S, now.V, at.triangle, now.M.shape[1]
    z = torch.cat([M, V], 1)
    curved = Curvature(at, at.bends(M, V, now.A), S)
    g = torch.cat([at.slope(now.A, M), 0.5 * triangle.k * triangle.entries(at.curvature(now.second) - curved.P)], 1)
    d = curved.step(g).neg_()
    left = -0.5 * (g * d).sum(1)

    def trial(size: Tensor, rows: Tensor | None) -> State:
        now, step = (z, d) if rows is None else (z[rows], size[:, None] * d[rows])
        moved = now + step
        new_S = triangle.matrix(moved[:, q:])
        L, outside = torch.linalg.cholesky_ex(new_S)
        logdet = 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
        new = State.at(at if rows is None else at.take(rows), moved[:, :q], new_S, moved[:, q:], logdet)
        return new._replace(value=torch.where(outside == 0, new.value, math.inf))

    after, moved = _backtracked(trial, now, 2.0 * left)
    return after, left, moved


def _backtracked(trial: Callable[[Tensor, Tensor | None], State], now: State, slope: Tensor) -> tuple[State, Tensor]:
    """The state after the longest of steps 1, ½, ¼ ... by which f of a sample falls enough, and which samples moved.

    trial: the state of some samples, by index, after a step of each one's size; of all, None, after a whole one. slope:
    nats that f falls by in a step, as far as it is linear.
    """
    value, slack = now.value, _rounding(now.value)
    new = trial(torch.ones_like(value), None)
    short = ~(new.value <= value - ARMIJO * slope + slack)
    if not bool(short.any()):
        return new, ~short
    best, size = new.or_else(short, now), 1.0
    rows = short.nonzero()[:, 0]
    for _ in range(HALVINGS - 1):
        size *= 0.5
        new = trial(torch.full_like(value[rows], size), rows)
        good = new.value <= value[rows] - ARMIJO * size * slope[rows] + slack[rows]
        best.put(rows[good], new.take(good))
        rows = rows[~good]
        if not len(rows):
            break
    moved = torch.ones_like(short)
    moved[rows] = False
    return best, moved


def _rounding(value: Tensor) -> Tensor:
    """What rounding may hide of f, (b,)."""
    return ROUNDING * torch.finfo(value.dtype).eps * (1.0 + value.abs())


def _between(S: Tensor, Pi: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance (b×q×q) of precision (1 − size) S^-1 + size Pi, and its log-determinant."""
    t = size[:, None, None]
    return inverse((1.0 - t) * inverse(S)[0] + t * Pi)
