"""How stable links are: laws of the frequencies, whoever does the work, and the choice that rests on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tables import pln_table

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.stability import STABLE, Stability, Task, stability
from plncli.models.network.model import Network
from plncli.runs.path import best

VALUES = (0.6, 0.3, 0.1)


def table() -> Dataset:
    return pln_table(60, 5, seed=11)[0]


def found(data: Dataset, workers: int = 1, seed: int = 0) -> Stability:
    return stability(Network(), data, VALUES, 6, seed, workers, None, lambda: False)


def test_frequencies_are_shares_and_grow_as_the_penalty_falls() -> None:
    known = found(table())
    assert known.frequencies.shape == (3, 10)
    assert torch.equal((6 * known.frequencies).round(), 6 * known.frequencies)
    assert bool((known.frequencies.sum(1).diff() >= 0).all())
    assert bool((known.instability.diff() >= 0).all()) and float(known.instability.max()) <= 0.5
    whole = known.matrix(2, 5)
    assert torch.equal(whole, whole.T) and bool((whole.diagonal() == 1).all())
    assert float(whole[0, 1]) == float(known.frequencies[2, 0])


def test_the_seed_tells_the_subsamples_and_their_size() -> None:
    data = table()
    task = Task(Network(), data, VALUES, (1, 2), 48)
    rows = task.rows(0)
    assert len(rows) == 48 and bool((rows.diff() > 0).all())
    assert torch.equal(rows, task.rows(0)) and not torch.equal(rows, task.rows(1))
    assert torch.equal(found(data).frequencies, found(data).frequencies)


def test_clusters_stay_together() -> None:
    data = replace(table(), clusters=torch.arange(60) // 3)
    rows = Task(Network(), data, VALUES, (1,), 10).rows(0)
    assert len(rows) == 30
    assert torch.equal(torch.bincount(rows // 3, minlength=20).unique(), torch.tensor([0, 3]))


@pytest.mark.slow  # two processes, which load torch
def test_the_same_by_any_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plncli.inference.workers.WORTH", -1.0)
    assert torch.equal(found(table(), workers=2).frequencies, found(table()).frequencies)


def test_features_that_a_subsample_lacks_have_no_links_there() -> None:
    data = table()
    Y = data.Y.clone()
    Y[1:, 4] = 0.0
    Y[0, 4] = 3.0
    links = Task(Network(), replace(data, Y=Y), VALUES, tuple(range(4)), 40)
    parts = [links.part(index) for index in range(4)]
    without = [0 not in links.rows(index) for index in range(4)]
    assert any(without)
    j, k = torch.triu_indices(5, 5, 1)
    for part, lacks in zip(parts, without, strict=True):
        assert bool(part.fitted.all())
        assert not (lacks and bool(part.found[:, (k == 4)].any()))
    assert all(bool(part.found[-1].any()) for part in parts) and len(j) == 10


def test_that_no_subsample_can_be_fitted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise DataError("It cannot be.")

    monkeypatch.setattr("plncli.evaluation.stability.fit", refused)
    with pytest.raises(DataError, match="too few samples"):
        found(table())


def test_stars_takes_the_last_that_is_stable() -> None:
    rows = [{"instability": each, "status": "converged"} for each in (0.01, STABLE, 0.06, 0.2)]
    assert best(rows, "stars") == 1
    assert best([{"instability": 0.3, "status": "converged"}], "stars") == 0
    assert Stability((4.0, 3.0, 2.0, 1.0), torch.zeros(4, 1), torch.tensor([0.01, STABLE, 0.06, 0.2])).stable == 1
