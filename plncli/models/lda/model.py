"""The Poisson log-normal model of groups of samples: `PLN`, whose design begins with a column a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.models.base import Model
from plncli.models.lda.groups import known, number_of_groups, prior_of_terms
from plncli.models.lda.spec import LDA as SPEC
from plncli.models.lda.spec import PRIORS
from plncli.models.pln.model import PLN
from plncli.models.pln.prepared import Prepared
from plncli.models.spec import Spec


@dataclass(frozen=True)
class LDA(PLN):
    """Z_i ~ N(mu_g + B'x_i, Sigma) for a sample of group g.

    groups: the column that names them; prior: as it was set.
    """

    spec: ClassVar[Spec] = SPEC
    groups: str | None = None
    prior: str = PRIORS[0]

    @classmethod
    def of(cls, own: Mapping[str, Any], matrices: Mapping[str, Tensor]) -> Model[Any]:  # type: ignore[override]
        """The model with these settings: another one where each group has a covariance of its own."""
        if own.get("quadratic"):
            from plncli.models.lda.quadratic.model import QDA

            return QDA.of(own, matrices)
        return super(PLN, cls).of(own, matrices)

    def prepare(self, data: Dataset) -> Prepared:
        """As `PLN` does. DataError for a prior of other groups."""
        prior_of_terms(data, self.groups, self.prior)
        return super().prepare(data)

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """That of `PLN`, and what tells groups (`groups.known`)."""
        return super().state(params, prepared) | known(prepared.data, self.groups, self.prior)

    def facts(self, params: Params, prepared: Prepared, bic: float) -> dict[str, float]:
        """How many axes there can be."""
        groups = number_of_groups(prepared.data, self.groups)
        return {"axes": min(max(groups - 1, 0), len(prepared.latent))}
