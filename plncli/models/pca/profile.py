"""The bound with the samples profiled out: a function of coefficients and loadings alone, with its derivatives.

F(theta) = sum_i w_i min f_i(m_i, S_i), theta (d+q)×p: the coefficients G of the design's orthonormal basis above the
transposed loadings C'. With E = A − Y and everything at its best for theta (variable projection: Golub & Pereyra 1973;
Hong & Fitzgibbon 2015 for why it finds minima that joint steps miss),

    dF/dG = Q'WE,     dF/dc_j = sum_i w_i (E_ij m_i + A_ij S_i c_j)                              (envelope theorem)
    d²F = H_θθ − H_θz H_zz^-1 H_zθ

with z_i = (m_i, S_i) by its q + q(q+1)/2 entries. H_zz falls apart by samples. A product solves with its blocks by
conjugate gradients, preconditioned by S on m and 2 S · S on S, whose residual falls about tenfold an iteration; where
many products are wanted at a point, and the blocks are small, they are factored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.fused import Fused
from plncli.models.pca.posterior import LOOSE, Curvature, Posterior, Samples, Triangle, posterior
from plncli.models.pca.spec import HELD
from plncli.numerics.rows import gram, grand_total, weigh

LARGEST = 150
"""Size of the blocks of H_zz up to which a solve by factors takes less than conjugate gradients."""
SOLVES = 4
"""Products at a point after which they have paid for themselves."""
LEAST = 1e-10
"""Share of a cell's curvature that its leverage leaves at least: little, or the gap would pass for small there."""
FLAT = 1e-10
"""Eigenvalue of a feature's block, of unit diagonal, up to which a direction has no curvature: not determined."""
BLOCK = 1 << 18
"""Numbers in a block of samples × features × parameters of a feature."""


