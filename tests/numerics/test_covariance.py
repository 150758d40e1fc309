"""Covariances whole and as factors answer alike, and as the matrix does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plncli.numerics.covariance import (
    Covariance,
    DenseCovariance,
    DensePrecision,
    DiagonalPrecision,
    FactoredCovariance,
    as_precision,
    definite,
)

P, R = 9, 3


def factors(seed: int = 0) -> tuple[Tensor, Tensor]:
    """D (p,) and V (r×p); the third feature has no variance."""
    g = torch.Generator().manual_seed(seed)
    D = torch.rand(P, generator=g, dtype=torch.float64) + 0.05
    V = torch.randn((R, P), generator=g, dtype=torch.float64)
    D[2], V[:, 2] = 0.0, 0.0
    return D, V


def both() -> list[Covariance]:
    D, V = factors()
    return [FactoredCovariance(D, V), DenseCovariance(torch.diag(D) + V.mT @ V)]


@pytest.mark.parametrize("covariance", both(), ids=["factored", "dense"])
def test_it_answers_as_the_matrix_does(covariance: Covariance) -> None:
    D, V = factors()
    Sigma = torch.diag(D) + V.mT @ V
    close = torch.testing.assert_close
    close(covariance.dense(), Sigma)
    close(covariance.variances, Sigma.diagonal())
    assert covariance.varied.tolist() == [0, 1, *range(3, P)]
    rows, columns = torch.tensor([5, 2, 0]), torch.tensor([0, 7, 5, 2])
    close(covariance.block(rows, columns), Sigma[rows][:, columns])
    assert not covariance.independent
    v = covariance.varied
    Omega = torch.linalg.inv(Sigma[v][:, v])
    precision = definite(covariance.precision())
    close(precision.dense(), Omega)
    close(precision.diagonal, Omega.diagonal())
    close(precision.logdet, -torch.linalg.slogdet(Sigma[v][:, v]).logabsdet)
    close(precision.block(rows, columns), Omega[rows][:, columns])
    A = torch.randn((4, len(v)), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    close(precision.times(A), A @ Omega)
    R = torch.cat([block for _, block in covariance.correlations()])
    close(R[v][:, v], (Sigma / Sigma.diagonal().sqrt() / Sigma.diagonal().sqrt()[:, None])[v][:, v])
    assert bool(R[2].isnan().all()) and bool(R[:, 2].isnan().all())


def test_draws_have_the_covariance() -> None:
    like = torch.zeros((200_000, P), dtype=torch.float64)
    for covariance in both():
        Z = covariance.draws(like, torch.Generator().manual_seed(3))
        assert float(Z[:, 2].abs().max()) == 0.0
        Sigma = covariance.dense()
        error = (Z.mT @ Z / len(Z) - Sigma).abs() / (Sigma.diagonal().outer(Sigma.diagonal()) + Sigma.square()).sqrt()
        assert float(error.nan_to_num().max()) < 5 / len(Z) ** 0.5  # in standard errors of a covariance


def test_no_inverse_where_it_is_not_positive_definite() -> None:
    D, V = factors()
    D[0] = 0.0  # varies, but not beyond what it shares
    assert FactoredCovariance(D, V[:1]).precision() is None
    assert DenseCovariance(torch.ones((2, 2), dtype=torch.float64)).precision() is None
    eye = torch.eye(2, dtype=torch.float64)
    assert DenseCovariance(eye, eye / 0.0).precision() is None and DenseCovariance(eye, -eye).precision() is None


def test_independent_features_are_found() -> None:
    D, V = factors()
    assert FactoredCovariance(D, torch.zeros_like(V)).independent
    alone = torch.zeros_like(V)
    alone[0, 4] = 1.0
    assert FactoredCovariance(D, alone).independent
    alone[0, 5] = 1.0
    assert not FactoredCovariance(D, alone).independent
    assert isinstance(as_precision(torch.eye(3)), DiagonalPrecision)
    assert isinstance(as_precision(torch.ones((3, 3))), DensePrecision)
