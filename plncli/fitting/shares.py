"""Parameters that have a row for each sample, where samples are shared among ranks: those of all, and those here.

sampled: their names, with the axis on which the samples are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params
from plncli.numerics.rows import number, place


def collected(params: Params, sampled: Mapping[str, int]) -> Params:
    """With the samples of all ranks, on the first; on the others with nothing in their place."""
    group = ranks.now()
    if group is None:
        return params
    out = dict(params)
    for name in [name for name in params if name in sampled]:
        axis = sampled[name]
        found = group.collected(params[name].movedim(axis, 0).contiguous())
        out[name] = params[name].new_empty(0) if found is None else found.movedim(0, axis).contiguous()
    return out


def own(params: Mapping[str, Tensor], like: Params, sampled: Mapping[str, int]) -> dict[str, Tensor]:
    """The rows that are here, of the shapes of `like`; what is of other samples is left as it is."""
    out = dict(params)
    for name in [name for name in like if name in params and name in sampled]:
        axis = sampled[name]
        n = like[name].shape[axis]
        if params[name].ndim == like[name].ndim and params[name].shape[axis] == number(n):
            out[name] = params[name].movedim(axis, 0)[place(n)].movedim(0, axis).contiguous()
    return out


def collected_vector(vector: Tensor, like: Params, sampled: Mapping[str, int]) -> Tensor:
    """The same of parameters that are joined to a vector; another tensor as it is."""
    if ranks.now() is None or vector.shape != (sum(each.numel() for each in like.values()),):
        return vector
    parts = vector.split([each.numel() for each in like.values()])
    params = {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}
    return torch.cat([each.reshape(-1) for each in collected(params, sampled).values()])


def own_vector(vector: Tensor, like: Params, sampled: Mapping[str, int]) -> Tensor:
    """The rows that are here of a vector that joins parameters; another tensor as it is."""
    shapes = {name: _of_all(each.shape, sampled.get(name)) for name, each in like.items()}
    if ranks.now() is None or vector.shape != (sum(shape.numel() for shape in shapes.values()),):
        return vector
    parts = vector.split([shape.numel() for shape in shapes.values()])
    params = {name: part.view(shapes[name]) for name, part in zip(like, parts, strict=True)}
    return torch.cat([each.reshape(-1) for each in own(params, like, sampled).values()])


def _of_all(shape: torch.Size, axis: int | None) -> torch.Size:
    """A shape with all samples on that axis."""
    return shape if axis is None else torch.Size([*shape[:axis], number(shape[axis]), *shape[axis + 1 :]])
