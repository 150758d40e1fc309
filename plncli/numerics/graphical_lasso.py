"""The graphical lasso: a sparse precision of p features from their covariance (Friedman, Hastie & Tibshirani 2008).

    minimise  −log|Omega| + tr(Omega S) + sum_jk Lambda_jk |omega_jk|   over positive definite Omega

by Newton steps within the orthant of the signs that Omega has, or is about to have (Oztoprak, Nocedal, Rennie & Olsen
2012). Features that no chain of |s_jk| > Lambda_jk connects are independent in the solution, and groups of them are
solved apart (Witten, Friedman & Simon 2011; Mazumder & Hastie 2012). All is done with S scaled to a unit diagonal, so
units do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

STEPS, HALVINGS = 200, 40
CG = 100
"""Iterations of conjugate gradients at most."""
LOOSE, FINE = 0.3, 1e-9
"""Residuals at which conjugate gradients end: in a step far from the solution, and in a derivative of the solution."""
ROUNDS, ENOUGH = 20, 0.05
"""Rounds of conjugate gradients in a step, and the share of what it has gained below which there are no more."""
ARMIJO, SMALLEST = 1e-4, 1e-12
ROUNDING = 16.0
"""Duality gap that counts as none, in units of rounding of the objective."""
FAILED = 1e-6
"""Gap, as a share of the objective, above which another start is tried."""
TOGETHER = 48
"""Features up to which groups are solved as one, for the calls cost more than the numbers."""
MOST, DIRECT = 4096, 3
"""Entries that are not 0 up to which their Hessian is factored, and how many a feature of them for a single step."""


@dataclass(frozen=True)
class Group:
    """The solution of features that are connected, scaled: Omega and its inverse Sigma (m×m), and S.

    features: (m,) indices; value: of the objective; gap: how far that may be above the minimum, by duality; steps: that
    it took.
    """

    features: Tensor
    S: Tensor
    Omega: Tensor
    Sigma: Tensor
    value: float
    gap: float
    steps: int

    @cached_property
    def _hessian(self) -> Hessian | None:
        """Among the entries that are not 0; None where it is better not formed."""
        return hessian(self.Sigma, self.Omega != 0, MOST)

    def change(self, dS: Tensor) -> Tensor:
        """Derivative of Omega along dS (m×m, symmetric), zeros and signs held: Sigma dOmega Sigma = −dS elsewhere."""
        if len(self.Omega) == 1:
            return -self.Omega.square() * dS
        if self._hessian is None:
            return solved(self.Sigma, self.Omega, (self.Omega != 0).to(dS), -dS, FINE)
        return self._hessian.solve(-dS)


@dataclass(frozen=True)
class Hessian:
    """Half that of −log|Omega| among some entries of the upper triangle, factored; rows, columns: of these (k,)."""

    rows: Tensor
    columns: Tensor
    factor: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """D (m×m), 0 but at these entries, with Sigma D Sigma = right there."""
        j, k = self.rows, self.columns
        x = torch.cholesky_solve(right[j, k][:, None], self.factor)[:, 0]
        x = torch.where(j == k, 2.0 * x, x)
        found = torch.zeros_like(right)
        found[j, k] = x
        found[k, j] = x
        return found


def hessian(Sigma: Tensor, kept: Tensor, most: int) -> Hessian | None:
    """Among the entries that are kept (m×m booleans), Sigma being the inverse; None for more than `most`, or none."""
    j, k = torch.triu(kept).nonzero(as_tuple=True)
    if len(j) > most:
        return None
    of_j, of_k = Sigma[j], Sigma[k]
    K = of_j[:, j] * of_k[:, k] + of_j[:, k] * of_k[:, j]
    factor, info = torch.linalg.cholesky_ex(K)
    return Hessian(j, k, factor) if int(info) == 0 else None


def solved(Sigma: Tensor, Omega: Tensor, kept: Tensor, right: Tensor, tolerance: float) -> Tensor:
    """D, 0 but where `kept` (m×m of 0 and 1), with Sigma D Sigma = right there, by conjugate gradients.

    Preconditioned by the inverse without zeros, R -> Omega R Omega.
    """
    D = torch.zeros_like(right)
    r = kept * right
    y = kept * symmetric(Omega @ r @ Omega)
    s, ry = y.clone(), float(torch.dot(r.flatten(), y.flatten()))
    goal = tolerance**2 * ry
    for _ in range(CG):
        if not ry > goal:
            break
        Hs = kept * symmetric(Sigma @ s @ Sigma)
        curvature = float(torch.dot(s.flatten(), Hs.flatten()))
        if not curvature > 0.0:
            break
        D.add_(s, alpha=ry / curvature)
        r.add_(Hs, alpha=-ry / curvature)
        y = kept * symmetric(Omega @ r @ Omega)
        previous, ry = ry, float(torch.dot(r.flatten(), y.flatten()))
        s.mul_(ry / previous).add_(y)
    return D


def symmetric(A: Tensor) -> Tensor:
    """A without what rounding has made of its symmetry."""
    return (A + A.mT).mul_(0.5)


@dataclass(frozen=True)
class GraphicalLasso:
    """The solution for S (p×p) and penalties (p×p): group by group.

    scale: (p,) square roots of the diagonal of S; alone: features that are connected with no other.
    """

    S: Tensor
    penalty: Tensor
    scale: Tensor
    groups: tuple[Group, ...]
    alone: Tensor

    @cached_property
    def _alone(self) -> Tensor:
        """Their precisions."""
        return (self.S.diagonal() + self.penalty.diagonal())[self.alone].reciprocal()

    @cached_property
    def Omega(self) -> Tensor:
        """p×p."""
        return self._whole([group.Omega for group in self.groups], self._alone, self.scale.reciprocal())

    @cached_property
    def Sigma(self) -> Tensor:
        """Its inverse."""
        return self._whole([group.Sigma for group in self.groups], self._alone.reciprocal(), self.scale)

    def _whole(self, parts: Sequence[Tensor], alone: Tensor, scale: Tensor) -> Tensor:
        made = torch.zeros_like(self.S)
        for group, part in zip(self.groups, parts, strict=True):
            s = scale[group.features]
            made[group.features[:, None], group.features] = part * (s * s[:, None])
        made[self.alone, self.alone] = alone
        return made

    @property
    def value(self) -> float:
        """The objective at the solution."""
        units = sum(2.0 * float(self.scale[group.features].log().sum()) for group in self.groups)
        return sum(group.value for group in self.groups) + units + float((1.0 - self._alone.log()).sum())

    @property
    def gap(self) -> float:
        """How far that may be above the minimum, by duality."""
        return sum(max(group.gap, 0.0) for group in self.groups)

    @property
    def steps(self) -> int:
        """Newton steps that the slowest group took."""
        return max((group.steps for group in self.groups), default=0)

    @property
    def penalised(self) -> float:
        """The penalty at the solution, sum_jk Lambda_jk |omega_jk|."""
        return float(_without_infinite(self.penalty).mul(self.Omega.abs()).sum())

    @property
    def violation(self) -> float:
        """How far |s_jk − sigma_jk| exceeds the penalty where omega_jk is 0, on the scale of correlations."""
        beyond = ((self.S - self.Sigma).abs() - self.penalty) / self.scale / self.scale[:, None]
        return max(map(float, torch.where(self.Omega == 0, beyond, 0.0).amax(1)), default=0.0)

    def change(self, dS: Tensor) -> Tensor:
        """Derivative of Omega along dS (p×p, symmetric), where its zeros and signs stay."""
        made = torch.zeros_like(dS)
        for group in self.groups:
            place, s = (group.features[:, None], group.features), self.scale[group.features]
            units = s * s[:, None]
            made[place] = group.change(dS[place] / units) / units
        made[self.alone, self.alone] = -self._alone.square() * dS[self.alone, self.alone]
        return made


def graphical_lasso(S: Tensor, penalty: Tensor, start: Tensor | None = None) -> GraphicalLasso | None:
    """The solution; None where S is no covariance of positive variances.

    S: p×p, symmetric; it need not be positive definite where the penalties are positive. penalty: p×p, symmetric, 0 or
    more, inf for entries that must be 0. start: a positive definite matrix near the solution (p×p), if one is known.
    """
    variance = S.diagonal()
    if not bool(torch.isfinite(S).all()) or not bool((variance > 0).all()):
        return None
    scale = variance.sqrt()
    units = scale * scale[:, None]
    alone, members = components((S.abs() > penalty) if start is None else (S.abs() > penalty) | (start != 0))
    groups = []
    for features in merged(members):
        place = (features[:, None], features)
        known = None if start is None else start[place] * units[place]
        found = _solved(features, S[place] / units[place], penalty[place] / units[place], known)
        if found is None:
            return None
        groups.append(found)
    return GraphicalLasso(S, penalty, scale, tuple(groups), alone)


def components(linked: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features that are linked with no other (indices), and the groups of those that are, each ascending.

    linked: p×p booleans, symmetric.
    """
    p = len(linked)
    if not p:
        return torch.zeros(0, dtype=torch.int64, device=linked.device), []
    linked = linked.clone()
    linked.fill_diagonal_(True)
    label = torch.arange(p, device=linked.device)
    while True:
        least = torch.where(linked, label, p).amin(1)
        least = least[least]  # a leap along labels, so that chains are short
        if torch.equal(least, label):
            break
        label = least
    sizes = torch.bincount(label, minlength=p)
    alone = (sizes[label] == 1).nonzero()[:, 0]
    return alone, [(label == first).nonzero()[:, 0] for first in (sizes > 1).nonzero()[:, 0]]


