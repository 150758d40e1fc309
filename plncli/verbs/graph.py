"""`graph`: the graph that autograd records for a model's objective."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from plncli import console
from plncli import settings as configuration
from plncli.models import MODELS
from plncli.models.neural.spec import has_network
from plncli.models.spec import CLASSES
from plncli.settings import FitConfig
from plncli.verbs.planning import model_of

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.dataset import Dataset
    from plncli.inputs.loading import Inputs


def graph(config: FitConfig, *, dot: bool, fused: bool) -> int:
    """Evaluate the objective once where a fit starts, and print what autograd recorded."""
    from plncli import runtime
    from plncli.fitting import graph as record
    from plncli.inputs import loading as inputs

    where = runtime.start("cpu", config.dtype, config.seed)
    read: Inputs | None = None
    if config.counts or config.response or config.covariates:
        configuration.check(config)
        read = inputs.load(config, device=where.device, dtype=where.dtype)
    if read is None and has_network(config.own):
        config = config.but(validation=0.0)  # of four samples none is held out
    data = read.data if read else example(config.model, covariate=has_network(config.own))
    loss, params = record(model_of(config, read), data, fused=fused)
    names = {id(tensor): name for name, tensor in params.items()}
    lines = dot_lines(loss, names) if dot else tree_lines(loss, names)
    console.out("\n".join(lines))
    return 0


def example(model: str, *, covariate: bool = False) -> Dataset:
    """Four samples of two responses, enough for the graph of any model; with a covariate, if there is to be one."""
    import torch

    from plncli.dataset import Dataset

    classes = MODELS[model].response is CLASSES
    Y = torch.tensor([[0, 1], [1, 0], [0, 0], [1, 1]] if classes else [[1, 0], [3, 5], [0, 2], [7, 4]]).double()
    X = torch.stack([torch.ones(4), torch.arange(4.0)], 1).to(Y)[:, : 1 + covariate]
    return Dataset(Y, X, torch.zeros(4, 1).to(Y), torch.ones(4).to(Y), terms=("Intercept", "x")[: 1 + covariate])


def label(node: Any, names: dict[int, str]) -> str:
    """What a node is called: the parameter that a leaf accumulates into, or the operation."""
    if hasattr(node, "variable"):
        shape = "×".join(map(str, node.variable.shape)) or "scalar"
        return f"{names.get(id(node.variable), 'leaf')} [{shape}]"
    return str(node.name()).removesuffix("0")


def inputs_of(node: Any) -> list[Any]:
    """The nodes whose outputs this one was computed from."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def tree_lines(loss: Tensor, names: dict[int, str]) -> list[str]:
    """The graph as a tree; a node that is used twice has a number, is drawn out once and then referred to."""
    uses: dict[Any, int] = {}
    for _, parent in edges(loss.grad_fn):
        uses[parent] = uses.get(parent, 0) + 1
    numbers: dict[Any, int] = {}

    def draw(node: Any, first: str, rest: str) -> Iterator[str]:
        text = label(node, names)
        again = node in numbers
        if uses.get(node, 0) > 1 and inputs_of(node):
            text += f" (see #{numbers[node]})" if again else f" #{numbers.setdefault(node, len(numbers) + 1)}"
        yield first + text
        parents = [] if again else inputs_of(node)
        for i, parent in enumerate(parents):
            last = i == len(parents) - 1
            yield from draw(parent, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    return list(draw(loss.grad_fn, "", ""))


def dot_lines(loss: Tensor, names: dict[int, str]) -> list[str]:
    """The graph in DOT; arrows go the way of the computation, from parameters to the loss."""
    joined = list(edges(loss.grad_fn))
    nodes = list(dict.fromkeys([loss.grad_fn, *(parent for _, parent in joined)]))
    index = {node: i for i, node in enumerate(nodes)}
    lines = ["digraph objective {", "  rankdir=BT;"]
    for node, i in index.items():
        shape = "box" if hasattr(node, "variable") else "ellipse"
        lines.append(f'  n{i} [label="{label(node, names)}", shape={shape}];')
    lines += [f"  n{index[parent]} -> n{index[node]};" for node, parent in joined]
    return [*lines, "}"]


def edges(root: Any) -> Iterator[tuple[Any, Any]]:
    """Every (node, input of it) that leads to `root`, each node looked at once."""
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        for parent in inputs_of(node):
            yield node, parent
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
