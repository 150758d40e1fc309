"""Residuals and calibration: laws under the model, signs where it does not hold, and values against other programs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from tables import toeplitz

from plncli.models.pln.finished.importance import Cells
from plncli.models.pln.finished.residuals import FARTHEST, quantile_residuals, zeros
from plncli.models.regression.classification import area_under_curve, brier, calibration
from plncli.models.regression.influence import influence
from plncli.numerics.covariance import DenseCovariance
from plncli.numerics.significance import normality

DTYPE = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, p: int, g: torch.Generator, sd: float = 0.8) -> Cells:
    """Counts of the model, and the model."""
    Sigma = toeplitz(p, sd=sd)
    mean = torch.randn(n, p, generator=g, dtype=DTYPE) + torch.linspace(-2, 3, p, dtype=DTYPE)
    Z = mean + torch.randn(n, p, generator=g, dtype=DTYPE) @ torch.linalg.cholesky(Sigma).mT
    return Cells(torch.poisson(Z.exp(), generator=g), torch.ones(n, p, dtype=torch.bool), mean, DenseCovariance(Sigma))


def test_residuals_of_the_model_are_standard_normal() -> None:
    g = generator(1)
    cells = drawn(3000, 6, g)
    R = quantile_residuals(cells, g)
    for r in R.mT.numpy():
        assert stats.kstest(r, "norm").pvalue > 1e-3
    assert float(R.std()) == pytest.approx(1.0, abs=0.02)
    assert (stats.false_discovery_control(normality(R).p_value.numpy()) > 0.05).all()


def test_residuals_without_variance_are_those_of_poisson() -> None:
    """Between the residuals of P(Y < y) and P(Y ≤ y), by scipy."""
    cells = drawn(200, 3, generator(), sd=1e-9)
    cells = Cells(cells.Y, cells.K, cells.mean, DenseCovariance(torch.zeros(3, 3, dtype=DTYPE)))
    R = quantile_residuals(cells, generator()).numpy()
    y, rate = cells.Y.numpy(), cells.mean.exp().numpy()
    low, high = (stats.norm.ppf(stats.poisson.cdf(y - step, rate)) for step in (1, 0))
    assert ((np.maximum(low, -6) - 1e-6 <= R) & (np.minimum(high, 6) + 1e-6 >= R)).all()


def test_cells_that_do_not_count_have_no_residual_and_no_zeros() -> None:
    cells = drawn(40, 3, generator(2))
    cells.K[:20, 1] = False
    R = quantile_residuals(cells, generator())
    assert torch.equal(R.isnan(), ~cells.K)
    found = zeros(cells)
    assert float(found.counted[1]) == float((cells.Y[20:, 1] == 0).sum())
    whole = zeros(Cells(cells.Y[20:], cells.K[20:], cells.mean[20:], cells.covariance))
    assert float(found.expected[1]) == pytest.approx(float(whole.expected[1]), rel=1e-12)


def test_zeros_are_as_many_as_expected_and_more_are_seen() -> None:
    g = generator(3)
    cells = drawn(2000, 5, g)
    found = zeros(cells)
    assert float(((found.counted - found.expected) / found.sd).abs().max()) < 4.0
    lost = torch.rand(2000, generator=g) < 0.15
    cells.Y[lost, 4] = 0.0
    found = zeros(cells)
    assert float((found.counted - found.expected)[4] / found.sd[4]) > 10.0
    p_value = normality(quantile_residuals(cells, g)).p_value
    assert float(p_value[4]) < 1e-6 and float(p_value[:4].min()) > 1e-3


def test_a_wrong_variance_shows_in_the_residuals() -> None:
    cells = drawn(2000, 3, generator(4))
    R = quantile_residuals(
        Cells(cells.Y, cells.K, cells.mean, DenseCovariance(0.25 * cells.covariance.dense())), generator()
    )
    assert float(R[:, 2].std()) > 1.4
    assert float(normality(R).p_value[2]) < 1e-6


def test_an_impossible_count_is_far_out_and_finite() -> None:
    mean = torch.zeros(1, 2, dtype=DTYPE)
    Y = torch.tensor([[1e6, 0.0]], dtype=DTYPE)
    cells = Cells(Y, torch.ones(1, 2, dtype=torch.bool), mean, DenseCovariance(0.01 * torch.eye(2, dtype=DTYPE)))
    assert float(quantile_residuals(cells, generator())[0, 0]) == FARTHEST


@pytest.mark.parametrize("n", [5, 40, 1000])
def test_normality_is_that_of_scipy(n: int) -> None:
    R = torch.randn(n, 4, generator=generator(n), dtype=DTYPE) * torch.tensor([1.0, 1.0, 1.3, 2.0], dtype=DTYPE)
    found = normality(R)
    expected = [stats.kstest(r, "norm") for r in R.mT.numpy()]
    np.testing.assert_allclose(found.distance, [e.statistic for e in expected], rtol=1e-12)
    np.testing.assert_allclose(found.p_value, [e.pvalue for e in expected], rtol=0.05, atol=0.02)
    R[0, 0] = math.nan
    assert float(normality(R).distance[0]) == pytest.approx(stats.kstest(R[1:, 0], "norm").statistic)


def classes(n: int, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    eta = torch.randn(n, 2, generator=g, dtype=DTYPE).mul(2).round(decimals=1)
    return (torch.rand(n, 2, generator=g, dtype=DTYPE) < torch.sigmoid(eta)).to(DTYPE), eta


def test_the_area_under_the_curve_is_that_of_ranks() -> None:
    Y, eta = classes(300, generator(5))
    found = area_under_curve(Y, eta, torch.ones(300, dtype=DTYPE))
    for j in range(2):
        one, zero = eta[Y[:, j] == 1, j].numpy(), eta[Y[:, j] == 0, j].numpy()
        expected = stats.mannwhitneyu(one, zero).statistic / (len(one) * len(zero))
        assert float(found[j]) == pytest.approx(expected, rel=1e-12)


def test_weights_count_samples() -> None:
    g = generator(6)
    Y, eta = classes(60, g)
    w = torch.randint(1, 4, (60,), generator=g)
    rows = torch.repeat_interleave(torch.arange(60), w)
    ones = torch.ones(len(rows), dtype=DTYPE)
    for measure in (area_under_curve, brier):
        torch.testing.assert_close(measure(Y, eta, w.to(DTYPE)), measure(Y[rows], eta[rows], ones))
    for part, other in zip(calibration(Y, eta, w.to(DTYPE)), calibration(Y[rows], eta[rows], ones), strict=True):
        torch.testing.assert_close(part, other, equal_nan=True)


def test_calibration_follows_the_definition() -> None:
    """Hosmer & Lemeshow's statistic by numpy, with ten bins of 40 different probabilities each."""
    g = generator(7)
    eta = torch.randn(400, 1, generator=g, dtype=DTYPE)
    Y = (torch.rand(400, 1, generator=g, dtype=DTYPE) < torch.sigmoid(eta)).to(DTYPE)
    found = calibration(Y, eta, torch.ones(400, dtype=DTYPE))
    order = np.argsort(eta[:, 0].numpy()).reshape(10, 40)
    probability, y = torch.sigmoid(eta)[:, 0].numpy()[order], Y[:, 0].numpy()[order]
    expected = ((y.sum(1) - probability.sum(1)) ** 2 / (probability.sum(1) * (1 - probability.mean(1)))).sum()
    assert float(found.statistic[0]) == pytest.approx(expected, rel=1e-12)
    assert float(found.p_value[0]) == pytest.approx(stats.chi2.sf(expected, 8), rel=1e-12)
    np.testing.assert_allclose(found.expected[:, 0], probability.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.observed[:, 0], y.mean(1), rtol=1e-12)
    wrong = calibration(Y, 3.0 * eta, torch.ones(400, dtype=DTYPE))
    assert float(wrong.p_value[0]) < 1e-6


