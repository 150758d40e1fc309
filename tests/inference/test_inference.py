"""Standard errors against statsmodels, dense formulas, numerical integration, laws and simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tables import dataset, oaks, pln_table, toeplitz
from torch import Tensor
from tries import quickly

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.resampling import Resampling
from plncli.inference.wald import (
    NO_ERROR,
    NO_ESTIMATE,
    NO_VARIANCE,
    Inference,
    InferenceRule,
    contrast_test,
    joint_test,
)
from plncli.models import MODELS
from plncli.models.pln.errors import sandwich as pln_sandwich
from plncli.models.pln.errors.sandwich import invert_
from plncli.models.pln.spec import Sandwich
from plncli.names import RESAMPLING
from plncli.numerics.significance import benjamini_hochberg, quantile, two_sided
from plncli.optim.base import StopRule
from plncli.results import FitResult

F = torch.float64
ROBUST = ("hc0", "hc1", "hc2", "hc3")


def fitted(
    model: str, data: Dataset, method: str = "auto", *, vcov: bool = True, resamples: int = 200, **settings: Any
) -> FitResult:
    rule, again = InferenceRule(method, vcov=vcov), Resampling(resamples)
    made = MODELS[model].load_model()(**settings)
    return fit(made, data, stop=StopRule(1e-10), inference=rule, resampling=again)


def inferred(*args: Any, **more: Any) -> Inference:
    result = fitted(*args, **more).inference
    assert result is not None
    return result


def same(a: Any, b: Any, rtol: float = 1e-8) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=0)


def table(n: int = 80, p: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Responses whose variance grows with a covariate, and covariates on unequal scales."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 4, generator=g).double() * torch.tensor([1.0, 1.0, 100.0, 0.01])
    X[:, 0] = 1.0
    noise = torch.randn(n, p, generator=g).double() * (1.0 + X[:, 1:2].abs())
    return 0.5 + X[:, 1:2] + noise, X.double()


# -- distributions -----------------------------------------------------------------------------------------------------


def test_tails_keep_their_digits() -> None:
    z = torch.tensor([0.0, 0.5, 1.959963984540054, 8.0, 37.0, -37.0], dtype=F)
    same(two_sided(z), 2.0 * stats.norm.sf(z.abs()), 1e-12)
    assert 1e-300 < float(two_sided(z)[-1]) < 1e-298
    t = torch.tensor([0.3, 2.0, 40.0, 1e6], dtype=F)
    for df in (1.0, 7.0, 300.0):
        same(two_sided(t, df)[:3], 2.0 * stats.t.sf(t, df)[:3], 1e-10)
        assert quantile(0.975, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-12)
    assert quantile(0.975) == pytest.approx(stats.norm.ppf(0.975), rel=1e-14)


def test_q_values_are_those_of_benjamini_and_hochberg_within_each_term() -> None:
    p = torch.rand(3, 40, generator=torch.Generator().manual_seed(1), dtype=F) ** 4
    p[1, ::3] = math.nan
    q = benjamini_hochberg(p)
    for row, found in zip(p, q, strict=True):
        there = ~row.isnan()
        same(found[there], multipletests(row[there].numpy(), method="fdr_bh")[1], 1e-13)
        assert bool(found[~there].isnan().all())


# -- regressions against statsmodels 0.14 ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fisher", *ROBUST])
def test_linear_equals_statsmodels(method: str) -> None:
    Y, X = table()
    found = inferred("linear", dataset(Y, X), method)
    for j in range(2):
        kind = "nonrobust" if method == "fisher" else method.upper()
        expected = sm.OLS(Y[:, j].numpy(), X.numpy()).fit(cov_type=kind)
        same(found.std_error[:, j], expected.bse)
        same(found.statistic[:, j], expected.tvalues)
        same(found.p_value[:, j], expected.pvalues)
        same(torch.stack([found.conf_low[:, j], found.conf_high[:, j]], 1), expected.conf_int())
        assert found.covariance is not None
        same(found.covariance[4 * j : 4 * j + 4, 4 * j : 4 * j + 4], expected.cov_params(), 1e-7)


@pytest.mark.parametrize("method", ["fisher", *ROBUST])
def test_logistic_equals_statsmodels(method: str) -> None:
    """statsmodels calls HC0 by all four names for a GLM: the others follow from its scores and leverages."""
    Y, X = table()
    Y = (Y > 0.5).double()
    found = inferred("logistic", dataset(Y, X), method)
    for j in range(2):
        model = sm.GLM(Y[:, j].numpy(), X.numpy(), family=sm.families.Binomial())
        plain = model.fit(tol=1e-14)
        if method in ("fisher", "hc0"):
            kind = "nonrobust" if method == "fisher" else "HC0"
            expected = model.fit(tol=1e-14, cov_type=kind)
            same(found.std_error[:, j], expected.bse)
            same(found.p_value[:, j], expected.pvalues)
            continue
        h = plain.get_influence(observed=False).hat_matrix_diag
        power = {"hc1": 0.0, "hc2": 0.5, "hc3": 1.0}[method]
        scores = (plain.resid_response / (1.0 - h) ** power)[:, None] * X.numpy()
        bread = plain.normalized_cov_params
        V = bread @ scores.T @ scores @ bread * (80 / 76 if method == "hc1" else 1.0)
        same(found.std_error[:, j], np.sqrt(np.diag(V)))


def test_robust_is_hc3() -> None:
    Y, X = table()
    assert inferred("linear", dataset(Y, X), "robust").method == "hc3"


def test_responses_covary() -> None:
    """The blocks between responses: Sigma ⊗ (X'X)^-1, and from the scores of both."""
    Y, X = table()
    V = inferred("linear", dataset(Y, X), "fisher").covariance
    XX = torch.linalg.inv(X.mT @ X)
    R = Y - X @ XX @ X.mT @ Y
    assert V is not None
    same(V, torch.kron(R.mT @ R / 76, XX.contiguous()), 1e-7)
    V = inferred("linear", dataset(Y, X), "hc0").covariance
    u = (X @ XX)[:, None, :] * R[:, :, None]
    assert V is not None
    same(V, u.flatten(1).mT @ u.flatten(1), 1e-7)


@pytest.mark.parametrize("model", ["linear", "logistic"])
@pytest.mark.parametrize("method", ["fisher", *ROBUST])
def test_a_weight_repeats_a_sample(model: str, method: str) -> None:
    Y, X = table()
    Y = Y if model == "linear" else (Y > 0.5).double()
    times = torch.arange(80) % 3 + 1
    once = inferred(model, dataset(Y, X, w=times.double()), method)
    repeated = inferred(model, dataset(Y.repeat_interleave(times, 0), X.repeat_interleave(times, 0)), method)
    same(once.std_error, repeated.std_error)
    same(once.p_value, repeated.p_value, 1e-6)


def test_finite_coefficients_beside_separated_ones_are_those_of_the_samples_left() -> None:
    g = torch.Generator().manual_seed(3)
    group = torch.arange(90) % 3
    X = torch.stack([(group == k).double() for k in range(3)] + [torch.randn(90, generator=g).double()], 1)
    Y = (torch.rand(90, 1, generator=g) < 0.5).double()
    Y[group == 2] = 1.0
    result = fitted("logistic", dataset(Y, X), "fisher")
    found = result.inference
    assert found is not None
    left = inferred("logistic", dataset(Y[group != 2], X[group != 2][:, [0, 1, 3]]), "fisher")
    assert bool(found.std_error[2].isnan().all())
    assert bool(found.conf_low[2].isnan().all())
    same(found.std_error[[0, 1, 3]], left.std_error, 1e-6)  # the separated samples are all but at the supremum
    assert found.covariance is not None
    assert bool(found.covariance[2].isnan().all())


def test_a_coefficient_that_rests_on_one_sample_has_no_robust_error() -> None:
    Y, X = table()
    X = torch.cat([X, torch.eye(80, 1, dtype=F)], 1)
    result = fitted("linear", dataset(Y, X), "hc3")
    assert result.inference is not None
    assert bool(result.inference.std_error[4].isnan().all())
    same(result.inference.std_error[:4], inferred("linear", dataset(Y[1:], X[1:, :4]), "hc3").std_error)
    assert [finding.code for finding in result.findings] == ["single-sample"]


# -- Poisson log-normal ------------------------------------------------------------------------------------------------


def profiled(eta: Tensor, y: Tensor, m: Tensor, psi: Tensor, Omega: Tensor) -> Tensor:
    """The bound of one sample as a function of eta, (m, psi) and Omega, without constants."""
    r, s2 = m - eta, psi.exp()
    return y @ m - (m + 0.5 * s2).exp().sum() + 0.5 * psi.sum() - 0.5 * r @ Omega @ r - 0.5 * Omega.diagonal() @ s2


def dense_sandwich(data: Dataset, result: FitResult, moving: Tensor) -> Tensor:
    """V with the blocks of each sample by autograd, in X's own units, from Kronecker products written out.

    moving: p×v, how v parameters move the log standard deviations of the features, correlations held.
    """
    E = result.estimates
    B, Omega, M, psi = E["B"], E["Omega"], E["M"], 2.0 * E["S"].log()
    p, v, size = data.p, moving.shape[1], data.p * data.d
    bread, scores, W = torch.zeros(size + v, size + v, dtype=F), [], []
    for i in range(data.n):
        theta, q = torch.cat([B.mT @ data.X[i], torch.zeros(v, dtype=F)]), torch.cat([M[i], psi[i]])
        y, o = data.Y[i], data.O.expand_as(data.Y)[i]

        def bound(theta: Tensor, q: Tensor, y: Tensor = y, o: Tensor = o) -> Tensor:
            log_sd = moving @ theta[p:]
            scaled = Omega * (-log_sd - log_sd[:, None]).exp()
            return profiled(theta[:p] + o, y, q[:p] + o, q[p:], scaled) - log_sd.sum()

        (tt, tq), (_, qq) = torch.func.hessian(bound, argnums=(0, 1))(theta, q)
        H = -(tt - tq @ torch.linalg.solve(qq, tq.mT))
        Z = torch.block_diag(torch.kron(torch.eye(p, dtype=F), data.X[i][None, :]), torch.eye(v, dtype=F))
        bread += data.w[i] * Z.mT @ H @ Z
        scores.append(torch.func.grad(bound)(theta, q))
        W.append(H.diagonal()[:p])
    own = bread[:size, :size].view(p, data.d, p, data.d).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    leverage = torch.stack(W) * torch.einsum("ia,jab,ib->ij", data.X, torch.linalg.inv(own), data.X)
    e, s = torch.stack(scores).split([p, v], 1)
    # Only a parameter that moves one feature alone has a leverage of its own; a common one sums the features' scores.
    g = ((e / (1.0 - leverage))[:, :, None] * data.X[:, None, :]).flatten(1)
    if v == p:
        s = s / (1.0 - leverage)
    elif v:
        variance = E["Sigma"].diagonal()
        s = ((M - data.X @ B) ** 2 / variance + psi.exp() / variance - 1.0) / (1.0 - leverage) @ moving
    u = torch.linalg.solve(bread, torch.cat([g, s], 1).mT)[:size]
    return u * data.w @ u.mT


@pytest.mark.parametrize("covariance", quickly(["full", "diagonal", "spherical", "fixed"], "diagonal"))
def test_sandwich_equals_its_definition(covariance: str) -> None:
    """By autograd's Hessian of the bound. The covariates' scales differ, or the order of the product would not show."""
    data, _, Sigma = pln_table(30, 3, 3)
    w = 1.0 + torch.rand(30, generator=torch.Generator().manual_seed(0)).double()
    data = Dataset(data.Y, data.X * torch.tensor([1.0, 0.1, 3.0], dtype=F), data.O, w)
    settings = {"precision": torch.linalg.inv(Sigma)} if covariance == "fixed" else {}
    moving = {"spherical": torch.ones(3, 1, dtype=F), "fixed": torch.zeros(3, 0, dtype=F)}
    result = fitted("pln", data, "sandwich", covariance=covariance, **settings)
    assert result.inference is not None and result.inference.covariance is not None
    V = dense_sandwich(data, result, moving.get(covariance, torch.eye(3, dtype=F)))
    se = V.diagonal().sqrt()
    # The optimum is known to about 1e-6, and only there do the two agree.
    torch.testing.assert_close(result.inference.covariance / se / se[:, None], V / se / se[:, None], rtol=0, atol=2e-5)
    same(result.inference.std_error, se.view(3, 3).mT, 1e-5)


@pytest.mark.parametrize("iterated", [False, True])
def test_sandwich_of_more_features_than_samples_equals_its_definition(iterated: bool, monkeypatch) -> None:
    """In factors of Sigma, with a matrix of all coefficients or by conjugate gradients."""
    monkeypatch.setattr(pln_sandwich, "cost", lambda *_, **__: Sandwich(0.0, 0.0, iterated))
    data, *_ = pln_table(10, 18, 2)
    data = Dataset(data.Y, data.X * torch.tensor([1.0, 0.1], dtype=F), data.O, data.w)
    result = fitted("pln", data, "sandwich")
    assert result.inference is not None and result.inference.covariance is not None
    V = dense_sandwich(data, result, torch.eye(18, dtype=F))
    se = V.diagonal().sqrt()
    # The optimum is known to about 1e-6, and only there do the two agree.
    torch.testing.assert_close(result.inference.covariance / se / se[:, None], V / se / se[:, None], rtol=0, atol=1e-4)


@pytest.mark.parametrize("q", [1, 7, 33, 80, 129])
def test_inverses_by_quarters(q: int) -> None:
    g = torch.Generator().manual_seed(q)
    X = torch.randn(3, q, q, generator=g, dtype=F) * 10.0 ** torch.linspace(-3, 3, q, dtype=F)[:, None]
    G = X @ X.mT + torch.eye(q, dtype=F)
    inverse = G.clone()
    invert_(inverse)
    scale = G.diagonal(dim1=1, dim2=2).sqrt()
    scale = scale[:, :, None] * scale[:, None, :]
    torch.testing.assert_close(inverse * scale, torch.linalg.inv(G / scale), rtol=1e-9, atol=1e-9)
    same(inverse, inverse.mT, 1e-6)
    G[1, q // 2, q // 2] = -1.0
    invert_(G)
    assert G.isnan().flatten(1).any(1).tolist() == [False, True, False]


def test_blocks_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _, _ = pln_table(50, 4, 2)
    whole = inferred("pln", data)
    monkeypatch.setattr(pln_sandwich, "BLOCK", 16 * 13)
    monkeypatch.setattr(pln_sandwich, "CHUNK", 16 * 4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        same(inferred("pln", data).covariance, whole.covariance, 1e-7)
    finally:
        torch.set_num_threads(threads)


def test_units_and_order_do_not_matter() -> None:
    data, _, _ = pln_table(60, 4, 3)
    plain = inferred("pln", data)
    units = torch.tensor([1.0, 1e-6, 1e7], dtype=F)
    scaled = inferred("pln", dataset(data.Y, data.X * units))
    same(scaled.std_error * units[:, None], plain.std_error, 1e-5)
    samples, features = torch.randperm(60), torch.tensor([2, 0, 3, 1])
    shuffled = inferred("pln", dataset(data.Y[samples][:, features], data.X[samples]))
    same(shuffled.std_error, plain.std_error[:, features], 1e-5)
    same(shuffled.q_value, plain.q_value[:, features], 1e-3)


def test_a_weight_repeats_a_count() -> None:
    data, _, _ = pln_table(60, 3, 2)
    times = torch.arange(60) % 3 + 1
    once = inferred("pln", dataset(data.Y, data.X, w=times.double()))
    twice = inferred("pln", dataset(data.Y.repeat_interleave(times, 0), data.X.repeat_interleave(times, 0)))
    same(once.std_error, twice.std_error, 1e-5)


def test_unobserved_cells_carry_nothing() -> None:
    """A feature that no other correlates with has the standard errors of the samples where it is observed."""
    data, _, _ = pln_table(60, 2, 2)
    K = torch.ones(60, 2, dtype=torch.bool)
    K[40:, 1] = False
    masked = inferred(
        "pln", Dataset(data.Y, data.X, data.O, data.w, K), covariance="fixed", precision=torch.eye(2, dtype=F)
    )
    part = Dataset(data.Y[:40], data.X[:40], data.O[:40], data.w[:40])
    left = inferred("pln", part, covariance="fixed", precision=torch.eye(2, dtype=F))
    same(masked.std_error[:, 1], left.std_error[:, 1], 1e-5)


def test_separated_features_have_the_errors_of_the_cells_left() -> None:
    """The last group never sees the second feature: its coefficient has none, the others those of the other groups."""
    data, _, _ = pln_table(90, 2, 1)
    group = torch.arange(90) % 3
    X = torch.stack([(group == k).double() for k in range(3)], 1)
    Y = data.Y.clone()
    Y[group == 2, 1] = 0.0
    fixed = {"covariance": "fixed", "precision": torch.eye(2, dtype=F)}
    found = inferred("pln", dataset(Y, X), **fixed)
    left = inferred("pln", dataset(Y[group != 2], X[group != 2][:, :2]), **fixed)
    assert found.std_error.isnan().tolist() == [[False, False], [False, False], [False, True]]
    same(found.std_error[:2], left.std_error, 1e-5)
    # In other coordinates the same: the finite coefficients are the first level and the difference of the first two.
    T = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=F)
    turned = inferred("pln", dataset(Y, X @ T), **fixed)
    assert left.covariance is not None
    V = left.covariance[2:, 2:]
    same(turned.std_error[:2, 1], torch.stack([V[0, 0], V[0, 0] + V[1, 1] - 2 * V[0, 1]]).sqrt(), 1e-5)
    assert bool(turned.std_error[2, 1].isnan())


def test_a_feature_without_extra_variance_has_the_robust_errors_of_poisson_regression() -> None:
    data, _, _ = pln_table(80, 3, 2, seed=5)
    g = torch.Generator().manual_seed(1)
    Y = data.Y.clone()
    mean = (2.0 + 0.3 * data.X[:, 1]).exp()
    Y[:, 1] = (mean + torch.rand(80, generator=g).double()).floor()
    result = fitted("pln", dataset(Y, data.X))
    assert result.inference is not None
    assert result.state["poisson_features"].tolist() == [1]
    expected = sm.GLM(Y[:, 1].numpy(), data.X.numpy(), family=sm.families.Poisson()).fit(tol=1e-14)
    h = expected.get_influence(observed=False).hat_matrix_diag
    u = ((expected.resid_response / (1.0 - h))[:, None] * data.X.numpy()) @ expected.normalized_cov_params
    same(result.inference.std_error[:, 1], np.sqrt((u**2).sum(0)))


def poisson_counts(seed: int) -> Dataset:
    """Counts without any variance beyond Poisson, 6 features of mean count 0.4 to 50."""
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(60, 1, dtype=F), torch.randn(60, 1, generator=g, dtype=F)], 1)
    eta = torch.linspace(-1.0, 4.0, 6, dtype=F) + 0.3 * X[:, 1:]
    return dataset(torch.poisson(eta.exp(), generator=g), X)


