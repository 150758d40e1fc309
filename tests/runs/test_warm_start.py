"""Starting from an earlier fit: the same optimum, in fewer steps."""

from __future__ import annotations

import math

import pytest
import torch
from tables import dataset, oaks, pln_table

from plncli.dataset import Dataset
from plncli.fitting import fit
from plncli.models import MODELS
from plncli.models.pln.model import PLN
from plncli.optim.base import StopRule
from plncli.results import FitResult

TIGHT = StopRule(tol=1e-9)


def initial(result: FitResult) -> dict[str, torch.Tensor]:
    return {**result.estimates, **result.state}


def weak_table(n: int = 100, p: int = 8) -> Dataset:
    """Counts of features half of which vary no more than Poisson: some end on the boundary."""
    g = torch.Generator().manual_seed(3)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g)], 1).double()
    sd = 0.3 * torch.rand(p, generator=g)
    Z = X @ torch.tensor([[0.7], [0.3]]).double() + sd * torch.randn(n, p, generator=g)
    return dataset(torch.poisson(Z.exp(), generator=g), X)


def regression(n: int = 200) -> Dataset:
    g = torch.Generator().manual_seed(5)
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 2, generator=g)], 1)
    return dataset((X @ torch.randn(3, 2, generator=g) + torch.randn(n, 2, generator=g) > 0).double(), X)


def without(data: Dataset, row: int) -> tuple[Dataset, torch.Tensor]:
    rows = torch.tensor([i for i in range(data.n) if i != row])
    return Dataset(data.Y[rows], data.X[rows], data.O[rows], data.w[rows]), rows


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_a_fit_that_starts_at_its_own_optimum_is_there(covariance: str) -> None:
    data, *_ = pln_table(60, 5)
    first = fit(PLN(covariance), data, stop=TIGHT)
    again = fit(PLN(covariance), data, stop=TIGHT, init=initial(first))
    assert again.optimum.steps <= 1
    assert again.optimum.value == pytest.approx(first.optimum.value, abs=1e-6)


@pytest.mark.parametrize(
    "data",
    [pln_table(60, 5)[0], weak_table(), pytest.param(oaks(tree=True), marks=pytest.mark.slow)],
    ids=["pln", "boundary", "tree"],
)
def test_the_optimum_of_other_samples_is_that_of_a_cold_start_and_nearer(data: Dataset) -> None:
    whole = fit(PLN(), data)
    cold_products = warm_products = 0
    for row in (0, 7):
        part, rows = without(data, row)
        cold = fit(PLN(), part, stop=TIGHT)
        known = initial(whole)
        init = {"M_finite": known["M_finite"][rows], "S": known["S"][rows]}
        warm = fit(PLN(), part, stop=TIGHT, init=init)
        assert warm.optimum.value == pytest.approx(cold.optimum.value, abs=1e-6)
        assert warm.optimum.steps < cold.optimum.steps
        cold_products += cold.optimum.products
        warm_products += warm.optimum.products
    assert warm_products < cold_products


def test_features_on_the_boundary_begin_and_stay_there() -> None:
    data = weak_table()
    first = fit(PLN(), data, stop=TIGHT)
    boundary = first.state["poisson_features"]
    assert 0 < len(boundary) < data.p
    again = fit(PLN(), data, stop=TIGHT, init=initial(first))
    assert torch.equal(again.state["poisson_features"], boundary)
    assert again.optimum.steps <= 1


def test_a_feature_that_does_not_belong_on_the_boundary_leaves_it() -> None:
    data, *_ = pln_table(80, 4)
    cold = fit(PLN(), data, stop=TIGHT)
    init = initial(cold)
    init["S"][:, 1] = 0.0
    init["M_finite"][:, 1] = data.X @ init["B_finite"][:, 1]
    warm = fit(PLN(), data, stop=TIGHT, init=init)
    assert warm.optimum.value == pytest.approx(cold.optimum.value, abs=1e-6)
    assert len(warm.state["poisson_features"]) == 0


def test_new_samples_and_features_start_from_the_data() -> None:
    data, *_ = pln_table(60, 5)
    cold = fit(PLN(), data, stop=TIGHT)
    init = initial(cold)
    for symbol in ("M_finite", "S"):
        init[symbol] = init[symbol].clone()
        init[symbol][:10] = math.nan
        init[symbol][:, 4] = math.nan
    warm = fit(PLN(), data, stop=TIGHT, init=init)
    assert warm.optimum.value == pytest.approx(cold.optimum.value, abs=1e-6)


def test_a_start_that_is_worse_than_none_is_not_taken() -> None:
    data, *_ = pln_table(60, 5)
    cold = fit(PLN(), data)
    lost = {"M_finite": torch.full_like(data.Y, 300.0), "S": torch.full_like(data.Y, 1e-9)}
    warm = fit(PLN(), data, init=lost)
    assert warm.optimum.trace[0].loss == cold.optimum.trace[0].loss


@pytest.mark.parametrize("name", ["logistic", "linear"])
def test_regressions_start_from_their_coefficients(name: str) -> None:
    data = regression()
    if name == "linear":
        data = dataset(data.Y + torch.randn(data.Y.shape, generator=torch.Generator().manual_seed(1)), data.X)
    first = fit(MODELS[name].load_model()(), data)
    part, _ = without(data, 3)
    cold, warm = fit(MODELS[name].load_model()(), part), fit(MODELS[name].load_model()(), part, init=initial(first))
    assert warm.optimum.value == pytest.approx(cold.optimum.value, abs=1e-6)
    assert warm.optimum.steps <= cold.optimum.steps
    assert torch.allclose(warm.estimates["B"], cold.estimates["B"], atol=1e-7)


def test_a_response_without_finite_coefficients_starts_from_the_data() -> None:
    data = regression()
    first = fit(MODELS["logistic"].load_model()(), data)
    B = first.estimates["B"].clone()
    B[:, 1] = math.inf
    warm = fit(MODELS["logistic"].load_model()(), data, init={"B": B})
    assert warm.optimum.value == pytest.approx(first.optimum.value, abs=1e-6)
