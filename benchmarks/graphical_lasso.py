"""The graphical lasso of plncli against that of scikit-learn and a plain ADMM: what a duality gap of 1e-6 takes.

    python -m benchmarks.graphical_lasso                           all sizes and penalties
    python -m benchmarks.graphical_lasso --p 50 --repeats 1 --name part

Matrices are correlations of SAMPLES normal samples of a random graph with about p edges (`plncli simulate --graph
random`): those of more features than samples are singular. Penalties are on the scale of correlations, of off-diagonal
entries. scikit-learn stops by its own measure of the gap, with inner problems solved to INNER; the ADMM (Boyd et al.
2011, section 6.5, with an adaptive step) by that of its feasible dual matrix; plncli goes on to rounding, so that its
objective less its gap is the minimum that all are judged by. CPU seconds of one thread, each solution in a process of
its own, methods in turn, medians; more than LIMIT seconds are given up. Writes benchmarks/results/NAME.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import machine
from plncli.numerics.graphical_lasso import graphical_lasso
from plncli.simulation.graphs import covariance_of_graph

RESULTS = Path(__file__).parent / "results"
GAP, INNER, LIMIT, SAMPLES = 1e-6, 1e-10, 180.0, 300
LEAST = 0.3
"""Seconds for which a solution is found again and again: the clock is coarse."""
CHECK = 5
"""Iterations of ADMM from one look at the gap to the next."""


class Solved(NamedTuple):
    """A solution p×p and how many iterations it took."""

    Omega: np.ndarray
    steps: int


def correlations(p: int, seed: int = 0) -> np.ndarray:
    """Of SAMPLES samples, p×p."""
    g = torch.Generator().manual_seed(seed)
    Sigma, _ = covariance_of_graph("random", p, None, 1.0, g)
    Z = torch.randn(SAMPLES, p, generator=g).double() @ torch.linalg.cholesky(Sigma).mT
    return torch.corrcoef(Z.mT).numpy()


def off(C: np.ndarray, penalty: float) -> np.ndarray:
    """The penalty of each entry."""
    return np.full_like(C, penalty) * (1.0 - np.eye(len(C)))


def objective(C: np.ndarray, penalty: float, Omega: np.ndarray) -> float:
    """inf where Omega is not positive definite."""
    sign, log_det = np.linalg.slogdet(Omega)
    definite = sign > 0 and np.linalg.eigvalsh(Omega)[0] > 0
    return float((C * Omega).sum() + (off(C, penalty) * np.abs(Omega)).sum() - log_det) if definite else np.inf


def gap(C: np.ndarray, penalty: float, Omega: np.ndarray, Sigma: np.ndarray | None = None) -> float:
    """How far the objective may be above its minimum, by the feasible dual matrix nearest to Sigma, Omega's inverse."""
    Lambda = off(C, penalty)
    W = C + np.clip((np.linalg.inv(Omega) if Sigma is None else Sigma) - C, -Lambda, Lambda)
    W = 0.5 * (W + W.T)
    lowest = np.linalg.eigvalsh(W)[0]
    return objective(C, penalty, Omega) - float(np.linalg.slogdet(W)[1]) - len(C) if lowest > 0 else np.inf


def by_plncli(C: np.ndarray, penalty: float) -> Solved:
    """Newton steps within orthants."""
    found = graphical_lasso(torch.from_numpy(C), torch.from_numpy(off(C, penalty)))
    assert found is not None
    return Solved(found.Omega.numpy(), found.steps)


def by_scikit_learn(C: np.ndarray, penalty: float) -> Solved:
    """Coordinate descent, a feature at a time (Friedman, Hastie & Tibshirani 2008)."""
    from sklearn.covariance import graphical_lasso as solve

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, Omega, steps = solve(C, penalty, tol=GAP, enet_tol=INNER, max_iter=10_000, return_n_iter=True)
    return Solved(Omega, steps)


