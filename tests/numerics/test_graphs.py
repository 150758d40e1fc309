"""Random graphs: as many edges as asked for, of the kind that was asked for, and covariances that have them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from plncli.errors import UsageError
from plncli.simulation.graphs import GRAPHS, covariance_of_graph


def drawn(kind: str, p: int, edges: int | None, seed: int = 0, sd: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    Sigma, Omega = covariance_of_graph(kind, p, edges, sd, torch.Generator().manual_seed(seed))
    return Sigma, Omega, (Omega != 0) & ~torch.eye(p, dtype=torch.bool)


@given(st.sampled_from(GRAPHS), st.integers(1, 25), st.integers(0, 1000), st.floats(0.01, 100.0))
def test_a_covariance_has_the_edges_and_the_standard_deviations(kind: str, p: int, seed: int, sd: float) -> None:
    Sigma, Omega, linked = drawn(kind, p, None, seed, sd)
    assert torch.allclose(Sigma @ Omega, torch.eye(p).double(), atol=1e-8)
    assert torch.allclose(Sigma.diagonal(), torch.full((p,), sd * sd).double())
    assert torch.equal(linked, linked.T) and float(torch.linalg.eigvalsh(Sigma)[0]) > 0.0


@pytest.mark.parametrize("kind", GRAPHS)
def test_there_are_as_many_edges_as_asked_for(kind: str) -> None:
    for edges in (1, 7, 19):
        assert int(drawn(kind, 20, edges)[2].sum()) == 2 * edges
    with pytest.raises(UsageError, match="--edges must be from 1 to"):
        drawn(kind, 20, 191)
    assert not torch.equal(drawn(kind, 20, 7, seed=1)[2], drawn(kind, 20, 7, seed=2)[2])


def test_hubs_have_all_edges_and_blocks_keep_to_themselves() -> None:
    degrees = drawn("hub", 30, None)[2].sum(0)
    assert sorted(degrees.tolist())[:27] == [1] * 27 and int(degrees.sum()) == 54
    block = drawn("block", 30, 60)[2]
    group = torch.arange(30) * 3 // 30
    assert not bool(block[group[:, None] != group].any())
    uneven = [int(drawn("scale-free", 60, None, seed)[2].sum(0).max()) for seed in range(5)]
    even = [int(drawn("random", 60, 59, seed)[2].sum(0).max()) for seed in range(5)]
    assert sum(uneven) > 1.5 * sum(even)


def test_a_scale_free_graph_may_be_dense() -> None:
    assert int(drawn("scale-free", 8, 28)[2].sum()) == 56
