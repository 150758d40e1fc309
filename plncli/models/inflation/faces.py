"""Probabilities that are 0 by a design: which of them close, and which open, where the others are best.

Where nothing is gained by structural zeros in some samples, their logits fall to −inf, while those of all others hold
still. Which can, is a matter of the design: in the terms of its rows, those that hold still lie in a face of the
convex hull of all. Closing costs nothing, for the fit has come that near; opening must gain something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from plncli.arrays import Params
from plncli.models.inflation import closing
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import Inflatable, Inflation

NEAR = 1e-2
"""Structural zeros expected in cells of a feature which together may be next to none."""
GAIN = 1e-7
"""Nats for each unit of weight that opening gains at least."""
ALONE = 200
"""Features that are opened one by one, at most, where they do not gain together."""

P = TypeVar("P", bound=Inflatable)


Tables = Callable[[Params, P, bool], list[Cells]]


def revised(
    tables: Tables[P], value: Callable[[Params, P], float], params: Params, prepared: P
) -> tuple[Params, P] | None:
    """Others open or closed; None where all stand. The objective does not rise.

    tables, value: as `ActiveSet` has them.
    """
    inflation = prepared.inflation
    assert inflation is not None and inflation.design is not None
    closed = _closed(inflation, tables(params, prepared, False), params, prepared)
    if closed is not None:
        return dict(params), replace(prepared, inflation=closed)
    return _opened(inflation, tables(params, prepared, True), value, params, prepared)


def _closed(inflation: Inflation, open_: Sequence[Cells], params: Params, prepared: Inflatable) -> Inflation | None:
    """Closed, too, where next to no structural zeros are expected; None where there are none. open_: their cells."""
    zeta = params["zeta"].detach()
    structural = inflation.weights * inflation.probabilities(zeta)
    ordered, order = torch.where(inflation.free, structural, torch.inf).sort(dim=0, stable=True)
    few = ordered.cumsum(0) < NEAR
    near = torch.zeros_like(inflation.free).scatter(0, order, few) & inflation.free
    if not bool(near.any()):
        return None
    found = inflation.closing(near)
    gone = inflation.free & ~found.free
    cost = torch.where(gone, closing.lost(inflation, zeta, open_), 0.0).sum(0)
    worth = cost <= closing.NOTHING * prepared.data.total_weight / len(cost)
    free = torch.where(worth, found.free, inflation.free)
    return None if torch.equal(free, inflation.free) else inflation.with_free(free)


def _opened(
    inflation: Inflation, shut: Sequence[Cells], value: Callable[[Params, P], float], params: Params, prepared: P
) -> tuple[Params, P] | None:
    """Open where structural zeros pay: all features together, or one by one. shut: the cells of closed entries."""
    assert inflation.design is not None
    best = closing.opening(inflation, shut)
    wanted = torch.isfinite(best)
    if not bool(wanted.any()):
        return None
    zeta = params["zeta"].detach()
    held = torch.where(inflation.free, inflation.entries(zeta), torch.nan)
    target = torch.where(wanted, best, held)
    left = ~inflation.free & ~wanted & (inflation.weights > 0)
    found = inflation.design.faces(left)
    cells = torch.zeros_like(left) if found is None else found.cells
    free = (inflation.weights > 0) & ~cells
    moved = inflation.design.nearest(target)
    now = value(params, prepared)
    least = GAIN * prepared.data.total_weight
    features = (wanted.any(0)).nonzero()[:, 0]
    groups = [features] if len(features) == 1 else [features, *(features.split(1) if len(features) <= ALONE else ())]
    answer: tuple[Params, P] | None = None
    for some in groups:
        at, changed = answer or (params, prepared)
        assert changed.inflation is not None
        begin, open_ = at["zeta"].detach().clone(), changed.inflation.free.clone()
        begin[:, some], open_[:, some] = moved[:, some], free[:, some]
        tried = {**at, "zeta": begin}, replace(changed, inflation=inflation.with_free(open_))
        here = value(*tried)
        if now - here > least:
            answer, now = tried, here
            if len(some) == len(features):
                break
    return answer
