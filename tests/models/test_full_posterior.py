"""The full posterior of `pln`: derivatives, a sample against scipy, bounds, laws, and what a fit answers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import optimize
from tables import oaks
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, UsageError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.pln.errors.full import bread
from plncli.models.pln.model import PLN
from plncli.models.pln.posterior.fitted import FittedFull
from plncli.models.pln.posterior.model import FullPLN
from plncli.models.pln.posterior.profile import Evaluation
from plncli.models.pln.posterior.samples import Samples, posteriors
from plncli.models.pln.posterior.start import start
from plncli.models.pln.spec import PLN as SPEC
from plncli.models.spec import Size
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(tol=1e-9)


def table(n: int = 60, p: int = 6, depth: float = 3.0, seed: int = 3) -> Dataset:
    g = torch.Generator().manual_seed(seed)
    L = torch.randn(p, p, generator=g, dtype=torch.float64) / math.sqrt(p)
    Sigma = 0.4 * (L @ L.mT + torch.eye(p, dtype=torch.float64))
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.stack([torch.full((p,), math.log(depth)), 0.3 * torch.randn(p, generator=g)]).double()
    Z = X @ B + torch.randn(n, p, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    w = torch.ones(n, dtype=torch.float64)
    return Dataset(torch.poisson(Z.exp(), generator=g), X, torch.zeros(n, 1, dtype=torch.float64), w)


def odd(seed: int = 5) -> Dataset:
    """With weights, missing cells, and a column of the design in which a feature is never counted."""
    data = table(40, 5, seed=seed)
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([data.X, (torch.arange(40) % 3 == 0).double()[:, None]], 1)
    Y = data.Y.clone()
    Y[X[:, 2] == 1, 0] = 0.0
    K = torch.rand(Y.shape, generator=g) > 0.15
    return Dataset(
        Y, X, 0.2 * torch.randn(Y.shape, generator=g).double(), 0.5 + torch.rand(40, generator=g).double(), K
    )


@cache
def fitted() -> FitResult:
    return fit(FullPLN(), table(), stop=TIGHT, inference=InferenceRule())


# A sample


def by_scipy(y: np.ndarray, eta: np.ndarray, Sigma: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """min f(m, S) over all m and all positive definite S = LL'."""
    p, Omega = len(y), np.linalg.inv(Sigma)
    lower = np.tril_indices(p)

    def f(x: np.ndarray) -> float:
        r, L = x[:p], np.zeros((p, p))
        L[lower] = x[p:]
        S = L @ L.T
        A = np.exp(eta + r + 0.5 * np.diag(S))
        logdet = np.log(L.diagonal() ** 2).sum() + np.linalg.slogdet(Omega)[1]
        return float((A - y * (eta + r)).sum() + 0.5 * (r @ Omega @ r + np.trace(Omega @ S) - logdet - p))

    x = np.concatenate([np.zeros(p), 0.5 * np.eye(p)[lower]])
    for _ in range(3):
        x = optimize.minimize(f, x, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).x
    L = np.zeros((p, p))
    L[lower] = x[p:]
    return f(x), x[:p], (L @ L.T).diagonal()


def test_the_posterior_of_a_sample_is_the_best_of_all_normal_ones() -> None:
    data = table(3, 3)
    Sigma = torch.tensor([[1.0, 0.6, -0.3], [0.6, 0.8, 0.1], [-0.3, 0.1, 1.5]], dtype=torch.float64)
    eta = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = posteriors(Samples(data.Y, None, eta, Sigma))
    assert bool(z.converged.all())
    for i in range(3):
        value, r, variance = by_scipy(data.Y[i].numpy(), eta[i].numpy(), Sigma.numpy())
        assert float(z.value[i]) == pytest.approx(value, abs=1e-7)
        np.testing.assert_allclose(z.r[i], r, atol=2e-4)
        np.testing.assert_allclose(z.variance[i], variance, atol=2e-4)


def test_the_posterior_does_not_depend_on_where_its_search_begins() -> None:
    data = table()
    Sigma = 2.0 * torch.eye(6, dtype=torch.float64) + 3.0
    samples = Samples(data.Y, None, torch.zeros_like(data.Y), Sigma)
    found = posteriors(samples)
    other = posteriors(samples, 3.0 * torch.randn(data.Y.shape, generator=torch.Generator().manual_seed(0)).double())
    assert bool(found.converged.all() & other.converged.all())
    torch.testing.assert_close(found.r, other.r, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.value, other.value, rtol=1e-12, atol=1e-12)


