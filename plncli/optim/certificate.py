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

from plncli.optim.base import Point, Problem, Run
from plncli.optim.space import Space

TIGHT = 0.1
"""Residual, relative and in the preconditioner's norm, at which a decrement counts as an estimate of the gap."""
DELAY = 4
"""The decrement also counts only once this many iterations together add less than `TIGHT` of it."""

FIRST = 16.0
"""The first trust radius where negative curvature is to be expected, in lengths of the preconditioned gradient: without
any, a direction that hardly curves is followed to where nothing is as it was; with a short one, every step is cut."""

LinearMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NewtonSolve:
    """Solution of H d = −g by conjugate gradients, within a trust region.

    direction: (m,). length: its norm in the preconditioner's metric. decrement: nats that the quadratic model promises
    for it. solved: tight enough to certify. cut: ended by the radius, or by negative curvature (`curved`).
    """

    direction: Tensor
    length: float
    decrement: float
    solved: bool
    cut: bool
    curved: bool


def newton_solve(
    point: Point,
    precondition: LinearMap,
    forcing: float,
    goal: float,
    cap: int,
    run: Run,
    radius: float = math.inf,
) -> NewtonSolve:
    """Truncated preconditioned conjugate gradients (Steihaug 1983; Toint 1981) on H d = −g.

    Ends at a residual below `forcing` (relative, in the preconditioner's norm) — or, where the decrement found so far
    is at most `goal` nats, only once it is tight, so that a small number is not mistaken for a small gap —, at the
    radius (0: FIRST times the preconditioned gradient), on negative curvature (then at the radius too, if there is
    one), or after `cap` products. A gradient that is zero to rounding is a solution as it stands.
    """
    dot = point.space.dot
    r = point.gradient().detach().clone()
    d = torch.zeros_like(r)
    z = precondition(r)
    rz = float(dot(r, z))
    if not rz >= 0.0:  # rounding has made the preconditioner indefinite, or nan: it would promise anything
        precondition, z, rz = torch.clone, r.clone(), float(dot(r, r))
    if 0.5 * rz <= 1e-3 * torch.finfo(r.dtype).eps * max(1.0, abs(point.loss)):
        return NewtonSolve(-z, math.sqrt(max(rz, 0.0)), 0.5 * rz, solved=True, cut=False, curved=False)
    radius = radius or FIRST * math.sqrt(rz)
    s = -z
    del z
    dd, ds, ss = 0.0, 0.0, rz  # inner products of d and s in the preconditioner's metric
    first, decrement, gains = rz, 0.0, [math.inf] * DELAY
    for k in range(cap):
        if k and run.out_of_time():
            break
        Hs = point.product(s)
        run.products += 1
        bend = dot(s, Hs)
        r.addcmul_(Hs, rz / bend)  # in vain where the step is cut short: so the host waits once an iteration
        del Hs  # large, as z is: the next product needs the room
        z = precondition(r)
        curvature, after = torch.stack([bend, dot(r, z)]).tolist()
        curved = not curvature > 1e-14 * ss
        step = math.inf if curved else rz / curvature
        if dd + 2.0 * step * ds + step * step * ss >= radius * radius or curved:
            if math.isfinite(radius):
                step = (math.sqrt(ds * ds + ss * (radius * radius - dd)) - ds) / ss
            else:
                step = 1.0 if k == 0 else 0.0
            d.add_(s, alpha=step)
            decrement += step * rz - 0.5 * step * step * curvature
            length = math.sqrt(max(dd + 2.0 * step * ds + step * step * ss, 0.0))
            return NewtonSolve(d, length, decrement, solved=False, cut=True, curved=curved)
        d.add_(s, alpha=step)
        dd, ds = dd + 2.0 * step * ds + step * step * ss, ds + step * ss
        gain = 0.5 * step * rz
        decrement += gain
        gains = [*gains[1:], gain]
        previous, rz = rz, after
        if not rz >= 0.0:  # an indefinite preconditioner: nothing is solved
            break
        residual = math.sqrt(max(rz, 0.0) / first)
        tight = residual <= TIGHT and (sum(gains) <= TIGHT * decrement or residual <= TIGHT**3)
        enough = max(forcing, 0.3 * math.sqrt(goal / decrement)) if decrement > goal else 1.0
        if residual <= enough and (tight or decrement > goal):
            return NewtonSolve(d, math.sqrt(dd), decrement, solved=tight, cut=False, curved=False)
        beta = rz / previous
        s.mul_(beta).sub_(z)
        del z
        ds, ss = beta * ds, rz + beta * beta * ss
    return NewtonSolve(d, math.sqrt(dd), decrement, solved=False, cut=False, curved=False)


def preconditioner_at(problem: Problem, point: Point, space: Space) -> LinearMap:
    """The problem's preconditioner at a point, on vectors; the identity when it has none."""
    if problem.precondition is None:
        return lambda v: v
    apply = problem.precondition({name: tensor.detach() for name, tensor in point.params.items()})
    return lambda v: space.join(apply(space.split(v)))


@dataclass(frozen=True)
class Certificate:
    """`gap`: estimated nats left; nan on negative curvature, or where the Newton system was not solved."""

    gap: float
    grad_norm: float


def certify(problem: Problem, point: Point, space: Space, run: Run, cap: int = 1000) -> Certificate:
    """Estimate the nats left at a point."""
    g = point.gradient().detach()
    grad_norm = space.norm(g)
    if grad_norm == 0.0 or not math.isfinite(grad_norm):
        return Certificate(0.0 if grad_norm == 0.0 else math.nan, grad_norm)
    solve = newton_solve(point, preconditioner_at(problem, point, space), TIGHT, math.inf, cap, run)
    return Certificate(solve.decrement if solve.solved else math.nan, grad_norm)
