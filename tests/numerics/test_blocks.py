"""Data sets whose rows come by blocks: their sums, bases and separation are those of all rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from plncli.dataset import LETTERS, Dataset, Names, Numbered, Stored
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.base import Model
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.numerics.blocks import separation_by_blocks
from plncli.numerics.linalg import basis_of, orthonormal_basis
from plncli.numerics.nesting import sketch_of
from plncli.numerics.rows import extremes, over_parts, triangle
from plncli.numerics.separation import bernoulli_separation
from plncli.runs.fingerprint import fingerprint

F = torch.float64


@dataclass(frozen=True)
class InMemory:
    """Rows of a data set, by blocks; `read_letters` tells which tables were asked for."""

    data: Dataset
    rows: int
    asked: list[str]

    @property
    def n(self) -> int:
        return self.data.n

    @property
    def samples(self) -> Names:
        return Numbered(self.data.n)

    def share(self, own: int, number: int) -> InMemory:
        raise NotImplementedError

    def read(self, letters: str) -> Iterator[Mapping[str, Tensor]]:
        self.asked.append(letters)
        for first in range(0, self.n, self.rows):
            yield {letter: getattr(self.data, letter)[first : first + self.rows] for letter in letters}


def stored(data: Dataset, rows: int = 17) -> Stored:
    return Stored.of(InMemory(data, rows, []), data.terms, data.responses, data.Y)


def drawn(n: int = 200, d: int = 4, p: int = 2, *, classes: bool = True) -> Dataset:
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, dtype=F, generator=draw)
    X[:, 0] = 1.0
    eta = X @ torch.randn(d, p, dtype=F, generator=draw)
    Y = torch.bernoulli(torch.sigmoid(eta), generator=draw) if classes else eta + torch.randn(n, p, generator=draw)
    O, w = torch.randn(n, 1, dtype=F, generator=draw), torch.randint(1, 4, (n,), generator=draw).to(F)
    return Dataset(Y=Y, X=X, O=O, w=w, samples=tuple(map(str, range(1, n + 1))))


def test_sums_and_extremes_are_those_of_all_rows() -> None:
    data = drawn()
    blocks = stored(data)
    whole, parts = (
        over_parts(lambda part: (part.w @ part.X, part.Y.mT @ part.X), each, LETTERS) for each in (data, blocks)
    )
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(other, one)
    for one, other in zip(*(extremes(lambda part: part.X, each, "X") for each in (data, blocks)), strict=True):
        assert torch.equal(one, other)
    R = triangle(lambda part: part.X, blocks, "X")
    torch.testing.assert_close(R.mT @ R, data.X.mT @ data.X)
    assert blocks.total_weight == data.total_weight
    assert blocks.samples[3:5] == data.samples[3:5] and len(blocks.samples) == data.n


def test_only_tables_that_are_asked_for_are_read_and_others_are_nan() -> None:
    blocks = stored(drawn())
    assert isinstance(blocks.source, InMemory)
    for part in blocks.parts("Yw"):
        assert bool(part.X.isnan().all()) and bool(torch.isfinite(part.Y).all())
    assert blocks.source.asked == ["Yw"]
    assert bool(blocks.Y.isnan().all()) and blocks.Y.shape == (200, 2)


def test_what_tells_a_table_from_another_is_that_of_all_rows() -> None:
    data = drawn(2500)
    for rows in (17, 1024, 1500, 5000):
        blocks = stored(data, rows)
        assert fingerprint(blocks) == fingerprint(data)
        torch.testing.assert_close(sketch_of(blocks), sketch_of(data))


@pytest.mark.parametrize("nearly", [1.0, 1e-3, 1e-6])
def test_a_basis_is_orthonormal_however_ill_conditioned_the_design(nearly: float) -> None:
    data = drawn()
    X = data.X.clone()
    X[:, 3] = X[:, 2] + nearly * X[:, 3]
    X[:, 1] *= 1e9
    data = Dataset(Y=data.Y, X=X, O=data.O, w=data.w)
    basis = basis_of(stored(data))
    Q = X @ basis.U
    torch.testing.assert_close(
        Q.mT @ (data.w[:, None] * Q) / data.w.sum(), torch.eye(4, dtype=F), atol=1e-9 / nearly, rtol=0
    )
    T = orthonormal_basis(X, data.w).T
    torch.testing.assert_close(basis.T.abs(), T.abs(), rtol=1e-8, atol=1e-8 * float(T.abs().max()))


def test_columns_that_follow_from_others_are_named() -> None:
    data = drawn()
    X = torch.cat([data.X, data.X[:, 1:2] - 2 * data.X[:, 2:3]], 1)
    with pytest.raises(DataError, match="`x5` is a linear combination of `x2`, `x3`"):
        basis_of(stored(Dataset(Y=data.Y, X=X, O=data.O, w=data.w)))
    with pytest.raises(DataError, match="more coefficients"):
        basis_of(stored(Dataset(Y=data.Y[:3], X=data.X[:3], O=data.O[:3], w=data.w[:3]), 2))


FITS = {
    "logistic": (Logistic(), True, "fisher"),
    "logistic-robust": (Logistic(), True, "hc3"),
    "linear": (Linear(), False, "fisher"),
    "linear-robust": (Linear(), False, "hc2"),
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_by_blocks_is_that_of_all_rows(name: str) -> None:
    model, classes, method = FITS[name]
    data = drawn(classes=classes)
    rule = InferenceRule(method, 0.95, vcov=True)
    whole, blocks = (fit(model, each, inference=rule) for each in (data, stored(data)))
    assert whole.converged and blocks.converged and blocks.inference is not None and whole.inference is not None
    torch.testing.assert_close(blocks.estimates["B"], whole.estimates["B"], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(blocks.inference.std_error, whole.inference.std_error, rtol=1e-8, atol=1e-8)
    assert blocks.inference.covariance is not None and whole.inference.covariance is not None
    torch.testing.assert_close(blocks.inference.covariance, whole.inference.covariance, rtol=1e-7, atol=1e-9)
    assert blocks.criteria.loglik == pytest.approx(whole.criteria.loglik, abs=1e-9)
    assert blocks.criteria.r2 == pytest.approx(whole.criteria.r2, abs=1e-12)


def test_a_step_is_one_pass_of_value_gradient_and_hessian() -> None:
    data = stored(drawn(p=1))
    assert isinstance(data.source, InMemory)
    model = Logistic()
    prepared = model.prepare(data)
    params = model.start(prepared)
    data.source.asked.clear()
    at = prepared.at(params["gamma"])
    at.gradient(), at.hessians, model.preconditioner(params, prepared), at.product(params["gamma"])
    assert data.source.asked == [LETTERS]


def quasi(n: int, kind: str) -> Dataset:
    draw = torch.Generator().manual_seed(1)
    X = torch.randn(n, 3, dtype=F, generator=draw)
    X[:, 0] = 1.0
    Y = torch.bernoulli(torch.full((n, 1), 0.5, dtype=F), generator=draw)
    if kind == "complete":
        Y[:, 0] = (X[:, 1] + 0.5 * X[:, 2] > 0.1).to(F)
    elif kind == "level":
        X[:, 2] = (torch.arange(n) % 9 == 0).to(F) * Y[:, 0]
    elif kind == "half":
        X[:, 2] = X[:, 2].clamp_min(0.0)
        Y[:, 0] = torch.where(X[:, 2] > 0, 1.0, Y[:, 0])
    return Dataset(Y=Y, X=X, O=torch.zeros(n, 1, dtype=F), w=torch.ones(n, dtype=F))


@pytest.mark.parametrize("kind", ["none", "complete", "level", "half"])
@pytest.mark.parametrize("few", [4096, 3])
def test_separation_is_found_exactly(kind: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where few rows are looked at first, and others join where they are violated."""
    monkeypatch.setattr("plncli.numerics.blocks.FEW", few)
    data = quasi(300, kind)
    whole = bernoulli_separation(data.X, data.Y[:, 0])
    basis = orthonormal_basis(data.X, data.w)
    rows, free = basis.Q * (1.0 - 2.0 * data.Y), torch.ones(data.n, dtype=torch.bool)

    def blocks() -> Iterator[tuple[Tensor, Tensor]]:
        return ((rows[i : i + 31], free[i : i + 31]) for i in range(0, data.n, 31))

    found = separation_by_blocks(blocks, basis.T)
    assert (found is None) == (whole is None) == (kind == "none")
    if found is not None and whole is not None:
        assert torch.equal(found.cone.infinite(), whole.infinite())
        cells = torch.cat([found.cells(*block) for block in blocks()])
        assert torch.equal(cells, whole.cells) and found.number == int(whole.cells.sum())


