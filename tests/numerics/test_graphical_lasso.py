"""The graphical lasso: its optimality conditions, an independent program, its groups and its derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from plncli.numerics import graphical_lasso as module
from plncli.numerics.graphical_lasso import GraphicalLasso, components, graphical_lasso, merged


def covariance(p: int, n: int, seed: int, spread: float = 1.0) -> Tensor:
    """Of n correlated samples, in units of many sizes."""
    g = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 3, generator=g).double() @ torch.randn(3, p, generator=g).double()
    R = torch.randn(n, p, generator=g).double() + 0.7 * shared
    R *= torch.exp(spread * torch.randn(p, generator=g).double())
    S = R.T @ R / n
    S.diagonal().mul_(1.05)
    return S


def even(S: Tensor, share: float) -> Tensor:
    """The same penalty for all pairs on the scale of correlations, none on the diagonal."""
    sd = S.diagonal().sqrt()
    Lambda = share * sd * sd[:, None]
    Lambda.diagonal().zero_()
    return Lambda


def solved(S: Tensor, penalty: Tensor, start: Tensor | None = None) -> GraphicalLasso:
    found = graphical_lasso(S, penalty, start)
    assert found is not None
    return found


def misfit(found: GraphicalLasso) -> float:
    """The largest violation of the optimality conditions, on the scale of correlations."""
    S, Lambda, Omega = found.S, found.penalty, found.Omega
    slope = (S - torch.linalg.inv(Omega)) / found.scale / found.scale[:, None]
    Lambda = Lambda / found.scale / found.scale[:, None]
    there = (slope + Lambda.nan_to_num(posinf=0.0) * Omega.sign()).abs()
    absent = (slope.abs() - Lambda).clamp_min(0.0)
    return float(torch.where(Omega != 0, there, absent).max())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 25), st.integers(2, 40), st.floats(0.02, 0.95), st.integers(0, 10**6))
def test_the_conditions_of_the_optimum_hold_in_any_units(p: int, n: int, share: float, seed: int) -> None:
    S = covariance(p, n, seed, spread=3.0)
    found = solved(S, even(S, share))
    assert misfit(found) < 1e-6
    assert found.gap < 1e-11 * (p + float((S * found.Omega).abs().sum()))
    assert torch.equal(found.Omega, found.Omega.T)
    assert torch.allclose(found.Omega @ found.Sigma, torch.eye(p).double(), atol=1e-8)


def test_the_dual_problem_has_the_same_solution() -> None:
    """Of largest determinant among the matrices that differ from S by no more than the penalties, by scipy."""
    S = covariance(8, 200, 1, spread=0.0)
    Lambda, p = even(S, 0.2), len(S)
    j, k = np.triu_indices(p)

    def whole(w: np.ndarray) -> np.ndarray:
        W = np.zeros((p, p))
        W[j, k] = W[k, j] = w
        return W

    def minus_logdet(w: np.ndarray) -> tuple[float, np.ndarray]:
        W = whole(w)
        slope = -np.linalg.inv(W)[j, k] * np.where(j == k, 1.0, 2.0)
        return -np.linalg.slogdet(W)[1], slope

    s, around = S.numpy()[j, k], Lambda.numpy()[j, k]
    found = minimize(
        minus_logdet, s, jac=True, bounds=np.c_[s - around, s + around], method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000},
    )  # fmt: skip
    ours = solved(S, Lambda)
    assert np.allclose(ours.Sigma, whole(found.x), atol=1e-5)
    assert math.isclose(ours.value, p - found.fun, rel_tol=1e-9)
    assert 0 < int(torch.triu(ours.Omega, 1).count_nonzero()) < p * (p - 1) // 2


def test_without_penalty_it_is_the_inverse_and_with_a_large_one_diagonal() -> None:
    S = covariance(8, 100, 2)
    assert torch.allclose(solved(S, torch.zeros_like(S)).Omega @ S, torch.eye(8).double(), atol=1e-6)
    alone = solved(S, even(S, 1.0))
    assert torch.allclose(alone.Omega, (1.0 / S.diagonal()).diag()) and alone.steps == 0
    assert math.isclose(alone.value, float(S.diagonal().log().sum()) + 8)


def test_pairs_without_penalty_are_fitted_and_forbidden_ones_are_not() -> None:
    S = covariance(9, 60, 3)
    Lambda = even(S, 0.4)
    Lambda[0, 1] = Lambda[1, 0] = 0.0
    Lambda[2, 3:] = Lambda[3:, 2] = math.inf
    found = solved(S, Lambda)
    assert misfit(found) < 1e-7
    assert math.isclose(float(found.Sigma[0, 1]), float(S[0, 1]), rel_tol=1e-6)
    assert not found.Omega[2, 3:].any()


def test_a_penalty_on_the_diagonal_adds_to_variances() -> None:
    S = covariance(6, 60, 4)
    Lambda = even(S, 0.2)
    Lambda.diagonal().copy_(0.3 * S.diagonal())
    found = solved(S, Lambda)
    assert misfit(found) < 1e-7
    assert torch.allclose(found.Sigma.diagonal(), 1.3 * S.diagonal(), rtol=1e-7)


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_it_does_not_matter_where_it_begins(share: float) -> None:
    S = covariance(15, 30, 5)
    cold = solved(S, even(S, share))
    for start in (solved(S, even(S, 0.02)).Omega, solved(S, even(S, 0.9)).Omega, torch.eye(15).double() * 1e6):
        warm = solved(S, even(S, share), start)
        assert torch.equal(warm.Omega != 0, cold.Omega != 0)
        assert torch.allclose(warm.Omega, cold.Omega, rtol=1e-5, atol=1e-7)
    assert solved(S, even(S, share), cold.Omega).steps <= 1


def test_groups_are_solved_apart_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [covariance(5, 30, seed, spread=0.0) for seed in (6, 7, 8)]
    S = torch.block_diag(*parts) + 0.01
    Lambda = even(S, 0.1)
    together = solved(S, Lambda)
    assert [len(group.features) for group in together.groups] == [15]
    monkeypatch.setattr(module, "TOGETHER", 0)
    apart = solved(S, Lambda)
    assert sorted(len(group.features) for group in apart.groups) == [5, 5, 5]
    assert torch.allclose(together.Omega, apart.Omega, atol=1e-8)
    for j, k in ((0, 5), (0, 10), (5, 10)):  # no entry between groups, as the conditions of the optimum say
        assert not together.Omega[j : j + 5, k : k + 5].any()


def test_components_are_those_of_the_graph() -> None:
    chain = torch.zeros(9, 9, dtype=torch.bool)
    for j, k in ((8, 3), (3, 6), (1, 2)):
        chain[j, k] = chain[k, j] = True
    alone, groups = components(chain)
    assert alone.tolist() == [0, 4, 5, 7]
    assert [group.tolist() for group in groups] == [[1, 2], [3, 6, 8]]
    assert [group.tolist() for group in merged(groups)] == [[1, 2, 3, 6, 8]]


@pytest.mark.parametrize("most", [0, module.MOST])
def test_its_derivative_is_that_of_finite_differences(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", most)  # by conjugate gradients, or a factor of the Hessian
    S = covariance(14, 20, 9)
    Lambda = even(S, 0.3)
    sd = S.diagonal().sqrt()
    g = torch.Generator().manual_seed(10)
    half = torch.randn(14, 14, generator=g).double()
    dS = (half + half.T) * sd * sd[:, None]
    found, h = solved(S, Lambda), 1e-6
    assert len(found.groups) and len(found.alone)
    numeric = (solved(S + h * dS, Lambda).Omega - solved(S - h * dS, Lambda).Omega) / (2 * h)
    exact = found.change(dS)
    units = sd * sd[:, None]
    assert torch.allclose(exact * units, numeric * units, rtol=1e-5, atol=1e-5 * float((exact * units).abs().max()))


def test_what_is_no_covariance_has_no_solution() -> None:
    S = covariance(4, 20, 11)
    assert graphical_lasso(torch.where(torch.eye(4) > 0, 0.0, S), even(S, 0.3)) is None
    assert graphical_lasso(S * math.nan, even(S, 0.3)) is None
