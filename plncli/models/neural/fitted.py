"""What a finished fit with a neural mean answers: as one with a linear mean, with f(x) in place of x'B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from plncli.arrays import Params
from plncli.models.fitted import Fitted
from plncli.models.neural.effects import groups, level
from plncli.models.neural.network import Network


@dataclass(frozen=True)
class NeuralMean(Fitted):
    """The mean of a fit whose state holds a network."""

    @cached_property
    def network(self) -> tuple[Network, Params]:
        """The network, and its weights."""
        return Network.read(self.state)

    def mean(self, X: Tensor) -> Tensor:
        """f of the rows of X, n×p."""
        network, weights = self.network
        return network(weights, X).detach()

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`partial_effects`: of each covariate, value and response, the mean of f over samples, were all at the value.

        effect: how far that is from the level that f began at, that of a model without covariates.
        """
        del samples
        found = self.tensor("network_effects")
        known = {columns[0]: columns for columns in groups(self.terms)}
        covariates, values = [], []
        for k, value in found[:, :2].tolist():
            name, factor = self.terms[int(k)], len(known[int(k)]) > 1
            covariates.append(name.partition("[")[0] if factor else name)
            values.append(level(value, self.terms) if factor else f"{value:.6g}")
        means, p = found[:, 2:], len(self.responses)
        return {
            "partial_effects": {
                "covariate": [name for name in covariates for _ in range(p)],
                "value": [value for value in values for _ in range(p)],
                "response": list(self.responses) * len(found),
                "mean": means.reshape(-1),
                "effect": (means - self.tensor("network_level")).reshape(-1),
            }
        }
