"""The model of groups each of which has coefficients and a covariance of its own: `PLN`, once for each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params, Parts
from plncli.dataset import Dataset
from plncli.errors import unfit
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.lda.groups import known, prior_of_terms
from plncli.models.lda.quadratic import errors
from plncli.models.lda.quadratic.estimates import estimates, finite_coefficients, state
from plncli.models.lda.quadratic.findings import findings
from plncli.models.lda.quadratic.prepared import Prepared, apart, prepare, together
from plncli.models.lda.spec import LDA as SPEC
from plncli.models.lda.spec import PRIORS
from plncli.models.pln.estimates import expected_counts, explained
from plncli.models.pln.model import PLN
from plncli.models.pln.prepared import Prepared as Part
from plncli.models.pln.separation import at_supremum
from plncli.models.pln.zeros.counting import cell_limits
from plncli.models.spec import Spec, writes_square
from plncli.models.uncertainty import Uncertainty


@dataclass(frozen=True)
class QDA(Model[Prepared]):
    """Z_i ~ N(mu_g + B_g'x_i, Sigma_g) for a sample of group g.

    groups: the column that names them; prior: as it was set; covariance: the structure of each; sigma: whether
    covariances, p×p, are wanted. The objective is the sum of those of the groups, which have nothing in common:
    parameters and derivatives are theirs, by the number of the group, and one certificate holds for all.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    groups: str | None = None
    prior: str = PRIORS[0]
    covariance: str = "full"
    sigma: bool | None = None

    @property
    def each(self) -> PLN:
        """The model of a group."""
        return PLN(covariance=self.covariance, sigma=self.sigma)

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts, groups, and the design of each. DataError for a prior of other groups."""
        prior_of_terms(data, self.groups, self.prior)
        return prepare(data, self.groups, self.each.prepare)

    # -- where it begins -----------------------------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """Of each group as of a fit to it alone."""
        each = self.each
        begun = [each.start(group.part, _own(init, group.rows, group.features)) for group in prepared.groups]
        return together(begun)

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended, its boundaries included."""
        known = [(group.part, _own(init, group.rows, group.features) or {}) for group in prepared.groups]
        return self._rejoined(prepared, [self.each.resume(*pair) for pair in known])

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def _groups(self, params: Params, prepared: Prepared) -> list[tuple[Params, Part]]:
        """What each group's model has for its parameters and data."""
        return list(zip(apart(params, len(prepared.groups)), prepared.parts, strict=True))

    def _rejoined(self, prepared: Prepared, found: list[tuple[Params, Part]]) -> tuple[Params, Prepared]:
        return together([params for params, _ in found]), prepared.having([part for _, part in found])

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included: the sum over groups."""
        return torch.stack([self.each.objective(*group) for group in self._groups(params, prepared)]).sum()

    def at(self, params: Params, prepared: Prepared) -> Parts:
        """The objectives of the groups."""
        found = [self.each.at(*group) for group in self._groups(params, prepared)]
        return Parts(together([at.parts for at in found if isinstance(at, Parts)]))

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Those of the groups side by side."""
        own = [self.each.preconditioner(*group) for group in self._groups(params, prepared)]
        return lambda v: together([apply(part) for apply, part in zip(own, apart(v, len(own)), strict=True)])

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonals of the preconditioners' blocks."""
        return together([self.each.curvature(*group) for group in self._groups(params, prepared)])

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """B and Sigma held where they are, q where it is best for them."""
        return self._rejoined(prepared, [self.each.settle(*group) for group in self._groups(params, prepared)])

    def conditional(self, params: Params, prepared: Prepared) -> tuple[Model[Prepared], Prepared]:
        """The variational step of each group."""
        found = [self.each.conditional(*group)[1] for group in self._groups(params, prepared)]
        return self, prepared.having(found)

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X, X0, "none")

    # -- features without variance in a group --------------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether some group has a feature with little but q's own variance left."""
        return any(self.each.degenerate(*group) for group in self._groups(params, prepared))

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Move features of groups to the boundary, or, once `settled`, back. None: all stand."""
        groups = self._groups(params, prepared)
        found = [self.each.revise(*group, settled=settled) for group in groups]
        if all(changed is None for changed in found):
            return None
        return self._rejoined(prepared, [new or old for new, old in zip(found, groups, strict=True)])

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """The active sets of the groups, and what was tried."""
        return together([self.each.boundary_state(part) for part in prepared.parts])

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The data split as `state` says; DataError unless it is of these groups."""
        if {*state} != {*self.boundary_state(prepared)}:
            raise unfit("it splits the features of other groups")
        own = zip(prepared.parts, apart(state, len(prepared.groups)), strict=True)
        return prepared.having([self.each.at_boundary_state(part, known) for part, known in own])

    # -- what comes out ------------------------------------------------------------------------------------------------

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), the variances of the groups (G×p), their covariances and the mean of these, M and S (n×p)."""
        return estimates(self._groups(params, prepared), prepared, whole=self._whole(prepared), full=self._full)

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """What `estimates` leaves to be known, and what tells groups (`groups.known`)."""
        own = state(self._groups(params, prepared), prepared, whole=self._whole(prepared), full=self._full)
        return own | known(prepared.data, self.groups, self.prior)

    def _whole(self, prepared: Prepared) -> bool:
        return writes_square(self.sigma, prepared.data.p)

    @property
    def _full(self) -> bool:
        return self.covariance == "full"

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """Those of all groups: a coefficient for each feature, and covariances of those that have a count there."""
        own = sum(self.each.n_parameters(part) for part in prepared.parts)
        return own + sum(len(group.terms) * (prepared.data.p - len(group.features)) for group in prepared.groups)

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """Of q, in nats."""
        return sum(self.each.entropy(*group) for group in self._groups(params, prepared))

    def r2(self, params: Params, prepared: Prepared) -> float:
        """Share of the null deviance that the fitted means explain."""
        fitted = prepared.of_cells([expected_counts(*group) for group in self._groups(params, prepared)])
        return explained(prepared.data, at_supremum(fitted, prepared.separated, 0.0))

    def default_se(self, prepared: Prepared) -> str | Finding:
        """`sandwich`, unless that would take long, or clusters of samples lie in several groups."""
        return errors.default_se(prepared, self.each)

    def uncertainty(
        self, params: Params, prepared: Prepared, method: str, gap: float, cancelled: Callable[[], bool]
    ) -> Uncertainty | Finding:
        """Covariance of B, 0 between groups: their samples are independent."""

        def own(group: tuple[Params, Part]) -> Uncertainty | Finding:
            return self.each.uncertainty(*group, method, gap, cancelled)

        return errors.uncertainty(prepared, [own(group) for group in self._groups(params, prepared)])

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Those of all counts, and what is said of single groups."""
        groups = self._groups(params, prepared)
        own = [self.each.findings(*group, gap) for group in groups]
        return findings(prepared, finite_coefficients(groups, prepared), own)


def _own(init: Init | None, rows: Tensor, features: Tensor) -> dict[str, Tensor] | None:
    """What a fit to some samples and features starts from."""
    if init is None:
        return None
    names = ("M_finite", "S")
    return {name: init[name].to(rows.device)[rows][:, features] for name in names}
