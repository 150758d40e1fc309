"""Where the search for clusters begins: in log counts less what covariates explain, or in an earlier fit.

Clusters that an earlier fit has are split or merged (Ueda, Nakano, Ghahramani & Hinton 2000).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from plncli.arrays import Params
from plncli.models.base import Init
from plncli.models.mixture.prepared import Prepared
from plncli.models.mixture.rounds import annealed, rounds
from plncli.numerics.rows import gram, group_totals, total, weigh

ROUNDS = 20
"""Of a start, at most."""
RUNS, MOVES = 10, 100
"""Of k-means, from other centres, and moves in each."""
DIRECTIONS = 10
"""Principal components of log counts in which clusters are looked for."""
CANDIDATES = 3
"""Splits or merges that are tried."""
HEATS = (0.1, 0.03)
"""Powers to which probabilities are taken at first, where a start is annealed."""
COLDEST, HOTTEST = 0.3, 0.01
"""Of starts by chance."""
OWN = 0.8
"""Probability of its own cluster that a sample begins with, where it is not put there for sure."""
SURE = -30.0
"""Logarithm of the odds that a sample is not of the cluster that it is put into."""


def residuals(prepared: Prepared) -> Tensor:
    """Log counts less the offset and their regression on the design, n×p; 0 in cells that don't count."""
    table = prepared.table
    L = _log_counts(prepared)
    centred = L - (table.w @ L) / table.wbar
    return centred - table.T @ (gram(weigh(table.w, table.T), centred) / table.wbar)


def _log_counts(prepared: Prepared) -> Tensor:
    table = prepared.table
    L = table.Y.log1p() - table.O
    if table.K is None:
        return L
    return torch.where(table.K > 0, L, total(L * table.K) / total(table.K).clamp_min(1.0))


def principal(E: Tensor, w: Tensor) -> Tensor:
    """Scores of samples on the leading principal components of E (n×p), n×q."""
    centred = w.sqrt()[:, None] * E
    U, values, _ = torch.linalg.svd(centred, full_matrices=False)  # needs all rows
    q = min(DIRECTIONS, len(values))
    return U[:, :q] * values[:q] / w.sqrt()[:, None]


def k_means(E: Tensor, w: Tensor, many: int, generator: Generator) -> Tensor:
    """Labels (n,) of the best of several runs (Lloyd 1982) from centres far apart (Arthur & Vassilvitskii 2007)."""
    best, labels = torch.inf, torch.zeros(len(E), dtype=torch.long, device=E.device)
    for _ in range(RUNS if many > 1 else 1):
        found, loss = _lloyd(E, w, _far_apart(E, w, many, generator))
        if loss < best:
            best, labels = loss, found
    return labels


def _far_apart(E: Tensor, w: Tensor, many: int, generator: Generator) -> Tensor:
    centres, nearest = [], torch.ones_like(w)
    for _ in range(many):
        chances = (w * nearest).cpu()
        if not float(chances.sum()) > 0:
            chances = w.cpu()
        centres.append(E[int(torch.multinomial(chances, 1, generator=generator))])
        distance = (E - centres[-1]).square().sum(1)
        nearest = distance if len(centres) == 1 else torch.minimum(nearest, distance)
    return torch.stack(centres)


def _lloyd(E: Tensor, w: Tensor, centres: Tensor) -> tuple[Tensor, float]:
    labels = torch.full((len(E),), -1, device=E.device)
    for _ in range(MOVES):
        distances = torch.cdist(E, centres).square()
        now = distances.argmin(1)
        if torch.equal(now, labels):
            break
        labels = now
        sizes = group_totals(w, labels, len(centres))
        means = group_totals(weigh(w, E), labels, len(centres)) / sizes.clamp_min(1e-300)[:, None]
        centres = torch.where((sizes > 0)[:, None], means, centres)
    distances = torch.cdist(E, centres).square()
    return labels, float(w @ distances.gather(1, labels[:, None])[:, 0])


def from_probabilities(prepared: Prepared, tau: Tensor, heat: float | None = None) -> Params:
    """Where rounds end that begin with samples in clusters by these probabilities, n×K; annealed from `heat`."""
    table = prepared.table
    L = _log_counts(prepared)
    counts = table.Y if table.K is None else table.Y * table.K
    q = torch.stack([L, -(2.0 + counts).log()])
    centred = L - (table.w @ L) / table.wbar
    beta = gram(weigh(table.w, table.T), centred) / table.wbar
    zeta = tau.clamp_min(torch.finfo(tau.dtype).tiny).log().clamp_min(SURE)
    begun = {"q": q[:, None].repeat(1, tau.shape[1], 1, 1), "zeta": zeta, "beta": beta}
    return rounds(begun if heat is None else annealed(begun, table, heat), table, ROUNDS)


