import math

import pytest
import torch

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.criteria import criteria
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic

F = torch.float64


def test_formulas():
    c = criteria(-120.0, 7, 50, 0.4, entropy=3.0)
    assert c.aic == 240 + 14
    assert c.bic == 240 + 7 * math.log(50)
    assert c.icl == c.bic + 6
    assert (c.loglik, c.n_parameters, c.n_samples, c.r2) == (-120.0, 7, 50, 0.4)


def test_icl_is_nan_without_a_latent_layer():
    assert math.isnan(criteria(-1.0, 1, 10, 0.0).icl)


def table(Y, X):
    return Dataset(Y=Y[:, None], X=X, O=torch.zeros(len(X), 1, dtype=F), w=torch.ones(len(X), dtype=F))


def simulated():
    g = torch.Generator().manual_seed(5)
    X = torch.randn(80, 3, dtype=F, generator=g)
    X[:, 0] = 1.0
    return X, X @ torch.tensor([0.3, -1.0, 0.5], dtype=F), g


def test_logistic_criteria_equal_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    X, eta, g = simulated()
    Y = torch.bernoulli(torch.sigmoid(eta), generator=g)
    ours, theirs = fit(Logistic(), table(Y, X)).criteria, sm.Logit(Y.numpy(), X.numpy()).fit(disp=0, tol=1e-14)
    assert ours.loglik == pytest.approx(theirs.llf, abs=1e-8)
    assert ours.aic == pytest.approx(theirs.aic, abs=1e-8)
    assert ours.bic == pytest.approx(theirs.bic, abs=1e-8)
    assert ours.r2 == pytest.approx(theirs.prsquared, abs=1e-8)


def test_linear_criteria_count_the_variance_which_statsmodels_does_not():
    sm = pytest.importorskip("statsmodels.api")
    X, eta, g = simulated()
    Y = eta + torch.randn(80, dtype=F, generator=g)
    ours, theirs = fit(Linear(), table(Y, X)).criteria, sm.OLS(Y.numpy(), X.numpy()).fit()
    assert ours.n_parameters == 3 + 1
    assert ours.loglik == pytest.approx(theirs.llf, abs=1e-8)
    assert ours.aic == pytest.approx(theirs.aic + 2, abs=1e-8)
    assert ours.bic == pytest.approx(theirs.bic + math.log(80), abs=1e-8)
    assert ours.r2 == pytest.approx(theirs.rsquared, abs=1e-8)
