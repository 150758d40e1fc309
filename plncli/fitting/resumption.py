"""A fit that goes on where it stood: the state of its optimizer, and how its problem had been changed until then."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Generic

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params
from plncli.errors import unfit
from plncli.fitting.shares import collected, collected_vector, own, own_vector
from plncli.models.base import Model, P, Revisable
from plncli.optim.base import Offer, Optimum, Starts, State, Status
from plncli.progress import Step

BOUNDARY = "standing"
"""Group of tensors that a checkpoint keeps of a model's `boundary_state`."""


def offering(offer: Offer | None, model: Model[P], prepared: P, start: Params, parts: list[Optimum]) -> Offer | None:
    """What an optimizer offers its state to, in a run that began at `start` after `parts`."""
    if offer is None:
        return None
    boundary = model.boundary_state(prepared) if isinstance(model, Revisable) else {}
    done = [_facts(part) for part in parts]
    traces = [[astuple(step) for step in part.trace] for part in parts]

    sampled = model.sampled(prepared)

    def whole(state: State) -> None:
        facts = {"state": state.facts, "parts": done, "traces": traces, "order": list(start)}

        def made(vectors: Mapping[str, Tensor], begun: Params) -> State:
            groups = {"state": vectors, "start": begun, BOUNDARY: boundary}
            tensors = {f"{group}.{name}": each for group, members in groups.items() for name, each in members.items()}
            return State(tensors, facts, state.trace)

        def of_all() -> State:
            vectors = {name: collected_vector(each, start, sampled) for name, each in state.tensors.items()}
            return made(vectors, collected(start, sampled))

        shared = sampled and ranks.now() is not None
        offer(replace(made(state.tensors, start), collect=of_all if shared else None))

    return whole


PART = ("value", "gap", "grad_norm", "steps", "evaluations", "products", "seconds")
"""What is kept of a finished part of a minimisation, besides its status and trace."""


def _facts(part: Optimum) -> dict[str, Any]:
    return {name: getattr(part, name) for name in PART} | {"status": part.status.name, "starts": part.starts}


SEARCH = "search"
"""Of a fit that was cut short while it looked for a start: what was found until then."""


@dataclass(frozen=True)
class Found(Generic[P]):
    """Where a start led: an optimum, and the data as its problem had become."""

    optimum: Optimum
    prepared: P

    @property
    def value(self) -> float:
        """Nats, minus the log-likelihood or its bound."""
        return self.optimum.value


def offered_search(offer: Offer | None, model: Model[P], found: Sequence[Found[P]]) -> None:
    """Tell what the starts led to that were tried so far."""
    if offer is None:
        return

    def tensors(of: Callable[[Params, Mapping[str, int]], Params]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for k, one in enumerate(found):
            boundary = model.boundary_state(one.prepared) if isinstance(model, Revisable) else {}
            params = of(one.optimum.params, model.sampled(one.prepared))
            made |= {f"{SEARCH}.{k}.{name}": tensor for name, tensor in params.items()}
            made |= {f"{SEARCH}.{k}.{BOUNDARY}.{name}": tensor for name, tensor in boundary.items()}
        return made

    facts: dict[str, Any] = {name: [] for name in ("parts", "traces", "order")}
    facts |= {"state": {"steps": 0, "evaluations": 0, "products": 0}, SEARCH: [_facts(one.optimum) for one in found]}
    shared = ranks.now() is not None and any(model.sampled(one.prepared) for one in found)
    collect = (lambda: State(tensors(collected), facts, ())) if shared else None
    offer(State(tensors(lambda params, _: params), facts, (), collect))


def searched(model: Model[P], prepared: P, state: State | None) -> list[Found[P]] | None:
    """Undo `offered_search`; None for a state of a fit that had begun. DataError for what cannot be of this model."""
    if state is None:
        return []
    if SEARCH not in state.facts:
        return None
    found = []
    for k, facts in enumerate(state.facts[SEARCH]):
        kept, at = _under(state.tensors, f"{SEARCH}.{k}."), prepared
        if isinstance(model, Revisable):
            at = model.at_boundary_state(prepared, _under(kept, f"{BOUNDARY}."))
        like = model.start(at)
        named = State(own(kept, like, model.sampled(at)), {}, ())
        params = {name: named.tensor(name, tensor).to(tensor) for name, tensor in like.items()}
        known = {name: facts[name] for name in PART}
        found.append(Found(Optimum(params=params, status=Status[facts["status"]], **known), at))
    return found


def _under(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """Those of a group, by the rest of their names."""
    return {name.removeprefix(group): tensor for name, tensor in tensors.items() if name.startswith(group)}


def taken_up(model: Model[P], prepared: P, state: State) -> tuple[list[Optimum], Params, P, State]:
    """Undo `offering`: the parts that are done, where the next one began, on which data, and its optimizer's state.

    DataError where they cannot be of this model and these data.
    """
    groups: dict[str, dict[str, Tensor]] = {"state": {}, "start": {}, BOUNDARY: {}}
    for path, tensor in state.tensors.items():
        group, _, name = path.partition(".")
        if group not in groups:
            raise unfit(f"it holds {path}")
        groups[group][name] = tensor.to(prepared.data.Y.device)
    parts = [
        Optimum(
            params={},
            status=Status[facts["status"]],
            trace=tuple(Step(*row) for row in trace),
            starts=Starts(*facts["starts"]) if facts.get("starts") else None,
            **{name: facts[name] for name in PART},
        )
        for facts, trace in zip(state.facts["parts"], state.facts["traces"], strict=True)
    ]
    if isinstance(model, Revisable):
        prepared = model.at_boundary_state(prepared, groups[BOUNDARY])
    like, order = model.start(prepared), state.facts["order"]  # in which they are joined to one vector
    if not {*order} == {*like} == {*groups["start"]} or len(order) > len(like):
        raise unfit("it began with other parameters")
    sampled = model.sampled(prepared)
    begun = State(own(groups["start"], like, sampled), {}, ())
    start = {name: begun.tensor(name, like[name]) for name in order}
    vectors = {name: own_vector(each, start, sampled) for name, each in groups["state"].items()}
    with torch.no_grad():
        if not math.isfinite(model.objective(start, prepared)):
            raise unfit("the objective is not finite where it began")
    return parts, start, prepared, State(vectors, state.facts["state"], state.trace)
