"""Where fits with structural zeros begin: without them (`models.inflation.active`), and where each zero may be one.

Where zeros are many and other counts large, the latent layer of a fit without structural zeros has taken them in, as
values far below all others, and hardly a probability enters: so there is another start. Where that is better from the
beginning than the optimum without structural zeros it is the only one: on simulated tables the other then led nowhere
else, or to less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params
from plncli.errors import unfit
from plncli.models.inflation import closing
from plncli.models.inflation.active import ActiveSet, with_logits, without
from plncli.models.inflation.cells import COARSE, Nodes, ZeroCells
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import START, Zeros
from plncli.models.pln.joint import Joint
from plncli.models.pln.prepared import Later, Prepared
from plncli.models.pln.start import settle, start

PLAIN = "plain"
"""Of a state: that it is of a fit without structural zeros, which come in later."""


def plainly(prepared: Prepared) -> Prepared:
    """Without structural zeros, which come in later."""
    assert prepared.inflation is not None
    coarse = replace(prepared, nodes=COARSE)
    params = structural_start(coarse)
    later = Later(prepared.inflation, params, _value(params, coarse))
    return replace(prepared, inflation=None, later=later)


def wholes(params: Params, prepared: Prepared, value: float) -> Iterator[tuple[Params, Prepared]]:
    """The starts with structural zeros, `params` being where a fit without them has its optimum, or was given up."""
    later = prepared.later
    if later is None:
        return
    whole = replace(prepared, inflation=later.inflation, later=None, nodes=COARSE)
    if later.value >= value:
        yield _opened(params, whole)
    latent = torch.arange(prepared.data.p, device=prepared.latent.device)
    tried, returns = torch.full_like(prepared.tried, torch.inf), torch.zeros_like(prepared.returns)
    yield later.params, replace(whole, latent=latent, poisson=latent[:0], tried=tried, returns=returns)


def _opened(params: Params, whole: Prepared) -> tuple[Params, Prepared]:
    """With the probabilities above 0 that raise the bound."""
    closed = without(whole)
    assert closed.inflation is not None
    params = {**params, "zeta": closed.inflation.start(START)}
    return ZEROS.opened(params, closed) or (params, closed)


def structural_start(prepared: Prepared) -> Params:
    """Where zeros tell nothing of the latent layer: a step of each sample from a start at which they are unobserved.

    Probabilities are then what they are best at, those that are best at 0 begin low, and samples take one more step.
    """
    assert prepared.inflation is not None
    positive = (prepared.data.Y > 0).to(prepared.data.Y)
    counted = positive if prepared.counted is None else positive * prepared.counted
    unobserved, closed = replace(prepared, counted=counted, inflation=None), without(prepared)
    assert closed.inflation is not None
    params, _ = settle(start(unobserved), unobserved, steps=1)
    zeta = prepared.inflation.start(START)
    logits = closing.opening(closed.inflation, tables({**params, "zeta": zeta}, closed, True))
    params, _ = settle({**params, "zeta": with_logits(zeta, logits, prepared.inflation)}, prepared, steps=1)
    return params


def state(prepared: Prepared) -> dict[str, Tensor]:
    """Which probabilities are open, and the number of nodes; or that they come in later."""
    return ZEROS.state(prepared) if prepared.later is None else {PLAIN: torch.tensor(True)}


def at_state(prepared: Prepared, known: Mapping[str, Tensor]) -> Prepared:
    """The data as `state` says. DataError where that cannot be."""
    if PLAIN not in known:
        return ZEROS.at_state(prepared, known)
    if prepared.inflation is None or known[PLAIN].shape or known[PLAIN].dtype != torch.bool:
        raise unfit("it knows nothing of structural zeros")
    return plainly(prepared)


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
        at = ZeroCells(eta, S2.sqrt(), zeros.logits(zeta), Nodes.of(COARSE if closed else prepared.nodes, eta))
        found.append(Cells(zeros, at, (eta + 0.5 * S2).exp()))
    if "gamma" in params:
        boundary = prepared.boundary
        zeros = Zeros.among(boundary.Y, boundary.K, prepared.w, inflation, prepared.poisson)
        flat = replace(boundary, zeros=zeros).given(zeta).zero_cells(params["gamma"].detach())
        if flat is not None:
            found.append(Cells(zeros, flat, flat.eta.exp()))
    return found


def _value(params: Params, prepared: Prepared) -> float:
    return ranks.same(float(Joint(params, prepared).value))


ZEROS = ActiveSet(tables, _value)
"""Which probabilities are above 0."""
