"""Probabilities that are 0 by a design: which of them close, and which open, where the others are best.

Where nothing is gained by structural zeros in some samples, their logits fall to −inf, while those of all others hold
still. Which can, is a matter of the design: in the terms of its rows, those that hold still lie in a face of the
convex hull of all. Closing costs nothing, for the fit has come that near; opening must gain something.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.inflation import closing
from plncli.models.inflation.entries import Inflation

if TYPE_CHECKING:
    from plncli.models.inflation.active import ActiveSet, Inflatable

NEAR = 1e-2
"""Structural zeros expected in cells of a feature which together may be next to none."""
GAIN = 1e-7
"""Nats for each unit of weight that opening gains at least."""
ALONE = 200
"""Features that are opened one by one, at most, where they do not gain together."""

P = TypeVar("P", bound="Inflatable")


def revised(zeros: ActiveSet[P], params: Params, prepared: P) -> tuple[Params, P] | None:
    """Others open or closed; None where all stand. The objective does not rise."""
    inflation = prepared.inflation
    assert inflation is not None and inflation.design is not None
    closed = _closed(inflation, params["zeta"].detach(), zeros, params, prepared)
    if closed is not None:
        return dict(params), replace(prepared, inflation=closed)
    return _opened(inflation, zeros, params, prepared)


def _closed(inflation: Inflation, zeta: Tensor, zeros: ActiveSet[P], params: Params, prepared: P) -> Inflation | None:
    """Closed, too, where next to no structural zeros are expected; None where there are none."""
    structural = inflation.weights * inflation.probabilities(zeta)
    ordered, order = torch.where(inflation.free, structural, torch.inf).sort(dim=0, stable=True)
    few = ordered.cumsum(0) < NEAR
    near = torch.zeros_like(inflation.free).scatter(0, order, few) & inflation.free
    if not bool(near.any()):
        return None
    found = inflation.closing(near)
    gone = inflation.free & ~found.free
    cost = torch.where(gone, closing.lost(inflation, zeta, zeros.tables(params, prepared, False)), 0.0).sum(0)
    worth = cost <= closing.NOTHING * prepared.data.total_weight / len(cost)
    free = torch.where(worth, found.free, inflation.free)
    return None if torch.equal(free, inflation.free) else inflation.with_free(free)


def _opened(inflation: Inflation, zeros: ActiveSet[P], params: Params, prepared: P) -> tuple[Params, P] | None:
    """Open where structural zeros pay: all features together, or one by one."""
    assert inflation.design is not None
    best = closing.opening(inflation, zeros.tables(params, prepared, True))
    wanted = torch.isfinite(best)
    if not bool(wanted.any()):
        return None
    zeta = params["zeta"].detach()
    held = torch.where(inflation.free, inflation.entries(zeta), torch.nan)
    target = torch.where(wanted, best, held)
    shut = ~inflation.free & ~wanted & (inflation.weights > 0)
    found = inflation.design.faces(shut)
    cells = torch.zeros_like(shut) if found is None else found.cells
    free = (inflation.weights > 0) & ~cells
    moved = inflation.design.nearest(target)
    now = zeros.value(params, prepared)
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
        value = zeros.value(*tried)
        if now - value > least:
            answer, now = tried, value
            if len(some) == len(features):
                break
    return answer
