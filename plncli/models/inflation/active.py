"""Probabilities of structural zeros on their way: which are 0, and how finely zeros are summed.

A fit begins without structural zeros, at a model that is one of the zero-inflated ones; where that has its optimum,
probabilities above 0 enter that raise the bound. It never falls, so no fit ends below the model without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.errors import unfit
from plncli.models.inflation import closing, faces
from plncli.models.inflation.cells import COARSE, NODES
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import Inflatable, Inflation

FINE = 1e-7
"""Nats for each unit of weight by which twice the nodes may change the bound."""
MOST_NODES = 160


P = TypeVar("P", bound=Inflatable)


def without(prepared: P) -> P:
    """All probabilities held at 0."""
    assert prepared.inflation is not None
    return replace(prepared, inflation=prepared.inflation.closed)


def with_logits(zeta: Tensor, logits: Tensor, inflation: Inflation) -> Tensor:
    """zeta with other logits (of entries' shape) where they are known."""
    known = torch.isfinite(logits)
    if inflation.X is None:
        return torch.where(known, logits, zeta)
    return torch.where(known.all(0), inflation.start(1.0) * logits.nan_to_num(nan=0.0)[:1], zeta)


@dataclass(frozen=True)
class ActiveSet(Generic[P]):
    """The probabilities above 0 of a model.

    tables: the zeros of open entries, or, if that is asked, of closed ones, at `params`; value: the objective there.
    """

    tables: Callable[[Params, P, bool], list[Cells]]
    value: Callable[[Params, P], float]

    def resume(self, prepared: P, known: Tensor | None) -> P:
        """Closed where an earlier fit left probabilities at 0; known: its logits (`Inflation.known`)."""
        inflation = prepared.inflation
        if known is None or inflation is None:
            return prepared
        return replace(prepared, inflation=inflation.resumed(known))

    def state(self, prepared: P) -> dict[str, Tensor]:
        """Which probabilities are open, and the number of nodes; nothing without zero inflation."""
        if prepared.inflation is None:
            return {}
        return {"free": prepared.inflation.free, "nodes": torch.tensor(prepared.nodes)}

    def at_state(self, prepared: P, state: Mapping[str, Tensor]) -> P:
        """The data with these open, and so many nodes. DataError where that cannot be."""
        known = prepared.inflation
        if known is None:
            return prepared
        if not {*self.state(prepared)} <= {*state}:
            raise unfit("it knows nothing of structural zeros")
        free, nodes = state["free"], state["nodes"]
        if known.wider is not None and free.shape == known.wider.shape:
            known = known.wider
        if free.shape != known.shape or free.dtype != torch.bool or bool((free & (known.weights == 0)).any()):
            raise unfit("it has other probabilities of structural zeros")
        if nodes.shape or nodes.dtype != torch.int64 or int(nodes) not in range(COARSE, MOST_NODES + 1):
            raise unfit("it sums zeros over what is no number of nodes")
        return replace(prepared, inflation=known.with_free(free.to(known.free.device)), nodes=int(nodes))

    def next_to_none(self, params: Params, prepared: P) -> bool:
        """Whether some open probability is 0 at its best."""
        return prepared.inflation is not None and bool(self._closing(params, prepared).any())

    def _closing(self, params: Params, prepared: P) -> Tensor:
        assert prepared.inflation is not None
        inflation, zeta = prepared.inflation, params["zeta"].detach()
        if inflation.design is not None:  # closed, and opened, by faces
            return torch.zeros_like(inflation.free)
        near = (inflation.weights * inflation.probabilities(zeta) < closing.NEXT) & inflation.free
        if not bool(near.any()):  # a look that costs nothing
            return near
        return closing.closing(inflation, zeta, self.tables(params, prepared, False), prepared.data.total_weight)

    def revise(self, params: Params, prepared: P, *, settled: bool) -> tuple[Params, P] | None:
        """Close probabilities that are 0 at their best; once `settled`, open others, or sum zeros over more nodes."""
        inflation = prepared.inflation
        if inflation is None:
            return None
        if inflation.design is not None:
            return (
                (faces.revised(self.tables, self.value, params, prepared) or self._finer(params, prepared))
                if settled
                else None
            )
        changed = self._changed(params, prepared, opening=settled)
        return changed or ((self._finer(params, prepared) or self._wider(params, prepared)) if settled else None)

    def opened(self, params: Params, prepared: P) -> tuple[Params, P] | None:
        """As `revise` where settled, but for nodes."""
        assert prepared.inflation is not None
        if prepared.inflation.design is not None:
            return faces.revised(self.tables, self.value, params, prepared)
        return self._changed(params, prepared, opening=True)

    def _changed(self, params: Params, prepared: P, *, opening: bool) -> tuple[Params, P] | None:
        """Others open or closed; None where all stand."""
        inflation = prepared.inflation
        assert inflation is not None
        close = self._closing(params, prepared)
        free, zeta = inflation.free & ~close, params["zeta"].detach()
        if opening:
            logits = closing.opening(inflation, self.tables(params, prepared, True))
            opened = torch.isfinite(logits)
            free = free | opened
            zeta = with_logits(zeta, torch.where(opened, logits, torch.nan), inflation)
        if torch.equal(free, inflation.free):
            return None
        return {**params, "zeta": zeta}, replace(prepared, inflation=inflation.with_free(free))

    def _wider(self, params: Params, prepared: P) -> tuple[Params, P] | None:
        """By covariates, where the probabilities that do not depend on them are best."""
        assert prepared.inflation is not None
        if prepared.inflation.wider is None:
            return None
        wider, zeta = prepared.inflation.widened(params["zeta"].detach())
        return {**params, "zeta": zeta}, replace(prepared, inflation=wider)

    def _finer(self, params: Params, prepared: P) -> tuple[Params, P] | None:
        """More nodes, where twice as many tell another bound; not on the way."""
        if prepared.nodes < NODES:
            return None
        finer, value = prepared, self.value(params, prepared)
        while 2 * finer.nodes <= MOST_NODES:
            twice = replace(finer, nodes=2 * finer.nodes)
            before, value = value, self.value(params, twice)
            if not abs(value - before) > FINE * prepared.data.total_weight:  # nan: no
                break
            finer = twice
        return None if finer is prepared else (params, finer)
