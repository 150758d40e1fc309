"""statsmodels: Logit by Newton's method, and OLS."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version


def run(problem: Problem, settings: Settings) -> Outcome:
    """Defaults, without standard errors beyond those that `fit` always makes."""
    loading = Clock()
    import statsmodels.api as sm

    load_seconds = loading()
    clock = Clock()
    if problem.model == "logistic":
        fitted = sm.Logit(problem.Y[:, 0], problem.X).fit(method="newton", disp=0)
    else:
        fitted = sm.OLS(problem.Y[:, 0], problem.X).fit()
    B = fitted.params.reshape(-1, 1)
    return Outcome({"B": B}, load_seconds, clock(), version("statsmodels"), settings.threads)
