"""Probabilities of structural zeros on their way: where they begin, which are 0, and how finely zeros are summed.

A fit begins without structural zeros, at the Poisson log-normal model, which is one of the zero-inflated ones; where
that has its optimum, probabilities above 0 enter that raise the bound. It never falls, so no fit ends below the model
without them. Where zeros are many and other counts large, the latent layer has taken them in by then, as values far
below all others, and hardly a probability enters: so another fit begins where each zero may be structural.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.errors import unfit
from plncli.models.base import Init
from plncli.models.inflation import closing
from plncli.models.inflation.cells import NODES, Nodes, ZeroCells
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import Zeros
from plncli.models.pln.joint import Joint
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.start import START, settle, start

FINE = 1e-7
"""Nats for each unit of weight by which twice the nodes may change the bound."""
MOST_NODES = 160
ROUNDS, FEW = 2, 4
"""Rounds of a fit, and Newton steps of each sample in a round."""


def starts(params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
    """The two, from where a fit without structural zeros begins."""
    yield params, without(prepared)
    yield structural_start(prepared), prepared


def without(prepared: Prepared) -> Prepared:
    """All probabilities held at 0."""
    assert prepared.inflation is not None
    return replace(prepared, inflation=prepared.inflation.with_free(torch.zeros_like(prepared.inflation.free)))


def structural_start(prepared: Prepared) -> Params:
    """Where zeros tell nothing of the latent layer: a few rounds of a fit in which they are unobserved.

    Probabilities are then what they are best at; those that are best at 0 begin low.
    """
    assert prepared.inflation is not None
    positive = (prepared.data.Y > 0).to(prepared.data.Y)
    counted = positive if prepared.counted is None else positive * prepared.counted
    unobserved = replace(prepared, counted=counted, inflation=None)
    params = start(unobserved)
    for _ in range(ROUNDS):
        params, _ = settle(params, unobserved, steps=FEW)
    zeta = prepared.inflation.start(START)
    closed = without(prepared)
    assert closed.inflation is not None
    for _ in range(ROUNDS):
        logits = closing.opening(closed.inflation, tables({**params, "zeta": zeta}, closed, closed=True))
        zeta = _with_logits(prepared.inflation.start(START), logits, prepared)
        params, _ = settle({**params, "zeta": zeta}, prepared, steps=FEW)
    return {**params, "zeta": zeta}


def tables(params: Params, prepared: Prepared, *, closed: bool = False) -> list[Cells]:
    """Zeros of latent features and of the others, in open entries or in `closed` ones."""
    inflation, zeta = prepared.inflation, params["zeta"].detach()
    assert inflation is not None
    if closed:
        inflation = inflation.with_free(~inflation.free & (inflation.weights > 0))
    (M, psi), cells, found = params["q"].detach(), prepared.table.emission, []
    if len(prepared.latent):
        zeros = Zeros.among(cells.Y, cells.K, prepared.w, inflation, prepared.latent)
        eta, S2 = zeros.of(cells.O + M), zeros.of(psi.exp())
        at = ZeroCells(eta, S2.sqrt(), zeros.logits(zeta), Nodes.of(prepared.nodes, eta))
        found.append(Cells(zeros, at, (eta + 0.5 * S2).exp()))
    if "gamma" in params:
        boundary = prepared.boundary
        zeros = Zeros.among(boundary.Y, boundary.K, prepared.w, inflation, prepared.poisson)
        flat = replace(boundary, zeros=zeros).given(zeta).zero_cells(params["gamma"].detach())
        if flat is not None:
            found.append(Cells(zeros, flat, flat.eta.exp()))
    return found


def resume(prepared: Prepared, init: Init) -> Prepared:
    """Closed where an earlier fit left probabilities at 0."""
    known = None if prepared.inflation is None else prepared.inflation.known(init)
    if known is None:
        return prepared
    assert prepared.inflation is not None
    return replace(prepared, inflation=prepared.inflation.with_free(prepared.inflation.free & ~known.isneginf()))


def state(prepared: Prepared) -> dict[str, Tensor]:
    """Which probabilities are open, and the number of nodes; nothing without zero inflation."""
    if prepared.inflation is None:
        return {}
    return {"free": prepared.inflation.free, "nodes": torch.tensor(prepared.nodes)}


def at_state(prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
    """The data with these open, and so many nodes. DataError where that cannot be."""
    if prepared.inflation is None:
        return prepared
    free, nodes, known = state["free"], state["nodes"], prepared.inflation
    if free.shape != known.shape or free.dtype != torch.bool or bool((free & (known.weights == 0)).any()):
        raise unfit("it has other probabilities of structural zeros")
    if nodes.shape or nodes.dtype != torch.int64 or int(nodes) not in range(NODES, MOST_NODES + 1):
        raise unfit("it sums zeros over what is no number of nodes")
    return replace(prepared, inflation=known.with_free(free.to(known.free.device)), nodes=int(nodes))


def next_to_none(params: Params, prepared: Prepared) -> bool:
    """Whether some open probability is 0 at its best."""
    return prepared.inflation is not None and bool(_closing(params, prepared).any())


def _closing(params: Params, prepared: Prepared) -> Tensor:
    assert prepared.inflation is not None
    inflation, zeta = prepared.inflation, params["zeta"].detach()
    near = (inflation.weights * inflation.probabilities(zeta) < closing.NEXT) & inflation.free
    if not bool(near.any()):  # a look that costs nothing
        return near
    return closing.closing(inflation, zeta, tables(params, prepared), prepared.data.total_weight)


def revise(params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
    """Close probabilities that are 0 at their best; once `settled`, open others, or sum zeros over more nodes."""
    inflation = prepared.inflation
    if inflation is None:
        return None
    close = _closing(params, prepared)
    free, zeta = inflation.free & ~close, params["zeta"].detach()
    if settled:
        logits = closing.opening(inflation, tables(params, prepared, closed=True))
        opened = torch.isfinite(logits)
        free = free | opened
        zeta = _with_logits(zeta, torch.where(opened, logits, torch.nan), prepared)
    if not torch.equal(free, inflation.free):
        return {**params, "zeta": zeta}, replace(prepared, inflation=inflation.with_free(free))
    return _finer(params, prepared) if settled else None


def _with_logits(zeta: Tensor, logits: Tensor, prepared: Prepared) -> Tensor:
    """zeta with other logits (of entries' shape) where they are known."""
    assert prepared.inflation is not None
    known = torch.isfinite(logits)
    if prepared.inflation.X is None:
        return torch.where(known, logits, zeta)
    return torch.where(known.all(0), prepared.inflation.start(1.0) * logits.nan_to_num(nan=0.0)[:1], zeta)


def _finer(params: Params, prepared: Prepared) -> tuple[Params, Prepared] | None:
    """More nodes, where twice as many tell another bound."""
    finer, value = prepared, float(Joint(params, prepared).value)
    while 2 * finer.nodes <= MOST_NODES:
        twice = replace(finer, nodes=2 * finer.nodes)
        before, value = value, float(Joint(params, twice).value)
        if not abs(value - before) > FINE * prepared.data.total_weight:  # nan: no
            break
        finer = twice
    return None if finer is prepared else (params, finer)
