"""What `--zero-inflation` and `--posterior full` of `pln` cost, in times of what plain `pln` takes.

    python -m benchmarks.inflation                       all tables
    python -m benchmarks.inflation --tables oaks --rounds 1 --name part
    python -m benchmarks.inflation --full                the full posterior of the oaks, too

One process of one thread fits each table in turn by each kind; seconds are CPU time, the least of the rounds, of the
fit alone, without standard errors. The oaks are fitted with exposures and an intercept; the others are drawn from the
model (`SHAPES`), with structural zeros of probability pi. Writes benchmarks/results/NAME.md.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import NamedTuple

import torch

from benchmarks.coverage import RESULTS
from benchmarks.problems import load
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.base import Model
from plncli.models.pln.model import PLN
from plncli.models.pln.posterior.model import FullPLN

KINDS = ("none", "single", "feature", "sample")
COLUMNS = ("table", "kind", "ELBO", "above plain", "steps", "products", "seconds", "times plain")


class Shape(NamedTuple):
    """Of a drawn table: samples, features, mean count of one that is no structural zero, pi, latent sd."""

    n: int
    p: int
    depth: float
    pi: float
    sd: float


SHAPES = {
    "300 x 60, pi 0.3": Shape(300, 60, 20.0, 0.3, 0.8),
    "300 x 60": Shape(300, 60, 20.0, 0.0, 0.8),
    "200 x 100, pi 0.2": Shape(200, 100, 5.0, 0.2, 1.0),
    "60 x 40, wide, pi 0.3": Shape(60, 40, 20.0, 0.3, 2.0),
    "1000 x 30, rare, pi 0.1": Shape(1000, 30, 1.0, 0.1, 1.0),
}


def drawn(shape: Shape, seed: int = 0) -> Dataset:
    """A table with one covariate, features of different variances, all correlated."""
    n, p, depth, pi, sd = shape
    g = torch.Generator().manual_seed(seed)
    L = torch.randn(p, p, generator=g, dtype=torch.float64) / math.sqrt(p)
    Sigma = sd**2 * 0.5 * (L @ L.mT + torch.eye(p, dtype=torch.float64))
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.stack([math.log(depth) - 0.5 * Sigma.diagonal(), 0.3 * torch.randn(p, generator=g).double()])
    Z = X @ B + torch.randn(n, p, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    gone = torch.rand(n, p, generator=g, dtype=torch.float64) < pi
    Y = torch.poisson(Z.exp(), generator=g).masked_fill(gone, 0.0)
    return Dataset(Y, X, torch.zeros(n, 1).double(), torch.ones(n).double()).among(
        torch.arange(2), (Y.sum(0) > 0).nonzero()[:, 0]
    )


def oaks() -> Dataset:
    """With an intercept and exposures."""
    problem = load("oaks-1")
    Y, X, O = (torch.from_numpy(table) for table in (problem.Y, problem.X, problem.O))
    return Dataset(Y, X, O, torch.ones(len(Y)).double())


def measured(name: str, data: Dataset, models: dict[str, Model], rounds: int) -> list[str]:
    """A row for each model; the first is what others are held against."""
    least: dict[str, float] = {}
    results = {}
    for _ in range(rounds):
        for kind, model in models.items():
            began = time.process_time()
            results[kind] = fit(model, data)
            least[kind] = min(least.get(kind, math.inf), time.process_time() - began)
    plain, *_ = models
    rows = []
    for kind, result in results.items():
        optimum = result.optimum
        if not result.converged:
            kind += " (not converged)"
        bound, gain = result.criteria.loglik, result.criteria.loglik - results[plain].criteria.loglik
        counts = f"{bound:.4f} | {gain:.4f} | {optimum.steps} | {optimum.products}"
        seconds = least[kind.split(" (")[0]]
        rows.append(f"| {name} | {kind} | {counts} | {seconds:.3f} | {seconds / least[plain]:.1f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["oaks", *SHAPES], choices=["oaks", *SHAPES])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--name", default="inflation")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Model] = {kind: PLN(zero_inflation=kind) for kind in asked.kinds}
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * 2}{'---:|' * (len(COLUMNS) - 2)}"]
    print("\n".join(lines), flush=True)
    for name in asked.tables:
        lines += measured(name, oaks() if name == "oaks" else drawn(SHAPES[name]), models, asked.rounds)
    if asked.full:
        lines += measured("oaks", oaks(), {"none": PLN(), "full posterior": FullPLN()}, 1)
    head = "What zero inflation costs: seconds on one thread, and in times of plain `pln`."
    (RESULTS / f"{asked.name}.md").write_text("\n".join([head, "", *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
