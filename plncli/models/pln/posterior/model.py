"""The Poisson log-normal model with a full posterior covariance of each sample: composed of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.fused import Fused, joined
from plncli.models.pln.errors.full import sandwich
from plncli.models.pln.errors.uncertainty import default_se, joint
from plncli.models.pln.estimates import explained
from plncli.models.pln.findings import findings
from plncli.models.pln.posterior.profile import Evaluation, Table
from plncli.models.pln.posterior.start import root, start
from plncli.models.pln.prepared import Prepared as Checked
from plncli.models.pln.prepared import prepare
from plncli.models.pln.separation import Separated, at_supremum, cell_limits, with_limits
from plncli.models.pln.spec import PLN as SPEC
from plncli.models.pln.spec import seconds_of_full
from plncli.models.pln.structures import Structure
from plncli.models.spec import Spec
from plncli.models.uncertainty import Determined, Uncertainty
from plncli.numerics.rows import weighted_total

LONGEST = 2 * 3600.0
"""Seconds on one core beyond which a fit is refused beforehand."""
SHARES = (1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Eigenvalues of Sigma, scaled to correlations, up to which directions are tried without."""
NO_VARIANCE = 1e-6
"""Variance of a log rate up to which it is tried without any: it changes a count by 0.1 % at most."""
FLAT = 1e-10
"""Eigenvalue of the correlations up to which there is no inverse."""
NO_FISHER = "No standard errors: there are none of kind `fisher` of a full posterior."


@dataclass(frozen=True)
class Prepared:
    """Checked data, the structure of Sigma, and the objective."""

    checked: Checked
    structure: Structure

    @property
    def data(self) -> Dataset:
        """What is fitted."""
        return self.checked.data

    @property
    def separated(self) -> Separated | None:
        """What has no finite estimate."""
        return self.checked.separated

    @cached_property
    def table(self) -> Table:
        """The objective."""
        cells, data = self.checked.table.emission, self.data
        precision = self.structure.precision
        held = None if precision is None else root(torch.linalg.inv(precision.to(data.Y)))
        Y = cells.counted()
        return Table(Y, cells.O, cells.K, self.checked.w, data.total_weight, self.checked.basis.Q, cells.constant, held)


