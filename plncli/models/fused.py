"""Objectives with derivatives of their own, behind autograd's interface: value, gradient and Hessian product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from plncli.arrays import Differentiated, Evaluated, Params


class Source(Protocol):
    """What evaluates an objective, and keeps the latest evaluation."""

    def at(self, x: Tensor) -> Evaluated:
        """The evaluation at x."""
        ...


class Fused(torch.autograd.Function):
    """The value at x; its backward is a function too, whose backward is the Hessian product.

    An objective is a subclass with nothing of its own but the name that the graph shows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Source) -> Tensor:
        """The value (scalar)."""
        ctx.at = source.at(x)
        ctx.save_for_backward(x)
        return ctx.at.value.clone()  # a tensor of its own: autograd ties it to ctx, and ctx holds the evaluation

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """Gradient times the upstream scalar."""
        (x,) = ctx.saved_tensors
        return FusedGradient.apply(x, upstream, ctx.at), None


class FusedGradient(torch.autograd.Function):
    """Gradient in x of an evaluation, times the upstream scalar."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, upstream: Tensor, at: Evaluated) -> Tensor:  # noqa: ARG004 (x is for the graph)
        """The gradient, of x's shape."""
        ctx.at = at
        ctx.save_for_backward(upstream)
        return at.gradient().mul_(upstream)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Hessian times dx (the Hessian is symmetric), and the gradient along dx for the upstream scalar."""
        if torch.is_grad_enabled():
            raise NotImplementedError("This objective has no third derivatives; use the plain objective for them.")
        (upstream,) = ctx.saved_tensors
        along = (ctx.at.gradient() * dx).sum() if ctx.needs_input_grad[1] else None
        return ctx.at.product(dx).mul_(upstream), along, None


@dataclass(frozen=True)
class _Joined:
    """An objective of several tensors as one of a vector."""

    objective: Callable[[Params], Differentiated]
    shapes: dict[str, torch.Size]

    def split(self, x: Tensor) -> Params:
        parts = x.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def at(self, x: Tensor) -> _OfVector:
        return _OfVector(self, self.objective(self.split(x.detach())))


class _OfVector:
    def __init__(self, source: _Joined, at: Differentiated) -> None:
        self._source, self._at, self.value = source, at, at.value

    def _vector(self, params: Params) -> Tensor:
        return torch.cat([params[name].reshape(-1) for name in self._source.shapes])

    def gradient(self) -> Tensor:
        return self._vector(self._at.gradient())

    def product(self, v: Tensor) -> Tensor:
        return self._vector(self._at.product(self._source.split(v)))


def joined(kind: type[Fused], params: Params, at: Callable[[Params], Differentiated]) -> Tensor:
    """The value (scalar) at `params` of an objective that is known by its evaluations, under the name of `kind`."""
    x = torch.cat([tensor.reshape(-1) for tensor in params.values()])
    value: Tensor = kind.apply(x, _Joined(at, {name: tensor.shape for name, tensor in params.items()}))
    return value
