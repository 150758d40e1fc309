"""Where fits with structural zeros begin: without them (`models.inflation.active`), and where each zero may be one.

Where zeros are many and other counts large, the latent layer of a fit without structural zeros has taken them in, as
values far below all others, and hardly a probability enters: so there is another start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from plncli.arrays import Params
from plncli.models.inflation import closing
from plncli.models.inflation.active import ActiveSet, with_logits, without
from plncli.models.inflation.cells import NODES, Nodes, ZeroCells
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import START, Zeros
from plncli.models.pln.joint import Joint
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.start import settle, start

ROUNDS, FEW = 2, 4
"""Rounds of a fit, and Newton steps of each sample in a round."""


def starts(params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
    """The two, from where a fit without structural zeros begins."""
    yield params, without(prepared)
    yield structural_start(prepared), prepared


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
        logits = closing.opening(closed.inflation, tables({**params, "zeta": zeta}, closed, True))
        zeta = with_logits(prepared.inflation.start(START), logits, prepared.inflation)
        params, _ = settle({**params, "zeta": zeta}, prepared, steps=FEW)
    return {**params, "zeta": zeta}


def tables(params: Params, prepared: Prepared, closed: bool) -> list[Cells]:
    """Zeros of latent features and of the others, in open entries or in `closed` ones."""
    inflation, zeta = prepared.inflation, params["zeta"].detach()
    assert inflation is not None
    if closed:
        inflation = inflation.opposite
    (M, psi), cells, found = params["q"].detach(), prepared.table.emission, []
    if len(prepared.latent):
        zeros = Zeros.among(cells.Y, cells.K, prepared.w, inflation, prepared.latent)
        eta, S2 = zeros.of(cells.O + M), zeros.of(psi.exp())
        at = ZeroCells(eta, S2.sqrt(), zeros.logits(zeta), Nodes.of(NODES, eta))
        found.append(Cells(zeros, at, (eta + 0.5 * S2).exp()))
    if "gamma" in params:
        boundary = prepared.boundary
        zeros = Zeros.among(boundary.Y, boundary.K, prepared.w, inflation, prepared.poisson)
        flat = replace(boundary, zeros=zeros).given(zeta).zero_cells(params["gamma"].detach())
        if flat is not None:
            found.append(Cells(zeros, flat, flat.eta.exp()))
    return found


def _value(params: Params, prepared: Prepared) -> float:
    return float(Joint(params, prepared).value)


ZEROS = ActiveSet(tables, _value)
"""Which probabilities are above 0."""
