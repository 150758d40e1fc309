"""The sparse structure of the latent layer: Omega is where it is best for the residuals, less an l1 penalty.

The penalty is on the scale of correlations. On that of the covariances there is no optimum worth having: a feature that
is absent from many samples may have any latent variance at hardly any cost, its entries of Omega then cost nothing, and
it becomes the hub of all others. With C = D^-½ Sigma^ D^-½, D the diagonal of Sigma^,

    value = (wbar/2) ( log|D| + min over W of { −log|W| + tr(WC) + sum_jk Lambda_jk |w_jk| } − q )

and Omega = D^-½ W D^-½.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.models.pln.structures import LayerAt, Unbent
from plncli.numerics.covariance import Covariance, DenseCovariance, DensePrecision, Precision
from plncli.numerics.graphical_lasso import GraphicalLasso, graphical_lasso
from plncli.numerics.rows import gram, total, weigh


class Sparse(Unbent):
    """Omega by the graphical lasso of the correlations of Sigma^ = (R'WR + diag(sum_i w_i s_i²)) / wbar.

    A `Layer` of `models.pln`, for q features. Its value is smooth in (R, S2) once, and twice where no entry of Omega is
    about to leave 0 or to come to it. With v = 2 value/wbar, P = dv/dSigma^ is Omega but for its diagonal,

        p_jj = (1 − sum_{k≠j} w_jk c_jk) / d_j,

    which is more than omega_jj: the penalty of an entry depends on the variances.
    """

    def __init__(
        self, R: Tensor, S2: Tensor, w: Tensor | None, wbar: float, *, penalty: Tensor, near: Tensor | None
    ) -> None:
        self._R, self._w, self._wbar = R, w, wbar
        Sigma = gram(R, weigh(w, R)).div_(wbar)
        Sigma.diagonal().add_(total(weigh(w, S2)).div_(wbar))
        self._variance = Sigma.diagonal().clone()
        self._scale = self._variance.sqrt()
        C = self._in_units(0.5 * (Sigma + Sigma.mT))
        C.fill_diagonal_(1.0)
        self.lasso: GraphicalLasso | None = None
        self.value = R.new_tensor(torch.inf)
        if bool(torch.isfinite(C).all()):
            self.lasso = graphical_lasso(C, penalty, near)
        if self.lasso is not None:
            self.value = 0.5 * wbar * (self._variance.log().sum() + self.lasso.value - len(C))

    @property
    def solution(self) -> GraphicalLasso:
        """Of the graphical lasso; there must be one, which a finite value tells."""
        assert self.lasso is not None
        return self.lasso

    def _in_units(self, A: Tensor) -> Tensor:
        return A / (self._scale * self._scale[:, None])

    @cached_property
    def _shares(self) -> Tensor:
        """1 − sum_{k≠j} w_jk c_jk, (q,)."""
        W, C = self.solution.Omega, self.solution.S
        return 1.0 + W.diagonal() - (W * C).sum(1)

    @cached_property
    def _slope(self) -> Tensor:
        """P."""
        P = self._in_units(self.solution.Omega)
        P.diagonal().copy_(self._shares / self._variance)
        return P

    @property
    def precision(self) -> Tensor:
        return self._slope.diagonal()

    @cached_property
    def pull(self) -> Tensor:
        return self._R @ self._slope

    def turn(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        half = gram(weigh(self._w, self._R), dR)
        dSigma = (half + half.mT).div_(self._wbar)
        dSigma.diagonal().add_(total(weigh(self._w, dS2)), alpha=1.0 / self._wbar)
        W, C = self.solution.Omega, self.solution.S
        growth = dSigma.diagonal() / self._variance
        apart = 0.5 * (growth + growth[:, None])
        dC = self._in_units(dSigma).sub_(C * apart)
        dC.fill_diagonal_(0.0)
        dW = self.solution.change(dC)
        dshares = dW.diagonal() - (dW * C).sum(1) - (W * dC).sum(1)
        dP = self._in_units(dW).sub_(self._slope * apart)
        dP.diagonal().copy_((dshares - self._shares * growth) / self._variance)
        return (dR @ self._slope).addmm_(self._R, dP), dP.diagonal()

    @cached_property
    def Omega(self) -> Tensor:
        """q×q."""
        return self._in_units(self.solution.Omega)

    def covariance(self) -> Covariance:
        return DenseCovariance(self.solution.Sigma * (self._scale * self._scale[:, None]), self.Omega)

    def inverse(self) -> Precision:
        return DensePrecision(self.Omega)


class Selection(NamedTuple):
    """How well the edges are chosen, before they are fitted without penalty.

    gap: nats left of the penalised ELBO; duality_gap: of its graphical lasso, in nats; violation: by how much the
    penalty is exceeded where there is no edge.
    """

    gap: float
    duality_gap: float
    violation: float


@dataclass(frozen=True)
class SparseStructure:
    """penalty: Lambda (p×p); near: a positive definite matrix near W (p×p), if one is known.

    selection: of the edges, once they are chosen. solution: of the latent features, once it is held.
    """

    penalty: Tensor
    near: Tensor | None = None
    selection: Selection | None = None
    solution: GraphicalLasso | None = None
    correlated: bool = True
    shared: bool = False

    def followed(self, features: Tensor, others: Tensor) -> Tensor | None:
        """Which others (o,) features of hardly any variance (v,) gain by following: those linked without a penalty."""
        return self.penalty[others[:, None], features] == 0

    @property
    def estimated(self) -> bool:
        """Whether variances may fall to 0."""
        return True

    def chosen(self, kept: Tensor, selection: Selection) -> SparseStructure:
        """Without penalty of the edges that are `kept` (p×p), and without all others."""
        penalty = torch.where(kept | (self.penalty == 0), 0.0, torch.inf)
        penalty.fill_diagonal_(0.0)
        return replace(self, penalty=penalty.to(self.penalty), selection=selection)

    def layer(self, features: Tensor) -> LayerAt:
        """The structure of some features (indices)."""
        place = (features[:, None], features)
        near = None if self.near is None else self.near[place]
        return partial(Sparse, penalty=self.penalty[place], near=near)
