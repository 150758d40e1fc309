"""What a fit is foretold to take: by a clock that tells what it is told to, so that no test depends on the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from tables import dataset, pln_table

from plncli.dataset import Dataset
from plncli.evaluation.timing import Expected, expected
from plncli.models.pln.model import PLN
from plncli.models.pln.spec import MOST, WIDE, work
from plncli.models.regression.linear import Linear
from plncli.models.regression.logistic import Logistic
from plncli.models.spec import Size


def ticking(seconds: float = 1e-3) -> Callable[[], float]:
    """A clock by which each step that is measured takes as long."""
    ticks = count()
    return lambda: seconds * next(ticks)


def middle(size: Size) -> tuple[float, float]:
    low, high = work(size)
    return (low.points * high.points) ** 0.5, (low.products * high.products) ** 0.5


def test_work_grows_with_zeros_and_with_features_beyond_the_samples() -> None:
    size = Size(100, 100, 2, own={"covariance": "full"}, zeros=0.3, on_off=1.0)
    for more in ({"zeros": 0.6}, {"p": 200}, {"p": 200, "on_off": 2.0}, {"p": 100, "n": 50}):
        assert all(a < b for a, b in zip(middle(size), middle(replace(size, **more)), strict=True)), more
    assert middle(replace(size, on_off=2.0)) == middle(size)  # no more features than samples
    low, high = work(size)
    assert high.points == pytest.approx(WIDE**2 * low.points)
    assert middle(Size(20, 100_000, 2, zeros=0.9, on_off=5.0)) == pytest.approx((MOST / 10, MOST))


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "fixed"])
def test_work_without_a_full_covariance_does_not_depend_on_the_table(covariance: str) -> None:
    few, many = (Size(60, p, 2, own={"covariance": covariance}, zeros=0.5) for p in (20, 600))
    assert work(few) == work(many)
    assert work(many)[1].products < work(replace(many, own={"covariance": "full"}))[0].products


def foretold(data: Dataset, covariance: str, zeros: float, on_off: float) -> tuple[Expected, float]:
    """What is foretold by a clock of equal steps, and the upper end that follows from its pace and these sizes."""
    model, own = PLN(covariance), {"covariance": covariance}
    found = expected(model, model.prepare(data), own, ticking())
    most = work(Size(data.n, data.p, data.d, own=own, zeros=zeros, on_off=on_off))[1]
    return found, most.points * found.point + most.products * found.product


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_fit_is_foretold_by_its_covariance_its_zeros_and_where_these_lie(covariance: str) -> None:
    data, *_ = pln_table(20, 60)
    Y = data.Y.numpy()
    apart = np.log1p(Y.sum(0) / (Y > 0).sum(0)) * (Y == 0).mean(0)
    found, high = foretold(data, covariance, (Y == 0).mean(), np.quantile(apart, 0.9))
    assert found.point == pytest.approx(1e-3)
    assert found.high == pytest.approx(high)


def test_a_product_is_what_a_solve_takes_by_the_products_in_it() -> None:
    data, *_ = pln_table(40, 5)
    model = PLN()
    found = expected(model, model.prepare(data), {"covariance": "full"}, ticking())
    assert found.point / found.product == pytest.approx(8.0)  # a solve of eight takes as long by this clock


def test_missing_counts_are_no_zeros() -> None:
    data, *_ = pln_table(60, 4)
    K = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) > 0.3
    found, high = foretold(replace(data, Y=torch.where(K, data.Y.clamp_min(1.0), 0.0), K=K), "full", 0.0, 0.0)
    assert found.high == pytest.approx(high)


@pytest.mark.parametrize("model", [Linear(), Logistic()])
def test_regressions_are_foretold_too(model: Linear | Logistic) -> None:
    g = torch.Generator().manual_seed(0)
    X = torch.cat([torch.ones(50, 1), torch.randn(50, 2, generator=g)], 1)
    Y = torch.randn(50, 2, generator=g)
    data = dataset(Y if isinstance(model, Linear) else (Y > 0).double(), X)
    found = expected(model, model.prepare(data), {}, ticking())
    assert 0 < found.low < found.high
