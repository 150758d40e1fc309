"""The variational step of the Poisson log-normal model: q of each sample, with B and Omega held fixed.

With a centre c_i = B'x_i, r = m − c, psi = log s² and A = exp(o + m + s²/2), sample i minimises, in nats,

    f(m, psi) = sum_j k_j (A − y (o + m))_j − ½ sum_j psi_j + ½ r'Omega r + ½ sum_j omega_jj s_j²

which is strictly convex, so that Newton's method with a line search finds the minimum from anywhere. The samples are
independent: they share nothing but the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from plncli.models.uncertainty import blocks
from plncli.numerics.covariance import DiagonalPrecision, FactoredPrecision, Precision, as_precision

TOLERANCE = 1e-9
"""Nats left in a sample at which one more step is the last; Newton's method then squares them."""
STEPS = 200
HALVINGS = 40
LARGE = 48
"""Features from which conjugate gradients beat a factor of each sample's matrix."""
RESIDUAL = 1e-4
"""Share of the right side that they leave: a step then leaves 1e-8 of the nats that it could have gained."""
ARMIJO = 1e-4


@dataclass(frozen=True)
class Step:
    """Means M and standard deviations S of q, n×p, and the nats left in each sample before its last step, (n,)."""

    M: Tensor
    S: Tensor
    gap: Tensor

    @property
    def converged(self) -> Tensor:
        """(n,) samples whose minimum was found."""
        return self.gap <= TOLERANCE


