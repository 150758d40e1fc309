"""Linear regression: Gaussian responses with a full residual covariance, by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.linalg import Basis, cholesky_scaled, dependent_columns, orthonormal_basis
from plncli.models.base import Finding


@dataclass(frozen=True)
class Prepared:
    """Data, an orthonormal basis of the design, and Y − O (n×p)."""

    data: Dataset
    basis: Basis
    table: Tensor


@dataclass(frozen=True)
class Linear:
    """Rows y_i ~ N(o_i + B'x_i, Sigma), all p responses together.

    With R = Y − O − XB, Sigma is best at R'WR / wbar, wbar = sum of the weights; put in, the objective is

        (wbar/2) (log|R'WR / wbar| + p log 2 pi + p),

    a function of the coefficients gamma (d×p) in an orthonormal basis of the design. It is least at least squares,
    for each response, whatever Sigma is (Mardia, Kent & Bibby 1979, section 6.2). Weights are frequencies: a sample of
    weight 2 is two samples.
    """

    name: ClassVar[str] = "linear"
    summary: ClassVar[str] = "linear regression of one or several responses, with their residual covariance"
    exact_preconditioner: ClassVar[bool] = True

    def prepare(self, data: Dataset) -> Prepared:
        """Check that Y is complete, X has full rank, and the residuals leave a covariance to be estimated."""
        if data.K is not None:
            raise DataError("Linear regression takes no missing responses; leave those samples out (--missing drop).")
        finite = torch.isfinite(data.Y).all(0)
        if not bool(finite.all()):
            names = some(f"`{data.responses[j]}`" for j in (~finite).nonzero()[:, 0].tolist())
            raise DataError(f"Responses must be finite numbers; {names} holds others.")
        prepared = Prepared(data, orthonormal_basis(data.X, data.w, data.terms), data.Y - data.O)
        _check_residuals(prepared)
        return prepared

    def start(self, prepared: Prepared) -> Params:
        """The mean of each response, as far as the design can express it.

        Where responses are so close to each other that only their residuals tell them apart, least squares itself.
        """
        Q, w = prepared.basis.Q, prepared.data.w / prepared.data.w.sum()
        gamma = torch.outer(Q.mT @ w, w @ prepared.table)
        if math.isinf(float(self.objective({"gamma": gamma}, prepared))):
            gamma = _least_squares(prepared)
        return {"gamma": gamma}

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the log-likelihood in nats, at the best Sigma; inf where that is not positive definite."""
        data = prepared.data
        factor = cholesky_scaled(self._sigma(params, prepared))
        if factor is None:
            return torch.full_like(data.w[0], math.inf)
        return 0.5 * data.w.sum() * (factor.logdet + data.p * (math.log(2.0 * math.pi) + 1.0))

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Map v (d×p) to v Sigma / wbar: at the optimum the inverse Hessian, elsewhere a step to least squares."""
        Sigma = self._sigma(params, prepared) / prepared.data.w.sum()
        return lambda v: {"gamma": v["gamma"] @ Sigma}

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Wbar over the residual variance of each response, d×p."""
        variance = self._sigma(params, prepared).diagonal() / prepared.data.w.sum()
        return {"gamma": variance.reciprocal().expand_as(params["gamma"])}

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma (p×p, maximum likelihood: divided by wbar) and its inverse Omega."""
        Sigma = self._sigma(params, prepared)
        factor = cholesky_scaled(Sigma)
        Omega = torch.full_like(Sigma, math.nan) if factor is None else factor.inverse()
        return {"B": prepared.basis.coefficients(params["gamma"]), "Sigma": Sigma, "Omega": Omega}

    def n_parameters(self, prepared: Prepared) -> int:
        """One coefficient for each term and response, and p(p+1)/2 variances and covariances."""
        d, p = prepared.data.d, prepared.data.p
        return d * p + p * (p + 1) // 2

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − RSS/TSS, the mean of it over responses, so that their units don't matter; TSS about the mean of Y − O.

        Both sums are deviances, of the fit and of an intercept beside the offset. A design that cannot express an
        intercept may do worse than it: then the value is negative.
        """
        w = prepared.data.w
        centred = prepared.table - w @ prepared.table / w.sum()
        residual = self._sigma(params, prepared).diagonal() * w.sum()
        return 1.0 - float((residual / (w @ centred.square())).mean())

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """Sigma_unbiased (p×p): R'WR / (wbar − d), nan where the weights do not exceed d."""
        wbar, d = prepared.data.total_weight, prepared.data.d
        factor = wbar / (wbar - d) if wbar > d else math.nan
        return {"Sigma_unbiased": self._sigma(params, prepared) * factor}

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """None: what would make the estimates doubtful is refused in `prepare`."""
        return ()

    def _sigma(self, params: Params, prepared: Prepared) -> Tensor:
        R = prepared.table - prepared.basis.Q @ params["gamma"]
        w = prepared.data.w
        return R.mT @ (w.unsqueeze(1) * R) / w.sum()


def _least_squares(prepared: Prepared) -> Tensor:
    """Coefficients d×p in the orthonormal basis, Q'W(Y − O)/wbar, with one correction for rounding."""
    Q, w = prepared.basis.Q, prepared.data.w.unsqueeze(1)
    gamma = Q.mT @ (w * prepared.table) / w.sum()
    return gamma + Q.mT @ (w * (prepared.table - Q @ gamma)) / w.sum()


def _check_residuals(prepared: Prepared) -> None:
    """DataError, with names, when least squares leaves a response, or a combination of responses, no residual."""
    data = prepared.data
    left = data.n - data.d
    if left <= 0:
        raise DataError(
            f"{data.n} samples and {data.d} coefficients leave no residual to estimate a variance from. "
            "Take terms out of the formula, or add samples."
        )
    R = prepared.table - prepared.basis.Q @ _least_squares(prepared)
    size = prepared.table.abs().amax(0)
    exact = R.abs().amax(0) <= 100.0 * torch.finfo(R.dtype).eps * size
    if bool(exact.any()):
        names = some(f"`{data.responses[j]}`" for j in exact.nonzero()[:, 0].tolist())
        raise DataError(
            f"The design fits {names} exactly: no residual variance is left, and no likelihood. "
            "Look for a constant response, or one that is also a covariate; leave it out."
        )
    if data.p > left:
        raise DataError(
            f"{data.p} responses are too many for a joint fit: {data.n} samples less {data.d} coefficients leave a "
            f"covariance of rank {left}. Fit the responses separately, or in groups of at most {left}."
        )
    dependent = dependent_columns(R, data.w)
    if dependent:
        told = "; ".join(
            f"`{data.responses[j]}` follows from {some(f'`{data.responses[k]}`' for k in others)}"
            for j, others in dependent[:3]
        )
        raise DataError(f"Given the covariates, responses depend on each other exactly: {told}. Leave one of them out.")
