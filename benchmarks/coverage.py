"""How often the 95 % confidence intervals of `plncli fit pln` hold the truth, by simulation.

    python -m benchmarks.coverage                                      the whole grid
    python -m benchmarks.coverage --n 100 --p 10 --sets 20 --name part a small cell

Counts are drawn from the model: intercept, three standard normal covariates in units that put them on scales 1, 0.1
and 3, and a factor of two levels; correlations 0.5^|j - k|, standard deviations 0.8; depth: expected counts a sample,
shared out unevenly. Writes benchmarks/results/NAME.md, a row a cell and a column a term, in percent, and NAME.csv.

The intervals of one data set are not independent, so the error of a share is taken from how the data sets' own shares
spread. Features without any count are left out, as the program demands; coefficients without a finite estimate have no
interval and are counted in the CSV (`without`).
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.pln.model import PLN

TERMS = ("Intercept", "scale 1", "scale 0.1", "scale 3", "factor")
SCALES = torch.tensor([1.0, 1.0, 0.1, 3.0, 1.0], dtype=torch.float64)
F = torch.float64
RESULTS = Path(__file__).parent / "results"


class Cell(NamedTuple):
    """One setting of the simulation: samples, features, expected counts a sample."""

    n: int
    p: int
    depth: float


GRID = [Cell(n, p, 1e3) for p in (10, 50) for n in (50, 100, 250, 1000)]
RARE = [Cell(n, p, 3.0 * p) for p in (10, 50) for n in (50, 100, 250, 1000)]


def drawn(cell: Cell, seed: int) -> tuple[Dataset, Tensor]:
    """A data set, and the true B (5×p) that made it."""
    n, p, depth = cell
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 5, generator=g, dtype=F)
    X[:, 0], X[:, 4] = 1.0, (torch.arange(n) % 2).double()
    B = 0.3 * torch.randn(5, p, generator=g, dtype=F)
    share = torch.softmax(torch.randn(p, generator=g, dtype=F), 0)
    B[0] += (depth * share).log()
    index = torch.arange(p, dtype=F)
    Sigma = 0.64 * 0.5 ** (index[:, None] - index).abs()
    Z = X @ B + torch.randn(n, p, generator=g, dtype=F) @ torch.linalg.cholesky(Sigma).mT
    Y = torch.poisson(Z.exp(), generator=g)
    return Dataset(Y, X * SCALES, torch.zeros(n, 1, dtype=F), torch.ones(n, dtype=F)), B / SCALES[:, None]


def held(cell: Cell, rule: InferenceRule, seed: int) -> Tensor:
    """Of one data set, by term (3×5): intervals that hold the truth, intervals, coefficients without one."""
    torch.set_num_threads(1)
    data, B = drawn(cell, seed)
    seen = data.Y.sum(0) > 0
    found = fit(PLN(), Dataset(data.Y[:, seen], data.X, data.O, data.w), inference=rule).inference
    if found is None:
        return torch.stack([torch.zeros(5, dtype=F), torch.zeros(5, dtype=F), seen.sum().double().expand(5)])
    there = ~found.std_error.isnan()
    inside = (found.conf_low <= B[:, seen]) & (B[:, seen] <= found.conf_high)
    return torch.stack([(inside & there).sum(1), there.sum(1), (~there).sum(1)]).double()


class Share(NamedTuple):
    """Intervals that hold the truth, as a share of all, with its Monte Carlo error."""

    value: float
    error: float
    intervals: int
    without: int


def share(counts: Tensor) -> Share:
    """From the counts of each data set (sets×3)."""
    inside, tried, without = counts.unbind(1)
    value = float(inside.sum() / tried.sum())
    spread = float((inside - value * tried).square().sum()) / max(1, len(counts) - 1) * len(counts)
    return Share(value, math.sqrt(spread) / float(tried.sum()), int(tried.sum()), int(without.sum()))


def simulated(cells: Iterable[Cell], sets: int, rule: InferenceRule, processes: int) -> Iterator[tuple[Cell, Tensor]]:
    """Each cell with the counts of its data sets, sets×3×5; data sets are fitted in parallel."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for cell in cells:
            yield cell, torch.stack(pool.map(partial(held, cell, rule), range(sets), chunksize=5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+")
    parser.add_argument("--p", type=int, nargs="+")
    parser.add_argument("--depth", type=float, nargs="+")
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--se", default="sandwich")
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="coverage", help="of the files written to benchmarks/results")
    given = parser.parse_args()
    cells = [*GRID, *RARE]
    if given.n or given.p or given.depth:
        cells = [Cell(n, p, s) for s in given.depth or [1e3] for p in given.p or [10, 50] for n in given.n or [100]]
    told = f"| n | p | depth | sets | {' | '.join(TERMS)} | all |\n|{'---:|' * (5 + len(TERMS))}"
    rows: list[list[object]] = []
    print(told, flush=True)
    for cell, counts in simulated(cells, given.sets, InferenceRule(given.se, given.level), given.processes):
        shares = [share(counts[:, :, k]) for k in range(len(TERMS))] + [share(counts.sum(2))]
        for term, s in zip((*TERMS, "all"), shares, strict=True):
            rows.append([*cell, len(counts), term, s.intervals, s.without, f"{s.value:.5f}", f"{s.error:.5f}"])
        figures = " | ".join(f"{100.0 * s.value:.1f} ± {100.0 * s.error:.1f}" for s in shares)
        line = f"| {cell.n} | {cell.p} | {cell.depth:g} | {len(counts)} | {figures} |"
        told += f"\n{line}"
        print(line, flush=True)
    RESULTS.mkdir(exist_ok=True)
    head = (
        f"Intervals of {100.0 * given.level:g} % (--se {given.se}) that hold the truth, in percent ± Monte Carlo error."
    )
    (RESULTS / f"{given.name}.md").write_text(f"{head}\n\n{told}\n", encoding="utf-8")
    with (RESULTS / f"{given.name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["n", "p", "depth", "sets", "term", "intervals", "without", "coverage", "error"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
