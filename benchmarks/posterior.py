"""What `--posterior full` is worth: how near estimates come to the truth with it and without it, by simulation.

    python -m benchmarks.posterior                                     the whole grid
    python -m benchmarks.posterior --n 50 --p 10 --each 3 --sets 5 --name part

Tables are those of `benchmarks.coverage`: drawn from the model, with correlations 0.5^|j - k| and standard deviations
0.8, expected counts shared out unevenly; each: expected counts a cell, on average. Features without any count are left
out. Writes benchmarks/results/NAME.md, a row a cell and posterior. B: the slopes, in units of standard deviations of
their covariates; its shrinkage is 1 − slope of the estimates on the truth. Sigma_jj: mean ratio of estimates and truth;
correlations: of all pairs. seconds: CPU time of one thread, a fit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.coverage import SCALES, Cell, drawn
from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.base import Model
from plncli.models.pln.model import PLN
from plncli.models.pln.posterior.model import FullPLN

RESULTS = Path(__file__).parent / "results"
SHAPES = ((50, 10), (200, 10), (1000, 10), (50, 50), (200, 50))
GRID = [(n, p, each) for n, p in SHAPES for each in (0.3, 3.0, 100.0)]
MODELS: dict[str, Model] = {"diagonal": PLN(), "full": FullPLN()}
COLUMNS = (
    *("n", "p", "counts a cell", "posterior", "bias of intercepts", "RMSE", "shrinkage of slopes", "RMSE", "Sigma_jj"),
    *("RMSE of Sigma", "of correlations", "ELBO − diagonal", "seconds"),
)


class Found(NamedTuple):
    """Errors of one fit: intercepts, slopes, true slopes, Sigma, ratios of its diagonal, and correlations."""

    intercepts: Tensor
    slopes: Tensor
    true: Tensor
    Sigma: Tensor
    ratios: Tensor
    correlations: Tensor
    elbo: float
    seconds: float


def measured(model: Model, data: Dataset, B: Tensor, Sigma: Tensor) -> Found:
    """One fit, held against the truth."""
    began = time.process_time()
    result = fit(model, data)
    seconds = time.process_time() - began
    if not result.converged:
        raise SystemExit(f"not converged: {result.optimum.status.sentence}")
    off = torch.triu(torch.ones_like(Sigma), 1) > 0
    found = result.estimates["Sigma"]
    sd = found.diagonal().sqrt()
    scale = torch.where(sd > 0, 1.0 / sd, 0.0)
    correlations = found * scale[:, None] * scale - Sigma / 0.64
    error = (result.estimates["B"] - B) * SCALES[:, None]
    finite = torch.isfinite(error).all(0)
    return Found(
        error[0, finite],
        error[1:, finite].flatten(),
        (B * SCALES[:, None])[1:, finite].flatten(),
        (found - Sigma)[off | (torch.eye(len(Sigma)) > 0)],
        found.diagonal() / 0.64,
        correlations[off],
        -result.optimum.value,
        seconds,
    )


def sets(n: int, p: int, each: float, many: int) -> list[dict[str, Found]]:
    """Fits of both posteriors to as many tables."""
    found = []
    for seed in range(many):
        data, B = drawn(Cell(n, p, each * p), seed)
        kept = data.Y.sum(0) > 0
        data, B = Dataset(data.Y[:, kept], data.X, data.O, data.w), B[:, kept]
        place = torch.arange(p)[kept]
        Sigma = 0.64 * 0.5 ** (place[:, None] - place).abs().double()
        found.append({name: measured(model, data, B, Sigma) for name, model in MODELS.items()})
    return found


def row(asked: tuple[int, int, float], name: str, found: list[dict[str, Found]]) -> str:
    """A line of the table."""

    def all_of(symbol: str) -> Tensor:
        return torch.cat([getattr(one[name], symbol) for one in found])

    def rmse(symbol: str) -> str:
        return f"{float(all_of(symbol).square().mean().sqrt()):.3f}"

    slopes, true = all_of("slopes"), all_of("true")
    shrinkage = -float((slopes * true).sum() / true.square().sum())
    gain = sum(one[name].elbo - one["diagonal"].elbo for one in found) / len(found)
    seconds = sum(one[name].seconds for one in found) / len(found)
    cells = [*map(str, asked[:2]), f"{asked[2]:g}", name, f"{float(all_of('intercepts').mean()):+.3f}"]
    cells += [rmse("intercepts"), f"{shrinkage:+.3f}", rmse("slopes"), f"{float(all_of('ratios').mean()):.2f}"]
    cells += [rmse("Sigma"), rmse("correlations"), f"{gain:.1f}", f"{seconds:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, help="samples, of one cell")
    parser.add_argument("--p", type=int, help="features, of one cell")
    parser.add_argument("--each", type=float, default=3.0, help="expected counts a cell")
    parser.add_argument("--sets", type=int, default=20, help="tables of 10 features a cell; of 50, a quarter")
    parser.add_argument("--name", default="posterior")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    grid: Sequence[tuple[int, int, float]] = GRID if asked.n is None else [(asked.n, asked.p or 10, asked.each)]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for cell in grid:
        many = max(asked.sets if cell[1] <= 10 else asked.sets // 4, 1)
        found = sets(*cell, many)
        lines += [row(cell, name, found) for name in MODELS]
        print("\n".join(lines[-2:]), flush=True)
    note = f"{asked.sets} tables a cell with 10 features, {max(asked.sets // 4, 1)} with 50, one thread."
    text = "\n".join(["# Full and diagonal posteriors", "", note, "", *lines, ""])
    (RESULTS / f"{asked.name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
