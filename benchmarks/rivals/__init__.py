"""The rivals by name. Adding one is a file with a function `run(problem, settings) -> Outcome`, and a line here.

A rival imports what it needs inside `run`, where the import is timed and counts towards its memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.problems import Problem
from benchmarks.rivals import (
    by_glum,
    by_plncli,
    by_plncli_command,
    by_pyplnmodels,
    by_sklearn,
    by_statsmodels,
    by_torch,
)
from benchmarks.rivals.base import Outcome, Settings

PLN, PCA, REGRESSION = ("pln",), ("pln-pca",), ("logistic", "linear")


@dataclass(frozen=True)
class Rival:
    """run: fits a problem; models: those it knows.

    max_cells: largest n·max(p, d) that it is given, None for any. patience: seconds after which a slow rival is
    stopped, where that is less than the time limit of the run.
    """

    run: Callable[[Problem, Settings], Outcome]
    models: tuple[str, ...]
    max_cells: int | None = None
    patience: float = math.inf

    def takes(self, problem: Problem) -> bool:
        """Whether the rival is run on the problem."""
        small = self.max_cells is None or problem.n * max(problem.p, problem.d) <= self.max_cells
        return problem.model in self.models and small


SMALL = 15_000
"""Cells up to which the slowest are run: beyond, they only reach the time limit."""

RIVALS: dict[str, Rival] = {
    "plncli": Rival(by_plncli.run, PLN + PCA + REGRESSION),
    "plncli-command": Rival(by_plncli_command.run, PLN + REGRESSION, 2_000_000),
    "plncli-vem": Rival(partial(by_plncli.run, optimizer="vem"), PLN, SMALL, patience=10.0),
    "pyPLNmodels": Rival(by_pyplnmodels.run, PLN + PCA),
    "torch-lbfgs": Rival(by_torch.lbfgs, PLN, 250_000, patience=20.0),
    "torch-rprop": Rival(by_torch.rprop, PLN, SMALL, patience=10.0),
    "statsmodels": Rival(by_statsmodels.run, REGRESSION),
    "scikit-learn": Rival(by_sklearn.run, REGRESSION),
    "scikit-learn-svd": Rival(by_sklearn.svd, PCA),
    "glum": Rival(by_glum.run, REGRESSION),
}
REFERENCE = Rival(partial(by_plncli.run, tol=1e-9), PLN + PCA + REGRESSION)
"""The optimum that gaps are measured from: a certified fit at a tolerance of 1e-9 nats per sample."""