def merged(groups: list[Tensor]) -> list[Tensor]:
    """Small groups put together, up to TOGETHER features each."""
    made: list[Tensor] = []
    for group in sorted(groups, key=len):
        if made and len(made[-1]) + len(group) <= TOGETHER:
            made[-1] = torch.cat([made[-1], group]).sort().values
        else:
            made.append(group)
    return made


def _without_infinite(penalty: Tensor) -> Tensor:
    return torch.where(torch.isinf(penalty), 0.0, penalty)


def _objective(S: Tensor, finite: Tensor, Omega: Tensor, L: Tensor) -> float:
    log_det = 2.0 * L.diagonal().log().sum()
    return _inner(S, Omega) + _inner(finite, Omega.abs()) - float(log_det)


def _solved(features: Tensor, S: Tensor, penalty: Tensor, start: Tensor | None) -> Group | None:
    """The solution of one group, S of unit diagonal."""
    m, finite, taken = len(S), _without_infinite(penalty), 0
    Omega, L, value = _begun(S, penalty, finite, start)
    size = S.abs().flatten()
    while True:
        rounding = torch.finfo(S.dtype).eps * (m + float(torch.dot(size, Omega.abs().flatten())))
        Sigma = symmetric(torch.cholesky_inverse(L))
        G = S - Sigma
        gap = _gap(value, S, G, penalty)
        if gap <= ROUNDING * rounding or taken == STEPS:
            break
        loose = max(min(LOOSE, math.sqrt(gap)) if math.isfinite(gap) else LOOSE, FINE)
        D = _newton_direction(Sigma, Omega, G, penalty, loose)
        found = _stepped(S, finite, Omega, value, D, G, rounding)
        if found is None:
            break
        Omega, L, value = found
        taken += 1
    if start is not None and not gap <= FAILED * (m + abs(value)):
        return _solved(features, S, penalty, None)  # the start was of no use
    return Group(features, S, Omega, Sigma, value, gap, taken) if math.isfinite(gap) else None


