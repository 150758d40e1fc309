"""How far is the optimum? The Newton decrement, from one conjugate-gradient solve of the Newton system.

At a point with gradient g and Hessian H, half of g'H⁻¹g is the decrease that the quadratic model promises: an
estimate of the nats still to gain, which does not depend on the scale or the coordinates of the parameters
(Boyd & Vandenberghe 2004, section 9.5). It is the only judge of "converged", for every optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.optim.base import Flat, Point, Problem, Run

TIGHT = 0.1
"""Residual, relative and in the preconditioner's norm, at which a decrement counts as an estimate of the gap."""
DELAY = 4
"""The decrement also counts only once this many iterations together add less than `TIGHT` of it."""

LinearMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NewtonSolve:
    """Solution of H d = −g by conjugate gradients.

    direction: (m,). decrement: −½ g'd, in nats. solved: tight enough to certify. curved: negative curvature was met.
    """

    direction: Tensor
    decrement: float
    solved: bool
    curved: bool


def newton_solve(point: Point, precondition: LinearMap, forcing: float, goal: float, cap: int, run: Run) -> NewtonSolve:
    """Truncated preconditioned conjugate gradients (Steihaug 1983; Dembo & Steihaug 1983) on H d = −g.

    Ends at a residual below `forcing` (relative, in the preconditioner's norm) — or, where the decrement found so far
    is at most `goal` nats, only once it is tight, so that a small number is not mistaken for a small gap —, on negative
    curvature, or after `cap` products. A gradient that is zero to rounding is a solution as it stands.
    """
    r = point.gradient().detach().clone()
    d = torch.zeros_like(r)
    z = precondition(r)
    rz = float(r @ z)
    if 0.5 * rz <= 1e-3 * torch.finfo(r.dtype).eps * max(1.0, abs(point.loss)):
        return NewtonSolve(-z, 0.5 * rz, solved=True, curved=False)
    s = -z
    first, decrement, gains = rz, 0.0, [math.inf] * DELAY
    for k in range(cap):
        if k and run.out_of_time():
            break
        Hs = point.product(s)
        run.products += 1
        curvature = float(s @ Hs)
        if not curvature > 1e-14 * rz:
            direction = d if k else -z
            return NewtonSolve(direction, decrement if k else 0.5 * rz, solved=False, curved=True)
        step = rz / curvature
        d.add_(s, alpha=step)
        r.add_(Hs, alpha=step)
        gain = 0.5 * step * rz
        decrement += gain
        gains = [*gains[1:], gain]
        z = precondition(r)
        previous, rz = rz, float(r @ z)
        residual = math.sqrt(max(rz, 0.0) / first)
        tight = residual <= TIGHT and (sum(gains) <= TIGHT * decrement or residual <= TIGHT**3)
        enough = max(forcing, 0.3 * math.sqrt(goal / decrement)) if decrement > goal else 1.0
        if residual <= enough and (tight or decrement > goal):
            return NewtonSolve(d, decrement, solved=tight, curved=False)
        s.mul_(rz / previous).sub_(z)
    return NewtonSolve(d, decrement, solved=False, curved=False)


def preconditioner_at(problem: Problem, point: Point, flat: Flat) -> LinearMap:
    """The problem's preconditioner at a point, on vectors; the identity when it has none."""
    if problem.precondition is None:
        return lambda v: v
    apply = problem.precondition({name: tensor.detach() for name, tensor in point.params.items()})
    return lambda v: flat.join(apply(flat.split(v)))


@dataclass(frozen=True)
class Certificate:
    """`gap`: estimated nats left; nan on negative curvature, or where the Newton system was not solved."""

    gap: float
    grad_norm: float


def certify(problem: Problem, point: Point, flat: Flat, run: Run, cap: int = 1000) -> Certificate:
    """Estimate the nats left at a point."""
    g = point.gradient().detach()
    grad_norm = float(g.norm())
    if grad_norm == 0.0 or not math.isfinite(grad_norm):
        return Certificate(0.0 if grad_norm == 0.0 else math.nan, grad_norm)
    solve = newton_solve(point, preconditioner_at(problem, point, flat), TIGHT, math.inf, cap, run)
    return Certificate(solve.decrement if solve.solved else math.nan, grad_norm)
