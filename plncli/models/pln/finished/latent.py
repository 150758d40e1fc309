"""What all answers of a finished fit rest on: its latent layer, its structural zeros, and the variational step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from plncli.models.fitted import Fitted
from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.closing import Cells, opening
from plncli.models.inflation.entries import Inflation, Zeros
from plncli.models.inflation.finished import StructuralZeros
from plncli.models.pln.variational_step import Step, variational_step
from plncli.numerics.covariance import Covariance, Precision

ROUNDS, SETTLED = 100, 1e-9
"""Of q and the probability of a sample in turn; change of its logit at which they end."""
EXACT = 45
"""Halvings of the interval of a logit."""


@dataclass(frozen=True)
class FittedLatent(Fitted):
    """A finished fit with a latent layer, and perhaps structural zeros."""

    @cached_property
    def latent(self) -> Covariance:
        """Covariance of the latent layer."""
        assert self.covariance is not None
        return self.covariance

    @cached_property
    def zeros(self) -> StructuralZeros | None:
        """Structural zeros; None where the model has none."""
        return StructuralZeros.left(self.state)

    @property
    def counted(self) -> Tensor | float:
        """Probability that a count of a new sample is no structural zero, 1×1 or 1×p."""
        return 1.0 if self.zeros is None else 1.0 - self.zeros.expected

    def own_logits(self, n: int) -> Tensor | None:
        """Of structural zeros in the n samples of the fit, n×p."""
        return None if self.zeros is None else self.zeros.logits.expand(n, len(self.responses))

    def step(self, Y: Tensor, counted: Tensor, O: Tensor, C: Tensor, Omega: Precision) -> tuple[Step, Tensor | None]:
        """q of samples in the features with a latent layer, and logits of structural zeros in all features, n×p.

        Y, counted (1 where a cell counts), O, C: n×p. Where each sample has a probability of its own, it is the one
        that is best for its counts, as in the fit.
        """
        v = self.latent.varied
        known = (Y[:, v], counted[:, v], O[:, v], C[:, v], Omega)
        if self.zeros is None:
            return variational_step(*known), None
        if self.zeros.of == "sample":
            return self._with_own(Y, counted, O, C, Omega)
        logits = self.zeros.logits.expand_as(Y)
        return variational_step(*known, Z=logits[:, v], nodes=FINEST), logits

    def _with_own(self, Y: Tensor, counted: Tensor, O: Tensor, C: Tensor, Omega: Precision) -> tuple[Step, Tensor]:
        assert self.zeros is not None
        v, flat = self.latent.varied, (self.latent.variances == 0).nonzero()[:, 0]
        of_counts = Inflation.of("sample", counted)
        closed = of_counts.with_free(torch.zeros_like(of_counts.free))
        zeta, start = self.zeros.expected.logit().expand(len(Y), 1), None
        nodes = Nodes.of(FINEST, Y)
        for _ in range(ROUNDS):
            logits = zeta.expand_as(Y)
            step = variational_step(Y[:, v], counted[:, v], O[:, v], C[:, v], Omega, start, logits[:, v], FINEST)
            start = (step.M, 2.0 * step.S.log())
            tables = [
                _cells(Y, counted, O + M, S, of_counts, features, nodes)
                for features, M, S in ((v, _put(C, v, step.M), step.S), (flat, C, torch.ones_like(C[:, flat])))
            ]
            before, zeta = zeta, opening(closed, tables, EXACT)
            if bool(((zeta - before).abs().nan_to_num(nan=0.0) <= SETTLED).all()):
                break
        return step, zeta.expand_as(Y)


def _put(C: Tensor, features: Tensor, M: Tensor) -> Tensor:
    return C.index_copy(1, features, M)


def _cells(
    Y: Tensor, counted: Tensor, eta: Tensor, S: Tensor, inflation: Inflation, features: Tensor, nodes: Nodes
) -> Cells:
    zeros = Zeros.among(Y[:, features], counted[:, features], None, inflation, features)
    at = zeros.of(eta[:, features])
    return Cells(zeros, ZeroCells(at, zeros.of(S), torch.zeros_like(at), nodes), at.exp())
