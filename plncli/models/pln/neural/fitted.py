"""What a finished fit of a Poisson log-normal model with a neural mean answers."""

from __future__ import annotations

from dataclasses import dataclass

from plncli.models.neural.fitted import NeuralMean
from plncli.models.pln.finished.fitted import FittedPLN


@dataclass(frozen=True)
class FittedNeuralPLN(NeuralMean, FittedPLN):
    """Latent values Z ~ N(f(x), Sigma)."""
