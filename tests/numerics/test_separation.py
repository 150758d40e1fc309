import itertools
import math
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog
from tries import examples

from plncli.numerics.linalg import dependent_columns, orthonormal_basis
from plncli.numerics.separation import PredictorLimits, bernoulli_separation, poisson_separation

F = torch.float64
GROUPS = torch.arange(9) % 3
ONE_HOT = torch.nn.functional.one_hot(GROUPS).to(F)
TREATMENT = torch.cat([torch.ones(9, 1, dtype=F), ONE_HOT[:, 1:]], 1)


def counts_zero_in(*groups):
    Y = torch.ones(9, 1, dtype=F)
    for g in groups:
        Y[g == GROUPS] = 0
    return Y


def limits(X, Y, K=None):
    """Course of the coefficients of the first feature."""
    found = poisson_separation(X, Y, K)
    found = [0.0] * X.shape[1] if found is None else found.limits()[:, 0].tolist()
    return [int(v) if math.isfinite(v) else None for v in found]


@pytest.mark.parametrize(
    ("X", "zero", "expected"),
    [
        (ONE_HOT, (1,), [0, -1, 0]),
        (ONE_HOT, (0, 2), [-1, 0, -1]),
        (TREATMENT, (1,), [0, -1, 0]),
        (TREATMENT, (0,), [-1, 1, 1]),
        (TREATMENT, (0, 1), [-1, None, 1]),  # the difference of two coefficients that both go to −inf is open
        (TREATMENT, (1, 2), [0, -1, -1]),
        (TREATMENT, (0, 1, 2), [-1, None, None]),
        (TREATMENT, (), [0, 0, 0]),
    ],
)
@pytest.mark.parametrize("units", [[1, 1, 1], [1e12, 1e-12, 1]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_groups(X, zero, expected, units, dtype):
    X = (X * torch.tensor(units, dtype=F)).to(dtype)
    Y = counts_zero_in(*zero).to(dtype)
    assert limits(X, Y) == expected
    found = poisson_separation(X, Y)
    assert (found is None) == (not zero)
    if zero:
        assert torch.equal(found.cells, Y == 0)


def line(x):
    x = torch.tensor(x, dtype=F)
    return torch.stack([torch.ones_like(x), x], 1)


@pytest.mark.parametrize(
    ("x", "y", "expected", "separated"),
    [
        ([-2, -1, 0, 1, 2], [1, 3, 1, 0, 0], [0, 0], 0),  # two different x with counts fix the line
        ([0, 0, 0, 1, 2], [1, 0, 3, 0, 0], [0, -1], 2),
        ([-2, -1, 0, 0, 1], [0, 0, 2, 0, 0], [0, 0], 0),  # zeros on both sides hold the slope
        ([5, 5, 6, 8], [2, 1, 0, 0], [1, -1], 2),
        ([-2, -1, 0, 3], [0, 0, 0, 1], [-1, 1], 3),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 1e9, 1e-9])
def test_continuous_covariate(x, y, expected, separated, unit):
    X, Y = line(x) * torch.tensor([1.0, unit], dtype=F), torch.tensor(y, dtype=F)[:, None]
    assert limits(X, Y) == expected
    found = poisson_separation(X, Y)
    assert (0 if found is None else int(found.cells.sum())) == separated


def test_unobserved_cells_are_ignored():
    K = (GROUPS != 1)[:, None]
    found = poisson_separation(TREATMENT, counts_zero_in(), K)
    assert not found.cells.any()
    assert limits(TREATMENT, counts_zero_in(), K) == [0, None, 0]  # not identified
    assert limits(TREATMENT, counts_zero_in(1, 2), K) == [0, None, -1]
    cells = poisson_separation(TREATMENT, counts_zero_in(1, 2), K).cells
    assert torch.equal(cells[:, 0], GROUPS == 2)


def test_features_are_told_apart_and_rows_may_come_in_any_order():
    Y = torch.cat([counts_zero_in(), counts_zero_in(0), counts_zero_in(1), counts_zero_in(0)], 1)
    found = poisson_separation(TREATMENT, Y)
    assert found.features == (1, 2, 3)
    assert found.limits().T.tolist() == [[0, 0, 0], [-1, 1, 1], [0, -1, 0], [-1, 1, 1]]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    again = poisson_separation(TREATMENT[order], Y[order])
    assert torch.equal(again.cells, found.cells[order])
    assert torch.equal(again.limits(), found.limits())


TWO_WAY = torch.tensor([[1, a == 1, b == 1, b == 2] for a in range(2) for b in range(3)], dtype=F)
# Additive two-way layouts are totally unimodular: in treatment coding all extreme directions lie on this grid.
GRID = torch.tensor(list(itertools.product([-2, -1, 0, 1, 2], repeat=4)), dtype=F)


def enumerate_cone(moves_equal, moves_down):
    """Separated rows, and the sign of each coefficient, over all directions of the grid that the cone holds."""
    moved = GRID @ TWO_WAY.T
    inside = GRID[(moved[:, moves_equal] == 0).all(1) & (moved[:, moves_down] <= 0).all(1)]
    separated = ((inside @ TWO_WAY.T) < 0).any(0) & moves_down
    signs = []
    for column in inside.T:
        down, up = bool((column < 0).any()), bool((column > 0).any())
        signs.append(None if down and up else -1 if down else 1 if up else 0)
    return separated, signs


@examples(40, 150)
@given(st.lists(st.sampled_from(["zero", "positive", "unobserved"]), min_size=6, max_size=6))
def test_two_way_layout_against_enumeration(cells):
    Y = torch.tensor([[float(c == "positive")] for c in cells], dtype=F)
    K = torch.tensor([[c != "unobserved"] for c in cells])
    separated, signs = enumerate_cone((Y > 0)[:, 0], ((Y == 0) & K)[:, 0])
    found = poisson_separation(TWO_WAY, Y, K)
    assert torch.equal(separated, torch.zeros(6, dtype=bool) if found is None else found.cells[:, 0])
    assert limits(TWO_WAY, Y, K) == signs


@examples(30, 100)
@given(st.integers(0, 10**6), st.integers(2, 3), st.integers(5, 12))
def test_integer_covariates_against_one_linear_program_per_row(seed, d, n):
    g = torch.Generator().manual_seed(seed)
    X = torch.randint(-2, 3, (n, d), generator=g).to(F)
    X[:, 0] = 1
    assume(not dependent_columns(X))
    Y = torch.bernoulli(torch.full((n, 1), 0.35, dtype=F), generator=g)
    positive, A = Y[:, 0].numpy() > 0, X.numpy()
    expected = []
    for i in range(n):
        floor = linprog(
            A[i],
            A_ub=np.vstack([A[~positive], -A[i]]),
            b_ub=np.append(np.zeros((~positive).sum()), 1.0),
            A_eq=A[positive] if positive.any() else None,
            b_eq=np.zeros(positive.sum()) if positive.any() else None,
            bounds=(None, None),
        )
        expected.append(floor.fun < -0.5)
    found = poisson_separation(X, Y)
    cells = [False] * n if found is None else found.cells[:, 0].tolist()
    assert cells == expected
    if found is not None:
        (cone,) = found.recessions
        moved = orthonormal_basis(X, torch.ones(n, dtype=F)).Q @ cone.delta
        assert (moved[found.cells[:, 0]] < 0).all()
        assert (moved[~found.cells[:, 0]].abs() < 1e-9 * cone.delta.abs().max()).all()


X_PLUS = line([1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("y", "separated", "infinite"),
    [
        ([0, 0, 0, 1, 1, 1], 6, [True, True]),  # complete (Albert & Anderson 1984, figure 1a)
        ([0, 1, 0, 1, 0, 1], 0, None),  # overlap
        ([0, 0, 1, 0, 1, 1], 0, None),
        ([1, 0, 0, 0, 0, 0], 6, [True, True]),
    ],
)
def test_bernoulli(y, separated, infinite):
    cone = bernoulli_separation(X_PLUS, torch.tensor(y, dtype=F))
    assert (0 if cone is None else int(cone.cells.sum())) == separated
    if infinite is not None:
        assert cone.infinite().tolist() == infinite


def test_bernoulli_quasi_complete():
    # The threshold itself holds both classes: quasi-complete separation (Albert & Anderson 1984, figure 1b).
    X, y = line([1, 2, 3, 3, 4, 5]), torch.tensor([0, 0, 0, 1, 1, 1], dtype=F)
    cone = bernoulli_separation(X, y)
    assert cone.cells.tolist() == [True, True, False, False, True, True]
    assert cone.limits().tolist() == [-1, 1]
    # A level of a factor seen with one class only; the others are left alone.
    cone = bernoulli_separation(TREATMENT, torch.tensor([0, 1, 0, 1, 1, 1, 0, 1, 0], dtype=F))
    assert cone.cells.tolist() == (GROUPS == 1).tolist()
    assert cone.limits().tolist() == [0, 1, 0]


@examples(30, 100)
@given(st.lists(st.sampled_from(["0", "1", "both"]), min_size=6, max_size=6))
def test_bernoulli_two_way_layout_against_enumeration(cells):
    X = TWO_WAY.repeat_interleave(2, 0)
    y = torch.tensor([v for c in cells for v in {"0": (0, 0), "1": (1, 1), "both": (0, 1)}[c]], dtype=F)
    moved = GRID @ X.T * (1 - 2 * y)
    inside = (moved <= 0).all(1)
    expected = (moved[inside] < 0).any(0)
    cone = bernoulli_separation(X, y)
    assert torch.equal(expected, torch.zeros(12, dtype=bool) if cone is None else cone.cells)
    if cone is not None:
        assert torch.equal(bernoulli_separation(X, y, candidates=cone.cells).cells, cone.cells)
        assert torch.equal(cone.infinite(), (GRID[inside] != 0).any(0))


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(4, 9))
@examples(7, 40)
def test_linear_predictors_of_any_sample_go_where_a_linear_program_says(seed, d, n):
    """Whether x'δ can be positive or negative over the cone, of the rows of the design and of others."""
    g = np.random.default_rng(seed)
    X = torch.from_numpy(g.integers(-2, 3, (n, d)).astype(float))
    assume(np.linalg.matrix_rank(X) == d)
    Y = torch.from_numpy(g.integers(0, 2, (n, 2)).astype(float))
    found = poisson_separation(X, Y)
    others = torch.cat([X, torch.from_numpy(g.integers(-2, 3, (5, d)).astype(float)), torch.eye(d, dtype=F)])
    others = others[(others != 0).any(1)]
    scaled = [
        found if found is None else poisson_separation(X * units, Y).predictor_limits().of_samples(others * units)
        for units in (1.0, 1e-6)
    ]
    for j in range(2):
        fixed, free = X[Y[:, j] > 0].numpy(), X[Y[:, j] == 0].numpy()
        bounds = {"A_ub": free, "b_ub": np.zeros(len(free))} if len(free) else {}
        equal = {"A_eq": fixed, "b_eq": np.zeros(len(fixed))} if len(fixed) else {}
        for i, x in enumerate(others.numpy()):
            up, down = (-linprog(sign * -x, **bounds, **equal, bounds=[(-1, 1)] * d).fun > 1e-9 for sign in (1.0, -1.0))
            for courses in scaled:
                course = 0.0 if courses is None else float(courses[i, j])
                assert course == (1.0 if up else -1.0 if down else 0.0) if up != down or not up else course != course


def test_what_tells_courses_is_kept_and_read_back():
    found = poisson_separation(TREATMENT, counts_zero_in(0)).predictor_limits()
    again = PredictorLimits.from_tensors(found.tensors() | {"other": torch.zeros(1)})
    assert found.of_samples(TREATMENT)[:, 0].tolist() == [-1.0, 0.0, 0.0] * 3
    assert torch.equal(again.of_samples(TREATMENT), found.of_samples(TREATMENT))
    assert PredictorLimits.from_tensors({}) is None


def test_groups_need_no_linear_program(monkeypatch):
    """Those of a factor are told without scipy, which takes longer to import than the fit of a small table."""
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    X = torch.nn.functional.one_hot(torch.arange(116) % 3).to(F)
    Y = torch.ones(116, 114, dtype=F)
    Y[X[:, 0] == 1, :5] = 0
    found = poisson_separation(X, Y)
    assert found.limits()[0].tolist() == [-1.0] * 5 + [0.0] * 109 and torch.equal(found.cells, Y == 0)


@pytest.mark.slow
def test_a_million_samples_take_seconds():
    g = torch.Generator().manual_seed(3)
    X = torch.randn(1_000_000, 20, dtype=F, generator=g)
    X[:, 0] = 1
    y = (X[:, 1] + 0.5 * X[:, 2] > 0.1).to(F)
    began = time.perf_counter()
    assert bernoulli_separation(X, y).cells.all()
    y[X[:, 1].abs() < 1e-3] = 1
    y[X[:, 1].abs() < 5e-4] = 0
    assert bernoulli_separation(X, y) is None
    assert time.perf_counter() - began < 60
