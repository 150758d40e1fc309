"""Sums over samples: the one seam through which every one of them goes.

Rows are local today. What sums over them says so by calling one of these functions, so that rows may come from other
ranks, or block by block from disk, without a change of what is computed of them. What needs all rows at once says
`# needs all rows` at the place.

Small tables are summed in one operation (`total`, `mean`, `grand_total`, `weighted_total`, `gram`,
`group_totals`). In large ones a
function of a block of rows is summed over the blocks (`over_rows`), which fit the cache, so temporaries do not grow
with the table; where the sum itself is large, blocks add to it in turn (`accumulate`).

Threads each take a run of blocks and work with single-threaded operations. Splitting every operation over the threads
instead makes them wait for each other thousands of times a pass: on a busy machine that costs more than the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

CACHED = 1 << 18
"""Numbers in a block on a processor: 2 MB of float64."""
LAUNCHED = 1 << 24
"""Numbers in a block elsewhere, where starting an operation costs more than memory."""

Part = tuple[Tensor, ...]


def weigh(w: Tensor | None, A: Tensor) -> Tensor:
    """Rows of A (n×p) times their weights w (n,); A itself where w is None, which stands for ones. No sum."""
    return A if w is None else A * w[:, None]


def total(A: Tensor) -> Tensor:
    """Sum over the rows of A (n×anything, or (n,)), in its units; differentiable, as all sums here but the last two."""
    return A.sum(0)


def mean(A: Tensor) -> Tensor:
    """Mean over the rows of A (n×anything, or (n,)), nan without any."""
    return A.mean(0)


def grand_total(A: Tensor) -> Tensor:
    """Sum of all entries of A, over its rows and whatever other axes it has; scalar."""
    return A.sum()


def weighted_total(w: Tensor, A: Tensor) -> Tensor:
    """w'A: sum over the rows of A (n×p, or (n,)), each times its weight in w (n,), as one product; (p,), or scalar."""
    return w @ A


def gram(A: Tensor, B: Tensor) -> Tensor:
    """A'B, summed over the rows that A (n×a) and B (n×b, or (n,)) share; a×b, or (a,)."""
    return A.mT @ B


def group_totals(A: Tensor, groups: Tensor, many: int) -> Tensor:
    """Sums over the rows of A (n×anything, or (n,)) by group: codes (n,) from 0 to many − 1; many×anything."""
    return A.new_zeros((many, *A.shape[1:])).index_add_(0, groups, A)


def accumulate(sums: Part, work: Callable[[slice], None], n: int, width: int, block: int) -> Part:
    """The sums, to which `work(rows)` has added each block of n rows in place, about block/width rows each, in turn.

    For sums so large that a thread should not have its own.
    """
    rows = max(1, block // max(1, width))
    for i in range(0, n, rows):
        work(slice(i, min(i + rows, n)))
    return sums


def over_rows(work: Callable[[slice], Part], like: Tensor, width: int, block: int | None = None) -> Part:
    """Sum of `work(rows)` over slices of the rows of `like` (n×anything), a block of about block/width rows each.

    width: numbers that a row takes in the work. `work` may also write to its own rows of a table. Blocks are added in
    an order that depends on the number of threads alone. There must be a row.
    """
    n = like.shape[0]
    on_cpu = like.device.type == "cpu"
    rows = max(1, (block or (CACHED if on_cpu else LAUNCHED)) // max(1, width))
    if n <= rows:
        return _sum(work, (slice(0, n),))
    slices = [slice(i, min(n, i + rows)) for i in range(0, n, rows)]
    threads = min(torch.get_num_threads(), len(slices)) if on_cpu else 1
    if threads == 1:
        return _sum(work, slices)
    runs = [slices[i * len(slices) // threads : (i + 1) * len(slices) // threads] for i in range(threads)]
    total = _added(_pool().map(lambda run: _sum(work, run), runs))
    torch.set_num_threads(torch.get_num_threads())  # what threads yet to be born start with, too
    return total


def _sum(work: Callable[[slice], Part], slices: Iterable[slice]) -> Part:
    with torch.no_grad():
        return _added(work(rows) for rows in slices)


def _added(parts: Iterable[Part]) -> Part:
    """Sum of the parts, in place of the first."""
    iterator = iter(parts)
    total = next(iterator)
    for part in iterator:
        for sum_, term in zip(total, part, strict=True):
            sum_.add_(term)
    return total


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads whose operations are single-threaded; those of the calling thread stay as they are."""
    return ThreadPoolExecutor(os.cpu_count(), "plncli-rows", initializer=_alone)


def _alone() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # torch sets a thread up when it is first asked, and then forgets what was set before
