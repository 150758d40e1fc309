"""Who finds the clusters: mixtures of simulated counts of known clusters and of the oaks, by plncli and by others.

    python -m benchmarks.mixtures                                  with pyPLNmodels where this Python has it
    python -m benchmarks.mixtures --p 20 --sets 2 --name part

Tables of n samples × p features from three clusters of proportions ½, 0.3 and 0.2: latent means 1.0 on average with a
standard deviation of 1 between features, moved in each cluster by `apart` times a standard normal in a fifth of them;
latent standard deviations 0.7, in a cluster independent; depths with a standard deviation of 0.5 in their logs, which
are told to all. On the oaks the truth is the tree. ARI: adjusted Rand index of the most probable clusters, 1 where they
are the true ones, 0 by chance; ELBO: as each program tells it; K: how many the smallest ICL takes, of one to six. Log
counts less the log depth are what scikit-learn's GaussianMixture and KMeans see (diagonal covariances, ten starts).
Writes benchmarks/results/NAME.md, means over the sets with their standard deviations; seconds: CPU time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.mixture.model import Mixture

RESULTS = Path(__file__).parent / "results"
OAKS = Path(__file__).parents[1] / "sample_data" / "oaks"
SHARES = (0.5, 0.3, 0.2)
MOST = 6


class Table(NamedTuple):
    """Counts n×p, log depths (n×p, or n×1), and the clusters of the samples."""

    Y: Tensor
    O: Tensor
    truth: np.ndarray


class Found(NamedTuple):
    """Clusters of the samples; the bound in nats, and how many were chosen, where there is such."""

    labels: np.ndarray
    bound: float | None = None
    chosen: int | None = None


def drawn(n: int, p: int, apart: float, seed: int) -> Table:
    """One table."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.multinomial(torch.tensor(SHARES), n, replacement=True, generator=g)
    moved = (torch.rand(p, generator=g) < 0.2).double()
    means = 1.0 + torch.randn(p, generator=g).double() + apart * moved * torch.randn(3, p, generator=g).double()
    O = 0.5 * torch.randn(n, 1, generator=g).double()
    Z = means[truth] + 0.7 * torch.randn(n, p, generator=g).double()
    Y = torch.poisson((O + Z).exp(), generator=g)
    kept = Y.sum(0) > 0
    return Table(Y[:, kept], O, truth.numpy())


def oaks() -> Table:
    """The oaks, with their trees."""
    Y, O, about = (pd.read_csv(OAKS / f"{name}.csv", index_col=0) for name in ("counts", "exposure", "covariates"))
    return Table(
        torch.tensor(Y.to_numpy()).double(), torch.tensor(O.to_numpy()).double().log(), about["tree"].to_numpy()
    )


def _data(table: Table) -> Dataset:
    n = len(table.Y)
    return Dataset(table.Y, torch.ones(n, 1).double(), table.O, torch.ones(n).double())


def by_plncli(table: Table) -> Found:
    """Three clusters."""
    result = fit(Mixture(3), _data(table))
    return Found(result.estimates["tau"].argmax(1).numpy(), result.criteria.loglik)


def by_plncli_full(table: Table) -> Found:
    """Three clusters with full covariances."""
    result = fit(Mixture(3, "full"), _data(table))
    return Found(result.estimates["tau"].argmax(1).numpy(), result.criteria.loglik)


def path_of_plncli(table: Table) -> Found:
    """One to six clusters, each fit from the one before, and the smallest ICL."""
    data, init, results = _data(table), None, []
    for many in range(1, MOST + 1):
        results.append(fit(Mixture(many), data, init=init))
        init = {**results[-1].estimates, **results[-1].state}
    best = min(results, key=lambda result: result.criteria.icl)
    tau = best.estimates["tau"]
    return Found(tau.argmax(1).numpy(), best.criteria.loglik, tau.shape[1])


def by_pyplnmodels(table: Table) -> Found:
    """Three clusters by PlnMixture with its defaults."""
    from pyPLNmodels import PlnMixture

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        model = PlnMixture(table.Y, n_cluster=3, offsets=table.O.expand_as(table.Y).clone())
        model.fit()
        return Found(np.asarray(model.clusters), float(model.elbo))


def _logs(table: Table) -> np.ndarray:
    return (table.Y.log1p() - table.O).numpy()


def by_gaussian_mixture(table: Table) -> Found:
    """Three normal clusters of log counts."""
    return Found(GaussianMixture(3, covariance_type="diag", n_init=10, random_state=0).fit_predict(_logs(table)))


def by_k_means(table: Table) -> Found:
    """Three centres of log counts."""
    return Found(KMeans(3, n_init=10, random_state=0).fit_predict(_logs(table)))


METHODS: dict[str, Callable[[Table], Found]] = {
    "plncli": by_plncli,
    "plncli, full": by_plncli_full,
    "plncli, 1:6 by ICL": path_of_plncli,
    "pyPLNmodels": by_pyplnmodels,
    "GaussianMixture": by_gaussian_mixture,
    "KMeans": by_k_means,
}


def row(name: str, method: str, tables: list[Table]) -> str | None:
    """A line of the table; None where the method is not there."""
    found: dict[str, list[float]] = {"ARI": [], "ELBO": [], "K": [], "seconds": []}
    for table in tables:
        began = time.process_time()
        try:
            one = METHODS[method](table)
        except ImportError:
            return None
        found["seconds"].append(time.process_time() - began)
        found["ARI"].append(adjusted_rand_score(table.truth, one.labels))
        found["ELBO"] += [] if one.bound is None else [one.bound]
        found["K"] += [] if one.chosen is None else [one.chosen]
    cells = [_told(values, 1 if what == "ELBO" else 3) for what, values in found.items()]
    return f"| {name} | {method} | {' | '.join(cells)} |"


def _told(values: list[float], digits: int) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {pstdev(values):.{digits}f}"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--p", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--apart", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--name", default="mixtures")
    wanted: Any = parser.parse_args()
    torch.set_num_threads(1)
    cases = {"oaks": [oaks()]}
    for p in wanted.p:
        for apart in wanted.apart:
            cases[f"{p} features, {apart:g} apart"] = [drawn(wanted.n, p, apart, seed) for seed in range(wanted.sets)]
    rows = []
    for name, tables in cases.items():
        for method in wanted.methods:
            made = row(name, method, tables)
            if made is not None:
                rows.append(made)
                print(made, flush=True)
    head = "| table | method | ARI | ELBO | K | seconds |\n" + "|---" * 6 + "|\n"
    said = f"{wanted.n} samples, {wanted.sets} tables a case; the oaks are one table. See `benchmarks.mixtures`.\n\n"
    (RESULTS / f"{wanted.name}.md").write_text(f"# Clusters that are found\n\n{said}{head}" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
