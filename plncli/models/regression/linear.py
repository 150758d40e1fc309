"""Linear regression: Gaussian responses with a full residual covariance, by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.base import Init, Model
from plncli.models.neural.spec import has_network
from plncli.models.regression.spec import LINEAR as SPEC
from plncli.models.regression.standard_errors import linear_uncertainty
from plncli.models.spec import Spec
from plncli.models.uncertainty import Uncertainty
from plncli.numerics.linalg import ImplicitBasis, basis_of, cholesky_scaled, dependent_columns, explicit_basis
from plncli.numerics.rows import extremes, gram, number, over_parts, over_rows, total, triangle, weighted_total


@dataclass(frozen=True)
class Prepared:
    """Data, an orthonormal basis of the design, and all that the likelihood asks of the n samples, from two passes.

    best: least squares coefficients d×p in the basis. squares: R'WR (p×p) of their residuals R.
    mean: of Y − O, weighted (p,). total: sum of w (Y − O − mean)² (p,). wbar: sum of w, scalar.
    """

    data: Dataset
    basis: ImplicitBasis
    best: Tensor
    squares: Tensor
    mean: Tensor
    total: Tensor
    wbar: Tensor


@dataclass(frozen=True)
class Linear(Model[Prepared]):
    """Rows y_i ~ N(o_i + B'x_i, Sigma), all p responses together.

    With R = Y − O − XB, Sigma is best at R'WR / wbar, wbar = sum of the weights; put in, the objective is

        (wbar/2) (log|R'WR / wbar| + p log 2 pi + p),

    a function of the coefficients gamma (d×p) in an orthonormal basis of the design. It is least at least squares,
    for each response, whatever Sigma is (Mardia, Kent & Bibby 1979, section 6.2). Weights are frequencies: a sample of
    weight 2 is two samples.

    Since residuals are orthogonal to the design, R'WR at gamma is that of least squares plus wbar D'D, D = gamma −
    least squares: no evaluation goes through the samples, and none squares a table whose residuals are small beside it.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = True

    @classmethod
    def of(cls, own: Mapping[str, Any], matrices: Mapping[str, Tensor]) -> Model[Any]:  # type: ignore[override]
        """The model with these settings: one with a neural mean where it has hidden layers."""
        if not has_network(own):
            return super().of(own, matrices)
        from plncli.models.regression.neural import NeuralLinear

        return NeuralLinear.of(own, matrices)

    def prepare(self, data: Dataset) -> Prepared:
        """Check that Y is complete, X has full rank, and the residuals leave a covariance to be estimated."""
        check_numbers(data)
        n = number(data.n)
        left = n - data.d
        basis = basis_of(data)
        if left <= 0:
            raise DataError(
                f"{n} samples and {data.d} coefficients leave no residual degrees of freedom. "
                "Take terms out of the formula, or add samples."
            )
        prepared = _least_squares(data, basis)
        if data.p > left or _suspicious(prepared):
            # Residuals at the edge of rounding are judged, and fitted, in a basis that rounds least.
            if not (basis.formed or basis.stored):
                prepared = _least_squares(data, explicit_basis(data.X, data.w, data.terms))
            _check_residuals(prepared)
        return prepared

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """Least squares, which no earlier fit can better."""
        return {"gamma": prepared.best}

    def plain_start(self, prepared: Prepared) -> Params:
        """Zero: at least squares there is nothing to see."""
        return {"gamma": torch.zeros_like(prepared.best)}

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The objective from the residuals of all samples: what the fast path is held against."""
        data, basis = prepared.data, prepared.basis
        R = data.Y - data.O - basis.A @ basis.inner(params["gamma"])
        return self._loss(gram(R, data.w.unsqueeze(1) * R) / total(data.w), prepared)

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the log-likelihood in nats, at the best Sigma; inf where that is not positive definite."""
        return self._loss(self._sigma(params, prepared), prepared)

    def _loss(self, Sigma: Tensor, prepared: Prepared) -> Tensor:
        factor = cholesky_scaled(Sigma)
        if factor is None:
            return torch.full_like(prepared.wbar, math.inf)
        return 0.5 * prepared.wbar * (factor.logdet + prepared.data.p * (math.log(2.0 * math.pi) + 1.0))

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Map v (d×p) to v Sigma / wbar: at the optimum the inverse Hessian, elsewhere a step to least squares."""
        Sigma = self._sigma(params, prepared) / prepared.wbar
        return lambda v: {"gamma": v["gamma"] @ Sigma}

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Wbar over the residual variance of each response, d×p."""
        variance = self._sigma(params, prepared).diagonal() / prepared.wbar
        return {"gamma": variance.reciprocal().expand_as(params["gamma"])}

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma (p×p, maximum likelihood: divided by wbar) and its inverse Omega."""
        Sigma = self._sigma(params, prepared)
        factor = cholesky_scaled(Sigma)
        Omega = torch.full_like(Sigma, math.nan) if factor is None else factor.inverse()
        return {"B": prepared.basis.coefficients(params["gamma"]), "Sigma": Sigma, "Omega": Omega}

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """One coefficient for each term and response, and p(p+1)/2 variances and covariances."""
        d, p = prepared.data.d, prepared.data.p
        return d * p + p * (p + 1) // 2

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − RSS/TSS, the mean of it over responses, so that their units don't matter; TSS about the mean of Y − O.

        Both sums are deviances, of the fit and of an intercept beside the offset. A design that cannot express an
        intercept may do worse than it: then the value is negative.
        """
        residual = self._sigma(params, prepared).diagonal() * prepared.wbar
        return 1.0 - float((residual / prepared.total).mean())

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """Sigma_unbiased (p×p): R'WR / (wbar − d), nan where the weights do not exceed d."""
        wbar, d = prepared.data.total_weight, prepared.data.d
        factor = wbar / (wbar - d) if wbar > d else math.nan
        return {"Sigma_unbiased": self._sigma(params, prepared) * factor}

    def default_se(self, prepared: Prepared) -> str:
        """Model-based standard errors: they cost next to nothing; robust ones where samples come in clusters."""
        return "fisher" if prepared.data.clusters is None else "robust"

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty:
        """Covariance of B."""
        return linear_uncertainty(
            prepared.data,
            prepared.basis,
            prepared.basis.coefficients(params["gamma"]),
            self.state(params, prepared)["Sigma_unbiased"],
            method,
        )

    def _sigma(self, params: Params, prepared: Prepared) -> Tensor:
        D = params["gamma"] - prepared.best
        return prepared.squares / prepared.wbar + torch.mm(D.mT, D)


def check_numbers(data: Dataset) -> None:
    """DataError unless Y is complete, and finite."""
    if data.K is not None:
        raise DataError("Linear regression takes no missing responses; leave those samples out (--missing drop).")
    finite = extremes(lambda part: torch.isfinite(part.Y), data, "Y")[0]
    if not bool(finite.all()):
        names = some(f"`{data.responses[j]}`" for j in (~finite).nonzero()[:, 0].tolist())
        raise DataError(f"Responses must be finite numbers; {names} holds others.")


def _least_squares(data: Dataset, basis: ImplicitBasis) -> Prepared:
    """Least squares from the normal equations of an orthonormal basis, with one correction from the residuals."""
    (wbar,) = over_parts(lambda part: (total(part.w),), data, "w")
    products, sums = over_parts(lambda part: _projected(part, basis), data, "YXOw")
    first, mean = torch.mm(basis.U.mT, products) / wbar, sums / wbar
    B = basis.inner(first)
    products, squares, spread = over_parts(lambda part: _squared(part, basis, B, mean), data, "YXOw")
    change = torch.mm(basis.U.mT, products) / wbar
    return Prepared(data, basis, first + change, squares - torch.mm(wbar * change.mT, change), mean, spread, wbar)


def _projected(data: Dataset, basis: ImplicitBasis) -> tuple[Tensor, ...]:
    """A'W(Y − O), d×p, and the sum of W(Y − O), (p,), of a block of samples."""
    X, w = basis.rows(data), data.w

    def project(rows: slice) -> tuple[Tensor, Tensor]:
        weighted = (data.Y[rows] - data.O[rows]).mul_(w[rows].unsqueeze(1))
        return gram(X[rows], weighted), total(weighted)

    return over_rows(project, X, max(data.d, data.p))


def _squared(data: Dataset, basis: ImplicitBasis, B: Tensor, mean: Tensor) -> tuple[Tensor, ...]:
    """A'WR (d×p) and R'WR (p×p) of residuals at B, and squares about the mean (p,), of a block of samples."""
    X, w = basis.rows(data), data.w

    def residuals(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        table = data.Y[rows] - data.O[rows]
        R = torch.addmm(table, X[rows], B, alpha=-1.0)
        weighted = w[rows].unsqueeze(1) * R
        return gram(X[rows], weighted), gram(R, weighted), weighted_total(w[rows], table.sub_(mean).square_())

    return over_rows(residuals, X, max(data.d, data.p))


def _suspicious(prepared: Prepared) -> bool:
    """Whether residuals are small beside their table, or nearly dependent, so that rounding may have a part in them."""
    variance = prepared.squares.diagonal()
    edge = torch.finfo(variance.dtype).eps ** 0.5
    size = prepared.total + prepared.wbar * prepared.mean.square()
    if not bool((variance > 100.0 * edge**2 * size).all()):
        return True
    sd = variance.sqrt()
    return bool(torch.linalg.eigvalsh(prepared.squares / sd / sd.unsqueeze(1))[0] <= edge)


def _check_residuals(prepared: Prepared) -> None:
    """DataError, with names, when least squares leaves a response, or a combination of responses, no residual."""
    data, basis = prepared.data, prepared.basis
    n, inner = number(data.n), basis.inner(prepared.best)
    left = n - data.d

    def residuals(part: Dataset) -> Tensor:
        return part.Y - part.O - basis.rows(part) @ inner

    size = extremes(lambda part: (part.Y - part.O).abs(), data, "YO")[1]
    furthest = extremes(lambda part: residuals(part).abs(), data, "YXO")[1]
    exact = furthest <= 100.0 * torch.finfo(size.dtype).eps * size
    if bool(exact.any()):
        names = some(f"`{data.responses[j]}`" for j in exact.nonzero()[:, 0].tolist())
        raise DataError(
            f"The design fits {names} exactly: no residual variance is left, and no likelihood. "
            "Look for a constant response, or one that is also a covariate; leave it out."
        )
    if data.p > left:
        raise DataError(
            f"{data.p} responses are too many for a joint fit: {n} samples less {data.d} coefficients leave a "
            f"covariance of rank {left}. Fit the responses separately, or in groups of at most {left}."
        )
    if data.stored:
        dependent = dependent_columns(triangle(lambda part: residuals(part) * part.w.sqrt()[:, None], data, "YXOw"))
    else:
        dependent = dependent_columns(residuals(data), data.w)
    if dependent:
        told = "; ".join(
            f"`{data.responses[j]}` follows from {some(f'`{data.responses[k]}`' for k in others)}"
            for j, others in dependent[:3]
        )
        raise DataError(f"Given the covariates, responses are exactly collinear: {told}. Leave one of them out.")
