"""Data made ready for the solver: checked, separated cells left out, and split at the boundary Sigma_jj = 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, some
from plncli.models.pln.elbo import LatentTable
from plncli.models.pln.emissions import Poisson, log_factorials
from plncli.models.pln.means import Linear
from plncli.models.pln.poisson import PoissonTable
from plncli.models.pln.separation import Separated, counted_cells, separated_cells
from plncli.models.pln.structures import Structure
from plncli.numerics.linalg import Basis, orthonormal_basis
from plncli.numerics.rows import total


@dataclass(frozen=True)
class Prepared:
    """Data split for the solver: `latent` features have a latent layer, `poisson` ones sit at Sigma_jj = 0.

    separated: what has no finite estimate, None where there is nothing; counted: n×p, 1 where the cell counts
    (observed and not separated), None when all do; latent, poisson: (q,) and (p − q,) indices of features, ascending;
    table, boundary: the objective of the ones and of the others; tried: (p,) variance at which a feature was last kept
    off the boundary, inf for never; returns: (p,) how often it came back from there.
    """

    data: Dataset
    basis: Basis
    structure: Structure
    separated: Separated | None
    counted: Tensor | None
    latent: Tensor
    poisson: Tensor
    table: LatentTable[Poisson]
    boundary: PoissonTable
    tried: Tensor
    returns: Tensor


def prepare(data: Dataset, structure: Structure) -> Prepared:
    """All features with a latent layer. DataError for what are no counts, or a design without full column rank."""
    check_counts(data)
    basis = orthonormal_basis(data.X, data.w, data.terms)
    separated = separated_cells(data)
    counted = counted_cells(data, separated)
    latent = torch.arange(data.p, device=data.Y.device)
    table, boundary = _tables(data, basis, structure, counted, latent, latent[:0])
    tried, returns = torch.full_like(data.Y[0], math.inf), torch.zeros_like(latent)
    return Prepared(data, basis, structure, separated, counted, latent, latent[:0], table, boundary, tried, returns)


def split(prepared: Prepared, latent: Tensor, poisson: Tensor, tried: Tensor, returns: Tensor) -> Prepared:
    """The same data with other features on the boundary; letters as in `Prepared`."""
    table, boundary = _tables(prepared.data, prepared.basis, prepared.structure, prepared.counted, latent, poisson)
    return replace(
        prepared, latent=latent, poisson=poisson, table=table, boundary=boundary, tried=tried, returns=returns
    )


def _tables(
    data: Dataset, basis: Basis, structure: Structure, counted: Tensor | None, latent: Tensor, poisson: Tensor
) -> tuple[LatentTable[Poisson], PoissonTable]:
    w, wbar = None if bool((data.w == 1).all()) else data.w, data.total_weight
    emission = Poisson(*_cells(data, counted, latent, w))
    table = LatentTable(emission, Linear(basis.Q, w, wbar), structure.layer(latent), w, wbar)
    Y, O, K, _, constant = _cells(data, counted, poisson, w)
    return table, PoissonTable(Y, O, K, data.w, basis.Q, constant)


def _cells(
    data: Dataset, counted: Tensor | None, features: Tensor, w: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]:
    """Y, O, K, w and constant of some features (indices), without a copy where they are all."""
    whole = len(features) == data.p
    Y = data.Y if whole else data.Y[:, features]
    O = data.O if data.O.shape[1] == 1 or whole else data.O[:, features]
    K = counted if counted is None or whole else counted[:, features]
    return Y, O, K, w, log_factorials(Y, K, data.w)


def features_with_counts(data: Dataset) -> Tensor:
    """(p,) booleans: features with a count other than 0."""
    return total(data.Y if data.K is None else data.Y * data.K) > 0


def check_counts(data: Dataset) -> None:
    """DataError for what are no counts, and for features without any."""
    Y = data.Y if data.K is None else data.Y[data.K]
    if not bool(((Y >= 0) & (Y.round() == Y) & torch.isfinite(Y)).all()):
        raise DataError("Counts must be finite whole numbers of 0 or more; mark missing ones in the mask K.")
    empty = [data.responses[j] for j in (~features_with_counts(data)).nonzero()[:, 0].tolist()]
    if empty:
        raise DataError(
            f"{len(empty)} features have no count at all: {some(empty)}. They tell nothing about the model; drop them."
        )
