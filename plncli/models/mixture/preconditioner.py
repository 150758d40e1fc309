"""Preconditioner of a mixture's bound: q in each cluster as in `models.pln`, what clusters share, and who is where."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.mixture.objective import Evaluation
from plncli.models.pln.precondition.features import block_curvature
from plncli.models.pln.precondition.whole import feature_preconditioner
from plncli.models.pln.structures import Full
from plncli.models.pln.wide import Wide
from plncli.numerics.linalg import Factor, cholesky_scaled, weighted_grams
from plncli.numerics.rows import gram, weigh, weighted_total

UNLIKELY = 1e-3
"""Probability below which a sample in a cluster moves the less, the less probable it is. It has next to no share in the
bound, so that conjugate gradients would leave its step to chance; a round puts it where it is best."""
LARGEST = 1000
"""Coefficients that clusters share up to which a matrix of their size is inverted at each step."""
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

    shared = _following(at, of_q) if at.beta.numel() else None

    def apply(v: Params) -> Params:
        of_zeta = share.mT * v["zeta"] / at.W.mT
        of_zeta = of_zeta - (at.tau * of_zeta).sum(1, keepdim=True)
        found = {"q": of_q(v["q"]), "zeta": of_zeta, "beta": v["beta"]}
        return found if shared is None else found | shared.solved(v["q"], found["q"], v["beta"])

    return apply


def _following(at: Evaluation, of_q: Callable[[Tensor], Tensor]) -> _Shared | _Correlated:
    """How latent means follow shared coefficients: all features together where they are correlated, by cluster."""
    if len(at.parts) > 1 and isinstance(at.parts[0].layer, Full | Wide) and at.beta.numel() <= LARGEST:
        factors = [cholesky_scaled(Omega + torch.diag(A)) for Omega, A in zip(_precisions(at), _rates(at), strict=True)]
        known = [factor for factor in factors if factor is not None]
        if len(known) == len(factors):
            return _Correlated(at, known)
    return _Shared(at, of_q)


def _precisions(at: Evaluation) -> list[Tensor]:
    """Omega of each cluster, p×p."""
    return [part.layer.inverse().dense() for part in at.parts]


def _rates(at: Evaluation) -> Tensor:
    """Mean expected counts of the clusters, K×p."""
    return at._means(at.A)


class _Correlated:
    """What q leaves of the coefficients that clusters share, where each has correlations of its own.

    With a cluster's mean rates A for those of its samples, and T centred in it, the best latent means for beta are
    T beta E with E = Omega (A + Omega)^-1, and of the block of beta sum_k (T'W_k T) ⊗ (A^-1 + Sigma)^-1 is left, the
    second factor being E A. factors: of A + Omega of each cluster.
    """

    def __init__(self, at: Evaluation, factors: list[Factor]) -> None:
        T, (c, p) = at.table.T, at.beta.shape
        self._T = [T - weighted_total(w, T) / size for w, size in zip(at.W, at.sizes, strict=True)]
        self._E = [factor.solve(Omega).mT for factor, Omega in zip(factors, _precisions(at), strict=True)]
        left = T.new_zeros((c, p, c, p))
        for t, w, E, A in zip(self._T, at.W, self._E, _rates(at), strict=True):
            own = 0.5 * (E * A + (E * A).mT)
            left += torch.einsum("ab,ij->aibj", gram(t, weigh(w, t)), own)
        left = left.view(c * p, c * p)
        size = left.diagonal()
        scale = torch.where(size > 0.0, size.clamp_min(torch.finfo(size.dtype).tiny).rsqrt(), 0.0)
        values, V = torch.linalg.eigh(scale[:, None] * left * scale)
        values = torch.where(values > FLATTEST, 1.0 / values.clamp_min(FLATTEST), 0.0)
        self._inverse = scale[:, None] * ((V * values) @ V.mT) * scale

    def solved(self, v: Tensor, of_q: Tensor, of_beta: Tensor) -> Params:
        """q and beta, from the right side of q and the solution for q alone (2×K×n×p), and the right side of beta."""
        rest = of_beta
        for t, E, dM in zip(self._T, self._E, v[0], strict=True):
            rest = rest + gram(t, dM) @ E.mT
        beta = (self._inverse @ rest.flatten()).view_as(of_beta)
        following = torch.stack([t @ (beta @ E) for t, E in zip(self._T, self._E, strict=True)])
        return {"q": torch.stack([of_q[0] + following, of_q[1]]), "beta": beta}


class _Shared:
    """The same where they are not, or are too many: feature by feature."""

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

    def solved(self, v: Tensor, of_q: Tensor, of_beta: Tensor) -> Params:
        """q and beta, from the right side of q and the solution for q alone (2×K×n×p), and the right side of beta."""
        del v
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
