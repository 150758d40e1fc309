"""Mixtures of Poisson log-normal models: laws, known truths, and what other programs find."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.models.mixture import fitted as mixture_fitted
from plncli.models.mixture.model import Mixture
from plncli.models.mixture.objective import Evaluation, Table
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.model import PLN
from plncli.models.pln.structures import Diagonal, full
from plncli.optim.base import StopRule
from plncli.results import FitResult

OAKS = Path(__file__).parents[2] / "sample_data" / "oaks"
COVARIANCES = ("full", "diagonal", "spherical")


def simulated(
    n: int = 90, p: int = 8, many: int = 3, *, apart: float = 2.0, depth: float = 3.0, seed: int = 0
) -> tuple[Dataset, Tensor]:
    """A table of clusters with a covariate and an offset, and the clusters of its samples."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % many
    means = depth + apart * torch.randn(many, p, generator=g).double()
    x, O = torch.randn(n, 1, generator=g).double(), 0.3 * torch.randn(n, 1, generator=g).double()
    B = 0.3 * torch.randn(1, p, generator=g).double()
    Z = means[labels] + x @ B + 0.5 * torch.randn(n, p, generator=g).double()
    Y = torch.poisson((O + Z).exp(), generator=g)
    X = torch.cat([torch.ones(n, 1).double(), x], 1)
    return Dataset(Y, X, O, torch.ones(n).double(), terms=("Intercept", "x")), labels


@functools.cache
def found(covariance: str = "diagonal", *, shared: bool = False) -> FitResult:
    return fit(Mixture(clusters=3, covariance=covariance, shared=shared), simulated()[0])


# Laws


def plain(params: dict[str, Tensor], table: Table, covariance: str) -> Tensor:
    """Minus the ELBO in elementary operations, as its formula reads."""
    M, psi = params["q"]
    log_tau = torch.log_softmax(params["zeta"], 1)
    W = (table.w[:, None] * log_tau.exp()).mT
    sizes, S2, N = W.sum(1), psi.exp(), M - table.T @ params["beta"]
    cells = (table.O + M + 0.5 * S2).exp() - table.Y * (table.O + M)
    cells = (cells if table.K is None else cells * table.K) - 0.5 * psi
    R = N - torch.einsum("ki,kij->kj", W, N)[:, None] / sizes[:, None, None]
    Sigma = torch.einsum("ki,kij,kil->kjl", W, R, R) + torch.diag_embed(torch.einsum("ki,kij->kj", W, S2))
    over = torch.tensor([table.wbar], dtype=torch.float64) if table.shared else sizes
    Sigma = (Sigma.sum(0, keepdim=True) if table.shared else Sigma) / over[:, None, None]
    variances = Sigma.diagonal(dim1=1, dim2=2)
    logdet = {
        "full": lambda: torch.linalg.slogdet(Sigma).logabsdet,
        "diagonal": lambda: variances.log().sum(1),
        "spherical": lambda: variances.shape[1] * variances.mean(1).log(),
    }[covariance]()
    weights = (W.mT * (log_tau - (sizes / table.wbar).log())).sum()
    return (W[:, :, None] * cells).sum() + 0.5 * (over * logdet).sum() + weights + table.constant


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("covariance", "n", "p"), [*((kind, 12, 5) for kind in COVARIANCES), ("full", 8, 30)])
def test_derivatives_are_those_of_the_formula(covariance: str, n: int, p: int, shared: bool, masked: bool) -> None:
    g = torch.Generator().manual_seed(p)
    many, c = 3, 2

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).double()

    layer = full if covariance == "full" else partial(Diagonal, shared=covariance == "spherical")
    Y, w = torch.poisson(3.0 * torch.rand(n, p, generator=g).double(), generator=g), 0.5 + normal(n).abs()
    K = (normal(n, p) > -1.0).double() if masked else None
    table = Table(Y, 0.1 * normal(n, 1), K, w, float(w.sum()), normal(n, c), layer, shared, 1.5)
    params = {"q": 0.5 * normal(2, many, n, p), "zeta": normal(n, many), "beta": 0.3 * normal(c, p)}
    along = {name: normal(*tensor.shape) for name, tensor in params.items()}
    free = {name: tensor.clone().requires_grad_(True) for name, tensor in params.items()}
    value = plain(free, table, covariance)
    slopes = torch.autograd.grad(value, list(free.values()), create_graph=True)
    turned = sum(((slope * v).sum() for slope, v in zip(slopes, along.values(), strict=True)), torch.zeros(()))
    turns = torch.autograd.grad(turned, list(free.values()))
    at = Evaluation(params, table)
    torch.testing.assert_close(at.value, value.detach(), rtol=1e-12, atol=1e-10)
    for mine, reference in ((at.gradient(), slopes), (at.product(along), turns)):
        for name, expected in zip(params, reference, strict=True):
            torch.testing.assert_close(mine[name], expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_cluster_is_the_poisson_log_normal_model(covariance: str) -> None:
    data, _ = simulated(many=1, depth=1.0, apart=0.7)
    K = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(1)) > 0.1
    data = replace(data, Y=torch.where(K, data.Y, 0.0), K=K, w=1.0 + (torch.arange(data.n) % 3 == 0).double())
    tight = StopRule(tol=1e-10)
    one, other = fit(Mixture(1, covariance), data, stop=tight), fit(PLN(covariance), data, stop=tight)
    assert one.criteria.loglik == pytest.approx(other.criteria.loglik, abs=1e-6)
    torch.testing.assert_close(one.estimates["B"], other.estimates["B"], rtol=1e-4, atol=1e-5)
    assert one.criteria.n_parameters == other.criteria.n_parameters
    assert one.criteria.icl == one.criteria.bic


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_fits_are_certified_and_find_the_clusters(covariance: str, shared: bool) -> None:
    result, labels = found(covariance, shared=shared), simulated()[1]
    assert result.converged
    tau = result.estimates["tau"]
    torch.testing.assert_close(tau.sum(1), torch.ones(90).double(), rtol=0, atol=1e-12)
    assert adjusted_rand_score(labels.numpy(), tau.argmax(1).numpy()) > 0.95
    pi = result.estimates["pi"]
    assert bool((pi.diff() <= 0).all())
    assert float(pi.sum()) == pytest.approx(1.0)
    V = result.estimates["V"]
    if shared:
        torch.testing.assert_close(V[0], V[2], rtol=0, atol=0)


