"""Who finds the edges: networks of simulated counts of known graphs, by plncli and by what others do.

    python -m benchmarks.networks                                  with pyPLNmodels where this Python has it
    python -m benchmarks.networks --graphs hub --sets 2 --name part

Tables of n samples × p features: log-normal means around `each` counts a cell, a graph with about p edges, half of them
negative (`plncli simulate pln --graph`), sequencing depths with a standard deviation of 0.5 in their logs, which are
told to those that take them. Each method ranks all pairs: by the largest penalty of its path at which they are linked,
ties by the size of the partial correlation there; correlations by their size. AUC: of that ranking (0.5 is chance);
average precision likewise. plncli also chooses a graph of its own, by EBIC; F1 is that of this graph. Writes
benchmarks/results/NAME.md, means over the sets with their standard deviations; seconds: CPU time of one thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.evaluation.recovery import choice, curve
from plncli.fitting import fit
from plncli.models.network.model import Network
from plncli.numerics.graphical_lasso import graphical_lasso
from plncli.simulation.graphs import GRAPHS, covariance_of_graph

RESULTS = Path(__file__).parent / "results"
PENALTIES, SHARE, WIDE = 30, 0.02, 0.002
"""Penalties of a path, and the smallest as a share of the largest, on the scale of correlations and of covariances."""


class Table(NamedTuple):
    """Counts n×p, depths (n,), and which pairs are linked, p×p."""

    Y: Tensor
    depths: Tensor
    linked: Tensor


def drawn(kind: str, n: int, p: int, each: float, seed: int) -> Table:
    """One table."""
    g = torch.Generator().manual_seed(seed)
    Sigma, Omega = covariance_of_graph(kind, p, None, 1.0, g)
    depths = (0.5 * torch.randn(n, generator=g).double()).exp()
    level = math.log(each) + torch.randn(p, generator=g).double()
    Z = level + torch.randn(n, p, generator=g).double() @ torch.linalg.cholesky(Sigma).mT
    Y = torch.poisson(depths[:, None] * Z.exp(), generator=g)
    return Table(Y, depths, (Omega != 0) & ~torch.eye(p, dtype=torch.bool))


def values(largest: float) -> list[float]:
    """Penalties of a path."""
    return [largest * SHARE ** (k / (PENALTIES - 1)) for k in range(PENALTIES)]


def ranked(path: list[tuple[float, Tensor]]) -> Tensor:
    """p×p scores of pairs from a path of (penalty, Omega): the earlier a pair comes the higher, ties by its size."""
    scores = torch.zeros_like(path[0][1])
    for place, (_, Omega) in enumerate(path):
        scale = Omega.diagonal().rsqrt()
        size = (Omega * scale * scale[:, None]).abs()
        scores = torch.where((scores == 0) & (Omega != 0), len(path) - place + size.clamp_max(0.999), scores)
    return scores


def by_plncli(table: Table) -> tuple[Tensor, Tensor | None]:
    """The path of the penalised model, and the graph of the smallest EBIC."""
    n = len(table.Y)
    data = Dataset(table.Y, torch.ones(n, 1).double(), table.depths.log()[:, None], torch.ones(n).double())
    first = fit(Network(penalty=math.inf), data)
    init = {**first.estimates, **first.state}
    largest = Network().path(init, data, 2)[0]
    path, best, chosen = [], math.inf, None
    for value in values(largest):
        result = fit(Network(penalty=value, refit=False), data, init=init)
        init = {**result.estimates, **result.state}
        Omega = result.estimates["Omega"]
        alone = Omega.diagonal().isnan()  # features without variance, which have no entries
        path.append((value, torch.where(alone[:, None] | alone, torch.eye(len(Omega)).double(), Omega)))
        if value > 0.1 * largest:
            refitted = fit(Network(penalty=value), data, init=init)
            if refitted.facts["ebic"] < best:
                best, chosen = refitted.facts["ebic"], Network().links(refitted.estimates)
    return ranked(path), chosen


def clr(table: Table) -> Tensor:
    """Correlations of centred log-ratios of counts, with a pseudo-count of 1, p×p."""
    logs = (table.Y + 1.0).log()
    return torch.corrcoef((logs - logs.mean(1, keepdim=True)).mT)


def by_correlation(table: Table) -> tuple[Tensor, Tensor | None]:
    """By the size of correlations of log-ratios, as SparCC has them in its first step."""
    return clr(table).abs(), None


def by_glasso_of_clr(table: Table) -> tuple[Tensor, Tensor | None]:
    """A graphical lasso of log-ratios, as SPIEC-EASI has it."""
    C = clr(table)
    off = C - C.diagonal().diag()
    path, start = [], None
    for value in values(float(off.abs().max())):
        penalty = torch.full_like(C, value).fill_diagonal_(0.0)
        found = graphical_lasso(C, penalty, start)
        assert found is not None
        start = found.Omega
        path.append((value, start))
    return ranked(path), None


def by_pyplnmodels(table: Table) -> tuple[Tensor, Tensor | None]:
    """The path of its network models, with its defaults but for the penalties, which are on the scale of n."""
    import pyPLNmodels

    n = len(table.Y)
    offsets = table.depths.log()[:, None].expand_as(table.Y).contiguous()
    given = {"exog": np.ones((n, 1)), "offsets": offsets.numpy(), "add_const": False}
    penalties = [2.0 * n * WIDE ** (k / (PENALTIES - 1)) for k in range(PENALTIES)]
    fits = pyPLNmodels.PlnNetworkCollection(table.Y.numpy(), **given, penalties=penalties)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        fits.fit(verbose=False)
    return ranked([(value, fits[value].precision.double()) for value in penalties]), None


METHODS: dict[str, Callable[[Table], tuple[Tensor, Tensor | None]]] = {
    "plncli": by_plncli,
    "pyPLNmodels": by_pyplnmodels,
    "glasso of clr": by_glasso_of_clr,
    "correlation of clr": by_correlation,
}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=GRAPHS)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--p", type=int, default=50)
    parser.add_argument("--each", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--name", default="networks")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind, each in product(wanted.graphs, wanted.each):
        for method in wanted.methods:
            found: dict[str, list[Any]] = {"AUC": [], "average precision": [], "F1": [], "seconds": []}
            for seed in range(wanted.sets):
                table = drawn(kind, wanted.n, wanted.p, each, seed)
                began = time.process_time()
                try:
                    scores, chosen = METHODS[method](table)
                except ImportError:
                    break
                found["seconds"].append(time.process_time() - began)
                j, k = torch.triu_indices(wanted.p, wanted.p, 1)
                ranking, truth = curve(scores[j, k], table.linked[j, k]), table.linked[j, k]
                found["AUC"].append(ranking.auc)
                found["average precision"].append(ranking.average_precision)
                found["F1"] += [] if chosen is None else [choice(chosen[j, k], truth).f1]
            if found["AUC"]:
                cells = [f"{mean(all_):.3f} ± {pstdev(all_):.3f}" if all_ else "" for all_ in found.values()]
                rows.append(f"| {kind} | {each:g} | {method} | {' | '.join(cells)} |")
                print(rows[-1], flush=True)
    head = (
        "| graph | counts a cell | method | AUC | average precision | F1 of the choice | seconds |\n"
        + "|---" * 7
        + "|\n"
    )
    said = f"{wanted.n} samples × {wanted.p} features, {wanted.sets} tables a graph; see `benchmarks.networks`.\n\n"
    (RESULTS / f"{wanted.name}.md").write_text(f"# Edges that are found\n\n{said}{head}" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
