"""Tables of n×p numbers most of which are 0, by rows (CSR): what is asked of them whole, and their rows as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from plncli import ranks

BLOCK = 1 << 22
"""Numbers of a sparse table that are looked at together."""


def csr(indptr: Tensor, columns: Tensor, values: Tensor, p: int) -> Tensor:
    """The n×p table whose row i holds values[indptr[i]:indptr[i + 1]] in those columns; a tensor of layout CSR."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)")  # a beta, of which nothing but the layout is used
        return torch.sparse_csr_tensor(indptr, columns, values, (len(indptr) - 1, p), check_invariants=False)


def is_sparse(Y: Tensor) -> bool:
    """Whether a table is kept without its zeros."""
    return Y.layout is torch.sparse_csr


def values_of(Y: Tensor) -> Tensor:
    """The numbers that are kept, all of a dense table."""
    return Y.values() if is_sparse(Y) else Y


def block_of(Y: Tensor, rows: slice) -> Tensor:
    """Some rows of a table as they are, b×p; a view where it is dense."""
    if not is_sparse(Y):
        return Y[rows]
    start, stop, _ = rows.indices(len(Y))
    first = Y.crow_indices()[start : stop + 1]
    span = slice(int(first[0]), int(first[-1]))
    block = torch.zeros((stop - start, Y.shape[1]), dtype=Y.dtype, device=Y.device)
    row = torch.repeat_interleave(torch.arange(stop - start, device=Y.device), first.diff())
    block[row, Y.col_indices()[span].long()] = Y.values()[span]
    return block


def blocks_of(Y: Tensor) -> Iterator[slice]:
    """Rows of a table to be looked at together: all, where it is dense; about 32 MB of float64 otherwise."""
    n = len(Y)
    rows = max(1, BLOCK // Y.shape[1]) if is_sparse(Y) else max(n, 1)
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def column_totals(Y: Tensor, w: Tensor | None = None) -> Tensor:
    """Sum over the rows of a sparse table, each times its weight in w (n,), those of other ranks among them; (p,)."""
    values = Y.values() if w is None else Y.values() * torch.repeat_interleave(w, Y.crow_indices().diff())
    here, group = values.new_zeros(Y.shape[1]).index_add_(0, Y.col_indices(), values), ranks.now()
    return here if group is None else group.summed(here)[0]


def column_counts(Y: Tensor) -> Tensor:
    """How many numbers a sparse table keeps in each column, (p,), in its dtype."""
    return column_totals(csr(Y.crow_indices(), Y.col_indices(), torch.ones_like(Y.values()), Y.shape[1]))


def row_totals(Y: Tensor) -> Tensor:
    """Sum over the columns of a table, (n,)."""
    return torch.cat([block_of(Y, rows).sum(1) for rows in blocks_of(Y)])


def place_of_largest(Y: Tensor) -> tuple[int, int]:
    """Row and column of the largest number of a table that is 0 or more everywhere; the first of several."""
    if not is_sparse(Y):
        at = int(Y.argmax())
        return at // Y.shape[1], at % Y.shape[1]
    at = int(Y.values().argmax())
    row = int(torch.searchsorted(Y.crow_indices().long(), torch.tensor(at), right=True)) - 1
    return row, int(Y.col_indices()[at])


def spread(columns: Tensor, place: Tensor, p: int) -> Tensor:
    """A sparse n×p table of float64 ones where booleans are True that stand (n×c) in some columns, by index."""
    rows, at = columns.nonzero(as_tuple=True)
    indptr = torch.zeros(len(columns) + 1, dtype=torch.int64)
    indptr[1:] = columns.sum(1).cumsum(0)
    return csr(indptr, place[at], torch.ones(len(rows), dtype=torch.float64), p)


def taken(Y: Tensor, rows: Tensor) -> Tensor:
    """Some rows of a table, by index, kept as it is."""
    if not is_sparse(Y):
        return Y[rows]
    sizes = Y.crow_indices().diff()[rows]
    indptr = torch.zeros(len(rows) + 1, dtype=Y.crow_indices().dtype, device=Y.device)
    indptr[1:] = sizes.cumsum(0)
    start = Y.crow_indices()[rows].long() - indptr[:-1].long()
    at = torch.repeat_interleave(start, sizes) + torch.arange(int(indptr[-1]), device=Y.device)
    return csr(indptr, Y.col_indices()[at], Y.values()[at], Y.shape[1])


def columns_taken(Y: Tensor, columns: Tensor) -> Tensor:
    """Some columns of a table, by index, kept as it is."""
    if not is_sparse(Y):
        return Y[:, columns]
    place = torch.full((Y.shape[1],), -1, dtype=Y.col_indices().dtype, device=Y.device)
    place[columns] = torch.arange(len(columns), dtype=place.dtype, device=Y.device)
    new = place[Y.col_indices()]
    kept = new >= 0
    before = torch.zeros(len(kept) + 1, dtype=torch.int64, device=Y.device)
    before[1:] = kept.cumsum(0)
    indptr = before[Y.crow_indices().long()].to(Y.crow_indices().dtype)
    return csr(indptr, new[kept], Y.values()[kept], len(columns))
