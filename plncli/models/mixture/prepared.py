"""Data made ready for a mixture: checked, separated cells left out, the intercept apart from the rest of the design."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.mixture.objective import Evaluation, Table
from plncli.models.pln.emissions import log_factorials
from plncli.models.pln.prepared import check_counts
from plncli.models.pln.separation import Separated, counted_cells, separated_cells
from plncli.models.pln.structures import Diagonal, full
from plncli.numerics.linalg import Basis, orthonormal_basis
from plncli.numerics.rows import gram, total

HALF = UNSEEN = 0.5
"""Counts of a feature in a cluster, by probabilities, below which it is not seen there."""


def unseen(at: Evaluation) -> Tensor:
    """Features that a cluster never shows, K×p: their mean there is as low as the tolerance of the fit asks."""
    counts = at.table.Y if at.table.K is None else at.table.Y * at.table.K
    return (at.W @ counts < UNSEEN) & (at.many > 1)


def floor(at: Evaluation) -> Tensor:
    """Latent means that lead to half a count in all samples of a cluster together, K×p.

    It is what a feature is taken to have in a cluster that never shows it, where samples are put into clusters: a
    single count would exclude the cluster otherwise. Half a count is the mean of Jeffreys' posterior of a Poisson rate.
    """
    table = at.table
    rates = (table.O + table.T @ at.beta).exp().expand_as(table.Y)
    exposure = at.W @ (rates if table.K is None else rates * table.K)
    variances = torch.stack([part.layer.covariance().variances for part in at.parts]).expand(at.many, -1)
    found = math.log(HALF) - exposure.log() - 0.5 * variances
    return torch.where(torch.isfinite(found), found, at.mu)


@dataclass(frozen=True)
class Prepared:
    """Data, and the table of the objective. many: clusters.

    one: (d,), coefficients of the design that make a column of ones: each cluster has a mean of its own there; V:
    d×(d − 1), those of the basis that are left. separated, counted: as in `models.pln.prepared`. last: the latest
    evaluation.
    """

    data: Dataset
    many: int
    basis: Basis
    one: Tensor
    V: Tensor
    separated: Separated | None
    counted: Tensor | None
    table: Table
    last: dict[str, tuple[Params, Evaluation]] = field(default_factory=dict, repr=False, compare=False)

    def at(self, params: Params) -> Evaluation:
        """The evaluation there; the objective and the preconditioner ask for the same point in turn."""
        known = self.last.get("at")
        if known is None or any(not torch.equal(known[0][name], params[name]) for name in params):
            kept = {name: tensor.detach().clone() for name, tensor in params.items()}
            self.last.clear()
            known = self.last["at"] = (kept, Evaluation(kept, self.table))
        return known[1]

    def centre(self, at: Evaluation) -> Tensor:
        """Mean of the clusters' means, of those that show a feature, (p,)."""
        shares = at.log_pi.exp()[:, None] * ~unseen(at)
        return total(shares * at.mu) / total(shares).clamp_min(torch.finfo(at.mu.dtype).tiny)

    def coefficients(self, at: Evaluation) -> Tensor:
        """B (d×p), with the mean of the clusters for the intercept."""
        return self.one[:, None] * self.centre(at) + self.basis.coefficients(self.V @ at.beta)


def prepare(data: Dataset, many: int, covariance: str, *, shared: bool) -> Prepared:
    """DataError for what are no counts, for more clusters than samples, and for a design without an intercept."""
    check_counts(data)
    if many > data.n:
        raise DataError(f"--clusters {many} are more than the {data.n} samples. Give fewer.")
    basis = orthonormal_basis(data.X, data.w, data.terms)
    wbar = data.total_weight
    a = gram(basis.Q, data.w) / wbar
    if abs(float(a @ a) - 1.0) > torch.finfo(a.dtype).eps ** 0.5:
        raise DataError("A mixture needs an intercept, for each cluster has a mean of its own. Leave out `0 +`.")
    V = torch.linalg.svd(a[None], full_matrices=True).Vh[1:].mT.contiguous()
    separated = separated_cells(data)
    counted = counted_cells(data, separated)
    layer = full if covariance == "full" else partial(Diagonal, shared=covariance == "spherical")
    constant = log_factorials(data.Y, counted, data.w)
    table = Table(data.Y, data.O, counted, data.w, wbar, basis.Q @ V, layer, shared, constant)
    one = basis.coefficients(a[:, None])[:, 0]
    return Prepared(data, many, basis, one, V, separated, counted, table)
