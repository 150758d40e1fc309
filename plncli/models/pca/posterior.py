"""The posterior of each sample in the space of the components, with loadings and coefficients held.

With the linear predictor eta_j = o_j + x'b_j of a sample and loadings C (p×q, rows c_j'), it minimises, in nats,

    f(m, S) = sum_j k_j (A_j − y_j (eta_j + c_j'm)) + ½ (m'm + tr S − log|S| − q)
    A_j = exp(eta_j + c_j'm + ½ c_j'S c_j)

over m (q) and all positive definite S (q×q), which is convex. Pi = I + sum_j k_j A_j c_j c_j' is the Hessian in m, and
the inverse of S where f is stationary in it: steps go from m to m − Pi^-1 g and from S^-1 to Pi, or as far on that way
as f falls (natural gradients: Amari 1998, Neural Computation 10). S is kept by its distinct entries, row by row of its
upper triangle: t = q(q + 1)/2 of them.
"""

from __future__ import annotations

import math
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
STEPS = 200
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
        self._place = place.flatten()

    def entries(self, S: Tensor) -> Tensor:
        """Distinct entries (... × t) of matrices (... × q×q)."""
        return S[..., self.rows, self.columns]

    def matrix(self, V: Tensor) -> Tensor:
        """Matrices (... × q×q) of distinct entries (... × t)."""
        return V[..., self._place].unflatten(-1, (self.q, self.q))

    def products(self, C: Tensor) -> Tensor:
        """c_j c_j' by entries (p×t), rows c_j' of C (p×q)."""
        return C[:, self.rows] * C[:, self.columns]

    def turned(self, C: Tensor, dC: Tensor) -> Tensor:
        """Change of `products` along dC."""
        return C[:, self.rows] * dC[:, self.columns] + dC[:, self.rows] * C[:, self.columns]


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

    def take(self, rows: Tensor) -> Samples:
        """Some of the samples."""
        K = None if self.K is None else self.K[rows]
        some = Samples(self.Y[rows], K, self.predictor[rows], self.C, self.triangle)
        some.__dict__.update(products=self.products, halves=self.halves)
        return some

    def cold(self) -> tuple[Tensor, Tensor]:
        """M and V of a Gaussian likelihood with log(y + ½) for a mean and 1/(y + ½) for a variance.

        Nearer to 0 by halves where that would expect counts beyond FARTHEST.
        """
        weight = self.Y + 0.5 if self.K is None else (self.Y + 0.5) * self.K
        Pi = self.curvature(weight)
        S = torch.cholesky_inverse(torch.linalg.cholesky_ex(Pi).L)
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
    for _ in range(STEPS):
        whole = len(going) == b
        at = samples if whole else samples.take(going)
        now = (M, S, V, A, value) if whole else (M[going], S[going], V[going], A[going], value[going])
        new, left, moved = _step(at, *now)
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


def _step(at: Samples, M: Tensor, S: Tensor, V: Tensor, A: Tensor, value: Tensor) -> tuple[State, Tensor, Tensor]:
    """The next (M, S, V, A, f), the nats that were left at this one, and which samples moved."""
    triangle, q = at.triangle, M.shape[1]
    g, Pi = at.slope(A, M), at.curvature(A)
    L = torch.linalg.cholesky_ex(Pi).L
    target, logdet = torch.cholesky_inverse(L), -2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
    d = -(target @ g[:, :, None])[:, :, 0]
    before, _ = torch.linalg.cholesky_ex(S)
    spread = (Pi * S).sum((1, 2)) - q + logdet - 2.0 * before.diagonal(dim1=1, dim2=2).log().sum(1)
    left = 0.5 * (-(g * d).sum(1) + spread)
    slack = _rounding(value)
    best: State = (M, S, V, A, value)
    size = torch.ones_like(value)
    short = torch.ones_like(value, dtype=torch.bool)
    for halving in range(HALVINGS):
        new_S, new_logdet = (target, logdet) if not halving else _between(before, Pi, size)
        new_M, new_V = M + size[:, None] * d, triangle.entries(new_S)
        new_A = at.means(new_M, new_V)
        new_value = at.value(new_A, new_M, new_S, new_logdet)
        good = new_value <= value - ARMIJO * size * left + slack
        if not halving and bool(good.all()):
            return (new_M, new_S, new_V, new_A, new_value), left, good
        take = short & good
        best = tuple(
            torch.where(take.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip((new_M, new_S, new_V, new_A, new_value), best, strict=True)
        )  # type: ignore[assignment]
        short &= ~good
        if not bool(short.any()):
            break
        size = torch.where(short, 0.5 * size, size)
    return best, left, ~short


def _rounding(value: Tensor) -> Tensor:
    """What rounding may hide of f, (b,)."""
    return ROUNDING * torch.finfo(value.dtype).eps * (1.0 + value.abs())


def _between(before: Tensor, Pi: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """S (b×q×q) of precision (1 − size) S^-1 + size Pi, and log|S|; `before`: Cholesky factors of S."""
    t = size[:, None, None]
    L = torch.linalg.cholesky_ex((1.0 - t) * torch.cholesky_inverse(before) + t * Pi).L
    return torch.cholesky_inverse(L), -2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