def _begun(S: Tensor, penalty: Tensor, finite: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor, float]:
    """The better of `start` and features by themselves, halfway between too; its factor and the objective there."""
    alone = (1.0 + penalty.diagonal()).reciprocal().diag()
    best = alone, alone.sqrt(), _objective(S, finite, alone, alone.sqrt())
    if start is None:
        return best
    start = torch.where(penalty.isinf(), 0.0, start)
    for Omega in (start, 0.5 * (alone + start)):
        L, info = torch.linalg.cholesky_ex(Omega)
        if int(info) == 0 and (value := _objective(S, finite, Omega, L)) < best[2]:
            best = Omega, L, value
    return best


def _gap(value: float, S: Tensor, G: Tensor, penalty: Tensor) -> float:
    """Duality gap, by the dual feasible matrix that is nearest to Sigma; inf where that is not positive definite."""
    W = S - torch.minimum(torch.maximum(G, -penalty), penalty)
    L, info = torch.linalg.cholesky_ex(W)
    if int(info) != 0:
        return math.inf
    return value - float(2.0 * L.diagonal().log().sum()) - len(S)


def _newton_direction(Sigma: Tensor, Omega: Tensor, G: Tensor, penalty: Tensor, loose: float) -> Tensor:
    """D for which Omega + D is nearly where the quadratic model, with its penalty, is least; G: gradient at Omega.

    Within the orthant of its signs by conjugate gradients, and, where entries would leave that, by rounds of these from
    where they become 0 (gradient projection: More & Toraldo 1991).
    """
    finite, free = _without_infinite(penalty), penalty == 0
    X, Q, gained = Omega, G, 0.0
    for _ in range(ROUNDS):
        on = X.sign()
        sign = torch.where(on != 0, on, torch.where(Q.abs() > penalty, -Q.sign(), 0.0))
        slope = torch.where((sign != 0) | free, Q + finite * sign, 0.0)
        kept = (sign != 0) | free
        exact = hessian(Sigma, kept, min(MOST, DIRECT * len(Q)))
        D = solved(Sigma, Omega, kept.to(Q), -slope, loose) if exact is None else exact.solve(-slope)
        size = 1.0
        while size > SMALLEST:
            whole = torch.add(X, D, alpha=size)
            T = torch.where(free | (whole.sign() == sign), whole, 0.0)
            E = T - X
            turned = symmetric(Sigma @ E @ Sigma)
            change = _inner(Q, E) + 0.5 * _inner(turned, E) + _inner(finite, T.abs() - X.abs())
            if change <= ARMIJO * _inner(slope, E):
                break
            size *= 0.5
        if not change < 0.0:
            break
        within = size == 1.0 and torch.equal(T, whole)
        X, Q, gained = T, Q + turned, gained + change
        if within or change > ENOUGH * gained:
            break
    return X - Omega


def _inner(A: Tensor, B: Tensor) -> float:
    return float(torch.dot(A.flatten(), B.flatten()))


def _stepped(
    S: Tensor, finite: Tensor, Omega: Tensor, value: float, D: Tensor, G: Tensor, rounding: float
) -> tuple[Tensor, Tensor, float] | None:
    """Omega after a step along D, its factor and the objective there; None where none goes down."""
    promised = _inner(G, D) + _inner(finite, (Omega + D).abs() - Omega.abs())
    size = 1.0
    for _ in range(HALVINGS):
        trial = torch.add(Omega, D, alpha=size)
        L, info = torch.linalg.cholesky_ex(trial)
        if int(info) == 0:
            reached = _objective(S, finite, trial, L)
            if reached <= value + ARMIJO * size * promised + rounding:
                return (trial, L, reached) if size == 1.0 or reached < value else None
        size *= 0.5
    return None
