"""The Poisson log-normal distribution against adaptive quadrature, its limits, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from plncli.distributions import poisson_lognormal_cdf, poisson_lognormal_quantile


def exactly(*values: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def by_quadrature(y: float, mean: float, sd: float) -> float:
    """Adaptive quadrature over the normal variable, told where the integrand bends."""
    bend, width = (math.log(y + 1) - mean) / sd, 1 / (sd * math.sqrt(y + 1))
    points = sorted({x for x in (*(bend + width * np.arange(-8, 9)), *range(-9, 10)) if abs(x) < 12})

    def integrand(z: float) -> float:
        return stats.norm.pdf(z) * special.gammaincc(y + 1, math.exp(mean + sd * z))

    return integrate.quad(integrand, -12, 12, points=points, limit=400, epsabs=1e-13, epsrel=1e-11)[0]


@pytest.mark.parametrize("mean", [-6.0, 0.0, 2.0, 9.0])
@pytest.mark.parametrize("sd", [0.003, 0.2, 0.8, 3.0])
def test_probabilities_equal_adaptive_quadrature(mean: float, sd: float) -> None:
    for y in {0, 1, 7, int(math.exp(mean)), int(math.exp(mean + sd)), int(math.exp(mean - sd))}:
        found = poisson_lognormal_cdf(*exactly(y, mean, sd**2))
        assert float(found) == pytest.approx(by_quadrature(y, mean, sd), abs=1e-9)


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
