import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plncli.errors import DataError
from plncli.numerics.linalg import (
    cholesky_scaled,
    dependent_columns,
    implicit_basis,
    inverses,
    orthonormal_basis,
    weighted_grams,
)

F = torch.float64


def design(n=40, d=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, dtype=F, generator=g)
    X[:, 0] = 1.0
    return X, torch.rand(n, dtype=F, generator=g) + 0.1


@pytest.mark.parametrize("units", [[1, 1, 1, 1], [1, 1e12, 1e-12, 1e3], [1e-150, 1e150, 1, 1e200]])
def test_basis_is_orthonormal_and_spans_whatever_the_units(units):
    X, w = design()
    X = X * torch.tensor(units, dtype=F)
    basis = orthonormal_basis(X, w)
    gram = basis.Q.T @ (w[:, None] * basis.Q) / w.sum()
    assert torch.allclose(gram, torch.eye(4, dtype=F), atol=1e-14)
    assert torch.all((basis.Q @ basis.T - X).abs() <= 1e-14 * X.abs().amax(0))
    assert torch.equal(basis.T, basis.T.triu())


def test_coefficients_and_reduced_undo_each_other_and_keep_the_fit():
    X, w = design()
    basis = orthonormal_basis(X * torch.tensor([1, 1e9, 1e-9, 1], dtype=F), w)
    G = torch.arange(8, dtype=F).reshape(4, 2)
    B = basis.coefficients(G)
    assert torch.allclose(basis.reduced(B), G, rtol=1e-13)
    assert torch.allclose(X * torch.tensor([1, 1e9, 1e-9, 1], dtype=F) @ B, basis.Q @ G, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("units", [1.0, 1e12, 1e-12])
def test_dependent_columns_are_named_with_what_they_are_made_of(units, dtype):
    X, w = design()
    sums = X[:, 1] - 3 * X[:, 2]
    Z = torch.stack([X[:, 0], X[:, 1] * units, X[:, 2], sums, X[:, 3], torch.zeros(40, dtype=F)], 1).to(dtype)
    assert dependent_columns(Z) == [(3, (1, 2)), (5, ())]
    assert dependent_columns(Z, w.to(dtype)) == [(3, (1, 2)), (5, ())]
    with pytest.raises(DataError, match="`d` is a linear combination of `b`, `c`; `f` is zero in every sample"):
        orthonormal_basis(Z, w.to(dtype), "abcdef")


def test_dummy_trap_and_near_dependence():
    H = torch.nn.functional.one_hot(torch.arange(12) % 3).to(F)
    X = torch.cat([torch.ones(12, 1, dtype=F), H], 1)
    assert dependent_columns(X) == [(3, (0, 1, 2))]
    year = 2000.0 + torch.arange(12, dtype=F)
    seconds = 1.7e9 + torch.arange(12, dtype=F)
    for column in (year, seconds):  # nearly constant, yet not so: no column is refused that can be estimated
        assert dependent_columns(torch.stack([torch.ones(12, dtype=F), column], 1)) == []


def test_more_columns_than_samples_is_said_as_such():
    X, w = design(n=3, d=4)
    with pytest.raises(DataError, match=r"more coefficients \(4: x1, x2, x3, x4\) than samples \(3\)"):
        orthonormal_basis(X, w)


@pytest.mark.parametrize(
    ("units", "formed"), [([1, 1, 1, 1], False), ([1, 1e12, 1e-12, 1e3], False), ([1e-150, 1e150, 1, 1e200], True)]
)
def test_implicit_basis_is_the_same_without_a_copy_of_the_table(units, formed):
    X, w = design(n=500)
    X = X * torch.tensor(units, dtype=F)
    basis, other = implicit_basis(X, w), orthonormal_basis(X, w)
    sign = (basis.T.diagonal() * other.T.diagonal()).sign()
    assert basis.formed == formed
    assert formed or basis.A is X
    assert torch.allclose(basis.whole().Q, other.Q * sign, atol=1e-12)
    assert torch.allclose(basis.T / other.T.abs().amax(0), other.T * sign[:, None] / other.T.abs().amax(0), atol=1e-12)
    assert torch.allclose(basis.total @ basis.U, w @ basis.whole().Q, atol=1e-11)
    G = torch.arange(8, dtype=F).reshape(4, 2)
    assert torch.allclose(X @ basis.coefficients(G), basis.A @ basis.inner(G), atol=1e-11)


@pytest.mark.parametrize(("dtype", "origin"), [(torch.float64, 1e6), (torch.float32, 1e3)])
def test_an_ill_conditioned_design_gets_a_basis_in_memory(dtype, origin):
    counted = origin + torch.arange(40, dtype=dtype)
    basis = implicit_basis(torch.stack([torch.ones(40, dtype=dtype), counted], 1), torch.ones(40, dtype=dtype))
    assert basis.formed
    assert torch.allclose(basis.A.mT @ basis.A / 40, torch.eye(2, dtype=dtype), atol=10 * torch.finfo(dtype).eps)


def test_empty_design_has_an_empty_basis():
    basis = orthonormal_basis(torch.zeros(5, 0), torch.ones(5))
    assert basis.Q.shape == (5, 0)
    assert implicit_basis(torch.zeros(5, 0), torch.ones(5)).A.shape == (5, 0)
    assert basis.coefficients(torch.zeros(0, 2)).shape == (0, 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-12, 12), min_size=4, max_size=4), st.integers(0, 1000))
