"""Variational expectation-maximisation: the closed-form part of the parameters in turn with the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from plncli.errors import UsageError
from plncli.optim.base import Offer, Optimum, Point, Problem, Run, State, Status, StopRule
from plncli.optim.certificate import certify
from plncli.optim.newton_cg import NewtonCG
from plncli.optim.space import Space
from plncli.progress import OnStep


@dataclass(frozen=True)
class VEM:
    """Neal & Hinton 1998; for the Poisson log-normal model Chiquet, Mariadassou & Robin 2021.

    A step is one variational step (a few Newton steps with the closed-form part held) followed by the exact M-step,
    which the profiled objective makes by itself. inner: Newton steps in a variational step; products: Hessian products
    in each, few, since solving it further than the M-step lets it stand gains nothing.
    """

    name: ClassVar[str] = "vem"
    max_iter: int = 1000
    inner: int = 2
    products: int = 3
    window: int = 5

    def minimise(
        self,
        problem: Problem,
        stop: StopRule,
        on_step: OnStep | None = None,
        offer: Offer | None = None,
        state: State | None = None,
    ) -> Optimum:
        """Minimise until a window of steps gains little, and let the certificate judge."""
        if problem.alternate is None:
            raise UsageError(
                "The optimizer `vem` needs a model with a variational step, such as pln with a diagonal posterior. "
                "Use --optimizer newton-cg or lbfgs."
            )
        run = Run(stop, on_step, offer, state)
        space = Space(problem.start, problem.sampled)
        goal = stop.tol * problem.scale
        status = None
        if state is None:
            point = self._evaluated(problem, space, space.join(problem.start), run)
            threshold, mark, gap = goal, point.loss, math.nan
        else:
            point = Point.restored(problem, space, state, "x")
            threshold, mark, gap = state.number("threshold"), state.number("mark"), math.nan
        while status is None:
            run.offer({"x": point.x.detach()}, threshold=threshold, mark=mark)
            status = run.limit(self.max_iter) if math.isfinite(point.loss) else Status.DIVERGED
            if status is None and run.steps and problem.degenerate is not None and problem.degenerate(point.params):
                status = Status.DEGENERATE
            if status is not None:
                break
            with torch.no_grad():
                step = problem.alternate(space.split(point.x.detach()))
            inner = NewtonCG(products=self.products, certify_products=self.products).minimise(
                replace(step, degenerate=None), StopRule(tol=0.0, max_iter=self.inner)
            )
            run.evaluations += inner.evaluations - 1
            run.products += inner.products
            point = self._evaluated(problem, space, space.join(inner.params), run)
            if run.steps % self.window:
                continue
            gained, mark = mark - point.loss, point.loss
            if gained > threshold:
                continue
            gap = certify(problem, point, space, run).gap
            status = Status.CONVERGED if gap <= goal else run.unanswered(gap)
            if status is not None:
                break
            if gained <= 1e-4 * goal:
                status = Status.STALLED
            threshold *= 0.1
        if status is Status.MAX_ITER:
            gap = certify(problem, point, space, run).gap
        return run.end(point.params, point.loss, gap, point.space.norm(point.gradient().detach()), status)

    @staticmethod
    def _evaluated(problem: Problem, space: Space, x: torch.Tensor, run: Run) -> Point:
        point = Point(problem, space, x)
        run.evaluations += 1
        run.record(point.loss, point.space.norm(point.gradient().detach()), step_size=1.0 if run.trace else math.nan)
        return point
