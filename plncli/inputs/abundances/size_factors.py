"""Size factors estimated from a table of counts: blocks of features, refusals, and what the user is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plncli.errors import DataError, counted, nearest, some
from plncli.numerics.size_factors import SizeFactors, estimate
from plncli.tables.numbers import missing_cells, refuse
from plncli.tables.sparse import CSR, dense
from plncli.tables.table import Table


class Blocks(NamedTuple):
    """Blocks of features: their names (one nameless block for all), and that of each feature, by index (p,)."""

    names: tuple[str, ...]
    of: Tensor


class Estimated(NamedTuple):
    """What a method has learnt of a table, its offset (n×1, by block n×p), and a sentence about it."""

    learnt: SizeFactors
    offset: np.ndarray
    told: str


def blocks_of(table: Table | None, responses: Sequence[str]) -> Blocks:
    """The blocks of the features as --offset-blocks names them, in the order in which they come; a single one for None.

    DataError names features without a block.
    """
    if table is None:
        return Blocks(("",), torch.zeros(len(responses), dtype=torch.long))
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the features; their blocks are one: "
            f"{some(table.columns)}."
        )
    refuse(table, missing_cells(table), "feature without a block", "Name the block of each feature.")
    block = dict(zip(table.samples, map(str, table.cells.column(0).to_pylist()), strict=True))
    absent = [name for name in responses if name not in block]
    if absent:
        raise DataError(
            f"{table.name} has no block for {len(absent)} of the {counted(len(responses), 'feature')}: {some(absent)}. "
            f"Its rows are the features: a name, and that of a block.{nearest(absent[0], table.samples)}"
        )
    names = tuple(dict.fromkeys(block[name] for name in responses))
    at = {name: b for b, name in enumerate(names)}
    return Blocks(names, torch.tensor([at[block[name]] for name in responses]))


def size_factors_of(
    counts: Table,
    Y: np.ndarray | CSR,
    K: np.ndarray | None,
    features: Sequence[str],
    method: str,
    scale: str,
    blocks: Blocks,
) -> Estimated:
    """Size factors by a method from the counts Y (n×p, an array or sparse) of a table; K: True where observed.

    DataError where undefined.
    """
    if K is not None:
        which = [sample for sample, observed in zip(counts.samples, K, strict=True) if not observed.all()]
        raise DataError(
            f"{counts.name} has missing entries in {counted(len(which), 'sample')} ({some(which)}), so their size "
            f"factors cannot be estimated. Leave them out with --missing drop, or give their exposure by --exposure."
        )
    of = blocks.of
    if method == "total" and not isinstance(Y, np.ndarray):  # sums are all it takes, and sparse counts stay so
        Y, of = _sums(Y, blocks), torch.arange(len(blocks.names))
    tensor = torch.from_numpy(dense(Y)).double()
    learnt, log_factors = estimate(
        tensor, method, scale, blocks=blocks.names, block=of, samples=counts.samples, features=features
    )
    learnt = replace(learnt, block=blocks.of)
    offset = learnt.spread_out(log_factors).numpy()
    return Estimated(learnt, offset, _told(learnt, log_factors, tensor, counts.samples))


def _sums(Y: CSR, blocks: Blocks) -> np.ndarray:
    """n×b sums of sparse counts over the features of each block."""
    return np.stack([Y[:, (blocks.of == b).numpy()].sum(axis=1) for b in range(len(blocks.names))], 1)


def _told(learnt: SizeFactors, log_factors: Tensor, Y: Tensor, samples: Sequence[str]) -> str:
    """What was estimated, in a sentence: the range of the size factors in each block, and what they are relative to."""
    parts = []
    for b, (name, reference) in enumerate(zip(learnt.blocks, learnt.references, strict=True)):
        factors = log_factors[:, b].exp()
        low, high = (samples[int(row)] for row in (factors.argmin(), factors.argmax()))
        where = f"in {name} " if name else ""
        against = {
            "css": lambda: f", counts up to the {float(reference[0]):.3g} quantile",  # noqa: B023 (called at once)
            "rle": lambda: f", by the {counted(int((reference > 0).sum()), 'feature')} of all samples",  # noqa: B023
            "tmm": lambda: f", reference {samples[int((Y[:, learnt.block == b] == reference).all(1).int().argmax())]}",  # noqa: B023
        }.get(learnt.method, str)()
        parts.append(f"{where}{factors.min():.4g} ({low}) to {factors.max():.4g} ({high}){against}")
    return f"Size factors estimated by {learnt.method}, on the scale of {learnt.scale}: {'; '.join(parts)}."
