import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from plncli.numerics.likelihoods import (
    bernoulli_loglik,
    expected_poisson_loglik,
    gaussian_loglik,
    log_factorial,
    poisson_deviance,
    poisson_loglik,
    softplus,
)

F = torch.float64
ETA = torch.tensor(
    [-1e3, -745, -700, -40, -37, -20.5, -19.5, -3, -1e-8, -0.0, 0.0, 1e-300, 1e-8, 0.5, 3, 20.5, 37, 40, 700, 1e3],
    dtype=F,
)


def relative(found, expected):
    expected = torch.as_tensor(expected, dtype=F)
    return ((found - expected).abs() / expected.abs().clamp(min=1e-300)).max()


def test_softplus_and_its_derivatives_in_both_tails():
    eta = ETA.clone().requires_grad_(True)
    value = softplus(eta)
    (slope,) = torch.autograd.grad(value.sum(), eta, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), eta)
    x = ETA.numpy()
    assert relative(value.detach(), -special.log_expit(-x)) < 4e-16
    assert relative(slope.detach(), special.expit(x)) < 1e-15
    assert relative(curvature, special.expit(x) * special.expit(-x)) < 1e-15
    assert slope[9] == slope[10] == 0.5  # no kink at 0, where fits start


def test_softplus_is_differentiable_twice():
    eta = torch.tensor([-5.0, -0.3, 0.0, 0.2, 6.0], dtype=F, requires_grad=True)
    assert torch.autograd.gradcheck(softplus, eta)
    assert torch.autograd.gradgradcheck(softplus, eta)


def test_bernoulli_keeps_its_relative_accuracy_where_the_outcome_is_certain():
    one = torch.ones_like(ETA)
    assert relative(bernoulli_loglik(one, ETA), special.log_expit(ETA.numpy())) < 4e-16
    assert torch.equal(bernoulli_loglik(-one, ETA), bernoulli_loglik(one, -ETA))
    assert float(bernoulli_loglik(torch.tensor(1.0, dtype=F), torch.tensor(40.0, dtype=F))) == -math.exp(-40)
    total = bernoulli_loglik(one, ETA).exp() + bernoulli_loglik(-one, ETA).exp()
    assert torch.allclose(total, one, atol=1e-15)


def test_poisson_against_scipy():
    Y, mu = torch.tensor([0.0, 1, 3, 250, 1e6], dtype=F), torch.tensor([0.3, 2.5, 1e-3, 240.0, 1e6], dtype=F)
    expected = torch.from_numpy(stats.poisson.logpmf(Y.numpy(), mu.numpy()))
    assert torch.allclose(poisson_loglik(Y, mu.log()), expected, rtol=1e-9)  # scipy's own cancellation at 1e6
    saturated = poisson_loglik(Y, Y.log())
    assert float(saturated[0]) == 0.0
    assert torch.allclose(poisson_deviance(Y, mu), 2 * (saturated - poisson_loglik(Y, mu.log())), atol=1e-8)
    assert torch.equal(poisson_deviance(Y, Y), torch.zeros(5, dtype=F))
    beyond = torch.full((5,), math.inf, dtype=F)
    assert torch.equal(poisson_deviance(Y, beyond), beyond)


def test_log_factorial_is_exact():
    Y = torch.tensor([0, 1, 2, 10, 170], dtype=F)
    expected = torch.tensor([math.log(math.factorial(int(y))) for y in Y], dtype=F)
    assert torch.allclose(log_factorial(Y), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("y", "mean", "variance"), [(0.0, -1.0, 0.5), (7.0, 1.5, 0.1), (40.0, 3.0, 1.0)])
def test_expected_poisson_by_quadrature(y, mean, variance):
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = torch.from_numpy(mean + math.sqrt(variance) * nodes)
    direct = torch.from_numpy(weights / weights.sum()) @ poisson_loglik(torch.tensor(y, dtype=F), z)
    found = expected_poisson_loglik(*(torch.tensor(v, dtype=F) for v in (y, mean, variance)))
    assert math.isclose(found, direct, rel_tol=1e-12)


def test_gaussian_against_scipy():
    Y, mean, variance = (torch.tensor(v, dtype=F) for v in ([0.0, 3.0], [1.0, -1.0], [0.1, 4.0]))
    expected = stats.norm.logpdf(Y.numpy(), mean.numpy(), variance.sqrt().numpy())
    assert np.allclose(gaussian_loglik(Y, mean, variance), expected, rtol=1e-14)
