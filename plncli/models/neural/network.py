"""The network: linear layers with ReLU between them, on standardised inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from plncli.arrays import Params
from plncli.models.neural.spec import LAYER

INTERCEPT = "Intercept"


def layers(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """A multilayer perceptron: `hidden` widths, each layer followed by ReLU, and a linear one at the end."""
    modules: list[nn.Module] = []
    for width in hidden:
        modules += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))


@dataclass(frozen=True)
class Network:
    """f(x) = level + spread · module((x − centre) / scale), n×p, of rows x of a design.

    centre, scale: (d,), scale 0 where a column is no input, as the intercept; level, spread: (p,), what responses are
    measured in.
    """

    module: nn.Sequential = field(repr=False)
    centre: Tensor
    scale: Tensor
    level: Tensor
    spread: Tensor

    @classmethod
    def begun(
        cls, X: Tensor, terms: Sequence[str], hidden: Sequence[int], level: Tensor, spread: Tensor, seed: int
    ) -> tuple[Network, Params]:
        """A network for designs like X (n×d), and its weights by chance, by seed."""
        used = torch.tensor([term != INTERCEPT for term in terms], device=X.device)
        scale = torch.where(used, X.std(0, correction=0), 0.0)
        centre = torch.where(used, X.mean(0), 0.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = layers(int(used.sum()), hidden, len(level))
        module = module.to(X)
        weights = {f"{LAYER}{name}": tensor.detach().clone() for name, tensor in module.named_parameters()}
        return cls(module, centre, scale, level, spread), weights

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> tuple[Network, Params]:
        """Undo `tensors`, in float64 on the CPU."""
        plain = {name: torch.as_tensor(state[name]).detach().cpu().double() for name in state if "network" in name}
        weights = {name: tensor for name, tensor in plain.items() if name.startswith(LAYER)}
        widths = [len(weights[f"{LAYER}{2 * k}.bias"]) for k in range(len(weights) // 2)]
        known = (plain[f"network_{name}"] for name in ("centre", "scale", "level", "spread"))
        inputs = weights[f"{LAYER}0.weight"].shape[1]
        return cls(layers(inputs, widths[:-1], widths[-1]).double(), *known), weights

    def tensors(self, weights: Params) -> dict[str, Tensor]:
        """What another process needs to know of it, by symbol."""
        own = {name: weights[name].detach() for name in weights if name.startswith(LAYER)}
        known = {f"network_{name}": getattr(self, name) for name in ("centre", "scale", "level", "spread")}
        return own | known

    def inputs(self, X: Tensor) -> Tensor:
        """Columns of X (n×d) in standard deviations from their means, n×m."""
        used = self.scale != 0
        return (X[:, used] - self.centre[used]) / self.scale[used]

    def __call__(self, weights: Params, X: Tensor) -> Tensor:
        """f of the rows of X (n×d), n×p."""
        own = {name.removeprefix(LAYER): tensor for name, tensor in weights.items() if name.startswith(LAYER)}
        return self.level + self.spread * functional_call(self.module, own, (self.inputs(X),))


def squares(weights: Params) -> Tensor:
    """Sum of the squares of all weights; biases are not among them."""
    found = [tensor.square().sum() for name, tensor in weights.items() if name.endswith(".weight")]
    return torch.stack(found).sum()


def count(weights: Params) -> int:
    """How many weights and biases there are."""
    return sum(math.prod(tensor.shape) for name, tensor in weights.items() if name.startswith(LAYER))
