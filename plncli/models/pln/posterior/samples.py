"""The posterior of each sample with B and Sigma held: N(m, S) of any covariance, told by p numbers.

With the linear predictor eta_j = o_j + x'b_j of a sample, its posterior minimises, in nats and without log y!,

    f(m, S) = sum_j k_j (A_j − y_j (eta_j + r_j)) + ½ (r'Omega r + tr(Omega S) − log|Omega S| − p)
    A_j = exp(eta_j + r_j + ½ S_jj),   r = m − B'x

over r and all positive definite S, which is convex. At the minimum (Opper & Archambeau 2009, Neural Computation 21)

    S = (Omega + diag(lambda))^-1,   r = Sigma (y − lambda),   lambda = k A,

so that p numbers lambda tell all, and none of it needs an inverse of Sigma, which may be singular. The minimum is also
the maximum of the dual (Khan, Aravkin, Friedlander & Seeger 2013, ICML), concave in lambda:

    D(lambda) = lambda'(1 + eta − log lambda) − y'eta − ½ (y − lambda)'Sigma(y − lambda) + ½ log|I + Sigma Lambda|,

whose gradient is the mismatch e = log A − log lambda, and minus whose Hessian is Lambda^-1 + Sigma + ½ S∘S. At any
lambda, f(r, S) − D(lambda) = sum_j lambda_j (exp(e_j) − 1 − e_j): the nats left in a sample are known, not estimated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-14
"""Nats left in a sample at which its posterior is found: they are known far below the rounding of f."""
STALLED = 1e-6
"""Nats left below which a step that does not halve them is the last, for rounding ends it."""
ROUNDING = 50.0
"""Rounding of f, in units of the last place."""
STEPS, HALVINGS = 60, 40
FARTHEST = 3.0
"""Longest step of log lambda."""
ASTRAY = 1e3
"""Nats left in a sample at which its counts may be a better start."""
BLOCK = 1 << 17
"""Numbers in a block of matrices of samples: a few of them fit the cache."""
FAINT = 1e-7
"""Rate below which S is not told by what it lacks of the prior, for rounding would be seen."""


@dataclass(frozen=True)
class Samples:
    """n samples × p features: counts Y, 0 where they don't count; K 1 where they do (None: all); eta; Sigma p×p."""

    Y: Tensor
    K: Tensor | None
    eta: Tensor
    Sigma: Tensor

    def take(self, rows: Tensor | slice) -> Samples:
        """Some of the samples."""
        return Samples(self.Y[rows], None if self.K is None else self.K[rows], self.eta[rows], self.Sigma)

    def blocks(self) -> Iterator[slice]:
        """Rows whose matrices p×p are held at once."""
        return blocks(*self.Y.shape)

    def cold(self) -> Tensor:
        """Log rates to begin with, n×p."""
        return (self.Y + 0.5).log()

    def rates(self, t: Tensor) -> Tensor:
        """lambda at log rates t, n×p."""
        return t.exp() if self.K is None else t.exp() * self.K


