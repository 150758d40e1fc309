"""An optimizer at work on a problem that may change on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from plncli.arrays import Params
from plncli.fitting.problem import problem_of
from plncli.fitting.resumption import offering
from plncli.models.base import Model, P, Revisable, Staged
from plncli.optim.base import Offer, Optimizer, Optimum, State, Status, StopRule
from plncli.progress import OnStep, Step

STUCK = (Status.PRECISION, Status.STALLED)
MAX_REVISIONS = 1000
"""Bound on how often a problem is changed on its way; each change moves a feature, and few move more than once."""


def followed(
    model: Model[P],
    prepared: P,
    params: Params,
    optimizer: Optimizer,
    stop: StopRule,
    on_step: OnStep | None = None,
    parts: Sequence[Optimum] = (),
    offer: Offer | None = None,
    state: State | None = None,
) -> tuple[Params, P, Optimum]:
    """From `params`, as often as the model finds the optimum on a boundary and changes the problem; with one trace.

    parts: of the same run, that are done.
    """
    began, parts = time.perf_counter(), list(parts)
    for _ in range(MAX_REVISIONS):
        rest, show = _continued(stop, on_step, parts, began)
        problem = problem_of(model, prepared, params)
        optimum = optimizer.minimise(problem, rest, show, offering(offer, model, prepared, params, parts), state)
        state = None
        parts.append(optimum)
        params = optimum.params
        if optimum.status in (Status.INTERRUPTED, Status.TIME_LIMIT, Status.MAX_ITER, Status.DIVERGED):
            break
        revised = None
        if isinstance(model, Revisable):
            with torch.no_grad():
                revised = model.revise(params, prepared, settled=optimum.status is not Status.DEGENERATE)
        if revised is None and isinstance(model, Staged) and optimum.status is Status.CONVERGED:
            revised = model.next_stage(params, prepared, optimum.gap)
        if revised is not None:
            params, prepared = revised
        elif not _worth_another(parts, stop.tol * problem.scale):
            break
    return params, prepared, _joined(parts)


def _worth_another(parts: Sequence[Optimum], goal: float) -> bool:
    """Whether to start anew where the optimizer got stuck: unless that has just gained less than `goal` nats.

    A new start forgets the trust radius, the curvature of past steps and what else a run has gathered.
    """
    *before, last = parts
    if last.status not in STUCK:
        return False
    return not before or before[-1].status not in STUCK or before[-1].value - last.value > goal


def _continued(
    stop: StopRule, on_step: OnStep | None, parts: list[Optimum], began: float
) -> tuple[StopRule, OnStep | None]:
    """The stop rule and the trace's numbering for a run that goes on after `parts`; `began`: when this process did."""
    if not parts:
        return stop, on_step
    steps = sum(part.steps for part in parts)
    left = None if stop.max_iter is None else max(stop.max_iter - steps, 0)
    rest = replace(stop, max_iter=left, time_limit=stop.time_limit - (time.perf_counter() - began))
    if on_step is None:
        return rest, None
    begun = any(part.trace for part in parts)
    return rest, lambda step: on_step(_shifted(step, parts)) if step.step or not begun else None


def _shifted(step: Step, parts: list[Optimum]) -> Step:
    return replace(
        step,
        step=step.step + sum(part.steps for part in parts),
        seconds=step.seconds + sum(part.seconds for part in parts),
        evaluations=step.evaluations + sum(part.evaluations for part in parts),
    )


def _joined(parts: list[Optimum]) -> Optimum:
    """One optimum with one trace: a run that starts where the last one ended does not repeat that point."""
    trace = list(parts[0].trace)
    for i, part in enumerate(parts[1:], start=1):
        trace += [_shifted(step, parts[:i]) for step in (part.trace[1:] if trace else part.trace)]
    return replace(
        parts[-1],
        steps=sum(part.steps for part in parts),
        evaluations=sum(part.evaluations for part in parts),
        products=sum(part.products for part in parts),
        seconds=sum(part.seconds for part in parts),
        trace=tuple(trace),
        starts=parts[0].starts,
    )
