"""Structural zeros on the way of a fit: where they begin, and what closes and opens their probabilities.

The search for the best of many optima goes without structural zeros, which costs a fraction; from the best that it
finds, probabilities above 0 enter that raise the bound. Where zeros are many and other counts large, components have
taken them in by then: so there is one more start, where each zero may be structural.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.inflation import closing
from plncli.models.inflation.active import ActiveSet, with_logits, without
from plncli.models.inflation.cells import Nodes, ZeroCells
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import START
from plncli.models.inflation.finished import Told, told
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.joint import Joint
from plncli.models.pca.posterior import Posterior
from plncli.models.pca.prepared import Prepared
from plncli.models.pca.starting.alternation import Whole
from plncli.models.pca.starting.start import HOT, ROUNDS, annealed, of_log_counts

TURNS = 2
"""How often the probabilities and all else are brought nearer to their best by turns, before a fit."""


def searching(prepared: Prepared) -> Prepared:
    """All probabilities held at 0 while the best of several starts is looked for."""
    return prepared if prepared.inflation is None else replace(without(prepared), plain=True)


def wholes(params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
    """The two starts of the model itself, `params` being the best that there is without structural zeros."""
    if prepared.plain:
        yield params, replace(prepared, plain=False)
        yield structural_start(replace(prepared, plain=False))


def structural_start(prepared: Prepared) -> tuple[Params, Prepared]:
    """Where zeros tell nothing of the components: from a start at which they are unobserved.

    Probabilities are then what they are best at; those that are best at 0 begin low.
    """
    inflation = prepared.inflation
    assert inflation is not None
    whole = replace(prepared, inflation=inflation.with_free(inflation.weights > 0))
    counts = prepared.counts
    positive = (counts.Y > 0).to(counts.Y)
    unobserved = replace(counts, K=positive if counts.K is None else positive * counts.K)
    theta = annealed(unobserved, of_log_counts(unobserved), HOT)
    now, zeta = Whole(unobserved, theta).settled(ROUNDS), inflation.start(START)
    for _ in range(TURNS):
        at = Evaluation(now.theta, now.table, Posterior.of(now.z), now.zeta)
        found = closing.opening(inflation.closed, _cells(at, whole, zeta))
        zeta = with_logits(inflation.start(START), found, inflation)
        now = Whole(whole.table, now.theta, now.z, zeta).settled(ROUNDS)
    return {"theta": now.theta, "zeta": zeta}, whole


def tables(params: Params, prepared: Prepared, closed: bool) -> list[Cells]:
    """Zeros of open entries, or of `closed` ones."""
    inflation = prepared.inflation
    assert inflation is not None
    of = replace(prepared, inflation=inflation.opposite) if closed else prepared
    return _cells(prepared.whole_at(params), of, params["zeta"].detach())


def _cells(at: Evaluation, prepared: Prepared, zeta: Tensor) -> list[Cells]:
    """Zeros in open entries, as posteriors have their latent values."""
    assert prepared.inflation is not None
    zeros = prepared.zeros_of(prepared.inflation)
    eta, variance = zeros.of(at.linear()), zeros.of(at.variance())
    s = variance.clamp_min(torch.finfo(eta.dtype).eps ** (2 / 3)).sqrt()
    cells = ZeroCells(eta, s, zeros.logits(zeta), Nodes.of(prepared.nodes, eta))
    return [Cells(zeros, cells, (eta + 0.5 * variance).exp())]


def zeros_told(params: Params, prepared: Prepared) -> Told | None:
    """How probable it is that each cell is a structural zero, and the count expected of it; None without any."""
    logits = None if prepared.inflation is None else prepared.logits(params["zeta"].detach())
    if logits is None:
        return None
    at, data = prepared.whole_at(params), prepared.data
    K = torch.ones_like(data.Y, dtype=torch.bool) if prepared.counted is None else prepared.counted > 0
    return told(at.linear(), at.variance().clamp_min(0.0).sqrt(), data.Y, K, logits)


def _value(params: Params, prepared: Prepared) -> float:
    return float(Joint(params, prepared).value)


ZEROS = ActiveSet(tables, _value)
"""Which probabilities are above 0."""
