"""How stable links are: how often they are found in subsamples (StARS; Liu, Roeder & Wasserman 2010)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, FitError
from plncli.fitting import fit
from plncli.inference.resampling import Part
from plncli.inference.workers import shared
from plncli.models.base import Linking
from plncli.models.uncertainty import Interrupted
from plncli.optim.base import Status, StopRule
from plncli.progress import OnDone

SHARE = 0.8
"""Of the samples, at most, in a subsample."""
STABLE = 0.05
"""Instability up to which a network counts as stable."""
LOOSE = 1e-5
"""Nats a sample that may be left in a fit of a subsample."""


@dataclass(frozen=True)
class Links:
    """The links in one subsample, a row a value of the setting: v×p(p − 1)/2 booleans, pairs by `torch.triu_indices`.

    fitted: (v,) values with a fit.
    """

    found: Tensor
    fitted: Tensor


@dataclass(frozen=True)
class Stability:
    """frequencies: v×p(p − 1)/2 shares of subsamples in which a pair is linked; instability: (v,).

    Values are in the order of a path, from the fewest links to the most. The instability of a value is the mean over
    pairs of 2 f (1 − f), or that of an earlier value where that is larger: it then never falls along the path.
    """

    values: tuple[float, ...]
    frequencies: Tensor
    instability: Tensor

    @property
    def stable(self) -> int:
        """The last value whose instability is at most STABLE, the first where none is."""
        return max(int((self.instability <= STABLE).sum()) - 1, 0)

    def matrix(self, value: int, p: int) -> Tensor:
        """Frequencies of one value, p×p, 1 on the diagonal."""
        made = torch.eye(p, dtype=torch.float64)
        j, k = torch.triu_indices(p, p, 1)
        made[j, k] = made[k, j] = self.frequencies[value]
        return made

    def found(self, p: int) -> dict[str, Tensor]:
        """What a fit keeps of all values, by symbol: of the pairs that were ever linked."""
        j, k = torch.triu_indices(p, p, 1)
        kept = (self.frequencies > 0).any(0)
        return {
            "frequency_values": torch.tensor(self.values, dtype=torch.float64),
            "frequency_first": j[kept],
            "frequency_second": k[kept],
            "frequencies": self.frequencies[:, kept].double(),
        }


@dataclass(frozen=True)
class Task:
    """Fits of subsamples, each along all values, the next from the one before.

    seeds: of each subsample; size: clusters, or samples, in each.
    """

    model: Linking
    data: Dataset
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    size: int

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def on_cpu(self) -> bool:
        """Whether processes can share the fits."""
        return self.data.Y.device.type == "cpu"

    def name(self, index: int) -> str:
        """The number of the subsample."""
        return f"subsample {index + 1}"

    def rows(self, index: int) -> Tensor:
        """The samples of a subsample, ascending."""
        g = torch.Generator().manual_seed(self.seeds[index])
        drawn = torch.randperm(self.data.n_clusters, generator=g)[: self.size]
        units = torch.arange(self.data.n) if self.data.clusters is None else self.data.clusters.cpu()
        return torch.isin(units, drawn).nonzero()[:, 0]

    def part(self, index: int, cancelled: Callable[[], bool] = lambda: False) -> Links:
        """The links in a subsample: of the features and terms that it can tell of."""
        p, rows = self.data.p, self.rows(index).to(self.data.Y.device)
        data = self.data.take(rows, torch.ones_like(rows))
        found = torch.zeros((len(self.values), p, p), dtype=torch.bool)
        fitted = torch.zeros(len(self.values), dtype=torch.bool)
        whole = Part(torch.arange(data.d), torch.arange(p), torch.ones(data.d, dtype=torch.bool))
        part = next(iter(Part.of(self.model.selecting(self.values[0]), data)), whole)
        place, data, init = part.features.cpu(), data.among(part.terms, part.features), None
        for v, value in enumerate(self.values):
            model: Any = self.model.selecting(value)
            with suppress(DataError, FitError):
                result = fit(model.among(part.features), data, stop=StopRule(LOOSE, cancelled=cancelled), init=init)
                if result.optimum.status is Status.INTERRUPTED:
                    raise Interrupted
                init = {**result.estimates, **result.state}
                found[v, place[:, None], place] = self.model.links(init).cpu()
                fitted[v] = True
        j, k = torch.triu_indices(p, p, 1)
        return Links(found[:, j, k], fitted)


def stability(
    model: Linking,
    data: Dataset,
    values: Sequence[float],
    subsamples: int,
    seed: int,
    workers: int,
    on_done: OnDone | None,
    cancelled: Callable[[], bool],
) -> Stability:
    """Of links along a path, by subsamples without replacement of 10 sqrt(n) samples, or clusters; 0.8 n at most.

    The same to the bit by any number of workers. DataError where some value could be fitted to no subsample.
    """
    n = data.n_clusters
    size = max(min(math.floor(10.0 * math.sqrt(n)), math.floor(SHARE * n)), 1)
    seeds = torch.randint(2**62, (subsamples,), generator=torch.Generator().manual_seed(seed)).tolist()
    answers = shared(Task(model, data, tuple(values), tuple(seeds), size), workers, on_done, cancelled)
    many = torch.stack([one.fitted for one in answers]).sum(0)
    if not bool((many > 0).all()):
        raise DataError("No subsample could be fitted: there are too few samples to tell which links are stable.")
    frequencies = torch.stack([one.found for one in answers]).double().sum(0) / many[:, None]
    instability = (2.0 * frequencies * (1.0 - frequencies)).mean(1)
    return Stability(tuple(values), frequencies, torch.cummax(instability, 0).values)
