"""The counts of a Poisson log-normal PCA as its objective sees them, whole or by blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from plncli.models.inflation.cells import NODES, Nodes
from plncli.models.inflation.entries import Zeros
from plncli.models.pca.cells import Doubtful, Loadings, Samples
from plncli.models.pca.triangle import Triangle
from plncli.sparse import block_of


@dataclass(frozen=True)
class Table:
    """n samples × p features, and rank q.

    Y: counts, 0 where they don't count; O: offset n×p or n×1; K: n×p, 1 where a cell counts, None when all do; w: (n,),
    None for ones; wbar: their sum; Q: n×d with Q'WQ = wbar·I; constant: sum of w K log Y!. zeros: those that may be
    structural, None without any; nodes: of quadrature, for them. left_out: a sparse table of the
    cells that don't count, where Y is one, None for none. block: rows that are looked at together, of which nothing is
    kept but where their posteriors are; None for all of them, and all is kept. last: the latest evaluation.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor | None
    wbar: float
    Q: Tensor
    q: int
    constant: float
    zeros: Zeros | None = None
    nodes: int = NODES
    left_out: Tensor | None = None
    block: int | None = None
    last: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def d(self) -> int:
        """Coefficients a feature."""
        return self.Q.shape[1]

    @cached_property
    def triangle(self) -> Triangle:
        """Of the posterior covariances."""
        return Triangle(self.Y, self.q)

    def loadings(self, theta: Tensor) -> Loadings:
        """Those of theta."""
        return Loadings(theta[self.d :].mT, self.triangle)

    def samples(self, theta: Tensor, zeta: Tensor | None = None, loadings: Loadings | None = None) -> Samples:
        """What the posterior of each sample depends on; loadings: those of theta, if they are known."""
        doubtful, zeros = None, self.zeros
        if zeros is not None:
            assert zeta is not None
            doubtful = Doubtful(zeros.rows, zeros.columns, zeros.logits(zeta), Nodes.of(self.nodes, theta))
        predictor = self.O + self.Q @ theta[: self.d]
        return Samples(self.Y, self.K, predictor, loadings or self.loadings(theta), doubtful)

    def whole(self) -> Table:
        """The same, looked at whole; not for large tables."""
        if not self.block:
            return self
        K = self.K if self.left_out is None else 1.0 - block_of(self.left_out, slice(None))
        return replace(self, Y=block_of(self.Y, slice(None)), K=K, left_out=None, block=None)

    def rows(self, rows: slice) -> Table:
        """Some samples, as a table that is not sparse; without the constant."""
        K, O = None if self.K is None else self.K[rows], self.O[rows]
        if self.left_out is not None:
            K = 1.0 - block_of(self.left_out, rows)
        w = None if self.w is None else self.w[rows]
        part = Table(block_of(self.Y, rows), O, K, w, self.wbar, self.Q[rows], self.q, 0.0)
        part.__dict__["triangle"] = self.triangle  # for it is the same
        return part
