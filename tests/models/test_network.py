"""The sparse network: laws, an independent minimisation, and graphs that are known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tables import oaks
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.base import startable
from plncli.models.network.fitted import FittedNetwork
from plncli.models.network.model import Network
from plncli.models.pln.model import PLN
from plncli.numerics.graphical_lasso import graphical_lasso
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(1e-10)


def graph(p: int, g: torch.Generator) -> Tensor:
    """A chain with some edges besides: a precision matrix of unit variances."""
    Omega = torch.eye(p).double()
    for j in range(p - 1):
        if j % 4 != 3:
            Omega[j, j + 1] = Omega[j + 1, j] = -0.35 if j % 2 else 0.35
    Omega.diagonal().add_(0.2)
    sd = torch.linalg.inv(Omega).diagonal().sqrt()
    return Omega * sd * sd[:, None]


@cache
def table(n: int = 60, p: int = 8, seed: int = 1, depth: float = 8.0) -> tuple[Dataset, Tensor]:
    """Counts of a graph, and its precision."""
    g = torch.Generator().manual_seed(seed)
    Omega = graph(p, g)
    root = torch.linalg.cholesky(torch.linalg.inv(Omega))
    X = torch.stack([torch.ones(n), torch.arange(n) % 2], 1).double()
    Z = math.log(depth) + 0.3 * X[:, 1:] + torch.randn(n, p, generator=g).double() @ root.T
    Y = torch.poisson(Z.exp(), generator=g)
    return Dataset(Y=Y, X=X, O=torch.zeros(n, 1).double(), w=torch.ones(n).double()), Omega


@cache
def fitted(penalty: float, refit: bool = True) -> FitResult:
    return fit(Network(penalty=penalty, refit=refit), table()[0], stop=TIGHT)


def edges(result: FitResult) -> Tensor:
    known = result.estimates["Omega"].nan_to_num() != 0
    return known & ~torch.eye(len(known), dtype=torch.bool)


def test_without_penalty_it_is_the_full_model_and_with_a_large_one_the_diagonal_one() -> None:
    data, _ = table()
    for penalty, covariance in ((0.0, "full"), (1.0, "diagonal"), (math.inf, "diagonal")):
        own, plain = fitted(penalty), fit(PLN(covariance), data, stop=TIGHT)
        assert math.isclose(own.criteria.loglik, plain.criteria.loglik, abs_tol=1e-5)
        assert torch.allclose(own.estimates["Omega"], plain.estimates["Omega"], rtol=1e-3, atol=1e-4)
        assert own.criteria.n_parameters == plain.criteria.n_parameters


def test_a_smaller_penalty_never_lowers_the_objective() -> None:
    values = [fitted(penalty, refit=False).optimum.value for penalty in (0.6, 0.4, 0.25, 0.1, 0.02)]
    assert all(a >= b - 1e-7 for a, b in pairwise(values))
    assert all(0 < fitted(penalty, refit=False).facts["edges"] < 28 for penalty in (0.4, 0.25))


@pytest.mark.parametrize("penalty", [0.4, 0.15])
def test_alternating_minimisation_ends_no_lower(penalty: float) -> None:
    """W by a graphical lasso given q, and q by scipy given W, in turn: each step as good as it can be."""
    data, _ = table()
    n, p = data.Y.shape
    Lambda = torch.full((p, p), penalty).double()
    Lambda.diagonal().zero_()
    Q, _ = torch.linalg.qr(data.X)

    def moments(q: Tensor) -> Tensor:
        M, psi = q
        R = M - Q @ (Q.T @ M)
        return (R.T @ R + psi.exp().sum(0).diag()) / n

    def given(W: Tensor, q: Tensor) -> Tensor:
        M, psi = q
        S = moments(q)
        C = S / (S.diagonal().sqrt() * S.diagonal().sqrt()[:, None])
        cells = (data.O + M + 0.5 * psi.exp()).exp() - data.Y * (data.O + M) + torch.lgamma(data.Y + 1) - 0.5 * psi
        inner = (W * C).sum() - torch.logdet(W) + (Lambda * W.abs()).sum() - p
        return cells.sum() + 0.5 * n * (S.diagonal().log().sum() + inner)

    q = torch.stack([data.Y.log1p(), torch.full_like(data.Y, -1.0)])
    value = math.inf
    for _ in range(60):
        S = moments(q)
        sd = S.diagonal().sqrt()
        found = graphical_lasso(S / (sd * sd[:, None]), Lambda)
        assert found is not None

        def of(x: np.ndarray, W: Tensor = found.Omega) -> tuple[float, np.ndarray]:
            at = torch.from_numpy(x).view(2, n, p).requires_grad_()
            loss = given(W, at)
            (slope,) = torch.autograd.grad(loss, at)
            return float(loss.detach()), slope.numpy().ravel()

        step = minimize(of, q.numpy().ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-14})
        before, value, q = value, float(step.fun), torch.from_numpy(step.x).view_as(q)
        if before - value < 1e-7:
            break
    own = fitted(penalty, refit=False).optimum.value
    assert own <= value + 1e-8
    assert own >= value - 1e-3


def test_two_starts_end_in_the_same_graph() -> None:
    data, _ = table()
    cold = fitted(0.2)
    for other in (0.6, 0.01):
        init = {**fitted(other).estimates, **fitted(other).state}
        warm = fit(Network(penalty=0.2), data, stop=TIGHT, init=init)
        assert torch.equal(edges(warm), edges(cold))
        assert math.isclose(warm.criteria.loglik, cold.criteria.loglik, abs_tol=1e-6)


def test_matrices_of_features_are_taken_over_only_where_a_fit_starts_from_them() -> None:
    known = {"B": 0, "S": 1, "Omega": 2, "Sigma": 3}
    assert startable(Network.spec, known) == {"B": 0, "Omega": 2, "S": 1}
    assert startable(PLN.spec, known) == {"B": 0, "S": 1}


def test_edges_are_fitted_again_without_penalty() -> None:
    """Which is the model whose other edges are forbidden."""
    data, _ = table()
    chosen, shrunk = fitted(0.25), fitted(0.25, refit=False)
    assert torch.equal(edges(chosen), edges(shrunk)) and chosen.facts["selection_gap"] <= 60 * 1e-10
    weights = torch.where(edges(chosen), 0.0, math.inf).double()
    own = fit(Network(penalty=1.0, penalty_weights=weights), data, stop=TIGHT)
    assert math.isclose(own.criteria.loglik, chosen.criteria.loglik, abs_tol=1e-6)
    assert chosen.criteria.loglik > shrunk.criteria.loglik
    assert chosen.estimates["Omega"][edges(chosen)].abs().sum() > shrunk.estimates["Omega"][edges(chosen)].abs().sum()


def test_what_the_summary_tells() -> None:
    result = fitted(0.25)
    many = int(edges(result).sum()) // 2
    told = result.facts
    assert told["edges"] == many and math.isclose(told["density"], many / 28)
    assert result.criteria.n_parameters == 2 * 8 + 8 + many
    assert math.isclose(told["ebic"], result.criteria.bic + 2.0 * many * math.log(8))
    assert told["selection_violation"] < 1e-8 and told["selection_duality_gap"] < 1e-8


def test_units_of_a_feature_do_not_matter() -> None:
    """Offsets that move with the counts' scale leave the network as it is."""
    data, _ = table()
    shift = torch.linspace(-1.0, 1.0, 8).double()
    moved = fit(Network(penalty=0.25), replace(data, O=shift.expand(60, 8)), stop=TIGHT)
    assert torch.allclose(moved.estimates["Omega"], fitted(0.25).estimates["Omega"], rtol=1e-4, atol=1e-6)


