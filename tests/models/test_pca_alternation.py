"""Alternation of features and samples: what its steps change and what not, and where they lead."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models.pca.evaluation import STEEP, Trade, inverses
from plncli.models.pca.model import PCA
from plncli.models.pca.profile import evaluated
from plncli.models.pca.starting.alternation import ByBlocks, Whole
from plncli.models.pca.starting.mixing import Mixing
from plncli.models.pca.starting.start import of_log_counts, settled
from plncli.models.pca.table import Table
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(tol=1e-11)


def drawn(n: int, p: int, q: int, seed: int) -> Dataset:
    """A table of the model with a covariate; some counts missing, some samples of weight 2."""
    g = torch.Generator().manual_seed(seed)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    B = torch.cat([torch.full((1, p), 1.5), 0.4 * torch.randn(1, p, generator=g)]).double()
    Z = X @ B + torch.randn(n, q, generator=g).double() @ (0.6 * torch.randn(q, p, generator=g).double())
    K = torch.rand(n, p, generator=g) > 0.1
    w = 1.0 + (torch.arange(n) % 3 == 0).double()
    return Dataset(torch.poisson(Z.exp(), generator=g) * K, X, torch.zeros(n, 1).double(), w, K)


@cache
def one() -> FitResult:
    """A tight fit of rank 3 to 60 samples × 8 features."""
    return fit(PCA(rank=3), drawn(60, 8, 3, seed=4), stop=TIGHT)


def theta_of(result: FitResult) -> tuple[Tensor, Table]:
    """Parameters and table of a fit."""
    prepared = result.model.prepare(result.data)
    G = prepared.basis.reduced(result.estimates["B"])
    return torch.cat([G, result.estimates["C"].mT]), prepared.table


@pytest.mark.parametrize("seed", range(5))
def test_what_loadings_and_samples_trade_changes_no_cell_and_raises_the_bound(seed: int) -> None:
    table = PCA(rank=3).prepare(drawn(40, 7, 2, seed)).table
    now = Whole(table, of_log_counts(table))
    before, A = now.value, now.z.A.clone()
    now._trade()
    torch.testing.assert_close(now.z.A, A, rtol=1e-10, atol=0)
    assert now.value <= before
    assert table.w is not None
    M, S = now.z.M, now.z.S
    moments = (M.mT * table.w) @ M + (table.w[:, None, None] * S).sum(0)
    torch.testing.assert_close(moments / table.wbar, torch.eye(3).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close((table.Q.mT * table.w) @ M, torch.zeros(2, 3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(now.z.logdet, torch.linalg.slogdet(S).logabsdet)
    again = now.value
    now._trade()
    assert now.value == pytest.approx(again, abs=1e-9)  # it was the best


def test_rounds_never_lower_the_bound_and_end_at_the_optimum() -> None:
    result = one()
    _, table = theta_of(result)
    now = Whole(table, of_log_counts(table))
    values = []
    for rounds in (1, 2, 5, 10, 200):
        now = now.settled(rounds)
        values.append(now.value)
    assert values == sorted(values, reverse=True)
    assert now.value + table.constant == pytest.approx(result.optimum.value, abs=1e-6)


@pytest.mark.parametrize("block", [7, 60, 100])
@pytest.mark.parametrize("threads", [1, 2])
def test_rounds_by_blocks_are_those_of_the_whole(block: int, threads: int) -> None:
    _, table = theta_of(one())
    start, before = of_log_counts(table), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole, blocks = Whole(table, start), ByBlocks(replace(table, block=block), start)
        for rounds in (1, 3, 20):
            whole, blocks = whole.settled(rounds), blocks.settled(rounds)
            assert blocks.value == pytest.approx(whole.value, abs=1e-7)
            torch.testing.assert_close(blocks.theta, whole.theta, atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_counts_beyond_sense_are_no_state_by_blocks_either() -> None:
    _, table = theta_of(one())
    theta = of_log_counts(table)
    theta[0] += 1e3 * table.Q[:, 0].sum().sign()
    z = torch.zeros(60, 3).double(), torch.ones(60, 6).double(), torch.zeros(60).double()
    now = ByBlocks(replace(table, block=7), theta, z)
    now._follow()
    assert now.value == math.inf


@pytest.mark.parametrize("block", [None, 7])
def test_rounds_end_where_they_are_cancelled(block: int | None) -> None:
    _, table = theta_of(one())
    table, asked = replace(table, block=block), []

    def cancelled() -> bool:
        asked.append(len(asked))
        return len(asked) > 2

    theta = of_log_counts(replace(table, block=None))
    found = settled(table, theta, cancelled)
    assert len(asked) == 3
    torch.testing.assert_close(found, Whole(table, theta).settled(2).theta)


def test_a_start_far_from_the_best_is_given_up() -> None:
    _, table = theta_of(one())
    start = Whole(table, of_log_counts(table))
    assert start.settled(200, best=-math.inf).value > start.settled(200).value


def test_settled_is_near_the_optimum() -> None:
    result = one()
    _, table = theta_of(result)
    value = float(evaluated(settled(table, of_log_counts(table)), table).value)
    assert value == pytest.approx(result.optimum.value, abs=1e-2)


def directions(d: int, C: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations, and shifts and stretches, as rows (k×(d+q)p)."""
    q = C.shape[1]
    turns, trades = [], []
    for a in range(q):
        for b in range(q):
            X = torch.zeros(q, q).double()
            X[a, b] = 1.0
            zero = torch.zeros(d, len(C)).double()
            if a < b:
                turns.append(torch.cat([zero, (C @ (X - X.mT)).mT]).flatten())
            if a <= b:
                trades.append(torch.cat([zero, (C @ (X + X.mT)).mT]).flatten())
        for k in range(d):
            shift = torch.zeros(d + q, len(C)).double()
            shift[k] = C[:, a]
            trades.append(shift.flatten())
    return torch.stack(turns), torch.stack(trades)