def test_samples_whose_q_was_not_found_in_some_cluster_are_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    result = found()
    data, bounds = result.data, mixture_fitted.sample_bounds
    seen = torch.ones_like(data.Y, dtype=torch.bool)

    def lost(cluster: FittedPLN, *more: Tensor) -> tuple[Tensor, Tensor]:
        bound, converged = bounds(cluster, *more)
        return bound, converged & (torch.arange(data.n) != 4)

    monkeypatch.setattr(mixture_fitted, "sample_bounds", lost)
    told = result.fitted.discriminate(data.X, data.O, data.Y, seen)  # type: ignore[attr-defined]
    assert told.log_posterior.isnan().any(1).nonzero()[:, 0].tolist() == [4]


def test_the_bound_is_that_of_each_sample_over_its_clusters() -> None:
    result, data = found(), simulated()[0]
    fitted = result.fitted
    seen = torch.ones_like(data.Y, dtype=torch.bool)
    score = fitted.score_samples(data.X, data.O, data.Y, seen)  # type: ignore[attr-defined]
    assert float(score.loglik.sum()) == pytest.approx(result.criteria.loglik, abs=1e-4)
    told = fitted.discriminate(data.X, data.O, data.Y, seen)  # type: ignore[attr-defined]
    torch.testing.assert_close(told.log_posterior.exp(), result.estimates["tau"], rtol=1e-4, atol=1e-6)


def test_more_clusters_never_have_a_lower_bound() -> None:
    data, _ = simulated(n=60, p=5, apart=1.0, depth=1.0, seed=3)
    values, init = [], None
    for many in range(1, 5):
        result = fit(Mixture(many), data, init=init)
        values.append(result.criteria.loglik)
        init = {**result.estimates, **result.state}
    assert all(later >= earlier - 1e-3 for earlier, later in itertools.pairwise(values))


def test_where_clusters_are_not_certain_the_bound_still_is() -> None:
    """At low counts samples are of several clusters; the optimum stands against random steps away from it."""
    data, _ = simulated(n=80, p=3, many=2, apart=0.8, depth=0.3, seed=5)
    model = Mixture(2)
    result = fit(model, data, stop=StopRule(tol=1e-9))
    tau = result.estimates["tau"]
    assert result.converged
    assert float(((tau > 0.05) & (tau < 0.95)).double().mean()) > 0.1
    prepared = model.prepare(data)
    params = result.optimum.params
    least = float(model.objective(params, prepared))
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        near = {name: t + 1e-2 * torch.randn(t.shape, generator=g).double() for name, t in params.items()}
        assert float(model.objective(near, prepared)) > least


# Values


def test_gaussian_mixtures_of_large_counts_agree() -> None:
    """Where counts are so large that they tell the latent values, scikit-learn finds the same mixture of their logs."""
    data, _ = simulated(n=200, p=4, many=2, apart=0.8, depth=11.0, seed=2)
    data = replace(data, X=data.X[:, :1], terms=("Intercept",))
    logs = (data.Y.log() - data.O).numpy()
    for covariance, kind in (("full", "full"), ("diagonal", "diag"), ("spherical", "spherical")):
        mine = fit(Mixture(2, covariance), data)
        other = GaussianMixture(2, covariance_type=kind, n_init=10, random_state=0, reg_covar=1e-9, tol=1e-9).fit(logs)  # type: ignore[arg-type]
        order = np.argsort(-other.weights_)
        np.testing.assert_allclose(mine.estimates["mu"].numpy(), other.means_[order], atol=5e-3)
        np.testing.assert_allclose(mine.estimates["pi"].numpy(), other.weights_[order], atol=5e-3)
        np.testing.assert_allclose(mine.estimates["tau"].numpy(), other.predict_proba(logs)[:, order], atol=5e-2)