def blocks(n: int, p: int) -> Iterator[slice]:
    """Slices of n rows, of which each has a matrix p×p."""
    step = max(1, BLOCK // max(p * p, 1))
    return (slice(first, min(first + step, n)) for first in range(0, n, step))


class At:
    """A block of samples (b) at log rates t: what the dual and its derivatives are made of.

    S: b×p×p; rates, pull (y − lambda), r (m − B'x), mismatch e: b×p; dual, gap, logdet |I + Sigma Lambda|: (b,).
    """

    def __init__(self, samples: Samples, t: Tensor) -> None:
        self.samples, self.t, self.rates = samples, t, samples.rates(t)
        Y, eta, Sigma = samples.Y, samples.eta, samples.Sigma
        self.root = self.rates.sqrt()
        inner = Sigma * self.root[:, :, None] * self.root[:, None, :]
        inner.diagonal(dim1=1, dim2=2).add_(1.0)
        L = torch.linalg.cholesky_ex(inner).L
        self.S = self._covariances(L)
        self.pull = Y - self.rates
        self.r = self.pull @ Sigma
        e = eta + self.r + 0.5 * self.S.diagonal(dim1=1, dim2=2) - t
        self.mismatch = e if samples.K is None else e * samples.K
        self.logdet = 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
        cells = self.rates * (1.0 + eta - t) - Y * eta - 0.5 * self.pull * self.r
        self.dual = cells.sum(1) + 0.5 * self.logdet
        self.gap = (self.rates * (torch.expm1(self.mismatch) - self.mismatch)).sum(1)

    def _covariances(self, L: Tensor) -> Tensor:
        """S from the factors of P^-1 = I + Lambda^½ Sigma Lambda^½: Lambda^-½ (I − P) Lambda^-½; or by Sigma − V'V."""
        Sigma, root = self.samples.Sigma, self.root
        if bool(self.rates.amin() > FAINT):
            S = torch.cholesky_inverse(L).neg_()
            S.diagonal(dim1=1, dim2=2).add_(1.0)
            return S.div_(root[:, :, None]).div_(root[:, None, :])
        V = torch.linalg.solve_triangular(L, root[:, :, None] * Sigma, upper=False)
        return torch.baddbmm(Sigma.expand_as(L), V.mT, V, alpha=-1.0)

    def take(self, rows: Tensor) -> At:
        """Some of the samples."""
        some = object.__new__(At)
        some.samples = self.samples.take(rows)
        for name in ("t", "rates", "root", "S", "pull", "r", "mismatch", "dual", "gap", "logdet"):
            setattr(some, name, getattr(self, name)[rows])
        return some

    def factor(self) -> Tensor:
        """Cholesky factor of I + Lambda^½ (Sigma + ½ S∘S) Lambda^½, b×p×p."""
        H = torch.addcmul(self.samples.Sigma, self.S, self.S, value=0.5)
        H.mul_(self.root[:, :, None]).mul_(self.root[:, None, :])
        H.diagonal(dim1=1, dim2=2).add_(1.0)
        return torch.linalg.cholesky_ex(H).L

    def newton(self) -> Tensor:
        """Newton's step of log rates, b×p."""
        half = torch.cholesky_solve((self.root * self.mismatch)[:, :, None], self.factor())[:, :, 0]
        return (half / self.root.clamp_min(torch.finfo(half.dtype).tiny)).nan_to_num()

    @property
    def done(self) -> Tensor:
        """(b,) samples whose minimum is found, as far as a mismatch of 1000 units in the last place counts as none."""
        none = (1e3 * torch.finfo(self.gap.dtype).eps) ** 2 * self.rates.sum(1)
        return self.gap <= none.clamp_min(TOLERANCE)


@dataclass(frozen=True)
class Posteriors:
    """Log rates t and lambda, y − lambda, r = m − B'x and diag S of each sample, n×p; f and the nats left, (n,).

    entropy: log|S| less log|Sigma|, which need not exist, (n,).
    """

    t: Tensor
    rates: Tensor
    pull: Tensor
    r: Tensor
    variance: Tensor
    value: Tensor
    gap: Tensor
    entropy: Tensor
    converged: Tensor


def posteriors(samples: Samples, t: Tensor | None = None) -> Posteriors:
    """The minimum of f for each sample, by Newton's method on the dual from log rates t, or from the counts."""
    cold = samples.cold()
    parts = [_solved(samples.take(rows), cold[rows] if t is None else t[rows], cold[rows]) for rows in samples.blocks()]
    whole = parts[0] if len(parts) == 1 else [torch.cat(each) for each in zip(*parts, strict=True)]
    return Posteriors(*whole)


def _solved(samples: Samples, t: Tensor, cold: Tensor) -> list[Tensor]:
    """The fields of `Posteriors` of a block. Samples that are done wait for the others without work."""
    now = At(samples, t)
    astray = ~(now.gap < ASTRAY)
    if t is not cold and bool(astray.any()):
        now = At(samples, torch.where(astray[:, None], cold, t))
    found = _told(now)
    going = torch.arange(len(t), device=t.device)
    moved = torch.ones_like(now.gap, dtype=torch.bool)
    for _ in range(STEPS):
        left = moved & ~now.done & torch.isfinite(now.dual)
        if not bool(left.any()):
            break
        if not bool(left.all()):
            going, now = going[left], now.take(left)
        after, moved = _searched(now, now.newton())
        moved &= ~((now.gap < STALLED) & (after.gap > 0.5 * now.gap))
        for each, part in zip(found, _told(after), strict=True):
            each[going] = part
        now = after
    return found


def _told(at: At) -> list[Tensor]:
    value = (at.dual + at.gap).nan_to_num(math.inf, math.inf)
    variance = at.S.diagonal(dim1=1, dim2=2).clone()
    return [
        at.t.clone(),
        at.rates.clone(),
        at.pull,
        at.r,
        variance,
        value,
        at.gap,
        -at.logdet,
        at.done | (at.gap < STALLED),
    ]


def _searched(now: At, step: Tensor) -> tuple[At, Tensor]:
    """After a step of each sample, halved until the dual does not fall, and which samples moved (b,)."""
    slack = ROUNDING * torch.finfo(step.dtype).eps * (1.0 + now.dual.abs())
    step, whole = step.clamp(-FARTHEST, FARTHEST), step
    size, far = torch.ones_like(now.dual), (FARTHEST / whole.abs().amax(1)).clamp(max=1.0)
    for halving in range(HALVINGS):
        after = At(now.samples, now.t + size[:, None] * step)
        short = ~(after.dual >= now.dual - slack)
        if not bool(short.any()):
            return after, ~short
        if not halving:  # a step that is cut may lead down, but in all of its directions alike it does not
            step = torch.where(short[:, None], far[:, None] * whole, step)
        size = torch.where(short, 0.5 * size, size)
    size = torch.where(short, 0.0, size)
    return At(now.samples, now.t + size[:, None] * step), ~short