def test_a_singular_covariance_is_an_ordinary_point() -> None:
    """Limit of regular ones, and of a feature without variance a Poisson count."""
    data = table(8, 3)
    C = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 0.0]], dtype=torch.float64)
    Sigma, eta = C @ C.mT, torch.zeros(8, 3, dtype=torch.float64)
    at = posteriors(Samples(data.Y, None, eta, Sigma))
    near = posteriors(Samples(data.Y, None, eta, Sigma + 1e-9 * torch.eye(3, dtype=torch.float64)))
    torch.testing.assert_close(at.value, near.value, rtol=0, atol=1e-6)
    assert not at.r[:, 2].any()
    torch.testing.assert_close(at.rates[:, 2], torch.ones(8, dtype=torch.float64))


# The profile


@pytest.mark.parametrize("held", [False, True])
def test_derivatives_are_those_of_the_value(held: bool) -> None:
    data = odd()
    model = FullPLN("fixed", torch.linalg.inv(torch.eye(5).double() + 0.5)) if held else FullPLN()
    prepared = model.prepare(data)
    params = {name: tensor.clone() for name, tensor in model.start(prepared).items()}
    g = torch.Generator().manual_seed(2)
    v = {name: torch.randn(tensor.shape, generator=g, dtype=torch.float64) for name, tensor in params.items()}
    h = 1e-5

    def moved(size: float) -> Evaluation:
        return Evaluation({name: params[name] + size * v[name] for name in params}, prepared.table)

    at, up, down = moved(0.0), moved(h), moved(-h)
    gradient, product = at.gradient(), at.product(v)
    slope = sum(float((gradient[name] * v[name]).sum()) for name in params)
    assert float(up.value - down.value) / (2 * h) == pytest.approx(slope, rel=1e-6)
    after, before = up.gradient(), down.gradient()
    for name in params:
        torch.testing.assert_close((after[name] - before[name]) / (2 * h), product[name], rtol=1e-5, atol=1e-5)
    known = at.z.rates > 0
    small = {name: 0.1 * tensor for name, tensor in v.items()}
    carried = at.curve(small)["t"] - (at.z.t - params["t"])
    torch.testing.assert_close(0.1 * (up.z.t - down.z.t)[known] / (2 * h), carried[known], rtol=1e-4, atol=1e-4)


def test_blocks_of_samples_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    from plncli.models.pln.posterior import profile, samples

    data = odd()
    prepared = FullPLN().prepare(data)
    params = start(prepared.table)
    whole = Evaluation(params, prepared.table)
    v = whole.gradient()
    wanted, step = whole.product(v), whole.preconditioner()(v)
    monkeypatch.setattr(samples, "BLOCK", 7 * 25)
    monkeypatch.setattr(profile, "HELD", 0)
    parts = Evaluation(params, prepared.table)
    torch.testing.assert_close(parts.value, whole.value)
    for name in params:
        torch.testing.assert_close(parts.product(v)[name], wanted[name])
        torch.testing.assert_close(parts.preconditioner()(v)[name], step[name])


def test_rotations_of_the_root_change_nothing() -> None:
    prepared = FullPLN().prepare(table())
    params = start(prepared.table)
    Q = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    at, turned = (Evaluation({**params, "C": C}, prepared.table) for C in (params["C"], params["C"] @ Q))
    torch.testing.assert_close(at.value, turned.value, rtol=1e-13, atol=0)
    torch.testing.assert_close(at.gradient()["C"] @ Q, turned.gradient()["C"], rtol=1e-6, atol=1e-6)


# Fits