def test_coefficients_that_clusters_share_are_recovered() -> None:
    data, _ = simulated(n=300, seed=7)
    g = torch.Generator().manual_seed(7)
    torch.randn(3, 8, generator=g), torch.randn(300, 1, generator=g), torch.randn(300, 1, generator=g)
    truth = 0.3 * torch.randn(1, 8, generator=g).double()
    B = fit(Mixture(3), data).estimates["B"]
    torch.testing.assert_close(B[1:], truth, rtol=0, atol=0.12)


@functools.cache
def oaks() -> tuple[Dataset, np.ndarray]:
    Y, O, about = (pd.read_csv(OAKS / f"{name}.csv", index_col=0) for name in ("counts", "exposure", "covariates"))
    X = torch.ones(len(Y), 1).double()
    counts, exposure = torch.tensor(Y.to_numpy()).double(), torch.tensor(O.to_numpy()).double().log()
    return Dataset(counts, X, exposure, torch.ones(len(Y)).double()), about["tree"].to_numpy()


def test_the_trees_of_the_oaks_are_found() -> None:
    data, trees = oaks()
    result = fit(Mixture(3), data)
    assert result.converged
    assert result.criteria.loglik >= -35928.02
    assert adjusted_rand_score(trees, result.estimates["tau"].argmax(1).numpy()) > 0.9


def test_draws_are_of_the_mixture() -> None:
    result, data = found(), simulated()[0]
    X, O = data.X[:1].expand(4000, -1), data.O[:1].expand(4000, -1)
    drawn = result.fitted.simulate(X, O, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    told = result.fitted.predict(X[:1], O[:1], ["prediction"], 0.9).columns  # type: ignore[attr-defined]
    low = (told["pred_low"] > drawn.Y).double().mean(0)
    high = (told["pred_high"] < drawn.Y).double().mean(0)
    assert bool((low <= 0.07).all())
    assert bool((high <= 0.07).all())
    half = (drawn.latent <= (told["median"].log() - O[:1])).double().mean(0)
    torch.testing.assert_close(half, torch.full_like(half, 0.5), rtol=0, atol=0.04)


def test_hidden_counts_are_predicted_from_the_others_of_their_sample() -> None:
    """The mean of a hidden count's distribution is nearer to it where its cluster is told by the other counts."""
    data, _ = simulated(seed=4)
    hidden = torch.zeros_like(data.Y, dtype=torch.bool)
    hidden[:, 0] = torch.arange(data.n) % 4 == 0
    seen = replace(data, Y=torch.where(hidden, 0.0, data.Y), K=~hidden)
    scores = [
        fit(Mixture(many), seen).fitted.score_cells(seen, data.Y, hidden)  # type: ignore[attr-defined]
        for many in (1, 3)
    ]
    one, three = (float(score.loglik.sum()) for score in scores)
    assert three > one
    assert all(bool((score.loglik[~hidden] == 0).all()) for score in scores)


# Input


def test_what_cannot_be_is_refused() -> None:
    data, _ = simulated(n=12)
    with pytest.raises(DataError, match="more than the 12 samples"):
        fit(Mixture(13), data)
    with pytest.raises(DataError, match="needs an intercept"):
        fit(Mixture(2), replace(data, X=data.X[:, 1:], terms=("x",)))


def test_as_many_clusters_as_samples_have_a_fit() -> None:
    data, _ = simulated(n=6, p=4)
    result = fit(Mixture(6), replace(data, X=data.X[:, :1], terms=("Intercept",)))
    assert np.isfinite(result.criteria.loglik)
    assert any(finding.code == "small-cluster" for finding in result.findings)


def test_the_preconditioner_of_correlated_clusters_is_symmetric_and_positive() -> None:
    data, _ = simulated()
    model = Mixture(clusters=3, covariance="full")
    prepared = model.prepare(data)
    params = model.start(prepared)
    apply = model.preconditioner(params, prepared)
    g = torch.Generator().manual_seed(1)
    u, v = ({name: torch.randn(t.shape, generator=g).double() for name, t in params.items()} for _ in range(2))
    for w in (u, v):  # logits of tau that are alike in all clusters change nothing
        w["zeta"] = w["zeta"] - w["zeta"].mean(1, keepdim=True)

    def product(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
        return float(sum((a[name] * b[name]).sum() for name in a))

    of_u, of_v = apply(u), apply(v)
    assert product(u, of_u) > 0.0 and product(v, of_v) > 0.0
    without = {name: t for name, t in u.items() if name != "zeta"}, {name: t for name, t in v.items() if name != "zeta"}
    assert product(without[0], of_v) == pytest.approx(product(without[1], of_u), rel=1e-8)
