"""Standard errors of logistic and linear regressions, from the data and the estimates alone."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from plncli.dataset import Dataset
from plncli.models.uncertainty import Determined, Uncertainty, from_inverses, robust, to_units
from plncli.numerics.linalg import ImplicitBasis, weighted_grams
from plncli.numerics.separation import Recession, bernoulli_separation


def linear_uncertainty(data: Dataset, design: ImplicitBasis, B: Tensor, Sigma: Tensor, method: str) -> Uncertainty:
    """Covariance of least squares coefficients B (d×p).

    `fisher`: Sigma ⊗ (X'WX)^-1 with the unbiased Sigma = R'WR/(wbar − d) (p×p), and t statistics of wbar − d degrees of
    freedom; or HC0 to HC3, or over G clusters, with t of G − 1. wbar is the sum of the weights, which count samples.
    """
    wbar = data.total_weight
    eye = torch.eye(data.d, dtype=B.dtype, device=B.device)
    if method != "fisher":
        none = torch.zeros_like(B, dtype=torch.bool)
        basis, R = design.whole(), data.Y - data.O - data.X @ B

        def leverage(rows: slice) -> Tensor:
            return basis.Q[rows].square().sum(1, keepdim=True) / wbar

        found = robust(method, data, basis, R, (eye / wbar).expand(data.p, -1, -1), leverage, none)
        return found if data.clusters is None else replace(found, df=data.n_clusters - 1.0)
    half = to_units(design, eye).mT / wbar**0.5
    one = half @ half.mT
    return Uncertainty(
        "fisher", Sigma.diagonal()[:, None, None] * one, lambda: torch.kron(Sigma, one), df=wbar - data.d
    )


def logistic_uncertainty(
    data: Dataset, design: ImplicitBasis, B: Tensor, hessians: Tensor, method: str, gap: float
) -> Uncertainty:
    """Covariance of logistic coefficients B (d×p): `fisher`, (X' diag(w mu (1 − mu)) X)^-1, or HC0 to HC3.

    Separated samples, whose mu is 0 or 1 at the supremum, count no longer: the finite coefficients are those of the
    samples left. hessians: Q' diag(w mu (1 − mu)) Q of all samples, p×d×d; gap: nats between B and the optimum.
    """
    eta = data.O + data.X @ B
    missing = torch.zeros_like(B, dtype=torch.bool)
    kept: Tensor | None = None
    for j, cone in separated_responses(data, (2.0 * data.Y - 1.0) * eta, gap).items():
        kept = torch.ones_like(data.Y) if kept is None else kept
        kept[:, j] = (~cone.cells).to(kept)
        missing[:, j] = cone.infinite().to(missing.device)
    if method == "fisher" and kept is None:
        return from_inverses(method, design, Determined.wholly(data.w, data.d).inverse(hessians), missing)
    basis, spread = design.whole(), torch.sigmoid(eta) * torch.sigmoid(-eta)
    residuals = data.Y - torch.sigmoid(eta)
    if kept is not None:
        spread, residuals = spread * kept, residuals * kept
    at = Determined.by(basis.Q, data.w, kept)
    inverses = at.inverse(weighted_grams(basis.Q, data.w[:, None] * spread))
    if method == "fisher":
        return from_inverses(method, basis, inverses, missing)

    def leverage(rows: slice) -> Tensor:
        Q = basis.Q[rows]
        return spread[rows] * torch.einsum("ik,jkl,il->ij", Q, inverses, Q)

    return robust(method, data, basis, residuals, inverses, leverage, missing, kept, at)


def separated_responses(data: Dataset, margins: Tensor, gap: float) -> dict[int, Recession]:
    """The cone of each separated response, by its index.

    margins: n×p, log-odds of what was observed, (2Y − 1)·eta, at a fit `gap` nats below the supremum.

    Moving a separated sample to the supremum gains its whole loss, so no separated sample loses more than about
    the gap: those that do, by a wide margin, need no further test.
    """
    margin = max(1e-3, 100.0 * gap) if math.isfinite(gap) else math.inf
    losses = -data.w[:, None] * logsigmoid(margins)
    cones = ((j, bernoulli_separation(data.X, data.Y[:, j], losses[:, j] <= margin)) for j in range(data.p))
    return {j: cone for j, cone in cones if cone is not None}
