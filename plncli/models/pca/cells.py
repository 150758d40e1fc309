"""The cells of some samples where their posteriors are: what they cost, and how that changes.

A cell's latent value is N(eta, 2h), eta = o + x'b_j + c_j'm and h = ½ c_j'S c_j. A count that is no structural zero
costs f = A − y eta with A = exp(eta + h), whose derivatives in eta and in h are A, all of them. A zero that may be
structural costs a sum over nodes (`models.inflation.cells`), with derivatives of its own: what stands for A is then one
table in eta, and another in h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.models.inflation.cells import Nodes, ZeroCells
from plncli.models.pca.triangle import Triangle, inverse

FARTHEST = 1e12
"""Expected count beyond which a sample is not looked at: f is inf there, for rounding would hide the prior."""
HALVINGS = 40


@dataclass(frozen=True)
class Doubtful:
    """Zeros (k,) of some samples that may be structural: row, column, and logit z of the probability."""

    rows: Tensor
    columns: Tensor
    z: Tensor
    nodes: Nodes

    def take(self, rows: Tensor | slice, b: int) -> Doubtful:
        """Those of some of b samples."""
        place = torch.full((b,), -1, dtype=torch.int64, device=self.rows.device)
        chosen = torch.arange(b, device=place.device)[rows]
        place[chosen] = torch.arange(len(chosen), device=place.device)
        kept = place[self.rows] >= 0
        return Doubtful(place[self.rows[kept]], self.columns[kept], self.z[kept], self.nodes)

    def of(self, table: Tensor) -> Tensor:
        """A table's values (k,) there."""
        return table[self.rows, self.columns]

    def put(self, values: Tensor | float, table: Tensor) -> Tensor:
        """The table (b×p), in place, with values there."""
        table[self.rows, self.columns] = torch.as_tensor(values, dtype=table.dtype, device=table.device)
        return table

    def cells(self, eta: Tensor, h: Tensor) -> ZeroCells:
        """Them where the tables eta and h (b×p) are; without a latent variance nearly without."""
        least = torch.finfo(eta.dtype).eps ** (2 / 3)
        return ZeroCells(self.of(eta), (2.0 * self.of(h)).clamp_min(least).sqrt(), self.z, self.nodes)


class Slopes(NamedTuple):
    """Of the cells' losses, b×p: in eta, with y added (A), and in h where that is another table (bent, else None).

    lost: of each sample, what its cells cost beside −y eta, (b,).
    """

    A: Tensor
    bent: Tensor | None
    lost: Tensor


@dataclass(frozen=True)
class Bends:
    """Second derivatives of the cells' losses, b×p: in eta (a), in eta and h (b), in h (c); one table for counts.

    zero: the zeros that may be structural, None where there are none.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    zero: ZeroCells | None = None

    def take(self, rows: Tensor | slice) -> Bends:
        """Those of some samples, without the zeros themselves."""
        if self.zero is None:
            a = self.a[rows]
            return Bends(a, a, a)
        return Bends(self.a[rows], self.b[rows], self.c[rows], self.zero)

    def turn(self, deta: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        """Change of the slopes in eta and in h along (deta, dh), b×p each."""
        if self.zero is None:
            both = torch.add(deta, dh).mul_(self.a)
            return both, both
        return (self.a * deta).addcmul_(self.b, dh), (self.b * deta).addcmul_(self.c, dh)


@dataclass(frozen=True)
class Loadings:
    """C (p×q), and what samples ask of it, which is the same for all of them."""

    C: Tensor
    triangle: Triangle

    @cached_property
    def products(self) -> Tensor:
        """c_j c_j' by entries, p×t."""
        return self.triangle.products(self.C)

    @cached_property
    def halves(self) -> Tensor:
        """h as a linear map of the entries of S, p×t."""
        return 0.5 * self.triangle.k * self.products

    @cached_property
    def map(self) -> Tensor:
        """eta + h as a linear map of m and the entries of S, p×(q+t)."""
        return torch.cat([self.C, self.halves], 1)


