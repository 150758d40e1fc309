"""Separation in a regression whose rows come by blocks: what `separation` finds of all of them at once.

With rows a_i, fixed or free, the cone {δ : a_i'δ = 0 on fixed rows, a_i'δ ≤ 0 on free ones} needs of the fixed rows
their triangular factor alone. Of the free ones some decide: further ones join where the direction that was found
violates them, until none does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from plncli import ranks
from plncli.numerics.cones import distinct, interior, null_space, unit_rows
from plncli.numerics.rows import gathered
from plncli.numerics.separation import Recession

FEW = 4096
"""Free rows of a block that are looked at first, and that join at a time."""
STRICT = 1e-7
"""How far below 0 a free row must be along the direction that was found."""

Blocks = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Each time anew: rows (b×d) and whether they are free (b,), by blocks."""


@dataclass(frozen=True)
class Found:
    """A cone, in which `number` free rows can be negative; `cone.cells` is empty, its `rows` are those that decide."""

    cone: Recession = field(repr=False)
    number: int

    def cells(self, rows: Tensor, free: Tensor) -> Tensor:
        """Which rows are separated, (b,)."""
        moves = unit_rows(unit_rows(_double(rows)) @ self.cone.kernel, floor=1e-9)
        return free & (moves.abs().amax(1) > 0).to(free.device)


def separation_by_blocks(blocks: Blocks, T: Tensor) -> Found | None:
    """Where free rows can be negative; None where none can. T (d×d) leads from coefficients to those of the rows."""
    N = null_space(_triangle(blocks, len(T)))
    decide = _acting(blocks, N)
    while N.shape[1]:
        if not len(decide):
            return None
        inner, R, z = interior(N, decide)
        if not inner.shape[1]:
            return None
        violated, number = _violated(blocks, inner, z)
        if not len(violated):
            if not number:
                return None
            cone = Recession(torch.zeros(0, dtype=torch.bool), inner @ z, inner, _double(T), R[R.abs().amax(1) > 0])
            return Found(cone, number)
        decide = distinct(torch.cat([decide, violated]))[0]
    return None


def _double(A: Tensor) -> Tensor:
    return A.detach().to("cpu", torch.float64)


def _triangle(blocks: Blocks, d: int) -> Tensor:
    """The triangular factor of the fixed rows, at unit norm each."""
    R = torch.zeros((0, d), dtype=torch.float64)
    with ranks.alone():
        for rows, free in blocks():
            fixed = unit_rows(_double(rows))[~free.cpu()]
            R = torch.linalg.qr(torch.cat([R, fixed]), mode="r").R
    return gathered(R)


def _acting(blocks: Blocks, N: Tensor) -> Tensor:
    """Distinct free rows that the subspace moves, at most FEW of each block in turn until there are as many in all."""
    found = torch.zeros((0, len(N)), dtype=torch.float64)
    with ranks.alone():
        for rows, free in blocks():
            some = unit_rows(_double(rows))[free.cpu()]
            some = some[unit_rows(some @ N, floor=1e-9).abs().amax(1) > 0] if N.shape[1] else some[:0]
            found = distinct(torch.cat([found, some[:FEW]]))[0] if len(some) else found
            if len(found) >= FEW:
                break
    return distinct(gathered(found))[0]


def _violated(blocks: Blocks, N: Tensor, z: Tensor) -> tuple[Tensor, int]:
    """Free rows that the direction does not make negative, the worst of them; and how many rows it moves at all."""
    worst, values = torch.zeros((0, len(N)), dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    number = torch.zeros((), dtype=torch.int64)
    with ranks.alone():
        for rows, free in blocks():
            some = unit_rows(_double(rows))[free.cpu()]
            R = unit_rows(some @ N, floor=1e-9)
            acting = R.abs().amax(1) > 0
            number += acting.sum()
            value = R @ z
            wrong = acting & (value > -STRICT)
            worst, values = torch.cat([worst, some[wrong]]), torch.cat([values, value[wrong]])
            order = values.argsort(descending=True)[:FEW]
            worst, values = worst[order], values[order]
    group = ranks.now()
    total = int(number if group is None else group.summed(number)[0])
    return gathered(worst), total
