"""Low rank by blocks of rows, and of counts without their zeros: the same numbers as of the whole table."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.pca.fitted import FittedPCA
from plncli.models.pca.model import PCA
from plncli.models.pca.profile import Blocked, evaluated
from plncli.models.pca.starting.start import of_log_counts, start
from plncli.models.pca.starting.subset import drawn, onto, subset
from plncli.optim.base import StopRule
from plncli.runs.fingerprint import fingerprint
from plncli.sparse import (
    block_of,
    column_counts,
    column_totals,
    columns_taken,
    csr,
    place_of_largest,
    row_totals,
    spread,
    taken,
)

N, P, RANK = 90, 12, 2


def table(n: int = N, p: int = P, seed: int = 0, level: float = -0.5) -> Dataset:
    """Mostly zeros, with groups, an offset and weights; the last feature is never seen in the last group."""
    g = torch.Generator().manual_seed(seed)
    group = torch.arange(n) % 3
    X = torch.stack([torch.ones(n), (group == 1).float(), (group == 2).float()], 1).double()
    B = torch.cat([torch.full((1, p), level), 0.4 * torch.randn(2, p, generator=g)]).double()
    O = 0.3 * torch.randn(n, 1, generator=g).double()
    Z = O + X @ B + torch.randn(n, RANK, generator=g).double() @ (0.7 * torch.randn(RANK, p, generator=g).double())
    Y = torch.poisson(Z.exp(), generator=g)
    Y[group == 2, p - 1] = 0.0
    Y[0] += 1.0
    return Dataset(Y, X, O, 1.0 + (torch.arange(n) % 4 == 0).double())


def without_zeros(data: Dataset) -> Dataset:
    """The same data, its counts kept without their zeros."""
    rows, columns = data.Y.nonzero(as_tuple=True)
    indptr = torch.zeros(data.n + 1, dtype=torch.int32)
    indptr[1:] = (data.Y != 0).sum(1).cumsum(0)
    return replace(data, Y=csr(indptr, columns.int(), data.Y[rows, columns], data.p))


def tables(block: int | None) -> list[Dataset]:
    """Dense, with missing counts and without; and sparse."""
    data = table()
    K = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(1)) > 0.1
    return [data, replace(data, Y=data.Y * K, K=K), *([without_zeros(data)] if block else [])]


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_sums_over_blocks_are_those_of_the_whole(block: int) -> None:
    for data in tables(block):
        whole = PCA(RANK).prepare(replace(data, Y=block_of(data.Y, slice(None)))).table
        theta = of_log_counts(whole)
        v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(2), dtype=theta.dtype)
        rows = None if data.sparse and block == 1000 else block
        expected, found = evaluated(theta, whole), evaluated(theta, PCA(RANK, block_rows=rows).prepare(data).table)
        assert isinstance(found, Blocked)
        assert float(found.value) == pytest.approx(float(expected.value), rel=1e-12)
        torch.testing.assert_close(found.gradient(), expected.gradient(), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(found.product(v), expected.product(v), rtol=1e-6, atol=1e-8)
        for profiled in (True, False):
            torch.testing.assert_close(found.blocks(profiled=profiled), expected.blocks(profiled=profiled))
        torch.testing.assert_close(found.scores, expected.scores)
        torch.testing.assert_close(found.covariances, expected.covariances)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_a_fit_by_blocks_is_that_of_the_whole(sparse: bool) -> None:
    """Estimates, criteria, findings, standard errors; what has no finite value has none either way."""
    data, stop = table(), StopRule(tol=1e-10)
    whole = fit(PCA(RANK), data, stop=stop, inference=InferenceRule("sandwich"))
    found = fit(
        PCA(RANK, block_rows=16),
        without_zeros(data) if sparse else data,
        stop=stop,
        inference=InferenceRule("sandwich"),
    )
    assert whole.converged and found.converged
    assert found.criteria.loglik == pytest.approx(whole.criteria.loglik, abs=1e-7)
    assert found.criteria.r2 == pytest.approx(whole.criteria.r2, abs=1e-7)
    assert found.criteria.icl == pytest.approx(whole.criteria.icl, abs=1e-3)
    assert [one.message for one in found.findings] == [one.message for one in whole.findings]
    assert {"M", "S"} <= {*whole.estimates} and not {"M", "S"} & {*found.estimates}
    for name in ("B", "C", "U", "U_sd", "share"):
        torch.testing.assert_close(found.estimates[name], whole.estimates[name], rtol=1e-4, atol=1e-4, equal_nan=True)
    assert bool(torch.isinf(found.estimates["B"]).any())
    assert found.inference is not None and whole.inference is not None
    torch.testing.assert_close(
        found.inference.std_error, whole.inference.std_error, rtol=1e-3, atol=1e-5, equal_nan=True
    )
    fitted = found.fitted
    assert isinstance(fitted, FittedPCA)
    torch.testing.assert_close(
        fitted.mean_residuals(found.data), whole.fitted.mean_residuals(data), rtol=1e-4, atol=1e-4
    )
    assert fingerprint(found.data) == fingerprint(data)


def test_counts_without_zeros_take_no_structural_zeros() -> None:
    with pytest.raises(DataError, match="dense table"):
        PCA(RANK, zero_inflation="single").prepare(without_zeros(table()))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table counts as large from 1000 cells on."""
    for name in ("WHOLE", "MANY"):
        monkeypatch.setattr(f"plncli.models.pca.spec.{name}", 1000)
    monkeypatch.setattr("plncli.models.pca.spec.FEWEST", 2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_some_samples_first_lead_to_an_optimum(sparse: bool) -> None:
    """By several levels, from the same seed to the same bits; no lower than the whole from the same start."""
    data = table(1600, 9, seed=4)
    data = without_zeros(data) if sparse else data
    prepared = PCA(RANK).prepare(data)
    few = subset(prepared, 0)
    assert few is not None and few.data.n == 200 and few.data.p == 9
    found, again = (fit(PCA(RANK), data) for _ in range(2))
    assert found.converged
    assert torch.equal(found.estimates["C"], again.estimates["C"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plncli.models.pca.spec.FEWEST", 10**9)
        directly = fit(PCA(RANK), data)
    assert found.criteria.loglik == pytest.approx(directly.criteria.loglik, abs=0.01)
    assert found.optimum.evaluations > len(found.optimum.trace) == found.optimum.steps + 1


def test_a_subset_has_the_same_share_of_each_group() -> None:
    X = torch.cat([torch.ones(800, 1), (torch.arange(800) % 10 == 0).double()[:, None]], 1).double()
    rows = drawn(X, 3)
    assert len(rows) == 100 and float(X[rows, 1].sum()) == 10.0
    assert len(set(rows.tolist())) == 100 and rows.tolist() == sorted(rows.tolist())
    assert rows.tolist() != drawn(X, 4).tolist()


@pytest.mark.usefixtures("small")
def test_features_that_a_subset_lacks_begin_at_their_mean() -> None:
    data = table(1600, 9, seed=5)
    rows = drawn(data.X, 0)
    Y = data.Y.clone()
    Y[rows, 4] = 0.0
    data = replace(data, Y=Y)
    prepared = PCA(RANK).prepare(data)
    few = subset(prepared, 0)
    assert few is not None and few.data.p == 8
    theta: Tensor = torch.randn((5, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = onto(theta, few, prepared)
    assert whole.shape == (5, 9)
    B = prepared.basis.coefficients(whole[:3])
    rate = (data.w @ data.Y[:, 4]) / (data.w @ data.O.exp()[:, 0])
    torch.testing.assert_close(B[:, 4], torch.stack([rate.log(), rate * 0, rate * 0]), rtol=1e-9, atol=1e-9)
    assert bool((whole[3:, 4] == 0).all())
    kept = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(B[:, kept], few.basis.coefficients(theta[:3]))
    torch.testing.assert_close(whole[3:, kept], theta[3:])


@pytest.mark.usefixtures("small")
def test_a_fit_that_is_cut_short_among_some_samples_is_a_result() -> None:
    """Of all samples, at what was known by then."""
    data = table(1600, 9, seed=4)
    for stop, status in ((StopRule(time_limit=0.0), "TIME_LIMIT"), (StopRule(cancelled=lambda: True), "INTERRUPTED")):
        found = fit(PCA(RANK), data, stop=stop)
        assert found.optimum.status.name == status and not found.converged
        assert [step.step for step in found.optimum.trace] == [0]
        assert found.estimates["U"].shape == (1600, RANK)
        assert found.criteria.loglik == pytest.approx(-found.optimum.value, rel=1e-9)


def test_a_component_that_is_missing_is_the_same_by_blocks() -> None:
    """Where a fit of one component less goes on: the direction that is lacked most."""
    data = table(400, 12, seed=6)
    one = fit(PCA(1), data, stop=StopRule(tol=1e-8))
    init = {"B_finite": one.state["B_finite"], "C": one.estimates["C"]}
    whole, blocks = (start(PCA(RANK, block_rows=rows).prepare(data), init)[-1] for rows in (None, 64))
    cosine = (whole @ blocks) / (whole.norm() * blocks.norm())
    assert abs(float(cosine)) > 0.95


@pytest.mark.usefixtures("small")
def test_an_earlier_fit_of_a_large_table_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any other start, and without the whole table."""
    monkeypatch.setattr("plncli.models.pca.starting.start.SEARCHED", 1000)
    data = without_zeros(table(1600, 9, seed=4))
    one = fit(PCA(1), data)
    monkeypatch.setattr("plncli.models.pca.table.Table.whole", lambda self: pytest.fail("the whole table"))
    two = fit(PCA(RANK), data, init={"B_finite": one.state["B_finite"], "C": one.estimates["C"]})
    assert two.converged and two.criteria.loglik > one.criteria.loglik + 10.0


def test_what_is_asked_of_a_table_without_zeros_is_that_of_the_dense_one() -> None:
    dense = table(50, 7, seed=8)
    Y = without_zeros(dense).Y
    rows, columns = torch.tensor([3, 0, 0, 49]), torch.tensor([6, 2])
    assert torch.equal(block_of(Y, slice(2, 9)), dense.Y[2:9])
    assert torch.equal(block_of(taken(Y, rows), slice(None)), dense.Y[rows])
    assert torch.equal(block_of(columns_taken(Y, columns), slice(None)), dense.Y[:, columns])
    torch.testing.assert_close(column_totals(Y, dense.w), dense.w @ dense.Y)
    assert torch.equal(column_counts(Y), (dense.Y > 0).sum(0).double())
    assert torch.equal(row_totals(Y), dense.Y.sum(1))
    row, column = place_of_largest(Y)
    assert dense.Y[row, column] == dense.Y.max() and (row, column) == place_of_largest(dense.Y)
    marks = dense.Y[:, columns] > 1
    assert torch.equal(block_of(spread(marks, columns, 7), slice(None))[:, columns], marks.double())
