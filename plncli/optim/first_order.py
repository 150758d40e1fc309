"""Optimizers of torch.optim, driven through a closure on the full table, in variables of comparable curvature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.optim.base import Flat, Offer, OnStep, Optimum, Point, Problem, Run, State, Status, StopRule
from plncli.optim.certificate import certify

Stepper = Callable[[Tensor, float], torch.optim.Optimizer]
"""Makes the torch optimizer of a variable u for a learning rate."""

SHRINK = 0.5
RESTARTS = 40
"""How often the learning rate may shrink before a run counts as stalled, or as diverged."""
LOOK = 10
"""Steps between two looks at the boundary of the parameter space."""


class Closure:
    """Loss and gradient at u, where x = x0 + D u: what torch.optim calls. The last evaluation is kept.

    D = curvature^-½ at the start (1 where the problem states no curvature), so that one learning rate suits all
    parameters, whatever their units. Where the objective is not defined the loss is very large, but finite, for line
    searches that interpolate.
    """

    def __init__(self, problem: Problem, run: Run) -> None:
        self.problem, self.run = problem, run
        self.flat = Flat(problem.start)
        self.origin = self.flat.join(problem.start)
        self.scale = torch.ones_like(self.origin)
        if problem.curvature is not None:
            self.scale = self.flat.join(problem.curvature(problem.start)).rsqrt()
        self.u = torch.zeros_like(self.origin).requires_grad_(True)
        self._at: Tensor | None = None
        self.loss = math.inf

    def __call__(self) -> float:
        """The loss at u, with its gradient in u.grad."""
        if not self.known():
            self.run.evaluations += 1
            self._at = self.u.detach().clone()
            point = self.point(self._at)
            self.loss = point.loss
            gradient = point.gradient(again=False) if math.isfinite(point.loss) else torch.zeros_like(self.origin)
            self._gradient = gradient * self.scale
            self.grad_norm = float(gradient.norm())
        self.u.grad = self._gradient.clone()
        return self.loss if math.isfinite(self.loss) else torch.finfo(torch.float32).max

    def known(self) -> bool:
        """Whether the last evaluation was that at u."""
        return self._at is not None and torch.equal(self._at, self.u)

    def point(self, u: Tensor) -> Point:
        """The point x of a variable u."""
        return Point(self.problem, self.flat, torch.addcmul(self.origin, self.scale, u.detach()))

    def params(self, u: Tensor) -> Params:
        """The parameters of a variable u."""
        return self.flat.split(torch.addcmul(self.origin, self.scale, u.detach()))


def descend(
    problem: Problem,
    run: Run,
    state: State | None,
    stepper: Stepper,
    learning_rate: float,
    max_iter: int,
    window: int,
) -> Optimum:
    """Step until a window of steps gains little, then ask the certificate; where it says no, go on from the best point.

    Where a window gains next to nothing the learning rate shrinks too; and a window has to gain ten times less than the
    last time before the certificate is asked again.
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
        best_u = state.tensors["best_u"].to(closure.u, copy=True)
        best, best_norm, rate, restarts, threshold, mark, since, gap, gained = (state.facts[name] for name in NUMBERS)
        with torch.no_grad():
            closure.u.copy_(state.tensors["u"])
        if state.facts["known"]:
            closure()
            run.evaluations -= 1  # which is counted already
        optimizer = stepper(closure.u, rate)
        _restore(optimizer, state)
        status = None if state.facts["ended"] is None else Status[state.facts["ended"]]

    def offer(ended: str | None = None) -> None:
        numbers = (best, best_norm, rate, restarts, threshold, mark, since, gap, gained)
        kept, scalars = _taken_apart(optimizer)
        facts = dict(zip(NUMBERS, numbers, strict=True)) | {"known": closure.known(), "ended": ended}
        run.offer({"u": closure.u.detach(), "best_u": best_u, **kept}, **facts, optimizer=scalars)

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
                status = Status.DEGENERATE
                break
            lost = not math.isfinite(closure.loss)
            if since < window and not lost:
                continue
            gained, mark, since = mark - best, best, 0
        if lost or gained <= threshold:
            if not lost:
                products = run.products
                gap = certify(problem, closure.point(best_u), closure.flat, run).gap
                status = Status.CONVERGED if gap <= goal else run.unanswered(gap)
                if status is not None and status is not Status.CONVERGED:
                    run.products = products  # those of a certificate that will be asked for again
                    offer()
                if status is not None:
                    break
                threshold = max(0.1 * threshold, 1e-6 * goal)
            restarts += 1
            if restarts > RESTARTS:
                status = Status.DIVERGED if lost else Status.STALLED
                break
            if lost or gained <= 0.1 * goal:
                rate *= SHRINK
                with torch.no_grad():
                    closure.u.copy_(best_u)
                optimizer = stepper(closure.u, rate)
        gained = math.nan
    if status not in LIMITS:
        offer(ended=status.name)  # the tensors that were offered last have changed since
    if status is Status.MAX_ITER:
        gap = certify(problem, closure.point(best_u), closure.flat, run).gap
    return run.end(closure.params(best_u), best, gap, best_norm, status)


LIMITS = (Status.MAX_ITER, Status.TIME_LIMIT, Status.INTERRUPTED)
"""Ways to end after which more can be done."""
NUMBERS = ("best", "best_norm", "rate", "restarts", "threshold", "mark", "since", "gap", "gained")
"""What of a descent is no tensor."""


def _taken_apart(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a torch optimizer remembers, as tensors and as JSON, by its path: `old_dirs.3`."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, value in optimizer.state_dict()["state"].get(0, {}).items():
        if isinstance(value, Tensor):
            tensors[f"optimizer.{name}"] = value
        elif isinstance(value, list) and any(isinstance(entry, Tensor) for entry in value):
            tensors |= {f"optimizer.{name}.{i}": entry for i, entry in enumerate(value) if isinstance(entry, Tensor)}
            scalars[name] = [None] * len(value)
        else:
            scalars[name] = value
    return tensors, scalars


def _restore(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Give a torch optimizer back what it remembered."""
    known: dict[str, Any] = dict(state.facts["optimizer"])
    for path, tensor in state.tensors.items():
        whole, _, name = path.partition(".")
        name, _, index = name.partition(".")
        if whole == "optimizer" and index:
            known[name] = [*known[name]]
            known[name][int(index)] = tensor.clone()
        elif whole == "optimizer":
            known[name] = tensor.clone()
    if known:  # as they are: load_state_dict would turn them into the dtype of the parameters
        (parameter,) = optimizer.param_groups[0]["params"]
        optimizer.state[parameter] = known


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

        return descend(
            problem, Run(stop, on_step, offer, state), state, stepper, self.learning_rate, self.max_iter, self.window
        )


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
