"""The Hessian of each sample's objective in its posterior, solved with by conjugate gradients, or whole."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.models.pca.cells import Bends, Samples
from plncli.models.pca.spec import HELD
from plncli.models.pca.triangle import Triangle, inverse

RESIDUAL, LOOSE, ITERATIONS = 1e-7, 1e-5, 100
"""Share of the right side that conjugate gradients leave of a sample, also where less will do; iterations at most."""

SMALL = 30
"""Size of the blocks of H_zz up to which a single solve by factors takes less than conjugate gradients."""


class Curvature:
    """Hessian H_zz of f in z = (m, entries of S), of b samples with these bends of their cells, at S (b×q×q)."""

    def __init__(self, samples: Samples, bends: Bends, S: Tensor) -> None:
        self.samples, self.bends, self.S = samples, bends, S
        self.P, _ = inverse(S)

    def product(self, y: Tensor) -> Tensor:
        """H_zz y, b×(q+t)."""
        q, triangle = self.P.shape[1], self.samples.triangle
        out = self.samples.pulled(*self.samples.turned(self.bends, y))
        out[:, :q] += y[:, :q]
        out[:, q:] += 0.5 * triangle.k * triangle.entries(self.P @ triangle.matrix(y[:, q:]) @ self.P)
        return out

    def nearly(self, r: Tensor) -> Tensor:
        """Nearly H_zz^-1 r, b×(q+t): without what m and S share, and the fourth derivatives."""
        q, triangle, S = self.P.shape[1], self.samples.triangle, self.S
        own = S @ triangle.matrix(r[:, q:] / triangle.k) @ S
        return torch.cat([(S @ r[:, :q, None])[:, :, 0], 2.0 * triangle.entries(own)], 1)

    def solve(self, b: Tensor, residual: float = RESIDUAL) -> Tensor:
        """H_zz^-1 b of each sample by conjugate gradients; all share the product, and those that are done wait.

        Where a curvature is not positive, as it can be with zeros that may be structural, it is what was found until
        then, `nearly` at least.
        """
        x, r = torch.zeros_like(b), b.clone()
        z = self.nearly(r)
        s, rz = z, (r * z).sum(1)
        goal = rz * residual**2
        for iteration in range(ITERATIONS):
            going = rz > goal
            if not bool(going.any()):
                break
            Hs = self.product(s)
            bent = (s * Hs).sum(1)
            convex = going & (bent > 0.0)
            step = torch.where(convex, rz / bent, 0.0)
            if not iteration:
                step = torch.where(going & ~convex, 1.0, step)
            step = step[:, None]
            x.addcmul_(step, s)
            r.addcmul_(step, Hs, value=-1.0)
            z = self.nearly(r)
            before, rz = rz, torch.where(convex, (r * z).sum(1), torch.where(going, 0.0, rz))
            s = torch.where(convex[:, None], z + (rz / before)[:, None] * s, s)
        return x

    def step(self, b: Tensor) -> Tensor:
        """The same, by factors where they are small and H_zz is positive definite."""
        n, r = b.shape
        if self.bends.zero is None or r > SMALL or n * r * r > HELD:
            return self.solve(b)
        L, failed = torch.linalg.cholesky_ex(self.matrix())
        x = torch.cholesky_solve(b[:, :, None], L)[:, :, 0]
        return torch.where((failed > 0)[:, None], self.solve(b), x) if bool(failed.any()) else x

    def matrix(self) -> Tensor:
        """H_zz whole, b×(q+t)×(q+t)."""
        q, triangle, linear, P = self.P.shape[1], self.samples.triangle, self.samples.loadings.map, self.P
        pairs, a, b = Triangle(linear, linear.shape[1]), triangle.rows, triangle.columns
        both = pairs.products(linear)
        if self.bends.zero is None:
            entries = self.bends.a @ both
        else:
            in_m = (pairs.rows < q).to(torch.int64) + (pairs.columns < q)  # how many of a pair: its bend is c, b or a
            entries = torch.empty((len(P), len(in_m)), dtype=P.dtype, device=P.device)
            for many, bend in enumerate((self.bends.c, self.bends.b, self.bends.a)):
                entries[:, in_m == many] = bend @ both[:, in_m == many]
        H = pairs.matrix(entries)
        H[:, :q, :q].diagonal(dim1=1, dim2=2).add_(1.0)
        own = P[:, a][:, :, a] * P[:, b][:, :, b] + P[:, a][:, :, b] * P[:, b][:, :, a]
        H[:, q:, q:] += 0.25 * triangle.k[:, None] * triangle.k * own
        return H
