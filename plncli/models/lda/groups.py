"""Groups in a design, as a fit is told of them: which terms they are, how frequent, and what they never show."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.lda.spec import PRIORS, prior_of
from plncli.numerics.rows import gram, total, weigh

HALF = 0.5
"""Of a count: what a feature is taken to have in a group that has none of it (Jeffreys' prior of a Poisson rate)."""


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


def prior_of_terms(data: Dataset, column: str | None, prior: str) -> Tensor:
    """Probabilities of the groups in the places of their terms, (d,), 0 in others. DataError for those of others."""
    made, number = data.X.new_zeros(data.d), number_of_groups(data, column)
    if not number:
        return made
    if prior in PRIORS:
        shares = total(weigh(data.w, data.X[:, :number])) if prior == PRIORS[0] else torch.ones_like(made[:number])
    else:
        shares = _given(prior, [label_of(term) for term in data.terms[:number]]).to(made)
    made[:number] = shares / shares.sum()
    return made


def _given(prior: str, groups: list[str]) -> Tensor:
    given = prior_of(prior)
    absent, other = [g for g in groups if g not in given], [g for g in given if g not in groups]
    if absent or other:
        fault = f"lacks {some(absent)}" if absent else f"has {some(other)}, which is no group"
        raise DataError(f"--prior {prior} {fault}. Give a number for each of the groups: {some(groups, 20)}.")
    return torch.tensor([given[group] for group in groups], dtype=torch.float64)


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


def known(data: Dataset, column: str | None, prior: str) -> dict[str, Tensor]:
    """What tells groups: X (n×d), its mean x_mean (d,), prior (d,) and floor (d×p).

    What is of groups is in the places of their terms, 0 in others.
    """
    mean = total(weigh(data.w, data.X)) / data.total_weight
    of_groups = {"prior": prior_of_terms(data, column, prior), "floor": floor(data, column)}
    return {"X": data.X, "x_mean": mean, **of_groups}
