"""What a fit says of new samples: laws, referees, and the truth of simulated tables."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import optimize, stats
from tables import dataset, oaks, pln_table, toeplitz
from torch import Tensor
from tries import quickly

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models import MODELS
from plncli.models.fitted import (
    IMPOSSIBLE,
    INFINITE,
    NO_ERROR,
    NO_SPREAD,
    NOT_ESTIMABLE,
    Fitted,
    fitted_of,
    predict,
    transform,
)
from plncli.models.pln import variational_step as pln_step
from plncli.models.pln.variational_step import variational_step
from plncli.numerics.distributions import poisson_lognormal_quantile
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(tol=1e-13)


def fitted_to(data: Dataset, model: str = "pln", se: str = "none", **settings: Any) -> FitResult:
    return fit(MODELS[model].load_model()(**settings), data, stop=TIGHT, inference=InferenceRule(se))


def pln_of(terms: tuple[str, ...], responses: tuple[str, ...], B: Tensor, Sigma: Tensor, Omega: Tensor) -> Fitted:
    """What a fit with these parameters would answer."""
    return fitted_of(MODELS["pln"], terms, responses, {"B": B, "Sigma": Sigma, "Omega": Omega}, {}, {})


def same(a: Tensor, b: Tensor, tolerance: float) -> None:
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


def under_dispersed() -> Dataset:
    """A table in which the last feature is less variable than Poisson, and some counts are missing."""
    data, _, _ = pln_table(80, 5, seed=3)
    Y = data.Y.clone()
    Y[:, 4] = 3.0
    Y[::7, 4] = 4.0
    K = torch.ones_like(Y).bool()
    K[::9, 1] = K[3, 4] = K[5, :3] = False
    return replace(data, Y=torch.where(K, Y, 0.0), K=K)


TABLES = {
    "one": lambda: oaks(),
    "tree": lambda: oaks(tree=True),
    "boundary": under_dispersed,
    "weights": lambda: replace(pln_table(60, 4)[0], w=torch.linspace(0.5, 3.0, 60).double()),
}


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
@pytest.mark.parametrize("table", quickly(TABLES, "boundary", "weights"))  # the others are those of the oaks
def test_the_samples_of_the_fit_come_out_as_in_the_fit(table: str, covariance: str) -> None:
    """Latent values, fitted counts and marginal counts, from the parameters alone."""
    data = TABLES[table]()
    result = fitted_to(data, covariance=covariance)
    M, S = result.estimates["M"], result.estimates["S"]
    found = transform(result.fitted, data.Y, data.X, data.O, data.K)
    if table == "boundary" and covariance != "spherical":
        assert result.state["poisson_features"].tolist() == [4]
    assert torch.equal(torch.isneginf(M), torch.isneginf(found.mean))
    same(found.mean.nan_to_num(neginf=0.0), M.nan_to_num(neginf=0.0), 2e-6)
    same(found.sd, S, 2e-6)
    finite = torch.isfinite(M)
    same(found.residual[finite], (M - data.X @ result.state["B_finite"])[finite], 2e-6)
    expected = predict(result.fitted, data.X, data.O, Y=data.Y, K=data.K).columns["fitted"]
    same(expected, (data.O + M + 0.5 * S.square()).exp(), 1e-5)
    columns = predict(result.fitted, data.X, data.O).columns
    eta = data.O + data.X @ result.state["B_finite"]
    marginal = (eta + 0.5 * result.estimates["Sigma"].diagonal()).exp()
    same(columns["marginal"][finite], marginal[finite], 1e-12)
    same(columns["median"][finite], eta.exp()[finite], 1e-12)
    for name in ("marginal", "median"):
        assert bool((columns[name][~finite] == 0).all()) and not bool(columns[name].isnan().any())


def test_half_of_the_samples_of_a_fit_have_a_rate_above_the_median() -> None:
    """By draws of the latent layer, of samples with the same covariates, and of the features that are not given."""
    data, B, Sigma = pln_table(5, 3)
    known = pln_of(("a", "b"), tuple("xyz"), B, Sigma, torch.linalg.inv(Sigma))
    one, many = data.X[:1], data.X[:1].expand(20_000, -1)
    drawn = known.simulate(many, torch.ones(20_000, 1).double(), torch.Generator().manual_seed(0))
    above = ((1.0 + drawn.latent).exp() > predict(known, one, torch.ones(1, 1)).columns["median"]).double().mean(0)
    same(above, torch.full((3,), 0.5).double(), 0.014)  # 4 standard errors
    given = predict(known, one, Y=data.Y[:1, :2], observed=torch.tensor([0, 1]), intervals=["prediction"])
    mean, median = (given.columns[name] for name in ("latent_mean", "median"))
    same(median, mean.exp(), 1e-12)
    assert bool((median < given.columns["conditional"]).all())
    half = poisson_lognormal_quantile(0.5, mean, given.columns["latent_sd"].square())
    assert bool((half - median).abs().max() < 1.0)  # the median of the count, a whole number, lies beside it


def test_a_fixed_precision_predicts_too() -> None:
    data, _, Sigma = pln_table(50, 4)
    result = fitted_to(data, covariance="fixed", precision=torch.linalg.inv(Sigma))
    found = transform(result.fitted, data.Y, data.X, data.O)
    same(found.mean, result.estimates["M"], 2e-6)


def test_the_variational_step_ends_at_a_minimum_that_scipy_finds_too() -> None:
    g = torch.Generator().manual_seed(1)
    p = 4
    Sigma = toeplitz(p, 0.7, 1.3)
    Omega, C = torch.linalg.inv(Sigma), torch.randn(3, p, generator=g, dtype=torch.float64)
    Y = torch.tensor([[0.0, 3, 50, 1], [1000, 0, 0, 2], [5, 5, 0, 0]], dtype=torch.float64)
    K, O = torch.ones_like(Y), torch.full_like(Y, -0.5)
    K[2, 3] = 0.0
    step = variational_step(Y, K, O, C, Omega)
    assert bool(step.converged.all())
    for i in range(3):
        y, k, o, c, omega = (A.numpy() for A in (Y[i], K[i], O[i], C[i], Omega))

        def minus_elbo(x: np.ndarray, y=y, k=k, o=o, c=c, omega=omega) -> float:
            m, s2 = x[:p], np.exp(x[p:])
            cells = k * (np.exp(o + m + s2 / 2) - y * (o + m)) - x[p:] / 2 + omega.diagonal() * s2 / 2
            return cells.sum() + (m - c) @ omega @ (m - c) / 2

        referee = optimize.minimize(minus_elbo, np.concatenate([np.log1p(y) - o, -np.log(2 + y)]), tol=1e-12)
        ours = np.concatenate([step.M[i], 2 * step.S[i].log()])
        assert minus_elbo(ours) <= referee.fun + 1e-9
        np.testing.assert_allclose(ours, referee.x, atol=2e-4)


@pytest.mark.parametrize("rho", [0.5, 0.99])
def test_many_features_are_solved_as_few_are(rho: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conjugate gradients, and the factors that take over where they are slow, against factors alone."""
    data, B, _ = pln_table(12, 90, mean=0.5)
    Sigma = toeplitz(90, rho, 1.5)
    K, Omega = torch.ones_like(data.Y), torch.linalg.inv(Sigma)
    K[3, :40] = 0.0
    many = variational_step(data.Y, K, data.O, data.X @ B, Omega)
    monkeypatch.setattr(pln_step, "LARGE", 1000)
    few = variational_step(data.Y, K, data.O, data.X @ B, Omega)
    assert bool((many.converged & few.converged).all())
    same(many.M, few.M, 1e-7)
    same(many.S, few.S, 1e-7)