def from_labels(prepared: Prepared, labels: Tensor, heat: float | None = None) -> Params:
    """The same, of samples in one cluster each, (n,), or most probably there, where they are annealed."""
    tau = torch.nn.functional.one_hot(labels, prepared.many).to(prepared.data.Y)
    if heat is not None:
        tau = OWN * tau + (1.0 - OWN) / prepared.many
    return from_probabilities(prepared, tau, heat)


def by_components(prepared: Prepared, generator: Generator) -> Tensor:
    """Labels by k-means in the principal components of residuals, (n,)."""
    E = principal(residuals(prepared), prepared.table.w)
    return k_means(E, prepared.table.w, prepared.many, generator)


def by_chance(prepared: Prepared, generator: Generator) -> Params:
    """From samples of which a fifth are in any cluster, annealed from a heat by chance."""
    labels = by_components(prepared, generator)
    moved = torch.rand(len(labels), generator=generator) < 1.0 - OWN
    other = torch.randint(prepared.many, (len(labels),), generator=generator)
    heat = COLDEST * (HOTTEST / COLDEST) ** float(torch.rand((), generator=generator))
    return from_labels(prepared, torch.where(moved.to(labels.device), other.to(labels.device), labels), heat)


def starts(prepared: Prepared, init: Init | None) -> Iterator[Params]:
    """From an earlier fit, split or merged until it has as many clusters, and by k-means, annealed or not."""
    generator, many = torch.Generator().manual_seed(0), prepared.many
    if init is not None:
        tau = known(prepared, init)
        for candidate in _with_as_many(prepared, tau, generator):
            yield from_probabilities(prepared, candidate)
    labels = by_components(prepared, generator)
    for heat in HEATS:
        yield from_labels(prepared, labels, heat)
    yield from_labels(prepared, k_means(residuals(prepared), prepared.table.w, many, generator))


def known(prepared: Prepared, init: Init) -> Tensor:
    """Probabilities of an earlier fit, of whatever number of clusters; alike for samples that it did not have."""
    tau = init["tau"].to(prepared.data.Y)
    tau = torch.where(torch.isfinite(tau), tau, 1.0 / tau.shape[1])
    return tau / tau.sum(1, keepdim=True)


def _with_as_many(prepared: Prepared, tau: Tensor, generator: Generator) -> Iterator[Tensor]:
    many = prepared.many
    while tau.shape[1] > many + 1:
        tau = next(_merged(prepared, tau))
    while tau.shape[1] < many - 1:
        tau = next(_split(prepared, tau, generator))
    yield from _merged(prepared, tau) if tau.shape[1] > many else _split(prepared, tau, generator)


def around(prepared: Prepared, tau: Tensor) -> Iterator[Params]:
    """Two clusters of tau (n×K) merged, and one split."""
    if tau.shape[1] < 3:
        return
    generator = torch.Generator().manual_seed(0)
    for merged in _merged(prepared, tau):
        yield from_probabilities(prepared, next(_split(prepared, merged, generator)))


def _split(prepared: Prepared, tau: Tensor, generator: Generator) -> Iterator[Tensor]:
    """One of the clusters split, the most spread first: by k-means of two centres within it."""
    E, w = residuals(prepared), prepared.table.w
    W = w[:, None] * tau
    means = (W.mT @ E) / total(W).clamp_min(1e-300)[:, None]
    spread = torch.stack([W[:, k] @ (E - means[k]).square().sum(1) for k in range(tau.shape[1])])
    for k in spread.argsort(descending=True).tolist()[:CANDIDATES]:
        inside = (tau[:, k] > 0.5).nonzero()[:, 0]
        if len(inside) < 2:
            continue
        scores = principal(E[inside] - means[k], w[inside])
        second = torch.zeros_like(w)
        second[inside] = k_means(scores, w[inside], 2, generator).to(w)
        yield torch.cat([tau, (tau[:, k] * second)[:, None]], 1).index_copy(
            1, torch.tensor([k], device=tau.device), (tau[:, k] * (1.0 - second))[:, None]
        )
    yield torch.cat([tau, tau[:, :1] * 0.5], 1).index_copy(1, torch.tensor([0], device=tau.device), tau[:, :1] * 0.5)


def _merged(prepared: Prepared, tau: Tensor) -> Iterator[Tensor]:
    """Two of the clusters as one, those nearest to each other first."""
    E, W = residuals(prepared), prepared.table.w[:, None] * tau
    sizes = total(W).clamp_min(1e-300)
    means = (W.mT @ E) / sizes[:, None]
    # what the sum of squares within clusters grows by (Ward 1963)
    growth = torch.cdist(means, means).square() / (1.0 / sizes[:, None] + 1.0 / sizes)
    pairs = torch.triu_indices(len(sizes), len(sizes), 1, device=tau.device)
    order = growth[pairs[0], pairs[1]].argsort()[:CANDIDATES]
    for a, b in pairs[:, order].mT.tolist():
        kept = [k for k in range(len(sizes)) if k not in (a, b)]
        yield torch.cat([tau[:, kept], tau[:, [a]] + tau[:, [b]]], 1)