@pytest.mark.parametrize("covariance", quickly(["full", "diagonal", "spherical"], "diagonal"))
def test_standard_errors_stay_sane_near_a_variance_of_0(covariance: str) -> None:
    """Such features end on the boundary, or just off it, where the logarithm of the variance is all but undetermined.

    There the level's standard error is at most that of negative binomial regression: a variance estimated beside it
    with information n mean²/2 adds 1/(2 mean) of the Poisson variance, to which sampling noise comes.
    """
    for seed in (4, 30, 32, 34):  # where they are off it, at the default tolerance
        data = poisson_counts(seed)
        result = fit(MODELS["pln"].load_model()(covariance=covariance), data, inference=InferenceRule())
        assert result.inference is not None
        for j in range(6):
            plain = sm.GLM(data.Y[:, j].numpy(), data.X.numpy(), family=sm.families.Poisson()).fit()
            ratio = result.inference.std_error[0, j] / plain.bse[0]
            assert 0.5 < float(ratio) < 1.5 * math.sqrt(1.0 + 0.5 / float(data.Y[:, j].mean()))


def log_likelihood(theta: Tensor, y: Tensor, X: Tensor, m: Tensor, s: Tensor) -> Tensor:
    """Of each sample under the true model with one feature, by Gauss-Hermite quadrature around m, on the scale s.

    theta: B and the logarithm of the latent standard deviation.
    """
    nodes, weights = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(60))
    z = m[:, None] + s[:, None] * nodes
    far = (z - (X @ theta[:-1])[:, None]) * (-theta[-1]).exp()
    cells = y[:, None] * z - z.exp() - torch.lgamma(y + 1.0)[:, None] - 0.5 * far.square() - theta[-1]
    return torch.logsumexp(cells + (weights / math.sqrt(2.0 * math.pi)).log() + 0.5 * nodes.square(), 1) + s.log()


