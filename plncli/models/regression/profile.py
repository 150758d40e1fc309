"""Likelihood ratios of coefficients of a logistic regression, penalised or not, and intervals by them.

With b = c'gamma held, the other directions are where the objective is least: the profile. Twice what it lies above the
optimum is a likelihood ratio, chi2 with one degree of freedom, and the interval holds the values where that is below
its quantile (Venzon & Moolgavkar 1988; for Firth's penalty Heinze & Schemper 2002). The signed root of the ratio is
nearly linear in b: a limit takes a few steps of Newton's method on it. Where r combinations of coefficients are held at
once, the ratio has r degrees of freedom; Firth's penalty stays that of the whole design.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plncli.models.regression.evaluation import Evaluation, Prepared
from plncli.models.uncertainty import LikelihoodRatios, Ratios
from plncli.numerics.significance import quantile

STEPS = 60
NEAR = 1e-6
"""Nats: a ratio is known to that."""


@dataclass(frozen=True)
class Curve:
    """The profile of coefficient c'gamma of one response: its best value, standard error, and loss, in nats.

    gamma: the optimum, d×1; c: (d,), so that b = c'gamma; ahead: (d,), how gamma moves with b near the optimum.
    """

    prepared: Prepared
    gamma: Tensor
    c: Tensor
    ahead: Tensor
    best: float
    std_error: float
    loss: float

    def at(self, b: float, start: Tensor) -> tuple[float, float, Tensor]:
        """Root of twice the loss above the optimum with the coefficient held at b, its slope in b, and gamma there."""
        gamma = start + self.ahead[:, None] * (b - float(self.c @ start[:, 0]))
        found, _ = _least(self.prepared, gamma, self.c[None])
        gamma = found.gamma
        root = math.sqrt(2.0 * max(float(found.value) - self.loss, 0.0))
        slope = float(self.c @ found.gradient()[:, 0]) / float(self.c @ self.c)
        return root, slope / root if root else math.nan, gamma

    def limit(self, side: float, z: float) -> float:
        """Where the root is z above (side 1) or below (−1) the best value; nan where it is not found."""
        low, high, t, gamma = 0.0, math.inf, z * self.std_error, self.gamma
        tolerance = torch.finfo(gamma.dtype).eps ** 0.5
        for _ in range(STEPS):
            root, slope, gamma = self.at(self.best + side * t, gamma)
            if abs(root - z) <= tolerance * z:
                return self.best + side * t
            low, high = (t, high) if root < z else (low, t)
            after = t - (root - z) / (side * slope) if slope * side > 0 else math.nan
            if not low < after < min(high, 4.0 * t):
                after = 2.0 * t if math.isinf(high) else 0.5 * (low + high)
            t = after
        return math.nan


def likelihood_ratios(
    prepared: Prepared, gamma: Tensor, missing: Tensor, variance: Tensor, cancelled: Callable[[], None]
) -> LikelihoodRatios:
    """Signed roots of the ratios, and intervals, at an optimum gamma (d×p); nan where `missing` (d×p).

    variance: d×p, of the coefficients; `cancelled` is called before each, and raises to stop.
    """
    curves = {
        (k, j): curve
        for j in (~missing).any(0).nonzero()[:, 0].tolist()
        for k, curve in enumerate(_curves(prepared, gamma, j, variance[:, j]))
        if not missing[k, j] and math.isfinite(curve.std_error)
    }

    def of_all(number: Callable[[Curve], float]) -> Tensor:
        out = torch.full_like(variance, math.nan)
        for (k, j), curve in curves.items():
            cancelled()
            out[k, j] = number(curve)
        return out

    def intervals(level: float) -> tuple[Tensor, Tensor]:
        z = quantile(0.5 + 0.5 * level)
        return of_all(lambda curve: curve.limit(-1.0, z)), of_all(lambda curve: curve.limit(1.0, z))

    return LikelihoodRatios(of_all(lambda curve: math.copysign(curve.at(0.0, curve.gamma)[0], curve.best)), intervals)


def held(
    prepared: Prepared, gamma: Tensor, rows: Tensor, values: Tensor, std_error: Tensor, level: float | None
) -> Ratios:
    """Ratios where rows (r×d, of rank r) times the coefficients are held at values (r), gamma (d×p) being the optimum.

    std_error: (p,), nan for responses that are not tested, of the one combination where an interval of `level` is
    wanted. A statistic is nan, too, where the least loss was not found.
    """
    C = torch.linalg.solve_triangular(prepared.basis.T, rows, upper=True, left=False)  # of gamma
    statistic, low, high = (torch.full_like(std_error, math.nan) for _ in range(3))
    for j in torch.isfinite(std_error).nonzero()[:, 0].tolist():
        one, best = _of_one(prepared, j), gamma[:, j : j + 1]
        found = one.at(best)
        ahead = torch.linalg.solve(found.information[0], C.mT)  # H^-1 C'
        ahead = torch.linalg.solve(C @ ahead, ahead, left=False)
        loss = float(found.value)
        there = _found(one, best + ahead @ (values[:, None] - C @ best), C)
        statistic[j] = 2.0 * max(there - loss, 0.0) if math.isfinite(there) else math.nan
        if level is not None:
            z, now = quantile(0.5 + 0.5 * level), float(C[0] @ best[:, 0])
            curve = Curve(one, best, C[0], ahead[:, 0], now, float(std_error[j]), loss)
            low[j], high[j] = curve.limit(-1.0, z), curve.limit(1.0, z)
    return Ratios(statistic, low, high)


def _found(prepared: Prepared, gamma: Tensor, C: Tensor) -> float:
    """The least loss of `_least`; nan where it ends more than NEAR above it, or where that cannot be told."""
    there, left = _least(prepared, gamma, C)
    return float(there.value) if left <= NEAR else math.nan


def _least(prepared: Prepared, gamma: Tensor, C: Tensor) -> tuple[Evaluation, float]:
    """Where the objective of one response is least, C gamma (r×d, d×1) staying as it is, and what was left to gain."""
    N = torch.linalg.qr(C.mT, mode="complete").Q[:, len(C) :]  # the directions that leave it
    found, eps, promised = prepared.at(gamma), torch.finfo(gamma.dtype).eps, 0.0
    for _ in range(STEPS if N.shape[1] else 0):
        g = N.mT @ found.gradient()
        step = -_solved(N.mT @ found.hessians[0] @ N, N.mT @ found.information[0] @ N, g)
        promised = -float((g * step).sum())
        if not promised > 10.0 * eps * max(1.0, abs(float(found.value))):
            break
        size, better = 1.0, None
        while size > 1e-6 and better is None:
            trial = prepared.at(found.gamma + size * (N @ step))
            better = trial if float(trial.value) < float(found.value) else None
            size *= 0.5
        if better is None:
            break
        found = better
    return found, promised


def _of_one(prepared: Prepared, j: int) -> Prepared:
    """The same of one response."""
    data = prepared.data
    return replace(prepared, data=data.among(torch.arange(data.d), torch.tensor([j])), last={})


def _curves(prepared: Prepared, gamma: Tensor, j: int, variance: Tensor) -> list[Curve]:
    """The profiles of the coefficients of one response; variance: (d,)."""
    data, basis = prepared.data, prepared.basis
    one = _of_one(prepared, j)
    best = gamma[:, j : j + 1]
    found = one.at(best)
    rows = torch.linalg.solve_triangular(basis.T, torch.eye(data.d, dtype=gamma.dtype, device=gamma.device), upper=True)
    ahead = torch.linalg.solve(found.information[0], rows.mT)  # H^-1 c
    ahead = ahead / (rows.mT * ahead).sum(0)
    values = (rows @ best)[:, 0]
    return [
        Curve(one, best, rows[k], ahead[:, k], float(values[k]), float(variance[k]) ** 0.5, float(found.value))
        for k in range(data.d)
    ]


def _solved(H: Tensor, otherwise: Tensor, g: Tensor) -> Tensor:
    """H^-1 g where H is positive definite, else by the information; nan where none is left: mu is 0 or 1 throughout."""
    L, failed = torch.linalg.cholesky_ex(H)
    if bool(failed):
        L, failed = torch.linalg.cholesky_ex(otherwise)
    return torch.full_like(g, math.nan) if bool(failed) else torch.cholesky_solve(g, L)