def test_far_away_samples_converge() -> None:
    """Counts of a million where one is expected, tiny variances, and none at all."""
    data, B, Sigma = pln_table(30, 3)
    known = pln_of(("a", "b"), ("x", "y", "z"), B, 1e-6 * Sigma, 1e6 * torch.linalg.inv(Sigma))
    Y = torch.tensor([[1e6, 0, 3e7], [0, 0, 0], [1e9, 1e9, 1e9]], dtype=torch.float64)
    for O in (-20.0, 0.0, 20.0):
        found = transform(known, Y, data.X[:3], torch.full((3, 1), O))
        assert bool(torch.isfinite(found.mean).all()) and not any(bool(cells.any()) for cells in found.reasons.values())


def test_what_is_added_to_the_offset_is_taken_from_the_latent_values() -> None:
    data, B, Sigma = pln_table(20, 4)
    known = pln_of(("a", "b"), tuple("wxyz"), B, Sigma, torch.linalg.inv(Sigma))
    shift = torch.tensor([0.0, 2.0]).double()[:, None]  # of the intercept
    moved = replace(known, estimates={**known.estimates, "B": B - shift.flip(0)})
    a, b = transform(known, data.Y, data.X), transform(moved, data.Y, data.X, data.O + 2.0)
    same(a.mean, b.mean + 2.0, 1e-9)
    same(a.residual, b.residual, 1e-9)
    same(a.sd, b.sd, 1e-9)


