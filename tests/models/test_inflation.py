"""Zero inflation: cells, derivatives, the boundary pi = 0, floors, truths, and what a fit answers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
import tries
from scipy import integrate, stats
from tables import oaks
from torch import Tensor
from tries import quickly

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.fitting.revision import followed
from plncli.inference.wald import InferenceRule
from plncli.models.inflation.active import without
from plncli.models.inflation.cells import NODES, Nodes, ZeroCells, losses
from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.finished import mixed
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.joint import Joint
from plncli.models.pln.model import PLN
from plncli.models.pln.start import start
from plncli.models.pln.variational_step import Samples, variational_step
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.results import FitResult

KINDS = ("single", "feature", "sample")


def table(
    n: int, p: int, depth: float, pi: float | Tensor, seed: int, sd: float = 0.8
) -> tuple[Dataset, Tensor, Tensor]:
    """Counts with structural zeros, Sigma, and which of the zeros are structural."""
    g = torch.Generator().manual_seed(seed)
    L = torch.randn(p, p, generator=g, dtype=torch.float64) / math.sqrt(p)
    Sigma = sd**2 * 0.5 * (L @ L.mT + torch.eye(p, dtype=torch.float64))
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.stack([math.log(depth) - 0.5 * Sigma.diagonal(), 0.3 * torch.randn(p, generator=g).double()])
    Z = X @ B + torch.randn(n, p, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    gone = torch.rand(n, p, generator=g, dtype=torch.float64) < pi
    Y = torch.poisson(Z.exp(), generator=g).masked_fill(gone, 0.0)
    return Dataset(Y, X, torch.zeros(n, 1).double(), torch.ones(n).double()), Sigma, gone


@cache
def fitted(kind: str, pi: float = 0.3, depth: float = 20.0, covariance: str = "full") -> FitResult:
    return fit(PLN(covariance, zero_inflation=kind), table(120, 8, depth, pi, 5)[0])


# Cells


@pytest.mark.parametrize("z", [-12.0, -3.0, 0.0, 4.0])
@pytest.mark.parametrize(("eta", "s"), [(-3.0, 0.4), (0.5, 1.0), (3.0, 0.7), (6.0, 0.05)])
def test_a_zero_costs_what_quadrature_says(z: float, eta: float, s: float) -> None:
    def integrand(e: float) -> float:
        return stats.norm.pdf(e) * np.logaddexp(z, -math.exp(eta + s * e))

    wanted = -integrate.quad(integrand, -9, 9, limit=500, epsabs=1e-11)[0]
    one = torch.ones(1, dtype=torch.float64)
    found = losses(eta * one, s * one, z * one, Nodes.of(80, one))
    assert float(found) == pytest.approx(wanted, abs=5e-4)
    assert float(ZeroCells(eta * one, s * one, z * one, Nodes.of(80, one)).loss) == pytest.approx(
        float(found), abs=1e-12
    )


def test_derivatives_of_zeros_are_those_of_the_sum_over_nodes() -> None:
    g = torch.Generator().manual_seed(0)
    eta, z, deta, ds2, dz = (torch.randn(40, generator=g, dtype=torch.float64) for _ in range(5))
    s2 = torch.rand(40, generator=g, dtype=torch.float64) + 0.1
    nodes = Nodes.of(20, eta)

    def slopes(t: float) -> tuple[Tensor, Tensor, Tensor]:
        moved = [(x + t * d).requires_grad_() for x, d in ((eta, deta), (s2, ds2), (z, dz))]
        value = losses(moved[0], moved[1].sqrt(), moved[2], nodes).sum()
        return torch.autograd.grad(value, moved)  # type: ignore[return-value]

    at = ZeroCells(eta, s2.sqrt(), z, nodes)
    torch.testing.assert_close((at.sums.slope, 0.5 * at.second), slopes(0.0)[:2], rtol=1e-10, atol=1e-12)
    h = 1e-5
    wanted = [(up - down) / (2.0 * h) for up, down in zip(slopes(h), slopes(-h), strict=True)]
    dslope, dsecond, dlogit = at.turn(deta, ds2, dz)
    torch.testing.assert_close([dslope, 0.5 * dsecond, dlogit], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [*KINDS, "covariates"])
@pytest.mark.parametrize("boundary", [False, True])
def test_derivatives_of_the_bound(kind: str, boundary: bool) -> None:
    data = replace(
        table(12, 4, 2.0, 0.3, 1)[0], w=torch.rand(12, generator=torch.Generator().manual_seed(2)).double() + 0.5
    )
    model = PLN(zero_inflation=kind if kind in KINDS else "feature")
    prepared = model.prepare(data)
    if kind not in KINDS:
        weights = data.w[:, None].expand_as(data.Y)
        prepared = replace(prepared, inflation=Inflation.of(kind, weights, data.X))
    if boundary:
        prepared = replace(prepared, latent=torch.tensor([0, 2]), poisson=torch.tensor([1, 3]))
    g = torch.Generator().manual_seed(3)
    at = {k: x + 0.1 * torch.randn(x.shape, generator=g).double() for k, x in model.start(prepared).items()}
    v = {k: torch.randn(x.shape, generator=g).double() for k, x in at.items()}
    moved = lambda h: {k: at[k] + h * v[k] for k in at}  # noqa: E731
    h = 1e-5
    slope = sum(float((x * v[k]).sum()) for k, x in model.at(at, prepared).gradient().items())
    rise = (float(model.objective(moved(h), prepared)) - float(model.objective(moved(-h), prepared))) / (2.0 * h)
    assert rise == pytest.approx(slope, rel=1e-6)
    up, down = (model.at(moved(t), prepared).gradient() for t in (h, -h))
    for k, turned in model.at(at, prepared).product(v).items():
        torch.testing.assert_close(turned, (up[k] - down[k]) / (2.0 * h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_bound_is_the_plain_one(kind: str) -> None:
    model, data = PLN(zero_inflation=kind), table(15, 3, 2.0, 0.3, 4)[0]
    prepared = model.prepare(data)
    params = {name: tensor.requires_grad_() for name, tensor in model.plain_start(prepared).items()}
    value = model.plain_objective(params, prepared)
    at = model.at(model.start(prepared), prepared)
    assert float(at.value) == pytest.approx(float(value.detach()), rel=1e-13)
    M, psi, zeta = torch.autograd.grad(value, list(params.values()))
    gradient = at.gradient()
    torch.testing.assert_close(gradient["q"], torch.stack([M, psi]))
    torch.testing.assert_close(gradient["zeta"], zeta)


# Optima


@pytest.mark.slow  # three fits of the oaks
def test_the_oaks_end_where_they_are_known_to() -> None:
    """Bounds that other starts and other programs' optimizers were certified at, no better one being known."""
    plain = fit(PLN(), oaks()).criteria.loglik
    for kind, floor in (("single", -32025.991), ("feature", -32020.69), ("sample", -32020.02)):
        result = fit(PLN(zero_inflation=kind), oaks())
        assert result.converged and result.criteria.loglik >= max(floor, plain)


