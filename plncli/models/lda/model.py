"""The Poisson log-normal model of groups of samples: `PLN`, whose design begins with a column a group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.base import Model
from plncli.models.lda.spec import LDA as SPEC
from plncli.models.lda.spec import PRIORS, prior_of
from plncli.models.pln.model import PLN
from plncli.models.pln.prepared import Prepared
from plncli.models.spec import Spec
from plncli.numerics.rows import gram, total, weigh

HALF = 0.5
"""Of a count: what a feature is taken to have in a group that has none of it (Jeffreys' prior of a Poisson rate)."""


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
        """The model with these settings."""
        return super(PLN, cls).of(own, matrices)

    def prepare(self, data: Dataset) -> Prepared:
        """As `PLN` does. DataError for a prior of other groups."""
        self._prior(data)
        return super().prepare(data)

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """That of `PLN`, and what tells groups: X (n×d), x_mean (d,), prior (d,) and floor (d×p, see `floor`).

        What is of groups is in the places of their terms, 0 in others.
        """
        data = prepared.data
        shares = total(weigh(data.w, data.X)) / data.total_weight
        known = {"X": data.X, "x_mean": shares, "prior": self._prior(data), "floor": floor(data, self.groups)}
        return super().state(params, prepared) | known

    def facts(self, params: Params, prepared: Prepared, bic: float) -> dict[str, float]:
        """How many axes there can be."""
        groups = number_of_groups(prepared.data, self.groups)
        return {"axes": min(max(groups - 1, 0), len(prepared.latent))}

    def _prior(self, data: Dataset) -> Tensor:
        """(d,), summing to 1 over the groups."""
        made, number = data.X.new_zeros(data.d), number_of_groups(data, self.groups)
        if not number:
            return made
        if self.prior in PRIORS:
            shares = (
                total(weigh(data.w, data.X[:, :number])) if self.prior == PRIORS[0] else torch.ones_like(made[:number])
            )
        else:
            shares = self._given([label_of(term) for term in data.terms[:number]]).to(made)
        made[:number] = shares / shares.sum()
        return made

    def _given(self, groups: list[str]) -> Tensor:
        given = prior_of(self.prior)
        absent, other = [g for g in groups if g not in given], [g for g in given if g not in groups]
        if absent or other:
            fault = f"lacks {some(absent)}" if absent else f"has {some(other)}, which is no group"
            raise DataError(f"--prior {self.prior} {fault}. Give a number for each of the groups: {some(groups, 20)}.")
        return torch.tensor([given[group] for group in groups], dtype=torch.float64)


def label_of(term: str) -> str:
    """The group of its term: `a` of `tree[a]`."""
    return term.partition("[")[2].removesuffix("]")


def number_of_groups(data: Dataset, column: str | None) -> int:
    """How many of the first terms are groups: indicators of which each sample has one; 0 where there are none."""
    begin, left = f"{column}[", data.X.new_ones(data.n)
    for k, term in enumerate(data.terms):
        indicator = data.X[:, k]
        if column is None or not term.startswith(begin) or bool(((indicator != 0) & (indicator != 1)).any()):
            return 0
        left = left - indicator
        if bool((left == 0).all()):
            return k + 1
    return 0


def floor(data: Dataset, column: str | None) -> Tensor:
    """Log rate of half a count in all samples of a group together, d×p; 0 beside the groups' terms.

    It is where a feature is taken to be that has no count in a group: its coefficient, the limit of the likelihood, is
    −inf, so that a single count would exclude the group for sure. Less half the latent variance it is a latent mean.
    """
    number = number_of_groups(data, column)
    exposure = data.O.exp().expand_as(data.Y)
    exposure = weigh(data.w, exposure if data.K is None else exposure * data.K)
    found = gram(data.X[:, :number], exposure)
    made = data.Y.new_zeros((data.d, data.p))
    made[:number] = torch.where(found > 0, math.log(HALF) - found.log(), 0.0)
    return made
