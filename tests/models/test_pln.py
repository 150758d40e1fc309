"""The Poisson log-normal model: laws, then values against outsiders."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from tables import dataset, oaks, pln_table, toeplitz

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.fitting import fit
from plncli.models.fitted import transform
from plncli.models.pln.elbo import objective, plain_objective
from plncli.models.pln.model import PLN
from plncli.optim.base import StopRule

FREE = ("full", "diagonal", "spherical")
TIGHT = StopRule(tol=1e-12)


def model(covariance: str, p: int) -> PLN:
    return PLN(covariance, torch.linalg.inv(toeplitz(p)) if covariance == "fixed" else None)


def elbo(result) -> float:
    return -result.optimum.value


# -- the objective -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance", [*FREE, "fixed"])
def test_derivatives_are_those_of_the_plain_objective(covariance: str, weighted: bool) -> None:
    g = torch.Generator().manual_seed(1)
    n, p = 6, 3
    data = dataset(torch.poisson(torch.full((n, p), 3.0), generator=g), torch.rand(n, 2, generator=g))
    if weighted:
        data = replace(data, w=0.5 + torch.rand(n, generator=g).double(), K=torch.rand(n, p, generator=g) > 0.2)
    table = model(covariance, p).prepare(data).table
    q = torch.randn(2, n, p, generator=g, dtype=torch.float64)
    q[1] -= 1
    q.requires_grad_()
    plain = partial(plain_objective, table=table)

    def fast(q: torch.Tensor) -> torch.Tensor:
        return objective(q.clone(), table)  # gradcheck writes into its input behind the version counter

    assert torch.autograd.gradcheck(fast, (q,))
    assert torch.autograd.gradgradcheck(fast, (q,))
    torch.testing.assert_close(fast(q), plain(q), rtol=1e-14, atol=0)
    v = torch.randn_like(q)
    for derivative in (torch.autograd.functional.vjp, torch.autograd.functional.vhp):
        weight = torch.ones((), dtype=torch.float64) if derivative is torch.autograd.functional.vjp else v
        torch.testing.assert_close(
            derivative(fast, q, weight)[1], derivative(plain, q, weight)[1], rtol=1e-11, atol=1e-11
        )


@pytest.mark.parametrize("covariance", [*FREE, "fixed"])
def test_preconditioner_is_symmetric_and_positive(covariance: str) -> None:
    data, _, _ = pln_table(30, 4, seed=20)
    data = replace(data, w=torch.linspace(0.5, 2, 30, dtype=torch.float64))
    chosen = model(covariance, 4)
    prepared = chosen.prepare(data)
    start = chosen.start(prepared)
    apply = chosen.preconditioner(start, prepared)
    unit = torch.eye(2 * 30 * 4, dtype=torch.float64).view(-1, 2, 30, 4)
    P = torch.stack([apply({"q": e})["q"].flatten() for e in unit])
    torch.testing.assert_close(P, P.mT, rtol=1e-10, atol=1e-12)
    assert float(torch.linalg.eigvalsh(P).min()) > 0


def test_preconditioner_inverts_the_hessian_of_a_feature_alone_with_its_variance_fixed() -> None:
    """p = 1 and Omega fixed: nothing is approximated but psi, so P^-1 H is the identity."""
    data, _, _ = pln_table(12, 1, seed=21)
    data = replace(data, w=torch.linspace(0.5, 2, 12, dtype=torch.float64))
    chosen = model("fixed", 1)
    prepared = chosen.prepare(data)
    q = chosen.start(prepared)["q"]
    H = torch.autograd.functional.hessian(partial(plain_objective, table=prepared.table), q).view(24, 24)
    apply = chosen.preconditioner({"q": q}, prepared)
    PH = torch.stack([apply({"q": column.view(2, 12, 1)})["q"].flatten() for column in H], 1)
    torch.testing.assert_close(PH, torch.eye(24, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("covariance", FREE)
def test_coupling_of_features_is_the_second_derivative_of_the_layer(covariance: str) -> None:
    """Among directions that each change one feature, against autograd on the layer's own value."""
    data, _, _ = pln_table(15, 3, seed=24)
    data = replace(data, w=torch.linspace(0.5, 2, 15, dtype=torch.float64))
    chosen = PLN(covariance)
    prepared = chosen.prepare(data)
    table = prepared.table
    g = torch.Generator().manual_seed(0)
    R = table.mean.project(torch.randn(15, 3, generator=g, dtype=torch.float64))
    S2 = torch.rand(15, 3, generator=g, dtype=torch.float64) + 0.1
    dR = table.mean.project(torch.randn(15, 3, generator=g, dtype=torch.float64))
    dS2 = torch.randn(15, 3, generator=g, dtype=torch.float64)

    def value(t: torch.Tensor) -> torch.Tensor:
        return table.layer(R + dR * t, S2 + dS2 * t, table.w, table.wbar).value

    H = torch.autograd.functional.hessian(value, torch.zeros(3, dtype=torch.float64))
    coupled = table.layer(R, S2, table.w, table.wbar).couple(dR, (data.w[:, None] * dS2).sum(0) / table.wbar)
    assert coupled is not None
    expected = H if covariance == "full" else H.diagonal()  # a shared variance's other entries are left out
    torch.testing.assert_close(coupled[0] - coupled[1], expected, rtol=1e-9, atol=1e-9)


