"""The posterior of each sample in the space of the components, with loadings and coefficients held.

With the linear predictor eta_j = o_j + x'b_j of a sample and loadings C (p×q, rows c_j'), it minimises, in nats,

    f(m, S) = sum_j k_j (A_j − y_j (eta_j + c_j'm)) + ½ (m'm + tr S − log|S| − q)
    A_j = exp(eta_j + c_j'm + ½ c_j'S c_j)

over m (q) and all positive definite S (q×q), which is convex. Pi = I + sum_j k_j A_j c_j c_j' is the Hessian in m, and
the inverse of S where f is stationary in it: steps go from m to m − Pi^-1 g and from S^-1 to Pi, or as far on that way
as f falls (natural gradients: Amari 1998, Neural Computation 10). Near the minimum each leaves about a hundredth of
the nats; samples where they leave more end by Newton's method on both. S is kept by its distinct entries, row by row of
its upper triangle: t = q(q + 1)/2 of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TOLERANCE = 1e-11
"""Nats left in a sample at which one more step is the last; it leaves about a hundredth of them."""
ROUNDING = 50.0
"""Rounding of f, in units of the last place: what is less is no fall, and not worth another step."""
FARTHEST = 1e12
"""Expected count beyond which a sample is not looked at: f is inf there, for rounding would hide the prior."""
NATURAL, STEPS = 12, 100
"""Natural-gradient steps of a sample, and all of its steps, at most."""
RESIDUAL, LOOSE, ITERATIONS = 1e-7, 1e-5, 100
"""Share of the right side that conjugate gradients leave of a sample, also where less will do; iterations at most."""
HALVINGS = 40
ARMIJO = 1e-4


class Triangle:
    """Symmetric q×q matrices by their distinct entries. k: how often each stands in the matrix, (t,)."""

    def __init__(self, like: Tensor, q: int) -> None:
        self.q = q
        self.rows, self.columns = torch.triu_indices(q, q, device=like.device)
        self.k = torch.where(self.rows == self.columns, 1.0, 2.0).to(like)
        place = torch.empty((q, q), dtype=torch.int64, device=like.device)
        place[self.rows, self.columns] = place[self.columns, self.rows] = torch.arange(len(self.k), device=like.device)
        self._place, self._upper = place.flatten(), self.rows * q + self.columns

    def entries(self, S: Tensor) -> Tensor:
        """Distinct entries (... × t) of matrices (... × q×q)."""
        return S.flatten(-2).index_select(-1, self._upper)

    def matrix(self, V: Tensor) -> Tensor:
        """Matrices (... × q×q) of distinct entries (... × t)."""
        return V.index_select(-1, self._place).unflatten(-1, (self.q, self.q))

    def products(self, C: Tensor) -> Tensor:
        """c_j c_j' by entries (p×t), rows c_j' of C (p×q)."""
        return C.index_select(1, self.rows) * C.index_select(1, self.columns)

    def turned(self, C: Tensor, dC: Tensor) -> Tensor:
        """Change of `products` along dC."""
        return C[:, self.rows] * dC[:, self.columns] + dC[:, self.rows] * C[:, self.columns]


def inverse(P: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses of b×q×q, and their log-determinants (b,); nan where a matrix is not positive definite."""
    L, failed = torch.linalg.cholesky_ex(P)
    L = torch.where((failed == 0)[:, None, None], L, torch.eye(P.shape[1], dtype=P.dtype, device=P.device))
    nothing = torch.where(failed == 0, 0.0, math.nan).to(P)
    S = torch.cholesky_inverse(L).add_(nothing[:, None, None])
    return S, nothing - 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)


