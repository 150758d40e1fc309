"""Who tells groups apart: held-out samples of the oaks, and of simulated counts, by plncli and by scikit-learn.

    python -m benchmarks.discrimination                            with scikit-learn, of the extra `bench`
    python -m benchmarks.discrimination --seeds 1 --name part

Samples are held out in the same ten folds, stratified by group, for all; each seed makes others. Oaks: 116 leaves × 114
micro-organisms, of three trees, and by the side of the tree (orientation), which is harder. Simulated: three groups of
40 samples × 40 features, log-means that differ by 0.5 (standard deviation) between groups, full covariance, so many
counts a cell on average, depths with a standard deviation of 0.5 in their logs; each seed another table. Own
covariances: two groups of so many samples × 20 features, 8 counts a cell, means that differ by 0.3, and a covariance of
each group's own. pln-lda gets the exposure or depth; scikit-learn gets centred log-ratios of counts + 1, standardised
for the logistic regression, with its defaults but for 500 trees of the forest, more steps, and shrinkage of the
discriminant analyses (Ledoit & Wolf). Log loss: mean −log of the probability of the true group, in nats, probabilities
at least 1e-15. Writes benchmarks/results/NAME.md; means over seeds, with the standard deviation of the accuracies.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.evaluation.discrimination import folds_of, held_out
from plncli.fitting import fit
from plncli.models.lda.model import LDA
from plncli.models.lda.quadratic.model import QDA
from plncli.models.lda.spec import COVARIANCES
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG

RESULTS = Path(__file__).parent / "results"
OAKS = Path(__file__).parents[1] / "sample_data" / "oaks"
FOLDS, TINY = 10, 1e-15


class Task(NamedTuple):
    """Counts n×p, exposure n×p or n×1, and the group of each sample (n,)."""

    Y: Tensor
    exposure: Tensor
    group: Tensor

    @property
    def number(self) -> int:
        """Of groups."""
        return int(self.group.max()) + 1

    def dataset(self) -> Dataset:
        """As a fit takes it."""
        X = torch.nn.functional.one_hot(self.group, self.number).double()
        terms = tuple(f"g[{k}]" for k in range(self.number))
        return Dataset(self.Y, X, self.exposure.log(), torch.ones(len(self.Y)).double(), terms=terms)

    def ratios(self) -> np.ndarray:
        """Centred log-ratios of counts + 1."""
        logs = self.Y.log1p()
        return (logs - logs.mean(1, keepdim=True)).numpy()


def oaks(column: str) -> Task:
    """The oaks by a column of their covariates."""
    import pandas as pd

    counts, exposure, covariates = (
        pd.read_csv(OAKS / f"{name}.csv", index_col=0) for name in ("counts", "exposure", "covariates")
    )
    codes = covariates.loc[counts.index, column].astype("category").cat.codes.to_numpy()
    return Task(
        torch.from_numpy(counts.to_numpy(float)),
        torch.from_numpy(exposure.loc[counts.index].to_numpy(float)),
        torch.from_numpy(codes.astype(np.int64)),
    )


def drawn(each: float, seed: int) -> Task:
    """A table of three groups with so many counts a cell."""
    g, groups, size, p = torch.Generator().manual_seed(seed), 3, 40, 40
    group = torch.arange(groups).repeat_interleave(size)
    L = torch.randn(p, 5, generator=g).double() * 0.4
    Sigma = L @ L.mT + 0.3 * torch.eye(p).double()
    means = math.log(each) + torch.randn(p, generator=g).double() + 0.5 * torch.randn(groups, p, generator=g).double()
    depth = (0.5 * torch.randn(len(group), 1, generator=g).double()).exp()
    Z = means[group] + torch.randn(len(group), p, generator=g).double() @ torch.linalg.cholesky(Sigma).mT
    Y = torch.poisson(depth * Z.exp(), generator=g)
    return Task(Y[:, Y.sum(0) > 0], depth, group)


def own_covariances(size: int, seed: int) -> Task:
    """A table of two groups of that many samples each, with a covariance of its own each."""
    g, p = torch.Generator().manual_seed(seed), 20
    group = torch.arange(2).repeat_interleave(size)
    A = torch.randn(2, p, p, generator=g).double() / math.sqrt(p)
    L = torch.linalg.cholesky(0.2 * torch.eye(p).double() + 0.8 * A @ A.mT)
    means = 2.0 + 0.3 * torch.randn(2, p, generator=g).double()
    Z = means[group] + (L[group] @ torch.randn(len(group), p, 1, generator=g).double())[:, :, 0]
    Y = torch.poisson(Z.exp(), generator=g)
    return Task(Y[:, Y.sum(0) > 0], torch.ones(len(group), 1).double(), group)


# Methods: a task and the fold of each sample (n,) -> probabilities of the groups, n×G


def by_plncli(covariance: str, quadratic: bool) -> Callable[[Task, Tensor], np.ndarray]:
    """The discriminant analysis with a structure of Sigma, one or one of each group."""

    def run(task: Task, fold: Tensor) -> np.ndarray:
        model = (QDA if quadratic else LDA)(groups="g", covariance=covariance)
        whole = fit(model, task.dataset())
        return held_out(whole, fold, NewtonCG(), StopRule())[0].exp().numpy()

    return run


def by_sklearn(made: Callable[[], Any]) -> Callable[[Task, Tensor], np.ndarray]:
    """A classifier of scikit-learn."""

    def run(task: Task, fold: Tensor) -> np.ndarray:
        X, y, p = task.ratios(), task.group.numpy(), np.zeros((len(task.Y), task.number))
        for k in range(FOLDS):
            held = (fold == k).numpy()
            p[held] = made().fit(X[~held], y[~held]).predict_proba(X[held])
        return p

    return run


def methods() -> dict[str, Callable[[Task, Tensor], np.ndarray]]:
    """By name."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        **{f"pln-lda, {covariance}": by_plncli(covariance, False) for covariance in COVARIANCES},
        **{f"pln-lda --quadratic, {covariance}": by_plncli(covariance, True) for covariance in COVARIANCES},
        "logistic regression": by_sklearn(lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))),
        "random forest": by_sklearn(lambda: RandomForestClassifier(500, random_state=0)),
        "LDA, shrunk": by_sklearn(lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        "QDA, shrunk": by_sklearn(lambda: QuadraticDiscriminantAnalysis(solver="eigen", shrinkage="auto")),
    }


