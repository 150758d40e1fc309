"""Poisson log-normal PCA: laws of the profiled bound, and values against independent computations."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tries
from scipy import optimize
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.inference.resampling import Resampling
from plncli.inference.wald import InferenceRule
from plncli.models.pca import evaluation as evaluation_module
from plncli.models.pca.cells import Loadings, Samples
from plncli.models.pca.errors.sandwich import _factor
from plncli.models.pca.fitted import FittedPCA
from plncli.models.pca.model import PCA
from plncli.models.pca.posterior import posterior
from plncli.models.pca.profile import evaluated
from plncli.models.pca.table import Table
from plncli.models.pca.triangle import Triangle
from plncli.models.pln.model import PLN
from plncli.models.uncertainty import Determined
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(tol=1e-11)


def drawn(n: int, p: int, q: int, seed: int = 0, level: float = 1.5) -> tuple[Dataset, Tensor, Tensor]:
    """A table of the model with an intercept, a covariate and an offset; its B and C."""
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.cat([torch.full((1, p), level), 0.4 * torch.randn(1, p, generator=g)]).double()
    C = 0.6 * torch.randn(p, q, generator=g).double()
    O = 0.2 * torch.randn(n, 1, generator=g).double()
    Z = O + X @ B + torch.randn(n, q, generator=g).double() @ C.mT
    return Dataset(torch.poisson(Z.exp(), generator=g), X, O, torch.ones(n).double()), B, C


@cache
def one() -> FitResult:
    """A tight fit of rank 2 to 60 samples × 8 features, some counts missing, some samples of weight 2."""
    data, _, _ = drawn(60, 8, 2)
    K = torch.rand(60, 8, generator=torch.Generator().manual_seed(1)) > 0.1
    return fit(PCA(rank=2), replace(data, K=K, w=1.0 + (torch.arange(60) % 3 == 0).double()), stop=TIGHT)


def theta_of(result: FitResult) -> tuple[Tensor, Table]:
    """Parameters and table of a fit."""
    prepared = result.model.prepare(result.data)
    G = prepared.basis.reduced(result.estimates["B"])
    return torch.cat([G, result.estimates["C"].mT]), prepared.table


def test_the_posterior_is_the_minimum() -> None:
    """Against scipy, which knows nothing of natural gradients: S by its Cholesky factor."""
    data, B, C = drawn(3, 6, 2, seed=3)
    triangle = Triangle(C, 2)
    z = posterior(Samples(data.Y, None, data.O + data.X @ B, Loadings(C, triangle)))
    for i in range(3):
        eta, Y = (data.O + data.X @ B)[i].numpy(), data.Y[i].numpy()

        def f(v: np.ndarray, eta: np.ndarray = eta, Y: np.ndarray = Y) -> float:
            m, L = v[:2], np.array([[math.exp(v[2]), 0.0], [v[3], math.exp(v[4])]])
            S, c = L @ L.T, C.numpy()
            mean = eta + c @ m
            A = np.exp(mean + 0.5 * np.einsum("jk,kl,jl->j", c, S, c))
            return float((A - Y * mean).sum() + 0.5 * (m @ m + np.trace(S) - np.linalg.slogdet(S)[1] - 2))

        best = optimize.minimize(f, np.zeros(5), method="BFGS", options={"gtol": 1e-9})
        assert float(z.value[i]) == pytest.approx(best.fun, abs=1e-8)
        np.testing.assert_allclose(z.M[i].numpy(), best.x[:2], atol=1e-4)
    assert bool(z.converged.all())


def test_rotating_the_axes_changes_nothing() -> None:
    theta, table = theta_of(one())
    angle = torch.tensor(0.7, dtype=torch.float64)
    R = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    turned = torch.cat([theta[:2], R @ theta[2:]])
    assert float(evaluated(turned, table).value) == pytest.approx(float(evaluated(theta, table).value), rel=1e-12)
    g = evaluated(turned, table).gradient()
    torch.testing.assert_close(g[2:], R @ evaluated(theta, table).gradient()[2:], rtol=1e-6, atol=1e-6)


def test_both_ways_to_solve_for_the_samples_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    theta, table = theta_of(one())
    moved = theta + 0.1 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(5), dtype=theta.dtype)
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(6), dtype=theta.dtype)
    factored = evaluated(moved, replace(table))
    expected = factored.product(v), factored.gradient()
    monkeypatch.setattr(evaluation_module, "HELD", 0)
    iterated = evaluated(moved, replace(table))
    torch.testing.assert_close(iterated.product(v), expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(iterated.gradient(), expected[1], rtol=1e-9, atol=1e-9)


def test_the_whole_hessian_is_that_of_the_products() -> None:
    """As the standard errors have it, along directions that are no rotations."""
    theta, table = theta_of(one())
    at = evaluated(theta, table)
    at.gradient()
    factor = _factor(at, Determined.wholly(one().data.w.sum(), 2), lambda: False)
    assert factor is not None
    H = factor.L @ factor.L.mT
    N = torch.zeros((8, 4), dtype=torch.float64)
    N[:, 2], N[:, 3] = at.C[:, 1], -at.C[:, 0]
    N = N.flatten() / N.norm()
    for seed in range(3):
        v = torch.randn(8 * 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        v -= N * (N @ v)
        product = at.product(v.view(8, 4).mT).mT.flatten()
        torch.testing.assert_close(H @ v, product, rtol=1e-5, atol=1e-5 * float(product.abs().max()))
    assert float((at.product(N.view(8, 4).mT)).abs().max()) < 1e-5 * float(H.abs().max())  # a rotation is flat


def test_axes_are_principal_and_have_a_sign() -> None:
    C, share = one().estimates["C"], one().estimates["share"]
    G = C.mT @ C
    torch.testing.assert_close(G, torch.diag(G.diagonal()), rtol=0, atol=1e-10)
    assert bool((share[:-1] >= share[1:]).all()) and float(share.sum()) == pytest.approx(1.0)
    assert all(float(C[C[:, k].abs().argmax(), k]) > 0 for k in range(2))


@pytest.mark.slow  # paths of the command, whose bounds are told in order, are quick
def test_a_rank_more_never_lowers_the_bound() -> None:
    data, _, _ = drawn(50, 6, 2, seed=7)
    bounds = []
    init = None
    for q in range(1, 6):
        result = fit(PCA(rank=q), data, init=init)
        assert result.converged
        bounds.append(result.criteria.loglik)
        init = {"B": result.estimates["B"], "C": result.estimates["C"]}
    assert all(b >= a - 1e-4 for a, b in pairwise(bounds))


def test_at_full_rank_the_bound_is_tighter_than_that_of_the_full_covariance() -> None:
    data, _, _ = drawn(60, 3, 3, seed=8)
    whole = fit(PLN(), data)
    assert fit(PCA(rank=3), data).criteria.loglik >= whole.criteria.loglik


def test_one_component_against_the_likelihood_by_quadrature() -> None:
    data, _, _ = drawn(80, 2, 1, seed=9)
    result = fit(PCA(rank=1), data)
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    eta = (data.O + data.X @ result.estimates["B"])[:, :, None] + result.estimates["C"][:, 0, None] * torch.tensor(
        nodes
    )
    cells = data.Y[:, :, None] * eta - eta.exp() - torch.lgamma(data.Y + 1.0)[:, :, None]
    likelihood = torch.logsumexp(cells.sum(1) + torch.tensor(np.log(weights / weights.sum())), 1)
    gap = float(likelihood.sum()) - result.criteria.loglik
    assert 0.0 < gap < 0.02 * 80
    fitted = result.fitted
    assert isinstance(fitted, FittedPCA)
    found = fitted.likelihood(data, 4000, torch.Generator().manual_seed(2))
    assert float(found.value.sum()) == pytest.approx(float(likelihood.sum()), abs=0.2)
    assert float(fitted.bounds(data).sum()) == pytest.approx(result.criteria.loglik, rel=1e-9)


def test_samples_of_the_fit_are_transformed_to_what_the_fit_has() -> None:
    result = one()
    K = result.data.K
    assert K is not None
    found = result.fitted.transform(result.data.X, result.data.O, torch.where(K, result.data.Y, 0.0), K)
    torch.testing.assert_close(found.mean, result.estimates["M"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.sd, result.estimates["S"], rtol=1e-4, atol=1e-6)


def test_what_is_expected_given_others_is_their_posterior() -> None:
    """By importance: draws of scores, weighed by the likelihood of the counts that are known."""
    result = one()
    fitted = result.fitted
    assert isinstance(fitted, FittedPCA)
    known = torch.tensor([0, 3, 5])
    X, O, Y = result.data.X[:4], result.data.O[:4], result.data.Y[:4]
    K = torch.ones((4, 3), dtype=torch.bool)
    given = fitted.conditional(X, O, Y[:, known], known, K)
    U = torch.randn((200_000, 2), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    Z = (X @ fitted.B)[:, None] + U @ fitted.C.mT  # 4×draws×8
    eta = O[:, None] + Z
    weight = torch.softmax((Y[:, None, known] * eta[:, :, known] - eta[:, :, known].exp()).sum(2), 1)
    others = [j for j in range(8) if j not in known.tolist()]
    mean = (weight[:, :, None] * Z[:, :, others]).sum(1)
    torch.testing.assert_close(given.columns["latent_mean"], mean, rtol=0, atol=0.05)


def test_a_rank_beyond_the_table_is_refused() -> None:
    from plncli.errors import DataError

    data, _, _ = drawn(10, 4, 1)
    with pytest.raises(DataError, match="A rank of 5 is more than the table carries"):
        PCA(rank=5).prepare(data)


def test_separated_cells_have_infinite_coefficients() -> None:
    data, _, _ = drawn(40, 5, 1, seed=11)
    X = torch.stack([torch.ones(40), (torch.arange(40) < 12).float()], 1).double()
    Y = data.Y.clone()
    Y[:12, 2] = 0.0
    result = fit(PCA(rank=1), replace(data, Y=Y, X=X), inference=InferenceRule("sandwich"))
    assert float(result.estimates["B"][1, 2]) == -math.inf and result.converged
    assert result.inference is not None
    assert bool(result.inference.std_error[0].isfinite().all())
    assert bool(result.inference.std_error[1, 2].isnan()) and bool(result.inference.std_error[1, :2].isfinite().all())


def test_a_search_that_was_cut_short_goes_on_to_the_same_bits() -> None:
    data, _, _ = drawn(40, 6, 3, seed=2)
    model, states = PCA(rank=2, starts=3), []
    whole = fit(model, data, offer=states.append, seed=5)
    searching = [state for state in states if "search" in state.facts]
    assert len(searching) >= 4 and whole.optimum.starts is not None and whole.optimum.starts.number == 3
    for state in searching[:: 2 if tries.ALL else 4]:
        again = fit(model, data, state=state, seed=5)
        assert torch.equal(again.estimates["C"], whole.estimates["C"])
        assert again.optimum.starts == whole.optimum.starts and again.optimum.products == whole.optimum.products


def oaks() -> Dataset:
    """The oaks, `~ 1`, with their depth as exposure."""
    folder = Path(__file__).parents[2] / "sample_data" / "oaks"
    Y, depth = (pd.read_csv(folder / f"{name}.csv", index_col=0) for name in ("counts", "exposure"))
    counts, ones = torch.tensor(Y.to_numpy(), dtype=torch.float64), torch.ones(len(Y), 1).double()
    return Dataset(counts, ones, torch.tensor(depth.to_numpy(), dtype=torch.float64).log(), ones[:, 0])


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize(("rank", "floor"), [(2, -143593.14), (5, -83582.41), (10, -53596.49)])
def test_the_default_start_leads_to_the_best_optimum_that_is_known(rank: int, floor: float) -> None:
    """Of the oaks; from log counts alone a fit of rank 2 ends 7700 nats lower."""
    result = fit(PCA(rank=rank), oaks())
    assert result.converged and -result.optimum.value >= floor


@pytest.mark.slow  # 200 fits
def test_intervals_cover() -> None:
    hits = []
    for seed in range(200):
        data, B, C = drawn(250, 8, 2, seed=1000 + seed)
        result = fit(PCA(rank=2), data, inference=InferenceRule("sandwich"), init={"B": B, "C": C})  # no search
        assert result.inference is not None
        hits.append(((result.inference.conf_low <= B) & (result.inference.conf_high >= B)).double().mean(1))
    covered = torch.stack(hits).mean(0)
    assert bool(((covered > 0.92) & (covered < 0.98)).all()), covered  # 95 ± 2 %, and the noise of 1600 intervals


@pytest.mark.slow  # some fifty fits
def test_errors_are_those_of_resampling_where_components_leave_much_unexplained() -> None:
    """Counts of rank 4, far beyond Poisson noise, fitted with one component: few samples have most of the weight."""
    data, _, _ = drawn(40, 6, 4, seed=3, level=4.0)
    errors = {}
    for method in ("sandwich", "bootstrap"):
        result = fit(
            PCA(rank=1), data, inference=InferenceRule(method), resampling=Resampling(30, 0, 1), stop=StopRule(1e-4)
        )
        assert result.inference is not None
        errors[method] = result.inference.std_error
    ratio = errors["sandwich"] / errors["bootstrap"]
    assert 0.5 < float(ratio.median()) < 2.0 and float(ratio.max()) < 5.0


@pytest.mark.slow  # fits to thousands of samples
def test_loadings_are_recovered_as_samples_grow() -> None:
    errors = []
    for n in (100, 1600):
        each = []
        for seed in range(8):
            data, _, C = drawn(n, 10, 2, seed=30 + seed)
            found = fit(PCA(rank=2), data).estimates["C"]
            each.append(float((found @ found.mT - C @ C.mT).norm() / (C @ C.mT).norm()))
        errors.append(sum(each) / len(each))
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.1  # in proportion to 1/sqrt(n) it is a quarter
