"""Data made ready for the solver: checked, and without separated cells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.pca.profile import Table
from plncli.models.pca.spec import RANK
from plncli.models.pln.emissions import log_factorials
from plncli.models.pln.prepared import check_counts
from plncli.models.pln.separation import Separated, counted_cells, separated_cells
from plncli.numerics.linalg import Basis, orthonormal_basis


@dataclass(frozen=True)
class Prepared:
    """Data for the solver.

    separated: what has no finite estimate, None where there is nothing; counted: n×p, 1 where a cell counts (observed
    and not separated), None when all do; table: the objective.
    """

    data: Dataset
    basis: Basis
    separated: Separated | None
    counted: Tensor | None
    table: Table


def prepare(data: Dataset, rank: int | None) -> Prepared:
    """DataError for what are no counts, a design without full column rank, or a rank beyond the table's."""
    check_counts(data)
    basis = orthonormal_basis(data.X, data.w, data.terms)
    separated = separated_cells(data)
    counted = counted_cells(data, separated)
    most = min(data.p, data.n - data.d)
    if rank is not None and rank > most:
        raise DataError(
            f"A rank of {rank} is more than the table carries: {data.n} samples less {data.d} coefficients, and "
            f"{data.p} features, leave {most} dimensions. Give --rank {max(most, 1)} or less."
        )
    q = min(RANK, most, max(data.p - 1, 1)) if rank is None else rank
    w = None if bool((data.w == 1).all()) else data.w
    Y = data.Y if counted is None else data.Y * counted
    constant = log_factorials(data.Y, counted, data.w)
    return Prepared(
        data, basis, separated, counted, Table(Y, data.O, counted, w, data.total_weight, basis.Q, max(q, 1), constant)
    )