def test_cholesky_of_any_scale(powers, seed):
    scale = 10.0 ** torch.tensor(powers, dtype=F)
    C = torch.corrcoef(torch.randn(4, 40, dtype=F, generator=torch.Generator().manual_seed(seed)))
    Sigma = C * scale * scale[:, None]
    factor = cholesky_scaled(Sigma)
    assert torch.all((factor.L @ factor.L.T - Sigma).abs() <= 1e-14 * scale * scale[:, None])
    expected = torch.linalg.slogdet(C).logabsdet + 2 * scale.log().sum()
    assert math.isclose(factor.logdet, expected, rel_tol=1e-12, abs_tol=1e-11)
    inverse = torch.linalg.inv(C) / scale / scale[:, None]
    error = (factor.inverse() - inverse).abs() * scale * scale[:, None]
    assert torch.all(error <= 1e-11)
    solved = factor.solve(Sigma) * scale[:, None] / scale
    assert torch.allclose(solved, torch.eye(4, dtype=F), atol=1e-11)


@pytest.mark.parametrize(
    "Sigma",
    [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]], [[math.nan, 0.0], [0.0, 1.0]]],
)
def test_cholesky_of_what_is_not_positive_definite_is_none(Sigma):
    assert cholesky_scaled(torch.tensor(Sigma, dtype=F)) is None


def test_inverses_of_what_is_not_positive_definite_are_nan_and_leave_the_others_alone():
    bad = [
        torch.tensor(G, dtype=F)
        for G in ([[0, 0], [0, 1]], [[1, 0], [0, 0]], [[1, 2], [2, 1]], [[float("nan"), 0], [0, 1]])
    ]
    good = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=F)
    found = inverses(torch.stack([bad[0], good, *bad[1:]]))
    assert found[[0, 2, 3, 4]].isnan().all()
    np.testing.assert_allclose(found[1], np.linalg.inv(good), rtol=1e-15)


def test_cholesky_derivatives():
    A = torch.randn(3, 3, dtype=F, generator=torch.Generator().manual_seed(1)).requires_grad_(True)

    def logdet(A):
        return cholesky_scaled(A @ A.T + torch.eye(3, dtype=F)).logdet

    assert torch.autograd.gradcheck(logdet, A)
    assert torch.autograd.gradgradcheck(logdet, A)


@pytest.mark.parametrize("p", [1, 7])
@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_weighted_grams(p, block):
    X, _ = design()
    V = torch.rand(40, p, dtype=F, generator=torch.Generator().manual_seed(2))
    expected = torch.einsum("ia,ij,ib->jab", X, V, X)
    assert torch.allclose(weighted_grams(X, V, block=block), expected, atol=1e-12)
