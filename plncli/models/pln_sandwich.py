"""Sandwich covariance of the coefficients of a Poisson log-normal model.

Batardière, Chiquet & Mariadassou 2024 (arXiv:2411.08524). The variational estimate maximises sum_i w_i J_i(B, Sigma),
J_i being the bound of sample i at its best (m_i, s_i²), so it is an M-estimator. With eta = B'x_i, the derivatives of
J_i follow from the envelope theorem and from eliminating m_i and s_i²:

    gradient  Omega (m_i − eta) = y_i − a_i,      Hessian  −W_i = −(Sigma + diag(D_i))^-1,   D_ij = 1/A_ij + s_ij⁴/2

where A is the expected count; D is the paper's 1/A + s⁴/(1 + s²(A + omega)), for s²(A + omega) = 1 at the optimum.
Then V = C^-1 (sum_i w_i g_i g_i') C^-1 with C = sum_i w_i W_i ⊗ x_i x_i' and g_i = (y_i − a_i) ⊗ x_i. Sigma's own
uncertainty is left out, as in the paper; where Sigma is fixed there is none.

D is kept as H = 1/D = A/(1 + A s⁴/2), which is exact at both ends: H = 0 in a cell that does not count (unobserved, or
separated), whose row and column of W are 0; and W = A where the variance is 0 (an ordinary Poisson regression).
Without correlations W is diagonal, and C falls apart by features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.linalg import Basis, Factor, cholesky_scaled, weighted_grams
from plncli.models.uncertainty import BLOCK, Determined, Interrupted, Uncertainty, from_influence, to_units


@dataclass(frozen=True)
class Cells:
    """A fitted model, all features in their order: what every sandwich needs of it.

    basis: of the design; w: (n,); E: n×p, y − a, 0 where a cell does not count; H: n×p, see above; Sigma: p×p;
    joint: (q,) features that are correlated with others, the rest stand by themselves; at: what is determined;
    clusters: (n,) codes of samples whose scores are added up, or None, and the correction that goes with them.
    """

    basis: Basis
    w: Tensor
    E: Tensor
    H: Tensor
    Sigma: Tensor
    joint: Tensor
    at: Determined
    clusters: Tensor | None = None
    correction: float = 1.0


def work(n: int, q: int, d: int) -> float:
    """Multiplications that the sandwich of q correlated features takes, about: inverses, the solve, the influences."""
    return float(n) * q**3 + float(q * d) ** 3 + float(n) * (q * d) ** 2


def sandwich(cells: Cells, missing: Tensor, cancelled: Callable[[], bool] = lambda: False) -> Uncertainty | None:
    """The covariance of the coefficients; missing: d×p, those without one. None when C is not positive definite."""
    d, p = missing.shape
    alone = torch.ones(p, dtype=torch.bool, device=missing.device)
    alone[cells.joint] = False
    single = alone.nonzero()[:, 0]
    inverses = _single_inverses(cells, single)
    solve = _joint_solver(cells, cancelled) if len(cells.joint) else None
    if inverses.isnan().any() or (len(cells.joint) and solve is None):
        return None

    def influence(rows: slice) -> Tensor:
        if cancelled():
            raise Interrupted
        q, e = cells.basis.Q[rows], cells.E[rows]
        u = e.new_zeros((len(q), p, d))
        u[:, single] = torch.einsum("jkl,il,ij->ijk", inverses, q, e[:, single])
        if solve is not None:
            u[:, cells.joint] = solve(e[:, cells.joint, None] * q[:, None, :])
        return to_units(cells.basis, u)

    return from_influence("sandwich", influence, cells.w, (d, p), missing, cells.clusters, cells.correction)


def _single_inverses(cells: Cells, features: Tensor) -> Tensor:
    """(sum_i w_i W_ij q_i q_i')^-1 of features without correlations, in the orthonormal basis: f×d×d."""
    H = cells.H[:, features]
    W = H / (1.0 + H * cells.Sigma.diagonal()[features])
    at = _of(cells.at, features)
    return at.inverse(weighted_grams(cells.basis.Q, cells.w[:, None] * W))


def _of(at: Determined, features: Tensor) -> Determined:
    return at if len(at.free) == 1 else Determined(at.vectors[features], at.free[features], at.gram[features])


def _joint_solver(cells: Cells, cancelled: Callable[[], bool]) -> Callable[[Tensor], Tensor] | None:
    """The map g -> C^-1 g on scores b×q×d of correlated features; along open directions the answer is 0."""
    q, d = len(cells.joint), cells.basis.Q.shape[1]
    at = _of(cells.at, cells.joint)
    U = at.vectors.expand(q, d, d)
    closed = ~at.free.expand(q, d).reshape(-1)
    factor = _factor(joint_hessian(cells, cancelled), U, closed)
    if factor is None:
        return None

    def solve(g: Tensor) -> Tensor:
        turned = torch.einsum("jlk,ijl->ijk", U, g).flatten(1)
        out = torch.zeros_like(turned)
        out[:, closed] = factor.solve(turned[:, closed].mT).mT
        return torch.einsum("jkl,ijl->ijk", U, out.view(-1, q, d))

    return solve


def _factor(C: Tensor, U: Tensor, closed: Tensor) -> Factor | None:
    """Cholesky factor of C (q×d×q×d) turned into the basis U (q×d×d) and restricted to the closed directions."""
    q, d = U.shape[:2]
    C = torch.einsum("jak,jalb->jklb", U, C)
    C = torch.einsum("lbm,jklb->jklm", U, C).reshape(q * d, q * d)
    return cholesky_scaled(C if bool(closed.all()) else C[closed][:, closed])


def joint_hessian(cells: Cells, cancelled: Callable[[], bool] = lambda: False) -> Tensor:
    """C = sum_i w_i W_i ⊗ q_i q_i' of the correlated features, as q×d×q×d.

    Samples go through in blocks of BLOCK/q² matrices W (q×q); besides them there are d(d + 1)/2 sums of size q×q.
    """
    Q, w, H = cells.basis.Q, cells.w, cells.H[:, cells.joint]
    Sigma = cells.Sigma[cells.joint][:, cells.joint]
    (n, d), q = Q.shape, len(cells.joint)
    k, l = torch.triu_indices(d, d, device=Q.device)
    sums = Q.new_zeros((len(k), q * q))
    rows = max(1, BLOCK // (q * q))
    for i in range(0, n, rows):
        if cancelled():
            raise Interrupted
        x = Q[i : i + rows]
        products = w[i : i + rows, None] * x[:, k] * x[:, l]
        sums.addmm_(products.mT, curvature(Sigma, H[i : i + rows]).flatten(1))
    C = Q.new_empty((q, d, q, d))
    for m in range(len(k)):
        block = sums[m].view(q, q)
        C[:, k[m], :, l[m]] = block
        C[:, l[m], :, k[m]] = block
    return C


def curvature(Sigma: Tensor, H: Tensor) -> Tensor:
    """W_i = (Sigma + diag(1/h_i))^-1 for each row of H (b×q), b×q×q; rows and columns of zeros where h is 0."""
    counts = H > 0
    G = Sigma.expand(len(H), -1, -1).clone(memory_format=torch.contiguous_format)
    whole = bool(counts.all())
    if not whole:
        pairs = (counts[:, :, None] & counts[:, None, :]).to(H.dtype)
        G *= pairs
    G.diagonal(dim1=1, dim2=2).add_(torch.where(counts, H, 1.0).reciprocal_())
    W = torch.cholesky_inverse(torch.linalg.cholesky_ex(G).L)
    return W if whole else W.mul_(pairs)
