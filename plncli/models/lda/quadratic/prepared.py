"""Data of groups that are fitted side by side: whose the samples and columns of the design are, and each group's part.

A design has a block of columns for each group, 0 in the rows of others: an indicator, and the group's own covariates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, counted, some
from plncli.models.lda.groups import label_of, number_of_groups
from plncli.models.pln.prepared import Prepared as Part
from plncli.models.pln.prepared import check_counts, features_with_counts
from plncli.models.pln.separation import Separated, counted_cells, separated_cells

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """A group: its name, its samples, columns of the design and features with a count, by index, and its data."""

    name: str
    rows: Tensor
    terms: Tensor
    features: Tensor
    part: Part


@dataclass(frozen=True)
class Blocks:
    """Which group each column of the design is of, and which covariate it is there, (d,) each; 0 for the indicator."""

    owner: Tensor
    covariate: Tensor

    @staticmethod
    def of(data: Dataset, groups: int) -> Blocks:
        """Of a design whose first columns are the groups. DataError for a column of several of them."""
        shares = (data.X[:, :groups].mT @ (data.X != 0).to(data.X)) > 0
        several = (shares.sum(0) > 1).nonzero()[:, 0].tolist()
        if several:
            raise DataError(
                f"{counted(len(several), 'column')} of the design of several groups: "
                f"{some(data.terms[k] for k in several)}. With --quadratic, each group has coefficients of its own: "
                "write covariates as interactions with the groups."
            )
        owner = shares.to(torch.long).argmax(0)
        names = [data.terms[k].removeprefix(data.terms[owner[k]]) for k in range(data.d)]
        number = {name: place for place, name in enumerate(dict.fromkeys(names))}
        return Blocks(owner, torch.tensor([number[name] for name in names], device=owner.device))


@dataclass(frozen=True)
class Prepared:
    """Data, and those of each group. separated, counted: of all samples, as in `models.pln.prepared`."""

    data: Dataset
    blocks: Blocks
    groups: tuple[Group, ...]
    separated: Separated | None
    counted: Tensor | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The data of the groups."""
        return tuple(group.part for group in self.groups)

    def having(self, parts: Sequence[Part]) -> Prepared:
        """With other data of the groups."""
        pairs = zip(self.groups, parts, strict=True)
        return replace(self, groups=tuple(replace(group, part=part) for group, part in pairs))

    def across(
        self, sizes: Sequence[int], of: Callable[[Group], tuple[Tensor, ...]], values: Sequence[Tensor]
    ) -> Tensor:
        """A table of these sizes that holds the values of each group at its indices, 0 elsewhere."""
        made = self.data.Y.new_zeros(tuple(sizes))
        for group, own in zip(self.groups, values, strict=True):
            made[torch.meshgrid(*of(group), indexing="ij")] = own
        return made

    def of_cells(self, values: Sequence[Tensor]) -> Tensor:
        """Of samples and features, n×p; 0 where a group has no count of a feature."""
        return self.across((self.data.n, self.data.p), lambda group: (group.rows, group.features), values)

    def of_coefficients(self, values: Sequence[Tensor]) -> Tensor:
        """Of columns of the design and features, d×p."""
        return self.across((self.data.d, self.data.p), lambda group: (group.terms, group.features), values)


def together(parts: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """What groups have by name, under names that tell the group."""
    return {f"{name}_{k}": value for k, part in enumerate(parts) for name, value in part.items()}


def apart(known: Mapping[str, T], number: int) -> list[dict[str, T]]:
    """Undo `together`, of so many groups."""
    made: list[dict[str, T]] = [{} for _ in range(number)]
    for name, value in known.items():
        own, _, k = name.rpartition("_")
        made[int(k)][own] = value
    return made


def prepare(data: Dataset, column: str | None, prepare_one: Callable[[Dataset], Part]) -> Prepared:
    """DataError for what are no counts or groups, and for groups too small for a model of their own."""
    check_counts(data)
    number = number_of_groups(data, column)
    if not number:
        raise DataError("The design has no groups, so there are no covariances of theirs. Leave --quadratic out.")
    blocks = Blocks.of(data, number)
    members = [data.X[:, g] != 0 for g in range(number)]
    _check_sizes([label_of(term) for term in data.terms[:number]], members, blocks)
    separated = separated_cells(data)
    groups = [_group(data, g, rows, blocks, prepare_one) for g, rows in enumerate(members)]
    return Prepared(data, blocks, tuple(groups), separated, counted_cells(data, separated))


def _check_sizes(names: Sequence[str], members: Sequence[Tensor], blocks: Blocks) -> None:
    small = [
        (name, int(rows.sum()), many)
        for g, (name, rows) in enumerate(zip(names, members, strict=True))
        if int(rows.sum()) <= (many := int((blocks.owner == g).sum()))
    ]
    if small:
        name, n, d = small[0]
        raise DataError(
            f"{counted(len(small), 'group')} with too few samples for a covariance of its own: "
            f"{some(f'{each} ({size})' for each, size, _ in small)}. With {counted(d, 'coefficient')} a feature, "
            f"the {counted(n, 'sample')} of {name} leave nothing that tells of its variances. Leave --quadratic out, "
            "which takes one covariance for all groups; or merge such groups, or take fewer covariates."
        )


def _group(data: Dataset, g: int, member: Tensor, blocks: Blocks, prepare_one: Callable[[Dataset], Part]) -> Group:
    name = label_of(data.terms[g])
    rows, terms = member.nonzero()[:, 0], (blocks.owner == g).nonzero()[:, 0]
    own = data.take(rows, torch.ones_like(rows))
    features = features_with_counts(own).nonzero()[:, 0]
    if not len(features):
        raise DataError(f"Group {name} has no count at all, so no covariance of its own. Leave it out.")
    own = own.among(terms, features)
    if data.clusters is not None:
        own = replace(own, clusters=data.clusters[rows].unique(return_inverse=True)[1])
    try:
        return Group(name, rows, terms, features, prepare_one(own))
    except DataError as error:
        raise DataError(f"In group {name}: {error}") from None
