"""What a fit estimates, in the units of the data, and how much of the data it explains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.models.inflation.finished import Told, told
from plncli.models.pln.prepared import Prepared
from plncli.models.pln.separation import at_supremum, with_limits
from plncli.numerics.covariance import Covariance, DenseCovariance, FactoredCovariance
from plncli.numerics.likelihoods import poisson_deviance
from plncli.numerics.rows import grand_total, over_rows, total, weigh
from plncli.sparse import block_of


def estimates(params: Params, prepared: Prepared, *, whole: bool = True) -> dict[str, Tensor]:
    """B (d×p), Sigma, Omega (p×p), M and S (n×p), on the log scale of the counts.

    Separated coefficients are ±inf (nan where they are not estimable at all) and M is −inf in separated cells. A
    feature on the boundary has exact zeros in Sigma and S, and nan in Omega, which does not exist there. Unless
    `whole`, there are neither where the fit has Sigma as factors (`state`).
    """
    data, latent = prepared.data, prepared.latent
    B = finite_coefficients(params, prepared)
    M = data.X @ B
    S = torch.zeros_like(M)
    if len(latent):
        M[:, latent] = params["q"][0]
        S[:, latent] = (0.5 * params["q"][1]).exp()
    M = at_supremum(M, prepared.separated, -math.inf)
    found = {"B": with_limits(B, prepared.separated), "M": M, "S": S}
    zeros = zeros_told(params, prepared)
    if zeros is not None and prepared.inflation is not None:
        found["P0"] = prepared.inflation.known_alone(zeros.probability)
    if whole or _factors(params, prepared) is None:
        found["Sigma"], found["Omega"] = B.new_zeros((data.p, data.p)), B.new_full((data.p, data.p), math.nan)
        if len(latent):
            layer, place = prepared.at(params).layer, (latent[:, None], latent)
            found["Sigma"][place], found["Omega"][place] = layer.covariance().dense(), layer.inverse().dense()
    return found


def covariance(params: Params, prepared: Prepared) -> Covariance:
    """Sigma of all features, 0 on the boundary."""
    latent, p = prepared.latent, prepared.data.p
    zero = prepared.data.Y.new_zeros(p)
    if not len(latent):
        return FactoredCovariance(zero, zero.expand(0, p))
    known = prepared.at(params).layer.covariance()
    if len(latent) == p:
        return known
    if isinstance(known, FactoredCovariance):
        V = zero.expand(len(known.V), p).clone()
        V[:, latent] = known.V
        return FactoredCovariance(zero.index_copy(0, latent, known.D), V)
    Sigma = zero.expand(p, p).clone()
    Sigma[latent[:, None], latent] = known.dense()
    return DenseCovariance(Sigma)


def _factors(params: Params, prepared: Prepared) -> FactoredCovariance | None:
    """Sigma, where the fit has it as factors."""
    found = covariance(params, prepared) if len(prepared.latent) else None
    return found if isinstance(found, FactoredCovariance) else None


def variances(params: Params, prepared: Prepared) -> Tensor:
    """Diagonal of Sigma (p,), 0 on the boundary."""
    variance = prepared.data.Y.new_zeros(prepared.data.p)
    if len(prepared.latent):
        variance[prepared.latent] = prepared.at(params).layer.covariance().variances
    return variance


def finite_coefficients(params: Params, prepared: Prepared) -> Tensor:
    """B (d×p) of the cells that count: finite where it is estimable from them."""
    G = prepared.data.Y.new_zeros((prepared.data.d, prepared.data.p))
    G[:, prepared.latent] = prepared.table.mean.coefficients(params["q"][0])
    if "gamma" in params:
        G[:, prepared.poisson] = params["gamma"]
    return prepared.basis.coefficients(G)


def expected_counts(params: Params, prepared: Prepared) -> Tensor:
    """A = exp(O + M + S²/2), on the boundary exp(O + XB), n×p, whether a cell counts or not in the latent features."""
    A = torch.zeros_like(prepared.data.Y)
    M, psi = params["q"]
    A[:, prepared.latent] = prepared.table.emission.means(M, psi.exp())
    if "gamma" in params:
        A[:, prepared.poisson] = prepared.boundary.means(params["gamma"])
    return A


def zeros_told(params: Params, prepared: Prepared) -> Told | None:
    """How probable it is that each cell is a structural zero, and the count expected of it; None without any."""
    logits = None if "zeta" not in params else prepared.all_logits(params["zeta"])
    if logits is None:
        return None
    data = prepared.data
    M = data.X @ finite_coefficients(params, prepared)
    sd = torch.zeros_like(M)
    M[:, prepared.latent], sd[:, prepared.latent] = params["q"][0], (0.5 * params["q"][1]).exp()
    K = torch.ones_like(data.Y, dtype=torch.bool) if prepared.counted is None else prepared.counted > 0
    return told(data.O + M, sd, data.Y, K, logits)


def state(params: Params, prepared: Prepared, *, whole: bool = True) -> dict[str, Tensor]:
    """Finite coefficients B_finite (d×p), finite latent means M_finite (n×p) and the features on the boundary.

    Where coefficients are not finite, also what tells where linear predictors of other samples go (`PredictorLimits`).
    Unless `whole`, Sigma = diag(D) + V'V where the fit has it as factors: D (p,) and V (n×p), 0 on the boundary.
    """
    B = finite_coefficients(params, prepared)
    M = prepared.data.X @ B
    M[:, prepared.latent] = params["q"][0]
    limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
    logits = {} if prepared.inflation is None else prepared.inflation.left(params["zeta"])
    factors: dict[str, Tensor] = {}
    if not whole and (found := _factors(params, prepared)) is not None:
        factors = {"D": found.D, "V": found.V}
    return {"B_finite": B, "M_finite": M, "poisson_features": prepared.poisson, **factors, **limits, **logits}


def entropy(params: Params, prepared: Prepared) -> float:
    """½ sum_ij w_i log(2πe s_ij²) over the cells with a latent variable, in nats."""
    cells = 0.5 * (params["q"][1] + math.log(2.0 * math.pi * math.e))
    return float(grand_total(weigh(prepared.table.w, cells)))


def r2(params: Params, prepared: Prepared) -> float:
    """Share of the deviance that the fitted means explain: see `explained`."""
    zeros = zeros_told(params, prepared)
    expected = expected_counts(params, prepared) if zeros is None else zeros.expected
    fitted = at_supremum(expected, prepared.separated, 0.0)
    return explained(prepared.data, fitted)


def explained(data: Dataset, fitted: Tensor) -> float:
    """1 − deviance of fitted means (n×p) against that of a Poisson model with intercept and offset alone.

    nan where that model leaves no deviance.
    """
    return explained_by(data, lambda rows: fitted[rows], data.n)


def explained_by(data: Dataset, fitted: Callable[[slice], Tensor], block: int) -> float:
    """The same of fitted means of some samples (b×p), looked at a block of them at a time."""

    def of(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Counts, weights and exposures, b×p."""
        Y = block_of(data.Y, rows)
        weight = data.w[rows, None].expand_as(Y)
        return Y, weight if data.K is None else weight * data.K[rows], data.O[rows].exp().expand_as(Y)

    def totals(rows: slice) -> tuple[Tensor, Tensor]:
        Y, weight, exposure = of(rows)
        return total(weight * Y), total(weight * exposure)

    seen, expected = over_rows(totals, data.X, 1, block)

    def deviances(rows: slice) -> tuple[Tensor, Tensor]:
        Y, weight, exposure = of(rows)
        own, null = (
            grand_total(weight * poisson_deviance(Y, mean)) for mean in (fitted(rows), exposure * seen / expected)
        )
        return own, null

    deviance, null_deviance = over_rows(deviances, data.X, 1, block)
    return float(1.0 - deviance / null_deviance) if float(null_deviance) > 0 else math.nan
