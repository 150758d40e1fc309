"""The bound with a full posterior covariance, its samples profiled out: a function of B and Sigma, with derivatives.

F(G, C) = sum_i w_i min f_i (`samples`), with G (d×p) the coefficients in an orthonormal basis Q of the design, and
Sigma = CC', C p×p. At the optimum Sigma is often singular, and its inverse does not exist; in C that is an ordinary
point. With alpha_i = y_i − lambda_i, W_i = (Sigma + Lambda_i^-1)^-1 and N_i = I − S_i Lambda_i,

    dF/dG = −Q'W alpha,    dF/dC = Gamma C,    Gamma = sum_i w_i (W_i − alpha_i alpha_i')        (envelope theorem)

and along (dG, dC), with dSigma = dC C' + C dC' and M_i = Lambda_i^-1 + Sigma + ½ S_i∘S_i, the samples follow by

    dlambda_i = M_i^-1 (Q_i dG + dSigma alpha_i + ½ diag(N_i dSigma N_i'))
    dW_i = N_i' dLambda_i N_i − W_i dSigma W_i,    dalpha_i = −dlambda_i.

C and CR are the same for any rotation R. Steps are kept free of rotations (C'dC symmetric): they cannot lower F, but
would make it bend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.pln.posterior.samples import FARTHEST, At, Posteriors, Samples, posteriors
from plncli.models.pln.spec import HELD
from plncli.numerics.rows import gram, grand_total, total, weigh

FLAT = 1e-13
"""Share of the largest eigenvalue of C'C below which a direction does not tell a rotation."""


