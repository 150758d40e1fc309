"""Training: descent of an objective that no certificate can judge, watched on held-out samples where there are any."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plncli.errors import unfit
from plncli.optim.base import Optimum, Problem, Run, State, Status
from plncli.optim.closure import Closure, Stepper, restore, taken_apart

PATIENCE = 100
"""Steps without a lower held-out loss after which a run ends (Prechelt 1998, "Early stopping - but when?")."""
WINDOW = 50
"""Steps that have to gain more than the tolerance, else the run is stationary."""
SHRINK, RESTARTS = 0.5, 20
"""Factor of the learning rate where the loss is lost, and how often."""
STILL = 3
"""Steps that move nothing after which an optimizer forgets what it knows: at a kink of ReLU it may be all wrong."""


def train(
    problem: Problem, run: Run, state: State | None, stepper: Stepper, learning_rate: float, max_iter: int
) -> Optimum:
    """Step until the held-out loss has not fallen for PATIENCE steps, or until steps gain nothing; the best is kept.

    The best: of the held-out loss, else of the objective. The run ends as EARLY_STOPPED, STATIONARY, or at a limit.
    """
    course = _Course(problem, run, state, stepper, learning_rate)
    status = None if math.isfinite(course.best) else Status.DIVERGED
    while status is None:
        course.offer()
        status = run.limit(max_iter)
        if status is None:
            status = course.step()
    point = course.closure.point(course.best_u)
    norm = point.space.norm(point.gradient(again=False)) if math.isfinite(point.loss) else math.nan
    return run.end(point.params, point.loss, math.nan, norm, status, course.kept)


class _Course:
    """Where a training stands: u now and where it was best, at which step, and what was gained since the last look.

    best: held-out loss, or the objective, at best_u.
    """

    def __init__(self, problem: Problem, run: Run, state: State | None, stepper: Stepper, learning_rate: float) -> None:
        self.problem, self.run, self.stepper = problem, run, stepper
        self.goal = run.stop.tol * problem.scale
        self.closure = closure = Closure(problem, run)
        if state is None:
            closure()
            self.rate, self.restarts, self.kept, self.mark, self.still = learning_rate, 0, 0, closure.loss, 0
            self.best_u, self.best = closure.u.detach().clone(), self._judged()
            run.record(closure.loss, closure.grad_norm, held_out=self._told(self.best))
            self.optimizer = stepper(closure.u, self.rate)
            return
        self.best_u = state.tensor("best_u", closure.origin)
        self.best, self.rate, self.mark = state.number("best"), state.number("rate", 0.0), state.number("mark")
        self.restarts, self.kept, self.still = (state.count(name) for name in ("restarts", "kept", "still"))
        with torch.no_grad():
            closure.u.copy_(state.tensor("u", closure.origin))
        closure()
        run.evaluations -= 1  # which is counted already
        if not math.isfinite(closure.loss):
            raise unfit("the objective is not finite where it stood")
        self.optimizer = stepper(closure.u, self.rate)
        restore(self.optimizer, state, stepper)

    def offer(self) -> None:
        """Offer the state here."""
        kept, scalars = taken_apart(self.optimizer)
        counts = {"restarts": self.restarts, "kept": self.kept, "still": self.still}
        numbers = {"rate": self.rate, "best": self.best, **counts}
        tensors = {"u": self.closure.u.detach(), "best_u": self.best_u, **kept}
        self.run.offer(tensors, **numbers, mark=self.mark, optimizer=scalars)

    def step(self) -> Status | None:
        """One step, and how the run ends by it, if it does."""
        closure, run = self.closure, self.run
        before = closure.loss
        self.optimizer.step(closure)
        closure()
        judged = self._judged()
        run.record(closure.loss, closure.grad_norm, step_size=self.rate, held_out=self._told(judged))
        if not math.isfinite(closure.loss):
            return self._again()
        if judged < self.best:
            self.best, self.kept = judged, run.steps
            self.best_u.copy_(closure.u.detach())
        if self.problem.watch is not None and run.steps - self.kept >= PATIENCE:
            return Status.EARLY_STOPPED
        self.still = self.still + 1 if closure.loss == before else 0
        if self.still == STILL:
            self.still, self.optimizer = 0, self.stepper(closure.u, self.rate)
        if run.steps % WINDOW == 0:
            gained, self.mark = self.mark - closure.loss, closure.loss
            if gained <= self.goal:
                return Status.STATIONARY
        return None

    def _judged(self) -> float:
        """The held-out loss here, or the objective where nothing is held out."""
        watch = self.problem.watch
        if watch is None or not math.isfinite(self.closure.loss):
            return self.closure.loss
        with torch.no_grad():
            return watch(self._params(self.closure.u))

    def _told(self, judged: float) -> float | None:
        """For the trace: the held-out loss, None where nothing is held out."""
        return None if self.problem.watch is None else judged

    def _params(self, u: Tensor) -> dict[str, Tensor]:
        return self.closure.params(u)

    def _again(self) -> Status | None:
        """From the best point, with a shorter step."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            return Status.DIVERGED
        self.rate *= SHRINK
        with torch.no_grad():
            self.closure.u.copy_(self.best_u)
        self.closure()
        self.mark = self.closure.loss
        self.optimizer = self.stepper(self.closure.u, self.rate)
        return None
