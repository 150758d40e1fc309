"""The sparse network of a Poisson log-normal model: who goes with whom, given all the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.dataset import Dataset
from plncli.errors import DataError, unfit
from plncli.models.base import Init
from plncli.models.network.spec import GAMMA
from plncli.models.network.spec import NETWORK as SPEC
from plncli.models.network.structure import Selection, Sparse, SparseStructure
from plncli.models.pln.model import PoissonLogNormal
from plncli.models.pln.prepared import Prepared
from plncli.models.spec import Spec
from plncli.numerics.graphical_lasso import GraphicalLasso
from plncli.numerics.linalg import cholesky_scaled
from plncli.numerics.rows import gram, weigh, weighted_total

FAR = 3
"""Newton steps of the graphical lasso above which a nearer matrix is taken for it to begin at."""
NEAR, KEPT, SELECTION = "near", "kept", "selection"
"""Of a checkpoint: that matrix, edges that were chosen, and how well."""
SMALLEST = 0.1
"""The smallest penalty of a path, as a share of the largest."""


@dataclass(frozen=True)
class Network(PoissonLogNormal):
    """Omega by maximum of ELBO − (wbar/2) penalty sum_{j≠k} weight_jk |omega_jk| (sigma_jj sigma_kk)^½.

    Chiquet, Robin & Mariadassou 2019, with the penalty on the scale of correlations. penalty: 0 to 1. penalty_weights:
    p×p of 0 or more, inf for pairs that are never linked; None: ones. penalise_diagonal: whether diagonal entries of
    Omega have the penalty too. refit: whether the edges that are found are then fitted without penalty: criteria such
    as EBIC are defined so, and estimates are not shrunk.
    """

    spec: ClassVar[Spec] = SPEC
    penalty: float = 0.0
    penalty_weights: Tensor | None = None
    penalise_diagonal: bool = False
    refit: bool = True
    sigma: bool | None = False
    zero_inflation: str = "none"

    @property
    def zeros(self) -> str:
        """As it was set."""
        return self.zero_inflation

    @property
    def square(self) -> bool:
        """Omega is always kept: it is what is estimated."""
        return True

    def _weights(self, like: Tensor, p: int) -> Tensor:
        """p×p, 0 on the diagonal."""
        weights = like.new_ones((p, p)) if self.penalty_weights is None else self.penalty_weights.to(like)
        return torch.where(torch.eye(p, dtype=torch.bool, device=like.device), 0.0, weights)

    def structure_of(self, data: Dataset) -> SparseStructure:
        """Omega with the penalty of each entry."""
        weights = self._weights(data.Y, data.p)
        Lambda = torch.where(weights == 0, 0.0, weights * self.penalty)  # an endless penalty leaves free pairs free
        Lambda = torch.where(weights.isinf(), math.inf, Lambda)
        if self.penalise_diagonal and math.isfinite(self.penalty):
            Lambda.diagonal().fill_(self.penalty)
        return SparseStructure(Lambda)

    def among(self, responses: Tensor) -> Network:
        """The model of some features alone."""
        if self.penalty_weights is None:
            return self
        return replace(self, penalty_weights=self.penalty_weights[responses][:, responses])

    # -- a path of penalties -------------------------------------------------------------------------------------------

    def simplest(self) -> Network:
        """Without any edge that has a penalty: there begins a path."""
        return replace(self, penalty=math.inf)

    def path(self, left: Mapping[str, Tensor], data: Dataset, number: int) -> tuple[float, ...]:
        """That many penalties, from the least that leaves no edge down to a tenth of it, evenly by their logarithms.

        left: estimates and state of the fit of `simplest`. DataError where no pair of features has a penalty.
        """
        R = left["M_finite"].to(data.X) - data.X @ left["B_finite"].to(data.X)
        S, weights = gram(R, weigh(data.w, R)) / data.total_weight, self._weights(data.Y, data.p)
        S.diagonal().add_(weighted_total(data.w, left["S"].to(data.X).square()) / data.total_weight)
        scale = torch.where(S.diagonal() > 0, S.diagonal().rsqrt(), 0.0)
        C, penalised = (S * scale * scale[:, None]).abs(), (weights > 0) & ~weights.isinf()
        largest = float(torch.where(penalised, C / weights, 0.0).max())
        if not largest > 0.0:
            raise DataError(
                "No two features covary, so there is no path of penalties. Give one, such as --penalty 0.5."
            )
        steps = [math.log(SMALLEST) * k / max(number - 1, 1) for k in range(number)]
        return tuple(float(f"{largest * math.exp(step):.4g}") for step in steps)

    def selecting(self, value: float) -> Network:
        """The model that chooses edges at a penalty, and does not fit them again."""
        return replace(self, penalty=value, refit=False)

    def links(self, left: Mapping[str, Tensor]) -> Tensor:
        """Pairs of features whose entry of Omega is not 0, p×p; left: estimates of a fit."""
        linked = left["Omega"].nan_to_num(nan=0.0) != 0
        return linked & ~torch.eye(len(linked), dtype=torch.bool, device=linked.device)

    # -- where the graphical lasso begins ------------------------------------------------------------------------------

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin where an earlier fit ended, at its Omega too."""
        params, at = super().resume(prepared, init)
        near = init.get("Omega")
        return params, at if near is None else _beginning_at(at, _scaled(near.to(at.data.Y)))

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Whether something changes on the boundary, or the graphical lasso began far from where it ended."""
        return super().degenerate(params, prepared) or _far(params, prepared)

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """What changes on the boundaries; else, unless `settled`, the graphical lasso begins where it has ended."""
        changed, lasso = super().revise(params, prepared, settled=settled), _solution(params, prepared)
        if lasso is None or not (changed or (not settled and _far(params, prepared))):
            return changed
        near = _among_all(lasso.Omega, prepared)
        params, at = changed or (params, prepared)
        return params, _beginning_at(at, near)

    def next_stage(self, params: Params, prepared: Prepared, gap: float) -> tuple[Params, Prepared] | None:
        """The edges that are found, without penalty."""
        structure, lasso = _structure(prepared), _solution(params, prepared)
        if not self.refit or structure.selection is not None or lasso is None:
            return None
        near = _among_all(lasso.Omega, prepared)
        selection = Selection(gap, 0.5 * prepared.data.total_weight * lasso.gap, lasso.violation)
        return params, replace(prepared, structure=replace(structure.chosen(near != 0, selection), near=near))

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """The active sets, where the graphical lasso begins, and the edges that were chosen."""
        structure, known = _structure(prepared), super().boundary_state(prepared)
        if structure.near is not None:
            known[NEAR] = structure.near
        if structure.selection is not None:
            known |= {KEPT: structure.penalty == 0, SELECTION: torch.tensor(structure.selection, dtype=torch.float64)}
        return known

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The data split as `state` says; DataError unless each feature is on one side."""
        own = (NEAR, KEPT, SELECTION)
        at = super().at_boundary_state(prepared, {name: state[name] for name in state if name not in own})
        near, kept, selection = map(state.get, own)
        structure, p = _structure(at), prepared.data.p
        if kept is not None and selection is not None:
            if kept.shape != (p, p) or kept.dtype != torch.bool or selection.shape != (len(Selection._fields),):
                raise unfit("it has other edges")
            structure = structure.chosen(kept.to(prepared.data.Y.device), Selection(*selection.tolist()))
        if near is not None:
            if near.shape != (p, p) or near.dtype != prepared.data.Y.dtype or cholesky_scaled(near) is None:
                raise unfit("it begins at what is no precision matrix")
            structure = replace(structure, near=near.to(prepared.data.Y.device))
        return replace(at, structure=structure)

    # -- what comes out ------------------------------------------------------------------------------------------------

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """B and Omega held where they are, without the penalty, and q where it is best for them."""
        solution = _solution(params, prepared)
        params, at = super().settle(params, prepared)
        return params, replace(at, structure=replace(_structure(at), solution=solution))

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), Omega (p×p), M and S (n×p), and Sigma, its inverse, if it is wanted."""
        found = super().estimates(params, prepared)
        if not self.sigma:
            del found["Sigma"]
        return found

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """Beside those outside the covariance a variance for each feature that varies, and one for each edge."""
        if params is None:
            return self.n_outside(prepared) + prepared.data.p * (prepared.data.p + 1) // 2
        return self.n_outside(prepared) + len(prepared.latent) + self._edges(params, prepared)

    def _edges(self, params: Params, prepared: Prepared) -> int:
        lasso = _solution(params, prepared)
        return 0 if lasso is None else int(torch.triu(lasso.Omega, 1).count_nonzero())

    def facts(self, params: Params, prepared: Prepared, bic: float) -> dict[str, float]:
        """Edges, their density, EBIC (Foygel & Drton 2010), and how well edges are chosen (`Selection`).

        EBIC = BIC + 4 gamma edges log p, gamma ½.
        """
        edges, p, lasso = self._edges(params, prepared), prepared.data.p, _solution(params, prepared)
        selection = _structure(prepared).selection
        if selection is None:
            known = (math.nan, math.nan) if lasso is None else (lasso.gap, lasso.violation)
            selection = Selection(math.nan, 0.5 * prepared.data.total_weight * known[0], known[1])
        return {
            "edges": edges,
            "density": edges / max(p * (p - 1) / 2, 1),
            "ebic": bic + 4.0 * GAMMA * edges * math.log(p),
            **{f"selection_{name}": value for name, value in selection._asdict().items()},
        }


def _structure(prepared: Prepared) -> SparseStructure:
    assert isinstance(prepared.structure, SparseStructure)
    return prepared.structure


def _solution(params: Params, prepared: Prepared) -> GraphicalLasso | None:
    """Of the graphical lasso at `params`; None where no feature has a latent layer, or nothing is defined there."""
    known = _structure(prepared).solution
    if known is not None or not len(prepared.latent):
        return known
    layer = prepared.at(params).layer
    return layer.lasso if isinstance(layer, Sparse) else None


def _far(params: Params, prepared: Prepared) -> bool:
    """Whether the graphical lasso has a long way from where it begins."""
    lasso = _solution(params, prepared)
    return lasso is not None and lasso.steps > FAR


def _among_all(W: Tensor, prepared: Prepared) -> Tensor:
    """A matrix of the latent features among all (p×p), the identity elsewhere."""
    made, latent = torch.eye(prepared.data.p, dtype=W.dtype, device=W.device), prepared.latent
    made[latent[:, None], latent] = W
    return made


def _beginning_at(prepared: Prepared, near: Tensor) -> Prepared:
    """The same with a graphical lasso that begins at `near` (p×p)."""
    return replace(prepared, structure=replace(_structure(prepared), near=near))


def _scaled(Omega: Tensor) -> Tensor:
    """The inverse of the correlations of an earlier fit (p×p), the identity in features that this did not have."""
    known = torch.isfinite(Omega.diagonal())
    made, place = torch.eye(len(Omega)).to(Omega), known[:, None] & known
    Omega = Omega[known][:, known]
    scale = torch.linalg.inv(Omega).diagonal().sqrt()
    made[place] = (Omega * scale * scale[:, None]).flatten()
    return made
