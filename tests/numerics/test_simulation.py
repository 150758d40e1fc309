"""Tables drawn from the models: their moments against theory, and the intercepts that give a depth or zeros."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats
from tables import toeplitz
from tries import quickly

from plncli.errors import DataError
from plncli.models import MODELS
from plncli.models.abilities import Simulated, Simulating
from plncli.models.fitted import fitted_of
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.numerics.simulation import (
    BLOCK,
    count_intercepts,
    logistic_intercepts,
    square_root,
    zero_probability,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(
    model: str,
    X: torch.Tensor,
    O: torch.Tensor,
    B: torch.Tensor,
    Sigma: torch.Tensor | None,
    g: torch.Generator,
) -> Simulated:
    """A table drawn from a model with these parameters."""
    estimates = {"B": B} if Sigma is None else {"B": B, "Sigma": Sigma}
    terms, responses = (tuple(f"{letter}{k}" for k in range(n)) for letter, n in zip("xy", B.shape, strict=True))
    made = fitted_of(MODELS[model], terms, responses, estimates, {}, {})
    assert isinstance(made, Simulating)
    return made.simulate(X, O, g)


def close(sample: torch.Tensor, expected: torch.Tensor) -> None:
    """The means of the columns are as expected, within what chance does (4.5 standard errors)."""
    error = sample.std(0) / math.sqrt(len(sample))
    assert bool(((sample.mean(0) - expected).abs() <= 4.5 * error).all())


def test_counts_have_the_moments_of_the_model() -> None:
    n, Sigma = 400_000, toeplitz(3, rho=-0.6, sd=0.7)
    X = torch.tensor([[1.0, -0.5]], dtype=torch.float64).expand(n, 2)
    O = torch.full((n, 1), 0.3, dtype=torch.float64)
    B = torch.tensor([[0.5, 1.0, -2.0], [1.0, -1.0, 0.4]], dtype=torch.float64)
    Y, Z = drawn("pln", X, O, B, Sigma, generator())
    mean = (0.3 + X[0] @ B + 0.5 * Sigma.diagonal()).exp()
    covariance = mean[:, None] * mean * torch.expm1(Sigma) + torch.diag(mean)  # Aitchison & Ho 1989, equation 2.2
    close(Y, mean)
    products = (Y - mean)[:, :, None] * (Y - mean)[:, None, :]
    close(products.flatten(1), covariance.flatten())
    close(Z, X[0] @ B)
    R = Z - X @ B
    close((R[:, :, None] * R[:, None, :]).flatten(1), Sigma.flatten())
    assert torch.equal(Y, Y.round())


def test_a_cell_that_never_counts_is_zero_and_a_feature_without_variance_is_poisson() -> None:
    n = 100_000
    X, O, B = torch.ones(n, 1).double(), torch.zeros(n, 1).double(), torch.full((1, 3), 0.7, dtype=torch.float64)
    Sigma = torch.tensor([[1.0, 0.0, 0.4], [0.0, 0.0, 0.0], [0.4, 0.0, 0.5]], dtype=torch.float64)
    never = torch.zeros(n, 3, dtype=torch.bool)
    never[:100, 0] = True

    class Separated(FittedPLN):
        def limits(self, X: torch.Tensor) -> torch.Tensor:
            return -never.to(X)

    fitted = Separated(MODELS["pln"], ("Intercept",), ("y1", "y2", "y3"), {"B": B, "Sigma": Sigma})
    Y, Z = fitted.simulate(X, O, generator())
    assert not bool(Y[:100, 0].any()) and bool(torch.isneginf(Z[:100, 0]).all())
    assert bool((Z[:, 1] == 0.7).all())
    close((Y[:, 1:2] - math.exp(0.7)).square(), torch.tensor([math.exp(0.7)]))


def test_classes_and_responses_have_the_moments_of_the_model() -> None:
    n = 200_000
    X = torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(n, 2)
    O = torch.full((n, 1), -1.0, dtype=torch.float64)
    B = torch.tensor([[0.5, 1.0], [0.3, -1.0]], dtype=torch.float64)
    eta = X[0] @ B - 1.0
    classes = drawn("logistic", X, O, B, None, generator())
    close(classes.Y, torch.sigmoid(eta))
    assert set(classes.Y.unique().tolist()) == {0.0, 1.0}
    Sigma = toeplitz(2)
    real = drawn("linear", X, O, B, Sigma, generator())
    assert torch.allclose(real.latent, eta.expand(n, 2))
    R = real.Y - eta
    close(R, torch.zeros(2))
    close((R[:, :, None] * R[:, None, :]).flatten(1), Sigma.flatten())


def test_a_seed_draws_one_table_whatever_its_length() -> None:
    p, n = 100, BLOCK // 100 + 7
    X, O = torch.ones(n, 1).double(), torch.zeros(n, 1).double()
    B, Sigma = torch.zeros(1, p).double(), toeplitz(p)
    whole = drawn("pln", X, O, B, Sigma, generator(5))
    assert torch.equal(whole.Y, drawn("pln", X, O, B, Sigma, generator(5)).Y)
    assert not torch.equal(whole.Y, drawn("pln", X, O, B, Sigma, generator(6)).Y)


def test_counts_too_large_for_a_table_are_refused() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(DataError, match="beyond what a table can hold"):
        drawn("pln", one, 0 * one, 40 * one, one, generator())


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 0.3], [0.3, 2.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[1e-12, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1e12]],
    ],
)
def test_the_root_of_a_covariance_gives_it_back(rows: list[list[float]]) -> None:
    Sigma = torch.tensor(rows, dtype=torch.float64)
    root = square_root(Sigma)
    assert torch.allclose(root @ root.mT, Sigma, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
        ([[-1.0, 0.0], [0.0, 1.0]], "finite variances"),
        ([[math.nan, 0.0], [0.0, 1.0]], "finite variances"),
        ([[0.0, 0.1], [0.1, 1.0]], "variance 0"),
    ],
)
def test_what_is_no_covariance_is_refused(rows: list[list[float]], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        square_root(torch.tensor(rows, dtype=torch.float64))


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.0), (-3.0, 0.5), (1.0, 1.0), (2.0, 3.0)])
def test_the_probability_of_a_zero_is_the_integral(mean: float, sigma: float) -> None:
    def density(z: float) -> float:
        return stats.norm.pdf(z) * math.exp(-math.exp(mean + sigma * z))

    expected = integrate.quad(density, -12, 12, epsabs=1e-13, limit=200)[0]
    found = zero_probability(torch.tensor([mean]).double(), torch.tensor([sigma**2]).double())
    assert float(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("depth", "zeros"), quickly([(500.0, None), (None, 0.6), (500.0, 0.4)], (500.0, 0.4)))
def test_intercepts_give_the_depth_and_the_zeros_asked_for(depth: float | None, zeros: float | None) -> None:
    g = generator(1)
    n, p, variance = 20_000, 10, torch.linspace(0.1, 1.0, 10).double()
    eta = 0.4 * torch.randn(n, p, generator=g, dtype=torch.float64)
    found = count_intercepts(eta, variance, torch.randn(p, generator=g, dtype=torch.float64), depth, zeros)
    X = torch.eye(2, dtype=torch.float64)[torch.ones(n, dtype=torch.long)]
    Y, _ = drawn("pln", X[:, 1:], eta, found.intercepts[None], torch.diag(variance), g)
    close(Y.sum(1, keepdim=True), torch.tensor([found.depth]))
    if depth is not None:
        assert found.depth == depth
    if zeros is not None:
        assert found.zeros == pytest.approx(zeros, abs=1e-4)
        close((Y == 0).double().mean(1, keepdim=True), torch.tensor([zeros]))


def test_a_share_of_zeros_that_no_profile_gives_is_refused() -> None:
    eta, one = torch.zeros(50, 4).double(), torch.ones(4).double()
    with pytest.raises(DataError, match="between .* % and .* % of the counts are 0, not 1 %: raise --depth"):
        count_intercepts(eta, one, torch.arange(4.0).double(), 4.0, 0.01)


def test_intercepts_of_classes_give_the_zeros_asked_for() -> None:
    eta = torch.randn(1000, 3, generator=generator(), dtype=torch.float64)
    b = logistic_intercepts(eta, 0.8)
    assert torch.allclose(torch.sigmoid(eta + b).mean(0), torch.full((3,), 0.2).double(), atol=1e-12)