def test_forbidden_and_free_pairs() -> None:
    data, _ = table()
    weights = torch.ones(8, 8).double()
    weights[0, 1] = weights[1, 0] = math.inf
    weights[5, 7] = weights[7, 5] = 0.0
    result = fit(Network(penalty=0.9, penalty_weights=weights), data, stop=TIGHT)
    assert edges(result).nonzero().tolist() == [[5, 7], [7, 5]]
    low = fit(Network(penalty=0.02, penalty_weights=weights), data, stop=TIGHT)
    assert not edges(low)[0, 1] and int(edges(low).sum()) > 40


def test_a_path_begins_where_the_first_edge_comes() -> None:
    data, _ = table()
    model = Network()
    first = fit(model.simplest(), data, stop=TIGHT)
    values = model.path({**first.estimates, **first.state}, data, 5)
    assert len(values) == 5 and math.isclose(values[-1], 0.1 * values[0], rel_tol=1e-3)
    steps = np.diff(np.log(values))
    assert np.allclose(steps, steps[0], rtol=1e-2)
    assert fit(Network(penalty=1.001 * values[0]), data).facts["edges"] == 0
    assert fit(Network(penalty=0.99 * values[0]), data).facts["edges"] >= 1


def test_features_that_do_not_covary_have_no_path() -> None:
    data, _ = table(p=1)
    first = fit(Network().simplest(), data)
    with pytest.raises(DataError, match="no path of penalties"):
        Network().path({**first.estimates, **first.state}, data, 5)


