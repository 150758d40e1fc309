"""The objective of logistic regressions at a point: value, gradient, information and Hessian."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from plncli import ranks
from plncli.dataset import LETTERS, Dataset
from plncli.models.regression.firth import Penalty, curvature, penalty
from plncli.numerics.linalg import ImplicitBasis, weighted_grams
from plncli.numerics.rows import gram, over_parts, over_rows, weighted_total


@dataclass(frozen=True)
class Prepared:
    """Data, and an orthonormal basis of the design. The latest evaluation is kept, since several methods ask for it.

    penalised: whether Firth's penalty is part of the objective.
    """

    data: Dataset
    basis: ImplicitBasis
    penalised: bool = False
    last: dict[str, Evaluation] = field(default_factory=dict, repr=False, compare=False)

    def at(self, gamma: Tensor) -> Evaluation:
        """The evaluation at gamma (d×p)."""
        known = self.last.get("gamma")
        if known is None or ranks.agreed(not torch.equal(known.gamma, gamma)):
            self.last.clear()
            known = self.last["gamma"] = Evaluation(gamma.detach().clone(), self)
        return known


class Evaluation:
    """Value (scalar) and gradient (d×p) at gamma, from one pass over blocks of rows; the Hessian when asked for.

    Only the margins (2Y − 1)·eta (n×p) stay; what else has a row for each sample lives as long as its block. Of samples
    that come by blocks nothing stays, and one pass gives the Hessian too. loglik (scalar) is without the penalty.
    """

    def __init__(self, gamma: Tensor, prepared: Prepared) -> None:
        self.gamma, self.prepared = gamma, prepared
        data, basis = prepared.data, prepared.basis
        B = basis.inner(gamma)
        if data.stored:
            self.loglik, slope, G = over_parts(lambda part: _all(part, basis, B), data, LETTERS)
            self.__dict__["information"] = torch.matmul(basis.U.mT, G) @ basis.U
        else:
            self.margin = torch.empty_like(data.Y)
            self.loglik, slope = _value_and_slope(data, basis, B, self.margin)
        self.value, self._gradient = -self.loglik, torch.mm(basis.U.mT, slope.neg_())
        if prepared.penalised:
            self.value = self.value - self.penalty.value
            self._gradient.sub_(self.penalty.gradient)

    def gradient(self) -> Tensor:
        """Gradient in gamma, d×p."""
        return self._gradient.clone()

    @cached_property
    def penalty(self) -> Penalty:
        """Firth's penalty."""
        return penalty(self.prepared.data, self.prepared.basis, self.margin, self.information)

    @cached_property
    def hessians(self) -> Tensor:
        """Hessian of each response's part of the objective, p×d×d."""
        if not self.prepared.penalised:
            return self.information
        data, basis = self.prepared.data, self.prepared.basis
        return self.information - curvature(data, basis, self.margin, self.penalty.inverse)

    @cached_property
    def information(self) -> Tensor:
        """Q' diag(w mu (1 − mu)) Q of each response, p×d×d: Fisher's information on gamma, observed and expected."""
        data, basis = self.prepared.data, self.prepared.basis
        (G,) = _information(data, basis, self.margin)
        return torch.matmul(basis.U.mT, G) @ basis.U

    def product(self, dgamma: Tensor) -> Tensor:
        """Hessian times dgamma, d×p."""
        return (self.hessians @ dgamma.mT.unsqueeze(2)).squeeze(2).mT


def _value_and_slope(data: Dataset, basis: ImplicitBasis, B: Tensor, margins: Tensor) -> tuple[Tensor, ...]:
    """The log-likelihood (scalar) and its gradient in B, d×p, coefficients of A; margins (n×p) are filled in."""
    A = basis.rows(data)

    def add(rows: slice) -> tuple[Tensor, Tensor]:
        sign, w = 2.0 * data.Y[rows] - 1.0, data.w[rows]
        margin = torch.mm(A[rows], B, out=margins[rows])
        margin.add_(data.O[rows]).mul_(sign)
        sign.mul_(torch.sigmoid(-margin)).mul_(w.unsqueeze(1))
        return weighted_total(w, logsigmoid(margin)).sum(), gram(A[rows], sign)

    return over_rows(add, A, max(data.d, data.p))


def _information(data: Dataset, basis: ImplicitBasis, margins: Tensor) -> tuple[Tensor, ...]:
    """A' diag(w mu (1 − mu)) A of each response, p×d×d."""
    A = basis.rows(data)

    def add(rows: slice) -> tuple[Tensor]:
        margin = margins[rows]
        weights = torch.sigmoid(margin).mul_(torch.sigmoid(-margin)).mul_(data.w[rows].unsqueeze(1))
        return (weighted_grams(A[rows], weights),)

    return over_rows(add, A, max(data.d, data.p))


def _all(part: Dataset, basis: ImplicitBasis, B: Tensor) -> tuple[Tensor, ...]:
    """All three of a block of samples."""
    margins = torch.empty_like(part.Y)
    return (*_value_and_slope(part, basis, B, margins), *_information(part, basis, margins))
