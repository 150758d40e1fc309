"""Sandwich covariance of the coefficients of a Poisson log-normal PCA.

The estimate minimises sum_i w_i F_i(theta), F_i the bound of sample i at its best posterior, so it is an M-estimator
whose scores are the gradients of F_i, and whose Hessian is that of the profile (`profile`):

    s_ij = [E_ij x_i; E_ij m_i + A_ij S_i c_j],      H = diag_j(blocks) − sum_i w_i J_i' H_zz^-1 J_i

(Batardière, Chiquet & Mariadassou 2024, arXiv:2411.08524, for the bound of another q). Loadings are estimated too, and
what they take is in H. A rotation of the axes changes no F_i: those directions, C times an antisymmetric matrix, have
neither curvature nor scores, and are closed by a curvature of their own, which changes nothing of B.

A sample bends the fit towards itself, so its scores come out too small: they are divided by 1 − h_i (HC3 of MacKinnon &
White 1985), h_i the mean over features of its leverage in the regression of feature j on [x; m + S c_j]. A factor for
each feature would not do: the scores of a sample balance, sum_j E_ij c_j = −m_i, and what upset that would count as
noise in directions of which H sees next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli import ranks
from plncli.models.findings import Finding
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.prepared import Prepared
from plncli.models.pca.profile import Blocked, evaluated
from plncli.models.pln.separation import counted_rows, without_estimate
from plncli.models.uncertainty import (
    ALONE,
    Determined,
    Interrupted,
    Uncertainty,
    alone_finding,
    blocks,
    cluster_correction,
    from_influence,
    resting_on_one,
    to_units,
)
from plncli.numerics.linalg import Factor, cholesky_scaled
from plncli.numerics.rows import accumulate, number, weigh

BLOCK = 1 << 24
"""Numbers in the derivatives J_i that are held at a time."""
PRODUCT = 4.0
"""Multiplications of a Hessian product for each sample, feature, and number of a posterior."""
MOST_WORK = 2e12
"""Multiplications that it may take by default."""
MOST_NUMBERS = 2e8
"""Entries of H that it may hold by default."""


def size(prepared: Prepared) -> tuple[float, float]:
    """Multiplications that it takes, and entries of H."""
    table, n, p = prepared.table, number(prepared.data.n), prepared.data.p
    width, r = p * (table.d + table.q), table.q + len(table.triangle.k)
    if prepared.inflation is not None:  # a Hessian product for each parameter
        width += prepared.inflation.n_parameters
        return PRODUCT * width * n * r * (p + r) + width**3, width**2
    return n * r * width**2 + width**3, width**2


def sandwich(theta: Tensor, prepared: Prepared, cancelled: Callable[[], bool]) -> Uncertainty | Finding:
    """Covariance of B at theta; a finding where minus the Hessian of the bound is not positive definite."""
    data, table = prepared.data, prepared.table
    at = evaluated(theta, table)
    at.gradient()  # brings the posteriors to where they are exact
    counted = counted_rows(data, prepared.counted, prepared.separated, slice(None))
    determined = Determined.by(table.Q, data.w, counted)
    missing = without_estimate(data, prepared.separated)
    alone = resting_on_one(prepared.basis, data.w, counted, determined, data.p, data.clusters) & ~missing
    factor = _factor(at, determined, cancelled)
    if factor is None:
        return Finding(
            "no-standard-errors", "No standard errors: minus the Hessian of the bound is not positive definite."
        )
    d, p, width = table.d, data.p, table.d + table.q
    leverage = None if data.clusters is not None else leverage_of(at)

    def influence(rows: slice) -> Tensor:
        scores = scores_of(at, rows, leverage)  # b×p×(d+q)
        u = factor.solve(scores.flatten(1).mT).mT.view(-1, p, width)[:, :, :d]
        return to_units(prepared.basis, u)

    correction = 1.0 if data.clusters is None else cluster_correction(data)
    found = from_influence("sandwich", influence, data.w, (d, p), missing | alone, data.clusters, correction)
    return Uncertainty(
        found.method, found.blocks, found.covariance, findings=alone_finding(alone, data), facts=found.facts
    )


def _regressors(part: Evaluation) -> Tensor:
    """[x_i; m_i + S_i c_j] of some samples, b×p×(d+q)."""
    table, z = part.table, part.z
    T = (z.M[:, :, None] + z.S @ part.C.mT).mT
    return torch.cat([table.Q[:, None].expand(-1, len(part.C), -1), T], 2)


def scores_of(at: Evaluation | Blocked, rows: slice, leverage: Tensor | None) -> Tensor:
    """b×p×(d+q), without weights."""
    part = at.part(rows)
    table, z = part.table, part.z
    E = z.A - table.Y
    own = z.second[:, :, None] * (z.S @ part.C.mT).mT
    loadings = E[:, :, None] * z.M[:, None] + own
    scores = torch.cat([E[:, :, None] * table.Q[:, None], loadings], 2)
    return scores if leverage is None else scores / (1.0 - leverage[rows]).clamp_min(1.0 - ALONE)[:, None, None]


def leverage_of(at: Evaluation | Blocked) -> Tensor:
    """Mean over features of a_ij f'H_j^-1 f, with the profiled blocks H_j, of each sample of weight 1, (n,)."""
    inverse = at.inverse_blocks()
    out = inverse.new_empty(len(at.table.Q))
    for rows in blocks(len(out), inverse.numel()):
        part = at.part(rows)
        F, A = _regressors(part), part.z.A
        curvature = A * (1.0 - A * part.variance()).clamp_min(0.0)
        out[rows] = (curvature * (torch.einsum("ijk,jkl->ijl", F, inverse) * F).sum(2)).mean(1)
    return out