@dataclass(frozen=True)
class Table:
    """n samples × p features, and rank q.

    Y: counts, 0 where they don't count; O: offset n×p or n×1; K: n×p, 1 where a cell counts, None when all do; w: (n,),
    None for ones; wbar: their sum; Q: n×d with Q'WQ = wbar·I; constant: sum of w K log Y!. last: the latest evaluation.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor | None
    wbar: float
    Q: Tensor
    q: int
    constant: float
    last: dict[str, Evaluation] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def d(self) -> int:
        """Coefficients a feature."""
        return self.Q.shape[1]

    @cached_property
    def triangle(self) -> Triangle:
        """Of the posterior covariances."""
        return Triangle(self.Y, self.q)

    def samples(self, theta: Tensor) -> Samples:
        """What the posterior of each sample depends on."""
        return Samples(self.Y, self.K, self.O + self.Q @ theta[: self.d], theta[self.d :].mT, self.triangle)

    def at(self, theta: Tensor) -> Evaluation:
        """The evaluation at theta, which depends on nothing else: fits are repeated, and gone on with, to the bit."""
        known = self.last.get("theta")
        if known is None or known.theta.data_ptr() != theta.data_ptr() or known.version != theta._version:
            known = self.last["theta"] = Evaluation(theta.detach(), self)
        return known


class Evaluation:
    """Value, gradient and Hessian products at one theta.

    z: the posteriors of the samples, where they are best unless others are given, at which the gradient is then taken.
    """

    def __init__(self, theta: Tensor, table: Table, z: Posterior | None = None) -> None:
        self.theta, self.version, self.table = theta, theta._version, table
        self.samples = table.samples(theta)
        self._polished, self._products = z is not None, 0
        self.z = posterior(self.samples) if z is None else z
        value = grand_total(weigh(table.w, self.z.value[:, None])) + table.constant
        self.value = torch.where(torch.isfinite(value), value, torch.inf)

    @property
    def C(self) -> Tensor:
        """Loadings p×q."""
        return self.samples.C

    @cached_property
    def A(self) -> Tensor:
        """Expected counts times weights, n×p."""
        return weigh(self.table.w, self.z.A)

    @cached_property
    def E(self) -> Tensor:
        """A − Y, times weights, n×p."""
        return weigh(self.table.w, self.z.A - self.table.Y)

    @cached_property
    def spread(self) -> Tensor:
        """sum_i w_i A_ij S_i of each feature, p×q×q."""
        return self.table.triangle.matrix(gram(self.A, self.z.V))

    def _polish(self) -> None:
        """One Newton step of the posteriors, whose error is squared: gradients are as exact as values then."""
        if self._polished:
            return
        self._polished = True
        triangle, q, z = self.table.triangle, self.table.q, self.z
        residual = torch.cat(
            [
                self.samples.slope(z.A, z.M),
                0.5 * triangle.k * triangle.entries(self.samples.curvature(z.A) - self._curved.P),
            ],
            1,
        )
        y = self._curved.solve(residual)
        M, V = z.M - y[:, :q], z.V - y[:, q:]
        A = self.samples.means(M, V)
        self.z = replace(z, M=M, V=V, S=triangle.matrix(V), A=A)
        del self._curved  # of what was

    def variance(self) -> Tensor:
        """c_j'S_i c_j of the latent values, n×p."""
        return self.z.V @ (2.0 * self.samples.halves).mT

    def gradient(self) -> Tensor:
        """(d+q)×p."""
        self._polish()
        loadings = gram(self.z.M, self.E) + (self.spread @ self.C[:, :, None])[:, :, 0].mT
        return torch.cat([gram(self.table.Q, self.E), loadings])

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, (d+q)×p each."""
        self._polish()
        table, z, C, triangle = self.table, self.z, self.C, self.table.triangle
        q, dG, dC = table.q, v[: table.d], v[table.d :].mT
        dhalves = 0.5 * triangle.k * triangle.turned(C, dC)
        dA = torch.addmm(table.Q @ dG, z.M, dC.mT).addmm_(z.V, dhalves.mT).mul_(z.A)
        across = dA @ self.samples.map
        across[:, :q] += (z.A - table.Y) @ dC
        across[:, q:] += z.A @ dhalves
        y = self._solve(across).neg_()
        dA += z.A * (y @ self.samples.map.mT)
        dA = weigh(table.w, dA)
        follow = gram(dA, torch.cat([z.M, z.V], 1))
        turn = triangle.matrix(follow[:, q:] + gram(self.A, y[:, q:]))
        loadings = follow[:, :q] + gram(self.E, y[:, :q])
        loadings += (turn @ C[:, :, None] + self.spread @ dC[:, :, None])[:, :, 0]
        return torch.cat([gram(table.Q, dA), loadings.mT])

    @cached_property
    def _curved(self) -> Curvature:
        """H_zz of each sample."""
        return Curvature(self.samples, self.z.A, self.z.S)

    def _solve(self, r: Tensor) -> Tensor:
        """H_zz^-1 r, n×(q+t): by factors once there are enough products at this point to be worth them."""
        self._products += 1
        if self._products > SOLVES and self._factors is not None:
            return torch.cholesky_solve(r[:, :, None], self._factors)[:, :, 0]
        return self._curved.solve(r, LOOSE)

    @cached_property
    def _factors(self) -> Tensor | None:
        """Cholesky factors of H_zz, n×(q+t)×(q+t); None where they are larger than worth it."""
        n, r = len(self.z.A), self.samples.map.shape[1]
        return self.factors_of(slice(None)) if r <= LARGEST and n * r * r <= HELD else None

    def factors_of(self, rows: Tensor | slice) -> Tensor:
        """Cholesky factors of some samples' blocks H_zz, b×(q+t)×(q+t)."""
        H = Curvature(self.samples, self.z.A[rows], self.z.S[rows]).matrix()
        return torch.linalg.cholesky_ex(H).L

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
        for rows in torch.arange(n, device=C.device).split(max(1, BLOCK // (p * width))):
            T = (z.M[rows, :, None] + z.S[rows] @ C.mT).permute(2, 0, 1)  # p×b×q
            F = torch.cat([table.Q[rows].expand(p, -1, -1), T], 2)
            H.baddbmm_((F * curvature[rows].mT[:, :, None]).mT, F)
        H[:, table.d :, table.d :] += self.spread
        return H

    def preconditioner(self) -> Callable[[Tensor], Tensor]:
        """The inverse of the features' blocks, as a map on (d+q)×p."""
        inverse = self.inverse_blocks()
        return lambda v: (inverse @ v.mT[:, :, None])[:, :, 0].mT

    def inverse_blocks(self) -> Tensor:
        """Inverses of the features' profiled blocks, p×(d+q)×(d+q); a unit in directions without curvature."""
        H = self.blocks(profiled=True)
        diagonal = H.diagonal(dim1=1, dim2=2)
        most = diagonal.amax(1, keepdim=True).clamp_min(torch.finfo(H.dtype).tiny)
        scale = torch.maximum(diagonal, FLAT**1.5 * most).rsqrt()
        values, vectors = torch.linalg.eigh(H * scale[:, :, None] * scale[:, None, :])
        inverse = torch.where(values > FLAT, values, 1.0).reciprocal()
        half = scale[:, :, None] * vectors
        return (half * inverse[:, None, :]) @ half.mT

    def curvature(self) -> Tensor:
        """Diagonal of the features' blocks, (d+q)×p."""
        return self.blocks(profiled=True).diagonal(dim1=1, dim2=2).mT


class ProfiledPCA(Fused):
    """Minus the ELBO of theta."""


def objective(theta: Tensor, table: Table) -> Tensor:
    """Minus the ELBO (scalar, nats) at the best posteriors, with its derivatives behind autograd's own interface."""
    return ProfiledPCA.apply(theta, table)