def test_few_probabilities_share_bins() -> None:
    eta = torch.tensor([0.0, 1.0], dtype=DTYPE).repeat(20)[:, None]
    found = calibration((torch.arange(40) % 3 == 0).to(DTYPE)[:, None], eta, torch.ones(40, dtype=DTYPE))
    assert int((found.weight > 0).sum()) == 2
    assert float(found.df[0]) == 0.0 and bool(found.p_value.isnan().all())


def test_influence_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    g = generator(8)
    X = torch.cat([torch.ones(30, 1), torch.randn(30, 2, generator=g)], 1).to(DTYPE)
    Y = X @ torch.randn(3, 2, generator=g, dtype=DTYPE) + torch.randn(30, 2, generator=g, dtype=DTYPE)
    mean = X @ torch.linalg.lstsq(X, Y).solution
    found = influence(Y, mean, X, torch.ones(30, dtype=DTYPE))
    for j in range(2):
        expected = sm.OLS(Y[:, j].numpy(), X.numpy()).fit().get_influence()
        np.testing.assert_allclose(found.leverage, expected.hat_matrix_diag, rtol=1e-10)
        np.testing.assert_allclose(found.standardised[:, j], expected.resid_studentized_internal, rtol=1e-9)
        np.testing.assert_allclose(found.cook[:, j], expected.cooks_distance[0], rtol=1e-9)


def test_influence_of_weighted_samples_is_that_of_repeated_ones() -> None:
    g = generator(9)
    X = torch.cat([torch.ones(12, 1), torch.randn(12, 1, generator=g)], 1).to(DTYPE)
    Y, mean = torch.randn(12, 1, generator=g, dtype=DTYPE), torch.zeros(12, 1, dtype=DTYPE)
    w = torch.randint(1, 4, (12,), generator=g)
    rows = torch.repeat_interleave(torch.arange(12), w)
    whole = influence(Y[rows], mean[rows], X[rows], torch.ones(len(rows), dtype=DTYPE))
    for part, other in zip(influence(Y, mean, X, w.to(DTYPE)), whole, strict=True):
        torch.testing.assert_close(part[rows], other)
