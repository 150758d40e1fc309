"""A problem as torch.optim sees it: a closure in variables of comparable curvature, and what an optimizer remembers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from plncli import ranks
from plncli.arrays import Params
from plncli.errors import unfit
from plncli.optim.base import MANY, Point, Problem, Run, State
from plncli.optim.space import Space

Stepper = Callable[[Tensor, float], torch.optim.Optimizer]
"""Makes the torch optimizer of a variable u for a learning rate."""


class Closure:
    """Loss and gradient at u, where x = x0 + D u: what torch.optim calls. The last evaluation is kept.

    D = curvature^-½ at the start (1 where the problem states no curvature), so that one learning rate suits all
    parameters, whatever their units. Where the objective is not defined the loss is very large, but finite, for line
    searches that interpolate.
    """

    def __init__(self, problem: Problem, run: Run) -> None:
        self.problem, self.run = problem, run
        self.space = Space(problem.start, problem.sampled)
        self.origin = self.space.join(problem.start)
        self.scale = torch.ones_like(self.origin)
        if problem.curvature is not None:
            self.scale = self.space.join(problem.curvature(problem.start)).rsqrt()
        self.u = torch.zeros_like(self.origin).requires_grad_(True)
        self._at: Tensor | None = None
        self.loss = math.inf

    def __call__(self) -> float:
        """The loss at u, with its gradient in u.grad."""
        if not self.known():
            self.run.evaluations += 1
            self._at = self.u.detach().clone()
            point = self.point(self._at)
            self.loss = point.loss
            gradient = point.gradient(again=False) if math.isfinite(point.loss) else torch.zeros_like(self.origin)
            self._gradient = gradient * self.scale
            self.grad_norm = self.space.norm(gradient)
        self.u.grad = self._gradient.clone()
        return self.loss if math.isfinite(self.loss) else torch.finfo(torch.float32).max

    def known(self) -> bool:
        """Whether the last evaluation was that at u."""
        return self._at is not None and not ranks.agreed(not torch.equal(self._at, self.u))

    def point(self, u: Tensor) -> Point:
        """The point x of a variable u."""
        return Point(self.problem, self.space, torch.addcmul(self.origin, self.scale, u.detach()))

    def params(self, u: Tensor) -> Params:
        """The parameters of a variable u."""
        return self.space.split(torch.addcmul(self.origin, self.scale, u.detach()))


def taken_apart(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a torch optimizer remembers, as tensors and as JSON, by its path: `old_dirs.3`."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for name, value in optimizer.state_dict()["state"].get(0, {}).items():
        if isinstance(value, Tensor):
            tensors[f"optimizer.{name}"] = value
        elif isinstance(value, list) and any(isinstance(entry, Tensor) for entry in value):
            tensors |= {f"optimizer.{name}.{i}": entry for i, entry in enumerate(value) if isinstance(entry, Tensor)}
            scalars[name] = [None] * len(value)
        else:
            scalars[name] = value
    return tensors, scalars


def restore(optimizer: torch.optim.Optimizer, state: State, stepper: Stepper) -> None:
    """Give a torch optimizer back what it remembered. DataError where it would remember other things."""
    scalars = state.facts.get("optimizer")
    known: dict[str, Any] = dict(scalars) if isinstance(scalars, dict) else {}
    for path, tensor in state.tensors.items():
        whole, _, name = path.partition(".")
        name, _, index = name.partition(".")
        if whole == "optimizer" and index:
            if not isinstance(known.get(name), list) or index not in map(str, range(len(known[name]))):
                raise unfit(f"its {path} has no place")
            known[name] = [*known[name]]
            known[name][int(index)] = tensor.clone()
        elif whole == "optimizer":
            known[name] = tensor.clone()
    if known:  # as they are: load_state_dict would turn them into the dtype of the parameters
        (parameter,) = optimizer.param_groups[0]["params"]
        _check_memory(known, parameter, stepper)
        optimizer.state[parameter] = known


def _check_memory(known: Mapping[str, Any], u: Tensor, stepper: Stepper) -> None:
    """DataError unless a torch optimizer that has made a few steps remembers things of the same names and kinds."""
    first, later = (_remembered(u, stepper, steps) for steps in (1, 4))
    begun = {*first} if known.get("n_iter") != 0 else set()  # L-BFGS at a gradient of 0 has not begun
    if not begun <= {*known} <= {*later}:
        raise unfit("its optimizer remembers other things")
    for name, value in known.items():
        if not (_alike(value, later[name], u) or (name in first and _alike(value, first[name], u))):
            raise unfit(f"its optimizer remembers another {name}")
    lengths = {
        len(known[name]) for name, value in later.items() if isinstance(value, list) and name in {*first} & {*known}
    }
    if len(lengths) > 1:
        raise unfit("its optimizer remembers unequal histories")


def _remembered(u: Tensor, stepper: Stepper, steps: int) -> dict[str, Any]:
    """What a torch optimizer remembers of a variable (2,) like u after a few steps down ½|v − 1|⁴."""
    v = torch.zeros_like(u[:1]).repeat(2).requires_grad_(True)
    optimizer = stepper(v, 0.1)

    def closure() -> float:
        away = v.detach() - 1.0
        v.grad = 2.0 * away**3
        return float(0.5 * (away**4).sum())

    for _ in range(steps):
        closure()
        optimizer.step(closure)
    return dict(optimizer.state[v])


def _alike(value: Any, example: Any, u: Tensor) -> bool:
    """Whether a value is of the kind of an example, which belongs to a variable (2,), for u (m,)."""
    if isinstance(example, Tensor):
        shape = u.shape if example.ndim else example.shape
        return isinstance(value, Tensor) and value.shape == shape and value.dtype == example.dtype
    if isinstance(example, list):
        entry = next((one for one in example if one is not None), None)
        empty = None in example
        return isinstance(value, list) and all((empty and one is None) or _alike(one, entry, u) for one in value)
    number = isinstance(value, float) or (type(value) is int and abs(value) <= MANY)
    return number if isinstance(example, int | float) else value is None and example is None
