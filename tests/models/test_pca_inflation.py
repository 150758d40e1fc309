"""Zero inflation of low rank: derivatives of the profile, floors, truths, and what a fit answers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
import tries
from scipy import optimize
from tables import oaks
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.findings import Finding
from plncli.models.inflation.cells import Nodes
from plncli.models.pca import posterior as posterior_module
from plncli.models.pca.cells import Doubtful, Loadings, Samples
from plncli.models.pca.curvature import Curvature
from plncli.models.pca.fitted import FittedPCA
from plncli.models.pca.model import PCA
from plncli.models.pca.posterior import posterior
from plncli.models.pca.triangle import Triangle
from plncli.optim.base import State, StopRule
from plncli.results import FitResult

KINDS = ("single", "feature", "sample")
ONE = [pytest.param(kind, marks=() if kind == "feature" else pytest.mark.slow) for kind in KINDS]  # seconds each


def table(n: int, p: int, q: int, pi: float | Tensor, seed: int, depth: float = 15.0) -> tuple[Dataset, Tensor, Tensor]:
    """Counts of rank q with structural zeros, the loadings, and which of the zeros are structural."""
    g = torch.Generator().manual_seed(seed)
    C = 0.7 * torch.randn(p, q, generator=g, dtype=torch.float64)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.stack([math.log(depth) - 0.5 * C.square().sum(1), 0.3 * torch.randn(p, generator=g).double()])
    Z = X @ B + torch.randn(n, q, generator=g, dtype=torch.float64) @ C.mT
    gone = torch.rand(n, p, generator=g, dtype=torch.float64) < pi
    Y = torch.poisson(Z.exp(), generator=g).masked_fill(gone, 0.0)
    return Dataset(Y, X, torch.zeros(n, 1).double(), torch.ones(n).double()), C, gone


@cache
def fitted(kind: str) -> FitResult:
    return fit(PCA(rank=2, zero_inflation=kind), table(100, 8, 2, 0.3, 5)[0], stop=StopRule(1e-8))


def known(result: FitResult) -> FittedPCA:
    found = result.fitted
    assert isinstance(found, FittedPCA)
    return found


# The profiled bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [1, 3])
def test_derivatives_of_the_profile(kind: str, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the minimum over the samples' posteriors, its second derivatives with all that the zeros add to them."""
    monkeypatch.setattr("plncli.models.pca.evaluation.LOOSE", 1e-9)
    data = table(14, 5, 2, 0.3, 1, depth=3.0)[0]
    g = torch.Generator().manual_seed(3)
    data = replace(data, w=torch.rand(14, generator=g).double() + 0.5, K=torch.rand(14, 5, generator=g) > 0.1)
    model = PCA(rank=rank, zero_inflation=kind)
    prepared = model.prepare(data)
    at = {k: x + 0.1 * torch.randn(x.shape, generator=g).double() for k, x in model.start(prepared).items()}
    v = {k: torch.randn(x.shape, generator=g).double() for k, x in at.items()}
    moved = lambda h: {k: at[k] + h * v[k] for k in at}  # noqa: E731
    h = 1e-5
    here = model.at(at, prepared)
    slope = sum(float((x * v[k]).sum()) for k, x in here.gradient().items())
    rise = (float(model.objective(moved(h), prepared)) - float(model.objective(moved(-h), prepared))) / (2.0 * h)
    assert rise == pytest.approx(slope, rel=1e-6)
    up, down = (model.at(moved(t), prepared).gradient() for t in (h, -h))
    for _ in range(6):  # by conjugate gradients first, then by factors
        for k, turned in here.product(v).items():
            torch.testing.assert_close(turned, (up[k] - down[k]) / (2.0 * h), rtol=1e-5, atol=1e-5)


def doubtful_samples(n: int = 6, p: int = 7, q: int = 2, nodes: int = 40) -> Samples:
    """Samples some of whose zeros may be structural, on loadings that leave them in doubt."""
    g = torch.Generator().manual_seed(11)
    C = torch.randn(p, q, generator=g, dtype=torch.float64)
    predictor = torch.full((n, p), 0.7, dtype=torch.float64)
    Y = torch.poisson((predictor + torch.randn(n, q, generator=g, dtype=torch.float64) @ C.mT).exp(), generator=g)
    Y = Y.masked_fill(torch.rand(n, p, generator=g) < 0.3, 0.0)
    rows, columns = (Y == 0).nonzero(as_tuple=True)
    z = torch.full(rows.shape, -0.5, dtype=torch.float64)
    return Samples(Y, None, predictor, Loadings(C, Triangle(C, q)), Doubtful(rows, columns, z, Nodes.of(nodes, C)))


