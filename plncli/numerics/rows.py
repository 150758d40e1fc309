"""Sums over samples: the one seam through which every one of them goes.

What sums over samples says so by calling one of these functions, so that rows may be those of other ranks too (see
`plncli.ranks`), or come block by block, without a change of what is computed of them. Sums within the work on a block
are of its rows alone, and the whole is summed over ranks once. What needs all rows at once says `# needs all rows` at
the place, or gathers them.

Small tables are summed in one operation (`total`, `mean`, `grand_total`, `weighted_total`, `gram`,
`group_totals`), or compared (`least`, `most`, `some_row`, `every_row`). In large ones a
function of a block of rows is summed over the blocks (`over_rows`), which fit the cache, so temporaries do not grow
with the table; where the sum itself is large, blocks add to it in turn (`accumulate`). Samples that stay in a file come
as data sets of some of them, over which the same is summed (`over_parts`).

Threads each take a run of blocks and work with single-threaded operations. Splitting every operation over the threads
instead makes them wait for each other thousands of times a pass: on a busy machine that costs more than the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plncli import ranks

if TYPE_CHECKING:
    from plncli.dataset import Dataset

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
    return _summed(A.sum(0))


def mean(A: Tensor) -> Tensor:
    """Mean over the rows of A (n×anything, or (n,)), nan without any."""
    return A.mean(0) if ranks.now() is None else total(A) / number(len(A))


def grand_total(A: Tensor) -> Tensor:
    """Sum of all entries of A, over its rows and whatever other axes it has; scalar."""
    return _summed(A.sum())


def weighted_total(w: Tensor, A: Tensor) -> Tensor:
    """w'A: sum over the rows of A (n×p, or (n,)), each times its weight in w (n,), as one product; (p,), or scalar."""
    return _summed(w @ A)


def gram(A: Tensor, B: Tensor) -> Tensor:
    """A'B, summed over the rows that A (n×a) and B (n×b, or (n,)) share; a×b, or (a,)."""
    return _summed(A.mT @ B)


def group_totals(A: Tensor, groups: Tensor, many: int) -> Tensor:
    """Sums over the rows of A (n×anything, or (n,)) by group: codes (n,) from 0 to many − 1; many×anything."""
    return _summed(A.new_zeros((many, *A.shape[1:])).index_add_(0, groups, A))


def number(n: int) -> int:
    """How many rows there are, of which n are here."""
    group = ranks.now()
    return n if group is None else sum(group.counts(n))


def place(n: int) -> slice:
    """Which of all rows the n are that are here."""
    group = ranks.now()
    if group is None:
        return slice(0, n)
    of_each = group.counts(n)
    first = sum(of_each[: group.own])
    return slice(first, first + n)


def least(A: Tensor) -> Tensor:
    """The smallest over the rows of A (n×anything, or (n,))."""
    group = ranks.now()
    return A.amin(0) if group is None else group.least(A.amin(0))


def most(A: Tensor) -> Tensor:
    """The largest over the rows of A (n×anything, or (n,))."""
    group = ranks.now()
    return A.amax(0) if group is None else group.most(A.amax(0))


def some_row(A: Tensor) -> Tensor:
    """Whether some row of A (n×anything, or (n,)), of booleans, is True."""
    group = ranks.now()
    return A.any(0) if group is None else group.most(A.any(0))


def every_row(A: Tensor) -> Tensor:
    """Whether every row of A (n×anything, or (n,)), of booleans, is True."""
    group = ranks.now()
    return A.all(0) if group is None else group.least(A.all(0))


def norm(A: Tensor) -> Tensor:
    """Euclidean norm of each column of A (n×anything), over its rows."""
    return torch.linalg.vector_norm(A, dim=0) if ranks.now() is None else total(A.square()).sqrt()


def gathered(A: Tensor) -> Tensor:
    """All rows of A (n×anything), in order, wherever they are: for what is small, or seldom needed."""
    group = ranks.now()
    return A if group is None else group.gathered(A)


