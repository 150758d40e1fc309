"""Standard errors of logistic and linear regressions, from the data and the estimates alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from plncli.dataset import LETTERS, Dataset
from plncli.models.regression.separated import Separated, kept_of
from plncli.models.uncertainty import Cells, Determined, Uncertainty, from_inverses, robust, to_units
from plncli.numerics.linalg import Basis, ImplicitBasis, weighted_grams
from plncli.numerics.rows import over_parts


def linear_uncertainty(data: Dataset, design: ImplicitBasis, B: Tensor, Sigma: Tensor, method: str) -> Uncertainty:
    """Covariance of least squares coefficients B (d×p).

    `fisher`: Sigma ⊗ (X'WX)^-1 with the unbiased Sigma = R'WR/(wbar − d) (p×p), and t statistics of wbar − d degrees of
    freedom; or HC0 to HC3, or over G clusters, with t of G − 1. wbar is the sum of the weights, which count samples.
    """
    wbar = data.total_weight
    eye = torch.eye(data.d, dtype=B.dtype, device=B.device)
    if method != "fisher":

        def cells(part: Dataset) -> Cells:
            basis = design.of(part)
            return Cells(
                basis,
                part.Y - part.O - part.X @ B,
                lambda rows: basis.Q[rows].square().sum(1, keepdim=True) / wbar,
            )

        inverses, none = (eye / wbar).expand(data.p, -1, -1), torch.zeros_like(B, dtype=torch.bool)
        at = Determined.wholly(B.new_tensor(wbar), data.d)
        found = robust(method, data, design.T, cells, inverses, at, none)
        return found if data.clusters is None else replace(found, df=data.n_clusters - 1.0)
    half = to_units(design, eye).mT / wbar**0.5
    one = half @ half.mT
    return Uncertainty(
        "fisher", Sigma.diagonal()[:, None, None] * one, lambda: torch.kron(Sigma, one), df=wbar - data.d
    )


def logistic_uncertainty(
    data: Dataset, design: ImplicitBasis, B: Tensor, hessians: Tensor, method: str, separated: Mapping[int, Separated]
) -> Uncertainty:
    """Covariance of logistic coefficients B (d×p): `fisher`, (X' diag(w mu (1 − mu)) X)^-1, or HC0 to HC3.

    Separated samples, whose mu is 0 or 1 at the supremum, count no longer: the finite coefficients are those of the
    samples left. hessians: Q' diag(w mu (1 − mu)) Q of all samples, p×d×d; separated: by response.
    """
    missing = torch.zeros_like(B, dtype=torch.bool)
    for j, found in separated.items():
        missing[:, j] = found.cone.infinite().to(missing.device)
    wbar = B.new_tensor(data.total_weight)
    at = Determined.wholly(wbar, data.d)
    if method == "fisher" and not separated:
        return from_inverses(method, design, at.inverse(hessians), missing)

    def probable(part: Dataset) -> tuple[Basis, Tensor, Tensor, Tensor | None]:
        """The basis, mu (1 − mu) and y − mu (b×p) of a block of samples, 0 where a cell does not count."""
        eta, kept = part.O + part.X @ B, kept_of(part, separated)
        spread, residuals = torch.sigmoid(eta) * torch.sigmoid(-eta), part.Y - torch.sigmoid(eta)
        if kept is not None:
            spread, residuals = spread * kept, residuals * kept
        return design.of(part), spread, residuals, kept

    def grams(part: Dataset) -> tuple[Tensor, ...]:
        basis, spread, _, kept = probable(part)
        counting = () if kept is None else (weighted_grams(basis.Q, part.w[:, None] * kept),)
        return (weighted_grams(basis.Q, part.w[:, None] * spread), *counting)

    information, *counting = over_parts(grams, data, LETTERS)
    at = Determined.of(counting[0], wbar) if counting else at
    inverses = at.inverse(information)
    if method == "fisher":
        return from_inverses(method, design, inverses, missing)

    def cells(part: Dataset) -> Cells:
        own, spread, residuals, kept = probable(part)

        def leverage(rows: slice) -> Tensor:
            Q = own.Q[rows]
            return spread[rows] * torch.einsum("ik,jkl,il->ij", Q, inverses, Q)

        return Cells(own, residuals, leverage, kept)

    return robust(method, data, design.T, cells, inverses, at, missing)
