"""How well `plncli validate` foretells the time of a fit of counts, on simulated tables of many shapes.

    python -m benchmarks.foretold                 15 tables, in a minute or two
    python -m benchmarks.foretold --tables 100    more of them, drawn in the same way

Tables have 40 to 200 samples, 20 to 600 features, 20 to 90 % zeros and 1 to 4 coefficients. Both the pace that is
measured before the fit and the fit itself are in CPU seconds of one thread, so that other work on the machine hardly
counts. Writes benchmarks/results/foretold.md, a row a table; `ratio`: the truth over the middle of what was foretold.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import machine
from plncli.dataset import Dataset
from plncli.evaluation.timing import expected
from plncli.fitting import fit
from plncli.models.pln.model import PLN
from plncli.optim.base import StopRule
from plncli.verbs.simulate import invented

RESULTS = Path(__file__).parent / "results"
LONGEST = 60.0
HEADER = "| n | p | d | zeros | foretold, s | took, s | ratio | points | products |"


class Row(NamedTuple):
    """A table, what was foretold of its fit, and what came: CPU seconds."""

    n: int
    p: int
    d: int
    zeros: float
    low: float
    high: float
    took: float
    points: int
    products: int

    @property
    def ratio(self) -> float:
        """The truth over the geometric mean of both ends."""
        return self.took / math.sqrt(self.low * self.high)


def drawn(seed: int) -> Dataset:
    """A table of its own shape, without empty rows and columns."""
    draw = random.Random(seed)
    n, p = (round(math.exp(draw.uniform(math.log(low), math.log(high)))) for low, high in ((40, 200), (20, 600)))
    numeric, levels = draw.choice(((0, 0), (1, 0), (0, 3), (1, 3)))
    design = {"p": p, "zeros": draw.uniform(0.2, 0.9), "numeric": numeric, "levels": levels}
    made = invented("pln", n, design | {"sd": draw.choice((0.7, 1.0, 1.5))}, seed)
    Y, truth = made.drawn.Y, made.truth
    columns = Y.sum(0) > 0
    rows = Y[:, columns].sum(1) > 0
    O = truth.O.expand_as(Y)[rows][:, columns]
    return Dataset(Y[rows][:, columns], truth.X[rows], O, torch.ones(int(rows.sum()), dtype=torch.float64))


def measured(data: Dataset, covariance: str = "full") -> Row:
    """Foretell the time of a fit, and fit."""
    model = PLN(covariance)
    foretold = expected(model, model.prepare(data), {"covariance": covariance}, time.process_time)
    began = time.process_time()
    found = fit(model, data, stop=StopRule(time_limit=LONGEST)).optimum
    took = time.process_time() - began
    zeros = float((data.Y == 0).double().mean())
    return Row(data.n, data.p, data.d, zeros, foretold.low, foretold.high, took, found.evaluations, found.products)


def table(rows: list[Row]) -> str:
    """The rows, tables of more features than samples last."""
    lines = [HEADER, "|" + "---|" * HEADER.count(" |")]
    for row in sorted(rows, key=lambda row: (row.p > row.n, row.took)):
        cells = (
            *(row.n, row.p, row.d, f"{100 * row.zeros:.0f} %", f"{row.low:.2g} to {row.high:.2g}"),
            *(f"{row.took:.2g}", f"{row.ratio:.2f}", row.points, row.products),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for name, among in (("p ≤ n", [r for r in rows if r.p <= r.n]), ("p > n", [r for r in rows if r.p > r.n])):
        near = sum(max(row.ratio, 1.0 / row.ratio) <= 3.0 for row in among)
        within = sum(row.low <= row.took <= row.high for row in among)
        lines += ["", f"{name}: {near} of {len(among)} within a factor of 3, {within} between both ends."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.foretold", description=__doc__)
    parser.add_argument("--tables", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0, help="of the first table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(drawn(given.seed + k)) for k in range(given.tables)]
    text = f"Foretold and true CPU seconds of fits. {machine.describe()}.\n\n{table(rows)}\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "foretold.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
