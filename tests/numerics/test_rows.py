from __future__ import annotations

import threading

import pytest
import torch

from plncli.numerics.rows import (
    accumulate,
    gram,
    grand_total,
    group_totals,
    mean,
    over_rows,
    total,
    weigh,
    weighted_total,
)


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


@pytest.fixture
def rows():
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(n, generator=g, dtype=torch.float64) for n in ((20, 3), (20, 2), (20,)))


def test_sums_are_those_of_the_definition(rows):
    A, B, w = rows
    close = torch.testing.assert_close
    close(total(A), torch.stack([*A]).cumsum(0)[-1])
    close(mean(A), total(A) / 20)
    close(grand_total(A), total(total(A)))
    close(weighted_total(w, A), total(weigh(w, A)))
    close(gram(A, B), torch.stack([torch.outer(a, b) for a, b in zip(A, B, strict=True)]).sum(0))
    assert weigh(None, A) is A


def test_sums_of_the_parts_add_up(rows):
    """What makes it lawful to sum over blocks, ranks or files: a sum is that of the first rows and of the others."""
    A, B, w = rows
    for f in (
        lambda part: total(A[part]),
        lambda part: grand_total(A[part]),
        lambda part: gram(A[part], B[part]),
        lambda part: weighted_total(w[part], A[part]),
    ):
        torch.testing.assert_close(f(slice(0, 8)) + f(slice(8, 20)), f(slice(0, 20)))
    groups = torch.arange(20) % 3
    whole = group_totals(A, groups, 4)
    torch.testing.assert_close(group_totals(A[:8], groups[:8], 4) + group_totals(A[8:], groups[8:], 4), whole)
    assert torch.equal(whole[3], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(whole[1], total(A[groups == 1]))


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_add_to_a_sum_in_turn(rows, block):
    A, _, _ = rows
    out = torch.zeros(3, 3, dtype=torch.float64)
    (found,) = accumulate((out,), lambda rows: out.addmm_(A[rows].mT, A[rows]), 20, 3, block)
    assert found is out
    torch.testing.assert_close(out, A.mT @ A)
