"""An earlier fit as the start of another: its estimates, matched by name."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.base import INIT, startable
from plncli.runs.run import Run

AXES = {"sample": "samples", "term": "terms", "response": "responses"}  # axis -> attribute of a run and of a data set


def initial(run: Run, model: str, data: Dataset) -> tuple[dict[str, Tensor], str]:
    """The estimates of a run for the rows and columns of `data`, nan where it has none; and a sentence.

    DataError when it is of another model, or about other things altogether.
    """
    if run.model != model:
        raise DataError(f"--init {run.place} is a {run.model} fit, which a {model} fit cannot start from.")
    places, init = {}, {}
    known = startable(run.spec, {**run.estimates, **run.state})
    for axis in {axis for symbol in known for axis in INIT[symbol]} & set(AXES):
        at = {name: i for i, name in enumerate(getattr(run, AXES[axis]))}
        places[axis] = torch.tensor([at.get(name, -1) for name in getattr(data, AXES[axis])])
    for symbol, values in known.items():
        table = torch.as_tensor(values).to(data.Y)
        for place, axis in enumerate(INIT[symbol]):
            if axis in places:
                table = _matched(table.movedim(place, 0), places[axis]).movedim(0, place)
        init[symbol] = table
    if not init:
        raise DataError(f"--init {run.place} has a neural mean, and so no coefficients that a fit could start from.")
    told = []
    for axis in INIT["S"] if "S" in init else INIT["B"]:
        shared, total = int((places[axis] >= 0).sum()), len(places[axis])
        if not shared:
            raise DataError(f"--init {run.place} shares no {axis} with this fit, so there is nothing to start from.")
        told.append(f"{shared} of {total} {axis}s")
    return init, f"Starting from {run.place}, which has {' and '.join(told)}."


def _matched(table: Tensor, places: Tensor) -> Tensor:
    """Rows of a table, nan for a place of −1."""
    rows = table[places.clamp(min=0).to(table.device)]
    rows[places < 0] = torch.nan
    return rows