@dataclass(frozen=True)
class FullPLN(Model[Prepared]):
    """The Poisson log-normal model whose q(Z_i) has a full covariance: a tighter bound than that of `PLN`.

    covariance: full, or fixed at the inverse of `precision` (p×p). Where Sigma is diagonal the best q is diagonal, and
    `PLN` has it. Opper & Archambeau 2009, Neural Computation 21. Neither a variance of 0 nor a singular Sigma needs
    anything of its own: in C, with Sigma = CC', both are ordinary points.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    curved: ClassVar[bool] = True
    covariance: str = "full"
    precision: Tensor | None = None

    @property
    def structure(self) -> Structure:
        """Of Sigma."""
        return Structure(self.covariance, self.precision)

    def among(self, responses: Tensor) -> FullPLN:
        """The model of some features alone: a precision that is given becomes that of their marginal distribution."""
        if self.precision is None:
            return self
        Sigma = torch.linalg.inv(self.precision)[responses][:, responses]
        return replace(self, precision=torch.linalg.inv(Sigma))

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts and design, find separated cells, and refuse what would take hours."""
        seconds = seconds_of_full(data.n, data.p)
        if seconds > LONGEST:
            raise DataError(
                f"A full posterior of {data.n} samples × {data.p} features takes about {seconds / 3600:.0f} hours on a "
                "core, for it grows with the cube of the features. Use --posterior diagonal, or fewer features."
            )
        return Prepared(prepare(data, self.structure), self.structure)

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """From the counts, or from M_finite and S of an earlier fit."""
        return start(prepared.table, init)

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included, with each sample's posterior where it is best."""
        return joined(FullElbo, params, lambda split: Evaluation(split, prepared.table))

    def at(self, params: Params, prepared: Prepared) -> Evaluation:
        """The bound at coefficients G and the root C of Sigma."""
        return prepared.table.at(params)

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Inverse of each feature's block, and a round of EM."""
        return prepared.table.at(params).preconditioner()

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the features' blocks."""
        return prepared.table.at(params).curvature()

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        del X0
        return cell_limits(training, X)

    # -- what comes out ------------------------------------------------------------------------------------------------

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """C on principal axes, without the directions in which Sigma is on its way to 0: F is lower without them."""
        at, table = prepared.table.at(params), prepared.table
        settled = {**params, "t": at.z.t}
        if table.held is None:
            least = float(at.value) + 1e-12 * abs(float(at.value))
            for share in SHARES:
                C = _told_apart(at.C, share)
                value = float(Evaluation({**settled, "C": C}, table).value)
                if not value <= least:
                    break
                settled["C"], least = C, value + 1e-12 * abs(value)
        return settled, prepared

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_i w_i log|2πe S_i|, in nats, in the directions that have variance."""
        at = prepared.table.at(params)
        values = torch.linalg.eigvalsh(at.C.mT @ at.C)
        values = values[values > torch.finfo(values.dtype).eps * len(values) * values[-1]]
        own = at.z.entropy + values.log().sum() + len(values) * math.log(2.0 * math.pi * math.e)
        return float(weighted_total(prepared.data.w, 0.5 * own))

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma, Omega (p×p), nan where Sigma is singular, M and S (n×p), on the log scale of the counts."""
        at, B = prepared.table.at(params), self._finite(params, prepared)
        varied = at.Sigma.diagonal() > 0
        Omega, place = torch.full_like(at.Sigma, math.nan), varied[:, None] & varied
        if bool(varied.any()) and not _lacking(at):
            inverse = torch.linalg.inv(at.Sigma[varied][:, varied])
            Omega[place] = (0.5 * (inverse + inverse.mT)).flatten()
        M = at_supremum(prepared.data.X @ B + at.z.r, prepared.separated, -math.inf)
        S = at.z.variance.clamp_min(0.0).sqrt()
        return {"B": with_limits(B, prepared.separated), "M": M, "S": S, "Sigma": at.Sigma, "Omega": Omega}

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite and A (n×p), features without variance, and where linear predictors go."""
        at, B = prepared.table.at(params), self._finite(params, prepared)
        limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
        still = (at.Sigma.diagonal() == 0).nonzero()[:, 0]
        return {
            "B_finite": B,
            "M_finite": prepared.data.X @ B + at.z.r,
            "poisson_features": still,
            "A": at.z.rates,
            **limits,
        }

    def _finite(self, params: Params, prepared: Prepared) -> Tensor:
        return prepared.checked.basis.coefficients(params["G"].detach())

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """d·p coefficients, and p(p + 1)/2 or 0 parameters of Sigma."""
        return prepared.data.d * prepared.data.p + self.structure.n_parameters(prepared.data.p)

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means against that of a Poisson model with intercept and offset alone."""
        A = prepared.table.at(params).z.rates
        return explained(prepared.data, at_supremum(A, prepared.separated, 0.0))

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take much longer than the fit."""
        return default_se(prepared.checked)

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B: `sandwich` alone."""
        if method == "fisher":
            return Finding("no-standard-errors", NO_FISHER, remedy="Use --se sandwich, jackknife or bootstrap.")

        def covariance(at: Determined, missing: Tensor) -> Uncertainty | None:
            return sandwich(prepared.table.at(params), prepared.data, prepared.checked.basis, at, missing, cancelled)

        return joint(prepared.checked, covariance)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Expected counts beyond sense, coefficients without a finite estimate, and what has no variance."""
        at = prepared.table.at(params)
        variance = at.Sigma.diagonal()
        checked = replace(prepared.checked, poisson=(variance == 0).nonzero()[:, 0])
        found = findings(checked, self._finite(params, prepared), variance if math.isfinite(gap) else None)
        lacking = _lacking(at)
        if not lacking or not math.isfinite(gap):
            return found
        many = int((variance > 0).sum())
        message = f"Sigma is singular: of rank {many - lacking} among {many} features. There is no Omega: it is empty."
        return (*found, Finding("singular-covariance", message, note=True))


def _told_apart(C: Tensor, share: float) -> Tensor:
    """C on the principal axes of the correlations, 0 in those up to a share, and for features up to that variance."""
    variance = C.square().sum(1)
    varied = variance > min(share, NO_VARIANCE)
    C = torch.where(varied[:, None], C, 0.0)
    scaled = C / torch.where(varied, variance, 1.0).sqrt()[:, None]
    values, V = torch.linalg.eigh(scaled.mT @ scaled)
    return (C @ V) * (values > share)


def _lacking(at: Evaluation) -> int:
    """Directions without variance among features that have some."""
    C = at.C[at.Sigma.diagonal() > 0]
    if not len(C):
        return 0
    scaled = C / C.square().sum(1).sqrt()[:, None]
    return int((torch.linalg.eigvalsh(scaled @ scaled.mT) <= FLAT).sum())


class FullElbo(Fused):
    """Minus the ELBO of G, C and t."""
