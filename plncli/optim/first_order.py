"""Optimizers of torch.optim, driven through a closure on the full table, in variables of comparable curvature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.errors import unfit
from plncli.optim.base import Offer, Optimum, Problem, Run, State, Status, StopRule
from plncli.optim.certificate import certify
from plncli.optim.closure import Closure, Stepper, restore, taken_apart
from plncli.optim.training import train
from plncli.progress import OnStep

SHRINK = 0.5
RESTARTS = 40
"""How often the learning rate may shrink before a run counts as stalled, or as diverged."""
LOOK = 10
"""Steps between two looks at the boundary of the parameter space."""


def descend(
    problem: Problem,
    run: Run,
    state: State | None,
    stepper: Stepper,
    learning_rate: float,
    max_iter: int,
    window: int,
) -> Optimum:  # long: one loop, whose parts all read and change one state
    """Step until a window of steps gains little, then ask the certificate; where it says no, go on from the best point.

    Where a window gains next to nothing the learning rate shrinks too; and a window has to gain ten times less than the
    last time before the certificate is asked again.

    state: is believed in how it came about, and not in where it stands: the loss and the gap there are found anew.
    """
    closure = Closure(problem, run)
    goal = run.stop.tol * problem.scale
    if state is None:
        closure()
        run.record(closure.loss, closure.grad_norm)
        best, best_u, best_norm = closure.loss, closure.u.detach().clone(), closure.grad_norm
        rate, restarts, threshold, mark, since, gap, gained = learning_rate, 0, goal, best, 0, math.nan, math.nan
        optimizer = stepper(closure.u, rate)
        status = None if math.isfinite(best) else Status.DIVERGED
    else:
        best_u = state.tensor("best_u", closure.origin)
        point = closure.point(best_u)
        if not math.isfinite(point.loss):
            raise unfit("the objective is not finite where it is best")
        best, best_norm = point.loss, closure.space.norm(point.gradient(again=False))
        rate, threshold = state.number("rate", 0.0), state.number("threshold")
        mark, gained, gap = state.number("mark"), state.number("gained"), math.nan
        restarts, since = state.count("restarts"), state.count("since")
        with torch.no_grad():
            closure.u.copy_(state.tensor("u", closure.origin))
        if state.facts.get("known"):
            closure()
            run.evaluations -= 1  # which is counted already
        optimizer = stepper(closure.u, rate)
        restore(optimizer, state, stepper)
        status = _ended(state)
        if status is Status.STALLED:
            products = run.products
            gap = certify(problem, point, closure.space, run).gap
            run.products = products  # which are counted already

    def offer(**more: Any) -> None:
        numbers = {"rate": rate, "restarts": restarts, "threshold": threshold, "mark": mark, "since": since}
        kept, scalars = taken_apart(optimizer)
        facts = numbers | {"gained": gained, "known": closure.known(), "ended": None, "optimizer": scalars} | more
        run.offer({"u": closure.u.detach(), "best_u": best_u, **kept}, **facts)

    lost = False
    while status is None:
        if math.isnan(gained):  # else the state is one in which a certificate was cut short
            offer()
            status = run.limit(max_iter)
            if status is not None:
                break
            optimizer.step(closure)
            closure()
            run.record(closure.loss, closure.grad_norm, step_size=rate)
            since += 1
            if closure.loss < best:
                best, best_norm = closure.loss, closure.grad_norm
                best_u.copy_(closure.u.detach())
            if problem.degenerate is not None and run.steps % LOOK == 0 and problem.degenerate(closure.params(best_u)):
                gap, status = math.nan, Status.DEGENERATE
                break
            lost = not math.isfinite(closure.loss)
            if since < window and not lost:
                continue
            gained, mark, since = mark - best, best, 0
        if lost or gained <= threshold:
            if not lost:
                products = run.products
                gap = certify(problem, closure.point(best_u), closure.space, run).gap
                status = Status.CONVERGED if gap <= goal else run.unanswered(gap)
                if status is not None:
                    offer(products=products)  # for the certificate will be asked for again
                    break
                threshold = max(0.1 * threshold, 1e-6 * goal)
            restarts += 1
            if restarts > RESTARTS:
                gap, status = (math.nan, Status.DIVERGED) if lost else (gap, Status.STALLED)
                break
            if lost or gained <= 0.1 * goal:
                rate *= SHRINK
                with torch.no_grad():
                    closure.u.copy_(best_u)
                optimizer = stepper(closure.u, rate)
        gained = math.nan
    if status in ENDINGS:
        offer(ended=status.name)  # the tensors that were offered last have changed since
    if status is Status.MAX_ITER:
        gap = certify(problem, closure.point(best_u), closure.space, run).gap
    return run.end(closure.params(best_u), best, gap, best_norm, status)


ENDINGS = (Status.STALLED, Status.DIVERGED, Status.DEGENERATE)
"""Ways to end after which nothing can be done, and nothing is certified."""


def _ended(state: State) -> Status | None:
    """How the descent had ended, None where it had not. DataError for an ending that is found anew instead."""
    name = state.facts.get("ended")
    if name is not None and name not in [status.name for status in ENDINGS]:
        raise unfit(f"it ended as {name!r}"[:100])
    return None if name is None else Status[name]


@dataclass(frozen=True)
class FirstOrder:
    """An optimizer of torch.optim by its name there, and its settings."""

    name: ClassVar[str]
    learning_rate: float
    max_iter: int = 20_000
    window: int = 50
    algorithm: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}

    def minimise(
        self,
        problem: Problem,
        stop: StopRule,
        on_step: OnStep | None = None,
        offer: Offer | None = None,
        state: State | None = None,
    ) -> Optimum:
        """Minimise with full-batch steps until they gain little, and let the certificate judge."""

        def stepper(u: Tensor, rate: float) -> torch.optim.Optimizer:
            return getattr(torch.optim, self.algorithm)([u], lr=rate, **self.settings)

        run = Run(stop, on_step, offer, state)
        if problem.trained:
            return train(problem, run, state, stepper, self.learning_rate, self.max_iter)
        return descend(problem, run, state, stepper, self.learning_rate, self.max_iter, self.window)


@dataclass(frozen=True)
class Rprop(FirstOrder):
    """Riedmiller & Braun 1993: the sign of each derivative, with a step size of its own for each parameter."""

    name: ClassVar[str] = "rprop"
    algorithm: ClassVar[str] = "Rprop"
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Adam(FirstOrder):
    """Kingma & Ba 2015."""

    name: ClassVar[str] = "adam"
    algorithm: ClassVar[str] = "Adam"
    learning_rate: float = 0.1


@dataclass(frozen=True)
class NAdam(FirstOrder):
    """Adam with Nesterov momentum (Dozat 2016)."""

    name: ClassVar[str] = "nadam"
    algorithm: ClassVar[str] = "NAdam"
    learning_rate: float = 0.1


@dataclass(frozen=True)
class RAdam(FirstOrder):
    """Adam with a rectified second moment (Liu et al. 2020)."""

    name: ClassVar[str] = "radam"
    algorithm: ClassVar[str] = "RAdam"
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Adamax(FirstOrder):
    """Adam in the maximum norm (Kingma & Ba 2015, section 7.1)."""

    name: ClassVar[str] = "adamax"
    algorithm: ClassVar[str] = "Adamax"
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Adagrad(FirstOrder):
    """Duchi, Hazan & Singer 2011."""

    name: ClassVar[str] = "adagrad"
    algorithm: ClassVar[str] = "Adagrad"
    learning_rate: float = 0.5


@dataclass(frozen=True)
class RMSprop(FirstOrder):
    """Tieleman & Hinton 2012, with momentum."""

    name: ClassVar[str] = "rmsprop"
    algorithm: ClassVar[str] = "RMSprop"
    settings: ClassVar[dict[str, Any]] = {"momentum": 0.9}
    learning_rate: float = 0.01


@dataclass(frozen=True)
class SGD(FirstOrder):
    """Gradient descent on the full table with Nesterov momentum 0.9."""

    name: ClassVar[str] = "sgd"
    algorithm: ClassVar[str] = "SGD"
    settings: ClassVar[dict[str, Any]] = {"momentum": 0.9, "nesterov": True}
    learning_rate: float = 0.1