@dataclass(frozen=True)
class Samples:
    """b samples × p features: counts Y, 0 where they don't count; K 1 where they do (None: all); linear predictor."""

    Y: Tensor
    K: Tensor | None
    predictor: Tensor
    C: Tensor
    triangle: Triangle

    @cached_property
    def products(self) -> Tensor:
        """c_j c_j' by entries, p×t."""
        return self.triangle.products(self.C)

    @cached_property
    def halves(self) -> Tensor:
        """½ c_j'Sc_j as a linear map of the entries of S, p×t."""
        return 0.5 * self.triangle.k * self.products

    @cached_property
    def map(self) -> Tensor:
        """Log of the expected counts as a linear map of m and the entries of S, p×(q+t)."""
        return torch.cat([self.C, self.halves], 1)

    def take(self, rows: Tensor) -> Samples:
        """Some of the samples."""
        K = None if self.K is None else self.K[rows]
        some = Samples(self.Y[rows], K, self.predictor[rows], self.C, self.triangle)
        known = ("products", "halves", "map")
        some.__dict__.update({name: self.__dict__[name] for name in known if name in self.__dict__})
        return some

    def cold(self) -> tuple[Tensor, Tensor]:
        """M and V of a Gaussian likelihood with log(y + ½) for a mean and 1/(y + ½) for a variance.

        Nearer to 0 by halves where that would expect counts beyond FARTHEST.
        """
        weight = self.Y + 0.5 if self.K is None else (self.Y + 0.5) * self.K
        S = inverse(self.curvature(weight))[0]
        pull = (weight * ((self.Y + 0.5).log() - self.predictor)) @ self.C
        M, V = (S @ pull[:, :, None])[:, :, 0], self.triangle.entries(S)
        for _ in range(HALVINGS):
            beyond = ~(self.means(M, V).amax(1) < FARTHEST)[:, None]
            if not bool(beyond.any()):
                break
            M, V = torch.where(beyond, 0.5 * M, M), torch.where(beyond, 0.5 * V, V)
        return M, V

    def means(self, M: Tensor, V: Tensor) -> Tensor:
        """A (b×p), 0 in cells that don't count."""
        A = torch.addmm(self.predictor, M, self.C.mT).addmm_(V, self.halves.mT).exp_()
        return A if self.K is None else A.mul_(self.K)

    def slope(self, A: Tensor, M: Tensor) -> Tensor:
        """Gradient in m, b×q."""
        return (A - self.Y) @ self.C + M

    def curvature(self, A: Tensor) -> Tensor:
        """Pi, b×q×q."""
        Pi = self.triangle.matrix(A @ self.products)
        Pi.diagonal(dim1=1, dim2=2).add_(1.0)
        return Pi

    def value(self, A: Tensor, M: Tensor, S: Tensor, logdet: Tensor) -> Tensor:
        """f of each sample (b,), without log y!."""
        cells = A.sum(1) - (self.Y * self.predictor).sum(1) - (M * (self.Y @ self.C)).sum(1)
        spread = M.square().sum(1) + S.diagonal(dim1=1, dim2=2).sum(1) - logdet - M.shape[1]
        return cells + 0.5 * spread


class Curvature:
    """Hessian H_zz of f in z = (m, entries of S), of b samples at A (b×p) and S (b×q×q)."""

    def __init__(self, samples: Samples, A: Tensor, S: Tensor) -> None:
        self.samples, self.A, self.S = samples, A, S
        self.P, _ = inverse(S)

    def product(self, y: Tensor) -> Tensor:
        """H_zz y, b×(q+t)."""
        q, triangle, linear = self.P.shape[1], self.samples.triangle, self.samples.map
        out = (self.A * (y @ linear.mT)) @ linear
        out[:, :q] += y[:, :q]
        out[:, q:] += 0.5 * triangle.k * triangle.entries(self.P @ triangle.matrix(y[:, q:]) @ self.P)
        return out

    def nearly(self, r: Tensor) -> Tensor:
        """Nearly H_zz^-1 r, b×(q+t): without what m and S share, and the fourth derivatives."""
        q, triangle, S = self.P.shape[1], self.samples.triangle, self.S
        own = S @ triangle.matrix(r[:, q:] / triangle.k) @ S
        return torch.cat([(S @ r[:, :q, None])[:, :, 0], 2.0 * triangle.entries(own)], 1)

    def solve(self, b: Tensor, residual: float = RESIDUAL) -> Tensor:
        """H_zz^-1 b of each sample by conjugate gradients; all share the product, and those that are done wait."""
        x, r = torch.zeros_like(b), b.clone()
        z = self.nearly(r)
        s, rz = z, (r * z).sum(1)
        goal = rz * residual**2
        for _ in range(ITERATIONS):
            going = rz > goal
            if not bool(going.any()):
                break
            Hs = self.product(s)
            step = torch.where(going, rz / (s * Hs).sum(1), 0.0)[:, None]
            x.addcmul_(step, s)
            r.addcmul_(step, Hs, value=-1.0)
            z = self.nearly(r)
            before, rz = rz, torch.where(going, (r * z).sum(1), rz)
            s = torch.where(going[:, None], z + (rz / before)[:, None] * s, s)
        return x

    def matrix(self) -> Tensor:
        """H_zz whole, b×(q+t)×(q+t)."""
        q, triangle, linear, P = self.P.shape[1], self.samples.triangle, self.samples.map, self.P
        pairs, a, b = Triangle(linear, linear.shape[1]), triangle.rows, triangle.columns
        H = pairs.matrix(self.A @ pairs.products(linear))
        H[:, :q, :q].diagonal(dim1=1, dim2=2).add_(1.0)
        own = P[:, a][:, :, a] * P[:, b][:, :, b] + P[:, a][:, :, b] * P[:, b][:, :, a]
        H[:, q:, q:] += 0.25 * triangle.k[:, None] * triangle.k * own
        return H


@dataclass(frozen=True)
class Posterior:
    """Means M (b×q), covariances S (b×q×q) and their entries V (b×t), A (b×p), f (b,) and the nats left in each."""

    M: Tensor
    S: Tensor
    V: Tensor
    A: Tensor
    value: Tensor
    gap: Tensor

    @property
    def converged(self) -> Tensor:
        """(b,) samples whose minimum was found."""
        return (self.gap <= TOLERANCE) | (self.gap <= _rounding(self.value))