def compared(name: str, tasks: Callable[[int], Task], seeds: int) -> list[str]:
    """Rows of the table: each method on a task."""
    rows = []
    for method, run in methods().items():
        accuracy, loss, seconds = [], [], []
        for seed in range(seeds):
            task = tasks(seed)
            fold = folds_of(task.dataset(), task.group, FOLDS, seed)
            began = time.process_time()
            p = run(task, fold)
            seconds.append(time.process_time() - began)
            y = task.group.numpy()
            accuracy.append(float((p.argmax(1) == y).mean()))
            loss.append(float(-np.log(np.maximum(p[np.arange(len(y)), y], TINY)).mean()))
        spread = f"{100 * mean(accuracy):.1f} ± {100 * pstdev(accuracy):.1f}"
        rows.append(f"| {name} | {method} | {spread} | {mean(loss):.3f} | {mean(seconds):.1f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--name", default="discrimination")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    tree, side = oaks("tree"), oaks("orientation")
    rows = compared("oaks, tree", lambda _: tree, asked.seeds)
    rows += compared("oaks, orientation", lambda _: side, asked.seeds)
    for each in (0.3, 1.0, 10.0):
        rows += compared(f"simulated, {each:g} counts a cell", lambda seed, each=each: drawn(each, seed), asked.seeds)  # type: ignore[misc]
    for size in (10, 20, 40, 80):
        drawn_so = lambda seed, size=size: own_covariances(size, seed)  # noqa: E731
        rows += compared(f"own covariances, {size} a group", drawn_so, asked.seeds)
    head = [
        "# Groups of held-out samples",
        "",
        f"{FOLDS} folds, {asked.seeds} seeds; accuracy in %, seconds of CPU for all folds on one thread.",
        "",
        "| samples | method | accuracy ± sd | log loss | seconds |",
        "|---|---|---|---|---|",
    ]
    (RESULTS / f"{asked.name}.md").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
