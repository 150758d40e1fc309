"""What a finished discriminant analysis answers: as `FittedPLN`, which group samples are of, and along which axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.models.abilities import DiscriminantAxes
from plncli.models.fitted import Fitted
from plncli.models.lda.discriminant import axes
from plncli.models.lda.grouped import Grouped, columns
from plncli.models.pln.finished.fitted import FittedPLN


@dataclass(frozen=True)
class FittedLDA(Grouped, FittedPLN):
    """A finished fit: with the groups of its samples, and the axes that tell them apart."""

    @classmethod
    def answering(cls, state: Mapping[str, Any]) -> type[Fitted]:
        """What else answers where each group has a covariance of its own."""
        from plncli.models.lda.quadratic.fitted import FittedQDA

        return FittedQDA if "owner" in state else cls

    def member(self, group: int) -> FittedPLN:
        """The fit itself, whatever the group."""
        del group
        return self

    # -- what tells them apart -------------------------------------------------------------------------------------

    @cached_property
    def axes(self) -> DiscriminantAxes:
        """The discriminant axes, with the means that groups are taken to have."""
        X, number = self.tensor("x_mean")[None], len(self.places)
        means = (
            torch.cat([self.centres(X, g)[0] for g in range(number)]) if number else X.new_zeros((0, self.B.shape[1]))
        )
        return axes(means, self.tensor("x_mean")[self.places], self.latent)

    @cached_property
    def scores(self) -> Tensor:
        """Samples of the fit on the axes, n×r: their latent means, less what covariates add."""
        X, known = self.tensor("X"), self.axes
        mean, residual = known.means[self.group_of], self.tensor("M_finite") - X @ self.B
        return known.scores(mean + residual.masked_fill(self.limits(X) != 0, 0.0))

    def scores_of(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Tensor:
        """New samples on the axes, m×r, each about its most probable group."""
        found = self.discriminate(X, O, Y, K)
        best = found.log_posterior.nan_to_num(nan=-torch.inf).argmax(1)
        rows = torch.cat([self.in_group(X[[i]], g) for i, g in enumerate(best.tolist())])
        residual = self.transform(rows, O, Y, K).residual.nan_to_num(nan=0.0)
        return self.axes.scores(self.axes.means[best] + residual)

    # -- tables ----------------------------------------------------------------------------------------------------

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Axes, what lies on them, means, and how held-out samples are classified; and what structural zeros have."""
        found = super().further_tables(samples)
        if len(self.places) < 2:
            return found
        known, features = self.axes, {"feature": list(self.responses)}
        return (
            found
            | {
                "axes": features | columns(known.V, known.names),
                "scores": {"sample": list(samples), "group": self.named(self.group_of)}
                | columns(self.scores, known.names),
                "correlations": features | columns(known.correlations, known.names),
            }
            | self.tables_of_groups(samples)
        )