@pytest.mark.parametrize("mean", quickly([-1.0, 0.0, 1.0, 3.0], 0.0, 3.0))
def test_one_feature_agrees_with_the_true_likelihood(mean: float) -> None:
    """Against the robust standard errors of maximum likelihood for the coefficients and the variance together.

    The bound has other estimates, a little, with another spread: 9 % for the level of the rarest of these.
    """
    data, _, _ = pln_table(1000, 1, 2, mean=mean)
    result = fitted("pln", data)
    E = result.estimates
    theta = torch.cat([E["B"][:, 0], 0.5 * E["Sigma"][0].log()])

    def each(theta: Tensor) -> Tensor:
        return log_likelihood(theta, data.Y[:, 0], data.X, E["M"][:, 0], E["S"][:, 0])

    for _ in range(10):
        hessian = torch.func.hessian(lambda t: each(t).sum())(theta)
        scores = torch.func.jacfwd(each)(theta)
        theta = theta - torch.linalg.solve(hessian, scores.sum(0))
    V = torch.linalg.solve(hessian, torch.linalg.solve(hessian, scores.mT @ scores).mT)
    assert result.inference is not None
    same(result.inference.std_error[:, 0], V.diagonal()[:2].sqrt(), 0.1 if mean < 0.0 else 0.04)


