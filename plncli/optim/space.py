"""Where an optimizer moves: parameters as one vector, with an inner product."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params


class Space:
    """Where an optimizer moves: parameters as one vector (m,) and back, with an inner product.

    x = join(params), params = split(x) as views of x. Where samples are shared among ranks, parameters that have a row
    for each sample (`sampled`) are local rows of a longer vector, and the others are the same on all: every sum over a
    vector is `dot` or `norm`.
    """

    def __init__(self, like: Params, sampled: Collection[str] = ()) -> None:
        self.names = tuple(like)
        self.sampled = tuple(name in sampled for name in self.names)
        self.shapes = [like[name].shape for name in self.names]
        self.sizes = [like[name].numel() for name in self.names]

    def join(self, params: Params) -> Tensor:
        """All parameters as one vector, in the order of their names; of a single one, a view."""
        parts = [params[name].detach().reshape(-1) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def split(self, x: Tensor) -> Params:
        """The parameters as views of `x`, differentiable."""
        if len(self.names) == 1:
            return {self.names[0]: x.view(self.shapes[0])}
        parts = x.split(self.sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def dot(self, u: Tensor, v: Tensor) -> Tensor:
        """u'v, scalar and differentiable."""
        group = ranks.now()
        if group is None:
            return torch.dot(u, v)
        # what all have is the first's to count: then all have the same sum, to the bit
        parts = zip(self.sampled, u.split(self.sizes), v.split(self.sizes), strict=True)
        here = [torch.dot(one, other) for sampled, one, other in parts if sampled or not group.own]
        return group.summed(torch.stack(here).sum() if here else u.new_zeros(()))[0]

    def norm(self, u: Tensor) -> float:
        """Euclidean norm of u (m,)."""
        return float(u.norm() if ranks.now() is None else self.dot(u, u).sqrt())
