"""More features than samples: the covariance in matrices of samples × samples is the one of features × features."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from plncli.models.pln.elbo import LatentTable, plain_objective
from plncli.models.pln.emissions import Poisson
from plncli.models.pln.means import Linear
from plncli.models.pln.preconditioner import feature_preconditioner
from plncli.models.pln.structures import Full, full
from plncli.models.pln.wide import Wide
from plncli.numerics.linalg import orthonormal_basis

SIZES = [(8, 40), (30, 30), (25, 10), (1, 5), (12, 1)]


def drawn(n: int, p: int, seed: int = 0) -> list[torch.Tensor]:
    """Residuals and variances on scales from 0.01 to 10, a direction of both, and weights."""
    g = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-2, 1, p, dtype=torch.float64)
    R, dR = (scale * torch.randn(n, p, generator=g, dtype=torch.float64) for _ in range(2))
    S2 = scale * (0.01 + torch.rand(n, p, generator=g, dtype=torch.float64))
    dS2 = S2 * torch.randn(n, p, generator=g, dtype=torch.float64)
    return [R, S2, dR, dS2, 0.5 + torch.rand(n, generator=g, dtype=torch.float64)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "p"), SIZES)
def test_both_forms_answer_alike(n: int, p: int, weighted: bool) -> None:
    R, S2, dR, dS2, w = drawn(n, p)
    weights, wbar = (w, float(w.sum())) if weighted else (None, float(n))
    narrow, wide = Full(R, S2, weights, wbar), Wide(R, S2, weights, wbar)

    def close(a: torch.Tensor, b: torch.Tensor) -> None:
        # Rounding, times what Sigma's condition of up to 1e6 makes of it.
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10 * float(a.abs().max()))

    close(narrow.value, wide.value)
    close(narrow.precision, wide.precision)
    close(narrow.pull, wide.pull)
    for a, b in zip(narrow.turn(dR.clone(), dS2), wide.turn(dR.clone(), dS2), strict=True):
        close(a, b)
    close(narrow.covariance(), wide.covariance())
    close(narrow.inverse(), wide.inverse())
    for a, b in zip(narrow.couple(dR, dS2.mean(0)) or (), wide.couple(dR, dS2.mean(0)) or (), strict=True):
        close(a.diagonal(), b)
    bent = narrow.curve(dR)
    assert bent is not None
    close(bent, wide.curve(dR))
    first, second = narrow.bent(0.3), wide.bent(0.3)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        close(first[1].sort().values, second[1].sort().values)
        close((first[0] * first[1]) @ first[0].mT, (second[0] * second[1]) @ second[0].mT)


def test_variances_that_are_gone_have_no_value() -> None:
    R, S2, *_ = drawn(5, 20)
    S2[:, 3] = 0.0
    assert float(Wide(R, S2, None, 5.0).value) == float("inf")
    S2[:, 3] = torch.nan
    assert float(Wide(R, S2, None, 5.0).value) == float("inf")


def test_the_form_is_chosen_by_what_it_costs() -> None:
    assert isinstance(full(*drawn(10, 17)[:2], None, 10.0), Wide)
    assert isinstance(full(*drawn(10, 16)[:2], None, 10.0), Full)


@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives_are_those_of_the_plain_objective(weighted: bool) -> None:
    n, p = 6, 14
    g = torch.Generator().manual_seed(5)
    w = 0.5 + torch.rand(n, generator=g).double() if weighted else None
    ones = torch.ones(n, dtype=torch.float64) if w is None else w
    Y = torch.poisson(3.0 * torch.rand(n, p, generator=g), generator=g).double()
    X = torch.randn(n, 2, generator=g, dtype=torch.float64)
    K = (torch.rand(n, p, generator=g) > 0.2).double()
    emission = Poisson(Y, torch.randn(n, 1, generator=g).double(), K, w, 1.5)
    tables = [
        LatentTable(emission, Linear(orthonormal_basis(X, ones).Q, w, float(ones.sum())), layer, w, float(ones.sum()))
        for layer in (full, Full)
    ]
    q = torch.randn(2, n, p, generator=g, dtype=torch.float64)
    at, v = tables[0].at(q), torch.randn(2, n, p, generator=g, dtype=torch.float64)
    assert isinstance(at.layer, Wide)
    plain = partial(plain_objective, table=tables[1])
    close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    close(at.gradient(), torch.autograd.functional.jacobian(plain, q))
    close(at.product(v), torch.autograd.functional.hvp(plain, q, v)[1])
    apply, u = feature_preconditioner(q, tables[0]), torch.randn(2, n, p, generator=g, dtype=torch.float64)
    close((u * apply(v)).sum(), (v * apply(u)).sum())
    assert float((v * apply(v)).sum()) > 0.0