def test_the_naive_errors_are_smaller_and_say_so() -> None:
    data, _, _ = pln_table(100, 4, 2)
    result = fitted("pln", data, "fisher")
    assert result.inference is not None
    assert bool((result.inference.std_error < 0.7 * inferred("pln", data).std_error).all())
    assert "naive-standard-errors" in [finding.code for finding in result.findings]


def test_oaks_have_an_error_wherever_a_coefficient_is_finite() -> None:
    result = fitted("pln", oaks(tree=True))
    assert result.inference is not None
    assert torch.equal(result.inference.std_error.isnan(), ~torch.isfinite(result.estimates["B"]))
    assert int(result.inference.std_error.isnan().sum()) == 13


def test_none_away_from_the_optimum_and_none_unless_wanted() -> None:
    data, _, _ = pln_table(50, 3, 2)
    ended = fit(MODELS["pln"].load_model()(), data, stop=StopRule(max_iter=1), inference=InferenceRule())
    assert ended.inference is None
    assert "no-standard-errors" in [finding.code for finding in ended.findings]
    assert fit(MODELS["pln"].load_model()(), data).inference is None
    assert fit(MODELS["pln"].load_model()(), data, inference=InferenceRule("none")).inference is None


def test_an_interrupt_leaves_the_fit_without_errors() -> None:
    data, _, _ = pln_table(50, 3, 2)
    result = fit(MODELS["pln"].load_model()(), data)
    model, asked = result.model, []
    prepared = model.prepare(data)
    found = model.uncertainty(result.optimum.params, prepared, "sandwich", 0.0, lambda: bool(asked.append(1)))
    assert asked and found.variance.shape == (2, 3)


