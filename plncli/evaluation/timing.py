"""How long a fit will take: the pace of this machine on its very table, measured, times what fits usually need."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from plncli.dataset import Dataset
from plncli.fitting import problem_of
from plncli.models.base import Model, P
from plncli.models.spec import Size
from plncli.numerics.rows import total
from plncli.optim.base import Point, Run, StopRule
from plncli.optim.certificate import LinearMap, newton_solve, preconditioner_at
from plncli.optim.space import Space
from plncli.sparse import column_counts, column_totals

ENOUGH = 0.1
"""Seconds of measuring after which nothing is measured again."""
REPEATS = 5
PRODUCTS = 8
"""Of a Newton system that is measured, where they are short."""


@dataclass(frozen=True)
class Expected:
    """Seconds of a point and of a Hessian product, as measured; of a whole fit, from `low` to `high`.

    A product counts with the rest of its step of conjugate gradients, the preconditioner above all.
    """

    point: float
    product: float
    low: float
    high: float


def expected(
    model: Model[P], prepared: P, own: Mapping[str, Any], clock: Callable[[], float] = time.perf_counter
) -> Expected:
    """Measure at the start of the fit; what comes before it and after it, standard errors too, is not in it.

    own: the settings that the model adds; clock: tells seconds.
    """
    problem = problem_of(model, prepared, model.start(prepared))
    space = Space(problem.start, problem.sampled)
    x = space.join(problem.start)

    def begin(repeat: int) -> tuple[Point, LinearMap]:
        point = Point(problem, space, x + 1e-9 * repeat)  # a point like the last may be known
        point.gradient()
        return point, preconditioner_at(problem, point, space)

    def beginning(repeat: int) -> int:
        begin(repeat)
        return 1

    point, precondition = begin(0)

    def solving(repeat: int) -> int:
        del repeat
        run = Run(StopRule(time_limit=ENOUGH), None)
        newton_solve(point, precondition, 0.0, 0.0, PRODUCTS, run)
        return run.products

    of_point, of_product = _seconds(beginning, clock), _seconds(solving, clock)
    size = _size(prepared.data, own)
    low, high = (work.points * of_point + work.products * of_product for work in model.spec.work(size))
    return Expected(of_point, of_product, low, high)


def _size(data: Dataset, own: Mapping[str, Any]) -> Size:
    """What is known before the fit of what it has to do."""
    if data.stored:
        return Size(data.n, data.p, data.d, own=own)
    if data.sparse:
        others = column_counts(data.Y)
        seen, sums = torch.full_like(others, data.n), column_totals(data.Y)
    else:
        K = torch.ones_like(data.Y) if data.K is None else data.K.to(data.Y)
        seen, others, sums = total(K), total(K * (data.Y != 0)), total(K * data.Y)
    beside = sums.abs() / others.clamp_min(1.0)  # the mean of the values other than 0
    zero = seen - others
    apart = zero / seen.clamp_min(1.0) * torch.log1p(beside)
    zeros = float(zero.sum() / seen.sum())
    return Size(data.n, data.p, data.d, own=own, zeros=zeros, on_off=float(apart.double().cpu().quantile(0.9)))


def _seconds(step: Callable[[int], int], clock: Callable[[], float]) -> float:
    """The median over a few runs of a step, fewer of a long one, of its seconds by what it says to have done."""
    taken: list[float] = []
    each: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        began = clock()
        done = step(len(taken) + 1)
        taken.append(clock() - began)
        each.append(taken[-1] / max(done, 1))
    return sorted(each)[len(each) // 2]
