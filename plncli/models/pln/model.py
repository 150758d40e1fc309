"""Multivariate Poisson log-normal regression, fitted by its profiled variational bound: composed of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Evaluated, Params
from plncli.dataset import Dataset
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.pln import boundary, estimates, uncertainty
from plncli.models.pln.elbo import objective, plain_objective
from plncli.models.pln.findings import findings
from plncli.models.pln.preconditioner import block_curvature, feature_preconditioner
from plncli.models.pln.prepared import Prepared, prepare
from plncli.models.pln.separation import cell_limits
from plncli.models.pln.spec import PLN as SPEC
from plncli.models.pln.start import conditional, settle, start
from plncli.models.pln.structures import Structure
from plncli.models.spec import Spec, writes_square
from plncli.models.uncertainty import Uncertainty


@dataclass(frozen=True)
class PLN(Model[Prepared]):
    """Poisson log-normal model. covariance: full, diagonal, spherical, or fixed at the inverse of `precision` (p×p).

    sigma: whether Sigma and Omega, p×p, are wanted; None: unless there are very many features.
    Aitchison & Ho 1989; Chiquet, Mariadassou & Robin 2018, 2021. Two boundaries are solved exactly instead of being
    approached for ever: separated cells, whose expected count falls to 0, leave the likelihood, and features without
    extra-Poisson variance become Poisson regressions beside the rest.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    covariance: str = "full"
    precision: Tensor | None = None
    sigma: bool | None = None

    def __post_init__(self) -> None:
        _ = self.structure  # which checks the two

    @property
    def structure(self) -> Structure:
        """Of Sigma."""
        return Structure(self.covariance, self.precision)

    def among(self, responses: Tensor) -> PLN:
        """The model of some features alone: a precision that is given becomes that of their marginal distribution."""
        if self.precision is None:
            return self
        Sigma = torch.linalg.inv(self.precision)[responses][:, responses]
        return replace(self, precision=torch.linalg.inv(Sigma))

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts and design, find separated cells, and split off nothing else yet."""
        return prepare(data, self.structure)

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """From the counts, or from M_finite and S of an earlier fit in the cells where they are known."""
        return start(prepared, init)

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included."""
        loss = objective(params["q"], prepared.table)
        return loss if "gamma" not in params else loss + prepared.boundary.objective(params["gamma"])

    def parts(self, params: Params, prepared: Prepared) -> dict[str, Evaluated]:
        """The latent features and those on the boundary, which have nothing to do with each other."""
        parts: dict[str, Evaluated] = {"q": prepared.table.at(params["q"])}
        if "gamma" in params:
            parts["gamma"] = prepared.boundary.at(params["gamma"])
        return parts

    def plain_start(self, prepared: Prepared) -> Params:
        """The start of `plain_objective`: M and psi by their own names."""
        M, psi = self.start(prepared)["q"]
        return {"M": M, "psi": psi}

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The same objective in ordinary tensor operations, differentiated by autograd alone."""
        return plain_objective((params["M"], params["psi"]), prepared.table)

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Approximate inverse of each latent feature's block, and exact inverse of each boundary feature's Hessian."""
        latent = feature_preconditioner(params["q"], prepared.table)
        if "gamma" not in params:
            return lambda v: {"q": latent(v["q"])}
        poisson = prepared.boundary.preconditioner(params["gamma"])
        return lambda v: {"q": latent(v["q"]), "gamma": poisson(v["gamma"])}

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the preconditioner's blocks."""
        diagonal = {"q": torch.stack(block_curvature(prepared.table.at(params["q"]))[::2])}
        if "gamma" in params:
            diagonal["gamma"] = prepared.boundary.curvature(params["gamma"])
        return diagonal

    def conditional(self, params: Params, prepared: Prepared) -> tuple[Model[Prepared], Prepared]:
        """The variational step: B and Omega held where they are best for `params` (the exact M-step)."""
        return self, conditional(params, prepared)

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """B and Sigma held where they are, q where it is best for them, sample by sample: what new samples get too."""
        return settle(params, prepared)

    def cell_limits(self, training: Dataset, X: Tensor) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X)

    # -- the boundary Sigma_jj = 0 -------------------------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether some feature that was not looked at yet has little but q's own variance left."""
        return boundary.degenerate(params, prepared)

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended: features that it left on the boundary start there."""
        return boundary.resume(prepared, init)

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Move features to the boundary, or, once `settled`, back; None when nothing changes."""
        return boundary.revise(params, prepared, settled=settled)

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """The active set, and what was tried."""
        return boundary.state(prepared)

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The data split as `state` says; DataError unless each feature is on one side."""
        return boundary.at_state(prepared, state)

    # -- what comes out ------------------------------------------------------------------------------------------------

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma, Omega (p×p), if they are wanted, M and S (n×p), at the boundaries where they are."""
        return estimates.estimates(params, prepared, whole=writes_square(self.sigma, prepared.data.p))

    def n_parameters(self, prepared: Prepared) -> int:
        """d·p coefficients, and p(p + 1)/2, p, 1 or 0 parameters of Sigma."""
        return prepared.data.d * prepared.data.p + self.structure.n_parameters(prepared.data.p)

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_ij w_i log(2πe s_ij²) over the cells with a latent variable, in nats."""
        return estimates.entropy(params, prepared)

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means A against that of a Poisson model with intercept and offset alone."""
        return estimates.r2(params, prepared)

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite (n×p), the features on the boundary, where the others go, and factors of Sigma."""
        return estimates.state(params, prepared, whole=writes_square(self.sigma, prepared.data.p))

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take much longer than the fit."""
        return uncertainty.default_se(prepared)

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B: `sandwich`, or `fisher`, as if the latent layer had been observed."""
        return uncertainty.uncertainty(params, prepared, method, cancelled)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Expected counts beyond sense, coefficients without a finite estimate, and features without variance."""
        variance = estimates.variances(params, prepared) if math.isfinite(gap) else None
        return findings(prepared, estimates.finite_coefficients(params, prepared), variance)
