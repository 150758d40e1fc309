"""Where a fit begins: at an earlier one, or, of a model with many optima, at the best of several starts."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import torch

from plncli import ranks
from plncli.arrays import Params
from plncli.fitting.resumption import Found, offered_search
from plncli.fitting.revision import followed
from plncli.models.base import Init, Model, P, Revisable
from plncli.models.beginning import Nested, Searching
from plncli.optim.base import Offer, Optimum, Starts, Status, StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.progress import OnWait, Step

CUT = (Status.TIME_LIMIT, Status.INTERRUPTED)
"""How a search is cut short."""
LOOSE = 1e-2
"""Nats a sample that are left of a fit to some of the samples."""
HOPE, SURE = 3.0, 5.0
"""Steps, as the better of the last two, that a start may lack of the best; times the nats left by which an optimum may
lie lower."""


def begun(
    model: Model[P],
    prepared: P,
    init: Init | None,
    stop: StopRule,
    seed: int = 0,
    offer: Offer | None = None,
    known: Sequence[Found[P]] = (),
    on_search: OnWait | None = None,
) -> tuple[Params, P, list[Optimum]]:
    """Where the optimizer begins, and what was done before: a part that has not converged was cut short.

    At the earlier fit, unless the data alone give a better start, or where a search ends, of a model that can search.
    offer: is told between starts where they led to; known: what it was told when this search was cut short. on_search:
    told how far the search is.
    """
    if init is None and isinstance(model, Nested) and (few := model.subset(prepared, seed)) is not None:
        return _from_few(model, few, prepared, stop, seed, on_search)
    if isinstance(model, Searching) and model.searches(prepared, init):
        return _searched(model, prepared, init, _Search(model, prepared, stop, offer, known, on_search), seed)
    if init is None:
        return model.start(prepared), prepared, []
    params = model.start(prepared)
    warm = model.resume(prepared, init) if isinstance(model, Revisable) else (model.start(prepared, init), prepared)
    with torch.no_grad():
        better = model.objective(*warm) <= model.objective(params, prepared)
    return (*(warm if ranks.agreed(bool(better)) else (params, prepared)), [])


def _from_few(
    model: Model[P], few: P, prepared: P, stop: StopRule, seed: int, on_search: OnWait | None
) -> tuple[Params, P, list[Optimum]]:
    """Where a loose fit to some of the samples ends, or is cut short, which begins in the same way.

    Nothing else of it is kept.
    """
    assert isinstance(model, Nested)
    began = time.perf_counter()
    params, few, parts = begun(model, few, None, stop, seed, on_search=on_search)
    if not parts or parts[-1].status is Status.CONVERGED:
        left = stop.time_limit - (time.perf_counter() - began)
        loose = replace(stop, tol=max(stop.tol, LOOSE), max_iter=None, time_limit=left)

        def tell(step: Step) -> None:
            if on_search is not None:
                on_search(f"{few.data.n} of {prepared.data.n} samples, step {step.step}", time.perf_counter() - began)

        params, few, optimum = followed(model, few, params, NewtonCG(), loose, tell)
        parts = [*parts, optimum]
    whole = replace(
        parts[-1],
        steps=0,
        evaluations=sum(part.evaluations for part in parts),
        products=sum(part.products for part in parts),
        seconds=sum(part.seconds for part in parts),
        status=Status.CONVERGED,  # of the start: what cut it short will end the fit, too, with this for a result
        trace=(),
        starts=parts[0].starts,
    )

    def cancelled() -> bool:
        return stop.cancelled() or time.perf_counter() - began > stop.time_limit

    return model.onto(params, few, prepared, cancelled), prepared, [whole]


def _searched(
    model: Model[P], prepared: P, init: Init | None, search: _Search[P], seed: int
) -> tuple[Params, P, list[Optimum]]:
    """The best of the optima that starts lead to, loosely; what is left of a time limit is the optimizer's.

    The first part of the run is the search: its trace is the point that was found.
    """
    assert isinstance(model, Searching)
    generator = torch.Generator().manual_seed(seed)
    best = search.best(model.own_starts(prepared, init), near=init is None, least=2 if init is None else 3)
    values = [best.value] if best else []
    for _ in range(model.starts - 1):
        further = search.best(iter([model.another(prepared, generator)]))
        if further is not None:
            values.append(further.value)
            best = further if best is None or further.value < best.value else best
    if best is None:
        return model.start(prepared), model.searched(prepared), []
    agree = sum(value - best.value <= search.agreed for value in values)
    starts = Starts(len(values), agree, max(values) - best.value) if model.starts > 1 else None
    params, prepared = best.optimum.params, best.prepared
    whole = search.best(model.wholes(params, prepared))
    if whole is None:  # there are none, or there was no time, or none was defined: the optimizer will say so
        params, prepared = next(model.wholes(params, prepared), (params, prepared))
        return params, model.searched(prepared), [replace(search.whole(best.optimum), starts=starts)]
    found = model.searched(whole.prepared)
    return whole.optimum.params, found, [replace(search.whole(whole.optimum), starts=starts)]


@dataclass
class _Watch:
    """Whether a start is to be given up: too far from the best after so many steps, or, for sure, from a rival.

    agreed: nats by which two ends may differ that are the same.
    """

    patience: int
    best: float
    rival: float
    agreed: float
    last: float = math.inf
    falls: tuple[float, float] = (0.0, 0.0)
    hopeless: bool = False

    def look(self, step: Step) -> None:
        """After each step."""
        hope = 0.0
        if step.step:
            self.falls = (self.falls[1], self.last - step.loss)
            hope = HOPE * max(self.falls) + self.agreed
        self.last = step.loss
        far = step.step >= self.patience and step.loss - hope > self.best
        self.hopeless = far or step.loss - SURE * step.gap > self.rival  # a gap of nan: no


class _Search(Generic[P]):
    """Loose fits from several starts, and what they have taken; cut: by what the search was cut short."""

    def __init__(
        self,
        model: Model[P],
        prepared: P,
        stop: StopRule,
        offer: Offer | None,
        known: Sequence[Found[P]],
        on_search: OnWait | None,
    ) -> None:
        assert isinstance(model, Searching)
        self.model, self.stop, self.offer, self.known = model, stop, offer, known
        self.on_search = on_search
        self.began = time.perf_counter()
        self.agreed = 2.0 * model.loose * prepared.data.total_weight
        self.parts: list[Found[P]] = []
        self.cut: Status | None = None

    def best(self, starts: Iterator[tuple[Params, P]], *, near: bool = False, least: int = 2) -> Found[P] | None:
        """The best optimum: the first to which most starts led, so many at least, or of all.

        near: unless all led there, also of the starts near it, the first that leads there again being the last.
        """
        found: Found[P] | None = None
        values: list[float] = []
        for again in (False, True) if near else (False,):
            if again:
                if found is None or 1 < len(values) == self._agreeing(values):
                    return found
                assert isinstance(self.model, Searching)
                starts, values = self.model.restarts(found.optimum.params, found.prepared), [found.value]
            for start, prepared in starts:
                if self.cut is not None:
                    return found
                fitted = self._fitted(start, prepared, math.inf if found is None else found.value)
                if fitted.optimum.status is Status.DIVERGED:
                    continue
                found = fitted if found is None or fitted.value < found.value else found
                values.append(fitted.value)
                if self._agreeing(values) >= max(least, len(values) // 2 + 1):
                    break
        return found

    def _agreeing(self, values: Sequence[float]) -> int:
        """How many are as good as the best of them."""
        return sum(value - min(values) <= self.agreed for value in values)

    def _fitted(self, start: Params, prepared: P, best: float) -> Found[P]:
        """A loose fit, unless it is known already; told to whoever keeps it, unless it is cut short.

        best: the value beside which it is given up, if the model's patience ends.
        """
        if len(self.parts) < len(self.known):
            found = self.known[len(self.parts)]
        else:
            assert isinstance(self.model, Searching)
            patience = sys.maxsize if self.model.patience is None else self.model.patience
            watch = _Watch(patience, best, self.model.rival(prepared), self.agreed)
            loose = replace(
                self.stop,
                tol=max(self.stop.tol, self.model.loose),
                max_iter=None,
                time_limit=self.stop.time_limit - (time.perf_counter() - self.began),
                cancelled=lambda: watch.hopeless or self.stop.cancelled(),
            )

            def seen(step: Step) -> None:
                watch.look(step)
                self._tell(step)

            params, prepared, optimum = followed(self.model, prepared, start, NewtonCG(), loose, seen)
            if watch.hopeless and not self.stop.cancelled():
                optimum = replace(optimum, status=Status.MAX_ITER)
            found = Found(replace(optimum, params=params), prepared)
        self.parts.append(found)
        if found.optimum.status in CUT:
            self.cut = found.optimum.status
        else:
            offered_search(self.offer, self.model, self.parts)
        return found

    def _tell(self, step: Step) -> None:
        """Say how far the search is."""
        if self.on_search is not None:
            where = f"start {len(self.parts) + 1}, step {step.step}"
            self.on_search(where, time.perf_counter() - self.began)

    def whole(self, best: Optimum) -> Optimum:
        """The search as a part of a run that ends at the best optimum."""
        parts = [part.optimum for part in self.parts]
        evaluations = sum(part.evaluations for part in parts)
        seconds = sum(part.seconds for part in parts)
        return replace(
            best,
            params={} if self.cut is None else best.params,
            gap=best.gap if self.cut is None else math.nan,
            steps=0,
            evaluations=evaluations,
            products=sum(part.products for part in parts),
            seconds=seconds,
            status=self.cut or Status.CONVERGED,
            trace=(Step(0, seconds, evaluations, best.value, best.grad_norm, math.nan, math.nan),),
        )
