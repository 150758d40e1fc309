"""Every optimizer on every problem: what it calls converged is near the optimum, and what is not converged says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tables import oaks, pln_table

from plncli.errors import UsageError
from plncli.fitting import fit, problem_of
from plncli.models.pln.model import PLN
from plncli.models.pln.spec import COVARIANCES
from plncli.names import OPTIMIZER_NAMES
from plncli.optim import OPTIMIZERS, build
from plncli.optim.base import Point, Problem, Run, Space, State, Status, StopRule
from plncli.optim.certificate import certify
from plncli.optim.newton_cg import NewtonCG
from plncli.progress import Step

TOL = 1e-6


def quadratic(m: int = 12, seed: int = 0) -> Problem:
    """½ x'Ax − b'x with eigenvalues from 0.1 to 10."""
    g = torch.Generator().manual_seed(seed)
    V = torch.linalg.qr(torch.randn(m, m, generator=g, dtype=torch.float64))[0]
    A = V @ torch.diag(torch.logspace(-1, 1, m, dtype=torch.float64)) @ V.mT
    b = torch.randn(m, generator=g, dtype=torch.float64)
    return Problem(lambda p: 0.5 * p["x"] @ A @ p["x"] - b @ p["x"], {"x": torch.zeros(m, dtype=torch.float64)}, 1.0)


def valley() -> Problem:
    """Rosenbrock's function: curved, with negative curvature on the way."""

    def f(p):
        x, y = p["x"].unbind()
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2

    return Problem(f, {"x": torch.tensor([-1.2, 1.0], dtype=torch.float64)}, 1.0)


def walled() -> Problem:
    """x − log x: not defined at 0 and below, where a long first step lands."""

    def f(p):
        x = p["x"]
        return torch.where(x > 0, x - torch.log(x.clamp_min(1e-300)), math.inf).sum()

    return Problem(f, {"x": torch.tensor([1e-3, 30.0], dtype=torch.float64)}, 1.0)


def counts() -> Problem:
    data, _, _ = pln_table(30, 4, seed=1)
    model = PLN()
    prepared = model.prepare(data)
    return problem_of(model, prepared, model.start(prepared))


PROBLEMS = {"quadratic": quadratic, "valley": valley, "walled": walled, "counts": counts}
LATENT_ONLY = {"vem"}


SURE = ("newton-cg", "lbfgs", "rprop")
STEPS = (300, 4000)
"""Of those that may take more; that many take seconds for each."""


def runs() -> list[Any]:
    """Optimizers, problems and steps: quickly each optimizer, and each problem by those that must converge on it."""
    slow = {("rprop", "valley")}  # thousands of steps
    quick = [
        (name, problem, STEPS[0])
        for name in OPTIMIZER_NAMES
        for problem in PROBLEMS
        if (name in SURE or problem in ("quadratic", "counts")) and (name, problem) not in slow
    ]
    every = [(name, problem, steps) for name in OPTIMIZER_NAMES for problem in PROBLEMS for steps in STEPS]
    return [pytest.param(*one, marks=() if one in quick else pytest.mark.slow) for one in every]


@pytest.mark.parametrize(("name", "problem", "steps"), runs())
def test_converged_means_near_the_optimum(name: str, problem: str, steps: int) -> None:
    if name in LATENT_ONLY and problem != "counts":
        pytest.skip("needs a variational step")
    task = PROBLEMS[problem]()
    best = NewtonCG().minimise(task, StopRule(tol=1e-14))
    found = build(name).minimise(task, StopRule(tol=TOL, max_iter=4000 if name in SURE else steps))
    assert math.isfinite(found.value)
    assert found.value <= float(task.objective(task.start))
    if found.status is Status.CONVERGED:
        assert found.gap <= TOL * task.scale
        # The gap is the quadratic model's estimate: within a factor of two of the truth this near the optimum.
        assert found.value - best.value <= 2 * TOL * task.scale
    else:
        assert found.status in (Status.MAX_ITER, Status.STALLED)
        assert not found.gap <= TOL * task.scale
    if name in SURE:
        assert found.status is Status.CONVERGED


