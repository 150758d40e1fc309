"""The only place where a model meets an optimizer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, replace
from typing import Any

import torch
from torch import Tensor

from plncli.arrays import Evaluated, Params, out_of_memory
from plncli.dataset import Dataset
from plncli.errors import DataError, FitError, unfit
from plncli.inference.criteria import criteria
from plncli.inference.resampling import Estimated, Resampling, Task, resampled
from plncli.inference.wald import Inference, InferenceRule, infer
from plncli.models.base import (
    Alternating,
    Elementary,
    Init,
    Latent,
    Model,
    P,
    Preconditioned,
    Prepared,
    Revisable,
    Separable,
    Uncertain,
)
from plncli.models.findings import Finding
from plncli.models.uncertainty import Interrupted, Uncertainty
from plncli.names import CLUSTERED, RESAMPLING, SE_CUT_SHORT
from plncli.optim.base import Offer, Optimizer, Optimum, Problem, State, Status, StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.progress import OnStep, OnWait, Step
from plncli.results import FitResult

NEAR = 0.01
"""Nats left at which a fit that did not converge still has standard errors: no estimate is further off than
sqrt(2 · 0.01) = 0.14 of them."""
FEW_CLUSTERS = 10
"""Clusters below which a covariance over clusters is not to be trusted (Cameron & Miller 2015)."""
STUCK = (Status.PRECISION, Status.STALLED)
MAX_REVISIONS = 1000
"""Bound on how often a problem is changed on its way; each change moves a feature, and few move more than once."""


def fit(
    model: Model[Any],
    data: Dataset,
    optimizer: Optimizer | None = None,
    stop: StopRule | None = None,
    on_step: OnStep | None = None,
    inference: InferenceRule | None = None,
    init: Init | None = None,
    resampling: Resampling | None = None,
    offer: Offer | None = None,
    state: State | None = None,
) -> FitResult:
    """Fit `model` to `data`: maximise its log-likelihood, or its bound, and judge how far the optimum is.

    optimizer: Newton-CG unless given. on_step: called with each row of the trace as it is made. inference: which
    standard errors are wanted; none unless given. init: estimates of an earlier fit to start from, matched to the rows
    and columns of `data` (`models.base.INIT`); the optimum is the same, and nearer. resampling: how a bootstrap or a
    jackknife is done, if `inference` asks for one. offer: is told between steps how far the fit is; state: what it was
    told then, of the same model, data and optimizer, to go on from to the same bits.
    Raises DataError when the data cannot carry the model, FitError when the objective is not finite at the start.
    A fit that ends early is a result like any other, and its status says why.
    """
    began = time.perf_counter()
    prepared = model.prepare(data)
    stop = stop or StopRule()
    params, prepared, optimum = _minimise(model, prepared, optimizer or NewtonCG(), stop, on_step, init, offer, state)
    with torch.no_grad():
        loss, entropy = optimum.value, math.nan
        if isinstance(model, Latent):
            params, prepared = model.settle(params, prepared)
            loss, entropy = float(model.objective(params, prepared)), model.entropy(params, prepared)
        result = FitResult(
            model=model,
            data=data,
            estimates=model.estimates(params, prepared),
            optimum=optimum,
            criteria=criteria(
                -loss,
                model.n_parameters(prepared),
                data.n,
                model.r2(params, prepared),
                entropy,
                penalised=model.penalised,
            ),
            findings=model.findings(params, prepared, optimum.gap),
            state=model.state(params, prepared),
        )
        inferred, told = _inferred(result, params, prepared, inference, resampling or Resampling(), stop, began)
        return replace(result, inference=inferred, findings=(*result.findings, *told))


def _inferred(
    result: FitResult,
    params: Params,
    prepared: Prepared,
    rule: InferenceRule | None,
    resampling: Resampling,
    stop: StopRule,
    taken_up: float,
) -> tuple[Inference | None, tuple[Finding, ...]]:
    """Standard errors as the rule wants them, and what must be said of them; none away from the optimum."""
    model, data, optimum, B = result.model, result.data, result.optimum, result.estimates["B"]
    if rule is None or rule.method == "none":
        return None, ()
    if not isinstance(model, Uncertain) and rule.method not in RESAMPLING:
        return None, ()
    if optimum.status is not Status.CONVERGED and not optimum.gap <= NEAR:
        return None, (Finding("no-standard-errors", "No standard errors: they are valid at the optimum only."),)
    began = time.perf_counter()
    method = rule.method
    if method == "auto" and isinstance(model, Uncertain):
        method = model.default_se(prepared)
    if data.clusters is not None and isinstance(method, str) and method not in CLUSTERED:
        raise DataError(f"Standard errors `{method}` assume independent samples, but these come in clusters.")

    def ended() -> bool:
        return stop.cancelled() or time.perf_counter() - taken_up > stop.time_limit

    found: Uncertainty | Finding
    try:
        if isinstance(method, Finding):
            found = method
        elif method in RESAMPLING:
            task = Task.of(method, _estimate, model, data, {**result.estimates, **result.state}, resampling)
            found = resampled(task, _finite(B, data, result.findings), resampling, ended)
        else:
            assert isinstance(model, Uncertain)
            found = model.uncertainty(params, prepared, method, optimum.gap, _telling(rule.on_wait, method, ended))
        if isinstance(found, Finding):
            return None, (found,)
        inferred = infer(B, found, rule.level, vcov=rule.vcov, began=began)
    except Interrupted:
        what = "Interrupted" if stop.cancelled() else "The time limit was reached"
        return None, (Finding(SE_CUT_SHORT, f"{what} before the standard errors were done: there are none."),)
    except (MemoryError, RuntimeError) as error:  # the fit is done, and must not be lost with them
        if not out_of_memory(error):
            raise
        return None, (Finding("no-standard-errors", "Out of memory for the standard errors: there are none."),)
    return inferred, (*inferred.findings, *_few_clusters(data))


def _telling(on_wait: OnWait | None, what: str, ended: Callable[[], bool]) -> Callable[[], bool]:
    """`ended`, which is asked now and then, telling how long it has been each time that it is asked."""
    if on_wait is None:
        return ended
    began, tell = time.perf_counter(), on_wait
    tell(what, 0.0)

    def asked() -> bool:
        tell(what, time.perf_counter() - began)
        return ended()

    return asked


def _estimate(model: Model[P], data: Dataset, init: Init, stop: StopRule) -> Estimated:
    """The coefficients alone: one fit of a bootstrap or a jackknife, always by the surest optimizer."""
    with torch.enable_grad():
        params, prepared, optimum = _minimise(model, model.prepare(data), NewtonCG(), stop, None, init)
    with torch.no_grad():
        B = model.estimates(params, prepared)["B"]
        return Estimated(_finite(B, data, model.findings(params, prepared, optimum.gap)), optimum)


def _finite(B: Tensor, data: Dataset, findings: Iterable[Finding]) -> Tensor:
    """B (d×p) with nan where a finding says that there is no finite estimate."""
    B = B.clone()
    for finding in findings:
        for response, term in finding.cells:
            B[data.terms.index(term), data.responses.index(response)] = math.nan
    return B


def _few_clusters(data: Dataset) -> tuple[Finding, ...]:
    if data.clusters is None or data.n_clusters >= FEW_CLUSTERS:
        return ()
    message = (
        f"{data.n_clusters} clusters are few: cluster-robust standard errors are asymptotic in the number of clusters, "
        f"and too small, by an unknown amount, below about {FEW_CLUSTERS}."
    )
    return (Finding("few-clusters", message),)


def problem_of(model: Model[P], prepared: P, start: Params) -> Problem:
    """What an optimizer needs to know of a model on its data."""
    precondition: Callable[[Params], Callable[[Params], Params]] | None = None
    parts: Callable[[Params], dict[str, Evaluated]] | None = None
    curvature: Callable[[Params], Params] | None = None
    alternate: Callable[[Params], Problem] | None = None
    degenerate: Callable[[Params], bool] | None = None
    if isinstance(model, Preconditioned):
        precondition = lambda params: model.preconditioner(params, prepared)  # noqa: E731
        curvature = lambda params: model.curvature(params, prepared)  # noqa: E731
    if isinstance(model, Separable):
        parts = lambda params: model.parts(params, prepared)  # noqa: E731
    if isinstance(model, Alternating):

        def alternate(params: Params) -> Problem:
            return problem_of(*model.conditional(params, prepared), start=params)

    if isinstance(model, Revisable):
        degenerate = lambda params: model.degenerate(params, prepared)  # noqa: E731
    return Problem(
        objective=lambda params: model.objective(params, prepared),
        start=start,
        scale=prepared.data.total_weight,
        precondition=precondition,
        exact=getattr(model, "exact_preconditioner", False),
        parts=parts,
        curvature=curvature,
        alternate=alternate,
        degenerate=degenerate,
    )


def _begin(model: Model[P], prepared: P, init: Init | None) -> tuple[Params, P]:
    """Where the optimizer begins: at the earlier fit, unless the data alone give a better start."""
    params = model.start(prepared)
    if init is None:
        return params, prepared
    warm = model.resume(prepared, init) if isinstance(model, Revisable) else (model.start(prepared, init), prepared)
    with torch.no_grad():
        better = model.objective(*warm) <= model.objective(params, prepared)
    return warm if bool(better) else (params, prepared)


def _minimise(
    model: Model[P],
    prepared: P,
    optimizer: Optimizer,
    stop: StopRule,
    on_step: OnStep | None,
    init: Init | None,
    offer: Offer | None = None,
    state: State | None = None,
) -> tuple[Params, P, Optimum]:
    """Run the optimizer, changing the problem and going on for as long as the model finds the optimum on a boundary."""
    parts: list[Optimum] = []
    began = time.perf_counter()
    if state is None:
        params, prepared = _begin(model, prepared, init)
    else:
        parts, params, prepared, state = _taken_up(model, prepared, state)
    for _ in range(MAX_REVISIONS):
        rest, show = _continued(stop, on_step, parts, began)
        problem = problem_of(model, prepared, params)
        optimum = optimizer.minimise(problem, rest, show, _offering(offer, model, prepared, params, parts), state)
        state = None
        if not parts and optimum.steps == 0 and optimum.status is Status.DIVERGED:
            raise FitError(
                "The objective is not finite at the start of the fit. Look for extreme offsets or covariates "
                "(`plncli validate` shows them), or use --dtype float64."
            )
        parts.append(optimum)
        params = optimum.params
        if optimum.status in (Status.INTERRUPTED, Status.TIME_LIMIT, Status.MAX_ITER, Status.DIVERGED):
            break
        revised = None
        if isinstance(model, Revisable):
            with torch.no_grad():
                revised = model.revise(params, prepared, settled=optimum.status is not Status.DEGENERATE)
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


# A fit that goes on where it stood: the optimizer's state, and how its problem had been changed until then

BOUNDARY = "standing"
"""Group of tensors that a checkpoint keeps of a model's `boundary_state`."""


