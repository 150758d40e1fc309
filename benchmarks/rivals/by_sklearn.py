"""scikit-learn: LogisticRegression by newton-cholesky without penalty, LinearRegression, and a TruncatedSVD."""

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


def svd(problem: Problem, settings: Settings) -> Outcome:
    """TruncatedSVD of log(1 + Y) less offset and regression on X: what a PCA costs that knows nothing of counts."""
    loading = Clock()
    from sklearn.decomposition import TruncatedSVD
    from sklearn.linear_model import LinearRegression

    load_seconds = loading()
    clock = Clock()
    L = np.log1p(problem.Y) - problem.O
    B = LinearRegression(fit_intercept=False).fit(problem.X, L).coef_.T
    axes = TruncatedSVD(problem.rank, random_state=0).fit(L - problem.X @ B)
    C = axes.components_.T * axes.singular_values_ / np.sqrt(problem.n)
    return Outcome({"B": B, "C": C}, load_seconds, clock(), version("scikit-learn"), settings.threads)
