"""Some samples of a large table, to which a model is fitted first: the whole then begins next to its optimum.

The subset is drawn by chance, seeded, and in proportion from each set of samples of the same covariates.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from plncli import ranks
from plncli.models.pca.prepared import Prepared, prepare
from plncli.models.pca.spec import SHARE, begins_smaller, block_rows
from plncli.numerics.linalg import clearly_independent
from plncli.numerics.rows import gathered, gram, number, place, total, weighted_total
from plncli.sparse import block_of, column_totals


def subset(prepared: Prepared, seed: int) -> Prepared | None:
    """Data of fewer samples, with the features that they have counts of; None where there are few already."""
    data, table = prepared.data, prepared.table
    if prepared.inflation is not None or not begins_smaller(number(data.n), data.p, table.d + table.q):
        return None
    rows = _here(drawn(gathered(data.X), seed), data.n)
    if ranks.agreed(not len(rows)):
        return None
    few = data.take(rows, torch.ones_like(rows))
    if not clearly_independent(few.X):
        return None
    totals = column_totals(few.Y) if few.sparse else total(few.Y if few.K is None else few.Y * few.K)
    few = few.among(torch.arange(data.d), (totals > 0).nonzero()[:, 0])
    if block_rows(number(few.n), few.p, {}) is None:
        return prepare(replace(few, Y=block_of(few.Y, slice(None))), min(table.q, few.p), whole=True)
    return prepare(few, min(table.q, few.p), block=table.block)


def drawn(X: Tensor, seed: int) -> Tensor:
    """One in SHARE of the rows of X (n×d), by index, ascending: the same share of rows that are alike."""
    n = len(X)
    order = torch.randperm(n, generator=Generator().manual_seed(seed))
    _, group = torch.unique(X[order.to(X.device)], dim=0, return_inverse=True)
    order = order[torch.sort(group.cpu(), stable=True).indices]
    return order[SHARE // 2 :: SHARE].sort().values.to(X.device)


def _here(rows: Tensor, n: int) -> Tensor:
    """Of rows, by index among all, those that are among the n here: by index among these."""
    own = place(n)
    return rows[(rows >= own.start) & (rows < own.stop)] - own.start


def onto(theta: Tensor, few: Prepared, prepared: Prepared) -> Tensor:
    """Coefficients and loadings of a subset ((d+q)×p') as those of the whole, (d+q)×p.

    Features of which the subset has no counts begin at their mean.
    """
    data, table = prepared.data, prepared.table
    counts = column_totals(data.Y, data.w) if data.sparse else weighted_total(data.w, table.Y)
    level = (counts / weighted_total(data.w, data.O.exp()).expand_as(counts)).log()
    constant = gram(table.Q, data.w) / table.wbar
    whole = torch.zeros((table.d + table.q, data.p), dtype=theta.dtype, device=theta.device)
    whole[: table.d] = torch.outer(constant, level)
    at = {name: j for j, name in enumerate(data.responses)}
    known = torch.tensor([at[name] for name in few.data.responses], device=theta.device)
    whole[: table.d, known] = prepared.basis.reduced(few.basis.coefficients(theta[: table.d]))
    whole[table.d : table.d + few.table.q, known] = theta[table.d :]
    return whole
