"""How long a fit will take: the pace of this machine on its very table, measured, times what fits usually need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plncli.fitting import problem_of
from plncli.models.base import Model, P
from plncli.models.spec import Size
from plncli.optim.base import Point, Space
from plncli.optim.certificate import preconditioner_at

ENOUGH = 0.1
"""Seconds of measuring after which nothing is measured again."""
REPEATS = 5


@dataclass(frozen=True)
class Expected:
    """Seconds of a point and of a Hessian product, as measured; of a whole fit, from `low` to `high`."""

    point: float
    product: float
    low: float
    high: float


def expected(model: Model[P], prepared: P) -> Expected:
    """Measure at the start of the fit; what comes before it and after it, standard errors too, is not in it."""
    problem = problem_of(model, prepared, model.start(prepared))
    space = Space(problem.start)
    x = space.join(problem.start)

    def begin(repeat: int) -> tuple[Point, Callable[[Any], Any]]:
        point = Point(problem, space, x + 1e-9 * repeat)  # a point like the last may be known
        point.gradient()
        return point, preconditioner_at(problem, point, space)

    point, precondition = begin(0)
    direction = precondition(point.gradient().detach())
    of_point = _seconds(begin)
    of_product = _seconds(lambda _: float(precondition(point.product(direction)).sum()))
    data = prepared.data
    size = Size(data.n, data.p, data.d, zeros=float((data.Y == 0).double().mean()))
    low, high = (work.points * of_point + work.products * of_product for work in model.spec.work(size))
    return Expected(of_point, of_product, low, high)


def _seconds(step: Callable[[int], object]) -> float:
    """The median of a few runs of a step, fewer of a long one."""
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        began = time.perf_counter()
        step(len(taken) + 1)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
