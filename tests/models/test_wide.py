"""More features than samples: the covariance in matrices of samples × samples is the one of features × features."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from plncli.models.pln.elbo import LatentTable, plain_objective
from plncli.models.pln.emissions import Poisson
from plncli.models.pln.errors.iterative import CurvatureProducts, own_inverses, solved
from plncli.models.pln.errors.sandwich import _inverter
from plncli.models.pln.means import Linear
from plncli.models.pln.precondition.features import block_curvature
from plncli.models.pln.precondition.samples import SampleBlocks
from plncli.models.pln.precondition.whole import feature_preconditioner
from plncli.models.pln.structures import Full, full
from plncli.models.pln.wide import Wide
from plncli.numerics.covariance import DenseCovariance, FactoredCovariance
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
    close(narrow.covariance().dense(), wide.covariance().dense())
    close(narrow.inverse().dense(), wide.inverse().dense())
    for a, b in zip(narrow.couple(dR, dS2.mean(0)) or (), wide.couple(dR, dS2.mean(0)) or (), strict=True):
        close(a.diagonal(), b)
    bent = narrow.curve(dR)
    assert (bent is None) == (n >= p)  # where residuals have full rank
    if bent is not None:
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
    apply, u = feature_preconditioner(tables[0].at(q)), torch.randn(2, n, p, generator=g, dtype=torch.float64)
    close((u * apply(v)).sum(), (v * apply(u)).sum())
    assert float((v * apply(v)).sum()) > 0.0


@pytest.mark.parametrize("weighted", [False, True])
def test_loadings_make_omega_of_its_diagonal_part(weighted: bool) -> None:
    R, S2, _, _, w = drawn(8, 40)
    wide = Wide(R, S2, w if weighted else None, float(w.sum()) if weighted else 8.0)
    known = wide.loadings(1e-12)
    assert known is not None
    c, G, leverage = known
    torch.testing.assert_close(torch.diag(c) - (G.mT * leverage) @ G, wide.inverse().dense(), rtol=1e-8, atol=1e-8)
    assert wide.loadings(1.0) is None


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_samples_are_inverted(weighted: bool) -> None:
    n, p = 5, 20
    R, S2, _, _, w = drawn(n, p)
    q = torch.stack([R, S2.log()])
    weights, wbar = (w, float(w.sum())) if weighted else (None, float(n))
    emission = Poisson(
        torch.ones(n, p, dtype=torch.float64), torch.zeros(n, 1, dtype=torch.float64), None, weights, 0.0
    )
    ones = torch.ones(n, dtype=torch.float64) if weights is None else weights
    basis = orthonormal_basis(torch.ones(n, 1, dtype=torch.float64), ones).Q
    at = LatentTable(emission, Linear(basis, weights, wbar), Wide, weights, wbar).at(q)
    assert isinstance(at.layer, Wide)
    known = at.layer.loadings(1e-12)
    assert known is not None
    blocks = SampleBlocks(at, *known)
    v = torch.randn(n, p, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    MM, Mpsi, psipsi = block_curvature(at)
    cell = MM - Mpsi.square() / psipsi
    found = v / cell
    blocks.add(v.clone(), found)
    Omega = at.layer.inverse().dense()
    for i in range(n):
        weight = 1.0 if weights is None else float(weights[i])
        H = torch.diag(cell[i] - weight * Omega.diagonal()) + weight * Omega
        torch.testing.assert_close(H @ found[i], v[i], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("form", [Full, Wide])
def test_a_curve_keeps_the_rank_that_a_straight_step_loses(form: type[Full] | type[Wide]) -> None:
    n, p, rank = 12, 30, 3
    g = torch.Generator().manual_seed(2)
    left, right = torch.randn(n, rank, generator=g).double(), 10.0 * torch.randn(rank, p, generator=g).double()
    turned = torch.randn(n, rank, generator=g).double(), torch.randn(rank, p, generator=g).double()
    R, dR = left @ right, turned[0] @ right + left @ turned[1]
    layer = form(R, torch.full_like(R, 0.1), None, float(n))
    bent = layer.curve(dR)
    assert bent is not None
    t = 0.05

    def beyond(X: torch.Tensor) -> float:
        return float(torch.linalg.svdvals(X)[rank])

    assert beyond(R + t * dR + t * t * bent) < 0.1 * beyond(R + t * dR)


def test_precisions_of_samples_are_those_of_the_whole_covariance() -> None:
    R, S2, *_ = drawn(6, 25)
    Sigma = FactoredCovariance(S2.mean(0), R / 6**0.5)
    v = S2 * torch.logspace(-4, 4, 25, dtype=torch.float64).flip(0)
    v[2, 3] = v[4, 7] = 1e270  # cells that do not count
    found, wanted = torch.empty(6, 25, 25, dtype=torch.float64), torch.empty(6, 25, 25, dtype=torch.float64)
    _inverter(Sigma)(v, found)
    _inverter(DenseCovariance(Sigma.dense()))(v, wanted)
    scale = (Sigma.variances + v).sqrt()
    scale = scale[:, :, None] * scale[:, None, :]
    torch.testing.assert_close(found * scale, wanted * scale, rtol=1e-9, atol=1e-9)
    _inverter(FactoredCovariance(-Sigma.D, Sigma.V))(0.0 * v, found)
    assert bool(found.isnan().all())


def test_conjugate_gradients_solve_with_the_curvature_of_coefficients_and_variances() -> None:
    n, q, d = 6, 20, 2
    R, S2, E, *_ = drawn(n, q)
    g = torch.Generator().manual_seed(3)
    Q, w = torch.randn(n, d, generator=g, dtype=torch.float64), 0.5 + torch.rand(n, generator=g, dtype=torch.float64)
    Sigma, bend = FactoredCovariance(S2.mean(0), R / n**0.5), 10.0 + torch.rand(q, generator=g, dtype=torch.float64)
    v, shift, E = S2 + 0.1, torch.randn(n, q, generator=g, dtype=torch.float64), 0.01 * E
    H = torch.zeros(d + 1, q, d + 1, q, dtype=torch.float64)
    for i in range(n):
        W = torch.linalg.inv(Sigma.dense() + torch.diag(v[i]))
        t = torch.stack([*(Q[i, k].expand(q) for k in range(d)), shift[i]])
        H += w[i] * t[:, :, None, None] * W[None, :, None, :] * t
        for k in range(d):
            across = torch.diag(w[i] * Q[i, k] * E[i])
            H[k, :, d] += across
            H[d, :, k] += across
    H[d, :, d] += torch.diag(bend)
    products = CurvatureProducts(Sigma, Q, w, E, v, shift, bend)
    x = torch.randn(d + 1, 4, q, generator=g, dtype=torch.float64)
    torch.testing.assert_close(products.times(x), torch.einsum("kjlm,lbm->kbj", H, x), rtol=1e-9, atol=1e-9)
    blocks = products.own_blocks()
    torch.testing.assert_close(blocks, H.diagonal(dim1=1, dim2=3).permute(2, 0, 1), rtol=1e-9, atol=1e-9)
    precondition = own_inverses(blocks)
    assert precondition is not None
    found = solved(products.times, precondition, x)
    assert found is not None
    wanted = torch.linalg.solve(H.reshape((d + 1) * q, -1), x.permute(0, 2, 1).reshape((d + 1) * q, 4))
    torch.testing.assert_close(found.permute(0, 2, 1).reshape((d + 1) * q, 4), wanted, rtol=1e-6, atol=1e-7)
    assert solved(lambda x: -products.times(x), precondition, x) is None
