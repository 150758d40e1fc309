"""The objective of all there is to estimate: latent features, those on the boundary, and probabilities of zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plncli.arrays import Params, Parts
from plncli.models.fused import Fused, joined
from plncli.models.inflation import logits
from plncli.models.inflation.entries import Inflation
from plncli.models.pln.boundary.poisson import Evaluation as BoundaryEvaluation
from plncli.models.pln.elbo import Evaluation
from plncli.models.pln.precondition.features import block_curvature
from plncli.models.pln.precondition.whole import feature_preconditioner
from plncli.models.pln.prepared import Prepared


class Joint:
    """Zero-inflated: the probabilities meet both the latent features and the others."""

    def __init__(self, params: Params, prepared: Prepared) -> None:
        assert prepared.inflation is not None
        self._inflation: Inflation = prepared.inflation
        self._zeta = params["zeta"].detach()
        self.latent: Evaluation = prepared.at(params)
        self.boundary: BoundaryEvaluation | None = None
        if "gamma" in params:
            self.boundary = prepared.boundary.given(self._zeta).at(params["gamma"])

    @property
    def value(self) -> Tensor:
        """Minus the ELBO, nats."""
        value = self.latent.value + self._inflation.base(self._zeta)
        return value if self.boundary is None else value + self.boundary.value

    def gradient(self) -> Params:
        """Of q, gamma and zeta."""
        slopes = self._inflation.base_slope(self._zeta) + self.latent.cells.logit_slopes()
        found = {"q": self.latent.gradient()}
        if self.boundary is not None:
            slopes = slopes + self.boundary.logit_slopes()
            found["gamma"] = self.boundary.gradient()
        return {**found, "zeta": self._inflation.back(slopes)}

    def product(self, v: Params) -> Params:
        """Hessian times v."""
        dzeta = v["zeta"]
        Hq, turned = self.latent.turn(v["q"], dzeta)
        assert turned is not None
        turned = turned + self._inflation.base_bend(self._zeta) * self._inflation.entries(dzeta)
        found = {"q": Hq}
        if self.boundary is not None:
            found["gamma"], beside = self.boundary.turn(v["gamma"], dzeta)
            turned = turned + beside
        return {**found, "zeta": self._inflation.back(turned)}

    def curve(self, v: Params) -> Params | None:
        """That of the latent features."""
        bent = self.latent.curve(v["q"])
        return None if bent is None else {name: torch.zeros_like(v[name]) for name in v} | {"q": bent}

    def logit_curvatures(self) -> Tensor:
        """Positive curvature in the entries' logits, of entries' shape, 0 in closed ones."""
        bends = self.latent.cells.logit_bends()
        if self.boundary is not None:
            bends = bends + self.boundary.logit_bends()
        return logits.curvatures(self._inflation, self._zeta, bends)


def evaluated(params: Params, prepared: Prepared) -> Parts | Joint:
    """The objective at `params`: a sum of parts that have nothing to do with each other, unless zeros do."""
    if prepared.inflation is not None:
        return Joint(params, prepared)
    parts: dict[str, Any] = {"q": prepared.at(params)}
    if "gamma" in params:
        parts["gamma"] = prepared.boundary.at(params["gamma"])
    return Parts(parts)


def preconditioner(params: Params, prepared: Prepared) -> Callable[[Params], Params]:
    """Approximate inverse of each feature's block, and of the probabilities'."""
    known: dict[str, Callable[[Tensor], Tensor]] = {"q": feature_preconditioner(prepared.at(params))}
    if "gamma" in params:
        known["gamma"] = prepared.boundary.given(params.get("zeta")).preconditioner(params["gamma"])
    if prepared.inflation is not None:
        known["zeta"] = logits.preconditioner(Joint(params, prepared).logit_curvatures(), prepared.inflation.X)
    return lambda v: {name: known[name](v[name]) for name in v}


def curvature(params: Params, prepared: Prepared) -> Params:
    """Diagonal of the preconditioner's blocks."""
    diagonal = {"q": torch.stack(block_curvature(prepared.at(params))[::2])}
    if "gamma" in params:
        diagonal["gamma"] = prepared.boundary.given(params.get("zeta")).curvature(params["gamma"])
    if prepared.inflation is not None:
        diagonal["zeta"] = logits.diagonal(Joint(params, prepared).logit_curvatures(), prepared.inflation.X)
    return diagonal


class ZeroInflatedElbo(Fused):
    """Minus the ELBO of q, gamma and zeta."""


def objective(params: Params, prepared: Prepared) -> Tensor:
    """Minus the ELBO (scalar, nats) of a zero-inflated model, with its derivatives behind autograd's own interface."""
    return joined(ZeroInflatedElbo, params, lambda split: Joint(split, prepared))