def test_samples_do_not_depend_on_each_other() -> None:
    data, B, Sigma = pln_table(40, 5)
    known = pln_of(("a", "b"), tuple("vwxyz"), B, Sigma, torch.linalg.inv(Sigma))
    whole = transform(known, data.Y, data.X)
    for rows in ([3], [39, 0], list(range(7, 25))):
        same(transform(known, data.Y[rows], data.X[rows]).mean, whole.mean[rows], 1e-10)


# --- coefficients that are not finite ---


def two_groups(reference: bool) -> Dataset:
    """Two groups, in the second of which the first feature is never seen; coded by means, or with a reference."""
    data, _, _ = pln_table(40, 3, 1, seed=5)
    second = (torch.arange(40) >= 20).double()
    Y = data.Y.clone()
    Y[20:, 0] = 0.0
    X = torch.stack([torch.ones(40).double() if reference else 1.0 - second, second], 1)
    return replace(data, Y=Y, X=X, terms=("a", "b"))


@pytest.mark.parametrize("reference", [False, True])
def test_an_expected_count_of_0_is_exactly_0(reference: bool) -> None:
    data = two_groups(reference)
    result = fitted_to(data, se="sandwich")
    found = predict(result.fitted, data.X, intervals=["confidence", "prediction"])
    for name in ("marginal", "median", "link", "conf_low", "pred_high"):
        finite = torch.isfinite(found.columns[name])
        assert bool(finite[:20].all()) and bool(finite[:, 1:].all())
        expected = {"marginal": 0.0, "median": 0.0, "link": -math.inf}.get(name, math.nan)
        np.testing.assert_array_equal(found.columns[name][20:, 0], np.full(20, expected))
    assert torch.equal(found.reasons[NO_SPREAD], ~torch.isfinite(found.columns["link"]))


def test_a_reference_that_is_never_seen_leaves_the_other_groups_finite() -> None:
    """The intercept is −inf and the other coefficient inf: their sum is what the data say."""
    data = two_groups(reference=True)
    data = replace(data, X=torch.stack([data.X[:, 0], 1.0 - data.X[:, 1]], 1))
    result = fitted_to(data, se="sandwich")
    assert result.estimates["B"][:, 0].tolist() == [-math.inf, math.inf]
    found = predict(result.fitted, data.X, intervals=["confidence"])
    same(found.columns["link"][:20, 0], data.X[:20] @ result.state["B_finite"][:, 0], 1e-12)
    assert bool((found.columns["marginal"][20:, 0] == 0).all())
    assert torch.equal(found.reasons[NO_ERROR][:, 0], torch.arange(40) < 20)


def test_other_directions_are_infinite_or_open() -> None:
    data = two_groups(reference=False)
    result = fitted_to(data)
    X = torch.tensor([[1.0, 0.0], [1.0, 2.0], [1.0, -1.0]]).double()
    found = predict(result.fitted, X)
    assert found.columns["marginal"][1:, 0].tolist() == found.columns["median"][1:, 0].tolist() == [0.0, math.inf]
    assert found.reasons[INFINITE].nonzero().tolist() == [[2, 0]]
    three = torch.cat([data.X, torch.zeros(40, 1)], 1).double()
    three[30:, 1], three[30:, 2] = 0.0, 1.0  # the feature is not seen in either of two groups
    result = fitted_to(replace(data, X=three, terms=()))
    found = predict(result.fitted, torch.tensor([[0.0, 1.0, -1.0], [0.0, 1.0, 1.0]]).double())
    assert found.columns["link"][:, 0].isnan().tolist() == [True, False]
    assert found.reasons[NOT_ESTIMABLE].nonzero().tolist() == [[0, 0]]