@pytest.mark.parametrize("depth", [3.0, 100.0])
@pytest.mark.parametrize("pi", quickly([0.1, 0.3, 0.6], 0.3))
def test_probabilities_are_recovered(pi: float, depth: float) -> None:
    data = table(300, 10, depth, pi, 7)[0]
    result = fit(PLN(zero_inflation="single"), data)
    found = float(result.state["zeta_all"].sigmoid())
    tolerance = 4.0 * math.sqrt(pi * (1.0 - pi) / (300 * 10)) + (0.05 if depth < 10 else 0.0)
    assert result.converged and found == pytest.approx(pi, abs=tolerance)


def test_each_feature_has_its_own_probability() -> None:
    pi = torch.tensor([0.0, 0.1, 0.2, 0.4, 0.6, 0.05], dtype=torch.float64)
    result = fit(PLN(zero_inflation="feature"), table(400, 6, 50.0, pi, 8)[0])
    torch.testing.assert_close(result.state["zeta_response"].sigmoid(), pi, rtol=0, atol=0.06)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pi", quickly([0.0, 0.2], 0.2))
def test_the_bound_is_never_below_that_without_structural_zeros(kind: str, pi: float) -> None:
    for depth in (1.0, 30.0) if tries.ALL else (1.0,):
        data = table(50, 6, depth, pi, 9, sd=1.5)[0]
        plain, inflated = fit(PLN(), data), fit(PLN(zero_inflation=kind), data)
        assert inflated.criteria.loglik >= plain.criteria.loglik - 2e-6 * data.n