def test_the_posterior_is_the_best_minimum() -> None:
    """Against scipy from many starts: it knows nothing of natural gradients, and sums over a grid, not nodes."""
    samples = doubtful_samples(6 if tries.ALL else 2)
    found = posterior(samples)
    assert bool(found.converged.all())
    e = np.linspace(-7.0, 7.0, 201)
    density = np.exp(-0.5 * e**2)
    density /= density.sum()
    assert samples.zeros is not None
    doubtful = torch.zeros_like(samples.Y, dtype=torch.bool)
    doubtful[samples.zeros.rows, samples.zeros.columns] = True
    c = samples.C.numpy()
    for i in range(len(samples.Y)):
        eta, Y, zero = samples.predictor[i].numpy(), samples.Y[i].numpy(), doubtful[i].numpy()

        def f(v: np.ndarray, eta: np.ndarray = eta, Y: np.ndarray = Y, zero: np.ndarray = zero) -> float:
            m, L = v[:2], np.array([[math.exp(v[2]), 0.0], [v[3], math.exp(v[4])]])
            S = L @ L.T
            mean, variance = eta + c @ m, np.einsum("jk,kl,jl->j", c, S, c)
            rate = np.exp(np.clip(mean[zero, None] + np.sqrt(variance[zero])[:, None] * e, None, 50.0))
            structural = -(np.logaddexp(-0.5, -rate) @ density).sum()
            counted = (np.exp(mean + 0.5 * variance) - Y * mean)[~zero].sum()
            return float(counted + structural + 0.5 * (m @ m + np.trace(S) - np.linalg.slogdet(S)[1] - 2))

        starts = np.random.default_rng(i).normal(size=(12, 5))
        box = {
            "method": "L-BFGS-B",
            "bounds": [(-4.0, 4.0 if k in (0, 1, 3) else 1.5) for k in range(5)],
            "options": {"ftol": 1e-13, "gtol": 1e-8},
        }
        best = min(optimize.minimize(f, start, **box).fun for start in starts)
        assert float(found.value[i]) == pytest.approx(best, abs=1e-5)