def triangular(A: Tensor) -> Tensor:
    """The factor R (min(n, d)×d) of the QR decomposition of A (n×d): products of its columns are those of A's.

    Over ranks, of the factors of each, one above the other (Demmel, Grigori, Hoemmen & Langou 2012, SIAM J. Sci.
    Comput. 34).
    """
    R = torch.linalg.qr(A, mode="r").R  # needs all rows
    group = ranks.now()
    return R if group is None else torch.linalg.qr(group.gathered(R), mode="r").R


def orthogonal(A: Tensor) -> tuple[Tensor, Tensor]:
    """Q (n×d) and R (d×d) of the QR decomposition of A, of at least d rows."""
    Q, R = torch.linalg.qr(A)  # needs all rows
    group = ranks.now()
    if group is None:
        return Q, R
    own = place(len(R))
    turn, R = torch.linalg.qr(group.gathered(R))
    return Q @ turn[own], R


def accumulate(sums: Part, work: Callable[[slice], None], n: int, width: int, block: int) -> Part:
    """The sums, 0 (or False) at first, to which `work(rows)` adds each block of n rows in place, in turn.

    Of about block/width rows each; for sums so large that a thread should not have its own.
    """
    rows = max(1, block // max(1, width))
    with ranks.alone():
        for i in range(0, n, rows):
            work(slice(i, min(i + rows, n)))
    group = ranks.now()
    if group is not None:
        for sum_ in sums:
            sum_.copy_(group.most(sum_) if sum_.dtype == torch.bool else group.summed(sum_)[0])
    return sums


def over_rows(work: Callable[[slice], Part], like: Tensor, width: int, block: int | None = None) -> Part:
    """Sum of `work(rows)` over slices of the rows of `like` (n×anything), a block of about block/width rows each.

    width: numbers that a row takes in the work. `work` may also write to its own rows of a table. Blocks are added in
    an order that depends on the number of threads alone. There must be a row.
    """
    parts, group = _here(work, like, width, block), ranks.now()
    return parts if group is None or not parts else group.summed(*parts)


def over_parts(work: Callable[[Dataset], Part], data: Dataset, letters: str) -> Part:
    """Sum of `work` over the blocks of samples of a data set, of which it needs the tables of these letters.

    Samples that are in memory are one block, of which `work` sums itself over ranks.
    """
    if not data.stored:
        return work(data)
    with torch.no_grad(), ranks.alone():
        parts = _added(work(part) for part in data.parts(letters))
    group = ranks.now()
    return parts if group is None else group.summed(*parts)


def extremes(of: Callable[[Dataset], Tensor], data: Dataset, letters: str) -> tuple[Tensor, Tensor]:
    """The smallest and the largest over all samples of what `of` makes of a block of b of them (b×anything)."""
    if not data.stored:
        A = of(data)
        return least(A), most(A)
    low: Tensor | None = None
    high: Tensor | None = None
    with torch.no_grad(), ranks.alone():
        for part in data.parts(letters):
            A = of(part)
            low = A.amin(0) if low is None else torch.minimum(low, A.amin(0))
            high = A.amax(0) if high is None else torch.maximum(high, A.amax(0))
    assert low is not None and high is not None
    group = ranks.now()
    return (low, high) if group is None else (group.least(low), group.most(high))


def triangle(of: Callable[[Dataset], Tensor], data: Dataset, letters: str) -> Tensor:
    """As `triangular` of all that `of` makes of blocks of samples (b×d), one above the other."""
    if not data.stored:
        return triangular(of(data))
    R: Tensor | None = None
    with torch.no_grad(), ranks.alone():
        for part in data.parts(letters):
            A = of(part)
            R = torch.linalg.qr(A if R is None else torch.cat([R, A]), mode="r").R
    assert R is not None
    return triangular(R)


def _here(work: Callable[[slice], Part], like: Tensor, width: int, block: int | None) -> Part:
    """The same of the rows that are here."""
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


def _summed(here: Tensor) -> Tensor:
    """What was summed over the rows that are here, with those of other ranks."""
    group = ranks.now()
    return here if group is None else group.summed(here)[0]


def _sum(work: Callable[[slice], Part], slices: Iterable[slice]) -> Part:
    with torch.no_grad(), ranks.alone():
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
