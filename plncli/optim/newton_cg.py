"""Truncated Newton: conjugate gradients on the Newton system, with a line search. The default optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli.optim.base import Offer, Optimum, Point, Problem, Run, State, Status, StopRule
from plncli.optim.certificate import LinearMap, newton_solve, preconditioner_at
from plncli.optim.space import Space
from plncli.progress import OnStep

ARMIJO = 1e-4
"""Share of the promised decrease that a step must keep (Nocedal & Wright 2006, section 3.1)."""
HALVINGS = 40
FAR = 50.0
"""Nats a sample, in the preconditioner's estimate, at which a Newton system is solved most loosely."""
AGAIN = 0.1
"""Share of what a step promised that stiff directions must promise after it to be worth a correction."""
FAITHFUL = 0.8
"""Share of what was promised that a step must keep to need none."""
LOOSE, CORRECTION = 0.3, 12
"""Residual at which a correction ends, and its products at most."""
POLISH = 3
"""Further steps after the tolerance is met where a Newton step is direct, and so costs one product: to rounding."""


@dataclass(frozen=True)
class NewtonCG:
    """Newton-CG with a line search (Nocedal & Wright 2006, algorithm 7.1), within a trust radius where it needs one.

    There is none until a step has shown that the quadratic model goes too far: a whole step fails or keeps little of
    what was promised, or the curvature is negative (Steihaug 1983; Conn, Gould & Toint 2000, section 7.5.1); but where
    negative curvature is to be expected there is one from the start.
    `products` caps the Hessian products of a step; `certify_products` those of the step that ends the run.

    Steps follow the problem's curves where it knows them (`Point.curve`). Where a step still leaves the floor of a
    valley, so that stiff directions promise again a good part of what it has gained, a few products with the same
    preconditioner take it back there: as the correction of second order does in constrained problems (Nocedal & Wright
    2006, section 15.6).
    """

    name: ClassVar[str] = "newton-cg"
    max_iter: int = 500
    products: int = 300
    certify_products: int = 1000

    def minimise(
        self,
        problem: Problem,
        stop: StopRule,
        on_step: OnStep | None = None,
        offer: Offer | None = None,
        state: State | None = None,
    ) -> Optimum:
        """Minimise; each row of the trace carries the gap estimated at its point.

        Far from the optimum the Newton system is solved loosely: there, and where a limit ends the run, the gap is a
        lower estimate. A run is only called converged on a tight one.
        """
        run = Run(stop, on_step, offer, state)
        space = Space(problem.start, problem.sampled)
        goal = stop.tol * problem.scale
        size, polished, radius, gap, status = math.nan, 0, 0.0 if problem.curved else math.inf, math.nan, None
        if state is None:
            point = Point(problem, space, space.join(problem.start))
            run.evaluations += 1
        else:
            point = Point.restored(problem, space, state, "x")
            size, polished = state.number("size"), state.count("polished")
            radius = state.number("radius", 0.0)
        while True:
            run.offer({"x": point.x.detach()}, steps=len(run.trace), size=size, polished=polished, radius=radius)
            reached = run.seconds
            g = point.gradient().detach()
            grad_norm = space.norm(g)
            if not (math.isfinite(point.loss) and math.isfinite(grad_norm)):
                status = Status.DIVERGED
                run.record(point.loss, grad_norm, step_size=size)
                break
            if grad_norm == 0.0:
                gap, status = 0.0, Status.CONVERGED
                run.record(point.loss, grad_norm, gap, size)
                break
            if run.trace and problem.degenerate is not None and problem.degenerate(point.params):
                gap, status = math.nan, Status.DEGENERATE  # before anything is solved here that would be solved again
                run.record(point.loss, grad_norm, step_size=size, seconds=reached)
                break
            precondition = preconditioner_at(problem, point, space)
            nats = 0.5 * max(float(space.dot(g, precondition(g))), 0.0) / problem.scale
            forcing = min(0.5, (nats / FAR) ** 0.25)
            solve = newton_solve(point, precondition, forcing, goal, self.products, run, radius)
            if solve.decrement <= goal and not (solve.solved or solve.curved):
                solve = newton_solve(point, precondition, forcing, goal, self.certify_products, run)
            small = solve.decrement <= goal
            certified = small and solve.solved
            gap = math.nan if solve.curved or (small and not certified) else solve.decrement
            run.record(point.loss, grad_norm, gap, size, reached)
            if certified and not (problem.exact and polished < POLISH):
                status = Status.CONVERGED
                break
            polished += certified
            status = run.limit(self.max_iter)
            if status is not None:
                break
            direction, slope, promised = solve.direction, float(space.dot(g, solve.direction)), solve.decrement
            length, cut, curve = solve.length, solve.cut, point.curve(solve.direction)
            del g, solve  # and the point's graph: the search makes graphs of its own
            point.release()
            trial, size = self._search(problem, space, point, direction, curve, slope, run)
            del direction, curve
            if trial is None:
                status = Status.CONVERGED if certified else Status.PRECISION
                break
            if cut or point.loss - trial.loss < FAITHFUL * promised:
                trial = self._corrected(problem, space, trial, precondition, size * promised, goal, radius, run)
            radius = _next_radius(radius, size, length, cut, (point.loss - trial.loss) / promised)
            point = trial
            del precondition, trial
        return run.end(point.params, point.loss, gap, grad_norm, status)

    def _corrected(
        self,
        problem: Problem,
        space: Space,
        point: Point,
        precondition: LinearMap,
        promised: float,
        goal: float,
        radius: float,
        run: Run,
    ) -> Point:
        """The point after a step, or one below it, where stiff directions promise much of what the step `promised`."""
        g = point.gradient().detach()
        again = 0.5 * float(space.dot(g, precondition(g)))
        if not again >= max(AGAIN * promised, goal) or run.out_of_time():  # nan: no
            return point
        solve = newton_solve(point, precondition, LOOSE, 0.0, CORRECTION, run, radius)
        slope = float(space.dot(g, solve.direction))
        below, _ = self._search(problem, space, point, solve.direction, point.curve(solve.direction), slope, run)
        return point if below is None else below

    @staticmethod
    def _search(
        problem: Problem,
        space: Space,
        point: Point,
        direction: Tensor,
        curve: Tensor | None,
        slope: float,
        run: Run,
    ) -> tuple[Point | None, float]:
        """Armijo backtracking from a unit step; a trial outside the objective's domain is a rejected trial."""
        if not slope < 0.0:
            return None, math.nan
        rounding = 4.0 * torch.finfo(point.x.dtype).eps * abs(point.loss)
        size = 1.0
        for _ in range(HALVINGS):
            x = torch.add(point.x.detach(), direction, alpha=size)
            trial = Point(problem, space, x if curve is None else x.add_(curve, alpha=size * size))
            run.evaluations += 1
            if math.isfinite(trial.loss) and trial.loss <= point.loss + ARMIJO * size * slope + rounding:
                # Below rounding a step is only taken whole, and only once (it polishes); else it would go on for ever.
                return (trial, size) if size == 1.0 or trial.loss < point.loss else (None, math.nan)
            size *= 0.5
        return None, math.nan


def _next_radius(radius: float, size: float, length: float, cut: bool, kept: float) -> float:
    """The trust radius after a step: `size` of a direction of that length, which kept a share of what was promised.

    Negative curvature sets the first one: without any, each step there ends with one product, at the preconditioned
    gradient. With it, a step that keeps its promise goes four times as far next time.
    """
    if size < 1.0 or kept < 0.25:
        return 2.0 * size * length if size < 1.0 else 0.5 * length
    if not cut:
        return radius
    reached = radius if 0.0 < radius < math.inf else length  # cut without a radius: the curvature was negative
    return 4.0 * reached if kept > 0.5 else reached
