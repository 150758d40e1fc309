"""What every finished fit with groups answers: which group samples are of, and how well held-out ones are told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from plncli.errors import DataError
from plncli.models.abilities import Discriminated
from plncli.models.fitted import Fitted
from plncli.models.lda.groups import label_of
from plncli.models.pln.finished import scoring
from plncli.models.pln.finished.fitted import FittedPLN

FLOORED = "taken as expected with half a count in all samples of a group that has no count of their feature"
UNKNOWN = "left out of the probabilities of groups, for what some group expects there is not estimable"


@dataclass(frozen=True)
class Grouped(Fitted):
    """A finished fit with the groups of its samples."""

    @abstractmethod
    def member(self, group: int) -> FittedPLN:
        """What answers for samples of a group, if their design says that they are of it."""

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

    def unlike(self, X: Tensor) -> Tensor:
        """Samples (m×d, of the design) of which some group tells nothing, (m,) booleans."""
        return torch.zeros(len(X), dtype=torch.bool)

    def centres(self, X: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latent means of samples (m×d, of the design) were they of a group, m×p; where they have none; and are taken.

        Where the likelihood has its supremum at −inf, the mean is taken that half a count leads to (`groups.floor`).
        """
        X = self.in_group(X, group)
        limits, C = self.limits(X), X @ self.B
        low = self.tensor("floor")[self.places[group]] - 0.5 * self.member(group).latent.variances
        return torch.where(limits < 0, low, C), limits.isnan() | (limits > 0), limits < 0

    def discriminate(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Discriminated:
        """log P(group | counts) = log prior + ELBO of the sample in the group + constant."""
        number = len(self.places)
        if not number:
            raise DataError("The fit has no groups. Fit again, with --groups COLUMN.")
        O = O.expand_as(Y)
        centres, unknown, taken = zip(*(self.centres(X, g) for g in range(number)), strict=True)
        lost, floored = torch.stack(unknown).any(0), torch.stack(taken).any(0)
        K = K & ~lost
        found, converged = [], []
        for g, C in enumerate(centres):
            member = self.member(g)
            scoring.check_possible(member.zeros, Y, K)
            bound, done = scoring.bounds(member, O, C, Y, member.telling(K).to(Y), O + C, K)
            found.append(bound)
            converged.append(done)
        lacking = ~torch.stack(converged, 1).all(1) | self.unlike(X)
        joint = torch.stack(found, 1).masked_fill(lacking[:, None], torch.nan) + self.prior.log()
        reasons = {FLOORED: floored & K & ~lost, UNKNOWN: lost}
        return Discriminated(self.groups, joint.log_softmax(1), joint.logsumexp(1), reasons)

    # -- tables ----------------------------------------------------------------------------------------------------

    @cached_property
    def means(self) -> Tensor:
        """Latent means of the groups at the mean of the covariates, G×p; −inf where a group has no count."""
        X = self.tensor("x_mean")[None]
        rows = torch.cat([self.in_group(X, g) for g in range(len(self.places))])
        limits = self.limits(rows)
        return torch.where(limits == 0, rows @ self.B, limits * torch.inf)

    def tables_of_groups(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`group_means`, and, of held-out samples, `classification` and `confusion`."""
        found = {"group_means": {"group": list(self.groups)} | columns(self.means, self.responses)}
        return found if self.held_out is None else found | self._held_out(samples, self.held_out)

    def named(self, codes: Tensor) -> list[str]:
        """The names of groups by index, empty for −1."""
        return [self.groups[code] if code >= 0 else "" for code in codes.tolist()]

    def _held_out(self, samples: Sequence[str], posterior: Tensor) -> dict[str, dict[str, Any]]:
        predicted = most_probable(posterior)
        of_samples = {
            "sample": list(samples),
            "group": self.named(self.group_of),
            "predicted": self.named(predicted),
            "fold": self.tensor("fold").long(),
        } | columns(posterior, [f"posterior_{group}" for group in self.groups])
        counts = confusion(self.group_of, predicted, len(self.groups))
        of_groups = {"group": list(self.groups)} | columns(counts, [f"predicted_{group}" for group in self.groups])
        return {"classification": of_samples, "confusion": of_groups}


def columns(values: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Columns of a table by name."""
    return dict(zip(names, values.mT.contiguous(), strict=True))


def most_probable(posterior: Tensor) -> Tensor:
    """The index of the most probable group of each sample, (n,); −1 where probabilities (n×G) are nan."""
    return torch.where(posterior.isnan().any(1), -1, posterior.nan_to_num(nan=0.0).argmax(1))


def confusion(truth: Tensor, predicted: Tensor, number: int) -> Tensor:
    """How many samples of each group are taken for each, G×G, of those with a prediction (not −1) and a group."""
    known = (predicted >= 0) & (truth >= 0)
    pairs = truth[known] * number + predicted[known]
    return torch.bincount(pairs, minlength=number * number).reshape(number, number)
