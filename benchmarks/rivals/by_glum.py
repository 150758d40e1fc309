"""glum: a generalised linear model by iteratively reweighted least squares, without penalty."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version


def run(problem: Problem, settings: Settings) -> Outcome:
    """Defaults, without penalty; the intercept is a column of the design, as for everyone."""
    loading = Clock()
    from glum import GeneralizedLinearRegressor

    load_seconds = loading()
    clock = Clock()
    family = "binomial" if problem.model == "logistic" else "normal"
    model = GeneralizedLinearRegressor(alpha=0, family=family, fit_intercept=False)
    model.fit(problem.X, problem.Y[:, 0])
    B = model.coef_.reshape(-1, 1)
    return Outcome({"B": B}, load_seconds, clock(), version("glum"), settings.threads)
