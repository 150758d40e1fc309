"""What answers for a fit of counts, by what it left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plncli.models.fitted import Fitted
from plncli.models.neural.spec import NETWORK


def kind_of(state: Mapping[str, Any], plain: type[Fitted]) -> type[Fitted]:
    """`FittedNeuralPLN` where the mean is neural, `FittedFull` where q has a full covariance, else `plain`."""
    from plncli.models.pln.neural.fitted import FittedNeuralPLN
    from plncli.models.pln.posterior.fitted import FittedFull

    return FittedNeuralPLN if NETWORK in state else FittedFull if "A" in state else plain
