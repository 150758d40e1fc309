"""Tables of the latent layer that a fit by blocks does not hold: made and written by blocks of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from plncli.models import fitted
from plncli.models.abilities import LatentValues, Transforming
from plncli.models.fitted import Fitted
from plncli.models.spec import Symbol
from plncli.runs.outcome import Outcome
from plncli.sparse import block_of, blocks_of
from plncli.tables import writing as output
from plncli.tables.appending import by_blocks

VALUES = {"M": "mean", "S": "sd"}
"""Symbols, and what of latent values they are."""


def latent_blocks(
    finished: Fitted, Y: Tensor, X: Tensor, O: Tensor, K: Tensor | None, X0: Tensor | None
) -> Iterator[tuple[slice, LatentValues]]:
    """Latent values of samples that are looked at together: all of them, where counts Y have their zeros."""
    for rows in blocks_of(Y):
        own = (None if table is None else table[rows] for table in (K, X0))
        with torch.no_grad():
            yield rows, fitted.transform(finished, block_of(Y, rows), X[rows], O[rows], *own)


def write_blocks(
    blocks: Iterable[tuple[slice, LatentValues]],
    files: Sequence[tuple[Path, str, str]],
    samples: Sequence[str],
    responses: Sequence[str],
) -> dict[str, Tensor]:
    """Write tables of samples × responses; how many cells of each response (1×p) something must be said of.

    files: path, format, and what of latent values each holds.
    """
    reasons: dict[str, Tensor] = {}
    with ExitStack() as stack:
        tables = [(stack.enter_context(by_blocks(path, suffix, samples)), what) for path, suffix, what in files]
        for rows, found in blocks:
            for append, what in tables:
                values = getattr(found, what).numpy()
                columns = [output.number_column(values[:, j]) for j in range(len(responses))]
                append(output.with_names("sample", samples[rows], responses, columns))
            for reason, cells in found.reasons.items():
                reasons[reason] = cells.sum(0, keepdim=True) + reasons.get(reason, 0)
    return reasons


def write_latent(folder: Path, outcome: Outcome) -> None:
    """The tables of samples × responses that follow from other estimates, which the fit has left out of its own."""
    result, finished = outcome.result, outcome.result.fitted
    left_out = [
        symbol for symbol in result.model.spec.symbols if _follows(symbol) and symbol.name not in result.estimates
    ]
    if not left_out or not isinstance(finished, Transforming):
        return
    data, suffix = result.data, outcome.config.format
    files = [(folder / f"{symbol.table}.{suffix}", suffix, VALUES[symbol.name]) for symbol in left_out]
    write_blocks(latent_blocks(finished, data.Y, data.X, data.O, data.K, data.X0), files, data.samples, data.responses)


def _follows(symbol: Symbol) -> bool:
    """Whether it is a table that is written where it is asked for, and follows from others where it is not there."""
    return bool(symbol.table and symbol.asked and symbol.instead and symbol.name in VALUES)
