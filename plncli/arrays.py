"""Shape vocabulary. n samples, p features (responses), d coefficients per feature (terms)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

Params = dict[str, Tensor]
"""Free variables of an objective by symbol, each a floating tensor of one device and dtype."""


class Evaluated(Protocol):
    """An objective of one tensor, at one point, with derivatives of its own."""

    value: Tensor

    def gradient(self) -> Tensor:
        """Gradient there, a new tensor of the point's shape."""
        ...

    def product(self, v: Tensor) -> Tensor:
        """Hessian times v, a new tensor of the point's shape."""
        ...