@pytest.mark.parametrize("kind", ["single", "feature", "sample"])
def test_with_structural_zeros(kind: str) -> None:
    data, _ = table()
    g = torch.Generator().manual_seed(3)
    data = replace(data, Y=data.Y * (torch.rand(data.Y.shape, generator=g) > 0.2))
    result = fit(Network(penalty=0.25, zero_inflation=kind), data)
    plain = fit(Network(penalty=0.25, refit=False), data)
    shrunk = fit(Network(penalty=0.25, refit=False, zero_inflation=kind), data)
    assert result.converged and 0 < result.facts["edges"] < 28
    assert shrunk.optimum.value <= plain.optimum.value + 1e-6


def test_features_without_extra_variance_and_missing_counts() -> None:
    """A feature of the same count everywhere has no latent layer, and so no edge."""
    data, _ = table()
    Y, K = data.Y.clone(), torch.ones_like(data.Y, dtype=torch.bool)
    Y[:, 3] = 2.0
    K[::7, 5] = False
    result = fit(Network(penalty=0.2), replace(data, Y=torch.where(K, Y, 0.0), K=K), stop=TIGHT)
    assert result.converged and not edges(result)[3].any() and result.estimates["Omega"][3].isnan().all()
    known = result.fitted
    assert isinstance(known, FittedNetwork)
    assert float(known.latent.variances[3]) == 0.0
    assert not known.partial_correlations[3, :3].any()


def test_what_a_fit_answers() -> None:
    data, _ = table()
    result = fitted(0.25)
    known = result.fitted
    assert isinstance(known, FittedNetwork)
    Omega = result.estimates["Omega"]
    assert torch.allclose(known.Sigma @ Omega, torch.eye(8).double(), atol=1e-9)
    j, k = known.edges
    partial = known.partial_correlations
    assert bool((partial[j, k].abs().diff() <= 0).all()) and len(j) == result.facts["edges"]
    assert torch.allclose(partial[j, k], -Omega[j, k] / (Omega[j, j] * Omega[k, k]).sqrt())
    whole = known.transform(data.X, data.O, data.Y, torch.ones_like(data.Y, dtype=torch.bool))
    assert torch.allclose(whole.mean, result.estimates["M"], atol=1e-6)
    nodes = known.further_tables(data.samples)["nodes"]
    assert int(nodes["degree"].sum()) == 2 * len(j)


@pytest.mark.slow  # 150 fits
def test_standard_errors_are_near_those_of_the_jackknife() -> None:
    data, _ = table(n=150, seed=4)
    model = Network(penalty=0.2)
    sandwich, jackknife = (
        fit(model, data, inference=InferenceRule(method)).inference for method in ("sandwich", "jackknife")
    )
    assert sandwich is not None and jackknife is not None
    ratio = sandwich.std_error / jackknife.std_error
    assert float(ratio.min()) > 0.8 and float(ratio.max()) < 1.25


def test_a_known_graph_is_found_as_samples_grow() -> None:
    found = []
    for n in (60, 600):
        data, Omega = table(n=n, p=12, seed=7)
        true = (Omega != 0) & ~torch.eye(12, dtype=torch.bool)
        first = fit(Network().simplest(), data)
        init = {**first.estimates, **first.state}
        best = None
        for penalty in Network().path(init, data, 12):
            result = fit(Network(penalty=penalty), data, init=init)
            init = {**result.estimates, **result.state}
            if best is None or result.facts["ebic"] < best.facts["ebic"]:
                best = result
        assert best is not None
        found.append(int((edges(best) == true).all(0).sum()))
    assert found[1] == 12 and found[0] <= 12


@pytest.mark.slow  # a path of six fits of 114 features
def test_the_oaks() -> None:
    data, init, seen = oaks(), None, []
    for penalty in (0.8, 0.7, 0.6, 0.52, 0.45, 0.4):
        result = fit(Network(penalty=penalty), data, init=init)
        init = {**result.estimates, **result.state}
        assert result.converged and result.facts["selection_gap"] <= 116 * 1e-6
        seen.append((result.facts["edges"], result.criteria.loglik))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(seen))
    assert seen[-1][1] > -35600.0
