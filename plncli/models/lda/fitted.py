"""What a finished discriminant analysis answers: as `FittedPLN`, and which group samples are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.errors import DataError
from plncli.models.abilities import DiscriminantAxes, Discriminated
from plncli.models.lda.discriminant import axes
from plncli.models.lda.model import label_of
from plncli.models.pln.finished import scoring
from plncli.models.pln.finished.fitted import FittedPLN

FLOORED = "taken as expected with half a count in all samples of a group that has no count of their feature"
UNKNOWN = "left out of the probabilities of groups, for what some group expects there is not estimable"


@dataclass(frozen=True)
class FittedLDA(FittedPLN):
    """A finished fit: with the groups of its samples, and the axes that tell them apart."""

    @cached_property
    def places(self) -> Tensor:
        """The terms that are groups, by index (G,)."""
        return self.tensor("prior").nonzero()[:, 0]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the G groups."""
        return tuple(label_of(self.terms[k]) for k in self.places.tolist())

    @property
    def group_of(self) -> Tensor:
        """The group of each sample of the fit, (n,), by index."""
        return self.tensor("X")[:, self.places].argmax(1)

    @property
    def prior(self) -> Tensor:
        """(G,), summing to 1."""
        return self.tensor("prior")[self.places]

    @property
    def held_out(self) -> Tensor | None:
        """Probability of each group for each sample of the fit, held out from the fit that tells it, n×G, or None.

        nan for samples that could not be classified.
        """
        return self.tensor("held_out")[:, self.places] if "held_out" in self.state else None

    # -- which group -----------------------------------------------------------------------------------------------

    def in_group(self, X: Tensor, group: int) -> Tensor:
        """Rows of the design (m×d) as if the samples were of that group."""
        X = X.clone()
        X[:, self.places] = 0.0
        X[:, self.places[group]] = 1.0
        return X

    def centres(self, X: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latent means of samples (m×d, of the design) were they of a group, m×p; where they have none; and are taken.

        Where the likelihood has its supremum at −inf, the mean is taken that half a count leads to (`model.floor`).
        """
        X = self.in_group(X, group)
        limits, C = self.limits(X), X @ self.B
        low = self.tensor("floor")[self.places[group]] - 0.5 * self.latent.variances
        return torch.where(limits < 0, low, C), limits.isnan() | (limits > 0), limits < 0

    def discriminate(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Discriminated:
        """log P(group | counts) = log prior + ELBO of the sample in the group + constant."""
        if not len(self.places):
            raise DataError("The fit has no groups. Fit again, with --groups COLUMN.")
        O = O.expand_as(Y)
        centres, unknown, taken = zip(*(self.centres(X, g) for g in range(len(self.places))), strict=True)
        lost, floored = torch.stack(unknown).any(0), torch.stack(taken).any(0)
        K = K & ~lost
        scoring.check_possible(self.zeros, Y, K)
        counted, found, converged = self.telling(K).to(Y), [], []
        for C in centres:
            bound, done = scoring.bounds(self, O, C, Y, counted, O + C, K)
            found.append(bound)
            converged.append(done)
        bounds = torch.stack(found, 1).masked_fill(~torch.stack(converged, 1).all(1, keepdim=True), torch.nan)
        reasons = {FLOORED: floored & K & ~lost, UNKNOWN: lost}
        joint = bounds + self.prior.log()
        return Discriminated(self.groups, joint.log_softmax(1), joint.logsumexp(1), reasons)

    # -- what tells them apart -------------------------------------------------------------------------------------

    @cached_property
    def means(self) -> Tensor:
        """Latent means of the groups at the mean of the covariates, G×p; −inf where a group has no count."""
        X = self.tensor("x_mean").expand(len(self.places), -1)
        rows = torch.stack([self.in_group(X[[g]], g)[0] for g in range(len(self.places))])
        limits = self.limits(rows)
        return torch.where(limits == 0, rows @ self.B, limits * torch.inf)

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

        def columns(values: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
            return dict(zip(names, values.mT.contiguous(), strict=True))

        found |= {
            "axes": features | columns(known.V, known.names),
            "scores": {"sample": list(samples), "group": self._named(self.group_of)}
            | columns(self.scores, known.names),
            "correlations": features | columns(known.correlations, known.names),
            "group_means": {"group": list(self.groups)} | columns(self.means, self.responses),
        }
        return found if self.held_out is None else found | self._held_out(samples, self.held_out)

    def _named(self, codes: Tensor) -> list[str]:
        """The names of groups by index, empty for −1."""
        return [self.groups[code] if code >= 0 else "" for code in codes.tolist()]

    def _held_out(self, samples: Sequence[str], posterior: Tensor) -> dict[str, dict[str, Any]]:
        predicted, names = most_probable(posterior), [f"posterior_{group}" for group in self.groups]
        of_samples = {
            "sample": list(samples),
            "group": self._named(self.group_of),
            "predicted": self._named(predicted),
            "fold": self.tensor("fold").long(),
        } | dict(zip(names, posterior.mT.contiguous(), strict=True))
        counts = confusion(self.group_of, predicted, len(self.groups))
        of_groups = {"group": list(self.groups)} | {
            f"predicted_{group}": counts[:, g].clone() for g, group in enumerate(self.groups)
        }
        return {"classification": of_samples, "confusion": of_groups}


def most_probable(posterior: Tensor) -> Tensor:
    """The index of the most probable group of each sample, (n,); −1 where probabilities (n×G) are nan."""
    return torch.where(posterior.isnan().any(1), -1, posterior.nan_to_num(nan=0.0).argmax(1))


def confusion(truth: Tensor, predicted: Tensor, number: int) -> Tensor:
    """How many samples of each group are taken for each, G×G, of those with a prediction (not −1) and a group."""
    known = (predicted >= 0) & (truth >= 0)
    pairs = truth[known] * number + predicted[known]
    return torch.bincount(pairs, minlength=number * number).reshape(number, number)