def posterior(samples: Samples) -> Posterior:
    """The minimum of f for each sample. Samples that are done wait for the others without work."""
    b, like = len(samples.Y), samples.predictor
    M, V = samples.cold()
    S = samples.triangle.matrix(V)
    A = samples.means(M, V)
    value = samples.value(A, M, S, torch.linalg.slogdet(S).logabsdet)
    gap = torch.full_like(value, math.inf)
    if not bool((A.amax() < FARTHEST) & torch.isfinite(value).all()):
        return Posterior(M, S, V, A, torch.full_like(value, math.inf), gap)
    going = torch.arange(b, device=like.device)
    for number in range(STEPS):
        whole = len(going) == b
        at = samples if whole else samples.take(going)
        now = (M, S, V, A, value) if whole else (M[going], S[going], V[going], A[going], value[going])
        new, left, moved = (natural_step if number < NATURAL else _newton)(at, *now)
        if whole:
            M, S, V, A, value = new
            gap = left
        else:
            for each, part in zip((M, S, V, A, value, gap), (*new, left), strict=True):
                each[going] = part
        going = going[(left > TOLERANCE) & (left > _rounding(value[going])) & moved]
        if not len(going):
            break
    return Posterior(M, S, V, A, value, gap)


State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def natural_step(
    at: Samples, M: Tensor, S: Tensor, V: Tensor, A: Tensor, value: Tensor
) -> tuple[State, Tensor, Tensor]:
    """The next (M, S, V, A, f), the nats that were left at this one, and which samples moved."""
    triangle, q = at.triangle, M.shape[1]
    g, Pi = at.slope(A, M), at.curvature(A)
    target, logdet = inverse(Pi)
    d = -(target @ g[:, :, None])[:, :, 0]
    before, _ = torch.linalg.cholesky_ex(S)
    spread = (Pi * S).sum((1, 2)) - q + logdet - 2.0 * before.diagonal(dim1=1, dim2=2).log().sum(1)
    left = 0.5 * (-(g * d).sum(1) + spread)

    def trial(size: Tensor, whole: bool) -> State:
        new_S, new_logdet = (target, logdet) if whole else _between(before, Pi, size)
        new_M, new_V = M + size[:, None] * d, triangle.entries(new_S)
        new_A = at.means(new_M, new_V)
        return new_M, new_S, new_V, new_A, at.value(new_A, new_M, new_S, new_logdet)

    after, moved = _backtracked(trial, (M, S, V, A, value), left)
    return after, left, moved


def _newton(at: Samples, M: Tensor, S: Tensor, V: Tensor, A: Tensor, value: Tensor) -> tuple[State, Tensor, Tensor]:
    """As `natural_step`, by Newton's method on m and S."""
    triangle, q = at.triangle, M.shape[1]
    curved = Curvature(at, A, S)
    g = torch.cat([at.slope(A, M), 0.5 * triangle.k * triangle.entries(at.curvature(A) - curved.P)], 1)
    d = curved.solve(g).neg_()
    left = -0.5 * (g * d).sum(1)

    def trial(size: Tensor, whole: bool) -> State:
        del whole
        new_M, new_V = M + size[:, None] * d[:, :q], V + size[:, None] * d[:, q:]
        new_S = triangle.matrix(new_V)
        L, outside = torch.linalg.cholesky_ex(new_S)
        new_A = at.means(new_M, new_V)
        f = at.value(new_A, new_M, new_S, 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1))
        return new_M, new_S, new_V, new_A, torch.where(outside == 0, f, math.inf)

    after, moved = _backtracked(trial, (M, S, V, A, value), 2.0 * left)
    return after, left, moved


def _backtracked(trial: Callable[[Tensor, bool], State], now: State, slope: Tensor) -> tuple[State, Tensor]:
    """The state after the longest of steps 1, ½, ¼ ... by which f of a sample falls enough, and which samples moved.

    trial: the state after a step of each sample's size (b,), all of them whole ones or not; slope: nats that f falls
    by in a step, as far as it is linear.
    """
    value, best = now[4], now
    slack, size, short = _rounding(value), torch.ones_like(value), torch.ones_like(value, dtype=torch.bool)
    for halving in range(HALVINGS):
        new = trial(size, not halving)
        good = new[4] <= value - ARMIJO * size * slope + slack
        if not halving and bool(good.all()):
            return new, good
        best = _where(short & good, new, best)
        short &= ~good
        if not bool(short.any()):
            break
        size = torch.where(short, 0.5 * size, size)
    return best, ~short


def _where(take: Tensor, new: State, old: State) -> State:
    """The new state of the samples that take it."""
    pairs = zip(new, old, strict=True)
    return tuple(torch.where(take.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs)  # type: ignore[return-value]


def _rounding(value: Tensor) -> Tensor:
    """What rounding may hide of f, (b,)."""
    return ROUNDING * torch.finfo(value.dtype).eps * (1.0 + value.abs())


def _between(before: Tensor, Pi: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """S (b×q×q) of precision (1 − size) S^-1 + size Pi, and log|S|; `before`: Cholesky factors of S."""
    t = size[:, None, None]
    return inverse((1.0 - t) * torch.cholesky_inverse(before) + t * Pi)