def test_the_bound_lies_between_the_diagonal_one_and_the_likelihood() -> None:
    data, full = table(), fitted()
    assert full.converged
    diagonal = -fit(PLN(), data).optimum.value
    likelihood = full.fitted.likelihood(data, 2000, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    bounds = full.fitted.bounds(data)  # type: ignore[attr-defined]
    assert diagonal < -full.optimum.value
    assert bool((bounds < likelihood.value + 5.0 * likelihood.error).all())
    assert float(likelihood.value.sum() - bounds.sum()) < 0.1 * data.n
    assert float((likelihood.khat < 0.3).double().mean()) > 0.8


def test_at_the_optimum_a_round_of_em_changes_nothing() -> None:
    """B and Sigma are what q says: the regression of M, and the mean of residuals' squares and of S."""
    full, data = fitted(), table()
    model = FullPLN()
    prepared = model.prepare(data)
    at = Evaluation(full.optimum.params, prepared.table)
    after = at.em()
    torch.testing.assert_close(after["C"] @ after["C"].mT, at.Sigma, rtol=0, atol=2e-4)
    torch.testing.assert_close(after["G"], at.G, rtol=0, atol=1e-4)


def test_a_diagonal_covariance_has_a_diagonal_posterior() -> None:
    """By the precision of a diagonal fit, the full posterior is that of the fit."""
    data = table()
    diagonal = fit(PLN("diagonal"), data, stop=TIGHT)
    held = fit(FullPLN("fixed", torch.linalg.inv(diagonal.estimates["Sigma"])), data, stop=TIGHT)
    assert held.optimum.value == pytest.approx(diagonal.optimum.value, abs=1e-6)
    for symbol in ("B", "M", "S"):
        torch.testing.assert_close(held.estimates[symbol], diagonal.estimates[symbol], rtol=0, atol=1e-4)
    for covariance in ("diagonal", "spherical"):
        assert type(PLN.of({"covariance": covariance, "posterior": "full"}, {})) is PLN
    assert type(PLN.of({"covariance": "full", "posterior": "full"}, {})) is FullPLN


def test_order_weights_and_offsets_are_as_ever() -> None:
    data = odd()
    whole = fit(FullPLN(), data, stop=TIGHT)
    assert whole.converged
    order = torch.randperm(data.n, generator=torch.Generator().manual_seed(0))
    features = torch.tensor([3, 1, 4, 0, 2])
    assert data.K is not None
    mixed = Dataset(
        data.Y[order][:, features],
        data.X[order],
        data.O[order][:, features] + 1.0,
        data.w[order],
        data.K[order][:, features],
    )
    again = fit(FullPLN(), mixed, stop=TIGHT)
    assert again.optimum.value == pytest.approx(whole.optimum.value, abs=1e-6)
    Sigma = whole.estimates["Sigma"][features][:, features]
    torch.testing.assert_close(again.estimates["Sigma"], Sigma, rtol=0, atol=2e-3)
    B = whole.estimates["B"][:, features].clone()
    B[0] -= 1.0
    finite = torch.isfinite(B)
    assert bool((~finite).any())
    assert torch.equal(torch.isfinite(again.estimates["B"]), finite)
    torch.testing.assert_close(again.estimates["B"][finite], B[finite], rtol=0, atol=2e-3)


def test_a_weight_of_two_is_a_sample_twice() -> None:
    data = table(30, 4)
    w = torch.where(torch.arange(30) < 10, 2.0, 1.0).double()
    rows = torch.cat([torch.arange(30), torch.arange(10)])
    twice = Dataset(data.Y[rows], data.X[rows], data.O[rows], torch.ones(40).double())
    weighted = fit(FullPLN(), replace(data, w=w), stop=TIGHT)
    assert weighted.optimum.value == pytest.approx(fit(FullPLN(), twice, stop=TIGHT).optimum.value, abs=1e-6)


def test_omega_is_the_inverse_of_sigma() -> None:
    full = fit(FullPLN(), table(150, 4, depth=30.0))
    assert full.converged
    assert "singular-covariance" not in {finding.code for finding in full.findings}
    Sigma, Omega = full.estimates["Sigma"], full.estimates["Omega"]
    torch.testing.assert_close(Sigma @ Omega, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-10)
    assert torch.equal(Omega, Omega.mT)


def test_a_singular_optimum_is_told() -> None:
    """More features than samples: Sigma has no inverse, and no eigenvalue next to 0."""
    data = table(12, 15, depth=4.0)
    full = fit(FullPLN(), data)
    assert full.converged
    assert "singular-covariance" in {finding.code for finding in full.findings}
    assert bool(full.estimates["Omega"].isnan().all())
    values = torch.linalg.eigvalsh(full.estimates["Sigma"])
    assert bool(((values.abs() < 1e-12) | (values > 1e-5)).all())
    answers = full.fitted
    assert isinstance(answers, FittedFull)
    simulated = answers.simulate(data.X, data.O, torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(simulated.Y).all())


# What a fit answers


def answers() -> tuple[FittedFull, Dataset, FitResult]:
    full = fitted()
    found = full.fitted
    assert isinstance(found, FittedFull)
    return found, table(), full


def seen(data: Dataset) -> Tensor:
    return torch.ones_like(data.Y, dtype=torch.bool)


def test_transform_gives_the_latent_values_of_the_fit() -> None:
    found, data, full = answers()
    q = found.transform(data.X, data.O, data.Y, seen(data))
    torch.testing.assert_close(q.mean, full.estimates["M"], rtol=0, atol=1e-7)
    torch.testing.assert_close(q.sd, full.estimates["S"], rtol=0, atol=1e-7)


def test_bounds_of_samples_add_up_to_that_of_the_fit() -> None:
    found, data, full = answers()
    assert float(found.bounds(data).sum()) == pytest.approx(full.criteria.loglik, abs=1e-8)


def test_hidden_counts_and_conditional_predictions_agree() -> None:
    """The posterior of features that are not seen is that of missing cells, by W in another form too."""
    found, data, _ = answers()
    observed = torch.tensor([0, 2, 3])
    K = torch.zeros_like(data.Y, dtype=torch.bool)
    K[:, observed] = True
    q = found.transform(data.X, data.O, data.Y, K)
    told = found.conditional(data.X, data.O, data.Y[:, observed], observed, K[:, observed])
    others = [1, 4, 5]
    torch.testing.assert_close(torch.as_tensor(told.columns["latent_mean"]), q.mean[:, others], rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.as_tensor(told.columns["latent_sd"]), q.sd[:, others], rtol=0, atol=1e-9)


def test_the_curvature_of_the_sandwich_is_that_of_the_bound() -> None:
    """Minus the Hessian in coefficients and log sd, correlations held, against differences of the gradient."""
    model, data = FullPLN(), odd()
    prepared = model.prepare(data)
    params = start(prepared.table)
    Q, h = prepared.checked.basis, 1e-5

    def slopes(dG: Tensor, tau: Tensor) -> Tensor:
        moved = {**params, "G": params["G"] + dG, "C": tau.exp()[:, None] * params["C"]}
        gradient = Evaluation(moved, prepared.table).gradient()
        return torch.cat([gradient["G"].mT.flatten(), (gradient["C"] * moved["C"]).sum(1)])

    d, p = params["G"].shape
    found = bread(Evaluation(params, prepared.table), data, Q, lambda: False)
    tau = torch.zeros(p, dtype=torch.float64)
    for k in range(d * p + p):
        v = torch.zeros(d * p + p, dtype=torch.float64)
        v[k] = h
        dG, dtau = v[: d * p].view(p, d).mT, v[d * p :]
        wanted = (slopes(dG, tau + dtau) - slopes(-dG, tau - dtau)) / (2.0 * h)
        torch.testing.assert_close(found.hessian[:, k], wanted, rtol=1e-5, atol=1e-5)
    here = slopes(torch.zeros(d, p).double(), tau)
    torch.testing.assert_close(-(data.w @ found.scores[0]), here[d * p :], rtol=1e-8, atol=1e-8)


@pytest.mark.slow  # as many fits as samples
def test_standard_errors_are_those_of_the_jackknife() -> None:
    data = table(n=50, p=3)
    sandwich, jackknife = (
        fit(FullPLN(), data, stop=TIGHT, inference=InferenceRule(se)) for se in ("auto", "jackknife")
    )
    assert sandwich.inference is not None and jackknife.inference is not None
    torch.testing.assert_close(sandwich.inference.std_error, jackknife.inference.std_error, rtol=0.1, atol=0)


def test_standard_errors_where_coefficients_are_not_finite_are_none() -> None:
    result = fit(FullPLN(), odd(), stop=TIGHT, inference=InferenceRule())
    assert result.inference is not None
    found, B = result.inference.std_error, result.estimates["B"]
    assert bool(found[B.isinf()].isnan().all()) and bool((found[torch.isfinite(B)] > 0).all())


def test_there_are_none_as_if_the_latent_layer_were_known() -> None:
    result = fit(FullPLN(), table(), inference=InferenceRule("fisher"))
    assert result.inference is None
    (told,) = (finding for finding in result.findings if finding.code == "no-standard-errors")
    assert "sandwich" in told.remedy


def test_what_does_not_go_is_refused_beforehand() -> None:
    own = {setting.name: setting.default for setting in SPEC.settings}
    with pytest.raises(UsageError, match="structural zeros"):
        SPEC.check({**own, "posterior": "full", "zero_inflation": "single"})
    SPEC.check({**own, "posterior": "full", "zero_inflation": "single", "covariance": "diagonal"})
    many = Dataset(*(torch.ones(shape) for shape in ((1000, 1000), (1000, 1), (1000, 1), (1000,))))
    with pytest.raises(DataError, match=r"about \d+ hours"):
        FullPLN().prepare(many)
    full, diagonal = (SPEC.memory(Size(100, 200, 1, own={**own, "posterior": each})) for each in ("full", "diagonal"))
    assert full > diagonal


@pytest.mark.slow  # half a minute: 116 × 114
def test_the_oaks() -> None:
    data = oaks("~ 1")
    full = fit(FullPLN(), data)
    assert full.converged
    assert -full.optimum.value > -30449.0
    likelihood = full.fitted.likelihood(data, 1000, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    gap = likelihood.value - full.fitted.bounds(data)  # type: ignore[attr-defined]
    assert 0.0 < float(gap.max()) < 1.0
    assert float((likelihood.khat < 0.3).double().mean()) > 0.8
