"""Sandwich covariance of coefficients where each sample's posterior covariance is full.

The estimate is (B, log sd), correlations held, as in `sandwich`. With a sample's lambda, alpha = y − lambda,
r = Sigma alpha, W = (Sigma + Lambda^-1)^-1, S = Sigma − Sigma W Sigma, N = I − S Lambda and
M = Lambda^-1 + Sigma + ½ S∘S (see `posterior.profile`), its bound at its best posterior has

    score in eta    alpha                       score in log sd    r∘alpha − diag(Sigma W),    Sigma W = I − N

and lambda follows by M^-1 (d eta + T d log sd), T = diag(r) + Sigma diag(alpha) + N∘S, so that minus its Hessian is

    eta, eta        M^-1
    eta, log sd     M^-1 T
    log sd, log sd  T'M^-1 T + N∘(I − N)' + S∘W − diag(r∘alpha) − Sigma∘alpha alpha'

None of it needs an inverse of Sigma, which may be singular.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.models.inflation.errors import Directions
from plncli.models.pln.errors.influences import Bread, flat
from plncli.models.pln.posterior.profile import Evaluation
from plncli.models.uncertainty import Determined, Interrupted, Uncertainty, cluster_correction
from plncli.numerics.linalg import Basis


def sandwich(
    at: Evaluation,
    data: Dataset,
    basis: Basis,
    determined: Determined,
    missing: Tensor,
    cancelled: Callable[[], bool],
) -> Uncertainty | None:
    """The covariance of the coefficients; missing: d×p, those without one.

    None when minus the Hessian is not positive definite. Raises Interrupted.
    """
    found = bread(at, data, basis, cancelled)
    influences = found.influences(basis, data.w, determined, cancelled)
    if influences is None:
        return None
    correction = 1.0 if data.clusters is None else cluster_correction(data)
    return influences.of_coefficients(data, missing, correction)


def bread(at: Evaluation, data: Dataset, basis: Basis, cancelled: Callable[[], bool]) -> Bread:
    """What the sandwich is made of: sums over samples, p³ multiplications each. Raises Interrupted."""
    p, Q, w, Sigma, z = data.p, basis.Q, data.w, at.Sigma, at.z
    d = Q.shape[1]
    free = (Sigma.diagonal() > 0) & at.estimated
    sd = torch.diag(free.to(Sigma))[:, free]
    B_B, B_sd, sd_sd = (Q.new_zeros(shape) for shape in ((d * d, p * p), (d, p * p), (p, p)))
    W, of_sd = torch.empty_like(z.rates), torch.empty_like(z.rates)
    for piece in at.pieces():
        if cancelled():
            raise Interrupted
        rows, N = piece.rows, piece.N
        rates, alpha, r, weights, x = z.rates[rows], z.pull[rows], z.r[rows], w[rows, None, None], Q[rows]
        S = torch.matmul(N, Sigma)
        root = rates.sqrt()
        inverse = piece.inverse * root[:, :, None] * root[:, None, :]
        T = torch.addcmul(Sigma * alpha[:, None, :], N, S)
        T.diagonal(dim1=1, dim2=2).add_(r)
        turned = inverse @ T
        W[rows] = inverse.diagonal(dim1=1, dim2=2)
        of_sd[rows] = r * alpha - 1.0 + N.diagonal(dim1=1, dim2=2)
        B_B += (weights * x[:, :, None] * x[:, None, :]).flatten(1).mT @ inverse.flatten(1)
        B_sd += (w[rows, None] * x).mT @ turned.flatten(1)
        own = (T.mT @ turned).addcmul_(S * rates[:, :, None], N)
        own.addcmul_(N, torch.eye(p).to(N) - N.mT).sub_(Sigma * alpha[:, :, None] * alpha[:, None, :])
        own.diagonal(dim1=1, dim2=2).sub_(r * alpha)
        sd_sd += (weights * own).sum(0)
    across = flat(B_sd.view(d, 1, p, p)) @ sd
    upper = torch.cat([flat(B_B.view(d, d, p, p)), across], 1)
    hessian = torch.cat([upper, torch.cat([across.mT, sd.mT @ sd_sd @ sd], 1)])
    none = torch.zeros_like(of_sd)
    return Bread(hessian, W, z.pull, (of_sd, none), sd, Directions.none(Q, p))
