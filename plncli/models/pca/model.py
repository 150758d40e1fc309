"""Poisson log-normal PCA, fitted by its bound with the samples profiled out: composed of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from plncli.arrays import Params, Parts
from plncli.dataset import Dataset
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.pca.prepared import Prepared, prepare
from plncli.models.pca.profile import objective
from plncli.models.pca.sandwich import MOST_NUMBERS, MOST_WORK, sandwich, size
from plncli.models.pca.spec import PCA as SPEC
from plncli.models.pca.start import another, restarts, rotated, start, starts
from plncli.models.pln.estimates import explained
from plncli.models.pln.findings import of_counts
from plncli.models.pln.separation import at_supremum, cell_limits, with_limits
from plncli.models.spec import Spec
from plncli.models.uncertainty import Uncertainty
from plncli.numerics.rows import weighted_total


@dataclass(frozen=True)
class PCA(Model[Prepared]):
    """Z_i = B'x_i + C u_i with u_i ~ N(0, I) of `rank` dimensions, and counts Poisson(exp(o_i + Z_i)).

    Chiquet, Mariadassou & Robin 2018 (Annals of Applied Statistics 12), but with a full covariance of each sample's
    posterior: a tighter bound, which does not depend on the axes that C is written in.
    rank: None for a few. starts: searches, from that many starts. sigma: whether Sigma = CC', p×p, is wanted.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    loose: ClassVar[float] = 1e-2
    patience: ClassVar[int | None] = None
    rank: int | None = None
    starts: int = 1
    sigma: bool | None = None

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts, design and rank, and find separated cells."""
        return prepare(data, self.rank)

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """From log counts, or from B and C of an earlier fit, of whatever rank."""
        return {"theta": start(prepared, init)}

    def searches(self, prepared: Prepared, init: Init | None) -> bool:
        """Without an earlier fit, and from one of fewer components."""
        return init is None or ("C" in init and init["C"].shape[1] < prepared.table.q)

    def own_starts(self, prepared: Prepared, init: Init | None) -> Iterator[tuple[Params, Prepared]]:
        """Annealed ones, and one from more components, or from fewer that are known."""
        return (({"theta": theta}, prepared) for theta in starts(prepared, init))

    def restarts(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """The optimum annealed again."""
        return (({"theta": theta}, prepared) for theta in restarts(params["theta"], prepared))

    def another(self, prepared: Prepared, generator: Generator) -> tuple[Params, Prepared]:
        """From loadings with noise."""
        return {"theta": another(prepared, generator)}, prepared

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included, with each sample's posterior where it is best."""
        return objective(params["theta"], prepared.table)

    def at(self, params: Params, prepared: Prepared) -> Parts:
        """The bound at theta, coefficients and loadings together."""
        return Parts({"theta": prepared.table.at(params["theta"])})

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Inverse of each feature's block, less what the samples' posteriors take."""
        apply = prepared.table.at(params["theta"]).preconditioner()
        return lambda v: {"theta": apply(v["theta"])}

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the features' blocks."""
        return {"theta": prepared.table.at(params["theta"]).curvature()}

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """The same fit on the principal axes of Sigma, posteriors solved as those of new samples are."""
        return {"theta": rotated(params["theta"].detach(), prepared.table)}, prepared

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_i w_i log|2πe S_i|, in nats."""
        S = prepared.table.at(params["theta"]).z.S
        own = 0.5 * (torch.linalg.slogdet(S).logabsdet + prepared.table.q * math.log(2.0 * math.pi * math.e))
        return float(weighted_total(prepared.data.w, own))

    def cell_limits(self, training: Dataset, X: Tensor) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X)

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), C (p×q), scores and their sd (n×q), shares (q,), M and S (n×p) on the log scale of the counts."""
        at = prepared.table.at(params["theta"])
        B = self._finite(params, prepared)
        variance = at.C.square().sum(0)
        found = {
            "B": with_limits(B, prepared.separated),
            "C": at.C.contiguous(),
            "U": at.z.M,
            "U_sd": at.z.S.diagonal(dim1=1, dim2=2).sqrt(),
            "share": variance / variance.sum().clamp_min(torch.finfo(variance.dtype).tiny),
            "M": at_supremum(prepared.data.X @ B + at.z.M @ at.C.mT, prepared.separated, -math.inf),
            "S": at.variance().clamp_min(0.0).sqrt(),
        }
        if self.sigma:
            found["Sigma"] = at.C @ at.C.mT
        return found

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite (n×p), and where linear predictors go."""
        at, B = prepared.table.at(params["theta"]), self._finite(params, prepared)
        limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
        return {"B_finite": B, "M_finite": prepared.data.X @ B + at.z.M @ at.C.mT, **limits}

    def _finite(self, params: Params, prepared: Prepared) -> Tensor:
        return prepared.basis.coefficients(params["theta"][: prepared.table.d])

    def n_parameters(self, prepared: Prepared) -> int:
        """d·p coefficients and p·q loadings, less the q(q − 1)/2 angles of their axes."""
        q = prepared.table.q
        return prepared.data.p * (prepared.data.d + q) - q * (q - 1) // 2

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means against that of a Poisson model with intercept and offset alone."""
        A = prepared.table.at(params["theta"]).z.A
        return explained(prepared.data, at_supremum(A, prepared.separated, 0.0))

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take much longer than the fit."""
        work, numbers = size(prepared)
        if work <= MOST_WORK and numbers <= MOST_NUMBERS:
            return "sandwich"
        message = f"No standard errors, for those of {prepared.data.p} features would take minutes or more."
        return Finding("no-standard-errors", message, remedy="Ask for them with --se sandwich.")

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B: `sandwich`."""
        return sandwich(params["theta"], prepared, cancelled)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Expected counts beyond sense, and coefficients without a finite estimate."""
        variance = None
        if math.isfinite(gap):
            variance = params["theta"][prepared.table.d :].square().sum(0)
        return of_counts(prepared, self._finite(params, prepared), variance)
