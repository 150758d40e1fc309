"""Structural zeros of a finished fit: how probable they are, and distributions that they are mixed into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.spec import COURSES, SYMBOLS, TERMS
from plncli.numerics.distributions import poisson_lognormal_quantile
from plncli.numerics.separation import PredictorLimits

STATUSES = ("estimated", "infinite", "not estimable")
"""What is said of a coefficient of a logit."""


@dataclass(frozen=True)
class StructuralZeros:
    """Logits of the probability that a count is a structural zero: 1×1, 1×p, or n×1; −inf where there are none.

    of: what they are of (`SYMBOLS`); TERMS: those of some samples, n×p, inf where all zeros are structural. unknown:
    n×p, where they are not estimable, and any value fits as well; None: nowhere.
    """

    of: str
    logits: Tensor = field(repr=False)
    unknown: Tensor | None = field(repr=False, default=None)

    @staticmethod
    def left(state: Mapping[str, object]) -> StructuralZeros | None:
        """Those that a fit has left, if there are any."""
        if "zeta_cells" in state:
            logits = torch.as_tensor(state["zeta_cells"]).detach().cpu().double()
            unknown = logits.isnan()
            return StructuralZeros(TERMS, logits.masked_fill(unknown, 0.0), unknown if bool(unknown.any()) else None)
        for of, symbol in SYMBOLS.items():
            if symbol in state:
                known = torch.as_tensor(state[symbol]).detach().cpu().double()
                return StructuralZeros(of, known.reshape(-1, 1) if of == "sample" else known.reshape(1, -1))
        return None

    @staticmethod
    def of_samples(state: Mapping[str, object], X0: Tensor) -> StructuralZeros:
        """Those of samples with rows X0 (n×c) of the design."""
        logits = X0 @ torch.as_tensor(state["zeta_terms"]).detach().cpu().double()
        limits = limits_of(state, X0)
        if limits is None:
            return StructuralZeros(TERMS, logits)
        logits = torch.where(limits.abs() == 1, limits * math.inf, logits)
        return StructuralZeros(TERMS, logits, limits.isnan() if bool(limits.isnan().any()) else None)

    @property
    def doubtful(self) -> Tensor | None:
        """Where a count tells something of all else, n×p: not where it is not estimable, or a zero for sure."""
        if self.of != TERMS:
            return None
        there = self.logits < math.inf
        return there if self.unknown is None else there & ~self.unknown

    @property
    def expected(self) -> Tensor:
        """Probabilities of a new sample, 1×1 or 1×p: where samples differ, their mean over those of the fit."""
        pi = self.logits.sigmoid()
        return pi.mean(0, keepdim=True) if self.of == "sample" else pi  # of the fit's samples

    def among(self, features: Tensor) -> StructuralZeros:
        """Of some features, by index or as booleans (p,)."""
        if self.logits.shape[1] == 1 and self.of != TERMS:
            return self
        unknown = None if self.unknown is None else self.unknown[:, features]
        return replace(self, logits=self.logits[:, features], unknown=unknown)

    def take(self, rows: Tensor | slice) -> StructuralZeros:
        """Of some samples, where they are of samples by covariates."""
        return replace(self, logits=self.logits[rows]) if self.of == TERMS else self

    def quantile(self, probability: float, mean: Tensor, variance: Tensor) -> Tensor:
        """Of counts of new samples whose log rates have that mean and variance, n×p."""
        pi = self.expected
        left = torch.where(pi < 1.0, (probability - pi) / (1.0 - pi), 0.0)
        return poisson_lognormal_quantile(left, mean, variance)

    def drawn(self, n: int, p: int, generator: Generator) -> Tensor:
        """Which cells of n new samples are structural zeros, n×p; a sample's probability is that of one of the fit."""
        pi = self.logits.sigmoid()
        if self.of == "sample":
            pi = pi[torch.randint(len(pi), (n,), generator=generator)]
        return torch.rand((n, p), generator=generator, dtype=pi.dtype) < pi


def limits_of(state: Mapping[str, object], X0: Tensor) -> Tensor | None:
    """Where logits go at rows X0 of the design, m×p: 0 finite, ±1 to ±inf, nan not estimable; None: all are finite."""
    own = {
        name.removeprefix(COURSES): torch.as_tensor(state[name]).cpu()
        for name in state
        if name.startswith(f"{COURSES}courses")
    }
    found = PredictorLimits.from_tensors(own)
    return None if found is None else found.of_samples(X0)


def coefficients(
    state: Mapping[str, Any], inference: Mapping[str, Any], features: Sequence[str], terms: Sequence[str]
) -> dict[str, Any]:
    """A row a feature and term: the coefficient of the logit, ±inf or nan where it has no finite estimate."""
    zeta = torch.as_tensor(state["zeta_terms"]).detach().cpu().double()
    limits = limits_of(state, torch.eye(len(zeta), dtype=zeta.dtype))
    estimate = zeta if limits is None else torch.where(limits == 0, zeta, limits * math.inf)
    codes = torch.where(estimate.isnan(), 2, torch.where(estimate.isinf(), 1, 0)).mT.reshape(-1).tolist()
    found: dict[str, Any] = {
        "feature": [feature for feature in features for _ in terms],
        "term": list(terms) * len(features),
        "estimate": estimate.mT.reshape(-1),
    }
    for name, column in (("se", "std_error"), ("low", "conf_low"), ("high", "conf_high")):
        if f"zeta_terms_{name}" in inference:
            found[column] = torch.as_tensor(inference[f"zeta_terms_{name}"]).detach().cpu().double().mT.reshape(-1)
    return found | {"status": [STATUSES[code] for code in codes]}


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
