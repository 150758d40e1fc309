"""The bound with the samples profiled out: a function of coefficients and loadings alone, with its derivatives.

F(theta) = sum_i w_i min f_i(m_i, S_i), theta (d+q)×p: the coefficients G of the design's orthonormal basis above the
transposed loadings C'. With E = A − Y and everything at its best for theta (variable projection: Golub & Pereyra 1973;
Hong & Fitzgibbon 2015 for why it finds minima that joint steps miss),

    dF/dG = Q'WE,     dF/dc_j = sum_i w_i (E_ij m_i + A_ij S_i c_j)                              (envelope theorem)
    d²F = H_θθ − H_θz H_zz^-1 H_zθ

with z_i = (m_i, S_i) by its q + q(q+1)/2 entries. H_zz falls apart by samples. A product solves with its blocks by
conjugate gradients, preconditioned by S on m and 2 S · S on S, whose residual falls about tenfold an iteration; where
many products are wanted at a point, and the blocks are small, they are factored.

With zeros that may be structural, F is a function of the parameters zeta of their probabilities too. What is A in
dF/dc_j is then the cells' slope in h (`cells`), and zeta meets theta through those zeros, and through the samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.pca.cells import Bends, Loadings
from plncli.models.pca.curvature import LOOSE, Curvature
from plncli.models.pca.posterior import Posterior, posterior
from plncli.models.pca.spec import HELD
from plncli.models.pca.table import Table
from plncli.numerics.rows import accumulate, gram, grand_total, weigh

LARGEST = 150
"""Size of the blocks of H_zz up to which a solve by factors takes less than conjugate gradients."""
SOLVES = 4
"""Products at a point after which they have paid for themselves."""
LEAST = 1e-10
"""Share of a cell's curvature that its leverage leaves at least: little, or the gap would pass for small there."""
FLAT = 1e-10
"""Eigenvalue of a feature's block, of unit diagonal, up to which a direction has no curvature: not determined."""
STEEP = 1e-3
"""Pivot of a Cholesky factor of such a block above which no direction is taken to be flat."""
ENDED = 1e-6
"""Nats left in a sample with zeros that may be structural, from which Newton's method is not let loose."""
BLOCK = 1 << 18
"""Numbers in a block of samples × features × parameters of a feature."""


@dataclass(frozen=True)
class Trade:
    """Directions of theta ((d+q)×p) in which all loadings C (p×q) move together: G by aC', C by CX.

    axes, squares: eigenvectors (q×q) and eigenvalues (q,) of C'C.
    """

    C: Tensor
    d: int
    wbar: float
    axes: Tensor
    squares: Tensor

    @staticmethod
    def of(C: Tensor, d: int, wbar: float) -> Trade:
        """Those of loadings C (p×q), d coefficients a feature."""
        squares, axes = torch.linalg.eigh(C.mT @ C)
        return Trade(C, d, wbar, axes, squares)

    def apart(self, v: Tensor) -> Tensor:
        """v without its part in rotations: its C'v_C is symmetric."""
        turned = self.axes.mT @ (v[self.d :] @ self.C) @ self.axes
        pairs = (self.squares[:, None] + self.squares).clamp_min(torch.finfo(v.dtype).tiny)
        X = self.axes @ ((turned - turned.mT) / pairs) @ self.axes.mT
        return torch.cat([v[: self.d], v[self.d :] - X @ self.C.mT])

    def inverse(self, r: Tensor) -> Tensor:
        """That of the prior's curvature, on what of r is in shifts and stretches."""
        moved = r @ self.C
        a, X = moved[: self.d] / self.wbar, moved[self.d :] / (4.0 * self.wbar)
        return torch.cat([a, X + X.mT]) @ self.C.mT