def far_out() -> Problem:
    """log(1 + (x − 3)²): far from 3 it is concave, and a gradient's length leads hardly anywhere."""
    weights = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    start = torch.tensor([300.0, 200.0, -100.0], dtype=torch.float64)
    return Problem(lambda p: torch.log1p(weights * (p["x"] - 3.0) ** 2).sum(), {"x": start}, 1.0)


def ridge() -> Problem:
    """Double wells ¼x⁴ − ½x², begun beside the top between them."""
    start = torch.tensor([1e-9, -1e-9, 1e-9], dtype=torch.float64)
    return Problem(lambda p: (0.25 * p["x"] ** 4 - 0.5 * p["x"] ** 2).sum(), {"x": start}, 1.0)


@pytest.mark.parametrize(("problem", "best", "steps"), [(far_out, 0.0, 50), (ridge, -0.75, 25)])
def test_negative_curvature_from_the_start_is_left_in_growing_steps(
    problem: Callable[[], Problem], best: float, steps: int
) -> None:
    """Without a first trust radius each step there is one gradient long: 500 steps are not enough, or 33."""
    task, states = problem(), list[State]()
    found = NewtonCG().minimise(task, StopRule(tol=1e-8), offer=states.append)
    assert found.status is Status.CONVERGED
    assert found.value == pytest.approx(best, abs=1e-7)
    assert found.steps <= steps
    assert found.products <= 2 * steps
    assert states[0].number("radius", 0.0) == math.inf
    assert math.isfinite(states[1].number("radius", 0.0))
    for state in states[:5]:
        again = NewtonCG().minimise(task, StopRule(tol=1e-8), state=state)
        assert torch.equal(again.params["x"], found.params["x"])
        assert (again.steps, again.products, again.gap) == (found.steps, found.products, found.gap)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_trace_has_every_step(name: str) -> None:
    seen: list[Step] = []
    found = build(name).minimise(counts(), StopRule(max_iter=7), seen.append)
    assert [row.step for row in seen] == list(range(len(seen)))
    assert len(found.trace) == len(seen) == found.steps + 1 <= 8
    assert all(b.seconds >= a.seconds and b.evaluations >= a.evaluations for a, b in pairwise(seen))
    assert found.value == pytest.approx(min(row.loss for row in seen), rel=1e-12)


def test_registry_and_names_agree() -> None:
    assert tuple(OPTIMIZERS) == OPTIMIZER_NAMES
    for covariance in COVARIANCES:
        PLN(covariance, torch.eye(2) if covariance == "fixed" else None)


@pytest.mark.parametrize("name", [n for n in OPTIMIZER_NAMES if "learning_rate" in OPTIMIZERS[n].__dataclass_fields__])
def test_learning_rate_is_passed_on(name: str) -> None:
    assert build(name, 0.123).learning_rate == 0.123


@pytest.mark.parametrize("name", ["newton-cg", "vem"])
def test_learning_rate_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="learning-rate"):
        build(name, 0.1)


def test_vem_is_refused_without_a_variational_step() -> None:
    with pytest.raises(UsageError, match="variational"):
        build("vem").minimise(quadratic(), StopRule())


# -- the certificate ---------------------------------------------------------------------------------------------------


