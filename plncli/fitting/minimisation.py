"""The optimizer at work on a model, whose problem may change on the way."""

from __future__ import annotations

import time
from dataclasses import replace

from plncli.arrays import Params
from plncli.errors import FitError
from plncli.fitting.resumption import searched, taken_up
from plncli.fitting.revision import followed
from plncli.fitting.starting import begun
from plncli.models.base import Init, Model, P
from plncli.optim.base import Offer, Optimizer, Optimum, State, Status, StopRule
from plncli.progress import OnStep, OnWait


def minimise(
    model: Model[P],
    prepared: P,
    optimizer: Optimizer,
    stop: StopRule,
    on_step: OnStep | None,
    init: Init | None,
    offer: Offer | None = None,
    state: State | None = None,
    seed: int = 0,
    on_search: OnWait | None = None,
) -> tuple[Params, P, Optimum]:
    """Run the optimizer, changing the problem and going on for as long as the model finds the optimum on a boundary."""
    parts: list[Optimum] = []
    began = time.perf_counter()
    known = searched(model, prepared, state)
    if known is None:
        assert state is not None
        parts, params, prepared, state = taken_up(model, prepared, state)
    else:
        params, prepared, parts = begun(model, prepared, init, stop, seed, offer, known, on_search)
        state = None
        if parts and parts[0].status is not Status.CONVERGED:
            return params, prepared, parts[0]
    rest = replace(stop, time_limit=stop.time_limit - (time.perf_counter() - began))
    params, prepared, optimum = followed(model, prepared, params, optimizer, rest, on_step, parts, offer, state)
    if optimum.steps == 0 and optimum.status is Status.DIVERGED:
        raise FitError(
            "The objective is not finite at the start of the fit. Look for extreme offsets or covariates "
            "(`plncli validate` shows them), or use --dtype float64."
        )
    return params, prepared, optimum