def test_third_derivatives_are_refused_rather_than_wrong() -> None:
    data, _, _ = pln_table(5, 2, seed=22)
    table = PLN().prepare(data).table
    q = torch.zeros(2, 5, 2, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(objective(q, table), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="third"):
        torch.autograd.grad(g.square().sum(), q, create_graph=True)


def test_the_elbo_is_the_textbook_one_of_what_is_reported() -> None:
    data, _, _ = pln_table(20, 4, seed=3)
    result = fit(PLN(), data)
    est = result.estimates
    M, S, Omega = est["M"], est["S"], est["Omega"]
    R = M - data.X @ est["B"]
    A = (M + S**2 / 2).exp()
    reconstruction = (data.Y * M - A - torch.lgamma(data.Y + 1)).sum()
    kl = 0.5 * (
        (R @ Omega * R).sum() + (S**2 @ Omega.diagonal()).sum() - (S**2).log().sum() - data.n * data.p
    ) - 0.5 * data.n * torch.logdet(Omega)
    assert result.criteria.loglik == pytest.approx(float(reconstruction - kl), rel=1e-12)
    assert 0.0 <= result.criteria.loglik - elbo(result) <= result.optimum.gap


@pytest.mark.parametrize("covariance", [*FREE, "fixed"])
@pytest.mark.parametrize("formula", ["masked", "groups"])
def test_the_latent_layer_is_where_it_is_best_for_what_is_reported(covariance: str, formula: str) -> None:
    data, _, _ = pln_table(40, 5, seed=8)
    if formula == "masked":
        data = replace(data, K=torch.rand(40, 5, generator=torch.Generator().manual_seed(1)) > 0.2)
    else:  # feature 0 is never seen in the second group
        Y = data.Y.clone()
        Y[20:, 0] = 0
        data = dataset(Y, torch.eye(2, dtype=torch.float64).repeat_interleave(20, 0))
    result = fit(model(covariance, 5), data, stop=StopRule(1e-3))  # far from the optimum
    found = transform(result.fitted, data.Y, data.X, data.O, data.K)
    torch.testing.assert_close(found.mean, result.estimates["M"], rtol=0, atol=1e-8)
    torch.testing.assert_close(found.sd, result.estimates["S"], rtol=0, atol=1e-8)


# -- laws --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", [*FREE, "fixed"])
def test_order_of_samples_and_features_does_not_matter(covariance: str) -> None:
    data, _, _ = pln_table(40, 5, seed=1)
    rows, columns = torch.randperm(40), torch.randperm(5)
    moved = dataset(data.Y[rows][:, columns], data.X[rows])
    ours = model(covariance, 5)
    theirs = ours if ours.precision is None else replace(ours, precision=ours.precision[columns][:, columns])
    a, b = fit(ours, data, stop=TIGHT), fit(theirs, moved, stop=TIGHT)
    assert elbo(a) == pytest.approx(elbo(b), rel=1e-12)
    # 1e-6: two runs stop at points within 1e-12 nats a sample, whose roots are about 1e-6 standard errors apart.
    torch.testing.assert_close(a.estimates["B"][:, columns], b.estimates["B"], rtol=0, atol=1e-6)
    torch.testing.assert_close(a.estimates["M"][rows][:, columns], b.estimates["M"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e12])
def test_units_of_a_covariate_do_not_matter(scale: float) -> None:
    data, _, _ = pln_table(40, 5, seed=2)
    units = torch.tensor([1.0, scale], dtype=torch.float64)
    a, b = fit(PLN(), data), fit(PLN(), replace(data, X=data.X * units))
    assert elbo(a) == pytest.approx(elbo(b), rel=1e-12)
    torch.testing.assert_close(a.estimates["B"], b.estimates["B"] * units[:, None], rtol=1e-6, atol=1e-8)
    assert a.optimum.products == b.optimum.products


def test_offset_moves_the_intercept_and_nothing_else() -> None:
    data, _, _ = pln_table(40, 5, seed=4)
    shift = 3.0
    a, b = fit(PLN(), data, stop=TIGHT), fit(PLN(), replace(data, O=data.O + shift), stop=TIGHT)
    assert elbo(a) == pytest.approx(elbo(b), rel=1e-12)
    torch.testing.assert_close(a.estimates["B"][0] - shift, b.estimates["B"][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(a.estimates["Sigma"], b.estimates["Sigma"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("covariance", [*FREE, "fixed"])
def test_weight_two_is_a_sample_twice(covariance: str) -> None:
    data, _, _ = pln_table(30, 4, seed=5)
    w = torch.ones(30)
    w[:10] = 2
    twice = torch.cat([torch.arange(30), torch.arange(10)])
    a = fit(model(covariance, 4), replace(data, w=w.double()), stop=TIGHT)
    b = fit(model(covariance, 4), dataset(data.Y[twice], data.X[twice]), stop=TIGHT)
    assert elbo(a) == pytest.approx(elbo(b), rel=1e-12)
    torch.testing.assert_close(a.estimates["B"], b.estimates["B"], rtol=0, atol=1e-6)
    assert a.criteria.r2 == pytest.approx(b.criteria.r2)


def test_a_masked_cell_tells_nothing() -> None:
    data, _, _ = pln_table(40, 4, seed=6)
    K = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) > 0.1
    other = torch.where(K, data.Y, 1000.0)
    a, b = fit(PLN(), replace(data, K=K)), fit(PLN(), replace(data, Y=other, K=K))
    assert elbo(a) == pytest.approx(elbo(b), rel=1e-12)
    torch.testing.assert_close(a.estimates["Sigma"], b.estimates["Sigma"], rtol=1e-9, atol=1e-9)


def test_a_sample_without_any_observed_cell_changes_nothing() -> None:
    data, _, _ = pln_table(40, 4, seed=7)
    more = dataset(torch.cat([data.Y, data.Y[:1]]), torch.cat([data.X, data.X[:1]]))
    K = torch.ones(41, 4, dtype=torch.bool)
    K[40] = False
    a, b = fit(PLN("fixed", torch.eye(4).double()), data), fit(PLN("fixed", torch.eye(4).double()), replace(more, K=K))
    assert elbo(a) == pytest.approx(elbo(b), abs=1e-4)  # its q equals the prior: no nats either way, up to the gap


def test_diagonal_is_each_feature_alone() -> None:
    data, _, _ = pln_table(50, 4, seed=8)
    together = fit(PLN("diagonal"), data, stop=TIGHT)
    alone = [fit(PLN("diagonal"), replace(data, Y=data.Y[:, [j]], responses=()), stop=TIGHT) for j in range(4)]
    assert elbo(together) == pytest.approx(sum(elbo(a) for a in alone), rel=1e-12)
    torch.testing.assert_close(
        together.estimates["B"], torch.cat([a.estimates["B"] for a in alone], 1), rtol=0, atol=1e-6
    )


def test_structures_are_nested() -> None:
    data, _, _ = pln_table(60, 5, seed=9)
    full, diagonal, spherical = (fit(PLN(c), data) for c in FREE)
    assert elbo(full) >= elbo(diagonal) >= elbo(spherical)
    held = fit(PLN("fixed", full.estimates["Omega"]), data)
    assert elbo(held) == pytest.approx(elbo(full), abs=1e-3)
    assert [r.criteria.n_parameters for r in (full, diagonal, spherical, held)] == [25, 15, 11, 10]


def test_one_feature_has_one_covariance_structure() -> None:
    data, _, _ = pln_table(60, 1, seed=10)
    values = [elbo(fit(PLN(c), data, stop=TIGHT)) for c in FREE]
    assert max(values) - min(values) < 1e-9


def test_float32_agrees_with_float64() -> None:
    data, _, _ = pln_table(60, 5, seed=11)
    double, single = fit(PLN(), data), fit(PLN(), data.to(dtype=torch.float32), stop=StopRule(tol=1e-4))
    assert elbo(single) == pytest.approx(elbo(double), abs=60 * 1e-4 + 1e-6 * abs(elbo(double)))
    torch.testing.assert_close(single.estimates["B"].double(), double.estimates["B"], rtol=0, atol=0.02)


# -- outsiders ---------------------------------------------------------------------------------------------------------


def test_bound_lies_just_below_the_likelihood() -> None:
    """p = 1: the log-likelihood by Gauss–Hermite quadrature with 200 nodes, for the same B and Sigma."""
    data, _, _ = pln_table(80, 1, seed=12)
    result = fit(PLN(), data)
    mean = (data.X @ result.estimates["B"]).numpy()
    sd = math.sqrt(float(result.estimates["Sigma"]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    density = stats.poisson.pmf(data.Y.numpy(), np.exp(mean + sd * nodes))
    loglik = np.log(density @ (weights / math.sqrt(2 * math.pi))).sum()
    assert elbo(result) <= loglik
    assert elbo(result) == pytest.approx(loglik, abs=0.02 * data.n)  # measured: 0.005 nats a sample


def test_fixed_at_almost_nothing_is_poisson_regression() -> None:
    sm = pytest.importorskip("statsmodels.api")
    data, _, _ = pln_table(60, 2, seed=13)
    result = fit(PLN("fixed", 1e8 * torch.eye(2).double()), data, stop=TIGHT)
    for j in range(2):
        glm = sm.GLM(data.Y[:, j].numpy(), data.X.numpy(), family=sm.families.Poisson()).fit()
        # 1e-5: a variance of 1e-8 shifts coefficients by about that times the mean count.
        np.testing.assert_allclose(result.estimates["B"][:, j].numpy(), glm.params, atol=1e-5)


@pytest.mark.slow
def test_truth_is_recovered_as_n_grows() -> None:
    errors = []
    for n in (100, 1000, 10_000):
        data, B, Sigma = pln_table(n, 5, seed=14, mean=2.5)
        est = fit(PLN(), data).estimates
        errors.append((float((est["B"] - B).abs().max()), float((est["Sigma"] - Sigma).abs().max())))
    # Monte-Carlo error falls by about 3.2 a row; the bound's own bias at this depth is below 0.02 (measured).
    for k in (0, 1):
        assert errors[2][k] < 0.05
        assert errors[2][k] < errors[0][k]


# -- oaks --------------------------------------------------------------------------------------------------------------


def test_oaks_reaches_its_optimum() -> None:
    result = fit(PLN(), oaks())
    assert result.converged
    assert elbo(result) >= -32026.02
    assert elbo(result) <= -32026.015  # the optimum, to the tolerance: higher would not be a bound of this model


@pytest.mark.parametrize(("covariance", "floor"), [("full", -31381.99), ("diagonal", -1e9), ("spherical", -1e9)])
def test_oaks_by_tree_is_solved_on_its_boundary(covariance: str, floor: float) -> None:
    data = oaks(tree=True)
    result = fit(PLN(covariance), data)
    assert result.converged
    assert elbo(result) >= floor
    (finding,) = [f for f in result.findings if f.code == "separation"]
    group = data.X > 0
    zero = [
        (data.responses[j], data.terms[k])
        for j in range(data.p)
        for k in range(data.d)
        if float(data.Y[group[:, k], j].sum()) == 0
    ]
    assert len({feature for feature, _ in zero}) == 9
    assert set(finding.cells) == set(zero)
    B = result.estimates["B"]
    assert {(data.responses[j], data.terms[k]) for k, j in torch.isneginf(B).nonzero().tolist()} == set(zero)
    assert bool((torch.isfinite(B) | torch.isneginf(B)).all())


def test_threads_change_rounding_only() -> None:
    before = torch.get_num_threads()
    try:
        values = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            values.append(elbo(fit(PLN(), oaks(), stop=StopRule(tol=1e-9))))
    finally:
        torch.set_num_threads(before)
    assert values[0] == pytest.approx(values[1], rel=1e-11)


# -- boundaries --------------------------------------------------------------------------------------------------------


def groups(n: int, k: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(n) % k, k).double()


def test_separation_is_the_supremum() -> None:
    """Lowering the coefficient of a feature that is zero in a group climbs to the value that the mask gives."""
    data, _, _ = pln_table(40, 3, seed=15)
    X = groups(40, 2)
    Y = data.Y.clone()
    Y[X[:, 1] > 0, 0] = 0
    data = dataset(Y, X)
    result = fit(PLN(), data, stop=TIGHT)
    assert torch.isneginf(result.estimates["B"][1, 0])
    prepared = PLN().prepare(data)
    open_table = replace(prepared.table, emission=replace(prepared.table.emission, K=None))
    values = []
    for lower in (-10.0, -20.0, -30.0):
        M = result.state["M_finite"].clone()
        cells = X[:, 1] > 0
        M[cells, 0] += lower - M[cells, 0].mean()
        values.append(-float(plain_objective(torch.stack([M, 2 * result.estimates["S"].log()]), open_table)))
    assert values[0] < values[1] < values[2] < elbo(result) + 1e-9
    assert values[2] == pytest.approx(elbo(result), abs=1e-9)


def test_treatment_coding_says_the_same_as_cell_means() -> None:
    data, _, _ = pln_table(40, 3, seed=16)
    G = groups(40, 2)
    Y = data.Y.clone()
    Y[G[:, 1] > 0, 0] = 0
    cells = fit(PLN(), dataset(Y, G), stop=TIGHT)
    treatment = fit(PLN(), dataset(Y, torch.stack([torch.ones(40), G[:, 1]], 1)), stop=TIGHT)
    assert elbo(cells) == pytest.approx(elbo(treatment), rel=1e-10)
    assert torch.isneginf(treatment.estimates["B"][1, 0])
    assert float(treatment.estimates["B"][0, 0]) == pytest.approx(float(cells.estimates["B"][0, 0]), abs=1e-5)


@pytest.mark.parametrize("covariance", FREE)
def test_poisson_counts_end_on_the_boundary(covariance: str) -> None:
    """Underdispersed counts have no latent variance: exact zeros, and the coefficients of a Poisson regression."""
    sm = pytest.importorskip("statsmodels.api")
    g = torch.Generator().manual_seed(17)
    X = torch.cat([torch.ones(100, 1), torch.randn(100, 1, generator=g)], 1).double()
    Y = torch.binomial(torch.full((100, 2), 10.0), torch.full((100, 2), 0.8), generator=g).double()
    result = fit(PLN(covariance), dataset(Y, X))
    assert result.converged
    assert float(result.estimates["Sigma"].abs().max()) == 0.0
    assert bool(result.estimates["Omega"].isnan().all())
    assert [f.code for f in result.findings] == ["no-extra-poisson-variance"]
    loglik = 0.0
    for j in range(2):
        glm = sm.GLM(Y[:, j].numpy(), X.numpy(), family=sm.families.Poisson()).fit()
        np.testing.assert_allclose(result.estimates["B"][:, j].numpy(), glm.params, atol=1e-6)
        loglik += glm.llf
    assert elbo(result) == pytest.approx(loglik, rel=1e-9)


def test_boundary_features_sit_beside_the_rest() -> None:
    data, _, _ = pln_table(100, 3, seed=18)
    g = torch.Generator().manual_seed(18)
    flat = torch.binomial(torch.full((100, 2), 10.0), torch.full((100, 2), 0.8), generator=g).double()
    both = fit(PLN(), dataset(torch.cat([flat, data.Y], 1), data.X), stop=TIGHT)
    rest = fit(PLN(), data, stop=TIGHT)
    (finding,) = both.findings
    assert finding.names == ("y1", "y2")
    torch.testing.assert_close(both.estimates["Sigma"][2:, 2:], rest.estimates["Sigma"], rtol=0, atol=1e-6)
    assert float(both.estimates["Sigma"][:2].abs().max()) == 0.0
    assert bool(both.estimates["Omega"][:2].isnan().all()) and bool(both.estimates["Omega"][2:, 2:].isfinite().all())


def test_score_at_the_boundary_is_the_slope_of_the_bound() -> None:
    """Twice the gain of a small latent variance t, per t, at the best M and S for it: against the definition."""
    data, _, _ = pln_table(50, 3, seed=19)
    model_ = PLN()
    result = fit(model_, data, stop=TIGHT)
    prepared = model_.prepare(data)
    table, first = prepared.table, prepared.regressions(torch.tensor([0]))
    gamma = first.fit(table.mean.coefficients(result.estimates["M"])[:, [0]])
    R = (result.estimates["M"] - data.X @ result.estimates["B"])[:, 1:]
    S2 = result.estimates["S"][:, 1:].square()
    all_others = torch.ones(2, 1, dtype=torch.bool)
    score = float(first.variance_scores(gamma, R, S2, all_others))
    e = first.residuals(gamma)
    beta = (R.mT @ e)[:, 0] / S2.sum(0)

    def gain(t: float) -> float:
        """ELBO with the first feature at variance t beyond what follows the others, minus its Poisson value."""
        U = t * (R @ beta[:, None] + e)
        psi = torch.full_like(U, math.log(t))
        M = torch.cat([table.mean.Q @ gamma + U, result.estimates["M"][:, 1:]], 1)
        psi = torch.cat([psi, S2.log()], 1)
        poisson = -float(first.losses(gamma)) - float(torch.lgamma(data.Y[:, 0] + 1).sum())
        rest = PLN()
        alone = dataset(data.Y[:, 1:], data.X)
        rest_value = -float(plain_objective(torch.stack([M[:, 1:], psi[:, 1:]]), rest.prepare(alone).table))
        return -float(plain_objective(torch.stack([M, psi]), table)) - poisson - rest_value

    t = 1e-6
    # The profiled bound is at least what the construction promises, and both vanish in proportion to t.
    assert gain(t) / t >= 0.5 * score * (1 - 1e-2)
    assert gain(t) / t == pytest.approx(0.5 * score, rel=0.2)
    away, log_variance = first.small_variance(
        gamma, R, S2, followed=torch.ones(R.shape[1], len(gamma[0]), dtype=torch.bool)
    )  # where a fit leaves the boundary
    torch.testing.assert_close(away - table.mean.Q @ gamma, float(log_variance.exp()) * (R @ beta[:, None] + e))
    assert gain(float(log_variance.exp())) > 0.0


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Y", "words"),
    [
        (torch.tensor([[1.0, -2.0], [0.0, 1.0]]), "whole numbers"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "whole numbers"),
        (torch.tensor([[1.0, math.nan], [0.0, 1.0]]), "whole numbers"),
        (torch.tensor([[1.0, 0.0], [2.0, 0.0]]), "y2"),
    ],
)
def test_counts_that_are_not_counts_are_refused(Y: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit(PLN(), dataset(Y))


def test_dependent_terms_are_refused_by_name() -> None:
    data, _, _ = pln_table(20, 2)
    X = torch.cat([data.X, data.X[:, :1] + data.X[:, 1:2]], 1)
    with pytest.raises(DataError, match="total"):
        fit(PLN(), dataset(data.Y, X, terms=("Intercept", "depth", "total")))


def test_a_precision_that_is_not_positive_definite_is_refused() -> None:
    data, _, _ = pln_table(20, 2)
    with pytest.raises(DataError, match="positive definite"):
        fit(PLN("fixed", torch.tensor([[1.0, 2.0], [2.0, 1.0]]).double()), data)


def test_the_dataset_checks_its_shapes() -> None:
    with pytest.raises(DataError, match="shape"):
        Dataset(torch.ones(3, 2), torch.ones(2, 1), torch.ones(3, 1), torch.ones(3))


def test_a_fit_keeps_no_evaluation_alive() -> None:
    """Memory must not grow with the number of steps: what a step computed goes with the step, without the collector."""
    import gc

    from plncli.models.pln.elbo import Evaluation

    data, _, _ = pln_table(30, 4, seed=23)
    gc.collect()
    gc.disable()
    alive: list[int] = []
    try:
        fit(PLN(), data, on_step=lambda _: alive.append(sum(type(o) is Evaluation for o in gc.get_objects())))
    finally:
        gc.enable()
    assert len(alive) > 2
    assert max(alive) - alive[0] <= 1