# -- contrasts and joint tests -----------------------------------------------------------------------------------------

C, VALUE = torch.tensor([0.5, -1.0, 0.01, 0.0], dtype=F), 0.25
ROWS, VALUES = torch.tensor([[0.0, 1, 0, 0], [0, 1, 100, -1], [0, 2, 100, -1]], dtype=F), torch.tensor([0.1, 0, 0.1])
NAMES = ("std_error", "statistic", "p_value", "conf_low", "conf_high")


@pytest.mark.parametrize("method", ["fisher", "hc0"])
@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_contrasts_and_joint_tests_equal_statsmodels(model: str, method: str) -> None:
    """The third row of the joint test is the sum of the first two."""
    Y, X = table()
    Y = Y if model == "linear" else (Y > 0.5).double()
    result = fitted(model, dataset(Y, X), method)
    found, B = result.inference, result.estimates["B"]
    assert found is not None
    for j in range(2):
        kind = "nonrobust" if method == "fisher" else "HC0"
        if model == "linear":
            expected = sm.OLS(Y[:, j].numpy(), X.numpy()).fit(cov_type=kind)
        else:
            expected = sm.GLM(Y[:, j].numpy(), X.numpy(), family=sm.families.Binomial()).fit(tol=1e-14, cov_type=kind)
        one = contrast_test(B, found.blocks, C, VALUE, found.df, 0.9)
        referee = expected.t_test((C.numpy(), VALUE))
        low, high = referee.conf_int(0.1)[0]
        wanted = (referee.sd.item(), referee.tvalue.item(), referee.pvalue.item(), low, high)
        same([getattr(one, name)[j] for name in NAMES], wanted)
        same(one.estimate[j], referee.effect[0])
        several = joint_test(B, found.blocks, ROWS[:2], VALUES[:2].double(), found.df)
        referee = expected.wald_test((ROWS[:2].numpy(), VALUES[:2].numpy()), scalar=True, use_f=math.isfinite(found.df))
        same([several.statistic[j], several.p_value[j]], [referee.statistic, referee.pvalue])
        assert several.df.tolist() == [2.0, 2.0]
        again = joint_test(B, found.blocks, ROWS, VALUES.double(), found.df)
        same(again.statistic, several.statistic)
        assert again.df.tolist() == [2.0, 2.0]
    assert one.kind + several.kind == ("tF" if math.isfinite(found.df) else "zchi2")