def test_without_zeros_there_is_nothing_to_inflate() -> None:
    data = table(60, 4, 400.0, 0.0, 10, sd=0.3)[0]
    assert float(data.Y.min()) > 0
    plain, inflated = fit(PLN(), data), fit(PLN(zero_inflation="feature"), data)
    assert bool(inflated.state["zeta_response"].isneginf().all())
    assert inflated.criteria.loglik == pytest.approx(plain.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(inflated.estimates["B"], plain.estimates["B"], rtol=0, atol=1e-4)


def test_an_excess_of_zeros_is_no_longer_taken_for_variance() -> None:
    data, Sigma, _ = table(300, 6, 60.0, 0.3, 11)
    plain, inflated = fit(PLN(), data), fit(PLN(zero_inflation="single"), data)
    assert float((inflated.estimates["Sigma"] - Sigma).abs().max()) < 0.25
    assert float(plain.estimates["Sigma"].diagonal().min()) > 2.0 * float(Sigma.diagonal().max())
    assert inflated.criteria.loglik > plain.criteria.loglik + 100.0


@pytest.mark.parametrize(
    ("kind", "covariance"),
    quickly(
        product(KINDS, ("full", "diagonal", "spherical")), *zip(KINDS, ("spherical", "full", "diagonal"), strict=True)
    ),
)
def test_every_structure_takes_structural_zeros(kind: str, covariance: str) -> None:
    data = table(60, 5, 8.0, 0.25, 12)[0]
    K = torch.rand(60, 5, generator=torch.Generator().manual_seed(1)) > 0.1
    result = fit(PLN(covariance, zero_inflation=kind), replace(data, K=K))
    assert result.converged
    probability = result.estimates["P0"]
    assert bool(((probability >= 0) & (probability <= 1)).all())
    assert float(probability[K & (data.Y > 0)].abs().max()) == 0.0


def test_weights_are_repetitions() -> None:
    data = table(40, 4, 6.0, 0.3, 13)[0]
    twice = Dataset(*(torch.cat([x, x[:20]]) for x in (data.Y, data.X, data.O, data.w)))
    weighted = replace(data, w=torch.cat([torch.full((20,), 2.0), torch.ones(20)]).double())
    a, b = (fit(PLN(zero_inflation="feature"), each, stop=StopRule(tol=1e-9)) for each in (twice, weighted))
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(a.state["zeta_response"], b.state["zeta_response"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("optimizer", quickly(["lbfgs", "vem"], "lbfgs"))
def test_other_optimizers_end_there_too(optimizer: str) -> None:
    from plncli.optim import OPTIMIZERS

    data = table(60, 5, 20.0, 0.3, 14)[0]
    model = PLN(zero_inflation="feature")
    best, other = fit(model, data), fit(model, data, OPTIMIZERS[optimizer]())
    assert other.converged and other.criteria.loglik == pytest.approx(best.criteria.loglik, abs=1e-2)


# What a fit answers


def known(result: FitResult) -> FittedPLN:
    fitted_ = result.fitted
    assert isinstance(fitted_, FittedPLN)
    return fitted_


@pytest.mark.parametrize("kind", quickly(KINDS, "feature"))
def test_the_samples_of_the_fit_come_out_as_in_the_fit(kind: str) -> None:
    result = fitted(kind)
    data, K = result.data, torch.ones_like(result.data.Y, dtype=torch.bool)
    q = known(result).transform(data.X, data.O, data.Y, K)
    torch.testing.assert_close(q.mean, result.estimates["M"], rtol=0, atol=2e-3)
    told = known(result).fitted_values(data.X, data.O, data.Y, K).columns["zero_probability"]
    torch.testing.assert_close(told, result.estimates["P0"], rtol=0, atol=2e-3)


def test_structural_zeros_are_told_from_others() -> None:
    data, _, gone = table(120, 8, 20.0, 0.3, 5)
    zero = data.Y == 0
    probability = fitted("single").estimates["P0"][zero]
    right = ((probability > 0.5) == gone[zero]).double().mean()
    assert float(right) > 0.9
    # calibrated: as many structural zeros as their probabilities add up to
    expected, sd = float(probability.sum()), float((probability * (1 - probability)).sum().sqrt())
    assert abs(float(gone[zero].sum()) - expected) < 5.0 * max(sd, 3.0)


def test_the_variational_step_ends_at_a_minimum() -> None:
    result = fitted("single")
    data, fit_ = result.data, known(result)
    Omega, C = torch.linalg.inv(result.estimates["Sigma"]), data.X @ fit_.B
    Z = fit_.own_logits(data.n)
    K = torch.ones_like(data.Y)
    step = variational_step(data.Y, K, data.O, C, Omega, Z=Z, nodes=40)
    assert bool(step.converged.all())
    from plncli.numerics.covariance import as_precision

    at = Samples(data.Y, K, data.O.expand_as(C), C, as_precision(Omega), Z, Nodes.of(40, C))
    value, g = at.value(step.M, 2.0 * step.S.log()), torch.Generator().manual_seed(0)
    for _ in range(20):
        dM, dpsi = (1e-3 * torch.randn(C.shape, generator=g, dtype=torch.float64) for _ in range(2))
        assert bool((at.value(step.M + dM, 2.0 * step.S.log() + dpsi) > value - 1e-9).all())


def test_expectations_are_those_of_draws() -> None:
    fit_, g = known(fitted("feature")), torch.Generator().manual_seed(0)
    X = torch.tensor([[1.0, 0.2]], dtype=torch.float64).expand(40_000, 2)
    O = torch.zeros(40_000, 1, dtype=torch.float64)
    drawn = fit_.simulate(X, O, g).Y
    told = fit_.predict(X[:1], O[:1], ("prediction",), 0.9).columns
    error = 5.0 * drawn.std(0) / math.sqrt(len(drawn))
    assert bool(((drawn.mean(0) - told["marginal"][0]).abs() < error).all())
    inside = ((drawn >= told["pred_low"]) & (drawn <= told["pred_high"])).double().mean(0)
    assert bool((inside > 0.89).all())
    below = (drawn < told["pred_low"]).double().mean(0)
    assert bool((below < 0.06).all())


def test_residuals_and_zeros_are_as_the_model_says() -> None:
    result = fitted("single")
    diagnosis = known(result).diagnose(result.data, 0, torch.Generator().manual_seed(0))
    assert not diagnosis.facts["zeros"]["poor_features"]
    assert diagnosis.facts["zeros"]["expected"] == pytest.approx(diagnosis.facts["zeros"]["share"], abs=0.02)
    assert abs(diagnosis.facts["residuals"]["sd"] - 1.0) < 0.1


def test_the_bound_lies_below_the_likelihood() -> None:
    result = fitted("single")
    fit_ = known(result)
    bounds = fit_.bounds(result.data)
    assert float(bounds.sum()) == pytest.approx(result.criteria.loglik, abs=1e-3)
    scored = fit_.score_samples(
        result.data.X, result.data.O, result.data.Y, torch.ones_like(result.data.Y, dtype=torch.bool)
    )
    torch.testing.assert_close(scored.loglik, bounds, rtol=0, atol=1e-3)
    found = fit_.likelihood(result.data, 2000, torch.Generator().manual_seed(0))
    assert bool((found.value > bounds - 4.0 * found.error).all())
    assert float(found.khat.median()) < 0.7


def test_the_likelihood_of_independent_features_is_that_of_quadrature() -> None:
    result = fitted("feature", covariance="diagonal")
    fit_, data = known(result), result.data
    found = fit_.likelihood(data, 0, torch.Generator().manual_seed(0))
    mean, variance = data.X @ fit_.B, fit_.latent.variances
    pi = result.state["zeta_response"].sigmoid()
    i = 3
    logs = []
    for j in range(8):
        y, m, s = float(data.Y[i, j]), float(mean[i, j]), math.sqrt(float(variance[j]))
        density = lambda e, m=m, s=s, y=y: stats.norm.pdf(e) * stats.poisson.pmf(y, math.exp(m + s * e))  # noqa: E731
        integral = integrate.quad(density, -9, 9, limit=400)[0]
        logs.append(math.log((1 - float(pi[j])) * integral + float(pi[j]) * (y == 0)))
    assert float(found.value[i]) == pytest.approx(sum(logs), abs=1e-5)


def test_mixed_probabilities_sum_to_one() -> None:
    y = torch.arange(400, dtype=torch.float64)[:, None]
    logp = poisson_lognormal_logpmf(y, torch.tensor(1.0).double(), torch.tensor(0.5).double())
    for z in (-math.inf, -2.0, 3.0):
        total = mixed(y, logp, torch.full_like(logp, z)).exp().sum()
        assert float(total) == pytest.approx(1.0, abs=1e-6)


def test_hidden_cells_are_scored_as_the_mixture_says() -> None:
    data = table(120, 8, 20.0, 0.3, 5)[0]
    hidden = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(3)) < 0.1
    seen = replace(data, K=~hidden, Y=torch.where(hidden, 0.0, data.Y))
    scores = [
        float(fit(PLN(zero_inflation=kind), seen).fitted.score_cells(seen, data.Y, hidden).loglik.sum())  # type: ignore[attr-defined]
        for kind in ("none", "single")
    ]
    assert scores[1] > scores[0] + 10.0


# On its way


def test_a_fit_that_is_cut_short_goes_on_to_the_same_bits() -> None:
    from plncli.optim.base import State

    data, model = table(60, 6, 10.0, 0.3, 15)[0], PLN(zero_inflation="feature")
    whole = fit(model, data)
    states: list[State] = []
    fit(
        model,
        data,
        offer=lambda state: states.append(
            State({k: t.clone() for k, t in state.tensors.items()}, state.facts, state.trace)
        ),
    )
    for state in (states[0], states[len(states) // 2], states[-1]):
        again = fit(model, data, state=state)
        for name, tensor in whole.estimates.items():
            assert torch.equal(again.estimates[name].nan_to_num(), tensor.nan_to_num())


def test_a_warm_start_keeps_the_optimum() -> None:
    result = fitted("feature")
    init = {**result.estimates, **result.state}
    again = fit(PLN(zero_inflation="feature"), result.data, init=init)
    assert again.optimum.steps <= 2
    assert again.criteria.loglik == pytest.approx(result.criteria.loglik, abs=1e-3)


def test_more_nodes_change_nothing() -> None:
    result = fitted("single")
    model = PLN(zero_inflation="single")
    prepared = model.prepare(result.data)
    params = {
        "q": torch.stack([result.estimates["M"], 2.0 * result.estimates["S"].log()]),
        "zeta": result.state["zeta_all"].reshape(1, 1),
    }
    values = [float(Joint(params, replace(prepared, nodes=nodes)).value) for nodes in (80, 160)]
    assert values[0] == pytest.approx(values[1], abs=1e-5 * result.data.n)


def test_nodes_are_as_fine_as_many_of_hermite() -> None:
    """Where a zero is in doubt: 44 equidistant nodes against 160 of Gauss and Hermite."""
    x, weight = np.polynomial.hermite_e.hermegauss(160)
    g = torch.Generator().manual_seed(4)
    eta, z = (k * torch.randn(200, generator=g, dtype=torch.float64) for k in (3.0, 1.5))
    s = 0.1 + 1.4 * torch.rand(200, generator=g, dtype=torch.float64)
    rate = (eta[:, None] + s[:, None] * torch.from_numpy(x)).clamp(max=50.0).exp()
    wanted = -torch.logaddexp(z[:, None], -rate) @ torch.from_numpy(weight / weight.sum())
    nodes = Nodes.of(NODES, eta)
    assert float(nodes.omega.sum()) == pytest.approx(1.0) and float(nodes.omega @ nodes.e**2) == pytest.approx(1.0)
    torch.testing.assert_close(ZeroCells(eta, s, z, nodes).loss, wanted, rtol=0, atol=2e-4)


def test_other_logits_have_the_chances_that_cells_there_have() -> None:
    g = torch.Generator().manual_seed(5)
    eta, z, other = (torch.randn(30, generator=g, dtype=torch.float64) for _ in range(3))
    nodes, s = Nodes.of(NODES, eta), torch.rand(30, generator=g, dtype=torch.float64) + 0.1
    moved = ZeroCells(eta, s, other, nodes)
    torch.testing.assert_close(ZeroCells(eta, s, z, nodes).structural_at(other), moved.sums.structural)


@pytest.mark.parametrize("pi", [0.0, 0.4])
def test_a_start_with_structural_zeros_is_found_where_the_other_leads_nowhere(pi: float) -> None:
    """Latent variances that have taken the zeros in: from there alone, hardly a probability would enter."""
    data = table(60, 40, 60.0, pi, 3, sd=2.0)[0]
    model = PLN(zero_inflation="single")
    prepared = model.prepare(data)
    alone = followed(model, without(prepared), start(prepared), NewtonCG(), StopRule())[2]
    assert fit(model, data).criteria.loglik >= -alone.value - 2e-6 * data.n


# Standard errors


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_without_structural_zeros_standard_errors_are_those_of_the_plain_model(covariance: str) -> None:
    data = table(60, 4, 300.0, 0.0, 16, sd=0.3)[0]
    plain, inflated = (
        fit(PLN(covariance, zero_inflation=kind), data, stop=StopRule(tol=1e-10), inference=InferenceRule())
        for kind in ("none", "feature")
    )
    assert bool(inflated.state["zeta_response"].isneginf().all())
    assert plain.inference is not None and inflated.inference is not None
    torch.testing.assert_close(inflated.inference.std_error, plain.inference.std_error, rtol=1e-6, atol=0)
    assert bool(inflated.inference.beside["zeta_response_se"].isnan().all())


@pytest.mark.slow  # as many fits as samples, twice
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [2.0, 20.0])
def test_standard_errors_are_those_of_the_jackknife(kind: str, depth: float) -> None:
    """Of coefficients by the program's own jackknife, of logits by leaving samples out here."""
    data = table(50, 2 if kind != "sample" else 6, depth, 0.3, 17)[0]
    model = PLN(zero_inflation=kind)
    result = fit(model, data, inference=InferenceRule())
    jackknife = fit(model, data, inference=InferenceRule("jackknife"))
    assert result.inference is not None and jackknife.inference is not None
    ratio = result.inference.std_error / jackknife.inference.std_error
    assert bool(((ratio > 0.85) & (ratio < 1.15)).all())
    if kind == "sample":
        return
    symbol = {"single": "zeta_all", "feature": "zeta_response"}[kind]
    init, left = {**result.estimates, **result.state}, []
    for i in range(data.n):
        rest = torch.arange(data.n) != i
        some = Dataset(data.Y[rest], data.X[rest], data.O[rest], data.w[rest])
        of_rest = {name: init[name][rest] if name in ("M_finite", "S") else init[name] for name in init}
        left.append(fit(model, some, init=of_rest).state[symbol])
    spread = torch.stack(left)
    wanted = ((spread - spread.mean(0)).square().sum(0) * (data.n - 1) / data.n).sqrt()
    found = result.inference.beside[f"{symbol}_se"]
    well = wanted < 1.0  # beyond that the estimate itself is next to the boundary
    assert bool(((found / wanted)[well] > 0.75).all() and ((found / wanted)[well] < 1.25).all())


@pytest.mark.slow
def test_intervals_cover() -> None:
    """95 % of the slopes, and of the logit, in 120 tables of 100 samples."""
    B, inside, of_logit = None, [], []
    for seed in range(120):
        g = torch.Generator().manual_seed(1000 + seed)
        X = torch.cat([torch.ones(100, 1), torch.randn(100, 1, generator=g)], 1).double()
        B = torch.tensor([[2.0, 1.5, 2.5, 1.0], [0.3, -0.3, 0.0, 0.5]], dtype=torch.float64)
        Z = X @ B + 0.7 * torch.randn(100, 4, generator=g, dtype=torch.float64)
        Y = torch.poisson(Z.exp(), generator=g).masked_fill(torch.rand(100, 4, generator=g) < 0.3, 0.0)
        data = Dataset(Y, X, torch.zeros(100, 1).double(), torch.ones(100).double())
        found = fit(PLN(zero_inflation="single"), data, inference=InferenceRule()).inference
        assert found is not None
        inside.append((found.conf_low <= B) & (found.conf_high >= B))
        truth = math.log(0.3 / 0.7)
        of_logit.append(float(found.beside["zeta_all_low"]) <= truth <= float(found.beside["zeta_all_high"]))
    slopes = torch.stack(inside)[:, 1].double().mean()
    assert 0.92 < float(slopes) < 0.98
    assert 0.89 < float(np.mean(of_logit)) <= 1.0


@pytest.mark.parametrize("kind", ["single", "feature", "sample"])
@pytest.mark.parametrize("n", [1, 40])
def test_a_table_of_one_feature_without_a_latent_layer(kind: str, n: int) -> None:
    """Its variance ends at 0, and no cell is left of which the latent layer knows."""
    ones = torch.ones(n, 1).double()
    data = Dataset(5.0 * ones, ones, 0.0 * ones, ones[:, 0])
    plain, inflated = (fit(PLN("spherical", zero_inflation=each), data) for each in ("none", kind))
    assert inflated.converged
    assert inflated.criteria.loglik >= plain.criteria.loglik - 4e-6 * n