@dataclass(frozen=True)
class Samples:
    """b samples × p features: counts Y, 0 where they don't count; K 1 where they do (None: all); linear predictor.

    zeros: those that may be structural, if there are any.
    """

    Y: Tensor
    K: Tensor | None
    predictor: Tensor
    loadings: Loadings
    zeros: Doubtful | None = None

    @property
    def C(self) -> Tensor:
        """Loadings p×q."""
        return self.loadings.C

    @property
    def triangle(self) -> Triangle:
        """Of the posterior covariances."""
        return self.loadings.triangle

    @property
    def halves(self) -> Tensor:
        """h as a linear map of the entries of S, p×t."""
        return self.loadings.halves

    def take(self, rows: Tensor | slice) -> Samples:
        """Some of the samples."""
        K = None if self.K is None else self.K[rows]
        zeros = None if self.zeros is None else self.zeros.take(rows, len(self.Y))
        return Samples(self.Y[rows], K, self.predictor[rows], self.loadings, zeros)

    def with_nodes(self, many: int) -> Samples:
        """Zeros that may be structural summed over other nodes."""
        assert self.zeros is not None
        return replace(self, zeros=replace(self.zeros, nodes=Nodes.of(many, self.Y)))

    def without_zeros(self) -> Samples:
        """Zeros that may be structural unobserved."""
        assert self.zeros is not None
        K = torch.ones_like(self.Y) if self.K is None else self.K.clone()
        return replace(self, K=self.zeros.put(0.0, K), zeros=None)

    def cold(self) -> tuple[Tensor, Tensor]:
        """M and V of a Gaussian likelihood with log(y + ½) for a mean and 1/(y + ½) for a variance.

        Nearer to 0 by halves where that would expect counts beyond FARTHEST.
        """
        weight = self.Y + 0.5 if self.K is None else (self.Y + 0.5) * self.K
        S = inverse(self.curvature(weight))[0]
        pull = (weight * ((self.Y + 0.5).log() - self.predictor)) @ self.C
        M, V = (S @ pull[:, :, None])[:, :, 0], self.triangle.entries(S)
        for _ in range(HALVINGS):
            beyond = ~(self.means(M, V).amax(1) < FARTHEST)[:, None]
            if not bool(beyond.any()):
                break
            M, V = torch.where(beyond, 0.5 * M, M), torch.where(beyond, 0.5 * V, V)
        return M, V

    def means(self, M: Tensor, V: Tensor) -> Tensor:
        """A of counts (b×p), 0 in cells that don't count, and in zeros that may be structural."""
        A = torch.addmm(self.predictor, M, self.C.mT).addmm_(V, self.halves.mT)
        if self.zeros is not None:
            self.zeros.put(-math.inf, A)
        return A.exp_() if self.K is None else A.exp_().mul_(self.K)

    def slopes(self, M: Tensor, V: Tensor) -> Slopes:
        """Those of the cells, and what they cost."""
        A = self.means(M, V)
        lost = A.sum(1)
        if self.zeros is None:
            return Slopes(A, None, lost)
        zero = self.zero_cells(M, V)
        lost = lost.index_add(0, self.zeros.rows, zero.loss)
        return Slopes(self.zeros.put(zero.sums.slope, A), self.zeros.put(zero.second, A.clone()), lost)

    def zero_cells(self, M: Tensor, V: Tensor) -> ZeroCells:
        """Zeros that may be structural."""
        assert self.zeros is not None
        return self.zeros.cells(torch.addmm(self.predictor, M, self.C.mT), V @ self.halves.mT)

    def bends(self, M: Tensor, V: Tensor, A: Tensor) -> Bends:
        """Second derivatives of the cells, of which A is known."""
        if self.zeros is None:
            return Bends(A, A, A)
        zero = self.zero_cells(M, V)
        at, s = zero.sums, zero.s
        a, b, c = (
            self.zeros.put(values, A.clone())
            for values in (at.bend, at.bend_e / s, (at.bend_ee - at.slope_e / s) / s.square())
        )
        return Bends(a, b, c, zero)

    def slope(self, A: Tensor, M: Tensor) -> Tensor:
        """Gradient in m, b×q."""
        return (A - self.Y) @ self.C + M

    def curvature(self, A: Tensor) -> Tensor:
        """I + sum_j A_j c_j c_j', b×q×q."""
        Pi = self.triangle.matrix(A @ self.loadings.products)
        Pi.diagonal(dim1=1, dim2=2).add_(1.0)
        return Pi

    def value(self, lost: Tensor, M: Tensor, S: Tensor, logdet: Tensor) -> Tensor:
        """f of each sample (b,), without log y!."""
        cells = lost - (self.Y * self.predictor).sum(1) - (M * (self.Y @ self.C)).sum(1)
        spread = M.square().sum(1) + S.diagonal(dim1=1, dim2=2).sum(1) - logdet - M.shape[1]
        return cells + 0.5 * spread

    def turned(self, bends: Bends, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change of the slopes in eta and in h, b×p each, as m and the entries of S move by y, b×(q+t)."""
        if bends.zero is None:
            both = (y @ self.loadings.map.mT).mul_(bends.a)
            return both, both
        q = self.C.shape[1]
        return bends.turn(y[:, :q] @ self.C.mT, y[:, q:] @ self.halves.mT)

    def pulled(self, in_eta: Tensor, in_h: Tensor) -> Tensor:
        """Slopes in m and in the entries of S of what has these slopes in eta and in h, b×(q+t)."""
        return in_eta @ self.loadings.map if in_eta is in_h else torch.cat([in_eta @ self.C, in_h @ self.halves], 1)