def test_the_hessian_of_a_sample_is_that_of_its_products() -> None:
    samples = doubtful_samples()
    z = posterior(samples)
    curved = Curvature(samples, samples.bends(z.M, z.V, z.A), z.S)
    y = torch.randn((6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    H = curved.matrix()
    torch.testing.assert_close((H @ y[:, :, None])[:, :, 0], curved.product(y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((H @ curved.solve(y)[:, :, None])[:, :, 0], y, rtol=1e-5, atol=1e-5)
    assert bool((torch.linalg.eigvalsh(H) > 0).all())  # a minimum


def test_the_way_to_the_posterior_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Newton's method from the first step on, or by natural gradients for long."""
    samples = doubtful_samples(n=20)
    found = posterior(samples)
    for natural in (1, 60):
        monkeypatch.setattr(posterior_module, "NATURAL", natural)
        again = posterior(samples)
        torch.testing.assert_close(again.value, found.value, rtol=0, atol=1e-9)
        torch.testing.assert_close(again.M, found.M, rtol=0, atol=1e-4)


def test_closed_probabilities_cost_nothing() -> None:
    data = table(30, 6, 2, 0.2, 2)[0]
    plain, model = PCA(rank=2), PCA(rank=2, zero_inflation="feature")
    prepared = model.prepare(data)
    assert prepared.inflation is not None
    closed = replace(prepared, inflation=prepared.inflation.closed)
    params = plain.start(plain.prepare(data))
    bound = plain.objective(params, plain.prepare(data))
    zeta = prepared.inflation.start(-3.0)
    assert float(model.objective({**params, "zeta": zeta}, closed)) == pytest.approx(float(bound), rel=1e-13)
    least = model.objective({**params, "zeta": zeta - 40.0}, prepared)
    assert float(least) == pytest.approx(float(bound), abs=1e-2)  # by so much do 20 nodes differ from exp(eta + s²/2)


# Optima


def never_below(kind: str, pi: float, depth: float, n: int, p: int, q: int) -> None:
    data = table(n, p, q, pi, 9, depth=depth)[0]
    plain, inflated = fit(PCA(rank=q), data), fit(PCA(rank=q, zero_inflation=kind), data)
    assert inflated.converged
    assert inflated.criteria.loglik >= plain.criteria.loglik - 2e-6 * data.n


@pytest.mark.parametrize("kind", ONE)
def test_the_bound_is_never_below_that_without_structural_zeros(kind: str) -> None:
    never_below(kind, 0.1, 4.0, 24, 4, 1)


@pytest.mark.slow  # minutes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pi", [0.0, 0.4])
@pytest.mark.parametrize("depth", [1.0, 100.0])
def test_nor_of_other_tables(kind: str, pi: float, depth: float) -> None:
    never_below(kind, pi, depth, 50, 6, 2)


@pytest.mark.slow  # a minute
@pytest.mark.parametrize(("kind", "floor"), [("single", -75496.37), ("feature", -74213.16), ("sample", -75344.68)])
def test_the_oaks_end_where_they_are_known_to(kind: str, floor: float) -> None:
    """Of rank 5, where the bound without structural zeros is −83582.40."""
    result = fit(PCA(rank=5, zero_inflation=kind), oaks())
    assert result.converged and result.criteria.loglik >= floor


def test_without_zeros_there_is_nothing_to_inflate() -> None:
    data = table(60, 5, 1, 0.0, 3, depth=3000.0)[0]
    assert float(data.Y.min()) > 0
    plain, inflated = fit(PCA(rank=1), data), fit(PCA(rank=1, zero_inflation="feature"), data)
    assert bool(inflated.state["zeta_response"].isneginf().all())
    assert inflated.criteria.loglik == pytest.approx(plain.criteria.loglik, abs=1e-4)
    assert inflated.criteria.n_parameters == plain.criteria.n_parameters + 5
    torch.testing.assert_close(inflated.estimates["C"], plain.estimates["C"], rtol=0, atol=1e-3)


@pytest.mark.slow  # fits of 300 samples
def test_each_feature_has_its_own_probability() -> None:
    pi = torch.tensor([0.0, 0.1, 0.2, 0.4, 0.6, 0.05, 0.3, 0.15], dtype=torch.float64)
    data, C, _ = table(300, 8, 1, pi, 8, depth=50.0)
    plain, result = fit(PCA(rank=1), data), fit(PCA(rank=1, zero_inflation="feature"), data)
    torch.testing.assert_close(result.state["zeta_response"].sigmoid(), pi, rtol=0, atol=0.06)
    errors = [float((found @ found.mT - C @ C.mT).norm()) for found in (r.estimates["C"] for r in (plain, result))]
    assert errors[1] < 0.2 * errors[0] and errors[1] < 0.3 * float((C @ C.mT).norm())


@pytest.mark.slow  # the truth is among the tests of zero inflation too
def test_zeros_that_components_have_taken_in_are_found() -> None:
    """Half of the counts: without structural zeros the latent layer puts them far below all others."""
    data = table(150, 6, 1, 0.5, 6, depth=200.0)[0]
    result = fit(PCA(rank=1, zero_inflation="single"), data)
    assert float(result.state["zeta_all"].sigmoid()) == pytest.approx(0.5, abs=4.0 * math.sqrt(0.25 / 900))


def test_structural_zeros_are_told_from_others() -> None:
    data, _, gone = table(100, 8, 2, 0.3, 5)
    zero = data.Y == 0
    probability = fitted("feature").estimates["P0"][zero]
    assert float(((probability > 0.5) == gone[zero]).double().mean()) > 0.85
    expected, sd = float(probability.sum()), float((probability * (1 - probability)).sum().sqrt())
    assert abs(float(gone[zero].sum()) - expected) < 5.0 * max(sd, 3.0)


@pytest.mark.slow  # paths of zero-inflated fits
def test_a_rank_more_never_lowers_the_bound() -> None:
    data, init, bounds = table(40, 5, 2, 0.25, 7)[0], None, []
    for q in range(1, 4):
        result = fit(PCA(rank=q, zero_inflation="feature"), data, init=init)
        assert result.converged
        bounds.append(result.criteria.loglik)
        init = {**result.estimates, **result.state}
    assert all(b >= a - 1e-4 for a, b in pairwise(bounds))


@pytest.mark.slow  # two tight fits
def test_weights_are_repetitions() -> None:
    data = table(40, 5, 1, 0.3, 13)[0]
    twice = Dataset(*(torch.cat([x, x[:20]]) for x in (data.Y, data.X, data.O, data.w)))
    weighted = replace(data, w=torch.cat([torch.full((20,), 2.0), torch.ones(20)]).double())
    a, b = (fit(PCA(rank=1, zero_inflation="feature"), each, stop=StopRule(tol=1e-9)) for each in (twice, weighted))
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(a.state["zeta_response"], b.state["zeta_response"], rtol=0, atol=2e-3)


# What a fit answers


@pytest.mark.parametrize("kind", ONE)
def test_the_samples_of_the_fit_come_out_as_in_the_fit(kind: str) -> None:
    result = fitted(kind)
    data, K = result.data, torch.ones_like(result.data.Y, dtype=torch.bool)
    q = known(result).transform(data.X, data.O, data.Y, K)
    torch.testing.assert_close(q.mean, result.estimates["M"], rtol=0, atol=2e-3)
    torch.testing.assert_close(q.sd, result.estimates["S"], rtol=0, atol=2e-3)
    told = known(result).fitted_values(data.X, data.O, data.Y, K).columns["zero_probability"]
    torch.testing.assert_close(told, result.estimates["P0"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ONE)
def test_the_bound_lies_below_the_likelihood(kind: str) -> None:
    result = fitted(kind)
    bounds = known(result).bounds(result.data)
    assert float(bounds.sum()) == pytest.approx(result.criteria.loglik, abs=2e-3)
    found = known(result).likelihood(result.data, 2000, torch.Generator().manual_seed(0))
    assert bool((found.value > bounds - 4.0 * found.error).all())
    assert float(found.khat.median()) < 0.7


@pytest.mark.slow  # seconds; quadrature judges the other structures quickly
def test_one_component_against_the_likelihood_by_quadrature() -> None:
    data = table(80, 4, 1, 0.3, 9)[0]
    result = fit(PCA(rank=1, zero_inflation="single"), data)
    nodes, weights = np.polynomial.hermite_e.hermegauss(121)
    eta = (data.X @ result.estimates["B"])[:, :, None] + result.estimates["C"][:, 0, None] * torch.tensor(nodes)
    logp = data.Y[:, :, None] * eta - eta.exp() - torch.lgamma(data.Y + 1.0)[:, :, None]
    pi = result.state["zeta_all"].sigmoid()
    cells = torch.where(data.Y[:, :, None] > 0, (1 - pi).log() + logp, (pi + (1 - pi) * logp.exp()).log())
    likelihood = torch.logsumexp(cells.sum(1) + torch.tensor(np.log(weights / weights.sum())), 1)
    gap = float(likelihood.sum()) - result.criteria.loglik
    assert 0.0 < gap < 0.05 * 80
    found = known(result).likelihood(data, 4000, torch.Generator().manual_seed(2))
    assert float(found.value.sum()) == pytest.approx(float(likelihood.sum()), abs=0.3)


def test_expectations_are_those_of_draws() -> None:
    fit_, g = known(fitted("feature")), torch.Generator().manual_seed(0)
    X, O = torch.tensor([[1.0, 0.2]], dtype=torch.float64).expand(40_000, 2), torch.zeros(40_000, 1).double()
    drawn = fit_.simulate(X, O, g).Y
    told = fit_.predict(X[:1], O[:1], ("prediction",), 0.9).columns
    error = 5.0 * drawn.std(0) / math.sqrt(len(drawn))
    assert bool(((drawn.mean(0) - told["marginal"][0]).abs() < error).all())
    inside = ((drawn >= told["pred_low"]) & (drawn <= told["pred_high"])).double().mean(0)
    assert bool((inside > 0.89).all())


@pytest.mark.parametrize("kind", ONE)
def test_what_is_expected_given_others_is_their_posterior(kind: str) -> None:
    """By importance: draws of scores, weighed by the likelihood of the counts that are known."""
    fit_, data = known(fitted(kind)), fitted(kind).data
    seen = torch.tensor([0, 2, 3, 5, 6])
    X, O, Y = data.X[:6], data.O[:6].expand(6, 8), data.Y[:6]
    given = fit_.conditional(X, O, Y[:, seen], seen, torch.ones((6, 5), dtype=torch.bool))
    U = torch.randn((200_000, 2), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    eta = (X @ fit_.B)[:, None] + U @ fit_.C.mT
    assert fit_.zeros is not None
    pi = fit_.zeros.expected.expand(1, 8)[0, seen]
    counts, at = Y[:, None, seen], eta[:, :, seen]
    logp = (1 - pi).log() + counts * at - at.exp() - torch.lgamma(counts + 1.0)
    cells = torch.where(counts > 0, logp, torch.logaddexp(pi.log().expand_as(logp), logp))
    weight = torch.softmax(cells.sum(2), 1)
    others = [1, 4, 7]
    mean = (weight[:, :, None] * eta[:, :, others]).sum(1)
    torch.testing.assert_close(given.columns["latent_mean"], mean, rtol=0, atol=0.15)
    rate = (weight[:, :, None] * eta[:, :, others].exp()).sum(1) * (1.0 - fit_.zeros.expected.expand(1, 8)[:, others])
    torch.testing.assert_close(given.columns["conditional"], rate, rtol=0.25, atol=0.1)


def test_residuals_and_zeros_are_as_the_model_says() -> None:
    result = fitted("feature")
    diagnosis = known(result).diagnose(result.data, 0, torch.Generator().manual_seed(0))
    assert not diagnosis.facts["zeros"]["poor_features"]
    assert diagnosis.facts["zeros"]["expected"] == pytest.approx(diagnosis.facts["zeros"]["share"], abs=0.02)
    assert abs(diagnosis.facts["residuals"]["sd"] - 1.0) < 0.1


@pytest.mark.slow  # two fits; `cv` hides cells among the tests of the command
def test_hidden_cells_are_scored_as_the_mixture_says() -> None:
    data = table(60, 6, 1, 0.3, 5)[0]
    hidden = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(3)) < 0.1
    seen = replace(data, K=~hidden, Y=torch.where(hidden, 0.0, data.Y))
    scores = [
        float(known(fit(PCA(rank=1, zero_inflation=kind), seen)).score_cells(seen, data.Y, hidden).loglik.sum())
        for kind in ("none", "single")
    ]
    assert scores[1] > scores[0] + 10.0


# On its way


@pytest.mark.parametrize("kind", [pytest.param("feature", marks=pytest.mark.slow), "sample"])
def test_a_fit_that_is_cut_short_goes_on_to_the_same_bits(kind: str) -> None:
    data, model = table(25, 5, 1, 0.3, 15)[0], PCA(rank=1, zero_inflation=kind)
    states: list[State] = []

    def keep(state: State) -> None:
        states.append(State({k: t.clone() for k, t in state.tensors.items()}, state.facts, state.trace))

    whole = fit(model, data, offer=keep)
    searching = [state for state in states if "search" in state.facts]
    rest = [state for state in states if "search" not in state.facts]
    places = (searching[0], searching[-2], rest[0], rest[-1]) if tries.ALL else (searching[-2], rest[0])
    for state in places:
        again = fit(model, data, state=state)
        assert again.optimum.steps == whole.optimum.steps
        for name, tensor in whole.estimates.items():
            assert torch.equal(again.estimates[name].nan_to_num(), tensor.nan_to_num())


def test_a_search_without_time_is_no_converged_fit() -> None:
    data = table(40, 6, 1, 0.3, 15)[0]
    seen: list[State] = []

    def enough() -> bool:  # once a start of the counts alone was followed
        return len(seen) > 1

    result = fit(PCA(rank=1, zero_inflation="single"), data, stop=StopRule(cancelled=enough), offer=seen.append)
    assert not result.converged and math.isfinite(result.criteria.loglik)


@pytest.mark.parametrize("kind", ONE)
def test_a_warm_start_keeps_the_optimum(kind: str) -> None:
    result = fitted(kind)
    init = {**result.estimates, **result.state}
    again = fit(PCA(rank=2, zero_inflation=kind), result.data, init=init)
    assert again.optimum.steps <= 2
    assert again.criteria.loglik == pytest.approx(result.criteria.loglik, abs=1e-3)


@pytest.mark.slow  # seconds of the same start
def test_a_fit_without_structural_zeros_is_a_start_too() -> None:
    data = fitted("feature").data
    plain = fit(PCA(rank=2), data)
    again = fit(PCA(rank=2, zero_inflation="feature"), data, init={**plain.estimates, **plain.state})
    assert again.criteria.loglik == pytest.approx(fitted("feature").criteria.loglik, abs=1e-3)


@pytest.mark.slow  # the same objective
@pytest.mark.parametrize("optimizer", ["lbfgs"])
def test_other_optimizers_end_there_too(optimizer: str) -> None:
    from plncli.optim import OPTIMIZERS

    data = table(60, 5, 1, 0.3, 14)[0]
    model = PCA(rank=1, zero_inflation="feature")
    best, other = fit(model, data), fit(model, data, OPTIMIZERS[optimizer]())
    assert other.converged and other.criteria.loglik == pytest.approx(best.criteria.loglik, abs=1e-2)


def test_the_hessian_of_the_standard_errors_is_flat_in_rotations_alone() -> None:
    from plncli.models.inflation.errors import Directions
    from plncli.models.pca.errors.inflated import _hessian
    from plncli.models.pca.joint import Joint

    result = fitted("feature")
    prepared = result.model.prepare(result.data)
    at = {
        "theta": torch.cat([prepared.basis.reduced(result.estimates["B"]), result.estimates["C"].mT]),
        "zeta": result.state["zeta_response"][None],
    }
    z = Directions.of(prepared.inflation, result.data.w, result.data.p)
    values = torch.linalg.eigvalsh(_hessian(Joint(at, prepared), at, z, lambda: False))
    assert abs(float(values[0])) < 1e-3 * float(values[1]) and float(values[1]) > 0  # as exact as its products


@pytest.mark.slow  # a sandwich of 80 samples
def test_where_structural_zeros_are_plain_their_logit_is_as_uncertain_as_a_proportion() -> None:
    data = table(80, 5, 1, 0.3, 18, depth=3000.0)[0]
    result = fit(PCA(rank=1, zero_inflation="single"), data, inference=InferenceRule())
    zeros = float((data.Y == 0).sum())
    assert result.inference is not None
    wanted = math.sqrt(1.0 / zeros + 1.0 / (400.0 - zeros))
    assert float(result.inference.beside["zeta_all_se"]) == pytest.approx(wanted, rel=0.25)  # that of 80 samples
    assert bool(result.inference.std_error.isfinite().all())


@pytest.mark.slow  # 80 fits
@pytest.mark.parametrize("kind", ["single", "feature"])
def test_standard_errors_are_those_of_the_jackknife(kind: str) -> None:
    """Of coefficients by the program's own jackknife, of logits by leaving samples out here."""
    data = table(40, 4, 1, 0.3, 17, depth=30.0)[0]
    model = PCA(rank=1, zero_inflation=kind)
    result = fit(model, data, inference=InferenceRule())
    init = {**result.estimates, **result.state}
    symbol, left, B = {"single": "zeta_all", "feature": "zeta_response"}[kind], [], []
    for i in range(data.n):
        rest = torch.arange(data.n) != i
        some = Dataset(data.Y[rest], data.X[rest], data.O[rest], data.w[rest])
        again = fit(model, some, init=init)
        left.append(again.state[symbol])
        B.append(again.estimates["B"])
    assert result.inference is not None
    pairs = ((B, result.inference.std_error, 0.7), (left, result.inference.beside[f"{symbol}_se"], 0.75))
    for estimates, found, least in pairs:
        spread = torch.stack(estimates)
        wanted = ((spread - spread.mean(0)).square().sum(0) * (data.n - 1) / data.n).sqrt()
        well = wanted < 1.0  # beyond that the estimate itself is next to the boundary
        ratio = (found / wanted)[well]
        assert bool(((ratio > least) & (ratio < 1.0 / least)).all()), ratio


def test_there_are_no_standard_errors_yet_by_sample() -> None:
    model = PCA(rank=2, zero_inflation="sample")
    data = table(40, 4, 1, 0.3, 13)[0]
    assert isinstance(model.default_se(model.prepare(data)), Finding)
    result = fit(PCA(rank=1, zero_inflation="sample"), data, inference=InferenceRule("sandwich"))
    assert result.inference is None
    assert any("jackknife" in finding.remedy for finding in result.findings)


def test_a_singular_covariance_is_no_step() -> None:
    """As float32 makes one: such a step is refused, and nothing raised."""
    S, Pi = torch.zeros((2, 3, 3)), torch.eye(3).expand(2, 3, 3)
    S[1] = torch.eye(3)
    found, logdet = posterior_module._between(S, Pi, torch.full((2,), 0.5))
    assert bool(logdet[0].isnan()) and bool(found[0].isnan().all())
    torch.testing.assert_close(found[1], torch.eye(3))
