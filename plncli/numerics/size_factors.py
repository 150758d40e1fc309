"""Offsets: what is known before the fit about how much of each feature a sample can show, on the log scale.

Where no one has measured it, a size factor of each sample is estimated from the counts themselves. A `Method` is two
functions: what it learns of a table (its reference), and the log size factors of samples against such a reference, up
to a constant that all samples share; `estimate` settles the constant. `Undefined` says where a method has no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli.errors import DataError, counted, some
from plncli.numerics.rows import mean
from plncli.numerics.size_factor_methods import METHODS, Undefined, totals


class Spread(NamedTuple):
    """How far the total counts of samples lie apart: highest over lowest, and the samples (rows) of the two."""

    fold: float
    lowest: int
    highest: int


def log_exposure(E: Tensor) -> Tensor:
    """Offset of an exposure E > 0 on the natural scale, of any shape: its natural logarithm."""
    return torch.log(E)


def spread(depth: Tensor) -> Spread:
    """Spread of sequencing depths (n,) over the samples that have any count."""
    lowest = int(torch.where(depth > 0, depth, torch.inf).argmin())
    highest = int(depth.argmax())
    fold = float(depth[highest] / depth[lowest]) if depth[lowest] > 0 else 1.0
    return Spread(fold, lowest, highest)


@dataclass(frozen=True)
class SizeFactors:
    """A method with what it has learnt of a table, block of features by block.

    scale: `counts`, the geometric mean of the factors is that of the samples' total counts in the block, or
    `proportions`, it is 1. blocks: their names, one nameless block for all features; block: (p,) index of each
    feature's; references: of each block; shifts: (b,) what is added to the log factors for the scale; features: the
    names of those that it was learnt of, if they are known.
    """

    method: str
    scale: str
    blocks: tuple[str, ...]
    block: Tensor = field(repr=False)
    references: tuple[Tensor, ...] = field(repr=False)
    shifts: Tensor = field(repr=False)
    features: tuple[str, ...] = field(repr=False, default=())

    def log_factors(self, Y: Tensor, samples: Sequence[str]) -> Tensor:
        """(n, b) log size factors of samples with counts Y (n×p), by block; DataError names those without any."""
        parts = []
        for b, reference in enumerate(self.references):
            part = Y[:, self.block == b]
            _check_counts(part, self.blocks[b], samples)
            parts.append(
                _named(self.method, self.blocks[b], samples, METHODS[self.method].log_factors, part, reference)
            )
        return torch.stack(parts, 1) + self.shifts

    def spread_out(self, log_factors: Tensor) -> Tensor:
        """The offset: n×1 log factors as they are, those of several blocks (n×b) by feature, n×p."""
        return log_factors if len(self.blocks) == 1 else log_factors[:, self.block]

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it, without the reference of gmpr, which is the whole table."""
        kept = None if self.method == "gmpr" else [reference.tolist() for reference in self.references]
        return {
            "method": self.method,
            "scale": self.scale,
            "blocks": self.blocks,
            "block": self.block.tolist(),
            "references": kept,
            "shifts": self.shifts.tolist(),
            "features": self.features,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SizeFactors:
        """Undo `to_json`. DataError for gmpr, whose reference is not kept."""
        if content["references"] is None:
            raise DataError(
                f"The method {content['method']} holds each sample against all others of its table, which a fit does "
                "not keep. Estimate the size factors of the old samples and the new ones together."
            )
        *references, shifts = (
            torch.tensor(values, dtype=torch.float64) for values in (*content["references"], content["shifts"])
        )
        block, features = torch.tensor(content["block"]), tuple(content.get("features", ()))
        return cls(
            content["method"], content["scale"], tuple(content["blocks"]), block, tuple(references), shifts, features
        )


class Estimate(NamedTuple):
    """What a method has learnt of a table, and the (n, b) log size factors of the table's own samples, by block."""

    size_factors: SizeFactors
    log_factors: Tensor


def estimate(
    Y: Tensor,
    method: str,
    scale: str = "counts",
    *,
    blocks: Sequence[str] = ("",),
    block: Tensor | None = None,
    samples: Sequence[str] = (),
    features: Sequence[str] = (),
) -> Estimate:
    """Size factors of the counts Y (n×p) by a method; `block` (p,) is the index of each feature's, None for one.

    DataError, with the names of `samples` at fault, where the method is not defined.
    """
    block = torch.zeros(Y.shape[1], dtype=torch.long) if block is None else block
    samples = samples or [str(i) for i in range(1, len(Y) + 1)]
    references, parts, levels = [], [], []
    for b, name in enumerate(blocks):
        part = Y[:, block == b]
        _check_counts(part, name, samples)
        references.append(_named(method, name, samples, METHODS[method].reference, part))
        parts.append(_named(method, name, samples, METHODS[method].log_factors, part, references[b]))
        levels.append(mean(totals(part).log()) if scale == "counts" else Y.new_zeros(()))
    log_factors = torch.stack(parts, 1)
    shifts = torch.stack(levels) - mean(log_factors)
    learnt = SizeFactors(method, scale, tuple(blocks), block, tuple(references), shifts, tuple(features))
    return Estimate(learnt, log_factors + shifts)


def _check_counts(Y: Tensor, block: str, samples: Sequence[str]) -> None:
    """DataError naming samples without any count in the block."""
    empty = [samples[i] for i in (totals(Y) == 0).nonzero().flatten().tolist()]
    if empty:
        where = f" in the block `{block}`" if block else ""
        raise DataError(
            f"{counted(len(empty), 'sample')} without any count{where} ({some(empty)}), so there is no size factor to "
            "estimate. Leave these samples out" + (", or the block." if block else ".")
        )


def _named(method: str, block: str, samples: Sequence[str], step: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """What a step of a method makes of its arguments; DataError in words where it is undefined."""
    try:
        return step(*given)
    except Undefined as found:
        where = f" in the block `{block}`" if block else ""
        which = f" ({some(samples[i] for i in found.rows)})" if found.rows else ""
        raise DataError(
            f"Size factors by {method} are not defined{where}: {found.reason}{which}. {found.remedy}"
        ) from None
