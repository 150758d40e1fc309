"""Structural zeros of a finished fit: how probable they are, and distributions that they are mixed into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.spec import SYMBOLS
from plncli.numerics.distributions import poisson_lognormal_quantile


@dataclass(frozen=True)
class StructuralZeros:
    """Logits of the probability that a count is a structural zero: 1×1, 1×p, or n×1; −inf where there are none.

    of: what they are of (`SYMBOLS`).
    """

    of: str
    logits: Tensor = field(repr=False)

    @staticmethod
    def left(state: Mapping[str, object]) -> StructuralZeros | None:
        """Those that a fit has left, if there are any."""
        for of, symbol in SYMBOLS.items():
            if symbol in state:
                known = torch.as_tensor(state[symbol]).detach().cpu().double()
                return StructuralZeros(of, known.reshape(-1, 1) if of == "sample" else known.reshape(1, -1))
        return None

    @property
    def expected(self) -> Tensor:
        """Probabilities of a new sample, 1×1 or 1×p: where samples differ, their mean over those of the fit."""
        pi = self.logits.sigmoid()
        return pi.mean(0, keepdim=True) if self.of == "sample" else pi  # of the fit's samples

    def among(self, features: Tensor) -> StructuralZeros:
        """Of some features, by index or as booleans (p,)."""
        return replace(self, logits=self.logits[:, features]) if self.logits.shape[1] > 1 else self

    def quantile(self, probability: float, mean: Tensor, variance: Tensor) -> Tensor:
        """Of counts of new samples whose log rates have that mean and variance, n×p."""
        left = (probability - self.expected) / (1.0 - self.expected)
        return poisson_lognormal_quantile(left, mean, variance)

    def drawn(self, n: int, p: int, generator: Generator) -> Tensor:
        """Which cells of n new samples are structural zeros, n×p; a sample's probability is that of one of the fit."""
        pi = self.logits.sigmoid()
        if self.of == "sample":
            pi = pi[torch.randint(len(pi), (n,), generator=generator)]
        return torch.rand((n, p), generator=generator, dtype=pi.dtype) < pi


def mixed(Y: Tensor, logp: Tensor, logits: Tensor | None) -> Tensor:
    """Log-probability of counts Y, logp being that of counts that are no structural zeros; elementwise, n×p."""
    if logits is None:
        return logp
    counted = torch.nn.functional.logsigmoid(-logits) + logp
    return torch.where(Y > 0, counted, torch.logaddexp(torch.nn.functional.logsigmoid(logits), counted))


class Told(NamedTuple):
    """Of each cell, n×p: the probability that it is a structural zero, given what is known, and its expected count."""

    probability: Tensor
    expected: Tensor


def told(eta: Tensor, sd: Tensor, Y: Tensor, K: Tensor, logits: Tensor) -> Told:
    """Of cells whose log rate has mean eta and standard deviation sd, −inf and 0 where none is expected; n×p each."""
    pi, rate = logits.sigmoid(), (eta + 0.5 * sd.square()).exp()
    probability = torch.where(K & (Y > 0), 0.0, pi)
    expected = (1.0 - probability) * rate
    doubt = K & (Y == 0) & torch.isfinite(eta) & torch.isfinite(sd) & (logits > -math.inf)
    at = ZeroCells(eta[doubt], sd[doubt], logits[doubt], Nodes.of(FINEST, eta)).sums
    return Told(probability.index_put((doubt,), at.structural), expected.index_put((doubt,), at.slope))