class Profile(ABC):
    """Value, gradient and Hessian products at one theta, however they are come by."""

    table: Table

    @property
    @abstractmethod
    def C(self) -> Tensor:
        """Loadings p×q."""

    @abstractmethod
    def turn(self, v: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Change of the gradient, (d+q)×p, and of the slopes in the entries' logits, along (v, dzeta)."""

    @abstractmethod
    def blocks(self, *, profiled: bool) -> Tensor:
        """Each feature's block of the Hessian, p×(d+q)×(d+q): with the samples held, or less what they take."""

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, (d+q)×p each."""
        return self.turn(v)[0]

    def preconditioner(self) -> Callable[[Tensor], Tensor]:
        """The inverse of the features' blocks and of what all of them can trade with the samples; on (d+q)×p.

        As C goes to C(I + X), X symmetric, and G to G + aC', scores follow the other way and no cell changes but the
        prior, whose curvatures are 2 wbar X·X and wbar a·a where scores have the prior's moments, as they have near a
        minimum: next to none beside the blocks'. Rotations, C to C exp(X) with X = −X', change nothing: the map leads
        into the directions that are orthogonal to them.
        """
        blocks, trade = preconditioner(self.inverse_blocks()), self.trade()

        def apply(v: Tensor) -> Tensor:
            r = trade.apart(v)
            return trade.apart(blocks(r) + trade.inverse(r))

        return apply

    def trade(self) -> Trade:
        """Directions in which all loadings move together."""
        return Trade.of(self.C, self.table.d, self.table.wbar)

    def inverse_blocks(self) -> Tensor:
        """Inverses of the features' profiled blocks, p×(d+q)×(d+q)."""
        return inverses(self.blocks(profiled=True))

    def curvature(self) -> Tensor:
        """Diagonal of the features' blocks, (d+q)×p."""
        return self.blocks(profiled=True).diagonal(dim1=1, dim2=2).mT


class Evaluation(Profile):
    """Value, gradient and Hessian products at one theta.

    z: the posteriors of the samples, where they are best unless others are given, at which the gradient is then taken;
    polished: unless it is told that these can be had more exactly. loadings: those of theta, if they are known.
    """

    def __init__(
        self,
        theta: Tensor,
        table: Table,
        z: Posterior | None = None,
        zeta: Tensor | None = None,
        loadings: Loadings | None = None,
        *,
        polished: bool = True,
    ) -> None:
        self.theta, self.zeta, self.table = theta, zeta, table
        self.samples = table.samples(theta, zeta, loadings)
        self._polished, self._products = z is not None and polished, 0
        self.z = posterior(self.samples) if z is None else z

    @cached_property
    def value(self) -> Tensor:
        """Minus the bound, nats."""
        value = grand_total(weigh(self.table.w, self.z.value[:, None])) + self.table.constant
        return torch.where(torch.isfinite(value), value, torch.inf)

    @property
    def C(self) -> Tensor:
        """Loadings p×q."""
        return self.samples.C

    @property
    def scores(self) -> Tensor:
        """Means of the samples' posteriors, n×q."""
        return self.z.M

    @property
    def covariances(self) -> Tensor:
        """Covariances of the samples' posteriors, n×q×q."""
        return self.z.S

    @cached_property
    def A(self) -> Tensor:
        """Expected counts times weights, n×p; what stands for them in the cells' slopes in eta."""
        return weigh(self.table.w, self.z.A)

    @property
    def second(self) -> Tensor:
        """The same in the cells' slopes in h."""
        return self.A if self.z.bent is None else weigh(self.table.w, self.z.bent)

    @cached_property
    def E(self) -> Tensor:
        """A − Y, times weights, n×p."""
        return weigh(self.table.w, self.z.A - self.table.Y)

    @cached_property
    def spread(self) -> Tensor:
        """sum_i w_i A_ij S_i of each feature, p×q×q, A in the slopes in h."""
        return self.table.triangle.matrix(gram(self.second, self.z.V))

    def _polish(self) -> None:
        """One Newton step of the posteriors, whose error is squared: gradients are as exact as values then."""
        if self._polished:
            return
        self._polished = True
        triangle, q, z = self.table.triangle, self.table.q, self.z
        residual = torch.cat(
            [
                self.samples.slope(z.A, z.M),
                0.5 * triangle.k * triangle.entries(self.samples.curvature(z.second) - self._curved.P),
            ],
            1,
        )
        y = self._curved.solve(residual)
        if z.bent is not None:
            y = torch.where((z.gap < ENDED)[:, None], y, 0.0)
        M, V = z.M - y[:, :q], z.V - y[:, q:]
        A, bent, _ = self.samples.slopes(M, V)
        self.z = replace(z, M=M, V=V, S=triangle.matrix(V), A=A, bent=bent)
        del self._curved, self._bends  # of what was

    def linear(self) -> Tensor:
        """Means of the logs of the rates, o + x'b_j + c_j'm_i, n×p."""
        return torch.addmm(self.samples.predictor, self.z.M, self.C.mT)

    def variance(self) -> Tensor:
        """c_j'S_i c_j of the latent values, n×p."""
        return self.z.V @ (2.0 * self.samples.halves).mT

    def gradient(self) -> Tensor:
        """(d+q)×p."""
        self._polish()
        loadings = gram(self.z.M, self.E) + (self.spread @ self.C[:, :, None])[:, :, 0].mT
        return torch.cat([gram(self.table.Q, self.E), loadings])

    def logit_slopes(self) -> Tensor:
        """Slopes in the entries' logits, but for what all cells pay."""
        self._polish()
        zeros, zero = self.table.zeros, self._bends.zero
        assert zeros is not None and zero is not None
        return zeros.pooled(-zero.sums.structural)

    def logit_bends(self) -> Tensor:
        """Second derivatives in the entries' logits with samples held, but for what all cells pay."""
        self._polish()
        zeros, zero = self.table.zeros, self._bends.zero
        assert zeros is not None and zero is not None
        return zeros.pooled(-zero.sums.doubt)

    def structural(self) -> Tensor:
        """Probabilities that counts are structural zeros, n×p, 0 but in zeros that may be."""
        self._polish()
        found, zero, doubtful = torch.zeros_like(self.table.Y), self._bends.zero, self.samples.zeros
        return found if zero is None or doubtful is None else doubtful.put(zero.sums.structural, found)

    def turn(self, v: Tensor, dzeta: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Change of the gradient, (d+q)×p, and of the slopes in the entries' logits, along (v, dzeta)."""
        self._polish()
        table, z, C, triangle, samples = self.table, self.z, self.C, self.table.triangle, self.samples
        q, dG, dC = table.q, v[: table.d], v[table.d :].mT
        dhalves = 0.5 * triangle.k * triangle.turned(C, dC)
        deta, dh = torch.addmm(table.Q @ dG, z.M, dC.mT), z.V @ dhalves.mT
        dz = None if dzeta is None or table.zeros is None else table.zeros.logits(dzeta)
        dslope, dsecond = self._pushed(*self._bends.turn(deta, dh), dz)
        across = samples.pulled(dslope, dsecond)
        across[:, :q] += (z.A - table.Y) @ dC
        across[:, q:] += z.second @ dhalves
        y = self._solve(across).neg_()
        own = self._bends.zero is None
        follow_slope, follow_second = samples.turned(self._bends, y)
        dslope = weigh(table.w, dslope + follow_slope)
        dsecond = dslope if own else weigh(table.w, dsecond + follow_second)
        turn = triangle.matrix(gram(dsecond, z.V) + gram(self.second, y[:, q:]))
        loadings = gram(dslope, z.M) + gram(self.E, y[:, :q])
        loadings += (turn @ C[:, :, None] + self.spread @ dC[:, :, None])[:, :, 0]
        turned = None
        if dz is not None:
            turned = self._logit_turn(deta, dh, y, dz)
        return torch.cat([gram(table.Q, dslope), loadings.mT]), turned

    def _pushed(self, dslope: Tensor, dsecond: Tensor, dz: Tensor | None) -> tuple[Tensor, Tensor]:
        """Changes of the slopes in eta and in h (n×p), with what logits of zeros (k,) change in them."""
        zero, doubtful = self._bends.zero, self.samples.zeros
        if dz is None or zero is None or doubtful is None:
            return dslope, dsecond
        at = zero.sums
        doubtful.put(doubtful.of(dslope) - at.mixed * dz, dslope)
        return dslope, doubtful.put(doubtful.of(dsecond) - at.mixed_e / zero.s * dz, dsecond)

    def _logit_turn(self, deta: Tensor, dh: Tensor, y: Tensor, dz: Tensor) -> Tensor:
        """Change of the slopes in the entries' logits, y being that of the posteriors."""
        zero, doubtful, zeros, q = self._bends.zero, self.samples.zeros, self.table.zeros, self.table.q
        assert zero is not None and doubtful is not None and zeros is not None
        deta = deta + y[:, :q] @ self.C.mT
        dh = dh + y[:, q:] @ self.samples.halves.mT
        return zeros.pooled(zero.turn(doubtful.of(deta), 2.0 * doubtful.of(dh), dz)[2])

    @cached_property
    def _bends(self) -> Bends:
        """Second derivatives of the cells."""
        return self.samples.bends(self.z.M, self.z.V, self.z.A)

    @cached_property
    def _curved(self) -> Curvature:
        """H_zz of each sample."""
        return Curvature(self.samples, self._bends, self.z.S)

    def _solve(self, r: Tensor) -> Tensor:
        """H_zz^-1 r, n×(q+t): by factors once there are enough products at this point to be worth them."""
        self._products += 1
        if self._products > SOLVES and self._factors is not None:
            return torch.cholesky_solve(r[:, :, None], self._factors)[:, :, 0]
        return self._curved.solve(r, LOOSE)

    @cached_property
    def _factors(self) -> Tensor | None:
        """Cholesky factors of H_zz, n×(q+t)×(q+t); None where they are larger than worth it."""
        n, r = len(self.z.A), self.samples.loadings.map.shape[1]
        if r > LARGEST or n * r * r > HELD:
            return None
        L, failed = self.factors_of(slice(None))
        return None if self.table.zeros is not None and bool(failed.any()) else L

    def factors_of(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Cholesky factors of some samples' blocks H_zz, b×(q+t)×(q+t), and where there is none, not 0 (b,)."""
        H = Curvature(self.samples, self._bends.take(rows), self.z.S[rows]).matrix()
        return torch.linalg.cholesky_ex(H)

    def blocks(self, *, profiled: bool) -> Tensor:
        """Each feature's block of the Hessian, p×(d+q)×(d+q): with the samples held, or less what they take.

        sum_i w_i a_ij [x_i; m_i + S_i c_j][·]' + sum_i w_i A_ij S_i, with a = A, or A (1 − A c_j'S_i c_j) ≥ LEAST A.
        """
        self._polish()
        table, z, C = self.table, self.z, self.C
        (n, p), width = z.A.shape, table.d + table.q
        curvature = self.A
        if profiled:
            curvature = self.A * (1.0 - z.A * self.variance()).clamp_min_(LEAST)
        H = C.new_zeros((p, width, width))

        def add(rows: slice) -> None:
            S = z.S[rows].permute(1, 2, 0)
            F = C.new_empty((p, width, S.shape[2]))  # samples last, for what follows is done to rows of them
            F[:, : table.d] = table.Q[rows].mT
            torch.add((C @ S.flatten(1)).view(p, *S.shape[1:]), z.M[rows].mT, out=F[:, table.d :])
            H.baddbmm_(F * curvature[rows].mT[:, None, :], F.mT)

        accumulate((H,), add, n, p * width, BLOCK)
        H[:, table.d :, table.d :] += self.spread if z.bent is None else table.triangle.matrix(gram(self.A, z.V))
        return H

    def part(self, rows: slice) -> Evaluation:
        """Of some samples, as exact as it is."""
        z = self.z
        bent = None if z.bent is None else z.bent[rows]
        some = Posterior(z.M[rows], z.S[rows], z.V[rows], z.value[rows], z.A[rows], bent, z.gap[rows])
        return Evaluation(self.theta, self.table.rows(rows), some, self.zeta, self.samples.loadings)


def preconditioner(inverse: Tensor) -> Callable[[Tensor], Tensor]:
    """Matrices of the features, p×(d+q)×(d+q), as a map on (d+q)×p."""
    return lambda v: (inverse @ v.mT[:, :, None])[:, :, 0].mT


def inverses(H: Tensor) -> Tensor:
    """Inverses of the features' blocks, p×(d+q)×(d+q); a unit in directions without curvature."""
    diagonal = H.diagonal(dim1=1, dim2=2)
    most = diagonal.amax(1, keepdim=True).clamp_min(torch.finfo(H.dtype).tiny)
    scale = torch.maximum(diagonal, FLAT**1.5 * most).rsqrt()
    scaled = H * scale[:, :, None] * scale[:, None, :]
    L, failed = torch.linalg.cholesky_ex(scaled)
    flat = (failed != 0) | ~(L.diagonal(dim1=1, dim2=2).amin(1) > STEEP)
    if not bool(flat.any()):
        return torch.cholesky_inverse(L) * scale[:, :, None] * scale[:, None, :]
    L[flat] = torch.eye(L.shape[1], dtype=L.dtype, device=L.device)
    found = torch.cholesky_inverse(L)
    values, vectors = torch.linalg.eigh(scaled[flat])
    inverse = torch.where(values > FLAT, values, 1.0).reciprocal()
    found[flat] = (vectors * inverse[:, None, :]) @ vectors.mT
    return found * scale[:, :, None] * scale[:, None, :]
