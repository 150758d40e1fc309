from __future__ import annotations

import threading

import pytest
import torch

from plncli.numerics.rows import over_rows


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 3, 1000])
def test_every_row_counts_once(threads, count, n):
    threads(count)
    X = torch.arange(2.0 * n, dtype=torch.float64).view(n, 2)
    rows_seen = torch.zeros(n)

    def work(rows):
        rows_seen[rows] += 1
        return X[rows].sum(0), X[rows].square().sum()

    total, squares = over_rows(work, X, width=2, block=20)
    assert torch.equal(total, X.sum(0))
    assert squares == X.square().sum()
    assert torch.equal(rows_seen, torch.ones(n))


def test_operations_inside_take_one_thread_and_those_outside_keep_theirs(threads):
    threads(2)
    seen = set()

    def work(rows):
        seen.add((threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        return (torch.ones(()),)

    assert over_rows(work, torch.ones(100, 1), width=1, block=10)[0] == 10
    assert seen == {(False, 1)}
    assert torch.get_num_threads() == 2


def test_an_error_in_a_block_reaches_the_caller(threads):
    threads(2)
    with pytest.raises(RuntimeError, match="size"):
        over_rows(lambda rows: (torch.ones(3) @ torch.ones(2),), torch.ones(10, 1), width=1, block=1)
