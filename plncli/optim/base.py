"""Problem, stop rule, statuses, trace: what all optimizers share."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Differentiated, Params
from plncli.errors import unfit
from plncli.optim.space import Space
from plncli.progress import OnStep, Step


class Status(Enum):
    """Every way a fit can end, with the sentence the user reads: what happened, likely cause, what to change."""

    CONVERGED = "Converged: the estimated distance to the optimum is below the tolerance."
    MAX_ITER = (
        "Stopped at the step limit before converging. Raise --max-iter; the optimizer newton-cg needs the fewest steps."
    )
    TIME_LIMIT = "Stopped at the time limit before converging. Raise --time-limit."
    STALLED = (
        "Stopped making progress before the tolerance was met. "
        "The optimizer newton-cg is the most robust; else try another --learning-rate, or a looser --tol."
    )
    PRECISION = (
        "Stopped where rounding hides any further decrease, before the tolerance was met, also after a new start. "
        "Use --dtype float64 if the fit was in float32; else a looser --tol."
    )
    DIVERGED = (
        "Diverged: the objective became infinite or nan and did not recover. "
        "Lower --learning-rate, or use --optimizer newton-cg."
    )
    EARLY_STOPPED = (
        "Stopped early: the loss of the held-out samples fell no further, and the weights at its lowest are kept. "
        "No certificate can tell how far from an optimum they are."
    )
    STATIONARY = (
        "Stationary: steps gain less than the tolerance. No certificate can tell whether another start ends lower."
    )
    INTERRUPTED = "Interrupted: what was reached so far is kept."
    DEGENERATE = "Stopped on a boundary of the parameter space."

    @property
    def sentence(self) -> str:
        """The sentence for the user."""
        return self.value

    @property
    def done(self) -> bool:
        """Whether the fit ended as it was meant to: at the optimum, or, of what no certificate can judge, trained."""
        return self in (Status.CONVERGED, Status.EARLY_STOPPED, Status.STATIONARY)


@dataclass(frozen=True)
class StopRule:
    """When to stop. `tol`: estimated nats left per sample, the one meaning of tolerance for all optimizers.

    `max_iter` None leaves the optimizer's own default; `time_limit` in seconds, of each time
    that a fit is taken up; `cancelled` is asked at each step.
    """

    tol: float = 1e-6
    max_iter: int | None = None
    time_limit: float = math.inf
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class State:
    """Where a minimisation stands between two steps: all that it takes to go on to the same bits as if undisturbed.

    tensors: by name; facts: what is no tensor, as JSON can hold it; trace: the steps so far. collect: see `of_all`;
    None where all ranks have the same.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)
    trace: Sequence[Step] = field(repr=False)
    collect: Callable[[], State] | None = field(repr=False, default=None)

    def of_all(self) -> State:
        """The same with the samples of all ranks, on the first; all ask for it together."""
        return self if self.collect is None else self.collect()

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """A copy of a tensor, on the device of `like`. DataError unless it is finite, of that shape and type."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise unfit(f"its {name} is of another shape or type")
        if not bool(torch.isfinite(tensor).all()):
            raise unfit(f"its {name} is not finite")
        return tensor.to(like.device, copy=True)

    def number(self, name: str, low: float | None = None, high: float = math.inf) -> float:
        """A fact that is a number, from low to high; maybe nan where there is no low. DataError unless it is one."""
        value = self.facts.get(name)
        if type(value) is int and abs(value) <= MANY:
            value = float(value)
        if not isinstance(value, float) or not (low is None or low <= value <= high):
            raise unfit(f"its {name} is no such number")
        return value

    def count(self, name: str) -> int:
        """A fact that is a number of times. DataError where it is none."""
        value = self.facts.get(name)
        if type(value) is not int or not 0 <= value <= MANY:
            raise unfit(f"its {name} is no number of times")
        return value


MANY = 2**53
"""More than can be counted."""
Offer = Callable[[State], None]
"""Told the state between two steps. It holds until the next step begins: whoever wants to keep it writes it down."""


@dataclass(frozen=True)
class Problem:
    """What an optimizer is given.

    objective: Params -> scalar tensor, differentiable twice; inf or nan where it is not defined.
    scale: total sample weight, by which the tolerance per sample is multiplied.
    at: at a point, the same objective with derivatives of its own; without it, gradient and Hessian products come from
        autograd.
    precondition: at a point, a linear map v -> P^-1 v; `exact` when P is the Hessian up to sign safeguards.
    curved: whether negative curvature is to be expected on the way, so that steps begin within a trust region.
    curvature: at a point, a positive estimate of the Hessian's diagonal.
    alternate: at a point, the problem in which the closed-form part of the parameters is held fixed.
    degenerate: asked after each step; True ends the run with Status.DEGENERATE.
    sampled: parameters that have a row for each sample, by name, with the axis on which the samples are.
    trained: no certificate can judge it, since its optima are many (`optim.training`); watch: at a point, the loss of
        samples that the objective does not see, in nats a sample, for early stopping.
    """

    objective: Callable[[Params], Tensor]
    start: Params
    scale: float
    precondition: Callable[[Params], Callable[[Params], Params]] | None = None
    exact: bool = False
    curved: bool = False
    at: Callable[[Params], Differentiated] | None = None
    curvature: Callable[[Params], Params] | None = None
    alternate: Callable[[Params], Problem] | None = None
    degenerate: Callable[[Params], bool] | None = None
    sampled: Mapping[str, int] = field(default_factory=dict)
    trained: bool = False
    watch: Callable[[Params], float] | None = None


class Starts(NamedTuple):
    """How many searches for the best optimum there were, how many found it, and the nats that the worst lacks."""

    number: int
    agree: int
    worst: float


@dataclass(frozen=True)
class Optimum:
    """Where an optimizer ended.

    gap: estimated nats left at `params`, by the certificate; nan if it has none. starts: of several searches, if there
    were any. kept: step whose parameters they are, where it is not the last: of the lowest held-out loss.
    """

    params: Params
    value: float
    gap: float
    grad_norm: float
    steps: int
    evaluations: int
    products: int
    seconds: float
    status: Status
    trace: tuple[Step, ...] = field(repr=False, default=())
    starts: Starts | None = None
    kept: int | None = None


class Optimizer(Protocol):
    """A frozen record of settings that minimises any Problem."""

    name: ClassVar[str]

    def minimise(
        self,
        problem: Problem,
        stop: StopRule,
        on_step: OnStep | None = None,
        offer: Offer | None = None,
        state: State | None = None,
    ) -> Optimum:
        """Minimise `problem` until `stop` says so; `on_step` sees each row of the trace as it is made.

        offer: is told the state before each step; state: one to go on from, of the same problem.
        """
        ...


class Point:
    """A vector x with the objective's value there, and its gradient and Hessian products when asked for.

    By the objective's own where it has them, else by autograd, which keeps the graph that the evaluation recorded.
    """

    def __init__(self, problem: Problem, space: Space, x: Tensor) -> None:
        self.space = space
        self._at: Differentiated | None = None
        self._graph: Tensor | None = None
        self._gradient: Tensor | None = None
        if problem.at is None:
            self.x = x.detach().requires_grad_(True)
            self.params = space.split(self.x)
            loss = self._graph = problem.objective(self.params)
        else:
            self.x = x.detach()
            self.params = space.split(self.x)
            self._at = problem.at(self.params)
            loss = self._at.value
        self.loss = ranks.same(float(loss.detach()))

    @classmethod
    def restored(cls, problem: Problem, space: Space, state: State, name: str) -> Point:
        """The point where a state is. DataError where that can be none of the problem."""
        point = cls(problem, space, state.tensor(name, space.join(problem.start)))
        if not math.isfinite(point.loss):
            raise unfit("the objective is not finite where it is")
        return point

    def gradient(self, *, again: bool = True) -> Tensor:
        """Gradient (m,) of the objective; part of autograd's graph if it is to be differentiated `again`."""
        if self._gradient is None:
            if self._at is not None:
                self._gradient = self.space.join(self._at.gradient())
            else:
                assert self._graph is not None
                if not self._graph.requires_grad:  # a constant inf, where the objective is not defined
                    return torch.full_like(self.x, math.nan)
                (self._gradient,) = torch.autograd.grad(self._graph, self.x, create_graph=again)
        return self._gradient

    def curve(self, v: Tensor) -> Tensor | None:
        """Second-order term c (m,) of a path x + t v + t² c, where the objective knows one."""
        bent = None if self._at is None else self._at.curve(self.space.split(v))
        return None if bent is None else self.space.join(bent)

    def release(self) -> None:
        """Give the memory of the derivatives back; x and the loss stay."""
        self._at = self._graph = self._gradient = None

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, both (m,); by autograd, the gradient of g'v.

        Handing v to `grad` as its grad_outputs would do the same, and import sympy (0.3 s) to check v's shape.
        """
        if self._at is not None:
            return self.space.join(self._at.product(self.space.split(v)))
        (product,) = torch.autograd.grad(self.space.dot(self.gradient(), v), self.x, retain_graph=True)
        return product


class Run:
    """Bookkeeping of one minimisation: clock, counters, trace, and the stop rule's limits."""

    def __init__(
        self, stop: StopRule, on_step: OnStep | None, offer: Offer | None = None, state: State | None = None
    ) -> None:
        self.stop, self.on_step, self._offer = stop, on_step, offer
        self.taken_up = time.perf_counter()
        self.began = self.taken_up - (0.0 if state is None else state.number("seconds", 0.0, MANY))
        self.evaluations = 0 if state is None else state.count("evaluations")
        self.products = 0 if state is None else state.count("products")
        self.trace: list[Step] = [] if state is None else list(state.trace)

    def offer(self, tensors: Mapping[str, Tensor], **facts: Any) -> None:
        """Offer the state here: what the optimizer needs to know of it, and how far the run is."""
        if self._offer is not None:
            counts = {"steps": self.steps, "evaluations": self.evaluations, "products": self.products}
            known = {"seconds": self.seconds, **counts, **facts}
            self._offer(State(tensors, known, tuple(self.trace)))

    @property
    def seconds(self) -> float:
        """Seconds since the minimisation began."""
        return time.perf_counter() - self.began

    @property
    def steps(self) -> int:
        """Number of steps recorded, the start not counted."""
        return max(len(self.trace) - 1, 0)

    def record(
        self,
        loss: float,
        grad_norm: float,
        gap: float = math.nan,
        step_size: float = math.nan,
        seconds: float | None = None,
        held_out: float | None = None,
    ) -> None:
        """Add a row to the trace and show it; `seconds`: when the point was reached, if that was some time ago."""
        reached = self.seconds if seconds is None else seconds
        row = Step(len(self.trace), reached, self.evaluations, loss, grad_norm, gap, step_size, held_out)
        self.trace.append(row)
        if self.on_step is not None:
            self.on_step(row)

    def out_of_time(self) -> bool:
        """Whether the run has been cancelled, or has used up its time since it was begun, or taken up."""
        late = time.perf_counter() - self.taken_up > self.stop.time_limit
        return self.stop.cancelled() or ranks.agreed(late)

    def unanswered(self, gap: float) -> Status | None:
        """The limit that kept the certificate from its answer, a gap of nan, if one did.

        Then the run ends at once: what an optimizer does after a refusal must not be done after no answer.
        """
        return self.limit(sys.maxsize) if math.isnan(gap) else None

    def limit(self, default_max_iter: int) -> Status | None:
        """The limit that has been reached, if one has."""
        if self.out_of_time():
            return Status.INTERRUPTED if self.stop.cancelled() else Status.TIME_LIMIT
        if self.steps >= (default_max_iter if self.stop.max_iter is None else self.stop.max_iter):
            return Status.MAX_ITER
        return None

    def end(
        self, params: Params, value: float, gap: float, grad_norm: float, status: Status, kept: int | None = None
    ) -> Optimum:
        """The optimum that this run hands over; its last row of trace gets the final gap."""
        if self.trace and not math.isnan(gap):
            self.trace[-1] = replace(self.trace[-1], gap=gap)
        detached = {name: tensor.detach().clone() for name, tensor in params.items()}
        return Optimum(
            detached,
            value,
            gap,
            grad_norm,
            self.steps,
            self.evaluations,
            self.products,
            self.seconds,
            status,
            tuple(self.trace),
            kept=kept,
        )
