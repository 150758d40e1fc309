"""Standard errors over clusters, against statsmodels and laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from tables import dataset, pln_table

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.inference.wald import Inference, InferenceRule
from plncli.models import MODELS
from plncli.models.pln.model import PLN

F = torch.float64


def clustered(binary: bool, n: int = 240, G: int = 12, seed: int = 0) -> Dataset:
    """Samples of unequal clusters that share part of their errors."""
    g = torch.Generator().manual_seed(seed)
    clusters = torch.cat([torch.arange(G), torch.randint(G, (n - G,), generator=g)])
    shared = torch.randn(G, 2, generator=g)[clusters]
    X = torch.cat([torch.ones(n, 1), torch.randn(n, 1, generator=g), shared[:, :1] + torch.randn(n, 1, generator=g)], 1)
    Y = 0.5 * X @ torch.randn(3, 2, generator=g) + 0.5 * shared + torch.randn(n, 2, generator=g)
    return replace(dataset((Y > 0).double() if binary else Y, X), clusters=clusters)


def inferred(name: str, data: Dataset, method: str = "auto", **model) -> Inference:
    found = fit(MODELS[name].load_model()(**model), data, inference=InferenceRule(method, vcov=True)).inference
    assert found is not None
    return found


def test_least_squares_over_clusters_is_that_of_statsmodels() -> None:
    data = clustered(binary=False)
    found = inferred("linear", data)
    assert found.method == "robust"
    for j in range(2):
        ols = sm.OLS(data.Y[:, j].numpy(), data.X.numpy())
        other = ols.fit(
            cov_type="cluster", cov_kwds={"groups": data.clusters.numpy()}, use_t=True
        )  # of G − 1, as in Stata
        own = found.covariance[3 * j : 3 * j + 3, 3 * j : 3 * j + 3]
        assert np.allclose(own.numpy(), other.cov_params(), rtol=1e-8, atol=0)
        assert np.allclose(found.p_value[:, j].numpy(), other.pvalues, rtol=1e-7, atol=1e-300)
        assert np.allclose(found.conf_low[:, j].numpy(), other.conf_int()[:, 0], rtol=1e-8)


@pytest.mark.parametrize("glm", [True, False], ids=["GLM", "Logit"])
def test_logistic_regression_over_clusters_is_that_of_statsmodels(glm: bool) -> None:
    data = clustered(binary=True)
    found = inferred("logistic", data)
    for j in range(2):
        y, X = data.Y[:, j].numpy(), data.X.numpy()
        model = sm.GLM(y, X, family=sm.families.Binomial()) if glm else sm.Logit(y, X)
        options = {"tol": 1e-14} if glm else {"tol": 1e-14, "disp": 0, "method": "newton"}
        other = model.fit(cov_type="cluster", cov_kwds={"groups": data.clusters.numpy()}, **options)
        own = found.covariance[3 * j : 3 * j + 3, 3 * j : 3 * j + 3]
        assert np.allclose(own.numpy(), other.cov_params(), rtol=1e-8, atol=0)
        assert np.allclose(found.p_value[:, j].numpy(), other.pvalues, rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_a_weight_of_two_is_two_samples_of_a_cluster(name: str) -> None:
    data = clustered(binary=name == "logistic")
    times = torch.randint(1, 4, (data.n,), generator=torch.Generator().manual_seed(3))
    rows = torch.arange(data.n).repeat_interleave(times)
    longer = Dataset(data.Y[rows], data.X[rows], data.O[rows], data.w[rows], clusters=data.clusters[rows])
    weighted = replace(data, w=times.double())
    assert torch.allclose(inferred(name, weighted).covariance, inferred(name, longer).covariance, rtol=1e-8)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_clusters_of_one_are_the_sandwich_but_for_the_correction(covariance: str) -> None:
    data, *_ = pln_table(60, 4)
    plain = inferred("pln", data, covariance=covariance)
    alone = inferred("pln", replace(data, clusters=torch.arange(60).flip(0)), covariance=covariance)
    assert alone.method == "sandwich"
    assert alone.facts["clusters"] == 60
    assert torch.allclose(alone.covariance, plain.covariance * (60 / 59), rtol=1e-10)


def test_copies_in_one_cluster_add_nothing() -> None:
    """Twice the data with each sample and its copy in a cluster: the sandwich of the data, at the same estimates."""
    data, *_ = pln_table(60, 3)
    twice = torch.arange(60).repeat(2)
    copied = Dataset(data.Y[twice], data.X[twice], data.O[twice], data.w[twice], clusters=twice)
    found = inferred("pln", copied)
    once = inferred("pln", data).std_error * (60 / 59) ** 0.5
    assert torch.allclose(found.std_error, once, rtol=5e-2)  # but for the leverages, which the copies halve
    exact = inferred("pln", replace(copied, clusters=None))
    assert torch.allclose(found.covariance, exact.covariance * 2.0 * (60 / 59), rtol=1e-10)


def test_the_names_of_clusters_do_not_matter() -> None:
    data, *_ = pln_table(60, 3)
    codes = torch.arange(60) % 12
    a, b = (inferred("pln", replace(data, clusters=c)).covariance for c in (codes, (codes * 5 + 3) % 12))
    assert torch.allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize("name", ["pln", "linear", "logistic"])
def test_a_coefficient_of_one_cluster_has_no_standard_error(name: str) -> None:
    """Its scores add up to 0 there: a sandwich would call it certain."""
    clusters = torch.arange(60) // 5
    own = (clusters == 3).double()
    X = torch.stack([torch.ones(60).double(), own], 1)
    g = torch.Generator().manual_seed(0)
    Y = torch.poisson(torch.full((60, 2), 4.0), generator=g)
    Y = (Y > 3).double() if name == "logistic" else Y + torch.randn(60, 2, generator=g) * (name == "linear")
    result = fit(MODELS[name].load_model()(), dataset(Y, X, clusters=clusters), inference=InferenceRule())
    assert bool(result.inference.std_error[1].isnan().all())
    assert bool(result.inference.std_error[0].isfinite().all())
    assert "each rests on a single cluster" in " ".join(finding.message for finding in result.findings)


def test_a_coefficient_of_one_cluster_is_found_beside_separated_cells() -> None:
    data, *_ = pln_table(60, 3, d=1)
    clusters = torch.arange(60) // 5
    X = torch.stack([(clusters == c).double() for c in range(3)] + [(clusters >= 3).double()], 1)
    Y = data.Y.clone()
    Y[:5, 0] = 0.0
    found = fit(PLN(), dataset(Y, X, clusters=clusters), inference=InferenceRule()).inference
    assert found.std_error.isnan().tolist() == [[True] * 3] * 3 + [[False] * 3]


def test_few_clusters_are_told() -> None:
    data = clustered(binary=False, G=4)
    assert data.n_clusters < 10
    result = fit(MODELS["linear"].load_model()(), data, inference=InferenceRule())
    assert [finding.code for finding in result.findings] == ["few-clusters"]


@pytest.mark.parametrize("method", ["fisher", "hc3"])
def test_standard_errors_that_know_no_clusters_are_refused(method: str) -> None:
    with pytest.raises(DataError, match="assume independent samples"):
        fit(MODELS["linear"].load_model()(), clustered(binary=False), inference=InferenceRule(method))


def test_one_cluster_tells_nothing() -> None:
    data, *_ = pln_table(40, 2)
    found = inferred("pln", replace(data, clusters=torch.zeros(40, dtype=torch.long)))
    assert bool(found.std_error.isnan().all())
    assert math.isnan(float(found.covariance[0, 0]))


def test_clusters_are_numbered_without_a_gap() -> None:
    data, *_ = pln_table(6, 2)
    with pytest.raises(DataError, match="without a gap"):
        replace(data, clusters=torch.tensor([0, 1, 3, 3, 0, 1]))
