"""The objective of coefficients and loadings together with the probabilities of structural zeros."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plncli.arrays import Params, Parts
from plncli.models.fused import Fused, joined
from plncli.models.inflation import logits
from plncli.models.inflation.entries import Inflation
from plncli.models.pca.evaluation import Evaluation
from plncli.models.pca.prepared import Prepared


class Joint:
    """Zero-inflated: theta and zeta meet in zeros that may be structural, and in the samples' posteriors."""

    def __init__(self, params: Params, prepared: Prepared) -> None:
        assert prepared.inflation is not None
        self._inflation: Inflation = prepared.inflation
        self._zeta = params["zeta"].detach()
        self.at: Evaluation = prepared.whole_at(params)

    @property
    def value(self) -> Tensor:
        """Minus the ELBO, nats."""
        return self.at.value + self._inflation.base(self._zeta)

    def gradient(self) -> Params:
        """Of theta and zeta."""
        slopes = self._inflation.base_slope(self._zeta)
        if self.at.table.zeros is not None:
            slopes = slopes + self.at.logit_slopes()
        return {"theta": self.at.gradient(), "zeta": self._inflation.back(slopes)}

    def product(self, v: Params) -> Params:
        """Hessian times v."""
        dzeta = v["zeta"]
        dtheta, turned = self.at.turn(v["theta"], dzeta)
        bent = self._inflation.base_bend(self._zeta) * self._inflation.entries(dzeta)
        return {"theta": dtheta, "zeta": self._inflation.back(bent if turned is None else bent + turned)}

    def curve(self, v: Params) -> Params | None:
        """None: no valley is known to bend."""
        del v
        return None

    def logit_curvatures(self) -> Tensor:
        """Positive curvature in the entries' logits, of entries' shape, 0 in closed ones."""
        bends = torch.zeros_like(self._inflation.weights) if self.at.table.zeros is None else self.at.logit_bends()
        return logits.curvatures(self._inflation, self._zeta, bends)


def evaluated(params: Params, prepared: Prepared) -> Parts | Joint:
    """The objective at `params`."""
    return Parts({"theta": prepared.at(params)}) if prepared.inflation is None else Joint(params, prepared)


def preconditioner(params: Params, prepared: Prepared) -> Callable[[Params], Params]:
    """Inverse of each feature's block, less what the samples' posteriors take, and of the probabilities' curvature."""
    known = {"theta": prepared.at(params).preconditioner()}
    if prepared.inflation is not None:
        known["zeta"] = logits.preconditioner(Joint(params, prepared).logit_curvatures(), prepared.inflation.X)
    return lambda v: {name: known[name](v[name]) for name in v}


def curvature(params: Params, prepared: Prepared) -> Params:
    """Diagonal of the preconditioner's blocks."""
    diagonal = {"theta": prepared.at(params).curvature()}
    if prepared.inflation is not None:
        diagonal["zeta"] = logits.diagonal(Joint(params, prepared).logit_curvatures(), prepared.inflation.X)
    return diagonal


class ZeroInflatedPCA(Fused):
    """Minus the ELBO of theta and zeta."""


def objective(params: Params, prepared: Prepared) -> Tensor:
    """Minus the ELBO (scalar, nats) of a zero-inflated model, with its derivatives behind autograd's own interface."""
    return joined(ZeroInflatedPCA, params, lambda split: Joint(split, prepared))