def test_a_joint_test_of_one_row_is_the_square_of_its_contrast() -> None:
    data, _, _ = pln_table(60, 4, 3)
    result = fitted("pln", data)
    found, B = result.inference, result.estimates["B"]
    assert found is not None
    one = contrast_test(B, found.blocks, C[:3], VALUE, math.inf, 0.95)
    joint = joint_test(B, found.blocks, C[None, :3], torch.tensor([VALUE], dtype=F), math.inf)
    same(joint.statistic, one.statistic.square())
    same(joint.p_value, one.p_value, 1e-9)
    same(joint.q_value, one.q_value, 1e-9)


def test_pln_contrasts_follow_from_the_whole_covariance() -> None:
    """All features at once: L V L' with V (p·d)×(p·d), read off by feature."""
    result = fitted("pln", oaks(tree=True))
    found, B = result.inference, result.estimates["B"]
    assert found is not None and found.covariance is not None
    weights = torch.tensor([0.0, 1.0, -1.0], dtype=F)
    one = contrast_test(B, found.blocks, weights, 0.0, math.inf, 0.95)
    p = B.shape[1]
    V = found.covariance.nan_to_num(0.0)
    L = torch.kron(torch.eye(p, dtype=F), weights[None])
    known = torch.isfinite(B[1:]).all(0)
    same(one.std_error[known], (L @ V @ L.mT).diagonal().sqrt()[known])
    same(one.estimate[known], (B[1] - B[2])[known])
    assert torch.equal(one.std_error.isnan(), ~known)
    levels = torch.tensor([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]], dtype=F)
    joint = joint_test(B, found.blocks, levels, torch.zeros(2, dtype=F), math.inf)
    for j in (3, 17):
        own = found.covariance[3 * j : 3 * j + 3, 3 * j : 3 * j + 3]
        delta = levels @ B[:, j]
        same(joint.statistic[j], delta @ torch.linalg.solve(levels @ own @ levels.mT, delta))


