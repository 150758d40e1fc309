"""Wide and awkward tables: more features than samples, steep covariates, variances that fall to 0 among others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

from plncli import Dataset, fit
from plncli.dataset import Dataset as Tensors
from plncli.fitting import fit as fit_model
from plncli.models.pln.model import PLN
from plncli.optim.base import Point, Problem, Run, Space, Status, StopRule
from plncli.optim.certificate import newton_solve
from plncli.results import FitResult
from plncli.verbs.simulate import invented

CASE = Path(__file__).parents[1] / "field" / "variance-to-zero-precision"


def simulated(n: int, p: int, zeros: float, numeric: int, seed: int) -> Tensors:
    """A table of `plncli simulate`, without its empty rows and columns."""
    made = invented("pln", n, {"p": p, "zeros": zeros, "numeric": numeric}, seed)
    Y, O = made.drawn.Y.double(), made.truth.O.double()
    rows, columns = Y.sum(1) > 0, Y.sum(0) > 0
    X = made.truth.X.double()[rows]
    return Tensors(Y[rows][:, columns], X, O[rows][:, : columns.numel()], w=torch.ones(len(X), dtype=torch.float64))


def sparse(seed: int) -> Tensors:
    """Some features of a sparse pool, half of them seen in under a third of the samples, with steep covariates."""
    g = np.random.default_rng(seed)
    n, d, pool = int(g.choice([30, 45, 80])), int(g.choice([1, 4, 9])), 440
    X = np.c_[np.ones(n), g.normal(size=(n, d - 1))]
    X[:, 1:3] = X[:, 1:3] > 0.3
    B = g.normal(size=(d, pool)) * g.choice([0.3, 1.5, 3.0], size=(d, pool), p=[0.5, 0.35, 0.15])
    B[0] = g.normal(-1.0, 2.0, pool)
    shared = g.normal(size=(n, 5)) @ (0.5 * g.normal(size=(5, pool)))
    Z = X @ B + shared + g.normal(size=(n, pool)) * g.choice([0.0, 0.3, 1.0], size=pool)
    depth = g.lognormal(0.0, 1.0, size=(n, 1))
    Y = g.poisson(np.minimum(np.exp(np.minimum(Z, 9.0)) * depth, 1e6)).astype(float)
    seen = (Y > 0).sum(0)
    rare, common = np.flatnonzero((seen > 0) & (seen < n / 3)), np.flatnonzero(seen >= n / 3)
    p = int(g.integers(8, 70))
    chosen = np.r_[g.choice(rare, min(p // 2, len(rare)), False), g.choice(common, min(p - p // 2, len(common)), False)]
    return Tensors(
        torch.tensor(Y[:, chosen]), torch.tensor(X), torch.tensor(np.log(depth)), w=torch.ones(n, dtype=torch.float64)
    )


def converged(found: FitResult) -> None:
    assert found.optimum.status is Status.CONVERGED
    assert found.optimum.gap <= 1e-6 * found.data.n


QUICK = (0, 191)  # the last one: a feature beside the boundary that only its correlations lift off it


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed in QUICK else pytest.mark.slow) for seed in range(500)]
)
def test_sparse_tables_with_steep_covariates_converge(seed: int) -> None:
    converged(fit_model(PLN(), sparse(seed)))


@pytest.mark.parametrize(
    ("n", "p", "zeros", "numeric", "seed"),
    [
        pytest.param(40, 160, 0.8, 2, 640561, marks=pytest.mark.slow),
        (60, 120, 0.4, 3, 95646),
        pytest.param(40, 160, 0.9, 3, 114355, marks=pytest.mark.slow),
        pytest.param(100, 200, 0.6, 0, 200348, marks=pytest.mark.slow),
        pytest.param(40, 800, 0.6, 1, 325213, marks=pytest.mark.slow),
        pytest.param(60, 1200, 0.8, 3, 907343, marks=pytest.mark.slow),  # features fell beside the boundary, and stayed
    ],
)
def test_more_features_than_samples_converge(n: int, p: int, zeros: float, numeric: int, seed: int) -> None:
    converged(fit_model(PLN(), simulated(n, p, zeros, numeric, seed)))


@pytest.mark.slow  # three fits; the boundary among others is met in a quick one of sparse tables above
def test_a_feature_whose_variance_falls_to_0_among_others_ends_on_the_boundary() -> None:
    tables = {name: pd.read_csv(CASE / f"{name}.csv", index_col=0) for name in ("counts", "covariates", "exposure")}
    tables = {name: table.loc[tables["counts"].index] for name, table in tables.items()}
    found = fit("pln", Dataset(**tables, formula="~ ."), se="none")
    assert found.summary["converged"]
    gone = tables["counts"].columns[np.diag(found.sigma) == 0.0]
    assert list(gone) == ["K00"]
    Z = tables["covariates"].astype(float)
    X, exposure = sm.add_constant((Z - Z.mean()) / Z.std()), tables["exposure"].iloc[:, 0]
    alone = sm.GLM(tables["counts"]["K00"], X, sm.families.Poisson(), exposure=exposure).fit(method="newton")
    others = fit("pln", Dataset(**{**tables, "counts": tables["counts"].drop(columns="K00")}, formula="~ ."), se="none")
    assert found.summary["elbo"] == pytest.approx(others.summary["elbo"] + alone.llf, abs=1e-3)
    assert found.summary["elbo"] == pytest.approx(-2525.0065, abs=1e-3)


def test_an_indefinite_preconditioner_certifies_nothing() -> None:
    A = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    problem = Problem(
        lambda params: 0.5 * params["x"] @ A @ params["x"], {"x": torch.ones(2, dtype=torch.float64)}, 1.0
    )
    space = Space(problem.start)
    point = Point(problem, space, space.join(problem.start))
    for scale in (-1.0, -1e-9, float("nan")):
        solve = newton_solve(point, lambda v, scale=scale: scale * v, 0.1, 1e-9, 50, Run(StopRule(), None))
        assert solve.decrement > 0.0
        assert not solve.solved or solve.decrement == pytest.approx(2.5, rel=0.1)


def test_a_fit_that_keeps_sigma_as_factors_answers_the_same() -> None:
    data = simulated(20, 60, 0.5, 1, 5)
    whole = fit_model(PLN(), data)
    kept = fit_model(PLN(sigma=False), data)
    assert "Sigma" not in kept.estimates and "Omega" not in kept.estimates and "V" in kept.state
    assert kept.optimum.value == whole.optimum.value
    left, right = whole.fitted, kept.fitted
    torch.testing.assert_close(right.Sigma, left.Sigma)
    everything = torch.ones_like(data.Y, dtype=torch.bool)
    X, O, Y = data.X, data.O.expand_as(data.Y), data.Y
    same = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
    for name, column in left.predict(X, O).columns.items():
        same(right.predict(X, O).columns[name], column)
    same(right.transform(X, O, Y, everything).mean, left.transform(X, O, Y, everything).mean)
    same(right.transform(X, O, Y, everything).mean, whole.estimates["M"])
    some = torch.tensor([3, 0, 11])
    given = [each.conditional(X, O, Y[:, some], some, everything[:, some]).columns for each in (left, right)]
    same(given[1]["latent_mean"], given[0]["latent_mean"])
    same(given[1]["latent_sd"], given[0]["latent_sd"])
    scores = [each.score_samples(X, O, Y, everything) for each in (left, right)]
    same(scores[1].loglik, scores[0].loglik)
    facts = [each.diagnose(data, 0, torch.Generator()).facts for each in (left, right)]
    assert facts[1]["elbo_by_sample"] == pytest.approx(facts[0]["elbo_by_sample"], rel=1e-9)
    assert facts[1]["elbo_by_sample"] == pytest.approx(-kept.optimum.value, rel=1e-6)
