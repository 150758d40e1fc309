"""Objectives with derivatives of their own, behind autograd's interface: value, gradient and Hessian product."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from plncli.arrays import Evaluated


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