def test_what_has_no_test_says_why_and_gets_no_number() -> None:
    inf = math.inf
    B = torch.tensor([[-inf, 1.0, 1.0, -inf, 1.0], [0.0, 1.0, 2.0, -inf, 2.0]], dtype=F)
    blocks = torch.eye(2, dtype=F).repeat(5, 1, 1)
    blocks[0, 0] = blocks[0, :, 0] = math.nan
    blocks[3] = math.nan
    blocks[1, 1] = blocks[1, :, 1] = math.nan
    blocks[4] = 1.0  # both estimates rest on the same chance: their difference has none
    difference = torch.tensor([1.0, -1.0], dtype=F)
    found = contrast_test(B, blocks, difference, 0.0, inf, 0.95)
    assert found.reasons == (NO_ESTIMATE, NO_ERROR, "", NO_ESTIMATE, NO_VARIANCE)
    assert found.estimate[[0, 2]].tolist() == [-inf, -1.0]
    assert bool(found.estimate[[1, 3, 4]].isnan().all())
    for name in (*NAMES, "q_value", "df"):
        assert getattr(found, name).isnan().tolist() == [True, True, False, True, True]
    joint = joint_test(B, blocks, difference[None], torch.zeros(1, dtype=F), inf)
    assert joint.reasons == found.reasons
    assert joint.p_value.isnan().tolist() == [True, True, False, True, True]
    untouched = contrast_test(B, blocks, torch.tensor([0.0, 1.0], dtype=F), 0.0, inf, 0.95)
    assert untouched.reasons == ("", NO_ERROR, "", NO_ESTIMATE, "")


def few_of_the_oaks() -> Dataset:
    """Four frequent features, and one that is never counted on some kind of tree."""
    data = oaks(tree=True)
    groups = torch.unique(data.X, dim=0, return_inverse=True)[1]
    seen = torch.stack([data.Y[groups == g].sum(0) for g in range(3)]).amin(0) > 0
    chosen = [*data.Y.sum(0).argsort(descending=True)[:4].tolist(), int((~seen).nonzero()[0, 0])]
    return data.among(torch.arange(data.d), torch.tensor(chosen))


METHODS = [
    pytest.param(model, method, marks=pytest.mark.slow if method in ("bootstrap", "jackknife") else ())
    for model, spec in MODELS.items()
    for method in spec.se_methods
    if method != "none" and (method != "auto" or spec.standard_errors)
]


@pytest.mark.parametrize(("model", "method"), METHODS)
def test_blocks_are_those_of_the_whole_covariance(model: str, method: str) -> None:
    """One feature has a coefficient at -inf (pln), or is separated (logistic): its rows and columns are empty."""
    counts = MODELS[model].response.name == "counts"
    if counts and (method in RESAMPLING or model != "pln"):  # of a few features: they are fitted again and again
        data = few_of_the_oaks()
    elif counts:
        data = oaks(tree=True)
    else:
        Y, X = table()
        X = torch.cat([X, (torch.arange(80) < 5).double()[:, None]], 1)
        Y = Y if model == "linear" else torch.where(X[:, 4:] > 0, 1.0, (Y > 0.5).double())
        data = dataset(Y, X)
    found = inferred(model, data, method, resamples=40)
    assert found.covariance is not None
    p, d = data.p, data.d
    V = found.covariance.view(p, d, p, d).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    gone = found.std_error.mT.isnan()
    assert bool(gone.any()) == (model != "linear")
    np.testing.assert_allclose(found.blocks, V, rtol=1e-9, atol=1e-12 * float(V.nan_to_num().abs().max()))
    assert torch.equal(found.blocks.isnan(), gone[:, :, None] | gone[:, None, :])
    np.testing.assert_array_equal(found.blocks.diagonal(dim1=1, dim2=2).sqrt().mT, found.std_error)


