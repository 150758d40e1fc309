"""Whether fits of more features than samples are certified, and what they take, on a grid of simulated tables.

    python -m benchmarks.wide                  the smallest tables, for a quarter of an hour
    python -m benchmarks.wide --minutes 240    all of them

A table for each of 40, 80, 130 and 200 samples, 1 to 20 times as many features, 20, 50, 70 and 90 % zeros, and 1 to 4
coefficients: 320 in all, fitted in the order of n²p for as long as time allows, a fit for ten minutes at most. The
coefficients are an intercept, a numeric covariate, the levels of a factor. Writes benchmarks/results/wide.csv, a row a
table, and wide.md, what they took at most by samples and features. Seconds are of CPU, on one thread.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import machine
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.pln.model import PLN
from plncli.optim.base import Status, StopRule
from plncli.verbs.simulate import invented

RESULTS = Path(__file__).parent / "results"
SAMPLES, TIMES, ZEROS = (40, 80, 130, 200), (1, 2, 5, 10, 20), (0.2, 0.5, 0.7, 0.9)
DESIGNS = {1: (0, 0), 2: (1, 0), 3: (0, 3), 4: (1, 3)}
"""Coefficients -> numeric covariates, and levels of a factor."""
STEPS, PRODUCTS = 40, 10_000
"""What a fit should take at most."""
LONGEST = 600.0


class Shape(NamedTuple):
    """A cell of the grid; the seed is its place."""

    n: int
    times: int
    zeros: float
    d: int
    seed: int


class Row(NamedTuple):
    """A table as it came, and its fit."""

    n: int
    times: int
    p: int
    zeros: float
    d: int
    status: str
    gap: float
    steps: int
    products: int
    boundary: int
    seconds: float

    @property
    def certified(self) -> bool:
        return self.status == Status.CONVERGED.name


def grid() -> Iterator[Shape]:
    """All shapes, the cheapest first."""
    cells = enumerate(itertools.product(SAMPLES, TIMES, ZEROS, DESIGNS))
    yield from sorted((Shape(*cell, seed) for seed, cell in cells), key=lambda shape: (shape.n**3 * shape.times, shape))


def drawn(shape: Shape) -> Dataset:
    """A table of that shape, without its empty rows and columns."""
    numeric, levels = DESIGNS[shape.d]
    design = {"p": shape.n * shape.times, "zeros": shape.zeros, "numeric": numeric, "levels": levels}
    made = invented("pln", shape.n, design, shape.seed)
    Y, truth = made.drawn.Y, made.truth
    columns = Y.sum(0) > 0
    rows = Y[:, columns].sum(1) > 0
    O = truth.O.expand_as(Y)[rows][:, columns]
    return Dataset(Y[rows][:, columns], truth.X[rows], O, torch.ones(int(rows.sum()), dtype=torch.float64))


def measured(shape: Shape) -> Row:
    """Fit."""
    data = drawn(shape)
    began = time.process_time()
    found = fit(PLN(sigma=False), data, stop=StopRule(time_limit=LONGEST))
    took, optimum = time.process_time() - began, found.optimum
    boundary = len(found.state["poisson_features"])
    zeros = float((data.Y == 0).double().mean())
    counts = optimum.steps, optimum.products, boundary
    return Row(data.n, shape.times, data.p, zeros, data.d, optimum.status.name, optimum.gap, *counts, took)


def table(rows: list[Row]) -> str:
    """The most that fits took, by samples and features."""
    lines = ["| samples | features a sample | tables | certified | steps | products | s |", "|" + "---|" * 7]
    for n, times in itertools.product(SAMPLES, TIMES):
        among = [row for row in rows if row.times == times and min(SAMPLES, key=lambda m: abs(m - row.n)) == n]
        if among:
            most = [max(row.steps for row in among), max(row.products for row in among)]
            seconds = max(row.seconds for row in among)
            cells = (n, times, len(among), sum(row.certified for row in among), *most, f"{seconds:.2g}")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    beyond = [row for row in rows if row.steps > STEPS or row.products > PRODUCTS]
    lines += ["", f"{sum(row.certified for row in rows)} of {len(rows)} fits are certified."]
    lines += [f"{len(beyond)} took more than {STEPS} steps or {PRODUCTS} products."]
    return "\n".join(lines)


def written(rows: list[Row]) -> str:
    """Write both files; the text of wide.md."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "wide.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(Row._fields)
        out.writerows([f"{value:.4g}" if isinstance(value, float) else value for value in row] for row in rows)
    text = (
        f"Fits of more features than samples on a grid of simulated tables (columns: the most that a fit took): steps, "
        f"Hessian products and CPU seconds of one thread. {machine.describe()}.\n\n{table(rows)}\n"
    )
    (RESULTS / "wide.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wide", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="after which no further table is begun")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began, rows, text = time.perf_counter(), [], ""
    for shape in grid():
        if time.perf_counter() - began > 60.0 * given.minutes:
            break
        rows.append(measured(shape))
        print(*rows[-1], flush=True)
        text = written(rows)
    print(text)


if __name__ == "__main__":
    main()