def test_a_count_where_none_is_possible_is_told_and_left_aside() -> None:
    data = two_groups(reference=False)
    result = fitted_to(data)
    Y = data.Y[[25, 25]].clone()
    Y[1, 0] = 7.0
    found = transform(result.fitted, Y, data.X[[25, 25]])
    assert found.reasons[IMPOSSIBLE].nonzero().tolist() == [[1, 0]]
    assert found.mean[0, 0] == -math.inf and found.mean[1, 0].isnan()
    same(found.mean[0, 1:], found.mean[1, 1:], 1e-12)
    given = predict(result.fitted, data.X[[25, 25]], Y=Y[:, :2], observed=torch.tensor([0, 1]))
    assert given.responses == ("y3",)
    same(given.columns["conditional"][0], given.columns["conditional"][1], 1e-12)
    assert given.reasons[IMPOSSIBLE].nonzero().tolist() == [[1, 0]]


# --- conditional ---


def known_pair(rho: float, sd: float = 1.0) -> Fitted:
    Sigma = toeplitz(2, rho, sd)
    B = torch.tensor([[1.0, 0.5]]).double()
    return pln_of(("Intercept",), ("x", "y"), B, Sigma, torch.linalg.inv(Sigma))


def test_one_feature_given_the_other_is_near_exact_quadrature() -> None:
    """E[Y_2 | Y_1] by a fine grid over Z_1; what is left is the error of the variational bound."""
    known = known_pair(0.8)
    z = np.linspace(-9, 9, 4001)
    for y in (0, 1, 3, 10, 60):
        found = predict(known, torch.ones(1, 1), Y=torch.tensor([[float(y)]]), observed=torch.tensor([0]))
        weight = stats.norm.pdf(z) * stats.poisson.pmf(y, np.exp(1 + z))
        # Z_2 | Z_1 ~ N(0.5 + 0.8 z, 1 − 0.64)
        exact = (weight * np.exp(0.5 + 0.8 * z + 0.5 * 0.36)).sum() / weight.sum()
        mean = (weight * (0.5 + 0.8 * z)).sum() / weight.sum()
        assert float(found.columns["conditional"][0, 0]) == pytest.approx(exact, rel=0.01)
        assert float(found.columns["latent_mean"][0, 0]) == pytest.approx(mean, abs=0.02)