@pytest.mark.parametrize("kind", ["complete", "level", "half"])
@pytest.mark.parametrize("method", ["fisher", "hc1"])
def test_separated_classes_are_told_alike(kind: str, method: str) -> None:
    data = quasi(300, kind)
    model: Model = Logistic()
    whole, blocks = (fit(model, each, inference=InferenceRule(method, 0.95)) for each in (data, stored(data, 40)))
    assert [(one.code, one.message, one.cells) for one in blocks.findings] == [
        (one.code, one.message, one.cells) for one in whole.findings
    ]
    assert whole.inference is not None and blocks.inference is not None
    torch.testing.assert_close(
        blocks.inference.std_error, whole.inference.std_error, rtol=1e-4, atol=1e-6, equal_nan=True
    )


def test_firth_takes_all_rows() -> None:
    with pytest.raises(DataError, match="in memory"):
        Logistic(penalty="firth").prepare(stored(drawn()))


def test_residuals_at_the_edge_of_rounding_are_refused_alike() -> None:
    data = drawn(classes=False)
    for Y, match in (
        (data.X[:, 1:3] + data.O, "exactly"),
        (torch.cat([data.Y, data.Y.sum(1, keepdim=True) - data.O], 1), "collinear"),
    ):
        messages = []
        for make in (lambda each: each, stored):
            with pytest.raises(DataError, match=match) as caught:
                Linear().prepare(make(Dataset(Y=Y, X=data.X, O=data.O, w=data.w)))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
