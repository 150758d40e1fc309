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

Where each sample has a logit of its own, that is best for all else, and its row and column are eliminated, sample by
sample; at the optimum its score is 0, so that the others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.errors import Directions, beside
from plncli.models.inflation.spec import SAMPLE
from plncli.models.pln.errors.influences import Bread, flat
from plncli.models.pln.errors.sandwich import BLOCK
from plncli.models.pln.estimates import finite_coefficients
from plncli.models.pln.prepared import Prepared
from plncli.models.uncertainty import Determined, Interrupted, Uncertainty, cluster_correction
from plncli.numerics.linalg import weighted_grams
from plncli.numerics.rows import accumulate, gram, weighted_total

FLAT = 1e-8
"""Curvature of a counted cell below which it is taken for that, of its sign."""
NEVER = 1e-200
"""The same of a cell that does not count."""


@dataclass(frozen=True)
class Cells:
    """What the Hessian is made of, n×p each. scores, shifts: of log sd and z; between: diagonals of the blocks.

    between: (eta, log sd), (log sd, log sd), (log sd, z), (z, z); sd: p×T, which features share what of log sd, 0 where
    nothing is estimated; z: of the logits; own: (n,) samples with a logit of their own, None where none may have one.
    """

    E: Tensor
    H: Tensor
    Sigma: Tensor
    scores: tuple[Tensor, Tensor]
    shifts: tuple[Tensor, Tensor]
    between: tuple[Tensor, Tensor, Tensor, Tensor]
    sd: Tensor
    z: Directions
    own: Tensor | None = None


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
    for still in (False, True):  # with a latent value, and without
        at = doubt & ((S2 == 0) if still else (S2 > 0))
        nodes = Nodes.of(1 if still else FINEST, M)
        s, one = S2[at].sqrt(), float(not still)
        zero = ZeroCells(eta[at], torch.ones_like(s) if still else s, logits[at], nodes)
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
    return Cells(
        E,
        h,
        Sigma,
        (R * E + own - 1.0, rho - pi),
        (R + g - ratio, l / h),
        (E, bend, with_sd, of_z),
        sd_pool[:, sd_pool.any(0)],
        Directions.of(inflation, data.w, data.p),
        inflation.free[:, 0] if inflation.kind == SAMPLE else None,
    )


def sandwich(
    params: Params, prepared: Prepared, at: Determined, missing: Tensor, cancelled: Callable[[], bool]
) -> Uncertainty | None:
    """The covariance of the coefficients, and the variances of the logits; missing: d×p, coefficients without one.

    None when minus the Hessian is not positive definite. Raises Interrupted. Logits of samples' own have none.
    """
    data, inflation = prepared.data, prepared.inflation
    assert inflation is not None
    cells = cells_of(params, prepared)
    hessian, W = _hessian(cells, prepared.basis.Q, data.w, cancelled)
    if hessian is None:
        return None
    whole = Bread(hessian, W, cells.E, cells.scores, cells.sd, cells.z)
    influences = whole.influences(prepared.basis, data.w, at, cancelled)
    if influences is None:
        return None
    correction = 1.0 if data.clusters is None else cluster_correction(data)
    answer = influences.of_coefficients(data, missing, correction)
    if not cells.z.known.numel():
        return answer
    return beside(answer, cells.z, inflation, params["zeta"], influences.logits, data.w, data.clusters, correction)


def _hessian(cells: Cells, Q: Tensor, w: Tensor, cancelled: Callable[[], bool]) -> tuple[Tensor | None, Tensor]:
    """Minus the Hessian in the coefficients (feature by feature), log sd and logits; and the diagonals of W, n×p.

    None where it bends up in a logit of a sample's own.
    """
    (n, d), p = Q.shape, cells.E.shape[1]
    (shift, k), z = cells.shifts, cells.z
    c = z.X.shape[1]
    sizes = (d, d), (d, 1), (d, c), (1, 1), (1, c), (c, c)
    sums = tuple(Q.new_zeros((*size, p, p)) for size in sizes)
    diagonals, less = torch.empty_like(cells.E), Q.new_zeros((p * d + cells.sd.shape[1],) * 2)
    bends = torch.ones_like(w)

    def add(rows: slice) -> None:
        if cancelled():
            raise Interrupted
        inverse = cells.Sigma.expand(len(Q[rows]), p, p).clone()
        inverse.diagonal(dim1=1, dim2=2).add_(cells.H[rows].reciprocal())
        W = torch.linalg.inv(inverse)
        diagonals[rows] = W.diagonal(dim1=1, dim2=2)
        if cells.own is not None:
            eta, sd, bends[rows] = _of_own(cells, W, rows)
            weights = (w[rows] / bends[rows])[:, None]
            diagonals[rows] -= eta.square() / bends[rows, None]
            taken = torch.cat([(eta[:, :, None] * Q[rows][:, None, :]).flatten(1), sd @ cells.sd], 1)
            less.addmm_(taken.mT, weights * taken)
        ones = torch.ones_like(w[rows, None])
        parts = ((Q[rows], None), (ones, shift[rows]), (z.X[rows], k[rows]))
        for total, ((x, left), (y, right)) in zip(sums, combinations_with_replacement(parts, 2), strict=True):
            between = W if left is None else W * left[:, :, None]
            between = between if right is None else between * right[:, None, :]
            outer = (w[rows, None, None] * x[:, :, None] * y[:, None, :]).flatten(1)
            total.add_((outer.mT @ between.flatten(1)).view(total.shape))

    accumulate(sums, add, n, p * p, BLOCK)
    _, B_sd, _, sd_sd, sd_z, z_z = sums
    across, own_sd, own_sd_z, own_z = cells.between
    B_sd.diagonal(dim1=2, dim2=3).add_(gram(w[:, None] * Q, across)[:, None])
    sd_sd.diagonal(dim1=2, dim2=3).add_(weighted_total(w, own_sd))
    sd_z.diagonal(dim1=2, dim2=3).add_(gram(w[:, None] * z.X, own_sd_z)[None])
    z_z.diagonal(dim1=2, dim2=3).add_(weighted_grams(z.X, w[:, None] * own_z).permute(1, 2, 0))
    each = torch.eye(p).to(Q)
    pools = {(0, 0): (each, each), (0, 1): (each, cells.sd), (0, 2): (each, z.pool), (1, 1): (cells.sd, cells.sd)}
    pools |= {(1, 2): (cells.sd, z.pool), (2, 2): (z.pool, z.pool)}
    blocks = {
        place: flat(pools[place][0].mT @ block @ pools[place][1])
        for place, block in zip(combinations_with_replacement(range(3), 2), sums, strict=True)
    }
    rows = [[blocks[a, b] if a <= b else blocks[b, a].mT for b in range(3)] for a in range(3)]
    whole = torch.cat([torch.cat(row, 1) for row in rows])
    if cells.own is not None:
        whole[: len(less), : len(less)] -= less
    return whole if bool((bends > 0).all()) else None, diagonals


def _of_own(cells: Cells, W: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The Hessian between the logits of samples' own and eta, and log sd (b×p each), and in the logits, (b,).

    Nothing, and 1, where they have none. W: b×p×p.
    """
    assert cells.own is not None
    own, (shift, k), (_, _, with_sd, of_z) = cells.own[rows], cells.shifts, cells.between
    eta = (W @ k[rows, :, None])[:, :, 0] * own[:, None]
    bend = (k[rows] * eta).sum(1) + of_z[rows].sum(1)
    return eta, (shift[rows] * eta + with_sd[rows]) * own[:, None], torch.where(own, bend, 1.0)