def test_huge_counts_are_conditioned_on_as_if_the_latent_layer_were_seen() -> None:
    data, B, Sigma = pln_table(6, 5, seed=2)
    known = pln_of(("a", "b"), tuple("vwxyz"), B, Sigma, torch.linalg.inv(Sigma))
    O = torch.full((6, 1), 25.0).double()
    g = torch.Generator().manual_seed(0)
    Z = data.X @ B + torch.randn(6, 5, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    o, c = [0, 2, 3], [1, 4]
    found = predict(known, data.X, O, Y=(O + Z).exp().round()[:, o], observed=torch.tensor(o))
    G = Sigma[c][:, o] @ torch.linalg.inv(Sigma[o][:, o])
    same(found.columns["latent_mean"], (data.X @ B)[:, c] + (Z - data.X @ B)[:, o] @ G.mT, 1e-4)
    v = (Sigma[c][:, c] - G @ Sigma[o][:, c]).diagonal()
    same(found.columns["latent_sd"].square(), v.expand(6, 2), 1e-4)


def test_independent_features_tell_nothing_of_each_other() -> None:
    data, B, Sigma = pln_table(6, 3)
    D = torch.diag(Sigma.diagonal())
    known = pln_of(("a", "b"), tuple("xyz"), B, D, torch.linalg.inv(D))
    alone = predict(known, data.X).columns["marginal"]
    given = predict(known, data.X, Y=data.Y[:, :2], observed=torch.tensor([0, 1])).columns["conditional"]
    same(given[:, 0], alone[:, 2], 1e-12)


def test_an_unobserved_cell_is_as_a_feature_that_is_not_given() -> None:
    data, B, Sigma = pln_table(8, 4)
    known = pln_of(("a", "b"), tuple("wxyz"), B, Sigma, torch.linalg.inv(Sigma))
    K = torch.ones(8, 3).bool()
    K[2:5, 1] = False
    some = predict(known, data.X, Y=data.Y[:, :3], K=K, observed=torch.tensor([0, 1, 2]), intervals=["prediction"])
    fewer = predict(known, data.X, Y=data.Y[:, [0, 2]], observed=torch.tensor([0, 2]), intervals=["prediction"])
    every = predict(known, data.X, Y=data.Y[:, :3], observed=torch.tensor([0, 1, 2]), intervals=["prediction"])
    for name in ("conditional", "latent_sd", "pred_low", "pred_high"):
        rest = [0, 1, 5, 6, 7]
        same(some.columns[name][2:5, 0], fewer.columns[name][2:5, 1], 1e-9)
        same(some.columns[name][rest], every.columns[name][rest], 1e-9)
    nothing = predict(known, data.X, Y=data.Y[:, :1], K=torch.zeros(8, 1).bool(), observed=torch.tensor([0]))
    same(nothing.columns["conditional"], predict(known, data.X).columns["marginal"][:, 1:], 1e-12)


def test_a_feature_on_the_boundary_is_its_regression_whatever_is_given() -> None:
    data = under_dispersed()
    result = fitted_to(data)
    alone = predict(result.fitted, data.X).columns["marginal"]
    given = predict(result.fitted, data.X, Y=data.Y[:, :2], K=data.K[:, :2], observed=torch.tensor([0, 1]))
    same(given.columns["conditional"][:, 2], alone[:, 4], 1e-12)
    known = result.fitted
    by_boundary = predict(known, data.X, data.O, Y=data.Y[:, 4:], observed=torch.tensor([4]))
    same(by_boundary.columns["conditional"], alone[:, :4], 1e-12)


# --- intervals and regressions against statsmodels ---


def regression(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(70, 1), torch.randn(70, 2, generator=g)], 1).double()
    eta = X @ torch.tensor([[0.3, -0.2], [1.0, 0.4], [-0.5, 0.1]]).double()
    return X, eta, torch.randn(70, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("se", ["fisher", "hc3"])
def test_linear_predictions_equal_statsmodels(se: str) -> None:
    X, eta, noise = regression()
    result = fitted_to(dataset(eta + noise, X), "linear", se)
    new = torch.tensor([[1.0, 2.0, -1.0], [1.0, 0.0, 0.0]]).double()
    found = predict(result.fitted, new, intervals=["confidence", "prediction"], level=0.9).columns
    for j in range(2):
        referee = sm.OLS((eta + noise)[:, j].numpy(), X.numpy()).fit()
        if se == "hc3":
            referee = referee.get_robustcov_results("HC3", use_t=False)
        expected = referee.get_prediction(new.numpy()).summary_frame(alpha=0.1)
        names = ("mean", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper")
        for ours, theirs in zip(("mean", "conf_low", "conf_high", "pred_low", "pred_high"), names, strict=True):
            np.testing.assert_allclose(found[ours][:, j], expected[theirs], rtol=1e-8)


def test_logistic_predictions_equal_statsmodels() -> None:
    X, eta, _ = regression()
    Y = (torch.rand(70, 2, generator=torch.Generator().manual_seed(1)) < torch.sigmoid(eta)).double()
    O = torch.linspace(-0.5, 0.5, 70).double()[:, None]
    result = fitted_to(dataset(Y, X, O), "logistic", "fisher")
    found = predict(result.fitted, X, O, intervals=["confidence"]).columns
    for j in range(2):
        model = sm.GLM(Y[:, j].numpy(), X.numpy(), family=sm.families.Binomial(), offset=O[:, 0].numpy())
        expected = model.fit(tol=1e-14).get_prediction(X.numpy(), offset=O[:, 0].numpy()).summary_frame()
        for ours, theirs in (("probability", "mean"), ("conf_low", "mean_ci_lower"), ("conf_high", "mean_ci_upper")):
            np.testing.assert_allclose(found[ours][:, j], expected[theirs], rtol=1e-8)
        np.testing.assert_allclose(torch.sigmoid(found["link"]), found["probability"], rtol=1e-14)


def test_a_wider_level_gives_a_wider_interval_that_holds_the_expectation() -> None:
    data, _, _ = pln_table(60, 3)
    result = fitted_to(data, se="sandwich")
    narrow, wide = (
        predict(result.fitted, data.X, intervals=["confidence", "prediction"], level=x).columns for x in (0.5, 0.99)
    )
    for low, high in (("conf_low", "conf_high"), ("pred_low", "pred_high")):
        assert bool((wide[low] <= narrow[low]).all()) and bool((wide[high] >= narrow[high]).all())
    assert bool((wide["conf_low"] < wide["marginal"]).all()) and bool((wide["conf_high"] > wide["marginal"]).all())


def test_without_standard_errors_the_prediction_interval_is_that_of_the_distribution() -> None:
    """Against a simulation from the fitted model."""
    data, B, Sigma = pln_table(2, 3)
    known = pln_of(("a", "b"), tuple("xyz"), B, Sigma, torch.linalg.inv(Sigma))
    found = predict(known, data.X, intervals=["prediction"], level=0.9).columns
    g = np.random.default_rng(0)
    Z = (data.X @ B).numpy() + g.standard_normal((200_000, 2, 3)) * Sigma.diagonal().sqrt().numpy()
    draws = g.poisson(np.exp(Z))
    assert bool(((draws <= found["pred_high"].numpy()).mean(0) >= 0.948).all())
    assert bool(((draws < found["pred_high"].numpy()).mean(0) < 0.952).all())
    assert bool(((draws < found["pred_low"].numpy()).mean(0) < 0.052).all())


@pytest.mark.slow
def test_intervals_hold_what_they_say() -> None:
    """Of 60 tables of 200 samples: the true expectation, and new counts, for a new sample each."""
    held, counts = [], []
    _, B, Sigma = pln_table(2, 4)
    root = torch.linalg.cholesky(Sigma).mT
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        X = torch.cat([torch.ones(220, 1), torch.randn(220, 1, generator=g)], 1).double()
        Z = X @ B + torch.randn(220, 4, generator=g, dtype=torch.float64) @ root
        Y = torch.poisson(Z.exp(), generator=g)
        result = fit(MODELS["pln"].load_model()(), dataset(Y[:200], X[:200]), inference=InferenceRule("sandwich"))
        found = predict(result.fitted, X[200:], intervals=["confidence", "prediction"]).columns
        # The interval of the mean takes Sigma as known, so it is held against the mean at the estimated Sigma.
        truth = (X[200:] @ B + 0.5 * result.estimates["Sigma"].diagonal()).exp()
        held.append(((found["conf_low"] <= truth) & (truth <= found["conf_high"])).double().mean())
        counts.append(((found["pred_low"] <= Y[200:]) & (Y[200:] <= found["pred_high"])).double().mean())
    assert 0.91 < float(torch.stack(held).mean()) < 0.98
    assert 0.94 < float(torch.stack(counts).mean()) < 0.985


# --- refusals ---


def test_what_a_fit_cannot_give_is_refused() -> None:
    X, eta, noise = regression()
    linear = fitted_to(dataset(eta + noise, X), "linear")
    logistic = fitted_to(dataset((eta + noise > 0).double(), X), "logistic", "fisher")
    data, B, Sigma = pln_table(5, 2)
    pln = pln_of(("a", "b"), ("x", "y"), B, Sigma, torch.linalg.inv(Sigma))
    for said, ask in {
        "no standard errors, which the interval needs": lambda: predict(linear.fitted, X, intervals=["prediction"]),
        "fit has no standard errors": lambda: predict(pln, data.X, intervals=["confidence"]),
        "one class or the other": lambda: predict(logistic.fitted, X, intervals=["prediction"]),
        "A linear fit has no latent layer": lambda: transform(linear.fitted, X[:, :2], X),
        "no confidence interval, only a prediction": lambda: predict(
            pln, data.X, Y=data.Y[:, :1], observed=torch.tensor([0]), intervals=["confidence"]
        ),
        "Fitted counts have no interval": lambda: predict(pln, data.X, Y=data.Y, intervals=["prediction"]),
        "X has shape .*, but the fit has 2 terms: a, b": lambda: predict(pln, X),
        "O has shape": lambda: predict(pln, data.X, torch.zeros(5, 3)),
        "Y has shape": lambda: transform(pln, data.Y[:, :1], data.X),
        "one response tells nothing of another": lambda: predict(
            linear.fitted, X, Y=noise[:, :1], observed=torch.tensor([0])
        ),
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=said):
            ask()
