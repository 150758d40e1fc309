"""Where an optimizer begins, and the axes on which a fit ends."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.models.base import Init
from plncli.models.pca.prepared import Prepared
from plncli.models.pca.profile import Table
from plncli.numerics.linalg import Basis
from plncli.numerics.rows import gram, total, weigh


def start(prepared: Prepared, init: Init | None = None) -> Tensor:
    """theta ((d+q)×p). init: B (d×p), maybe finite, and C (p×any rank) of an earlier fit, nan where it has none."""
    theta = _of_log_counts(prepared.table)
    if init is not None and "C" in init:
        _take(theta, init, prepared.table, prepared.basis)
    return theta


def _of_log_counts(table: Table) -> Tensor:
    """Log counts less the offset and their regression on the design, by a singular value decomposition.

    Cells that don't count are at the mean of their feature.
    """
    L = table.Y.log1p() - table.O
    if table.K is not None:
        L = torch.where(table.K > 0, L, total(L * table.K) / total(table.K).clamp_min(1.0))
    G = gram(weigh(table.w, table.Q), L) / table.wbar
    R = weigh(None if table.w is None else table.w.sqrt(), L - table.Q @ G)
    n, p = R.shape
    if n <= p:  # needs all rows
        values, U = torch.linalg.eigh(R @ R.mT)
        C = R.mT @ U[:, -table.q :].flip(1) / table.wbar**0.5
    else:
        values, W = torch.linalg.eigh(gram(R, R))
        C = (W[:, -table.q :] * values[-table.q :].clamp_min(0.0).sqrt()).flip(1) / table.wbar**0.5
    return torch.cat([G, C.mT])


def _take(theta: Tensor, init: Init, table: Table, basis: Basis) -> None:
    """Put an earlier fit into a start, as far as it goes: features that it knows, components that both have."""
    d, C = table.d, init["C"].to(theta)
    known = torch.isfinite(C).all(1)
    both = min(C.shape[1], table.q)
    theta[d : d + both, known] = C[known, :both].mT
    theta[d + both :, known] = 0.01 * theta[d + both :, known]
    B = init["B_finite" if "B_finite" in init else "B"].to(theta)
    theta[:d] = torch.where(torch.isfinite(B).all(0) & known, basis.reduced(B.nan_to_num()), theta[:d])


def rotated(theta: Tensor, table: Table) -> Tensor:
    """The same fit with the loadings on their principal axes: C'C diagonal, in order; the largest of each positive."""
    C = theta[table.d :].mT
    U, size, _ = torch.linalg.svd(C, full_matrices=False)
    C = U * size
    largest = C.abs().argmax(0)
    sign = C.gather(0, largest[None])[0].sign()
    return torch.cat([theta[: table.d], (C * torch.where(sign == 0, 1.0, sign)).mT])
