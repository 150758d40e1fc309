"""The variational step of the Poisson log-normal model: q of each sample, with B and Omega held fixed.

With a centre c_i = B'x_i, r = m − c, psi = log s² and A = exp(o + m + s²/2), sample i minimises, in nats,

    f(m, psi) = sum_j k_j (A − y (o + m))_j − ½ sum_j psi_j + ½ r'Omega r + ½ sum_j omega_jj s_j²

which is strictly convex, so that Newton's method with a line search finds the minimum from anywhere. The samples are
independent: they share nothing but the work.

Zeros that may be structural have another loss (`models.inflation.cells`), which is not convex: there steps take the
curvature that it would have if it were known which of them are, always positive, and each sample goes down from two
starts, at which its zeros are counts and at which they are none, to the better end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from plncli.models.inflation.cells import NODES, Nodes, ZeroCells
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
    """b samples × p features: counts Y and 1 where they count in K (n×p both), offset O, centre C, precision Omega.

    Z: n×p, logit of the probability that a zero is structural, −inf where it cannot be; None: nowhere.
    """

    Y: Tensor
    K: Tensor
    O: Tensor
    C: Tensor
    Omega: Precision
    Z: Tensor | None = None
    nodes: Nodes | None = None

    @property
    def omega(self) -> Tensor:
        """Diagonal of Omega (p,)."""
        return self.Omega.diagonal

    def take(self, rows: Tensor | slice) -> Samples:
        """Some of the samples."""
        some = {letter: getattr(self, letter)[rows] for letter in ("Y", "K", "O", "C")}
        return replace(self, **some, Z=None if self.Z is None else self.Z[rows])

    @cached_property
    def zeros(self) -> tuple[Tensor, Tensor] | None:
        """Rows and columns of zeros that may be structural."""
        if self.Z is None:
            return None
        rows, columns = ((self.Y == 0) & (self.K > 0) & (-math.inf < self.Z)).nonzero(as_tuple=True)
        return (rows, columns) if len(rows) else None

    def zero_cells(self, M: Tensor, psi: Tensor) -> ZeroCells | None:
        """Those, at M and psi."""
        if self.zeros is None:
            return None
        assert self.Z is not None and self.nodes is not None
        eta, s = (self.O + M)[self.zeros], (0.5 * psi[self.zeros]).exp()
        return ZeroCells(eta, s, self.Z[self.zeros], self.nodes)

    def means(self, M: Tensor, psi: Tensor) -> Tensor:
        """A, 0 in cells that don't count; b×p."""
        return torch.where(self.K > 0, (self.O + M + 0.5 * psi.exp()).exp(), 0.0)

    def slopes(self, M: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """What A is in the slope in M and the curvature, and in the slope in psi; b×p, one tensor but for zeros."""
        A, zero = self.means(M, psi), self.zero_cells(M, psi)
        if zero is None:
            return A, A
        assert self.zeros is not None
        second = A.index_put(self.zeros, zero.second)
        return A.index_put(self.zeros, zero.sums.slope), second

    def pull(self, M: Tensor) -> Tensor:
        """R Omega, b×p."""
        return self.Omega.times(M - self.C)

    def value(self, M: Tensor, psi: Tensor) -> Tensor:
        """f of each sample, (b,); but for −log(1 − pi), which no step changes."""
        A, zero = self.means(M, psi), self.zero_cells(M, psi)
        if zero is not None:
            assert self.zeros is not None
            A[self.zeros] = zero.loss
        cells = A - self.K * self.Y * (self.O + M) - 0.5 * psi
        cells = cells + 0.5 * (M - self.C) * self.pull(M) + 0.5 * self.omega * psi.exp()
        return cells.sum(1)

    def direction(self, M: Tensor, psi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Newton's step in M and psi (b×p each), psi eliminated cell by cell, and the decrement (b,) it promises."""
        (A, second), S2 = self.slopes(M, psi), psi.exp()
        rate = A + self.omega
        g_M = A - self.K * self.Y + self.pull(M)
        g_psi = 0.5 * (S2 * (second + self.omega) - 1.0)
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
    Y: Tensor,
    K: Tensor,
    O: Tensor,
    C: Tensor,
    Omega: Tensor | Precision,
    start: tuple[Tensor, Tensor] | None = None,
    Z: Tensor | None = None,
    nodes: int = NODES,
    steps: int = STEPS,
) -> Step:
    """The minimum of f for each sample; n×p each, K 1 where a cell counts. Omega: p×p, (p,) or what answers for it.

    start: M and psi near it, if they are known. Z: logits of the probabilities of structural zeros, n×p, with so many
    nodes of quadrature; steps: at most. Samples go through in blocks, so that
    no more than a few tables of a block are in memory beside Omega.
    """
    Omega = as_precision(Omega)
    whole = Samples(Y, K, O.expand_as(Y), C, Omega, Z, None if Z is None else Nodes.of(nodes, Y))
    n, p = Y.shape
    done = Step(torch.empty_like(C), torch.empty_like(C), C.new_zeros(n))
    if p:
        for rows in blocks(n, _numbers(Omega) if p < LARGE else p):
            step = _best(whole.take(rows), None if start is None else (start[0][rows], start[1][rows]), steps)
            done.M[rows], done.S[rows], done.gap[rows] = step.M, step.S, step.gap
    return done


def _numbers(Omega: Precision) -> int:
    """How many numbers the factor of a sample's matrix takes on the way."""
    p = Omega.p
    if isinstance(Omega, FactoredPrecision):
        return p + 3 * len(Omega.G) ** 2
    return p if isinstance(Omega, DiagonalPrecision) else p * p


def _best(samples: Samples, start: tuple[Tensor, Tensor] | None, steps: int) -> Step:
    """Down from `start`; without one from the counts, and from where zeros that may be structural are unobserved."""
    found = _minimise(samples, *(start or _from_counts(samples, samples.K)), steps)
    if samples.zeros is None or start is not None:
        return found
    value = samples.value(found.M, 2.0 * found.S.log())
    without = samples.K.index_put(samples.zeros, torch.zeros_like(samples.Y[samples.zeros]))
    other = _minimise(samples, *_from_counts(samples, without))
    better = (value - samples.value(other.M, 2.0 * other.S.log()) > 0.0) & other.converged
    M, S = (torch.where(better[:, None], *both) for both in ((other.M, found.M), (other.S, found.S)))
    return Step(M, S, torch.where(better, other.gap, found.gap))


def _from_counts(samples: Samples, counted: Tensor) -> tuple[Tensor, Tensor]:
    """M and psi from which Newton's method goes, cells that are not counted (0) at their centre."""
    M = torch.where(counted > 0, samples.Y.log1p() - samples.O, samples.C)
    return M, -torch.where(counted > 0, 2.0 + samples.Y, samples.omega).log()


def _minimise(samples: Samples, M: Tensor, psi: Tensor, steps: int = STEPS) -> Step:
    """Newton's method on a block of samples, each with a line search of its own; those that are done drop out."""
    M, psi = M.clone(), psi.clone()
    value = samples.value(M, psi)
    gap = M.new_full((len(M),), math.inf)
    going = torch.arange(len(M), device=M.device)
    for _ in range(steps):
        at = samples.take(going)
        d_M, d_psi, decrement = at.direction(M[going], psi[going])
        gap[going] = decrement
        size, moved, value[going] = _search(at, M[going], psi[going], d_M, d_psi, decrement, value[going])
        M[going] += size * d_M
        psi[going] += size * d_psi
        going = going[(decrement > TOLERANCE) & moved]
        if not len(going):
            break
    return Step(M, (0.5 * psi).exp(), gap)


def _search(
    at: Samples, M: Tensor, psi: Tensor, d_M: Tensor, d_psi: Tensor, decrement: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Size of each sample's step (b×1), halved until f falls enough, whether it moves at all, and f then, (b,) each.

    value: f where they are, (b,).
    """
    slack = 1e-14 * (1.0 + value.abs())
    size = torch.ones_like(value)
    for _ in range(HALVINGS):
        trial = at.value(M + size[:, None] * d_M, psi + size[:, None] * d_psi)
        short = ~(trial <= value - 2.0 * ARMIJO * size * decrement + slack)
        if not bool(short.any()):
            break
        size = torch.where(short, 0.5 * size, size)
    return torch.where(short, 0.0, size)[:, None], ~short, torch.where(short, value, trial)
