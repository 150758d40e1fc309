"""Shape vocabulary. n samples, p features (responses), d coefficients per feature (terms)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Free variables of an objective by symbol, each a floating tensor of one device and dtype."""


class Evaluated(Protocol):
    """An objective of one tensor, at one point, with derivatives of its own."""

    @property
    def value(self) -> Tensor:
        """Scalar, in nats."""
        ...

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


class Differentiated(Protocol):
    """An objective of several tensors, at one point, with derivatives of its own: by name, of the shapes there."""

    @property
    def value(self) -> Tensor:
        """Scalar, in nats."""
        ...

    def gradient(self) -> Params:
        """Gradient there, new tensors."""
        ...

    def product(self, v: Params) -> Params:
        """Hessian times v, new tensors."""
        ...

    def curve(self, v: Params) -> Params | None:
        """Second-order term of a path along v (`Curved`)."""
        ...


@dataclass(frozen=True)
class Parts:
    """A sum of objectives of one tensor each, by name, that have nothing to do with each other."""

    parts: Mapping[str, Evaluated] = field(repr=False)

    @property
    def value(self) -> Tensor:
        """Their sum."""
        return torch.stack([part.value for part in self.parts.values()]).sum()

    def gradient(self) -> Params:
        """Each part's."""
        return {name: part.gradient() for name, part in self.parts.items()}

    def product(self, v: Params) -> Params:
        """Each part's."""
        return {name: part.product(v[name]) for name, part in self.parts.items()}

    def curve(self, v: Params) -> Params | None:
        """0 in parts that know of none; None where no part knows one."""
        known = {name: part.curve(v[name]) for name, part in self.parts.items() if isinstance(part, Curved)}
        if all(bent is None for bent in known.values()):
            return None
        bent = {name: known.get(name) for name in v}
        return {name: torch.zeros_like(v[name]) if c is None else c for name, c in bent.items()}


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device; torch raises a RuntimeError then, told from others by its text."""
    texts = ("can't allocate memory", "not enough memory", "out of memory", "alloc_cpu")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)
