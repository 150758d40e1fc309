"""What a fit leaves: estimates by symbol, how it was reached, how good it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from plncli.dataset import Dataset
from plncli.inference.criteria import Criteria
from plncli.inference.wald import Inference, tensors_of
from plncli.models.base import Model
from plncli.models.findings import Finding
from plncli.models.fitted import Fitted, fitted_of
from plncli.names import SE_CUT_SHORT
from plncli.optim.base import Optimum


@dataclass(frozen=True)
class FitResult:
    """A finished fit.

    estimates: by symbol; B is d×p and may hold ±inf (no finite estimate) or nan (not estimable).
    state: further tensors that prediction and a warm start need, saved with the model.
    inference: standard errors and what rests on them; None where there are none, which a finding explains.
    facts: what else the model tells of it in numbers, by name (`Model.facts`).
    """

    model: Model[Any]
    data: Dataset = field(repr=False)
    estimates: dict[str, Tensor] = field(repr=False)
    optimum: Optimum
    criteria: Criteria
    findings: tuple[Finding, ...] = ()
    state: dict[str, Tensor] = field(repr=False, default_factory=dict)
    inference: Inference | None = field(repr=False, default=None)
    facts: dict[str, float] = field(repr=False, default_factory=dict)

    @property
    def fitted(self) -> Fitted:
        """What the fit answers: predictions, draws, scores, whatever its model can."""
        data = self.data
        inference = {} if self.inference is None else tensors_of(self.inference)
        known = (self.estimates, self.state, inference, data.zero_terms)
        return fitted_of(self.model.spec, data.terms, data.responses, *known)

    @property
    def cut_short(self) -> bool:
        """Whether a limit or an interrupt came before all that was asked for was done."""
        cut = self.optimum.status.name in ("INTERRUPTED", "TIME_LIMIT", "MAX_ITER")
        return cut or any(finding.code == SE_CUT_SHORT for finding in self.findings)

    @property
    def converged(self) -> bool:
        """Whether the certificate found the optimum within the tolerance."""
        return self.optimum.status.name == "CONVERGED"

    @property
    def done(self) -> bool:
        """Whether it ended as it was meant to: converged, or trained, where no certificate can judge."""
        return self.optimum.status.done
