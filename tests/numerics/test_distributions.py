"""The Poisson log-normal distribution against adaptive quadrature, its limits, and simulation."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from tries import quickly

from plncli.numerics.distributions import poisson_lognormal_cdf, poisson_lognormal_logpmf, poisson_lognormal_quantile


def exactly(*values: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def by_quadrature(y: float, mean: float, sd: float) -> float:
    """Adaptive quadrature over the normal variable, told where the integrand bends."""
    bend, width = (math.log(y + 1) - mean) / sd, 1 / (sd * math.sqrt(y + 1))
    points = sorted({x for x in (*(bend + width * np.arange(-8, 9)), *range(-9, 10)) if abs(x) < 12})

    def integrand(z: float) -> float:
        return stats.norm.pdf(z) * special.gammaincc(y + 1, math.exp(mean + sd * z))

    return integrate.quad(integrand, -12, 12, points=points, limit=400, epsabs=1e-13, epsrel=1e-11)[0]


GRID = [
    pytest.param(mean, sd, marks=() if i == j else pytest.mark.slow)  # each of both once, and all slowly
    for i, mean in enumerate((-6.0, 0.0, 2.0, 9.0))
    for j, sd in enumerate((0.003, 0.2, 0.8, 3.0))
]


@pytest.mark.parametrize(("mean", "sd"), GRID)
def test_probabilities_equal_adaptive_quadrature(mean: float, sd: float) -> None:
    for y in {0, 1, 7, int(math.exp(mean)), int(math.exp(mean + sd)), int(math.exp(mean - sd))}:
        found = poisson_lognormal_cdf(*exactly(y, mean, sd**2))
        assert float(found) == pytest.approx(by_quadrature(y, mean, sd), abs=1e-9)


@pytest.mark.parametrize("sd", [0.0, 0.2, 3.0])
def test_both_tails_add_up_to_one_and_the_upper_one_is_accurate_where_small(sd: float) -> None:
    y = torch.arange(-1, 80, dtype=torch.float64)
    lower, upper = (poisson_lognormal_cdf(y, *exactly(1.0, sd**2), upper=upper) for upper in (False, True))
    np.testing.assert_allclose(lower + upper, 1.0, atol=1e-9)
    if not sd:
        np.testing.assert_allclose(upper, stats.poisson.sf(y, math.e), rtol=1e-9)


@pytest.mark.parametrize(
    ("mean", "sd"), quickly([(-6.0, 3.0), (0.0, 0.8), (2.0, 0.2), (9.0, 3.0), (30.0, 0.003)], (-6.0, 3.0), (2.0, 0.2))
)
def test_log_probabilities_equal_quadrature_in_many_digits(mean: float, sd: float) -> None:
    """Also where a count is all but impossible."""
    mpmath.mp.dps = 40
    for y in {0, 7, int(math.exp(mean)), min(10**15, int(math.exp(mean + 6 * sd)))}:
        expected = by_many_digits(y, mean, sd)
        found = float(poisson_lognormal_logpmf(*exactly(y, mean, sd**2)))
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-6)


def by_many_digits(y: int, mean: float, sd: float) -> float:
    """Tanh-sinh quadrature in 40 digits, in pieces about the mode, which bisection finds."""
    low, high = mpmath.mpf(-100_000), mpmath.mpf(400)
    for _ in range(200):
        z = (low + high) / 2
        low, high = (z, high) if sd * (y - mpmath.exp(mean + sd * z)) > z else (low, z)
    width = 1 / mpmath.sqrt(1 + sd**2 * mpmath.exp(mean + sd * z))

    def log(x: mpmath.mpf) -> mpmath.mpf:
        return y * (mean + sd * x) - mpmath.exp(mean + sd * x) - x**2 / 2

    pieces = [z + width * k for k in (-50, -20, -8, -3, 0, 3, 8, 14)]
    area = mpmath.quad(lambda x: mpmath.exp(log(x) - log(z)), pieces, maxdegree=5)
    return float(log(z) + mpmath.log(area) - mpmath.log(2 * mpmath.pi) / 2 - mpmath.loggamma(y + 1))


def test_probabilities_add_up_to_the_distribution_function() -> None:
    y = torch.arange(0, 40, dtype=torch.float64)
    for mean, sd in ((0.0, 0.0), (1.0, 1.0), (-2.0, 2.0)):
        one = [part.expand_as(y) for part in exactly(mean, sd**2)]
        total = poisson_lognormal_logpmf(y, *one).exp().cumsum(0)
        np.testing.assert_allclose(total, poisson_lognormal_cdf(y, *one), atol=2e-9)


def test_without_variance_it_is_poisson() -> None:
    y, mean = torch.arange(-1, 60, dtype=torch.float64), *exactly(2.5)
    found = poisson_lognormal_cdf(y, mean, torch.zeros_like(y))
    np.testing.assert_allclose(found, stats.poisson.cdf(y, math.exp(2.5)), atol=1e-9)
    assert float(poisson_lognormal_quantile(0.9, mean, torch.zeros_like(mean))) == stats.poisson.ppf(0.9, math.exp(2.5))


def test_large_counts_follow_the_lognormal() -> None:
    """A Poisson count of 1e12 is its mean to six digits."""
    for mean in (28.0, 60.0, 300.0):
        found = poisson_lognormal_quantile(0.975, *exactly(mean, 0.25))
        assert float(found.log()) == pytest.approx(mean + 0.5 * stats.norm.ppf(0.975), abs=1e-5)


@settings(deadline=None)
@given(st.floats(-12, 25), st.floats(0, 9), st.floats(0.001, 0.999))
def test_a_quantile_is_the_smallest_count_that_reaches_the_probability(
    mean: float, variance: float, probability: float
) -> None:
    at = exactly(mean, variance)
    y = poisson_lognormal_quantile(probability, *at)
    assert y == y.round() and float(poisson_lognormal_cdf(y, *at)) >= probability
    assert float(poisson_lognormal_cdf(y - 1, *at)) < probability or float(y) > 1e9


def test_quantiles_equal_those_of_a_simulation() -> None:
    g = np.random.default_rng(0)
    for mean, sd in ((0.5, 0.7), (3.0, 1.2), (-2.0, 2.0)):
        draws = g.poisson(np.exp(mean + sd * g.standard_normal(400_000)))
        for probability in (0.025, 0.5, 0.975):
            y = float(poisson_lognormal_quantile(probability, *exactly(mean, sd**2)))
            share, below = (draws <= y).mean(), (draws < y).mean()
            assert below - 0.002 < probability < share + 0.002


def test_what_has_no_distribution_has_no_quantile() -> None:
    mean = torch.tensor([[math.nan, -math.inf, 0.0], [0.0, math.inf, -800.0]], dtype=torch.float64)
    variance = torch.tensor([[1.0, 1.0, math.nan], [0.0, 1.0, 1.0]], dtype=torch.float64)
    found = poisson_lognormal_quantile(0.9, mean, variance)
    np.testing.assert_array_equal(found, [[math.nan, 0.0, math.nan], [2.0, math.nan, 0.0]])
