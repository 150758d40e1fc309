"""Preconditioner of a mixture's bound: q in each cluster as in `models.pln`, what clusters share, and who is where."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.mixture.objective import Evaluation
from plncli.models.pln.preconditioner import block_curvature, feature_preconditioner
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import gram

UNLIKELY = 1e-3
"""Probability below which a sample in a cluster moves the less, the less probable it is. It has next to no share in the
bound, so that conjugate gradients would leave its step to chance; a round puts it where it is best."""
FLATTEST = 1e-12
"""Share of the curvature in shared coefficients that is no more than rounding."""


def preconditioner(at: Evaluation) -> Callable[[Params], Params]:
    """Approximate inverse of the Hessian, with clusters' probabilities apart from the rest.

    q and beta are solved together, by the blocks of q and what they leave of the block of beta (c×c a feature):
    latent means of rare features follow their centre, and beta with them. In the logits of tau it is exact at the best.
    """
    blocks = [feature_preconditioner(part) for part in at.parts]
    n, share = len(at.tau), (at.tau / UNLIKELY).clamp_max(1.0).mT
    root = share.sqrt()[:, :, None]

    def of_q(v: Tensor) -> Tensor:
        parts = zip(blocks, (root * v).split(at.many // len(blocks), 1), strict=True)
        return torch.cat([block(part.flatten(1, 2)).unflatten(1, (-1, n)) for block, part in parts], 1).mul_(root)

    shared = _Shared(at, of_q) if at.beta.numel() else None

    def apply(v: Params) -> Params:
        of_zeta = share.mT * v["zeta"] / at.W.mT
        of_zeta = of_zeta - (at.tau * of_zeta).sum(1, keepdim=True)
        found = {"q": of_q(v["q"]), "zeta": of_zeta, "beta": v["beta"]}
        return found if shared is None else found | shared.solved(found["q"], v["beta"])

    return apply


class _Shared:
    """What q leaves of the coefficients that clusters share."""

    def __init__(self, at: Evaluation, of_q: Callable[[Tensor], Tensor]) -> None:
        self._at = at
        left, whole = self._left()
        values, V = torch.linalg.eigh(left)
        least = FLATTEST * whole[:, None]
        self._inverse = (V * torch.where(values > least, 1.0 / torch.maximum(values, least), 0.0)[:, None, :]) @ V.mT
        self._columns = [of_q(self._forth(step)) for step in torch.eye(len(at.beta)).to(at.beta)]

    def _left(self) -> tuple[Tensor, Tensor]:
        """The block of beta less what q and the clusters' means take, cell by cell, p×c×c; and how large it was (p,).

        Of a cell with curvature a, psi eliminated, a omega / (a + omega) is left.
        """
        at = self._at
        T, (c, p) = at.table.T, at.beta.shape
        left, whole = at.beta.new_zeros((p, c, c)), at.beta.new_zeros(p)
        Q = torch.cat([torch.ones_like(T[:, :1]), T], 1)
        parts = [torch.stack(block_curvature(part)).unflatten(1, (-1, len(T))) for part in at.parts]
        MM, Mpsi, psipsi = torch.cat(parts, 1)
        D = MM - Mpsi.square() / psipsi
        held = at.W[:, :, None] * at.omega[:, None]
        for share, omega in zip(held * (1.0 - held / D), at.omega, strict=True):
            G = weighted_grams(Q, share)
            mean = G[:, :1, 1:]
            left = left + G[:, 1:, 1:] - mean.mT @ mean / G[:, :1, :1].clamp_min(torch.finfo(G.dtype).tiny)
            whole = whole + omega * at.table.wbar
        return left, whole

    def _projected(self, A: Tensor) -> Tensor:
        """A (K×n×p) less its means by cluster."""
        return A - self._at._means(A)[:, None]

    def _forth(self, step: Tensor) -> Tensor:
        """Change of the gradient in q where a coefficient of each feature moves by `step` (c,), Omega held; 2×K×n×p."""
        at = self._at
        moved = self._projected((at.table.T @ step)[:, None].expand_as(at.R))
        forward = -at.W[:, :, None] * at.omega[:, None] * moved
        return torch.stack([forward, torch.zeros_like(forward)])

    def _back(self, dM: Tensor) -> Tensor:
        """Change of the gradient in beta along M, negated; c×p."""
        at = self._at
        return gram(at.table.T, (at.W[:, :, None] * at.omega[:, None] * self._projected(dM)).sum(0))

    def solved(self, of_q: Tensor, of_beta: Tensor) -> Params:
        """q and beta, from the solution for q alone (2×K×n×p) and the right side of beta (c×p)."""
        rest = of_beta + self._back(of_q[0])
        beta = torch.einsum("pij,jp->ip", self._inverse, rest)
        for a, column in enumerate(self._columns):
            of_q = of_q - column * beta[a]
        return {"q": of_q, "beta": beta}


def curvature(at: Evaluation) -> Params:
    """Diagonal of the blocks, positive."""
    n = len(at.tau)
    q = [torch.stack(block_curvature(part)[::2]).unflatten(1, (-1, n)) for part in at.parts]
    T = at.table.T
    of_beta = torch.stack([w @ T.square() for w in at.W]).mT @ at.omega
    return {"q": torch.cat(q, 1), "zeta": at.W.mT * (1.0 - at.tau) + 1e-12 * at.table.w[:, None], "beta": of_beta}