@dataclass(frozen=True)
class Table:
    """n samples × p features.

    Y: counts, 0 where they don't count; O: offset n×p or n×1; K: n×p, 1 where a cell counts, None when all do; w: (n,),
    None for ones; wbar: their sum; Q: n×d with Q'WQ = wbar·I; constant: sum of w K log Y!. held: C where Sigma is
    given, None where it is estimated. last: the latest evaluation.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor | None
    wbar: float
    Q: Tensor
    constant: float
    held: Tensor | None = None
    last: dict[str, Evaluation] = field(init=False, default_factory=dict, repr=False, compare=False)

    def at(self, params: Params) -> Evaluation:
        """The evaluation at `params`; the objective and the preconditioner ask for the same point in turn."""
        identity = tuple((tensor.data_ptr(), tensor._version) for tensor in params.values())
        known = self.last.get("known")
        if known is None or known.identity != identity:
            self.last.clear()
            params = {name: tensor.detach() for name, tensor in params.items()}
            known = self.last["known"] = Evaluation(params, self, identity)
        return known


class Piece(NamedTuple):
    """Of a block of samples: N and the inverse of I + Lambda^½ (Sigma + ½ S∘S) Lambda^½, b×p×p."""

    rows: slice
    N: Tensor
    inverse: Tensor


class Evaluation:
    """Value, gradient and Hessian products at one point: `G` (d×p), `C` (p×p), and `t` (n×p), log rates.

    F does not depend on t, where the search for the samples' log rates begins; steps carry it along (`curve`).
    """

    def __init__(self, params: Params, table: Table, identity: object = None) -> None:
        self.params, self.identity, self.table = params, identity, table
        self.G, self._t = params["G"], params["t"]
        self.C = params["C"] if table.held is None else table.held
        self.Sigma = self.C @ self.C.mT
        self.samples = Samples(table.Y, table.K, table.O + table.Q @ self.G, self.Sigma)
        self.z: Posteriors = posteriors(self.samples, self._t)
        value = grand_total(weigh(table.w, self.z.value[:, None])) + table.constant
        self.value = torch.where(torch.isfinite(value), value, torch.inf)

    @property
    def estimated(self) -> bool:
        """Whether Sigma is."""
        return self.table.held is None

    @cached_property
    def A(self) -> Tensor:
        """lambda times weights, n×p."""
        return weigh(self.table.w, self.z.rates)

    @cached_property
    def pull(self) -> Tensor:
        """alpha times weights, n×p."""
        return weigh(self.table.w, self.z.pull)

    # -- matrices of samples -------------------------------------------------------------------------------------------

    def pieces(self) -> Iterator[Piece]:
        """Of all samples, kept where they are few enough."""
        n, p = self.table.Y.shape
        if n * p * p > HELD:
            return self._made()
        if self._kept is None:
            self._kept = list(self._made())
        return iter(self._kept)

    _kept: list[Piece] | None = None

    def _made(self) -> Iterator[Piece]:
        for rows in self.samples.blocks():
            at = At(self.samples.take(rows), self.z.t[rows])
            inverse = torch.cholesky_inverse(at.factor())
            N = at.S.mul_(at.rates[:, None, :]).neg_()
            N.diagonal(dim1=1, dim2=2).add_(1.0)
            yield Piece(rows, N, inverse)

    def _weights(self, rows: slice) -> Tensor | float:
        return 1.0 if self.table.w is None else self.table.w[rows, None, None]

    @cached_property
    def information(self) -> Tensor:
        """sum_i w_i W_i, p×p."""
        found = torch.zeros_like(self.Sigma)
        for rows, N, _ in self.pieces():
            found += torch.einsum("ij,ijk->jk", self.A[rows], N)
        return 0.5 * (found + found.mT)

    @cached_property
    def slope(self) -> Tensor:
        """Gamma, p×p."""
        return self.information - gram(self.z.pull, self.pull)

    # -- derivatives ---------------------------------------------------------------------------------------------------

    def gradient(self) -> Params:
        """Of G, C and t."""
        found = {"G": -gram(self.table.Q, self.pull), "t": torch.zeros_like(self._t)}
        return self._named(found, self.slope @ self.C if self.estimated else None)

    def _named(self, found: Params, C: Tensor | None) -> Params:
        """In the order of the parameters."""
        known = found if C is None else {**found, "C": C}
        return {name: known[name] for name in self.params}

    def _turned(self, v: Params) -> Tensor:
        """dSigma, p×p."""
        if not self.estimated:
            return torch.zeros_like(self.Sigma)
        half = v["C"] @ self.C.mT
        return half + half.mT

    def _followed(self, piece: Piece, v: Params, dSigma: Tensor, Y: Tensor) -> Tensor:
        """Lambda^-½ dlambda of a block, b×p. Y: dSigma N', b×p×p."""
        rows, N, inverse = piece
        h = self.table.Q[rows] @ v["G"]
        if self.estimated:
            h = h + self.z.pull[rows] @ dSigma + 0.5 * (N * Y.mT).sum(2)
        return torch.bmm(inverse, (self.z.rates[rows].sqrt() * h)[:, :, None])[:, :, 0]

    def product(self, v: Params) -> Params:
        """Hessian times v: four products of n matrices p×p, the half of them by factors."""
        table, p = self.table, len(self.Sigma)
        dSigma, dSlope = self._turned(v), torch.zeros_like(self.Sigma)
        dA = torch.empty_like(self.z.rates)
        for piece in self.pieces():
            rows, N, _ = piece
            rates, Y = self.z.rates[rows], torch.matmul(dSigma, N.mT) if self.estimated else dSigma
            dA[rows] = rates.sqrt() * self._followed(piece, v, dSigma, Y)
            if self.estimated:
                turn = Y.mul_(rates[:, :, None]).mul_(rates[:, None, :]).neg_().addcmul_(dA[rows, :, None], N)
                dSlope += N.reshape(-1, p).mT @ turn.mul_(self._weights(rows)).view(-1, p)
        dA = weigh(table.w, dA)
        found = {"G": gram(table.Q, dA), "t": torch.zeros_like(self._t)}
        if not self.estimated:
            return self._named(found, None)
        half = gram(self.z.pull, dA)
        return self._named(found, self.slope @ v["C"] + (dSlope + half + half.mT) @ self.C)

    def curve(self, v: Params) -> Params:
        """Nothing but t, carried to where the samples' log rates will be after a step v, to first order."""
        dt, dSigma = torch.zeros_like(self._t), self._turned(v)
        for piece in self.pieces():
            root, Y = self.z.rates[piece.rows].sqrt(), torch.matmul(dSigma, piece.N.mT) if self.estimated else dSigma
            half = self._followed(piece, v, dSigma, Y)
            dt[piece.rows] = torch.where(root > 0, half / root, 0.0)
        dt = dt.clamp_(-FARTHEST, FARTHEST).add_(self.z.t - self._t)
        return {name: torch.zeros_like(tensor) for name, tensor in v.items()} | {"t": dt}

    # -- preconditioner ------------------------------------------------------------------------------------------------

    def blocks(self) -> Tensor:
        """Each feature's block of the Hessian in its coefficients and its row of C, u_i held, p×(d+p)×(d+p).

        With r_i = Cu_i, u_i ~ N(0, I) of posterior mean C'alpha_i and covariance U_i = I − C'W_iC, it is
        sum_i w_i lambda_ij ([Q_i; u_i + U_i c_j][·]' + U_i).
        """
        table, C = self.table, self.C
        p, d = len(C), table.Q.shape[1]
        width = d + p if self.estimated else d
        H = C.new_zeros((p, width, width))
        across = C.new_zeros((p, p * p)) if self.estimated else None
        for rows, N, _ in self.pieces():
            F = table.Q[rows, None, :].expand(-1, p, -1)
            if across is not None:
                F = torch.cat([F, (self.z.pull[rows] @ C)[:, None, :] + N @ C], 2)
                across.addmm_(self.A[rows].mT, (self.z.rates[rows, :, None] * N).flatten(1))
            F = F.transpose(0, 1)  # p×b×width
            H.baddbmm_((F * self.A[rows].mT[:, :, None]).mT, F)
        if across is not None:
            H[:, d:, d:] -= C.mT @ across.view(p, p, p) @ C
            H[:, d:, d:].diagonal(dim1=1, dim2=2).add_(total(self.A)[:, None])
        return H

    @cached_property
    def _factors(self) -> Tensor:
        return _factors(self.blocks())

    def by_features(self, v: Params) -> Params:
        """The inverse of the features' blocks times v."""
        d = self.table.Q.shape[1]
        r = torch.cat([v["G"], v["C"].mT]) if self.estimated else v["G"]
        z = torch.cholesky_solve(r.mT[:, :, None], self._factors)[:, :, 0].mT
        return self._named({"G": z[:d], "t": torch.zeros_like(self._t)}, z[d:].mT if self.estimated else None)

    def preconditioner(self) -> Callable[[Params], Params]:
        """Inverse of the features' blocks + what a round of EM would do, free of rotations.

        The blocks hold the samples' standardised values u_i and are right where counts tell little of them; EM holds q,
        and is right where they tell much. Elsewhere either steps too short, so that their sum is twice too long at
        most. Blocks less what the samples take, as in `pca`, have steps without measure where a feature is rare.
        """
        C, Sigma, wbar = self.C, self.Sigma, self.table.wbar
        unrotated = _unrotated(C) if self.estimated else None

        def apply(v: Params) -> Params:
            if unrotated is None:
                z = self.by_features(v)
                return {**z, "G": z["G"] + v["G"] @ Sigma / wbar}
            g = unrotated(v["C"])
            z = self.by_features({**v, "C": g})
            half = C.mT @ g
            em = C @ (half + half.mT) / (4.0 * wbar)
            return {**z, "G": z["G"] + v["G"] @ Sigma / wbar, "C": unrotated(z["C"] + em)}

        return apply

    def curvature(self) -> Params:
        """Diagonal of the features' blocks."""
        diagonal, d = self.blocks().diagonal(dim1=1, dim2=2), self.table.Q.shape[1]
        found = {"G": diagonal[:, :d].mT.contiguous(), "t": torch.ones_like(self._t)}
        return self._named(found, diagonal[:, d:].contiguous() if self.estimated else None)

    # -- rounds that are no step of the optimizer's --------------------------------------------------------------------

    def em(self) -> Params:
        """G and C after a round of EM: those that are best for q."""
        table = self.table
        M = table.Q @ self.G + self.z.r
        G = gram(weigh(table.w, table.Q), M) / table.wbar
        R = M - table.Q @ G
        S = torch.zeros_like(self.Sigma)
        for rows in self.samples.blocks():
            at = At(self.samples.take(rows), self.z.t[rows])
            S += total(at.S * self._weights(rows))
        values, V = torch.linalg.eigh((gram(R, weigh(table.w, R)) + S) / table.wbar)
        return {"G": G, "C": V * values.clamp_min(0.0).sqrt(), "t": self.z.t}


def _factors(H: Tensor) -> Tensor:
    """Cholesky factors of the features' blocks, with units in directions without curvature."""
    diagonal = H.diagonal(dim1=1, dim2=2)
    floor = 1e-12 * diagonal.amax(1, keepdim=True).clamp_min(torch.finfo(H.dtype).tiny)
    diagonal.add_(floor)
    L, failed = torch.linalg.cholesky_ex(H)
    if bool(failed.any()):
        whole = torch.diag_embed(diagonal.clamp_min(floor).sqrt())
        L = torch.where((failed == 0)[:, None, None], L, whole)
    return L


def _unrotated(C: Tensor) -> Callable[[Tensor], Tensor]:
    """The part of directions of C that is orthogonal to its rotations CA, A antisymmetric (Sylvester's equation)."""
    values, V = torch.linalg.eigh(C.mT @ C)
    sums = values[:, None] + values
    inverse = torch.where(sums > FLAT * values[-1], sums.reciprocal(), 0.0)

    def apply(v: Tensor) -> Tensor:
        X = V.mT @ (C.mT @ v) @ V
        return v - C @ (V @ ((X - X.mT) * inverse) @ V.mT)

    return apply
