"""Numbers that pictures are made of, against other programs and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.cluster import hierarchy
from statsmodels.stats.proportion import proportion_confint

from plncli.models import MODELS
from plncli.models.regression.classification import area_under_curve
from plncli.names import PLOTS
from plncli.numerics.significance import rank_correlation
from plncli.plots import KINDS, classes, kinds, matrices, regression, style
from plncli.plots.clusters import cluster

R = np.random.RandomState


def test_names_are_those_of_the_kinds() -> None:
    assert set(KINDS) == {(name, response) for name, response, _ in PLOTS}
    drawn = {each for spec in MODELS.values() for each in spec.plots}
    assert drawn == set(KINDS)
    for model, spec in MODELS.items():
        assert list(kinds(model)) == [name for name, _ in spec.plots]
        assert len(set(kinds(model))) == len(spec.plots)


def test_clusters_stand_together() -> None:
    """Two groups of correlated features, mixed up: each is in one piece afterwards."""
    group = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    Z = R(3).normal(size=(200, 2))[:, group] + 0.3 * R(4).normal(size=(200, 8))
    ordered = group[list(cluster(1.0 - np.corrcoef(Z.T)).order)]
    assert (np.diff(ordered) != 0).sum() == 1
    assert cluster(1.0 - np.eye(5)).order == (0, 1, 2, 3, 4)
    assert sorted(cluster(1.0 - np.corrcoef(R(5).normal(size=(30, 600)).T)).order) == list(range(600))


def test_the_tree_is_that_of_scipy() -> None:
    """Its lines, of scipy's dendrogram of the same linkage: places of 10 units, the first leaf at 5."""
    D = 1.0 - np.corrcoef(R(0).normal(size=(9, 12)).T)
    made = cluster(D)
    linkage = hierarchy.linkage(D[np.triu_indices(12, 1)], "average", optimal_ordering=True)
    told = hierarchy.dendrogram(linkage, no_plot=True)
    assert list(made.order) == told["leaves"]
    theirs = np.stack([(np.array(told["icoord"]) - 5.0) / 10.0, told["dcoord"]], 2)
    order = [np.lexsort((lines[:, 0, 0], lines[:, 1, 1])) for lines in (made.lines, theirs)]
    ours = np.sort(made.lines[order[0]], 1)  # a joint may be told from either side
    assert ours == pytest.approx(np.sort(theirs[order[1]], 1))


def test_features_without_variance_have_no_correlation() -> None:
    made = matrices.correlations(np.array([[4.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]))
    assert made == pytest.approx(np.array([[1, np.nan, 0.5], [np.nan] * 3, [0.5, np.nan, 1]]), nan_ok=True)


def test_spearman_with_ties() -> None:
    x, y = R(6).randint(0, 5, size=40), R(7).randint(0, 5, size=40)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert math.isnan(rank_correlation(a, torch.ones(40)))


def test_wilson() -> None:
    low, high = classes.wilson(np.array([0.0, 0.3, 1.0]), np.array([10.0, 20.0, 5.0]), scipy.stats.norm.ppf(0.975))
    told = [proportion_confint(k, n, method="wilson") for k, n in ((0, 10), (6, 20), (5, 5))]
    assert pytest.approx(np.array(told), abs=1e-12) == np.array([low, high]).T


def test_curves_have_the_areas_of_diagnose() -> None:
    r = R(8)
    y, eta, w = r.randint(0, 2, size=60), np.round(r.normal(size=60), 1), r.uniform(size=60)
    curve = classes.curve("y", y.astype(float), eta, w)
    tensors = (torch.tensor(x, dtype=torch.float64) for x in (y[:, None], eta[:, None], w))
    assert curve.area == pytest.approx(float(area_under_curve(*tensors)))
    assert (curve.false_positive[[0, -1]].tolist(), curve.true_positive[[0, -1]].tolist()) == ([0.0, 1.0], [0.0, 1.0])


def test_quantiles_of_many_and_of_few() -> None:
    few = regression.quantile_pairs(np.array([3.0, math.nan, -1.0]))
    assert few.observed.tolist() == [-1.0, 3.0]
    assert few.normal == pytest.approx(scipy.stats.norm.ppf([0.25, 0.75]))
    many = regression.quantile_pairs(R(9).normal(size=5000))
    assert len(many.normal) == len(many.observed) == regression.QUANTILES
    assert np.abs(many.observed - many.normal)[50:-50].max() < 0.1
    assert (np.diff(many.normal) > 0).all() and (np.diff(many.observed) >= 0).all()


def test_the_band_holds_order_statistics() -> None:
    shares = (np.arange(1, 21) - 0.5) / 20
    low, high = regression.normal_band(20, shares)
    k = np.arange(1, 21)
    assert scipy.stats.norm.cdf(low) == pytest.approx(scipy.stats.beta.ppf(0.025, k, 21 - k))
    assert scipy.stats.norm.cdf(high) == pytest.approx(scipy.stats.beta.ppf(0.975, k, 21 - k))


@pytest.mark.parametrize(("number", "room"), [(1, 10.0), (20, 60.0), (114, 140.0), (1000, 140.0), (1000, 20.0)])
def test_names_have_room_at_the_step_they_are_told(number: int, room: float) -> None:
    size, step = style.thinned(number, room)
    assert style.SMALLEST <= size <= style.TEXT
    assert size <= step * room / number * style.POINTS
    assert step == 1 or 0.88 * (step - 1) * room / number * style.POINTS < style.SMALLEST


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.01, "0.01"), (0.001, "10⁻³"), (2000.0, "2000"), (1e4, "10⁴"), (5e12, "5·10¹²")],
)
def test_ticks_of_logarithmic_axes(value: float, text: str) -> None:
    assert style.power_of_ten(value) == text
