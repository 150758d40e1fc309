"""A fit: where it starts, its optimum, what it leaves, and how sure that is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params, out_of_memory
from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting.minimisation import minimise
from plncli.inference.criteria import criteria
from plncli.inference.resampling import Estimated, Resampling, Task, resampled
from plncli.inference.wald import Inference, InferenceRule, infer
from plncli.models.base import Init, Latent, Model, P, Prepared, Trained, Uncertain
from plncli.models.findings import Finding
from plncli.models.uncertainty import Interrupted, Uncertainty
from plncli.names import CLUSTERED, RESAMPLING, SE_CUT_SHORT
from plncli.numerics.rows import number
from plncli.optim.base import Offer, Optimizer, State, Status, StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.progress import OnStep, OnWait
from plncli.results import FitResult

NEAR = 0.01
"""Nats left at which a fit that did not converge still has standard errors: no estimate is further off than
sqrt(2 · 0.01) = 0.14 of them."""
FEW_CLUSTERS = 10
"""Clusters below which a covariance over clusters is not to be trusted (Cameron & Miller 2015)."""


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
    seed: int = 0,
    on_search: OnWait | None = None,
) -> FitResult:
    """Fit `model` to `data`: maximise its log-likelihood, or its bound, and judge how far the optimum is.

    optimizer: Newton-CG unless given. on_step: called with each row of the trace as it is made. inference: which
    standard errors are wanted; none unless given. init: estimates of an earlier fit to start from, matched to the rows
    and columns of `data` (`models.base.INIT`); the optimum is the same, and nearer. resampling: how a bootstrap or a
    jackknife is done, if `inference` asks for one. offer: is told between steps how far the fit is; state: what it was
    told then, of the same model, data and optimizer, to go on from to the same bits. seed: of further starts, if the
    model asks for any; on_search: told how far the search for a start is.
    Raises DataError when the data cannot carry the model, FitError when the objective is not finite at the start.
    A fit that ends early is a result like any other, and its status says why.
    """
    began = time.perf_counter()
    prepared = model.prepare(data)
    stop = stop or StopRule()
    params, prepared, optimum = minimise(
        model, prepared, optimizer or NewtonCG(), stop, on_step, init, offer, state, seed, on_search
    )
    with torch.no_grad():
        loss, entropy = optimum.value, math.nan
        if isinstance(model, Latent):
            params, prepared = model.settle(params, prepared)
            loss, entropy = float(model.objective(params, prepared)), model.entropy(params, prepared)
        elif isinstance(model, Trained):
            loss = model.whole_loss(params, prepared)
        told = criteria(
            -loss,
            model.n_parameters(prepared, params),
            number(data.n),
            model.r2(params, prepared),
            entropy,
            penalised=model.penalised,
        )
        result = FitResult(
            model=model,
            data=data,
            estimates=model.estimates(params, prepared),
            optimum=optimum,
            criteria=told,
            facts=model.facts(params, prepared, told.bic),
            findings=model.findings(params, prepared, optimum.gap),
            state=model.state(params, prepared),
        )
        inferred, found = _inferred(result, params, prepared, inference, resampling or Resampling(), stop, began)
        return replace(result, inference=inferred, findings=(*result.findings, *found))


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
    model, data, optimum = result.model, result.data, result.optimum
    if rule is None or rule.method == "none" or "B" not in result.estimates:
        return None, ()
    B = result.estimates["B"]
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
        return stop.cancelled() or ranks.agreed(time.perf_counter() - taken_up > stop.time_limit)

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
        if not out_of_memory(error) or ranks.now() is not None:  # other ranks may have memory, and would wait
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
        params, prepared, optimum = minimise(model, model.prepare(data), NewtonCG(), stop, None, init)
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
