"""How often the 95 % intervals of structural zeros by covariates hold the truth, by simulation.

    python -m benchmarks.zeros                                        the whole grid
    python -m benchmarks.zeros --n 100 --depth 500 --sets 20 --name part  a small cell

Counts are drawn as `plncli simulate` does: ten features, a standard normal covariate and a factor of two levels with
effects of 0.5 on log-means, standard deviations 1, correlations 0.5^|j − k|; depth: expected counts a sample. A count
is a structural zero with probability 0.3 in the middle; the covariates' slopes in its logit have standard deviation
0.7. Fitted by `--zero-inflation` with the same terms; intervals of the sandwich. Writes benchmarks/results/NAME.md:
shares in percent with their Monte Carlo error (see `benchmarks.coverage`), of coefficients of the logits by term, and
of those of the means. Features without any count are left out, and coefficients without a finite estimate have no
interval: how many of the logits', in percent, stands under "without".
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.coverage import RESULTS, share
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.pln.model import PLN
from plncli.simulation import design

TERMS = ("Intercept", "x", "group")
SETTINGS = {"p": 10, "levels": 2, "zero_inflation": 0.3, "zero_inflation_effect": 0.7}


class Cell(NamedTuple):
    """One setting of the simulation: samples, and expected counts a sample."""

    n: int
    depth: float


def drawn(cell: Cell, seed: int) -> tuple[Dataset, Tensor, Tensor]:
    """A data set, the true coefficients of its means, and those of its logits, 3×p each."""
    g = torch.Generator().manual_seed(seed)
    truth = design.invent(design.recipe("pln", cell.n, {**SETTINGS, "depth": cell.depth}), g)
    Y = truth.draw(g).Y
    w, terms = torch.ones(cell.n, dtype=Y.dtype), truth.terms
    data = Dataset(Y, truth.X, truth.O, w, terms=terms, X0=truth.X, zero_terms=terms)
    assert truth.coefficients is not None
    return data, truth.coefficients, truth.fitted.tensor("zeta_terms")


def held(cell: Cell, seed: int) -> Tensor:
    """Of one data set: intervals that hold the truth, intervals, coefficients without one; 3×6, logits and means."""
    torch.set_num_threads(1)
    data, B, zeta = drawn(cell, seed)
    seen = (data.Y.sum(0) > 0).nonzero()[:, 0]
    kept = data.among(torch.arange(data.d), seen)
    found = fit(PLN(zero_inflation="~ x + group"), kept, inference=InferenceRule("sandwich", 0.95)).inference
    each = []
    for truth, known in ((zeta, "zeta_terms"), (B, "")):
        truth = truth[:, seen]
        if found is None:
            low = high = torch.full_like(truth, torch.nan)
        elif known:
            low, high = found.beside[f"{known}_low"], found.beside[f"{known}_high"]
        else:
            low, high = found.conf_low, found.conf_high
        there = ~low.isnan()
        inside = (low <= truth) & (truth <= high)
        each.append(torch.stack([(inside & there).sum(1), there.sum(1), (~there).sum(1)]).double())
    return torch.cat(each, 1)


def simulated(cells: list[Cell], sets: int, processes: int) -> Iterator[tuple[Cell, Tensor]]:
    """Each cell with the counts of its data sets, sets×3×6."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for cell in cells:
            yield cell, torch.stack(pool.map(partial(held, cell), range(sets), chunksize=1))


def main() -> None:
    """Run all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--depth", type=float, nargs="+", default=[30.0, 500.0])
    parser.add_argument("--sets", type=int, default=120)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="coverage-zeros")
    asked = parser.parse_args()
    cells = [Cell(n, depth) for n in asked.n for depth in asked.depth]
    heads = ("n", "depth", "tables", *(f"logits: {term}" for term in TERMS), "logits", "without", "means")
    lines = [f"| {' | '.join(heads)} |", f"|{'---:|' * len(heads)}"]
    print("\n".join(lines), flush=True)
    for cell, counts in simulated(cells, asked.sets, asked.processes):
        logits, means = counts[:, :, :3], counts[:, :, 3:].sum(2)
        shares = [*(share(logits[:, :, k]) for k in range(3)), share(logits.sum(2)), share(means)]
        told = [f"{100.0 * s.value:.1f} ± {100.0 * s.error:.1f}" for s in shares]
        without = f"{100.0 * shares[3].without / (shares[3].without + shares[3].intervals):.1f}"
        row = (f"{cell.n}", f"{cell.depth:g}", f"{len(counts)}", *told[:4], without, told[4])
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    head = "Intervals of 95 % (sandwich) of structural zeros by covariates that hold the truth, in percent ± error."
    (RESULTS / f"{asked.name}.md").write_text("\n".join([head, "", *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
