"""Data made ready for the solver: checked, and without separated cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.inflation.cells import NODES
from plncli.models.inflation.entries import Inflation, Zeros
from plncli.models.inflation.spec import NONE, ZERO_INFLATION
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.profile import Blocked, evaluated
from plncli.models.pca.spec import RANK, block_rows
from plncli.models.pca.table import Table
from plncli.models.pln.emissions import log_factorials
from plncli.models.pln.prepared import check_counts
from plncli.models.pln.separation import Separated
from plncli.models.pln.zeros.counting import counting
from plncli.numerics.linalg import Basis, orthonormal_basis
from plncli.numerics.rows import number


@dataclass(frozen=True)
class Prepared:
    """Data for the solver.

    separated: what has no finite estimate, None where there is nothing; counted: n×p, 1 where a cell counts (observed
    and not separated), None when all do; counts: the objective without structural zeros; inflation: their
    probabilities, None without any; nodes: of quadrature, for them; plain: whether all are held at 0 for now, while
    the best of several starts is looked for.
    """

    data: Dataset
    basis: Basis
    separated: Separated | None
    counted: Tensor | None
    counts: Table
    inflation: Inflation | None = None
    nodes: int = NODES
    plain: bool = False

    @cached_property
    def table(self) -> Table:
        """The objective; that of the counts alone where no zero may be structural."""
        if self.inflation is None or not bool(self.inflation.free.any()):
            return self.counts
        zeros = self.zeros_of(self.inflation)
        return replace(self.counts, zeros=zeros, nodes=self.nodes) if number(len(zeros.rows)) else self.counts

    def zeros_of(self, inflation: Inflation) -> Zeros:
        """Zeros in its open entries."""
        table = self.counts
        return Zeros.among(table.Y, table.K, table.w, inflation, torch.arange(self.data.p, device=table.Y.device))

    def at(self, params: Params) -> Evaluation | Blocked:
        """The evaluation of the bound, but for what all cells pay for structural zeros."""
        return evaluated(params["theta"], self.table, params.get("zeta"))

    def whole_at(self, params: Params) -> Evaluation:
        """The same of a table that is not looked at by blocks."""
        at = self.at(params)
        assert isinstance(at, Evaluation)
        return at

    def logits(self, zeta: Tensor) -> Tensor | None:
        """Of structural zeros, n×p, −inf where there are none."""
        return None if self.inflation is None else self.inflation.logits(zeta).expand_as(self.data.Y)


def prepare(
    data: Dataset, rank: int | None, zero_inflation: str = NONE, block: int | None = None, *, whole: bool = False
) -> Prepared:
    """DataError for what are no counts, a design without full column rank, or a rank beyond the table's.

    block: rows that are looked at together, None for what is best; whole: all of them.
    """
    check_counts(data)
    if data.sparse and zero_inflation != NONE:
        raise DataError("Zero inflation needs all counts, zeros too: give them as a dense table.")
    basis = orthonormal_basis(data.X, data.w, data.terms)
    separated, counted, inflation = counting(data, zero_inflation)
    n = number(data.n)
    most = min(data.p, n - data.d)
    if rank is not None and rank > most:
        raise DataError(
            f"A rank of {rank} is more than the table carries: {n} samples less {data.d} coefficients, and "
            f"{data.p} features, leave {most} dimensions. Give --rank {max(most, 1)} or less."
        )
    q = min(RANK, most, max(data.p - 1, 1)) if rank is None else rank
    w = None if bool((data.w == 1).all()) else data.w
    Y = data.Y if counted is None else data.Y * counted
    constant = log_factorials(data.Y, counted, data.w)
    rows = block_rows(n, data.p, {ZERO_INFLATION.name: zero_inflation, "block_rows": block})
    counts = Table(
        Y,
        data.O,
        counted,
        w,
        data.total_weight,
        basis.Q,
        max(q, 1),
        constant,
        left_out=separated.cells if separated is not None and data.sparse else None,
        block=None if whole else rows or (data.n if data.sparse else None),
    )
    return Prepared(data, basis, separated, counted, counts, inflation)
