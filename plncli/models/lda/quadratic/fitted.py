"""What a finished quadratic analysis answers: of each sample what a fit to its group alone does.

There are no discriminant axes: they are directions in the metric of one covariance that all groups have, and groups
with the same mean and other covariances would lie on one point of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.abilities import Diagnosis, LatentCells, LatentValues, Prediction, Score, Simulated, Zeros
from plncli.models.lda.grouped import Grouped, columns
from plncli.models.pln.finished.diagnosing import diagnosis
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.finished.importance import LogLikelihood

T = TypeVar("T")


@dataclass(frozen=True)
class FittedQDA(Grouped):
    """A finished fit: groups each of which has coefficients and a covariance of its own."""

    def member(self, group: int) -> FittedPLN:
        """The fit of a group."""
        return self.members[group]

    @cached_property
    def members(self) -> tuple[FittedPLN, ...]:
        """The fits of the groups."""
        return tuple(self._member(g) for g in range(len(self.places)))

    def _member(self, g: int) -> FittedPLN:
        """Its rows of the design are 0 but in the columns of the group, so that it can have the coefficients of all."""
        rows, variances = self.group_of == g, self.tensor("V_g")[g]
        own = {name: self.tensor(name)[rows] for name in ("M_finite", "S")}
        limits = {name: value for name, value in self.state.items() if "courses" in name}
        layer: dict[str, Tensor] = {}
        if "Sigma_g" in self.estimates:
            layer = {"Sigma": self.tensor("Sigma_g")[g]}
        elif "D_g" in self.state:
            own |= {"D": self.tensor("D_g")[g], "V": self.tensor("V")[rows] / self._shares[g].sqrt()}
        else:
            own |= {"D": variances, "V": variances.new_zeros((0, len(variances)))}
        estimates, state = {"B": self.B, **layer}, {"B_finite": self.B, **own, **limits}
        return FittedPLN(self.spec, self.terms, self.responses, estimates, state, self.inference)

    @property
    def _shares(self) -> Tensor:
        """Of the groups in the weight of all samples of the fit, (G,)."""
        return self.tensor("x_mean")[self.places]

    # -- rows of a group -----------------------------------------------------------------------------------------------

    @cached_property
    def _places(self) -> Tensor:
        """The column of each group and covariate, by index, G×c; −1 where a group has no such covariate."""
        owner, covariate = (self.tensor(name).long() for name in ("owner", "covariate"))
        ranges = ((owner, len(self.places)), (covariate, len(owner)))
        if any(bool(((codes < 0) | (codes >= most)).any()) for codes, most in ranges):
            raise DataError("The fit has columns of the design that are of no group: fit again.")
        made = torch.full((len(self.places), int(covariate.max()) + 1), -1)
        made[owner, covariate] = torch.arange(len(owner))
        return made

    def _covariates(self, X: Tensor) -> Tensor:
        """Of samples (m×d, of the design), whatever group that has them in, m×c; the first is 1."""
        return X.new_zeros((len(X), self._places.shape[1])).index_add_(1, self.tensor("covariate").long(), X)

    def in_group(self, X: Tensor, group: int) -> Tensor:
        """Rows of the design (m×d) as if the samples were of that group, without covariates that it has not."""
        at, made = self._places[group], torch.zeros_like(X)
        made[:, at[at >= 0]] = self._covariates(X)[:, at >= 0]
        return made

    def unlike(self, X: Tensor) -> Tensor:
        """Samples (m×d, of the design) with covariates that some group has no sample with, (m,) booleans."""
        lacking = (self._places < 0).any(0)
        return (self._covariates(X)[:, lacking] != 0).any(1)

    def _by_group(self, X: Tensor, ask: Callable[[FittedPLN, Tensor], T]) -> T:
        """What fits of the groups answer of their samples, by index, in the order of all (m×d, of the design)."""
        group = X[:, self.places].argmax(1)
        rows = [(group == g).nonzero()[:, 0] for g in range(len(self.places))]
        asked = [(member, at) for member, at in zip(self.members, rows, strict=True) if len(at)] or [
            (self.members[0], rows[0])
        ]
        return gathered([ask(*pair) for pair in asked], [at for _, at in asked], len(X))

    # -- expected counts and latent values -----------------------------------------------------------------------------

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """As `FittedPLN.predict`."""
        return self._by_group(X, lambda member, at: member.predict(X[at], O[at], intervals, level))

    def fitted_values(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Prediction:
        """As `FittedPLN.fitted_values`."""
        return self._by_group(X, lambda member, at: member.fitted_values(X[at], O[at], Y[at], K[at]))

    def transform(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> LatentValues:
        """q of each sample in the model of its group."""
        return self._by_group(X, lambda member, at: member.transform(X[at], O[at], Y[at], K[at]))

    def conditional(
        self,
        X: Tensor,
        O: Tensor,
        Y: Tensor,
        observed: Tensor,
        K: Tensor,
        intervals: Sequence[str] = (),
        level: float = 0.95,
    ) -> Prediction:
        """As `FittedPLN.conditional`."""

        def of_group(member: FittedPLN, at: Tensor) -> Prediction:
            return member.conditional(X[at], O[at], Y[at], observed, K[at], intervals, level)

        return self._by_group(X, of_group)

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """Counts and latent values, of one group after the other."""
        return self._by_group(X, lambda member, at: member.simulate(X[at], O[at], generator))

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The bound of each sample, and deviances, as `FittedPLN` has them."""
        return self._by_group(X, lambda member, at: member.score_samples(X[at], O[at], Y[at], scored[at]))

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of counts that were hidden, given the others of their samples."""
        return self._of_fit(data, lambda member, own, at: member.score_cells(own, Y[at], scored[at]))

    # -- diagnosis -----------------------------------------------------------------------------------------------------

    def _of_fit(self, data: Dataset, ask: Callable[[FittedPLN, Dataset, Tensor], T]) -> T:
        """What fits of the groups answer of the samples of the fit."""
        return self._by_group(data.X, lambda member, at: ask(member, data.take(at, torch.ones_like(at)), at))

    def cells(self, data: Dataset) -> LatentCells:
        """The counts of the fit; observed ones whose expected value is 0 or not estimable do not count."""

        def of_group(member: FittedPLN, own: Dataset, _: Tensor) -> LatentCells:
            found = member.cells(own)
            return LatentCells(found.Y, found.K, found.mean, found.variances.expand_as(found.Y))

        return self._of_fit(data, of_group)

    def count_residuals(self, data: Dataset, generator: Generator) -> Tensor:
        """Randomised quantile residuals n×p, nan where a cell does not count."""
        return self._of_fit(data, lambda member, own, _: member.count_residuals(own, generator))

    def expected_zeros(self, data: Dataset) -> Zeros:
        """Zeros of each feature among the cells that count, beside what the model expects."""
        rows = [(self.group_of == g).nonzero()[:, 0] for g in range(len(self.places))]
        each = [
            member.expected_zeros(data.take(at, torch.ones_like(at)))
            for member, at in zip(self.members, rows, strict=True)
        ]
        counted, expected, variance = (
            torch.stack(values).sum(0)
            for values in zip(*((one.counted, one.expected, one.sd.square()) for one in each), strict=True)
        )
        return Zeros(counted, expected, variance.sqrt())

    def mean_residuals(self, data: Dataset) -> Tensor:
        """As `FittedPLN.mean_residuals`, (n,)."""
        return self._of_fit(data, lambda member, own, _: member.mean_residuals(own))

    def bounds(self, data: Dataset) -> Tensor:
        """The ELBO of each sample of the fit (n,)."""
        return self._of_fit(data, lambda member, own, _: member.bounds(own))

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """The bound, the likelihood, zeros, and residuals."""
        R = self.count_residuals(data, generator)
        independent = all(member.latent.independent for member in self.members)
        found: LogLikelihood | None = None
        if draws or independent:
            found = self._of_fit(data, lambda member, own, _: member.likelihood(own, draws, generator))
        counting, zero = int(self.cells(data).K.sum()), self.expected_zeros(data)
        return diagnosis(data, self.bounds(data), found, R, zero, counting, draws, independent=independent)

    # -- tables --------------------------------------------------------------------------------------------------------

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Means, variances, and full covariances of the groups; how held-out samples are classified."""
        groups, p = list(self.groups), len(self.responses)
        found = self.tables_of_groups(samples)
        found["group_variances"] = {"group": groups} | columns(self.tensor("V_g"), self.responses)
        if "Sigma_g" in self.estimates:
            found["group_covariances"] = {
                "group": [name for name in groups for _ in range(p)],
                "feature": list(self.responses) * len(groups),
            } | columns(self.tensor("Sigma_g").flatten(0, 1), self.responses)
        return found


def gathered(answers: Sequence[Any], rows: Sequence[Tensor], m: int) -> Any:
    """Answers of groups of samples at the places of these among m: tables by row, names as the first has them."""
    first = answers[0]
    if isinstance(first, Tensor):
        made = first.new_empty((m, *first.shape[1:]))
        for own, at in zip(answers, rows, strict=True):
            made[at] = own
        return made
    if isinstance(first, bool):
        return all(answers)
    if isinstance(first, dict):
        return {name: gathered([own[name] for own in answers], rows, m) for name in first}
    names = [field.name for field in fields(first)] if is_dataclass(first) else getattr(first, "_fields", ())
    if not names:
        return first
    return type(first)(*(gathered([getattr(own, name) for own in answers], rows, m) for name in names))
