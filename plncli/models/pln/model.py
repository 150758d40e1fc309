"""Multivariate Poisson log-normal regression, fitted by its profiled variational bound: composed of its parts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from plncli import ranks
from plncli.arrays import Differentiated, Params
from plncli.dataset import Dataset
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.inflation.active import without
from plncli.models.inflation.cells import NODES
from plncli.models.neural.spec import has_network
from plncli.models.pln import estimates, joint
from plncli.models.pln.boundary import active as boundary
from plncli.models.pln.elbo import objective, plain_objective
from plncli.models.pln.errors import uncertainty
from plncli.models.pln.findings import findings
from plncli.models.pln.prepared import Prepared, prepare
from plncli.models.pln.spec import PLN as SPEC
from plncli.models.pln.spec import has_full_posterior
from plncli.models.pln.start import conditional, settle, start
from plncli.models.pln.structures import LatentStructure, Structure
from plncli.models.pln.zeros import fitting as structural_zeros
from plncli.models.pln.zeros.counting import cell_limits
from plncli.models.pln.zeros.fitting import ZEROS
from plncli.models.spec import Spec, writes_square
from plncli.models.uncertainty import Uncertainty


@dataclass(frozen=True)
class PoissonLogNormal(Model[Prepared]):
    """Poisson log-normal model with a diagonal q, whatever the structure of its latent layer.

    Aitchison & Ho 1989; Chiquet, Mariadassou & Robin 2018, 2021. Two boundaries are solved exactly instead of being
    approached for ever: separated cells, whose expected count falls to 0, leave the likelihood, and features without
    extra-Poisson variance become Poisson regressions beside the rest.
    """

    exact_preconditioner: ClassVar[bool] = False
    loose: ClassVar[float] = 1e-3
    patience: ClassVar[int | None] = 1

    @abstractmethod
    def structure_of(self, data: Dataset) -> LatentStructure:
        """Of the latent layer of these data."""

    @property
    @abstractmethod
    def zeros(self) -> str:
        """Which probabilities of structural zeros there are."""

    @property
    @abstractmethod
    def square(self) -> bool | None:
        """Whether Sigma and Omega, p×p, are wanted; None: unless there are very many features."""

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts and design, find separated cells, and split off nothing else yet."""
        return prepare(data, self.structure_of(data), self.zeros)

    # -- where it begins -----------------------------------------------------------------------------------------------

    @property
    def curved(self) -> bool:
        """Whether negative curvature is to be expected: where a zero is in doubt."""
        return self.zeros != "none"

    @property
    def starts(self) -> int:
        """The model's own search alone."""
        return 1

    def searches(self, prepared: Prepared, init: Init | None) -> bool:
        """With structural zeros, unless an earlier fit tells where they are."""
        return prepared.inflation is not None and (init is None or prepared.inflation.known(init) is None)

    def own_starts(self, prepared: Prepared, init: Init | None) -> Iterator[tuple[Params, Prepared]]:
        """Without structural zeros."""
        plain = structural_zeros.plainly(prepared)
        yield start(plain, init), plain

    def restarts(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """None."""
        return iter(())

    def another(self, prepared: Prepared, generator: Generator) -> tuple[Params, Prepared]:
        """The ordinary start: none is by chance."""
        del generator
        return start(prepared), prepared

    def rival(self, prepared: Prepared) -> float:
        """Of a fit without structural zeros, the start with them."""
        return math.inf if prepared.later is None else prepared.later.value

    def searched(self, prepared: Prepared) -> Prepared:
        """With as many nodes as an optimum needs; and structural zeros closed, if none came in in time."""
        later = prepared.later
        if later is not None:
            prepared = without(replace(prepared, inflation=later.inflation, later=None))
        return replace(prepared, nodes=max(prepared.nodes, NODES))

    def wholes(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """Where structural zeros come in, from an optimum without them or from where each zero may be one."""
        if prepared.later is None:
            return iter(())
        return structural_zeros.wholes(params, prepared, ranks.same(float(self.at(params, prepared).value)))

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """From the counts, or from M_finite and S of an earlier fit in the cells where they are known."""
        return start(prepared, init)

    def sampled(self, prepared: Prepared) -> Mapping[str, int]:
        """q."""
        del prepared
        return {"q": 1}

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included."""
        if prepared.inflation is not None:
            return joint.objective(params, prepared)
        loss = objective(params["q"], prepared.table)
        return loss if "gamma" not in params else loss + prepared.boundary.objective(params["gamma"])

    def at(self, params: Params, prepared: Prepared) -> Differentiated:
        """The latent features, those on the boundary, and probabilities of structural zeros."""
        return joint.evaluated(params, prepared)

    def plain_start(self, prepared: Prepared) -> Params:
        """The start of `plain_objective`: M and psi by their own names."""
        params = self.start(prepared)
        M, psi = params.pop("q")
        return {"M": M, "psi": psi, **params}

    def plain_objective(self, params: Params, prepared: Prepared) -> Tensor:
        """The same objective in ordinary tensor operations, differentiated by autograd alone."""
        loss = plain_objective((params["M"], params["psi"]), prepared.table, params.get("zeta"))
        return loss if prepared.inflation is None else loss + prepared.inflation.base(params["zeta"])

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Approximate inverse of each latent feature's block, and exact inverse of each boundary feature's Hessian."""
        return joint.preconditioner(params, prepared)

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the preconditioner's blocks."""
        return joint.curvature(params, prepared)

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """B and Sigma held where they are, q where it is best for them, sample by sample: what new samples get too."""
        return settle(params, prepared)

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X, X0, self.zeros)

    # -- the boundary Sigma_jj = 0 -------------------------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether some feature that was not looked at yet has little but q's own variance left."""
        return boundary.degenerate(params, prepared) or ZEROS.next_to_none(params, prepared)

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended: features that it left on the boundary start there."""
        known = None if prepared.inflation is None else prepared.inflation.known(init)
        return boundary.resume(ZEROS.resume(prepared, known), init)

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Move features to the boundary, or, once `settled`, back; so with probabilities of zeros. None: all stand."""
        changed = boundary.revise(params, prepared, settled=settled)
        return ZEROS.revise(*(changed or (params, prepared)), settled=settled and not changed) or changed

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """The active set, and what was tried."""
        return boundary.state(prepared) | structural_zeros.state(prepared)

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The data split as `state` says; DataError unless each feature is on one side."""
        known = structural_zeros.at_state(prepared, state)
        sides = {name: tensor for name, tensor in state.items() if name not in structural_zeros.state(known)}
        return boundary.at_state(known, sides)

    # -- what comes out ------------------------------------------------------------------------------------------------

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Sigma, Omega (p×p), if they are wanted, M and S (n×p), at the boundaries where they are."""
        return estimates.estimates(params, prepared, whole=writes_square(self.square, prepared.data.p))

    def n_outside(self, prepared: Prepared) -> int:
        """Parameters outside the latent layer's covariance: d·p coefficients, and those of structural zeros."""
        zeros = 0 if prepared.inflation is None else prepared.inflation.n_parameters
        return prepared.data.d * prepared.data.p + zeros

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """½ sum_ij w_i log(2πe s_ij²) over the cells with a latent variable, in nats."""
        return estimates.entropy(params, prepared)

    def r2(self, params: Params, prepared: Prepared) -> float:
        """1 − deviance of the fitted means A against that of a Poisson model with intercept and offset alone."""
        return estimates.r2(params, prepared)

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite (n×p), the features on the boundary, where the others go, and factors of Sigma."""
        return estimates.state(params, prepared, whole=writes_square(self.square, prepared.data.p))

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


@dataclass(frozen=True)
class PLN(PoissonLogNormal):
    """With a covariance that is full, diagonal, spherical, or fixed at the inverse of `precision` (p×p).

    sigma: whether Sigma and Omega, p×p, are wanted; None: unless there are very many features.
    """

    spec: ClassVar[Spec] = SPEC
    covariance: str = "full"
    precision: Tensor | None = None
    sigma: bool | None = None
    zero_inflation: str = "none"

    def __post_init__(self) -> None:
        _ = self.structure  # which checks the two

    @classmethod
    def of(cls, own: Mapping[str, Any], matrices: Mapping[str, Tensor]) -> Model[Any]:  # type: ignore[override]
        """The model with these settings: another one where its mean is neural, or q has a full covariance.

        Unless that is no different.
        """
        if has_network(own):
            from plncli.models.pln.neural.model import NeuralPLN

            return NeuralPLN.of(own, matrices)
        if not has_full_posterior(own):
            return super().of(own, matrices)
        from plncli.models.pln.posterior.model import FullPLN

        return FullPLN.of(own, matrices)

    @property
    def structure(self) -> Structure:
        """Of Sigma."""
        return Structure(self.covariance, self.precision)

    def structure_of(self, data: Dataset) -> Structure:
        """Of Sigma, whatever the data."""
        return self.structure

    @property
    def zeros(self) -> str:
        """As it was set."""
        return self.zero_inflation

    @property
    def square(self) -> bool | None:
        """As it was set."""
        return self.sigma

    def among(self, responses: Tensor) -> PLN:
        """The model of some features alone: a precision that is given becomes that of their marginal distribution."""
        if self.precision is None:
            return self
        Sigma = torch.linalg.inv(self.precision)[responses][:, responses]
        return replace(self, precision=torch.linalg.inv(Sigma))

    def conditional(self, params: Params, prepared: Prepared) -> tuple[Model[Prepared], Prepared]:
        """The variational step: B and Omega held where they are best for `params` (the exact M-step)."""
        return self, conditional(params, prepared)

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """Beside those outside the covariance p(p + 1)/2, p, 1 or 0 parameters of Sigma."""
        return self.n_outside(prepared) + self.structure.n_parameters(prepared.data.p)