def _offering(offer: Offer | None, model: Model[P], prepared: P, start: Params, parts: list[Optimum]) -> Offer | None:
    """What an optimizer offers its state to, in a run that began at `start` after `parts`."""
    if offer is None:
        return None
    boundary = model.boundary_state(prepared) if isinstance(model, Revisable) else {}
    done = [{name: getattr(part, name) for name in PART} | {"status": part.status.name} for part in parts]
    traces = [[astuple(step) for step in part.trace] for part in parts]

    def whole(state: State) -> None:
        groups = {"state": state.tensors, "start": start, BOUNDARY: boundary}
        tensors = {f"{group}.{name}": tensor for group, members in groups.items() for name, tensor in members.items()}
        offer(
            State(tensors, {"state": state.facts, "parts": done, "traces": traces, "order": list(start)}, state.trace)
        )

    return whole


PART = ("value", "gap", "grad_norm", "steps", "evaluations", "products", "seconds")
"""What is kept of a finished part of a minimisation, besides its status and trace."""


def _taken_up(model: Model[P], prepared: P, state: State) -> tuple[list[Optimum], Params, P, State]:
    """Undo `_offering`: the parts that are done, where the next one began, on which data, and its optimizer's state.

    DataError where they cannot be of this model and these data.
    """
    groups: dict[str, dict[str, Tensor]] = {"state": {}, "start": {}, BOUNDARY: {}}
    for path, tensor in state.tensors.items():
        group, _, name = path.partition(".")
        if group not in groups:
            raise unfit(f"it holds {path}")
        groups[group][name] = tensor.to(prepared.data.Y.device)
    parts = [
        Optimum(
            params={},
            status=Status[facts["status"]],
            trace=tuple(Step(*row) for row in trace),
            **{name: facts[name] for name in PART},
        )
        for facts, trace in zip(state.facts["parts"], state.facts["traces"], strict=True)
    ]
    if isinstance(model, Revisable):
        prepared = model.at_boundary_state(prepared, groups[BOUNDARY])
    like, order = model.start(prepared), state.facts["order"]  # in which they are joined to one vector
    if not {*order} == {*like} == {*groups["start"]} or len(order) > len(like):
        raise unfit("it began with other parameters")
    begun = State(groups["start"], {}, ())
    start = {name: begun.tensor(name, like[name]) for name in order}
    with torch.no_grad():
        if not math.isfinite(model.objective(start, prepared)):
            raise unfit("the objective is not finite where it began")
    return parts, start, prepared, State(groups["state"], state.facts["state"], state.trace)


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
    return rest, lambda step: on_step(_shifted(step, parts)) if step.step else None


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
        trace += [_shifted(step, parts[:i]) for step in part.trace[1:]]
    return replace(
        parts[-1],
        steps=sum(part.steps for part in parts),
        evaluations=sum(part.evaluations for part in parts),
        products=sum(part.products for part in parts),
        seconds=sum(part.seconds for part in parts),
        trace=tuple(trace),
    )


def graph(model: Model[P], data: Dataset, *, fused: bool = False) -> tuple[Tensor, Params]:
    """The objective at its start, with the graph that autograd recorded, and the parameters it was computed from.

    In elementary operations; `fused`: as a fit evaluates it, where the model has an objective with its own derivatives.
    """
    prepared = model.prepare(data)
    if isinstance(model, Elementary) and not fused:
        start, objective = model.plain_start(prepared), model.plain_objective
    else:
        start, objective = model.start(prepared), model.objective
    params = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in start.items()}
    return objective(params, prepared), params
