"""How long a fit will take: the pace of this machine on its very table, measured, times what fits usually need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from plncli.dataset import Dataset
from plncli.fitting import problem_of
from plncli.models.base import Model
from plncli.optim.base import Flat, Point
from plncli.optim.certificate import preconditioner_at

ENOUGH = 0.1
"""Seconds of measuring after which nothing is measured again."""
REPEATS = 5


class Work(NamedTuple):
    """What a fit by newton-cg is made of: points (objective, gradient, preconditioner) and Hessian products."""

    points: int
    products: int


COUNTS = ((0.25, Work(4, 8), Work(15, 60)), (0.5, Work(8, 30), Work(30, 150)), (1.0, Work(10, 25), Work(90, 400)))
"""The least and the most that fits of counts took, by the share of zeros up to which that holds."""
REGRESSIONS = {"logistic": (Work(5, 3), Work(15, 15)), "linear": (Work(1, 0), Work(3, 2))}
"""The same of the other models."""


def typical(model: str, data: Dataset) -> tuple[Work, Work]:
    """The least and the most that fits of such data usually take."""
    if model in REGRESSIONS:
        return REGRESSIONS[model]
    zeros = float((data.Y == 0).double().mean())
    return next((low, high) for most, low, high in COUNTS if zeros <= most)


@dataclass(frozen=True)
class Expected:
    """Seconds of a point and of a Hessian product, as measured; of a whole fit, from `low` to `high`."""

    point: float
    product: float
    low: float
    high: float


def expected(model: Model, prepared: Any) -> Expected:
    """Measure at the start of the fit; what comes before it and after it, standard errors too, is not in it."""
    problem = problem_of(model, prepared, model.start(prepared))
    flat = Flat(problem.start)
    x = flat.join(problem.start)

    def begin(repeat: int) -> tuple[Point, Callable[[Any], Any]]:
        point = Point(problem, flat, x + 1e-9 * repeat)  # a point like the last may be known
        point.gradient()
        return point, preconditioner_at(problem, point, flat)

    point, precondition = begin(0)
    direction = precondition(point.gradient().detach())
    of_point = _seconds(begin)
    of_product = _seconds(lambda _: float(precondition(point.product(direction)).sum()))
    low, high = (work.points * of_point + work.products * of_product for work in typical(model.name, prepared.data))
    return Expected(of_point, of_product, low, high)


def _seconds(step: Callable[[int], object]) -> float:
    """The median of a few runs of a step, fewer of a long one."""
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        began = time.perf_counter()
        step(len(taken) + 1)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
