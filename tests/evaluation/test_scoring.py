"""Scores of what a fit has not seen, against the fit's own bound, quadrature and other forms of the same law."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from tables import dataset, oaks, pln_table

from plncli.fitting import fit
from plncli.models.pln.model import PLN
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.numerics.likelihoods import poisson_deviance
from plncli.optim.base import StopRule

SHARP = StopRule(tol=1e-12)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_the_scores_of_the_samples_of_a_fit_add_up_to_its_elbo(covariance: str) -> None:
    """With every kind of cell: missing ones, a group without counts, a feature without variance of its own."""
    data, *_ = pln_table(60, 4)
    X = torch.stack([torch.ones(60), (torch.arange(60) % 3 == 0).double()], 1).double()
    Y = data.Y.clone()
    Y[X[:, 1] == 1, 0] = 0.0
    Y[:, 3] = torch.arange(60) % 2 + 1.0
    K = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.1
    data = replace(data, X=X, Y=torch.where(K, Y, 0.0), K=K)
    found = fit(PLN(covariance), data, stop=SHARP)
    assert covariance == "spherical" or float(found.estimates["Sigma"][3, 3]) == 0.0
    score = found.fitted.score_samples(data.X, data.O, data.Y, K)
    assert score.converged
    assert float(score.loglik.sum()) == pytest.approx(found.criteria.loglik, abs=1e-6)


def test_the_scores_of_the_oaks_add_up_to_the_elbo_of_their_fit() -> None:
    data = oaks(tree=True)
    found = fit(PLN(), data)
    score = found.fitted.score_samples(data.X, data.O, data.Y, torch.ones_like(data.Y, dtype=torch.bool))
    assert float(score.loglik.sum()) == pytest.approx(found.criteria.loglik, abs=1e-3)


def test_the_score_of_a_new_sample_is_a_bound() -> None:
    data, *_ = pln_table(80, 1)
    found = fit(PLN(), data)
    Y = torch.arange(30.0, dtype=torch.float64)[:, None]
    X, O = data.X[:30], data.O[:30]
    score = found.fitted.score_samples(X, O, Y, torch.ones_like(Y, dtype=torch.bool))
    exact = poisson_lognormal_logpmf(Y, O + X @ found.estimates["B"], found.estimates["Sigma"][0])[:, 0]
    assert bool((score.loglik <= exact + 1e-5).all())
    assert float((exact - score.loglik).max()) < 0.1
    median = (O + X @ found.estimates["B"]).exp()
    for mu, deviance in (
        (median, score.deviance),
        (median * (0.5 * found.estimates["Sigma"][0]).exp(), score.of_means),
    ):
        assert torch.allclose(deviance, 2 * (torch.special.xlogy(Y, Y / mu) - Y + mu))


def test_cells_that_are_not_scored_count_for_nothing() -> None:
    data, *_ = pln_table(60, 3)
    found = fit(PLN(), data)
    scored = torch.ones(60, 3, dtype=torch.bool)
    scored[0, 1], scored[1] = False, False
    other = data.Y.clone()
    other[~scored] += 50.0
    a, b = (found.fitted.score_samples(data.X, data.O, Y, scored) for Y in (data.Y, other))
    assert torch.equal(a.loglik, b.loglik)
    assert float(a.loglik[1]) == 0.0
    assert float(a.deviance[~scored].abs().max()) == float(a.of_means[~scored].abs().max()) == 0.0


def test_a_hidden_count_has_the_conditional_distribution_of_the_fit() -> None:
    """The law by Sigma, where the code goes by Omega."""
    data, *_ = pln_table(80, 5)
    K = torch.rand(80, 5, generator=torch.Generator().manual_seed(1)) > 0.2
    found = fit(PLN(), replace(data, Y=torch.where(K, data.Y, 0.0), K=K), stop=SHARP)
    B, Sigma, M, S = (found.estimates[name] for name in ("B", "Sigma", "M", "S"))
    score = found.fitted.score_cells(found.data, data.Y, ~K)
    for i in range(80):
        o, u = K[i].nonzero()[:, 0], (~K[i]).nonzero()[:, 0]
        C = data.X[i] @ B
        G = Sigma[u][:, o] @ torch.linalg.inv(Sigma[o][:, o])
        mean = C[u] + G @ (M[i, o] - C[o])
        variance = (Sigma[u][:, u] - G @ Sigma[o][:, u]).diagonal() + G.square() @ S[i, o].square()
        expected = poisson_lognormal_logpmf(data.Y[i, u], mean, variance)
        assert torch.allclose(score.loglik[i, u], expected, atol=1e-5)
        for log_rate, deviance in ((mean, score.deviance), (mean + 0.5 * variance, score.of_means)):
            assert torch.allclose(deviance[i, u], poisson_deviance(data.Y[i, u], log_rate.exp()), rtol=1e-4)
    assert float(score.loglik[K].abs().max()) == 0.0


def test_a_linear_score_is_the_density_of_scipy() -> None:
    g = torch.Generator().manual_seed(0)
    X = torch.cat([torch.ones(50, 1), torch.randn(50, 1, generator=g)], 1).double()
    data = dataset(torch.randn(50, 2, generator=g), X)
    found = fit(Linear(), data)
    new = torch.randn(7, 2, generator=g, dtype=torch.float64)
    score = found.fitted.score_samples(X[:7], torch.zeros(7, 1), new, torch.ones(7, 2, dtype=torch.bool))
    B, Sigma = found.estimates["B"].numpy(), found.estimates["Sigma"].numpy()
    R = new.numpy() - X[:7].numpy() @ B
    assert np.allclose(score.loglik, stats.multivariate_normal(cov=Sigma).logpdf(R))
    assert np.allclose(score.deviance, R**2)


def test_a_logistic_score_is_the_probability_of_the_class() -> None:
    g = torch.Generator().manual_seed(0)
    X = torch.cat([torch.ones(90, 1), torch.randn(90, 1, generator=g)], 1).double()
    Y = (X[:, 1:] + torch.randn(90, 1, generator=g) > 0).double()
    found = fit(Logistic(), dataset(Y, X))
    score = found.fitted.score_samples(X, torch.zeros(90, 1), Y, torch.ones(90, 1, dtype=torch.bool))
    probability = torch.sigmoid(X @ found.estimates["B"])
    expected = torch.where(Y == 1, probability, 1 - probability).log()
    assert torch.allclose(score.loglik, expected[:, 0])
    assert torch.allclose(score.deviance, -2 * expected)
    assert float(score.loglik.sum()) == pytest.approx(found.criteria.loglik)
    assert math.isfinite(float(score.deviance.sum()))
