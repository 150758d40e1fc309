"""Firth's penalty of the likelihood of a logistic regression: half the log-determinant of the information.

    l*(b) = l(b) + ½ log det I(b),   I(b) = X' diag(w v) X,   v = mu (1 − mu)

for each response by itself. Its maximum is finite whatever the classes (Heinze & Schemper 2002, Statistics in Medicine
21, 2409-2419), and its bias is of order n^-2 (Firth 1993, Biometrika 80, 27-38); ½ log det I is Jeffreys' prior. With
h = q' H^-1 q, the leverage of a sample of weight 1 over v, and primes for derivatives of v in the linear predictor,

    gradient  ½ sum_i w_i v_i' h_i q_i
    Hessian   ½ sum_i w_i v_i'' h_i q_i q_i' − ½ tr(H^-1 C_k H^-1 C_l),   C_k = sum_i w_i v_i' q_ik q_i q_i'

in an orthonormal basis Q of the design, where X = QT and I = T'HT.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.numerics.linalg import ImplicitBasis, weighted_grams
from plncli.numerics.rows import gram, over_rows


class Penalty(NamedTuple):
    """½ log det I, summed over the responses (scalar), −inf where one is singular; its gradient d×p; H^-1, p×d×d."""

    value: Tensor
    gradient: Tensor
    inverse: Tensor


def penalty(data: Dataset, basis: ImplicitBasis, margin: Tensor, information: Tensor) -> Penalty:
    """The penalty where margins are (2Y − 1)·eta (n×p) and H = Q' diag(w v) Q (p×d×d) is the information."""
    L, failed = torch.linalg.cholesky_ex(information)
    d, p = data.d, data.p
    if bool(failed.any()) or not bool(torch.isfinite(L).all()):
        nothing = torch.full_like(information, math.nan)
        return Penalty(information.new_tensor(-math.inf), nothing[:, 0].mT, nothing)
    units = basis.T.diagonal().abs().log().sum()  # over terms
    value = L.diagonal(dim1=1, dim2=2).log().sum() + p * units  # over terms and responses
    inverse = torch.cholesky_inverse(L)

    def add(rows: slice) -> tuple[Tensor]:
        Q = basis.A[rows] @ basis.U
        first = _slopes(data, margin, rows)[0]
        return (gram(Q, 0.5 * first * _spread(Q, inverse)),)

    (gradient,) = over_rows(add, basis.A, d * p)
    return Penalty(value, gradient, inverse)


def curvature(data: Dataset, basis: ImplicitBasis, margin: Tensor, inverse: Tensor) -> Tensor:
    """Hessian of the penalty of each response, p×d×d; inverse: H^-1."""
    d, p = data.d, data.p
    out = torch.empty_like(inverse)
    for j in range(p):
        one = inverse[j : j + 1]

        def add(rows: slice, j: int = j, one: Tensor = one) -> tuple[Tensor, Tensor]:
            Q = basis.A[rows] @ basis.U
            first, second = (slope[:, j : j + 1] for slope in _slopes(data, margin, rows))
            squares = (Q[:, :, None] * Q[:, None, :]).flatten(1)  # rows of q q'
            return weighted_grams(Q, 0.5 * second * _spread(Q, one))[0], gram(squares, first * Q)

        bent, C = over_rows(add, basis.A, d * d)
        turned = inverse[j] @ C.view(d, d, d).permute(2, 0, 1)  # H^-1 C_k
        out[j] = bent - 0.5 * torch.einsum("kab,lba->kl", turned, turned)
    return out


def _slopes(data: Dataset, margin: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """w v' and w v'' of a block of samples, b×p: v' = v (1 − 2 mu), v'' = v (1 − 6 v)."""
    m, w = margin[rows], data.w[rows, None]
    v = torch.sigmoid(m) * torch.sigmoid(-m)
    sign = 2.0 * data.Y[rows] - 1.0
    return -w * v * sign * torch.tanh(0.5 * m), w * v * (1.0 - 6.0 * v)


def _spread(Q: Tensor, inverse: Tensor) -> Tensor:
    """q' H_j^-1 q for each row of Q (b×d) and response, b×p."""
    return torch.einsum("ik,jkl,il->ij", Q, inverse, Q)
