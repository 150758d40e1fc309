"""Random graphs, and covariances whose inverse has their edges."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from plncli.errors import UsageError

GRAPHS = ("random", "hub", "block", "scale-free")
GROUP = 10
"""Features to a hub, or in a block, as far as edges leave that open."""
STRENGTH, ABOVE = 0.3, 0.2
"""Off-diagonal entries of the inverse before they are scaled, and how far its eigenvalues are above 0."""


def covariance_of_graph(kind: str, p: int, edges: int | None, sd: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Sigma (p×p) with standard deviations sd, and Omega with the edges of a random graph, half of them negative.

    random: edges among all pairs; hub: features joined to one of few; block: edges within groups of features;
    scale-free: features join others by how many edges these have (Barabasi & Albert 1999). edges: how many; about p
    unless given. UsageError for more than there can be.
    """
    linked = torch.zeros(p, p, dtype=torch.bool)
    j, k = _PAIRS[kind](p, edges, generator)
    linked[j, k] = True
    sign = torch.where(torch.rand(p, p, generator=generator) < 0.5, -STRENGTH, STRENGTH).double()
    upper = torch.where(torch.triu(linked | linked.mT, 1), sign, 0.0)
    Omega = upper + upper.mT
    Omega.diagonal().add_(ABOVE - float(torch.linalg.eigvalsh(Omega)[0]))
    Sigma = torch.linalg.inv(Omega)
    scale = sd / Sigma.diagonal().sqrt()
    units = scale * scale[:, None]
    return Sigma * units, torch.where(Omega != 0, Omega / units, 0.0)


def _number(edges: int | None, usual: int, most: int) -> int:
    """How many edges there are to be."""
    if edges is not None and edges > most:
        raise UsageError(f"--edges must be from 1 to {most} for such a graph, not {edges}.")
    return min(usual, most) if edges is None else edges


def _among(pairs: Tensor, number: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Some of the pairs (2×m), each as likely."""
    j, k = pairs[:, torch.randperm(pairs.shape[1], generator=generator)[:number]]
    return j, k


def _random(p: int, edges: int | None, generator: Generator) -> tuple[Tensor, Tensor]:
    pairs = torch.triu_indices(p, p, 1)
    return _among(pairs, _number(edges, p, pairs.shape[1]), generator)


def _hub(p: int, edges: int | None, generator: Generator) -> tuple[Tensor, Tensor]:
    hubs = p - _number(edges, p - max(p // GROUP, 1), p - 1)
    order = torch.randperm(p, generator=generator)
    members = torch.arange(hubs, p)
    return order[members], order[members % hubs]


def _block(p: int, edges: int | None, generator: Generator) -> tuple[Tensor, Tensor]:
    group = torch.arange(p) * max(p // GROUP, 2) // p
    pairs = torch.triu_indices(p, p, 1)
    pairs = pairs[:, group[pairs[0]] == group[pairs[1]]]
    return _among(pairs, _number(edges, p, pairs.shape[1]), generator)


def _scale_free(p: int, edges: int | None, generator: Generator) -> tuple[Tensor, Tensor]:
    number = _number(edges, p - 1, p * (p - 1) // 2)
    order, degree = torch.randperm(p, generator=generator), torch.zeros(p, dtype=torch.float64)
    linked = torch.zeros(p, p, dtype=torch.bool)
    found: list[tuple[int, int]] = []
    while len(found) < number:
        young = len(found) + 1
        if young < p:  # each joins those before it
            j, weights = young, degree[:young] + (young == 1)
        else:  # then any two join
            open_ = (~linked).sum(1) - 1.0
            j = int(torch.multinomial((degree + 1.0) * (open_ > 0), 1, generator=generator))
            weights = degree + 1.0
            weights[j] = 0.0
            weights = weights * ~linked[j]
        k = int(torch.multinomial(weights, 1, generator=generator))
        linked[j, k] = linked[k, j] = True
        degree[[j, k]] += 1.0
        found.append((j, k))
    j_, k_ = torch.tensor(found, dtype=torch.int64).reshape(-1, 2).mT
    return order[j_], order[k_]


_PAIRS = dict(zip(GRAPHS, (_random, _hub, _block, _scale_free), strict=True))
