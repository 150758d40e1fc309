import resource

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tries import examples

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.models.base import Model, Preconditioned
from plncli.models.regression.logistic import Logistic
from plncli.optim.base import StopRule

F = torch.float64


def table(Y, X, O=None, w=None, **names):
    O = torch.zeros(len(X), 1, dtype=X.dtype) if O is None else O
    return Dataset(Y=Y, X=X, O=O, w=torch.ones(len(X), dtype=X.dtype) if w is None else w, **names)


def simulated(n=120, p=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, dtype=F, generator=g)
    X[:, 0] = 1.0
    B = torch.randn(3, p, dtype=F, generator=g)
    return torch.bernoulli(torch.sigmoid(X @ B), generator=g), X


def coefficients(*args, **kwargs):
    result = fit(Logistic(), table(*args, **kwargs))
    assert result.converged
    return result.estimates["B"]


def close(a, b, atol=1e-9):
    assert torch.allclose(a, b, rtol=0, atol=atol), (a - b).abs().max()


def test_protocols():
    assert isinstance(Logistic(), Model)
    assert isinstance(Logistic(), Preconditioned)


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e12])
def test_units_of_a_covariate_change_its_coefficient_only(unit):
    Y, X = simulated()
    scale = torch.tensor([1.0, unit, 1.0], dtype=F)
    a, b = fit(Logistic(), table(Y, X)), fit(Logistic(), table(Y, X * scale))
    close(a.estimates["B"], b.estimates["B"] * scale[:, None])
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-10)


def test_order_of_samples_and_of_responses_does_not_matter():
    Y, X = simulated()
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(1))
    close(coefficients(Y, X), coefficients(Y[order], X[order]))
    close(coefficients(Y, X), coefficients(Y.flip(1), X).flip(1))


def test_responses_are_fitted_each_by_itself():
    Y, X = simulated()
    close(coefficients(Y, X)[:, 1:], coefficients(Y[:, 1:], X))


def test_swapping_the_labels_changes_signs():
    Y, X = simulated()
    close(coefficients(Y, X), -coefficients(1 - Y, X))


def test_a_weight_of_two_is_two_samples():
    Y, X = simulated()
    w = torch.ones(len(X), dtype=F)
    w[:30] = 2.0
    close(coefficients(Y, X, w=w), coefficients(torch.cat([Y, Y[:30]]), torch.cat([X, X[:30]])))


def test_a_constant_offset_moves_the_intercept():
    Y, X = simulated()
    expected = coefficients(Y, X)
    expected[0] -= 3.0
    close(coefficients(Y, X, O=torch.full((len(X), 1), 3.0, dtype=F)), expected)


def test_derivatives():
    Y, X = simulated(n=9)
    prepared = Logistic().prepare(table(Y, X, w=torch.rand(9, dtype=F) + 0.5))

    def objective(gamma):
        return Logistic().objective({"gamma": gamma}, prepared)

    for gamma in (torch.zeros(3, 2, dtype=F), torch.randn(3, 2, dtype=F)):
        gamma.requires_grad_(True)
        assert torch.autograd.gradcheck(objective, gamma)
        assert torch.autograd.gradgradcheck(objective, gamma)


