"""Data made ready for the solver: checked, separated cells left out, and split at the boundary Sigma_jj = 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.inflation.cells import NODES, Nodes
from plncli.models.inflation.entries import Inflation, Zeros
from plncli.models.pln.boundary.poisson import PoissonTable
from plncli.models.pln.elbo import Evaluation, LatentTable
from plncli.models.pln.emissions import Poisson, log_factorials
from plncli.models.pln.means import Linear, Mean
from plncli.models.pln.separation import Separated
from plncli.models.pln.structures import LatentStructure, LayerAt
from plncli.models.pln.zeros.counting import counting
from plncli.models.pln.zeros.emission import ZeroInflated
from plncli.numerics.linalg import Basis, orthonormal_basis
from plncli.numerics.rows import total
from plncli.sparse import column_totals, values_of


@dataclass(frozen=True)
class Later:
    """Probabilities of structural zeros, and a start with them, of that value, on data as they are at first."""

    inflation: Inflation
    params: Params
    value: float


@dataclass(frozen=True)
class Prepared:
    """Data split for the solver: `latent` features have a latent layer, `poisson` ones sit at Sigma_jj = 0.

    separated: what has no finite estimate, None where there is nothing; counted: n×p, 1 where the cell counts
    (observed and not separated), None when all do; latent, poisson: (q,) and (p − q,) indices of features, ascending;
    tried: (p,) variance at which a feature was last kept off the boundary, inf for never; returns: (p,) how often it
    came back from there. inflation: probabilities of structural zeros, None without any; nodes: of quadrature, for
    them; later: what a fit without them goes on with. held: a mean and a structure that do not follow the latent means,
    as in the variational step.
    """

    data: Dataset
    basis: Basis
    structure: LatentStructure
    separated: Separated | None
    counted: Tensor | None
    latent: Tensor
    poisson: Tensor
    tried: Tensor
    returns: Tensor
    inflation: Inflation | None = None
    nodes: int = NODES
    later: Later | None = None
    held: tuple[Mean, LayerAt] | None = None

    @cached_property
    def w(self) -> Tensor | None:
        """Weights of the samples (n,), None for ones."""
        return None if bool((self.data.w == 1).all()) else self.data.w

    @cached_property
    def _emission(self) -> Poisson | ZeroInflated:
        cells = Poisson(*self._cells(self.latent))
        if self.inflation is None:
            return cells
        zeros = Zeros.among(cells.Y, cells.K, self.w, self.inflation, self.latent)
        return ZeroInflated(cells, zeros, Nodes.of(self.nodes, cells.Y))

    @cached_property
    def table(self) -> LatentTable[Poisson | ZeroInflated]:
        """The objective of the latent features."""
        wbar = self.data.total_weight
        mean, layer = self.held or (Linear(self.basis.Q, self.w, wbar), self.structure.layer(self.latent))
        return LatentTable(self._emission, mean, layer, self.w, wbar)

    def hold(self, mean: Mean, layer: LayerAt) -> Prepared:
        """The same with a mean and a structure that stay."""
        made = replace(self, held=(mean, layer))
        made.__dict__["_emission"] = self._emission  # for it is the same
        return made

    @cached_property
    def boundary(self) -> PoissonTable:
        """That of the others."""
        return self.regressions(self.poisson)

    def regressions(self, features: Tensor) -> PoissonTable:
        """Some features (indices) as Poisson regressions."""
        Y, O, K, w, constant = self._cells(features)
        zeros = None if self.inflation is None else Zeros.among(Y, K, w, self.inflation, features)
        return PoissonTable(Y, O, K, self.data.w, self.basis.Q, constant, zeros)

    def all_logits(self, zeta: Tensor) -> Tensor | None:
        """Of structural zeros, n×p, −inf where there are none."""
        return None if self.inflation is None else self.inflation.logits(zeta).expand_as(self.data.Y)

    def logits(self, zeta: Tensor) -> Tensor | None:
        """The same of the latent features, n×q."""
        logits = self.all_logits(zeta)
        return None if logits is None else logits[:, self.latent]

    def at(self, params: Params) -> Evaluation:
        """The latent features' part of the objective at `params`."""
        return self.table.at(params["q"], params.get("zeta"))

    def _cells(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]:
        """Y, O, K, w and constant of some features (indices), without a copy where they are all."""
        data, counted = self.data, self.counted
        whole = len(features) == data.p
        Y = data.Y if whole else data.Y[:, features]
        O = data.O if data.O.shape[1] == 1 or whole else data.O[:, features]
        K = counted if counted is None or whole else counted[:, features]
        return Y, O, K, self.w, log_factorials(Y, K, data.w)


def prepare(data: Dataset, structure: LatentStructure, zero_inflation: str = "none") -> Prepared:
    """All features with a latent layer. DataError for what are no counts, or a design without full column rank."""
    check_counts(data)
    basis = orthonormal_basis(data.X, data.w, data.terms)
    separated, counted, inflation = counting(data, zero_inflation)
    latent = torch.arange(data.p, device=data.Y.device)
    tried, returns = torch.full_like(data.Y[0], math.inf), torch.zeros_like(latent)
    made = Prepared(data, basis, structure, separated, counted, latent, latent[:0], tried, returns, inflation)
    _ = made.table  # which checks a precision that was given
    return made


def features_with_counts(data: Dataset) -> Tensor:
    """(p,) booleans: features with a count other than 0."""
    if data.sparse:
        return column_totals(data.Y) > 0
    return total(data.Y if data.K is None else data.Y * data.K) > 0


def check_counts(data: Dataset) -> None:
    """DataError for what are no counts, and for features without any."""
    Y = values_of(data.Y) if data.K is None else data.Y[data.K]
    if not bool(((Y >= 0) & (Y.round() == Y) & torch.isfinite(Y)).all()):
        raise DataError("Counts must be finite whole numbers of 0 or more; mark missing ones in the mask K.")
    empty = [data.responses[j] for j in (~features_with_counts(data)).nonzero()[:, 0].tolist()]
    if empty:
        raise DataError(
            f"{len(empty)} features have no count at all: {some(empty)}. They tell nothing about the model; drop them."
        )