def test_the_preconditioner_is_definite_leaves_rotations_and_knows_the_prior() -> None:
    theta, table = theta_of(one())
    at = evaluated(theta, table)
    precondition, n = at.preconditioner(), theta.numel()
    P = torch.stack([precondition(e.view_as(theta)).flatten() for e in torch.eye(n).double()])
    torch.testing.assert_close(P, P.mT, atol=1e-10, rtol=1e-8)
    turns, trades = directions(table.d, at.C)
    assert float((P @ turns.mT).abs().max()) < 1e-8  # C'C is diagonal, so rotations are orthogonal to its image
    values = torch.linalg.eigvalsh(P)
    assert int((values > 1e-10).sum()) == n - len(turns)
    H = torch.stack([at.product(e.view_as(theta)).flatten() for e in torch.eye(n).double()])
    found = trades @ H @ trades.mT
    stretches = (trades[:, table.d * 8 :] != 0).any(1)
    assert bool((found.diagonal()[~stretches] <= 1.0 + table.wbar).all())
    assert bool((found.diagonal() > 0.3 * table.wbar).all()) and bool((found.diagonal() < 9.0 * table.wbar).all())
    L = torch.linalg.eigh(P)
    half = L.eigenvectors[:, len(turns) :] * L.eigenvalues[len(turns) :].sqrt()
    spectrum = torch.linalg.eigvalsh(half.mT @ H @ half)
    assert float(spectrum[0]) > 0.05 and float(spectrum[-1]) < 5.0


def test_a_trade_has_no_part_in_rotations() -> None:
    g = torch.Generator().manual_seed(0)
    C, v = torch.randn(9, 3, generator=g).double(), torch.randn(5, 9, generator=g).double()
    trade = Trade.of(C, 2, 10.0)
    apart = trade.apart(v)
    turned = apart[2:] @ C
    torch.testing.assert_close(turned, turned.mT)
    torch.testing.assert_close(trade.apart(apart), apart)
    turns, _ = directions(2, C)
    rotation = torch.linalg.lstsq(turns.mT, (v - apart).flatten()).residuals
    assert float(rotation.abs().sum() if len(rotation) else 0.0) < 1e-20 * 9


def test_flat_blocks_are_inverted_in_their_other_directions() -> None:
    g = torch.Generator().manual_seed(0)
    H = torch.randn(4, 3, 5, generator=g).double()
    H = H @ H.mT
    H[1, :, 2] = H[1, 2, :] = 0.0
    H[2] = torch.ones(3, 3)
    found = inverses(H)
    torch.testing.assert_close(found[[0, 3]], torch.linalg.inv(H[[0, 3]]))
    torch.testing.assert_close(H[1] @ found[1] @ H[1], H[1])
    torch.testing.assert_close(H[2] @ found[2] @ H[2], H[2])
    assert STEEP > 0


def test_a_linear_iteration_ends_in_as_many_steps_as_it_has_directions() -> None:
    g = torch.Generator().manual_seed(2)
    A = torch.randn(6, 6, generator=g).double()
    A = torch.eye(6).double() + 0.2 * A @ A.mT
    A /= 1.1 * float(torch.linalg.eigvalsh(A)[-1]) / 2.0
    b, x, mixing = torch.randn(6, 1, generator=g).double(), torch.zeros(6, 1).double(), Mixing()
    for _ in range(8):  # without mixing what is left would fall to a hundredth
        f = b - A @ x
        step = mixing.step(x, f, lambda v: v)
        x = x + (f if step is None else step)
    assert float((b - A @ x).norm()) < 1e-4 * float(b.norm())