@pytest.mark.parametrize("p", [1, 2, 5])
def test_value_and_derivatives_over_blocks_are_those_of_the_plain_objective(p, monkeypatch):
    monkeypatch.setattr("plncli.numerics.rows.CACHED", 100)
    Y, X = simulated(n=501, p=p)
    g = torch.Generator().manual_seed(5)
    O, w = torch.randn(501, p, dtype=F, generator=g), torch.rand(501, dtype=F, generator=g) + 0.5
    model, prepared = Logistic(), Logistic().prepare(table(Y, X, O=O, w=w))
    gamma, v = torch.randn(2, 3, p, dtype=F, generator=g)

    def derivatives(objective):
        x = gamma.clone().requires_grad_(True)
        value = objective({"gamma": x}, prepared)
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        (product,) = torch.autograd.grad((slope * v).sum(), x)
        return value.detach(), slope.detach(), product

    for fast, plain in zip(derivatives(model.objective), derivatives(model.plain_objective), strict=True):
        assert torch.allclose(fast, plain, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("origin", [0.0, 1e3, 1e7])
def test_where_a_covariate_starts_counting_changes_the_intercept_only(origin):
    Y, X = simulated(n=1000)
    moved = X + torch.tensor([0.0, origin, 0.0], dtype=F)
    close(coefficients(Y, X)[1:], coefficients(Y, moved)[1:], atol=1e-8)


def test_preconditioner_is_the_inverse_hessian_everywhere():
    Y, X = simulated()
    prepared = Logistic().prepare(table(Y, X, w=torch.rand(len(X), dtype=F) + 0.5))
    gamma = torch.randn(3, 2, dtype=F, generator=torch.Generator().manual_seed(2))
    H = torch.autograd.functional.hessian(lambda g: Logistic().objective({"gamma": g}, prepared), gamma)
    v = torch.randn(3, 2, dtype=F, generator=torch.Generator().manual_seed(3))
    Hv = (H * v).sum((2, 3))
    close(Logistic().preconditioner({"gamma": gamma}, prepared)({"gamma": Hv})["gamma"], v)


def test_equals_statsmodels_logit():
    sm = pytest.importorskip("statsmodels.api")
    Y, X = simulated()
    result = fit(Logistic(), table(Y, X))
    for j in range(2):
        theirs = sm.Logit(Y[:, j].numpy(), X.numpy()).fit(disp=0, tol=1e-14)
        assert np.allclose(result.estimates["B"][:, j], theirs.params, rtol=0, atol=1e-8)


def test_equals_statsmodels_glm_with_offset_and_weights():
    sm = pytest.importorskip("statsmodels.api")
    Y, X = simulated(p=1)
    g = torch.Generator().manual_seed(4)
    O, w = torch.randn(len(X), 1, dtype=F, generator=g), torch.randint(1, 5, (len(X),), generator=g).to(F)
    result = fit(Logistic(), table(Y, X, O=O, w=w))
    options = {"family": sm.families.Binomial(), "offset": O[:, 0].numpy(), "freq_weights": w.numpy()}
    theirs = sm.GLM(Y[:, 0].numpy(), X.numpy(), **options).fit(tol=1e-14)
    null = sm.GLM(Y[:, 0].numpy(), np.ones(len(X)), **options).fit(tol=1e-14)
    assert np.allclose(result.estimates["B"][:, 0], theirs.params, rtol=0, atol=1e-8)
    assert result.criteria.loglik == pytest.approx(theirs.llf, abs=1e-8)
    assert result.criteria.r2 == pytest.approx(1 - theirs.deviance / null.deviance, abs=1e-8)


def test_r2_of_an_intercept_is_zero_even_beside_extreme_offsets():
    Y, X = simulated(p=1)
    g = torch.Generator().manual_seed(4)
    O = 30.0 * torch.randn(len(X), 1, dtype=F, generator=g)
    result = fit(Logistic(), table(Y, X[:, :1], O=O))
    assert result.criteria.r2 == pytest.approx(0.0, abs=1e-8)


def test_rare_classes_converge():
    Y, X = torch.zeros(100_000, 1, dtype=F), torch.ones(100_000, 1, dtype=F)
    Y[:3] = 1
    result = fit(Logistic(), table(Y, X))
    assert result.converged
    assert float(result.estimates["B"]) == pytest.approx(float(torch.logit(Y.mean())), abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_complete_separation_is_named_and_finite(dtype):
    x = torch.linspace(-1, 1, 40, dtype=dtype)[:, None]
    z = torch.randn(40, 1, generator=torch.Generator().manual_seed(1)).to(dtype)
    Y, X = (x > 0.1).to(dtype), torch.cat([torch.ones_like(x), x, z], 1)
    result = fit(Logistic(), table(Y, X, terms=("one", "dose", "noise"), responses=("ill",)))
    (finding,) = result.findings
    assert finding.code == "separation"
    assert finding.names == ("ill",)
    assert finding.cells == (("ill", "one"), ("ill", "dose"), ("ill", "noise"))
    assert finding.message.startswith("complete separation of the classes of `ill` in all 40 samples by ")
    assert "(`dose` alone does)" in finding.message
    assert "no standard errors" in finding.message
    assert result.estimates["B"].isfinite().all()


def test_quasi_complete_separation_names_the_level_only():
    group = torch.arange(60) % 3
    X = torch.nn.functional.one_hot(group).to(F)
    X[:, 0] = 1
    Y = (torch.arange(60) % 2 == 0).to(F)[:, None].repeat(1, 2)
    Y[group == 2, 0] = 1
    result = fit(Logistic(), table(Y, X, terms=("one", "b", "c"), responses=("ill", "well")))
    (finding,) = result.findings
    assert finding.cells == (("ill", "c"),)
    assert "quasi-complete separation of the classes of `ill` in 20 of 60 samples by `c`" in finding.message
    alone = coefficients(Y[group != 2], X[group != 2, :2])
    close(result.estimates["B"][:2, 0], alone[:, 0])  # the rest of the fit is the fit of the rest
    assert result.estimates["B"].isfinite().all()


@examples(10, 50)
@given(st.integers(0, 10**6), st.floats(0.5, 30))
def test_separation_is_found_exactly_when_it_is_there(seed, slope):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 1, dtype=F, generator=g)
    Y = torch.bernoulli(torch.sigmoid(slope * x), generator=g)
    if Y.sum() in (0, 20):
        return
    truth = bool(x[Y == 1].min() > x[Y == 0].max() or x[Y == 1].max() < x[Y == 0].min())
    result = fit(Logistic(), table(Y, torch.cat([torch.ones_like(x), x], 1)))
    assert bool(result.findings) == truth


def test_findings_hold_wherever_the_fit_was_stopped():
    x = torch.linspace(-1, 1, 40, dtype=F)[:, None]
    X = torch.cat([torch.ones_like(x), x], 1)
    for Y, n in (((x > 0).to(F), 1), ((x.sin() + 0.4 * (50 * x).sin() > 0).to(F), 0)):
        assert len(fit(Logistic(), table(Y, X), stop=StopRule(max_iter=1)).findings) == n


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Y, X: table(Y + 1, X, responses=("a", "b")), "needs responses of 0 and 1; `a`, `b` holds other values"),
        (lambda Y, X: table(Y * 0 + 1, X, responses=("a", "b")), r"both classes: `a` \(1 in all 120 samples\), `b`"),
        (lambda Y, X: table(Y, X[:, [0, 1, 1]], terms=("i", "u", "v")), "`v` is a linear combination of `u`"),
        (lambda Y, X: table(Y, X, K=torch.ones_like(Y, dtype=torch.bool)), "no missing responses"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(DataError, match=message):
        fit(Logistic(), change(*simulated()))


@pytest.mark.slow
def test_a_million_samples_in_memory_proportional_to_the_table():
    g = torch.Generator().manual_seed(0)
    X = torch.randn(1_000_000, 20, dtype=F, generator=g)
    X[:, 0] = 1.0
    B = torch.randn(20, 1, dtype=F, generator=g)
    data = table(torch.bernoulli(torch.sigmoid(X @ B), generator=g), X)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = fit(Logistic(), data)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert result.converged
    assert (result.estimates["B"] - B).abs().max() < 0.05  # about 6 standard errors
    assert grown < X.numel() * 8  # the table is 160 MB; measured 0.5 of it
