import math

import numpy as np
import pytest
import torch
from scipy import stats

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.models.base import Model, Preconditioned
from plncli.models.regression.linear import Linear

F = torch.float64


def table(Y, X, O=None, w=None, **names):
    O = torch.zeros(len(X), 1, dtype=X.dtype) if O is None else O
    return Dataset(Y=Y, X=X, O=O, w=torch.ones(len(X), dtype=X.dtype) if w is None else w, **names)


def simulated(n=60, p=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, dtype=F, generator=g)
    X[:, 0] = 1.0
    noise = torch.randn(n, p, dtype=F, generator=g) @ torch.randn(p, p, dtype=F, generator=g)
    return X @ torch.randn(3, p, dtype=F, generator=g) + noise, X


def fitted(*args, **kwargs):
    result = fit(Linear(), table(*args, **kwargs))
    assert result.converged
    return result


def close(a, b, atol=1e-9):
    assert torch.allclose(a, b, rtol=0, atol=atol), (a - b).abs().max()


def test_protocols():
    assert isinstance(Linear(), Model)
    assert isinstance(Linear(), Preconditioned)


def test_equals_least_squares():
    Y, X = simulated()
    result = fitted(Y, X)
    B, rss, *_ = np.linalg.lstsq(X.numpy(), Y.numpy())
    R = Y.numpy() - X.numpy() @ B
    assert np.allclose(result.estimates["B"], B, rtol=0, atol=1e-10)
    assert np.allclose(result.estimates["Sigma"], R.T @ R / 60, rtol=1e-10)
    assert np.allclose(result.state["Sigma_unbiased"], R.T @ R / 57, rtol=1e-10)
    close(result.estimates["Sigma"] @ result.estimates["Omega"], torch.eye(3, dtype=F))
    law = stats.multivariate_normal(cov=result.estimates["Sigma"].numpy())
    assert result.criteria.loglik == pytest.approx(law.logpdf(R).sum(), abs=1e-8)
    assert result.criteria.n_parameters == 9 + 6
    assert result.criteria.r2 == pytest.approx(np.mean(1 - rss / (60 * Y.numpy().var(0))), abs=1e-10)


def test_one_response_equals_statsmodels_with_offset_and_weights():
    sm = pytest.importorskip("statsmodels.api")
    Y, X = simulated(p=1)
    g = torch.Generator().manual_seed(4)
    O, w = torch.randn(60, 1, dtype=F, generator=g), torch.randint(1, 5, (60,), generator=g).to(F)
    result = fitted(Y, X, O=O, w=w)
    theirs = sm.WLS((Y - O)[:, 0].numpy(), X.numpy(), weights=w.numpy()).fit()
    assert np.allclose(result.estimates["B"][:, 0], theirs.params, rtol=0, atol=1e-8)
    wbar = float(w.sum())
    sigma2 = float(result.estimates["Sigma"])
    assert sigma2 == pytest.approx(theirs.ssr / wbar, rel=1e-10)  # frequencies, where WLS divides by n
    assert result.criteria.loglik == pytest.approx(-0.5 * wbar * (math.log(2 * math.pi * sigma2) + 1), abs=1e-8)


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e12])
def test_units_of_covariates_and_of_responses(unit):
    Y, X = simulated()
    a = fitted(Y, X)
    scale = torch.tensor([1.0, unit, 1.0], dtype=F)
    b = fitted(Y, X * scale)
    close(a.estimates["B"], b.estimates["B"] * scale[:, None])
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-9)
    c = fitted(Y * scale, X)
    close(a.estimates["B"], c.estimates["B"] / scale)
    close(a.estimates["Sigma"], c.estimates["Sigma"] / scale / scale[:, None])
    assert a.criteria.r2 == pytest.approx(c.criteria.r2, abs=1e-10)
    assert a.criteria.loglik == pytest.approx(c.criteria.loglik + 60 * math.log(unit), abs=1e-8)


def test_order_of_samples_and_of_responses_does_not_matter():
    Y, X = simulated()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    a, b, c = fitted(Y, X), fitted(Y[order], X[order]), fitted(Y.flip(1), X)
    close(a.estimates["B"], b.estimates["B"])
    close(a.estimates["B"], c.estimates["B"].flip(1))
    close(a.estimates["Sigma"], c.estimates["Sigma"].flip(0, 1))


def test_coefficients_of_a_joint_fit_are_those_of_separate_fits():
    Y, X = simulated()
    close(fitted(Y, X).estimates["B"][:, 1:2], fitted(Y[:, 1:2], X).estimates["B"])


def test_a_weight_of_two_is_two_samples():
    Y, X = simulated()
    w = torch.ones(60, dtype=F)
    w[:20] = 2.0
    a, b = fitted(Y, X, w=w), fitted(torch.cat([Y, Y[:20]]), torch.cat([X, X[:20]]))
    for symbol in ("B", "Sigma", "Omega"):
        close(a.estimates[symbol], b.estimates[symbol])
    close(a.state["Sigma_unbiased"], b.state["Sigma_unbiased"])
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-9)