@dataclass(frozen=True)
class Samples:
    """b samples × p features: counts Y and 1 where they count in K (n×p both), offset O, centre C, precision Omega."""

    Y: Tensor
    K: Tensor
    O: Tensor
    C: Tensor
    Omega: Precision

    @property
    def omega(self) -> Tensor:
        """Diagonal of Omega (p,)."""
        return self.Omega.diagonal

    def take(self, rows: Tensor | slice) -> Samples:
        """Some of the samples."""
        return replace(self, **{letter: getattr(self, letter)[rows] for letter in ("Y", "K", "O", "C")})

    def means(self, M: Tensor, psi: Tensor) -> Tensor:
        """A, 0 in cells that don't count; b×p."""
        return torch.where(self.K > 0, (self.O + M + 0.5 * psi.exp()).exp(), 0.0)

    def pull(self, M: Tensor) -> Tensor:
        """R Omega, b×p."""
        return self.Omega.times(M - self.C)

    def value(self, M: Tensor, psi: Tensor) -> Tensor:
        """f of each sample, (b,)."""
        cells = self.means(M, psi) - self.K * self.Y * (self.O + M) - 0.5 * psi
        cells = cells + 0.5 * (M - self.C) * self.pull(M) + 0.5 * self.omega * psi.exp()
        return cells.sum(1)

    def direction(self, M: Tensor, psi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Newton's step in M and psi (b×p each), psi eliminated cell by cell, and the decrement (b,) it promises."""
        A, S2 = self.means(M, psi), psi.exp()
        rate = A + self.omega
        g_M = A - self.K * self.Y + self.pull(M)
        g_psi = 0.5 * (S2 * rate - 1.0)
        mixed = 0.5 * A * S2
        own = 0.5 * S2 * (rate + mixed)
        ratio = mixed / own
        bend = A - ratio * mixed
        d_M = -_solve(bend, self.Omega, g_M - ratio * g_psi)
        d_psi = -g_psi / own - ratio * d_M
        return d_M, d_psi, -0.5 * (g_M * d_M + g_psi * d_psi).sum(1)


def _solve(bend: Tensor, Omega: Precision, rhs: Tensor) -> Tensor:
    """(diag(bend_i) + Omega)^-1 rhs_i of each sample, b×p; by conjugate gradients where that is less work."""
    if isinstance(Omega, DiagonalPrecision):
        return rhs / (bend + Omega.diagonal)
    scale = (bend + Omega.diagonal).rsqrt()
    r = scale * rhs
    if isinstance(Omega, FactoredPrecision):
        direct, products = partial(_by_factors, (bend + Omega.c) * scale.square(), scale, Omega.G), len(Omega.G) // 2
    else:
        whole = Omega.dense()
        direct, products = partial(_direct, scale, whole), Omega.p // 6
    if Omega.p < LARGE:
        return direct(r, slice(None)) * scale
    x, solved = _conjugate_gradients(lambda s: scale * (bend * scale * s + Omega.times(scale * s)), r, products)
    for rows in blocks(len(x), _numbers(Omega)):
        hard = (~solved[rows]).nonzero()[:, 0] + rows.start
        if len(hard):
            x[hard] = direct(r[hard], hard)
    return x * scale


def _by_factors(h: Tensor, scale: Tensor, G: Tensor, r: Tensor, rows: Tensor | slice) -> Tensor:
    """H_i^-1 r_i, H_i = diag(h_i) − scale_i G'G scale_i, by the matrix inversion lemma: an r×r factor of each."""
    h, scale = h[rows], scale[rows]
    inner = torch.stack([(G * row) @ G.mT for row in scale.square() / h]).neg_()
    inner.diagonal(dim1=1, dim2=2).add_(1.0)
    L, _ = torch.linalg.cholesky_ex(inner)
    x = r / h
    across = torch.cholesky_solve(((x * scale) @ G.mT).unsqueeze(2), L).squeeze(2)
    return x.add_((across @ G).mul_(scale).div_(h))


def _direct(scale: Tensor, Omega: Tensor, r: Tensor, rows: Tensor | slice) -> Tensor:
    """H_i^-1 r_i, where H_i has a unit diagonal and off it scale_i Omega scale_i; b×p, by a factor of each matrix."""
    scale = scale[rows]
    H = Omega * scale[:, :, None] * scale[:, None, :]
    H.diagonal(dim1=1, dim2=2).fill_(1.0)
    L, _ = torch.linalg.cholesky_ex(H)
    return torch.cholesky_solve(r.unsqueeze(2), L).squeeze(2)


def _conjugate_gradients(product: Callable[[Tensor], Tensor], r: Tensor, products: int) -> tuple[Tensor, Tensor]:
    """H_i x_i = r_i for each row, of unit diagonal, b×p, and which of them (b,) were solved in so many products.

    All rows share the product: a row that is done waits for the others.
    """
    x, s, r = torch.zeros_like(r), r.clone(), r.clone()
    rr = r.square().sum(1)
    goal = rr * RESIDUAL**2
    for _ in range(products):
        going = rr > goal
        if not bool(going.any()):
            break
        Hs = product(s)
        step = torch.where(going, rr / (s * Hs).sum(1), 0.0)[:, None]
        x.addcmul_(step, s)
        r.addcmul_(step, Hs, value=-1.0)
        before, rr = rr, torch.where(going, r.square().sum(1), rr)
        s = torch.where(going[:, None], r + (rr / before)[:, None] * s, s)
    return x, rr <= goal


def variational_step(
    Y: Tensor, K: Tensor, O: Tensor, C: Tensor, Omega: Tensor | Precision, start: tuple[Tensor, Tensor] | None = None
) -> Step:
    """The minimum of f for each sample; n×p each, K 1 where a cell counts. Omega: p×p, (p,) or what answers for it.

    start: M and psi near it, if they are known. Samples go through in blocks, so that no more than a few tables of a
    block are in memory beside Omega.
    """
    Omega = as_precision(Omega)
    whole = Samples(Y, K, O.expand_as(Y), C, Omega)
    n, p = Y.shape
    done = Step(torch.empty_like(C), torch.empty_like(C), C.new_zeros(n))
    if p:
        for rows in blocks(n, _numbers(Omega) if p < LARGE else p):
            step = _minimise(whole.take(rows), None if start is None else (start[0][rows], start[1][rows]))
            done.M[rows], done.S[rows], done.gap[rows] = step.M, step.S, step.gap
    return done


def _numbers(Omega: Precision) -> int:
    """How many numbers the factor of a sample's matrix takes on the way."""
    p = Omega.p
    if isinstance(Omega, FactoredPrecision):
        return p + 3 * len(Omega.G) ** 2
    return p if isinstance(Omega, DiagonalPrecision) else p * p


def _minimise(samples: Samples, start: tuple[Tensor, Tensor] | None) -> Step:
    """Newton's method on a block of samples, each with a line search of its own; those that are done drop out."""
    Y, K = samples.Y, samples.K
    if start is None:
        M = torch.where(K > 0, Y.log1p() - samples.O, samples.C)
        psi = -torch.where(K > 0, 2.0 + Y, samples.omega).log()
    else:
        M, psi = start[0].clone(), start[1].clone()
    gap = M.new_full((len(M),), math.inf)
    going = torch.arange(len(M), device=M.device)
    for _ in range(STEPS):
        at = samples.take(going)
        d_M, d_psi, decrement = at.direction(M[going], psi[going])
        gap[going] = decrement
        size, moved = _search(at, M[going], psi[going], d_M, d_psi, decrement)
        M[going] += size * d_M
        psi[going] += size * d_psi
        going = going[(decrement > TOLERANCE) & moved]
        if not len(going):
            break
    return Step(M, (0.5 * psi).exp(), gap)


def _search(
    at: Samples, M: Tensor, psi: Tensor, d_M: Tensor, d_psi: Tensor, decrement: Tensor
) -> tuple[Tensor, Tensor]:
    """Size of each sample's step (b×1), halved until f falls enough, and whether it moves at all (b,)."""
    value = at.value(M, psi)
    slack = 1e-14 * (1.0 + value.abs())
    size = torch.ones_like(value)
    for _ in range(HALVINGS):
        trial = at.value(M + size[:, None] * d_M, psi + size[:, None] * d_psi)
        short = ~(trial <= value - 2.0 * ARMIJO * size * decrement + slack)
        if not bool(short.any()):
            break
        size = torch.where(short, 0.5 * size, size)
    return torch.where(short, 0.0, size)[:, None], ~short
