"""Coverage of the confidence intervals of plncli fit pln, by simulation: how often a 95 % interval holds the truth.

    python -m benchmarks.coverage                              the whole grid, 200 data sets a cell, hours on one core
    python -m benchmarks.coverage --n 100 --p 10 --sets 20     a small cell

Counts are drawn from the model: intercept, three standard normal covariates in units that put them on scales 1, 0.1 and
3, and a factor of two levels; correlations 0.5^|j - k|, standard deviations 0.8; depth: expected counts a sample.
A Markdown table goes to standard output: a row a cell, a column a term, in percent.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference import InferenceRule
from plncli.models.pln import PLN

TERMS = ("Intercept", "scale 1", "scale 0.1", "scale 3", "factor")
SCALES = torch.tensor([1.0, 1.0, 0.1, 3.0, 1.0], dtype=torch.float64)
F = torch.float64


def drawn(n: int, p: int, depth: float, seed: int) -> tuple[Dataset, Tensor]:
    """A data set, and the true B (5×p) that made it."""
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


def coverage(n: int, p: int, depth: float, sets: int, method: str, level: float) -> tuple[Tensor, int]:
    """Share of intervals that hold the truth, by term (5,), and the data sets that gave any."""
    hits, tried, done = torch.zeros(5, dtype=F), torch.zeros(5, dtype=F), 0
    for seed in range(sets):
        data, B = drawn(n, p, depth, seed)
        seen = data.Y.sum(0) > 0
        data = Dataset(data.Y[:, seen], data.X, data.O, data.w)
        found = fit(PLN(), data, inference=InferenceRule(method, level)).inference
        if found is None:
            continue
        there = ~found.std_error.isnan()
        hits += ((found.conf_low <= B[:, seen]) & (B[:, seen] <= found.conf_high) & there).sum(1)
        tried += there.sum(1)
        done += 1
    return hits / tried, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[50, 100, 250, 1000])
    parser.add_argument("--p", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--depth", type=float, default=1e3)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--se", default="sandwich")
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"| n | p | sets | {' | '.join(TERMS)} |\n|{'---|' * (3 + len(TERMS))}", flush=True)
    for n in given.n:
        for p in given.p:
            shares, done = coverage(n, p, given.depth, given.sets, given.se, given.level)
            cells = " | ".join(f"{100.0 * share:.1f}" for share in shares.tolist())
            print(f"| {n} | {p} | {done} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
