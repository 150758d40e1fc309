"""Likelihoods of Poisson log-normal models against numerical integration, and the shape of weights against arviz."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from tables import dataset, pln_table, toeplitz

from plncli.fitting import fit
from plncli.models.pln.finished.importance import Cells, log_likelihood, pareto_shape, sample_bounds
from plncli.models.pln.model import PLN
from plncli.numerics.covariance import DenseCovariance
from plncli.results import FitResult

DTYPE = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_quadrature(y: np.ndarray, K: np.ndarray, mean: np.ndarray, Sigma: np.ndarray, nodes: int = 81) -> float:
    """Log-likelihood of one sample by the trapezoid rule in p dimensions, about the mode, in its own axes."""
    p = len(y)
    Omega = np.linalg.inv(Sigma)
    z = np.log(y + 0.5)
    for _ in range(200):
        a = K * np.exp(z)
        z = z + np.clip(np.linalg.solve(Omega + np.diag(a), K * y - a - Omega @ (z - mean)), -1, 1)
    values, V = np.linalg.eigh(np.linalg.inv(Omega + np.diag(K * np.exp(z))))
    axes = V * np.sqrt(values)
    u = np.linspace(-9, 9, nodes)
    grid = np.stack(np.meshgrid(*[u] * p, indexing="ij"), -1).reshape(-1, p)
    Z = z + grid @ axes.T
    log = stats.multivariate_normal.logpdf(Z, mean, Sigma).reshape(-1)
    log = log + (K * (y * Z - np.exp(Z) - [math.lgamma(v + 1) for v in y])).sum(1)
    top = log.max()
    return top + math.log(np.exp(log - top).sum() * (u[1] - u[0]) ** p * np.sqrt(values).prod())


def cells_of(result: FitResult) -> tuple[Cells, torch.Tensor, torch.Tensor]:
    """What the log-likelihood asks of a fit, as `files.diagnosis` puts it together."""
    data, state = result.data, result.state
    K = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
    K = K & torch.isfinite(result.estimates["M"])
    cells = Cells(data.Y, K, data.O + data.X @ state["B_finite"], DenseCovariance(result.estimates["Sigma"]))
    return cells, data.O + state["M_finite"], result.estimates["S"].square()


@pytest.mark.parametrize(("p", "nodes"), [(1, 401), (2, 101), (3, 61)])
def test_the_likelihood_is_the_integral(p: int, nodes: int) -> None:
    g = generator(p)
    Sigma = toeplitz(p, rho=0.7, sd=1.5)
    mean = torch.randn(6, p, generator=g, dtype=DTYPE)
    Y = torch.poisson((mean + torch.randn(6, p, generator=g, dtype=DTYPE)).exp(), generator=g)
    Y[0], Y[1, 0] = 0.0, 40.0
    K = torch.ones_like(Y, dtype=torch.bool)
    K[2, -1] = p == 1
    found = log_likelihood(Cells(Y, K, mean, DenseCovariance(Sigma)), mean, torch.ones_like(mean), 20_000, g)
    expected = [by_quadrature(*(part[i].numpy() for part in (Y, K, mean)), Sigma.numpy(), nodes) for i in range(6)]
    if p == 1:
        np.testing.assert_allclose(found.value, expected, atol=1e-8)
        assert not bool(found.error.any())
    else:
        z = (found.value - torch.tensor(expected, dtype=DTYPE)) / found.error
        assert float(z.abs().max()) < 4.0
        assert float(found.error.max()) < 0.02
        assert float(found.khat.max()) < 0.7


def test_errors_are_as_large_as_they_say() -> None:
    """Over 200 estimates, the distance to their common mean is of the size of the standard error."""
    g = generator()
    mean, Y = torch.zeros(200, 4, dtype=DTYPE), torch.tensor([0.0, 1.0, 3.0, 0.0], dtype=DTYPE).expand(200, 4)
    cells = Cells(Y, torch.ones_like(Y, dtype=torch.bool), mean, DenseCovariance(toeplitz(4, sd=1.2)))
    found = log_likelihood(cells, mean, torch.ones_like(mean), 500, g)
    z = (found.value - found.value.mean()) / found.error
    assert float(z.std()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical", "fixed"])
def test_bounds_of_samples_sum_to_the_elbo_and_lie_below(covariance: str) -> None:
    data, _, Sigma = pln_table(60, 5, seed=2)
    g = generator(1)
    w = 0.5 + torch.rand(60, generator=g, dtype=DTYPE)
    K = torch.rand(60, 5, generator=g) > 0.1
    data = dataset(data.Y * K, data.X, w=w, K=K)
    result = fit(PLN(covariance, torch.linalg.inv(Sigma) if covariance == "fixed" else None), data)
    cells, M, S2 = cells_of(result)
    bounds = sample_bounds(cells, M, S2)
    assert float(w @ bounds) == pytest.approx(result.criteria.loglik, rel=1e-10)
    found = log_likelihood(cells, M, S2, 2000, g)
    assert bool((found.value + 4.0 * found.error >= bounds).all())
    assert float(w @ (found.value - bounds)) > 0.0


def test_boundaries_are_taken_as_they_are() -> None:
    """A feature without variance is Poisson, and cells that are expected to be 0 say nothing."""
    g = generator(3)
    group = torch.arange(80) % 2
    X = torch.nn.functional.one_hot(group, 2).to(DTYPE)
    Z = torch.randn(80, 2, generator=g, dtype=DTYPE)
    Y = torch.poisson(torch.cat([1.0 + Z, torch.full((80, 2), 1.5, dtype=DTYPE)], 1).exp(), generator=g)
    Y[:, 3] = torch.arange(80) % 4 + 3.0
    Y[group == 1, 0] = 0.0
    result = fit(PLN(), dataset(Y, X))
    cells, M, S2 = cells_of(result)
    assert not bool(cells.K[group == 1, 0].any()) and 3 not in cells.latent.tolist()
    bounds = sample_bounds(cells, M, S2)
    assert float(bounds.sum()) == pytest.approx(result.criteria.loglik, rel=1e-10)
    found = log_likelihood(cells, M, S2, 20_000, g)
    for i in (0, 1):
        at = cells.latent
        expected = by_quadrature(
            Y[i, at].numpy(),
            cells.K[i, at].numpy(),
            cells.mean[i, at].numpy(),
            cells.covariance.block(at, at).numpy(),
            61,
        )
        still = [j for j in range(4) if j not in at.tolist()]
        expected += stats.poisson.logpmf(Y[i, still].numpy(), cells.mean[i, still].exp().numpy()).sum()
        assert float(found.value[i]) == pytest.approx(expected, abs=5.0 * float(found.error[i]) + 1e-9)


def test_the_shape_of_weights_is_that_of_arviz() -> None:
    """Against arviz 0.19.0's psislw on the same numbers."""
    r = np.random.RandomState(7)
    columns = [r.standard_normal(1000), r.standard_cauchy(1000), 3.0 * r.standard_normal(1000), -r.uniform(size=1000)]
    columns.append(np.log(r.pareto(2.0, size=1000) + 1.0))
    found = pareto_shape(torch.from_numpy(np.stack(columns, 1)))
    expected = [0.18154852831698526, 10.976758878354898, 0.9986348888828869, -0.7188468439310943, 0.31369253924008694]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [0.0, 0.3, 0.9])
def test_the_shape_of_weights_is_that_of_their_distribution(shape: float) -> None:
    u = torch.rand(100_000, 3, generator=generator(), dtype=DTYPE)
    weights = torch.expm1(-shape * u.log()) / shape if shape else -u.log()
    assert pareto_shape(weights.log()).tolist() == pytest.approx([shape] * 3, abs=0.15)


def test_equal_weights_have_no_tail() -> None:
    assert pareto_shape(torch.zeros(500, 2, dtype=DTYPE)).tolist() == [-math.inf] * 2
    assert bool(pareto_shape(torch.zeros(10, 2, dtype=DTYPE)).isnan().all())