def test_a_constant_offset_moves_the_intercept():
    Y, X = simulated()
    expected = fitted(Y, X).estimates["B"].clone()
    expected[0] -= 3.0
    close(fitted(Y, X, O=torch.full((60, 3), 3.0, dtype=F)).estimates["B"], expected)


def test_derivatives():
    Y, X = simulated(n=12)
    prepared = Linear().prepare(table(Y, X, w=torch.rand(12, dtype=F) + 0.5))
    gamma = torch.randn(3, 3, dtype=F, generator=torch.Generator().manual_seed(2)).requires_grad_(True)

    def objective(gamma):
        return Linear().objective({"gamma": gamma}, prepared)

    assert torch.autograd.gradcheck(objective, gamma)
    assert torch.autograd.gradgradcheck(objective, gamma)


def test_value_from_sums_over_blocks_is_that_of_all_residuals(monkeypatch):
    monkeypatch.setattr("plncli.numerics.rows.CACHED", 100)
    Y, X = simulated(n=501)
    g = torch.Generator().manual_seed(5)
    data = table(Y, X, O=torch.randn(501, 1, dtype=F, generator=g), w=torch.rand(501, dtype=F, generator=g) + 0.5)
    model, prepared = Linear(), Linear().prepare(data)
    for gamma in (prepared.best, torch.randn(3, 3, dtype=F, generator=g)):
        at = {"gamma": gamma}
        assert float(model.objective(at, prepared)) == pytest.approx(float(model.plain_objective(at, prepared)), 1e-12)


@pytest.mark.parametrize("origin", [1e3, 1e7])
def test_where_a_covariate_starts_counting_changes_the_intercept_only(origin):
    Y, X = simulated()
    close(fitted(Y, X).estimates["B"][1:], fitted(Y, X + torch.tensor([0.0, origin, 0.0])).estimates["B"][1:], 1e-8)


def test_preconditioner_lands_on_least_squares_and_is_the_inverse_hessian_there():
    Y, X = simulated()
    data = table(Y, X, w=torch.rand(60, dtype=F) + 0.5)
    prepared = Linear().prepare(data)

    def objective(gamma):
        return Linear().objective({"gamma": gamma}, prepared)

    gamma = torch.zeros(3, 3, dtype=F, requires_grad=True)
    (g,) = torch.autograd.grad(objective(gamma), gamma)
    best = -Linear().preconditioner({"gamma": gamma.detach()}, prepared)({"gamma": g})["gamma"]
    close(prepared.basis.coefficients(best), fit(Linear(), data).estimates["B"])
    H = torch.autograd.functional.hessian(objective, best)
    v = torch.randn(3, 3, dtype=F, generator=torch.Generator().manual_seed(3))
    Hv = (H * v).sum((2, 3))
    close(Linear().preconditioner({"gamma": best}, prepared)({"gamma": Hv})["gamma"], v)


def test_large_means_and_nearly_equal_responses():
    Y, X = simulated()
    Y = 1e7 + torch.cat([Y, Y.sum(1, keepdim=True) + 1e-3 * torch.randn(60, 1, dtype=F)], 1)
    B = np.linalg.lstsq(X.numpy(), Y.numpy() - 1e7)[0]
    B[0] += 1e7
    assert np.allclose(fitted(Y, X).estimates["B"], B, rtol=0, atol=1e-7)  # 1e-9 is one unit in the last place of Y


def test_float32_agrees_with_float64():
    Y, X = simulated()
    single = fit(Linear(), table(Y.float(), X.float()))
    close(single.estimates["B"].double(), fitted(Y, X).estimates["B"], atol=1e-4)


def test_r2_may_be_negative_without_an_intercept():
    Y, X = simulated(p=1)
    assert fitted(Y + 100, X[:, 1:]).criteria.r2 < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Y, X: table(Y[:5], X[:5]), "3 responses are too many .* 5 samples less 3 coefficients .* at most 2"),
        (lambda Y, X: table(Y[:3], X[:3]), "3 samples and 3 coefficients leave no residual"),
        (lambda Y, X: table(Y * 0 + 7, X, responses=("a", "b", "c")), "fits `a`, `b`, `c` exactly"),
        (lambda Y, X: table(X[:, 1:2], X, responses=("a",)), "fits `a` exactly"),
        (
            lambda Y, X: table(torch.stack([Y[:, 0], Y[:, 1], Y[:, 0] - 2 * Y[:, 1]], 1), X),
            "`y3` follows from `y1`, `y2`",
        ),
        (lambda Y, X: table(Y, X[:, [0, 1, 1]], terms=("i", "u", "v")), "`v` is a linear combination of `u`"),
        (lambda Y, X: table(Y, X, K=torch.ones_like(Y, dtype=torch.bool)), "no missing responses"),
        (lambda Y, X: table(Y / torch.zeros(3, dtype=F), X), "finite numbers; `y1`, `y2`, `y3`"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(DataError, match=message):
        fit(Linear(), change(*simulated()))