def test_certificate_is_exact_on_a_quadratic() -> None:
    task = quadratic()
    space = Space(task.start)
    point = Point(task, space, torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    best = NewtonCG().minimise(task, StopRule(tol=1e-15)).value
    gap = certify(task, point, space, Run(StopRule(), None)).gap
    assert gap == pytest.approx(point.loss - best, rel=0.1)  # the solve's own tolerance


def test_certificate_does_not_depend_on_units() -> None:
    task, unit = quadratic(), torch.logspace(-3, 3, 12, dtype=torch.float64)
    scaled = replace(task, objective=lambda p: task.objective({"x": p["x"] * unit}))
    x = torch.ones(12, dtype=torch.float64)
    gaps = []
    for problem, at in ((task, x), (scaled, x / unit)):
        P = unit if problem is scaled else torch.ones_like(unit)
        precondition = lambda params, P=P: lambda v: {"x": v["x"] / P**2}  # noqa: E731
        problem = replace(problem, precondition=precondition)
        space = Space(problem.start)
        gaps.append(certify(problem, Point(problem, space, at), space, Run(StopRule(), None)).gap)
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-6)


def test_a_saddle_is_not_certified() -> None:
    saddle = Problem(lambda p: p["x"][0] ** 2 - p["x"][1] ** 2, {"x": torch.zeros(2, dtype=torch.float64)}, 1.0)
    space = Space(saddle.start)
    point = Point(saddle, space, torch.tensor([1e-6, 1e-3], dtype=torch.float64))
    assert math.isnan(certify(saddle, point, space, Run(StopRule(), None)).gap)


@pytest.mark.slow  # four fits of a whole table; the same is asked of small problems above
def test_gap_on_oaks_bounds_what_is_left() -> None:
    """At points along the way the certificate is within a factor of three of the nats that were really left."""
    model = PLN()
    prepared = model.prepare(oaks())
    task = problem_of(model, prepared, model.start(prepared))
    best = NewtonCG().minimise(task, StopRule(tol=1e-12)).value
    space = Space(task.start)
    for tol in (1e-1, 1e-3, 1e-5):
        found = build("lbfgs").minimise(task, StopRule(tol=tol))
        point = Point(task, space, space.join(found.params))
        gap = certify(task, point, space, Run(StopRule(), None)).gap
        assert gap / 3 <= found.value - best <= 3 * gap


# -- how a run ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_limits_end_a_run_and_say_so(name: str) -> None:
    task = counts()
    assert build(name).minimise(task, StopRule(max_iter=1)).status is Status.MAX_ITER
    assert build(name).minimise(task, StopRule(max_iter=0)).steps == 0
    assert build(name).minimise(task, StopRule(time_limit=0.0)).status is Status.TIME_LIMIT
    found = build(name).minimise(task, StopRule(cancelled=lambda: True))
    assert found.status is Status.INTERRUPTED
    assert math.isfinite(found.value)


def test_a_tolerance_below_rounding_ends_without_a_claim() -> None:
    found = NewtonCG().minimise(counts(), StopRule(tol=1e-30, max_iter=50))
    assert found.status is Status.PRECISION or found.gap <= 1e-30 * 30


def test_steps_are_numbered_through_a_change_of_problem() -> None:
    """A fit that goes on after features moved to the boundary has one trace, without gaps or repeats."""
    g = torch.Generator().manual_seed(0)
    data, _, _ = pln_table(60, 4, seed=2)
    space = torch.binomial(torch.full((60, 3), 10.0), torch.full((60, 3), 0.8), generator=g).double()
    data = replace(data, Y=torch.cat([data.Y, space], 1), responses=())
    shown: list[int] = []
    result = fit(PLN(), data, on_step=lambda step: shown.append(step.step))
    assert result.findings
    assert [row.step for row in result.optimum.trace] == list(range(result.optimum.steps + 1))
    assert shown == list(range(result.optimum.steps + 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lbfgs", "rprop", "adam", "vem"])
@pytest.mark.parametrize("tree", [False, True])
def test_other_optimizers_reach_oaks(name: str, tree: bool) -> None:
    best = -31381.99 if tree else -32026.02
    result = fit(PLN(), oaks(tree), build(name))
    assert -result.optimum.value >= best - 0.5
    if name != "vem":
        assert result.converged and -result.optimum.value >= best
