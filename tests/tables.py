"""Small tables with known truth, for tests of the numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch import Tensor

from plncli.dataset import Dataset

SAMPLE_DATA = Path(__file__).parents[1] / "sample_data"


def dataset(Y: Tensor, X: Tensor | None = None, O: Tensor | None = None, **more) -> Dataset:
    """Dataset in float64 with an intercept alone, no offset and unit weights unless given."""
    n = len(Y)
    X = torch.ones(n, 1) if X is None else X
    O = torch.zeros(n, 1) if O is None else O
    w = more.pop("w", torch.ones(n))
    return Dataset(Y.double(), X.double(), O.double(), w.double(), **more)


def toeplitz(p: int, rho: float = 0.5, sd: float = 0.8) -> Tensor:
    """Covariance sd² rho^|j − k|, p×p."""
    index = torch.arange(p, dtype=torch.float64)
    return sd**2 * rho ** (index[:, None] - index).abs()


def pln_table(n: int, p: int, d: int = 2, seed: int = 0, mean: float = 1.5) -> tuple[Dataset, Tensor, Tensor]:
    """Counts simulated from the model: data, true B (d×p) and true Sigma (p×p)."""
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, d - 1, generator=g)], 1).double()
    B = 0.4 * torch.randn(d, p, generator=g, dtype=torch.float64)
    B[0] += mean
    Sigma = toeplitz(p)
    Z = X @ B + torch.randn(n, p, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    return dataset(torch.poisson(Z.exp(), generator=g), X), B, Sigma


def _table(path: Path) -> tuple[list[str], list[str], list[list[str]]]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header[1:], [row[0] for row in rows], [row[1:] for row in rows]


def oaks(tree: bool = False) -> Dataset:
    """The oaks counts with log exposure as offset, `~ 1` or `~ 0 + tree`."""
    responses, samples, counts = _table(SAMPLE_DATA / "oaks" / "counts.csv")
    _, same, exposure = _table(SAMPLE_DATA / "oaks" / "exposure.csv")
    columns, also, covariates = _table(SAMPLE_DATA / "oaks" / "covariates.csv")
    assert samples == same == also
    names = {"responses": tuple(responses), "samples": tuple(samples)}
    Y = torch.tensor([[float(v) for v in row] for row in counts], dtype=torch.float64)
    O = torch.tensor([[float(v) for v in row] for row in exposure], dtype=torch.float64).log()
    if not tree:
        return dataset(Y, None, O, terms=("Intercept",), **names)
    trees = [row[columns.index("tree")] for row in covariates]
    levels = sorted(set(trees))
    X = torch.tensor([[float(t == level) for level in levels] for t in trees])
    return dataset(Y, X, O, terms=tuple(f"tree[{level}]" for level in levels), **names)
