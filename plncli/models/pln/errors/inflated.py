"""Sandwich covariance of coefficients and of the logits of structural zeros, estimated together with log sd.

As in `sandwich`, of which this is the general case: the loss F(m, s²; z) of a cell is any that the emission has, z the
logit of a structural zero. With psi = log s², kappa the second derivative of F − psi/2 + omega s²/2 in psi, and

    h = F_mm − F_m,psi²/kappa,    l = F_mz − F_m,psi F_z,psi/kappa,    g = omega s² F_m,psi/(kappa h)

the score in eta is e = −F_m = Omega r, W = (Sigma + diag(1/h))^-1 (h may be negative where a zero is in doubt), and

    de = −W (d eta + c d log sd + k dz) − e d log sd,    c = r + g − e/h,    k = l/h.

So minus the Hessian of a sample in (eta, log sd, z) is W between the shifts (1, c, k), and diagonal besides:

    eta, log sd   e                                             score of log sd   r e + omega s² − 1
    log sd        3 r e + 2 e g − e²/h − h g² − omega² s⁴/kappa + 4 omega s² − 2
    log sd, z     (e/h − g) l + omega s² F_z,psi/kappa
    z             pi (1 − pi) + F_zz − F_z,psi²/kappa − l²/h    score of z        rho − pi
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.errors import beside
from plncli.models.pln.errors.sandwich import BLOCK, leverage_factors
from plncli.models.pln.estimates import finite_coefficients
from plncli.models.pln.prepared import Prepared
from plncli.models.uncertainty import (
    Determined,
    Interrupted,
    Uncertainty,
    cluster_correction,
    from_influence,
    to_units,
)
from plncli.numerics.linalg import Factor, cholesky_scaled
from plncli.numerics.rows import accumulate, gram, weighted_total

FLAT = 1e-8
"""Curvature of a counted cell below which it is taken for that, of its sign."""
NEVER = 1e-200
"""The same of a cell that does not count."""


@dataclass(frozen=True)
class Cells:
    """What the Hessian is made of, n×p each. scores, shifts: of log sd and z; between: diagonals of the blocks.

    between: (eta, log sd), (log sd, log sd), (log sd, z), (z, z); pools: p×T and p×Z, which features share what of log
    sd and of z, 0 where nothing is estimated.
    """

    E: Tensor
    H: Tensor
    Sigma: Tensor
    scores: tuple[Tensor, Tensor]
    shifts: tuple[Tensor, Tensor]
    between: tuple[Tensor, Tensor, Tensor, Tensor]
    pools: tuple[Tensor, Tensor]


def cells_of(params: Params, prepared: Prepared) -> Cells:
    """At the optimum."""
    data, latent, structure, inflation = prepared.data, prepared.latent, prepared.structure, prepared.inflation
    assert inflation is not None
    logits = prepared.all_logits(params["zeta"])
    assert logits is not None
    K = torch.ones_like(data.Y) if prepared.counted is None else prepared.counted
    M, S2 = data.X @ finite_coefficients(params, prepared), torch.zeros_like(data.Y)
    Sigma, omega = M.new_zeros((data.p, data.p)), M.new_zeros(data.p)
    if len(latent):
        M[:, latent], S2[:, latent] = params["q"][0], params["q"][1].exp()
        layer = prepared.at(params).layer
        Sigma[latent[:, None], latent], omega[latent] = layer.covariance().dense(), layer.precision
    eta = data.O + M
    slope = K * (eta + 0.5 * S2).exp()
    mm, mpsi, kappa = slope.clone(), 0.5 * slope * S2, 0.5 + 0.25 * slope * S2.square()
    mz, zpsi, zz, rho = (torch.zeros_like(M) for _ in range(4))
    doubt = (data.Y == 0) & (K > 0) & (logits > -torch.inf)
    for flat in (False, True):  # with a latent value, and without
        at = doubt & ((S2 == 0) if flat else (S2 > 0))
        nodes = Nodes.of(1 if flat else FINEST, M)
        s, one = S2[at].sqrt(), float(not flat)
        zero = ZeroCells(eta[at], torch.ones_like(s) if flat else s, logits[at], nodes)
        sums, v = zero.sums, S2[at]
        slope[at], mm[at], rho[at], zz[at], mz[at] = sums.slope, sums.bend, sums.structural, -sums.doubt, -sums.mixed
        mpsi[at], zpsi[at] = one * 0.5 * s * sums.bend_e, -one * 0.5 * s * sums.mixed_e
        kappa[at] = 0.5 + one * 0.25 * (v * sums.bend_ee - s * sums.slope_e)
    E = K * data.Y - slope
    h = mm - mpsi.square() / kappa
    h = torch.where(K > 0, torch.where(h.abs() < FLAT, torch.where(h < 0, -FLAT, FLAT), h), NEVER)
    R, own, ratio = E @ Sigma, omega * S2, torch.where(K > 0, E / h, 0.0)
    g = torch.where(K > 0, own * mpsi / (kappa * h), 0.0)
    l = mz - mpsi * zpsi / kappa
    pi = torch.where(K > 0, logits.sigmoid(), 0.0)
    bend = (3.0 * R + 2.0 * g - ratio) * E - h * g.square() - own.square() / kappa + 4.0 * own - 2.0
    with_sd = -(g - ratio) * l + own * zpsi / kappa
    of_z = pi * (1.0 - pi) + zz - zpsi.square() / kappa - torch.where(K > 0, l.square() / h, 0.0)
    moves = torch.zeros(data.p, dtype=M.dtype, device=M.device)
    moves[latent] = float(structure.estimated)
    sd_pool = moves[:, None] if structure.shared else torch.diag(moves)
    z_pool = torch.ones_like(moves)[:, None] if inflation.kind == "single" else torch.eye(data.p).to(M)
    z_pool = z_pool * (inflation.free.any(0).to(M).expand(data.p)[:, None])
    pools = tuple(pool[:, pool.any(0)] for pool in (sd_pool, z_pool))
    return Cells(
        E,
        h,
        Sigma,
        (R * E + own - 1.0, rho - pi),
        (R + g - ratio, l / h),
        (E, bend, with_sd, of_z),
        (pools[0], pools[1]),
    )


def sandwich(
    params: Params, prepared: Prepared, at: Determined, missing: Tensor, cancelled: Callable[[], bool]
) -> Uncertainty | None:
    """The covariance of the coefficients, and the variances of the logits; missing: d×p, coefficients without one.

    None when minus the Hessian is not positive definite. Raises Interrupted.
    """
    data, Q, inflation = prepared.data, prepared.basis.Q, prepared.inflation
    assert inflation is not None
    cells, (d, p) = cells_of(params, prepared), missing.shape
    hessian, W = _hessian(cells, Q, data.w, cancelled)
    U, known = at.vectors.expand(p, d, d), ~at.free.expand(p, d).reshape(-1)
    factor = _factor(hessian, U, known)
    if factor is None:
        return None
    blocks = torch.stack([hessian[j * d : (j + 1) * d, j * d : (j + 1) * d] for j in range(p)])
    lever = leverage_factors(Q, W.clamp_min(0.0), at.inverse(blocks))
    sd, z = cells.pools

    def moved(rows: slice) -> Tensor:
        """Influences of everything, b×m."""
        if cancelled():
            raise Interrupted
        f = lever[rows]
        g_B = torch.einsum("jlk,ijl->ijk", U, (f * cells.E[rows])[:, :, None] * Q[rows][:, None, :]).flatten(1)
        others = [(f * score[rows]) @ pool for score, pool in zip(cells.scores, (sd, z), strict=True)]
        found = factor.solve(torch.cat([g_B * known, *others], 1).mT).mT
        return torch.cat([found[:, : p * d] * known, found[:, p * d :]], 1)

    def of_coefficients(rows: slice) -> Tensor:
        u = moved(rows)[:, : p * d].view(-1, p, d)
        return to_units(prepared.basis, torch.einsum("jkl,ijl->ijk", U, u))

    def of_logits(rows: slice) -> Tensor:
        return moved(rows)[:, p * d + sd.shape[1] :]

    correction = 1.0 if data.clusters is None else cluster_correction(data)
    answer = from_influence("sandwich", of_coefficients, data.w, (d, p), missing, data.clusters, correction)
    return beside(answer, inflation, params["zeta"], of_logits, data.w, data.clusters, correction)


def _factor(hessian: Tensor, U: Tensor, known: Tensor) -> Factor | None:
    """Of minus the Hessian, coefficients turned to directions that are known or not; the latter are left alone."""
    p, d, _ = U.shape
    turn = torch.block_diag(*U, torch.eye(len(hessian) - p * d).to(U))
    turned = turn.mT @ hessian @ turn
    keep = torch.cat([known, torch.ones(len(hessian) - p * d, dtype=torch.bool, device=known.device)])
    turned = torch.where(keep[:, None] & keep, turned, torch.diag((~keep).to(U)))
    return cholesky_scaled(turned)


def _hessian(cells: Cells, Q: Tensor, w: Tensor, cancelled: Callable[[], bool]) -> tuple[Tensor, Tensor]:
    """Minus the Hessian in the coefficients (feature by feature), log sd and logits; and the diagonals of W, n×p."""
    (n, d), p = Q.shape, cells.E.shape[1]
    c, k = cells.shifts
    sums = Q.new_zeros((d, d, p, p)), Q.new_zeros((2, d, p, p)), Q.new_zeros((3, p, p))
    diagonals = torch.empty_like(cells.E)

    def add(rows: slice) -> None:
        if cancelled():
            raise Interrupted
        inverse = cells.Sigma.expand(len(Q[rows]), p, p).clone()
        inverse.diagonal(dim1=1, dim2=2).add_(cells.H[rows].reciprocal())
        W = torch.linalg.inv(inverse)
        diagonals[rows] = W.diagonal(dim1=1, dim2=2)
        x, weighted = Q[rows], w[rows, None] * Q[rows]
        flat = W.flatten(1)
        sums[0].add_(((weighted[:, :, None] * x[:, None, :]).flatten(1).mT @ flat).view(d, d, p, p))
        for b, shift in enumerate((c[rows], k[rows])):
            sums[1][b].add_((weighted.mT @ (W * shift[:, None, :]).flatten(1)).view(d, p, p))
        for b, (left, right) in enumerate(((c[rows], c[rows]), (c[rows], k[rows]), (k[rows], k[rows]))):
            sums[2][b].add_(torch.einsum("ij,ijm,im->jm", w[rows, None] * left, W, right))

    accumulate(sums, add, n, p * p, BLOCK)
    BB, across, others = sums
    across[0].diagonal(dim1=1, dim2=2).add_(gram(w[:, None] * Q, cells.between[0]))
    for b, own in enumerate(cells.between[1:]):
        others[b].diagonal().add_(weighted_total(w, own))
    sd, z = cells.pools
    B_sd, B_z = (block.permute(1, 0, 2).reshape(p * d, p) for block in across)
    rows = [
        [BB.permute(2, 0, 3, 1).reshape(p * d, p * d), B_sd @ sd, B_z @ z],
        [(B_sd @ sd).mT, sd.mT @ others[0] @ sd, sd.mT @ others[1] @ z],
        [(B_z @ z).mT, (sd.mT @ others[1] @ z).mT, z.mT @ others[2] @ z],
    ]
    return torch.cat([torch.cat(row, 1) for row in rows]), diagonals