def _factor(at: Evaluation | Blocked, determined: Determined, cancelled: Callable[[], bool]) -> Factor | None:
    """Cholesky factor of H, features outside and parameters inside, its flat directions closed."""
    table, C, triangle = at.table, at.C, at.table.triangle
    (n, p), d, q = table.Y.shape, table.d, table.q
    width, r = d + q, q + len(triangle.k)
    own = at.blocks(profiled=False)
    H = C.new_zeros((p * width, p * width))
    each = torch.arange(p, device=C.device)
    if ranks.first():
        H.view(p, width, p, width)[each, :, each, :] = own
    units = torch.eye(q, dtype=C.dtype, device=C.device)
    turned = torch.stack([0.5 * triangle.k * triangle.turned(C, units[k].expand_as(C)) for k in range(q)], 2)  # p×t×q

    def add(rows: slice) -> None:
        if cancelled():
            raise Interrupted
        part = at.part(rows)
        A, E = part.z.A, part.z.A - part.table.Y
        J = torch.einsum("bj,jr,bjk->brjk", A, part.samples.loadings.map, _regressors(part))
        J[:, :q, :, d:] += E[:, None, :, None] * units[:, None]
        J[:, q:, :, d:] += A[:, None, :, None] * turned.transpose(0, 1)
        flat = J.flatten(2)
        L, _ = part.factors_of(slice(None))
        half = torch.linalg.solve_triangular(L, flat, upper=False)
        half = weigh(None if table.w is None else table.w[rows].sqrt(), half.flatten(1)).view(-1, p * width)
        H.addmm_(half.mT, half, alpha=-1.0)

    accumulate((H,), add, n, r * p * width, BLOCK)
    close(H.view(p, width, p, width), C, determined, d)
    return cholesky_scaled(H)


def close(H: Tensor, C: Tensor, determined: Determined, d: int) -> None:
    """Give curvature to what has none, in place (p×m×p×m): rotations of the axes, and coefficients not determined."""
    p, q = C.shape
    flat = H.view(p * (d + q), -1)
    scale = flat.diagonal().abs().mean()
    rotations = []
    for a in range(q):
        for b in range(a):
            N = C.new_zeros((p, d + q))
            N[:, d + a], N[:, d + b] = C[:, b], -C[:, a]
            rotations.append(N.flatten() / N.norm().clamp_min(torch.finfo(C.dtype).tiny))
    if rotations:
        N = torch.stack(rotations)
        flat.addmm_(N.mT, N, alpha=float(scale))
    U, free = determined.vectors.expand(p, -1, -1), determined.free.expand(p, -1)
    for j in free.any(1).nonzero()[:, 0].tolist():
        open_ = U[j][:, free[j]]
        H[j, :d, j, :d] += scale * open_ @ open_.mT