def simulated(n: int, B: Tensor, units: Tensor, seed: int) -> Dataset:
    """Counts from the model with coefficients B (3×p) of an intercept and two covariates in their units (3,)."""
    p = B.shape[1]
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, generator=g, dtype=F)
    X[:, 0] = 1.0
    X = X * units
    Z = X @ B + torch.randn(n, p, generator=g, dtype=F) @ torch.linalg.cholesky(toeplitz(p)).mT
    return dataset(torch.poisson(Z.exp(), generator=g), X)


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100])
def test_intervals_cover(n: int) -> None:
    """200 data sets with 5 features: 95 % intervals, by term, and all together, within four Monte Carlo errors."""
    units = torch.tensor([1.0, 0.1, 3.0], dtype=F)
    B = torch.tensor([2.0, 3.0, 0.1], dtype=F)[:, None].expand(3, 5)
    hits = torch.zeros(3, 5, dtype=F)
    for seed in range(200):
        found = inferred("pln", simulated(n, B, units, seed), vcov=False)
        hits += (found.conf_low < B) & (found.conf_high > B)
    share = hits / 200
    # A term has 1000 intervals, correlated between features: 0.7 to 1.5 %; the terms are all but independent.
    assert bool(((share.mean(1) > 0.91) & (share.mean(1) < 0.99)).all()), share
    assert 0.935 < float(share.mean()) < 0.97


@pytest.mark.slow
def test_standard_errors_are_the_spread_of_the_estimates() -> None:
    """Also of the level of features with a count in every third sample, which rests on their variance too."""
    B = torch.tensor([[-1.4, 2.0, -1.4, 2.0], [0.3, -0.3, 0.3, 0.0], [0.0, 0.3, -0.3, 0.0]], dtype=F)
    units = torch.ones(3, dtype=F)
    found = [fitted("pln", simulated(400, B, units, seed), vcov=False) for seed in range(300)]
    spread = torch.stack([r.estimates["B"] for r in found]).std(0)
    claimed = torch.stack([r.inference.std_error for r in found if r.inference is not None]).mean(0)
    ratio = (claimed / spread)[:, [0, 2, 1, 3]].view(3, 2, 2).mean(2)  # rare, common
    # A spread from 300 data sets is 4 % off, the mean of two 3 %.
    assert bool(((ratio > 0.91) & (ratio < 1.12)).all()), ratio


def test_what_is_testable_is_tested() -> None:
    """Coefficients without estimate or standard error are left out: the test is that of the others alone."""
    rng = torch.Generator().manual_seed(7)
    A = torch.randn(3, 4, 4, generator=rng, dtype=torch.float64)
    B, blocks = torch.randn(4, 3, generator=rng, dtype=torch.float64), A @ A.mT
    zero, values = torch.eye(4, dtype=torch.float64)[1:], torch.zeros(3, dtype=torch.float64)
    whole, part = joint_test(B, blocks, zero, values, math.inf), joint_test(B, blocks, zero[:2], values[:2], math.inf)
    broken, holes = B.clone(), blocks.clone()
    broken[3, 0] = -math.inf
    for j in (0, 1):
        holes[j, 3, :] = holes[j, :, 3] = math.nan
    found = joint_test(broken, holes, zero, values, math.inf)
    assert found.df.tolist() == [2, 2, 3] and found.reasons == ("", "", "")
    assert found.left_out == ((3,), (3,), ()) and whole.left_out == ((), (), ())
    torch.testing.assert_close(found.statistic, torch.stack([*part.statistic[:2], whole.statistic[2]]))
    broken[1:, 2] = math.inf
    none = joint_test(broken, holes, zero, values, math.inf)
    assert none.reasons[2] and none.left_out[2] == () and math.isnan(none.p_value[2])


def test_equal_levels_are_testable_whichever_is_left_out() -> None:
    """Differences from the first mean: without it, those of the others are compared, however they are written."""
    rng = torch.Generator().manual_seed(8)
    A = torch.randn(1, 4, 4, generator=rng, dtype=torch.float64)
    B, blocks = torch.randn(4, 1, generator=rng, dtype=torch.float64), A @ A.mT
    differences = torch.eye(4, dtype=torch.float64)[1:] - torch.eye(4, dtype=torch.float64)[0]
    values = torch.zeros(3, dtype=torch.float64)
    for gone in range(4):
        rest = [k for k in range(4) if k != gone]
        broken, holes = B.clone(), blocks.clone()
        broken[gone] = -math.inf
        holes[:, gone, :] = holes[:, :, gone] = math.nan
        found = joint_test(broken, holes, differences, values, 20.0)
        own = torch.eye(3, dtype=torch.float64)[1:] - torch.eye(3, dtype=torch.float64)[0]
        wanted = joint_test(B[rest], blocks[:, rest][:, :, rest], own, values[:2], 20.0)
        torch.testing.assert_close(found.statistic, wanted.statistic)
        assert found.df.tolist() == [2] and found.left_out == ((gone,),)
