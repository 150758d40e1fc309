"""scikit-learn: LogisticRegression by newton-cholesky without penalty, and LinearRegression."""

from __future__ import annotations

import numpy as np

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version


def run(problem: Problem, settings: Settings) -> Outcome:
    """Defaults but for the solver, which is its fastest for many samples and few covariates, and no penalty."""
    loading = Clock()
    from sklearn.linear_model import LinearRegression, LogisticRegression

    load_seconds = loading()
    clock = Clock()
    if problem.model == "logistic":
        model = LogisticRegression(C=np.inf, solver="newton-cholesky", fit_intercept=False)
    else:
        model = LinearRegression(fit_intercept=False)
    model.fit(problem.X, problem.Y[:, 0])
    B = model.coef_.reshape(-1, 1)
    return Outcome({"B": B}, load_seconds, clock(), version("scikit-learn"), settings.threads)
