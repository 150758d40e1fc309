"""Optimizers of torch.optim, driven through a closure on the full table, in variables of comparable curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.errors import unfit
from plncli.optim.base import MANY, Offer, Optimum, Point, Problem, Run, Space, State, Status, StopRule
from plncli.optim.certificate import certify
from plncli.progress import OnStep

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
        self.space = Space(problem.start)
        self.origin = self.space.join(problem.start)
        self.scale = torch.ones_like(self.origin)
        if problem.curvature is not None:
            self.scale = self.space.join(problem.curvature(problem.start)).rsqrt()
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
            self.grad_norm = self.space.norm(gradient)
        self.u.grad = self._gradient.clone()
        return self.loss if math.isfinite(self.loss) else torch.finfo(torch.float32).max

    def known(self) -> bool:
        """Whether the last evaluation was that at u."""
        return self._at is not None and torch.equal(self._at, self.u)

    def point(self, u: Tensor) -> Point:
        """The point x of a variable u."""
        return Point(self.problem, self.space, torch.addcmul(self.origin, self.scale, u.detach()))

    def params(self, u: Tensor) -> Params:
        """The parameters of a variable u."""
        return self.space.split(torch.addcmul(self.origin, self.scale, u.detach()))


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
        _restore(optimizer, state, stepper)
        status = _ended(state)
        if status is Status.STALLED:
            products = run.products
            gap = certify(problem, point, closure.space, run).gap
            run.products = products  # which are counted already

    def offer(**more: Any) -> None:
        numbers = {"rate": rate, "restarts": restarts, "threshold": threshold, "mark": mark, "since": since}
        kept, scalars = _taken_apart(optimizer)
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


def _ended(state: State) -> Status | None:
    """How the descent had ended, None where it had not. DataError for an ending that is found anew instead."""
    name = state.facts.get("ended")
    if name is not None and name not in [status.name for status in ENDINGS]:
        raise unfit(f"it ended as {name!r}"[:100])
    return None if name is None else Status[name]


def _restore(optimizer: torch.optim.Optimizer, state: State, stepper: Stepper) -> None:
    """Give a torch optimizer back what it remembered. DataError where it would remember other things."""
    scalars = state.facts.get("optimizer")
    known: dict[str, Any] = dict(scalars) if isinstance(scalars, dict) else {}
    for path, tensor in state.tensors.items():
        whole, _, name = path.partition(".")
        name, _, index = name.partition(".")
        if whole == "optimizer" and index:
            if not isinstance(known.get(name), list) or index not in map(str, range(len(known[name]))):
                raise unfit(f"its {path} has no place")
            known[name] = [*known[name]]
            known[name][int(index)] = tensor.clone()
        elif whole == "optimizer":
            known[name] = tensor.clone()
    if known:  # as they are: load_state_dict would turn them into the dtype of the parameters
        (parameter,) = optimizer.param_groups[0]["params"]
        _check_memory(known, parameter, stepper)
        optimizer.state[parameter] = known


def _check_memory(known: Mapping[str, Any], u: Tensor, stepper: Stepper) -> None:
    """DataError unless a torch optimizer that has made a few steps remembers things of the same names and kinds."""
    first, later = (_remembered(u, stepper, steps) for steps in (1, 4))
    begun = {*first} if known.get("n_iter") != 0 else set()  # L-BFGS at a gradient of 0 has not begun
    if not begun <= {*known} <= {*later}:
        raise unfit("its optimizer remembers other things")
    for name, value in known.items():
        if not (_alike(value, later[name], u) or (name in first and _alike(value, first[name], u))):
            raise unfit(f"its optimizer remembers another {name}")
    lengths = {
        len(known[name]) for name, value in later.items() if isinstance(value, list) and name in {*first} & {*known}
    }
    if len(lengths) > 1:
        raise unfit("its optimizer remembers unequal histories")


def _remembered(u: Tensor, stepper: Stepper, steps: int) -> dict[str, Any]:
    """What a torch optimizer remembers of a variable (2,) like u after a few steps down ½|v − 1|⁴."""
    v = torch.zeros_like(u[:1]).repeat(2).requires_grad_(True)
    optimizer = stepper(v, 0.1)

    def closure() -> float:
        away = v.detach() - 1.0
        v.grad = 2.0 * away**3
        return float(0.5 * (away**4).sum())

    for _ in range(steps):
        closure()
        optimizer.step(closure)
    return dict(optimizer.state[v])


def _alike(value: Any, example: Any, u: Tensor) -> bool:
    """Whether a value is of the kind of an example, which belongs to a variable (2,), for u (m,)."""
    if isinstance(example, Tensor):
        shape = u.shape if example.ndim else example.shape
        return isinstance(value, Tensor) and value.shape == shape and value.dtype == example.dtype
    if isinstance(example, list):
        entry = next((one for one in example if one is not None), None)
        empty = None in example
        return isinstance(value, list) and all((empty and one is None) or _alike(one, entry, u) for one in value)
    number = isinstance(value, float) or (type(value) is int and abs(value) <= MANY)
    return number if isinstance(example, int | float) else value is None and example is None


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
