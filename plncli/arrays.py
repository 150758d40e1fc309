"""Shape vocabulary. n samples, p features (responses), d coefficients per feature (terms)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Curved(Protocol):
    """An evaluated objective with valleys that bend, and known how."""

    def curve(self, v: Tensor) -> Tensor | None:
        """Second-order term c of a path x + t v + t² c along such a valley, of the point's shape; None: straight."""
        ...


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device; torch raises a RuntimeError then, told from others by its text."""
    texts = ("can't allocate memory", "not enough memory", "out of memory", "alloc_cpu")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)
