"""Poisson log-normal PCA, fitted by its bound with the samples profiled out: composed of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from plncli.arrays import Differentiated, Params
from plncli.dataset import Dataset
from plncli.errors import unfit
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.inflation.findings import of_zeros
from plncli.models.inflation.spec import NONE
from plncli.models.pca import joint
from plncli.models.pca.errors import inflated
from plncli.models.pca.errors.sandwich import MOST_NUMBERS, MOST_WORK, sandwich, size
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.prepared import Prepared, prepare
from plncli.models.pca.profile import objective
from plncli.models.pca.spec import PCA as SPEC
from plncli.models.pca.starting.start import another, restarts, rotated, settled, start, starts
from plncli.models.pca.starting.subset import onto, subset
from plncli.models.pca.zeros import ZEROS, searching, wholes, zeros_told
from plncli.models.pln.estimates import explained, explained_by
from plncli.models.pln.findings import of_counts
from plncli.models.pln.separation import at_supremum, with_limits
from plncli.models.pln.zeros.counting import cell_limits
from plncli.models.spec import Spec
from plncli.models.uncertainty import Uncertainty
from plncli.numerics.rows import weighted_total

STRUCTURAL = "No standard errors: there are none yet where each sample has a probability of structural zeros."
RESAMPLING = "--se jackknife or --se bootstrap"


@dataclass(frozen=True)
class PCA(Model[Prepared]):
    """Z_i = B'x_i + C u_i with u_i ~ N(0, I) of `rank` dimensions, and counts Poisson(exp(o_i + Z_i)).

    Chiquet, Mariadassou & Robin 2018 (Annals of Applied Statistics 12), but with a full covariance of each sample's
    posterior: a tighter bound, which does not depend on the axes that C is written in.
    rank: None for a few. starts: searches, from that many starts. sigma: whether Sigma = CC', p×p, is wanted.
    block_rows: samples that are looked at together, None for what is best.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    loose: ClassVar[float] = 1e-2
    patience: ClassVar[int | None] = 0
    rank: int | None = None
    starts: int = 1
    sigma: bool | None = None
    zero_inflation: str = NONE
    block_rows: int | None = None

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts, design and rank, and find separated cells."""
        return prepare(data, self.rank, self.zero_inflation, self.block_rows)

    # -- where it begins -----------------------------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """From log counts, or from B and C of an earlier fit, of whatever rank."""
        zeta = _begun(prepared, init)
        return _params(start(prepared, init, zeta), zeta)

    def searches(self, prepared: Prepared, init: Init | None) -> bool:
        """Without an earlier fit, and from one of fewer components, or one that knows nothing of structural zeros."""
        if init is None or ("C" in init and init["C"].shape[1] < prepared.table.q):
            return True
        return prepared.inflation is not None and prepared.inflation.known(init) is None

    def own_starts(self, prepared: Prepared, init: Init | None) -> Iterator[tuple[Params, Prepared]]:
        """Annealed ones, and one from more components, or from fewer that are known.

        Without structural zeros, unless an earlier fit tells where they are.
        """
        known = None if prepared.inflation is None or init is None else prepared.inflation.known(init)
        at = searching(prepared) if known is None else ZEROS.resume(prepared, known)
        zeta = _begun(at, init)
        return ((_params(theta, zeta), at) for theta in starts(at, init, zeta))

    def restarts(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """The optimum annealed again."""
        return (({**params, "theta": theta}, prepared) for theta in restarts(params["theta"], prepared))

    def another(self, prepared: Prepared, generator: Generator) -> tuple[Params, Prepared]:
        """From loadings with noise."""
        at = searching(prepared)
        return _params(another(at, generator), _begun(at, None)), at

    def rival(self, prepared: Prepared) -> float:
        """None."""
        del prepared
        return math.inf

    def searched(self, prepared: Prepared) -> Prepared:
        """The same."""
        return prepared

    def wholes(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """With structural zeros, from the best that there is without."""
        return wholes(params, prepared)

    def subset(self, prepared: Prepared, seed: int) -> Prepared | None:
        """One in a few samples of a large table."""
        return subset(prepared, seed)

    def onto(self, params: Params, few: Prepared, prepared: Prepared, cancelled: Callable[[], bool]) -> Params:
        """The same coefficients and loadings, brought near the optimum of all samples."""
        return {"theta": settled(prepared.table, onto(params["theta"], few, prepared), cancelled)}

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included, with each sample's posterior where it is best."""
        if prepared.inflation is not None:
            return joint.objective(params, prepared)
        return objective(params["theta"], prepared.table)

    def at(self, params: Params, prepared: Prepared) -> Differentiated:
        """The bound at theta, coefficients and loadings together, and at the probabilities of structural zeros."""
        return joint.evaluated(params, prepared)

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Inverse of each feature's block, less what the samples' posteriors take."""
        return joint.preconditioner(params, prepared)

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the features' blocks."""
        return joint.curvature(params, prepared)

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """The same fit on the principal axes of Sigma, posteriors solved as those of new samples are."""
        return {**params, "theta": rotated(params["theta"].detach(), prepared.table)}, prepared

    # -- the boundary pi = 0 -------------------------------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether some probability of structural zeros is 0 at its best."""
        return ZEROS.next_to_none(params, prepared)

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended, probabilities 0 where it left them so."""
        at = ZEROS.resume(prepared, None if prepared.inflation is None else prepared.inflation.known(init))
        return self.start(at, init), at

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Probabilities that become 0, or, once `settled`, more than 0; not while the best of starts is looked for."""
        return None if prepared.plain else ZEROS.revise(params, prepared, settled=settled)

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """Which probabilities are above 0."""
        known = ZEROS.state(prepared)
        return {**known, "plain": torch.tensor(prepared.plain)} if known else {}

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The data as `state` says; DataError where that cannot be."""
        at = ZEROS.at_state(prepared, state)
        if prepared.inflation is None:
            return at
        if "plain" not in state or state["plain"].shape or state["plain"].dtype != torch.bool:
            raise unfit("it does not say whether it looks for a start")
        return replace(at, plain=bool(state["plain"]))

    # -- what comes out ------------------------------------------------------------------------------------------------

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_i w_i log|2πe S_i|, in nats."""
        S = prepared.at(params).covariances
        own = 0.5 * (torch.linalg.slogdet(S).logabsdet + prepared.table.q * math.log(2.0 * math.pi * math.e))
        return float(weighted_total(prepared.data.w, own))

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X, X0, self.zero_inflation)

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), C (p×q), scores and their sd (n×q), shares (q,), M and S (n×p) on the log scale of the counts.

        Of a table that is looked at by blocks, neither M nor S: they follow from the others.
        """
        at = prepared.at(params)
        B = self._finite(params, prepared)
        variance = at.C.square().sum(0)
        found = {
            "B": with_limits(B, prepared.separated),
            "C": at.C.contiguous(),
            "U": at.scores,
            "U_sd": at.covariances.diagonal(dim1=1, dim2=2).sqrt(),
            "share": variance / variance.sum().clamp_min(torch.finfo(variance.dtype).tiny),
        }
        if isinstance(at, Evaluation):
            found["M"] = at_supremum(prepared.data.X @ B + at.scores @ at.C.mT, prepared.separated, -math.inf)
            found["S"] = at.variance().clamp_min(0.0).sqrt()
        if self.sigma:
            found["Sigma"] = at.C @ at.C.mT
        zeros = zeros_told(params, prepared)
        if zeros is not None and prepared.inflation is not None:
            found["P0"] = prepared.inflation.known_alone(zeros.probability)
        return found

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite (n×p), and where linear predictors go."""
        at, B = prepared.at(params), self._finite(params, prepared)
        limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
        logits = {} if prepared.inflation is None else prepared.inflation.left(params["zeta"])
        mean = {"M_finite": prepared.data.X @ B + at.scores @ at.C.mT} if isinstance(at, Evaluation) else {}
        return {"B_finite": B, **mean, **limits, **logits}

    def _finite(self, params: Params, prepared: Prepared) -> Tensor:
        return prepared.basis.coefficients(params["theta"][: prepared.table.d])

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """d·p coefficients, p·q loadings less the q(q − 1)/2 angles of their axes, and those of structural zeros."""
        q = prepared.table.q
        zeros = 0 if prepared.inflation is None else prepared.inflation.n_parameters
        return prepared.data.p * (prepared.data.d + q) - q * (q - 1) // 2 + zeros

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means against that of a Poisson model with intercept and offset alone."""
        at, zeros = prepared.at(params), zeros_told(params, prepared)
        if zeros is not None:
            return explained(prepared.data, at_supremum(zeros.expected, prepared.separated, 0.0))
        if isinstance(at, Evaluation):
            return explained(prepared.data, at_supremum(at.z.A, prepared.separated, 0.0))
        return explained_by(prepared.data, lambda rows: at.part(rows).z.A, at.block)

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take much longer than the fit."""
        if prepared.inflation is not None and prepared.inflation.kind == "sample":
            return Finding("no-standard-errors", STRUCTURAL, remedy=f"Ask for them with {RESAMPLING}.")
        work, numbers = size(prepared)
        if work <= MOST_WORK and numbers <= MOST_NUMBERS:
            return "sandwich"
        message = f"No standard errors, for those of {prepared.data.p} features would take minutes or more."
        return Finding("no-standard-errors", message, remedy="Ask for them with --se sandwich.")

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B, and of logits of structural zeros: `sandwich`."""
        if prepared.inflation is not None:
            if prepared.inflation.kind == "sample":
                return Finding("no-standard-errors", STRUCTURAL, remedy=f"Use {RESAMPLING}.")
            inflation, zeta = prepared.inflation.widened(params["zeta"])
            return inflated.sandwich({**params, "zeta": zeta}, replace(prepared, inflation=inflation), cancelled)
        return sandwich(params["theta"], prepared, cancelled)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Expected counts beyond sense, coefficients without a finite estimate, and structural zeros."""
        variance = None
        if math.isfinite(gap):
            variance = params["theta"][prepared.table.d :].square().sum(0)
        found = of_counts(prepared, self._finite(params, prepared), variance)
        if prepared.inflation is None:
            return found
        data = prepared.data
        return found + of_zeros(prepared.inflation, data.samples, data.responses, prepared.nodes)


def _params(theta: Tensor, zeta: Tensor | None) -> Params:
    return {"theta": theta} if zeta is None else {"theta": theta, "zeta": zeta}


def _begun(prepared: Prepared, init: Init | None) -> Tensor | None:
    """zeta where a fit begins; None without zero inflation."""
    return None if prepared.inflation is None else prepared.inflation.begun(init)