def by_admm(C: np.ndarray, penalty: float) -> Solved:
    """Eigenvectors and soft thresholds by turns."""
    rho, Z, U = 1.0, np.eye(len(C)), np.zeros_like(C)
    Lambda = off(C, penalty)
    for step in range(1, 100_000):
        values, vectors = np.linalg.eigh(rho * (Z - U) - C)
        roots = (values + np.sqrt(values**2 + 4.0 * rho)) / (2.0 * rho)
        X, before = (vectors * roots) @ vectors.T, Z
        Z = np.sign(X + U) * np.maximum(np.abs(X + U) - Lambda / rho, 0.0)
        U = U + X - Z
        if step % CHECK == 0 and gap(C, penalty, Z, C + rho * U) <= GAP:
            return Solved(Z, step)
        primal, dual = np.linalg.norm(X - Z), rho * np.linalg.norm(Z - before)
        if step % CHECK == 0 and step < 500:  # with a fixed step from then on it converges for sure
            factor = 2.0 if primal > 10.0 * dual else 0.5 if dual > 10.0 * primal else 1.0
            rho, U = rho * factor, U / factor
    raise SystemExit("No convergence.")


METHODS = {"plncli": by_plncli, "scikit-learn": by_scikit_learn, "ADMM": by_admm}


def measured(method: str, p: int, penalty: float) -> None:
    """Print what one solution took, and how good it is."""
    torch.set_num_threads(1)
    C = correlations(p)
    METHODS[method](correlations(10), 0.3)  # what is loaded once
    began, times, seconds = time.process_time(), 0, 0.0
    while seconds < LEAST:
        found = METHODS[method](C, penalty)
        times, seconds = times + 1, time.process_time() - began
    seconds /= times
    edges = int((np.triu(found.Omega, 1) != 0).sum())
    known: dict[str, Any] = {"seconds": seconds, "steps": found.steps, "edges": edges}
    print(json.dumps(known | {"gap": gap(C, penalty, found.Omega), "value": objective(C, penalty, found.Omega)}))


def launched(method: str, p: int, penalty: float) -> dict[str, Any] | None:
    """The same in a process of its own; None where it takes too long."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    words = [sys.executable, "-m", "benchmarks.graphical_lasso", "--one", method, str(p), str(penalty)]
    limit = f'ulimit -t {int(LIMIT)}; exec "$@"'
    env = {**os.environ, **dict.fromkeys(threads, "1")}
    done = subprocess.run(["sh", "-c", limit, "sh", *words], capture_output=True, text=True, env=env, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, nargs="+", default=[50, 114, 300, 1000])
    parser.add_argument("--penalty", type=float, nargs="+", default=[0.3, 0.2, 0.1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="graphical_lasso")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.one:
        method, p, penalty = wanted.one
        measured(method, int(p), float(penalty))
        return
    rows = []
    for p in wanted.p:
        for penalty in wanted.penalty:
            found: dict[str, list[dict[str, Any] | None]] = {method: [] for method in METHODS}
            for _ in range(wanted.repeats if p <= 300 else 1):
                for method, known in found.items():
                    known.append(launched(method, p, penalty) if None not in known else None)
            rows += rows_of(p, penalty, found)
            print("\n".join(rows[-len(METHODS) :]), flush=True)
    head = (
        "| features | penalty | method | CPU seconds | times plncli | iterations | edges | above the minimum |\n"
        + "|---" * 8
        + "|\n"
    )
    said = (
        f"Correlations of {SAMPLES} samples; a gap of {GAP:g} is asked for, in {LIMIT:.0f} s at most. "
        f"{machine.describe()}; see `benchmarks.graphical_lasso`.\n\n"
    )
    (RESULTS / f"{wanted.name}.md").write_text(f"# The graphical lasso\n\n{said}{head}" + "\n".join(rows) + "\n")


def rows_of(p: int, penalty: float, found: dict[str, list[dict[str, Any] | None]]) -> list[str]:
    """A row a method; times: of the seconds of the first."""
    rows, base, minimum = [], 0.0, np.nan
    for method, known in found.items():
        done = [one for one in known if one is not None]
        if len(done) < len(known):
            rows.append(f"| {p} | {penalty:g} | {method} | more than {LIMIT:.0f} | | | | |")
            continue
        seconds = median(one["seconds"] for one in done)
        base, one = base or seconds, done[0]
        minimum = one["value"] - one["gap"] if np.isnan(minimum) else minimum
        above = max(one["value"] - minimum, 0.0)
        told = f"{seconds:.3g} | {seconds / base:.2g} | {one['steps']} | {one['edges']} | {above:.1e}"
        rows.append(f"| {p} | {penalty:g} | {method} | {told} |")
    return rows


if __name__ == "__main__":
    main()
