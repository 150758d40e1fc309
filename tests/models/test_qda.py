"""Quadratic discriminant analysis: laws of groups fitted side by side, then accuracy where the truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.discrimination import agreement, folds_of, held_out
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.abilities import Discriminating, Separating
from plncli.models.lda.grouped import Grouped
from plncli.models.lda.model import LDA
from plncli.models.lda.quadratic.fitted import FittedQDA
from plncli.models.lda.quadratic.model import QDA
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.model import PLN
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.optim.vem import VEM
from plncli.results import FitResult

P, EACH = 5, 50
NAMES = ("a", "b")
TIGHT = StopRule(tol=1e-11)
SANDWICH = InferenceRule("sandwich", 0.95)


def table(seed: int = 0, each: int = EACH) -> tuple[Dataset, Tensor]:
    """Two groups with a covariate whose coefficients, and correlations, differ between them; the group of each."""
    g = torch.Generator().manual_seed(seed)
    group = torch.arange(2).repeat_interleave(each)
    x = torch.randn(len(group), generator=g).double()
    noise = torch.randn(len(group), P, generator=g).double()
    shared = torch.randn(len(group), 1, generator=g).double()
    Z = 1.5 + 0.3 * x[:, None] * torch.where(group == 0, 1.0, -1.0)[:, None] + 0.4 * noise
    Z = Z + 0.7 * shared * torch.where(group == 0, 1.0, 0.2)[:, None]
    O = 0.3 * torch.randn(len(group), 1, generator=g).double()
    one = torch.nn.functional.one_hot(group, 2).double()
    X = torch.cat([one, one * x[:, None]], 1)
    terms = ("g[a]", "g[b]", "g[a]:x", "g[b]:x")
    return Dataset(torch.poisson((O + Z).exp(), generator=g), X, O, torch.ones(len(group)).double(), terms=terms), group


def alone(data: Dataset, group: int, covariance: str = "full", **more: object) -> FitResult:
    """A fit of `pln` to the samples of one group."""
    rows, terms = (data.X[:, group] != 0).nonzero()[:, 0], torch.tensor([group, group + 2])
    own = data.take(rows, torch.ones_like(rows)).among(terms, torch.arange(data.p))
    return fit(PLN(covariance=covariance), own, stop=TIGHT, **more)  # type: ignore[arg-type]


def seen(Y: Tensor) -> Tensor:
    return torch.ones_like(Y, dtype=torch.bool)


def answers(result: FitResult) -> FittedQDA:
    fitted = result.fitted
    assert isinstance(fitted, FittedQDA)
    return fitted


def posterior(result: FitResult, data: Dataset) -> Tensor:
    fitted = result.fitted
    assert isinstance(fitted, Grouped)
    return fitted.discriminate(data.X, data.O, data.Y, seen(data.Y)).log_posterior


@pytest.fixture(scope="module")
def whole() -> FitResult:
    return fit(QDA(groups="g"), table()[0], stop=TIGHT, inference=SANDWICH)


# Laws


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_it_is_a_fit_of_each_group(covariance: str) -> None:
    """The bound, estimates and standard errors are those of separate fits: groups have nothing in common."""
    data, group = table()
    result = fit(QDA(groups="g", covariance=covariance), data, stop=TIGHT, inference=SANDWICH)
    parts = [alone(data, g, covariance, inference=SANDWICH) for g in range(2)]
    assert result.converged
    assert result.criteria.loglik == pytest.approx(sum(part.criteria.loglik for part in parts), abs=1e-8)
    assert result.criteria.n_parameters == sum(part.criteria.n_parameters for part in parts)
    shares = torch.zeros(P, P).double()
    for g, part in enumerate(parts):
        assert result.estimates["B"][[g, g + 2]].numpy() == pytest.approx(part.estimates["B"].numpy(), abs=1e-5)
        Sigma = part.estimates["Sigma"]
        assert result.estimates["V_g"][g].numpy() == pytest.approx(Sigma.diagonal().numpy(), abs=1e-5)
        if covariance == "full":
            assert result.estimates["Sigma_g"][g].numpy() == pytest.approx(Sigma.numpy(), abs=1e-5)
        assert result.estimates["M"][group == g].numpy() == pytest.approx(part.estimates["M"].numpy(), abs=1e-4)
        assert result.inference is not None and part.inference is not None
        for name in ("std_error", "p_value"):
            ours, theirs = getattr(result.inference, name)[[g, g + 2]], getattr(part.inference, name)
            assert ours.numpy() == pytest.approx(theirs.numpy(), rel=1e-4, abs=1e-9)
        shares += 0.5 * Sigma
    assert result.estimates["Sigma"].numpy() == pytest.approx(shares.numpy(), abs=1e-5)


def test_gradient_and_products_are_those_of_the_objective(whole: FitResult) -> None:
    model, data = QDA(groups="g"), whole.data
    prepared = model.prepare(data)
    g = torch.Generator().manual_seed(1)
    start = {n: t + 0.1 * torch.randn(t.shape, generator=g).double() for n, t in model.start(prepared).items()}
    v = {n: torch.randn(t.shape, generator=g).double() for n, t in start.items()}

    def at(h: float) -> tuple[float, dict[str, Tensor]]:
        here = model.at({n: t + h * v[n] for n, t in start.items()}, prepared)
        return float(here.value), here.gradient()

    h = 1e-5
    (up, high), (down, low) = at(h), at(-h)
    assert (up - down) / (2 * h) == pytest.approx(sum(float((at(0.0)[1][n] * v[n]).sum()) for n in v), rel=1e-6)
    product = model.at(start, prepared).product(v)
    for name in v:
        assert product[name].numpy() == pytest.approx(((high[name] - low[name]) / (2 * h)).numpy(), rel=1e-4, abs=1e-5)
    assert float(model.objective(start, prepared)) == pytest.approx(at(0.0)[0], rel=1e-13)


def test_order_and_repetition_are_no_matter(whole: FitResult) -> None:
    data = whole.data
    order = torch.randperm(data.n, generator=torch.Generator().manual_seed(2))
    turned = replace(data, Y=data.Y[order], X=data.X[order], O=data.O[order])
    again = fit(QDA(groups="g"), turned, stop=TIGHT)
    assert again.estimates["B"].numpy() == pytest.approx(whole.estimates["B"].numpy(), abs=1e-5)
    assert again.estimates["M"].numpy() == pytest.approx(whole.estimates["M"][order].numpy(), abs=1e-4)
    features = torch.tensor([3, 1, 4, 0, 2])
    moved = fit(QDA(groups="g"), replace(data, Y=data.Y[:, features], responses=()), stop=TIGHT)
    assert moved.estimates["Sigma_g"].numpy() == pytest.approx(
        whole.estimates["Sigma_g"][:, features][:, :, features].numpy(), abs=1e-5
    )
    twice = torch.arange(data.n) < 7
    both = torch.cat([torch.arange(data.n), torch.arange(data.n)[twice]])
    repeated = fit(QDA(groups="g"), data.take(both, torch.ones_like(both)), stop=TIGHT)
    weighted = fit(QDA(groups="g"), replace(data, w=1.0 + twice.double()), stop=TIGHT)
    assert repeated.criteria.loglik == pytest.approx(weighted.criteria.loglik, abs=1e-7)
    for name in ("B", "Sigma_g", "Sigma"):
        assert repeated.estimates[name].numpy() == pytest.approx(weighted.estimates[name].numpy(), abs=1e-5)


def test_variational_em_ends_at_the_same_place(whole: FitResult) -> None:
    other = fit(QDA(groups="g"), whole.data, VEM(), StopRule(tol=1e-8))
    assert other.converged
    assert other.criteria.loglik == pytest.approx(whole.criteria.loglik, abs=1e-5)


def test_samples_are_answered_for_as_by_the_fit_of_their_group(whole: FitResult) -> None:
    data, fitted = whole.data, answers(whole)
    K, group = seen(data.Y), data.X[:, :2].argmax(1)
    O = data.O.expand_as(data.Y)
    mixed = torch.randperm(data.n, generator=torch.Generator().manual_seed(3))
    X, O, Y = data.X[mixed], O[mixed], data.Y[mixed]
    observed = torch.tensor([0, 2])
    for g in range(2):
        part = alone(data, g).fitted
        assert isinstance(part, FittedPLN)
        at, own = group[mixed] == g, X[group[mixed] == g][:, [g, g + 2]]
        pairs = [
            (fitted.predict(X, O, ("prediction",)).columns, part.predict(own, O[at], ("prediction",)).columns),
            (fitted.fitted_values(X, O, Y, K).columns, part.fitted_values(own, O[at], Y[at], K[at]).columns),
            (
                fitted.conditional(X, O, Y[:, observed], observed, K[:, observed]).columns,
                part.conditional(own, O[at], Y[at][:, observed], observed, K[at][:, observed]).columns,
            ),
            (fitted.transform(X, O, Y, K).__dict__, part.transform(own, O[at], Y[at], K[at]).__dict__),
            (fitted.score_samples(X, O, Y, K)._asdict(), part.score_samples(own, O[at], Y[at], K[at])._asdict()),
        ]
        for ours, theirs in pairs:
            for name, values in theirs.items():
                if isinstance(values, Tensor) and name not in (
                    "pred_low",
                    "pred_high",
                ):  # whole numbers: rounding moves them
                    assert ours[name][at].numpy() == pytest.approx(values.numpy(), rel=1e-3, abs=1e-4), name
    drawn = fitted.simulate(X, O, torch.Generator().manual_seed(4))
    assert torch.equal(drawn.Y, fitted.simulate(X, O, torch.Generator().manual_seed(4)).Y)


def test_bounds_and_diagnosis_are_those_of_the_fit(whole: FitResult) -> None:
    data, fitted = whole.data, answers(whole)
    assert float(fitted.bounds(data).sum()) == pytest.approx(whole.criteria.loglik, abs=1e-6)
    found = fitted.diagnose(data, 100, torch.Generator().manual_seed(5))
    assert found.facts["elbo_by_sample"] == pytest.approx(whole.criteria.loglik, abs=1e-6)
    assert found.facts["loglik"] > whole.criteria.loglik
    zeros = fitted.expected_zeros(data)
    assert zeros.counted.tolist() == (data.Y == 0).sum(0).tolist()
    assert float(found.residuals.std()) == pytest.approx(1.0, abs=0.1)
    fitted.cells(data)


def test_probabilities_are_those_of_bounds_and_priors(whole: FitResult) -> None:
    """Of each sample by the bounds of both groups' fits, whatever group its row of the design says."""
    data = whole.data
    known = posterior(whole, data)
    assert known.exp().sum(1).numpy() == pytest.approx(np.ones(data.n))
    turned = replace(data, X=data.X[:, [1, 0, 3, 2]])
    assert posterior(whole, turned).numpy() == pytest.approx(known.numpy(), abs=1e-12)
    x = data.X[:, 2:].sum(1)
    rows = torch.stack([torch.ones_like(x), x], 1)
    bounds = []
    for g in range(2):
        part = alone(data, g).fitted
        assert isinstance(part, FittedPLN)
        bounds.append(part.score_samples(rows, data.O, data.Y, seen(data.Y)).loglik)
    joint = torch.stack(bounds, 1) + math.log(0.5)
    assert known.numpy() == pytest.approx(joint.log_softmax(1).numpy(), abs=1e-4)


def test_there_are_no_axes(whole: FitResult) -> None:
    fitted = whole.fitted
    assert isinstance(fitted, Discriminating) and not isinstance(fitted, Separating)
    assert {"group_means", "group_variances", "group_covariances"} == {*fitted.further_tables(whole.data.samples)}


def test_a_feature_that_a_group_never_has_decides_nothing_alone(whole: FitResult) -> None:
    data, group = table()
    Y = data.Y.clone()
    Y[group == 0, 4] = 0.0
    result = fit(QDA(groups="g"), replace(data, Y=Y), inference=SANDWICH)
    assert result.converged and result.estimates["B"][0, 4] == -torch.inf
    assert bool((result.estimates["Sigma_g"][0, 4] == 0).all())
    assert result.inference is not None and bool(result.inference.std_error[0, 4].isnan())
    Y[0, 4] = 1.0
    found = answers(result).discriminate(data.X, data.O, Y, seen(Y))
    assert bool(torch.isfinite(found.log_posterior).all())
    assert any(bool(cells.any()) for cells in found.reasons.values())


def test_an_earlier_fit_is_gone_on_with(whole: FitResult) -> None:
    known = {**whole.estimates, **whole.state}
    init = {name: known[name] for name in ("M_finite", "S", "B", "B_finite")}
    again = fit(QDA(groups="g"), whole.data, init=init)
    assert again.converged and again.optimum.steps <= 1
    assert again.criteria.loglik == pytest.approx(whole.criteria.loglik, abs=1e-4)


def test_states_that_were_offered_lead_to_the_same_bits() -> None:
    data, _ = table(each=12)  # some variances fall to 0, so that the problem changes on the way
    states: list = []
    first = fit(QDA(groups="g"), data, stop=StopRule(tol=1e-9), offer=states.append)
    assert first.converged
    for state in states[:: max(1, len(states) // 4)]:
        again = fit(QDA(groups="g"), data, stop=StopRule(tol=1e-9), state=state)
        assert all(
            torch.equal(
                again.estimates[name],
                value,
            )
            for name, value in first.estimates.items()
        )


def test_samples_are_held_out_of_the_fit_that_classifies_them(whole: FitResult) -> None:
    data, group = whole.data, answers(whole).group_of
    fold = folds_of(data, group, 4, 0)
    found, failed = held_out(whole, fold, NewtonCG(), StopRule(tol=1e-10))
    assert failed == 0
    for k in range(4):
        rows, held = (fold != k).nonzero()[:, 0], (fold == k).nonzero()[:, 0]
        part = fit(QDA(groups="g"), data.take(rows, torch.ones_like(rows)), stop=StopRule(tol=1e-10))
        own = data.take(held, torch.ones_like(held))
        assert found[held].numpy() == pytest.approx(posterior(part, own).numpy(), abs=1e-3)


def test_covariates_that_a_group_has_no_sample_with_leave_a_sample_unclassified() -> None:
    data, group = table()
    rare = torch.zeros(data.n).double()
    rare[(group == 1).nonzero()[:6, 0]] = 1.0  # a level that group a lacks
    with_rare = replace(data, X=torch.cat([data.X, rare[:, None]], 1), terms=(*data.terms, "g[b]:z[T.r]"))
    found = posterior(fit(QDA(groups="g"), with_rare), with_rare)
    assert torch.equal(found.isnan().all(1), rare.bool())


def test_what_cannot_be_fitted_is_refused() -> None:
    data, _ = table()
    few = torch.cat([torch.arange(2), torch.arange(EACH, 2 * EACH)])
    with pytest.raises(DataError, match=r"1 group with too few samples .* a \(2\)"):
        fit(QDA(groups="g"), data.take(few, torch.ones_like(few)))
    common = replace(
        data, X=torch.cat([data.X[:, :2], data.X[:, 2:].sum(1, keepdim=True)], 1), terms=("g[a]", "g[b]", "x")
    )
    with pytest.raises(DataError, match="x. With --quadratic, each group has coefficients of its own"):
        fit(QDA(groups="g"), common)
    with pytest.raises(DataError, match="no groups"):
        fit(QDA(groups="h"), data)


def test_clusters_in_several_groups_have_no_standard_errors() -> None:
    data, _ = table()
    within = fit(QDA(groups="g"), replace(data, clusters=torch.arange(data.n) // 5), inference=SANDWICH)
    parts = alone(replace(data), 0)
    assert within.inference is not None and parts.converged
    across = fit(QDA(groups="g"), replace(data, clusters=torch.arange(data.n) % 20), inference=SANDWICH)
    assert across.inference is None and any("lie in several groups" in one.message for one in across.findings)


# Values


def latent(each: int, seed: int, *, equal: bool) -> tuple[Dataset, Tensor, Tensor]:
    """Two groups of samples in many counts; with `equal` covariances and other means, or the other way round.

    The log-probabilities of Bayes' rule, which knows the latent values, means and covariances: the best there is.
    """
    g = torch.Generator().manual_seed(seed)
    group = torch.arange(2).repeat_interleave(each)
    ones = torch.eye(P).double()
    Sigmas = [0.3 * ones + 0.1, 0.3 * ones + 0.1] if equal else [0.1 * ones + 0.4, 0.55 * ones - 0.05]
    means = torch.zeros(2, P).double()
    if equal:
        means[1] = torch.tensor([0.5, -0.5, 0.3, 0.0, -0.2]).double()
    L = torch.stack([torch.linalg.cholesky(Sigma) for Sigma in Sigmas])
    Z = 6.0 + means[group] + (L[group] @ torch.randn(2 * each, P, 1, generator=g).double())[:, :, 0]
    laws = [torch.distributions.MultivariateNormal(6.0 + means[k], Sigmas[k]) for k in range(2)]
    best = torch.stack([law.log_prob(Z) for law in laws], 1).log_softmax(1)
    X = torch.nn.functional.one_hot(group, 2).double()
    one = torch.ones(2 * each).double()
    return Dataset(torch.poisson(Z.exp(), generator=g), X, 0.0 * one[:, None], one, terms=("g[a]", "g[b]")), group, best


@pytest.mark.parametrize("equal", [True, False])
def test_it_is_nearly_as_good_as_bayes_rule(equal: bool) -> None:
    """With equal means and other covariances it tells groups nearly as well as can be, and the linear one by chance."""
    data, (new, group, best) = latent(500, 1, equal=equal)[0], latent(500, 2, equal=equal)
    bayes = agreement(group, best)
    linear, quadratic = (agreement(group, posterior(fit(model(groups="g"), data), new)) for model in (LDA, QDA))
    assert 0.7 < bayes.accuracy < 0.98
    assert quadratic.accuracy > bayes.accuracy - 0.03
    assert quadratic.log_loss < bayes.log_loss + 0.05
    if equal:
        assert quadratic.accuracy > linear.accuracy - 0.02
    else:
        assert linear.accuracy < 0.6 < quadratic.accuracy - 0.15


def test_it_agrees_with_scikit_learn_where_counts_are_high() -> None:
    discriminant_analysis = pytest.importorskip("sklearn.discriminant_analysis")
    data, group, _ = latent(200, 3, equal=False)
    data = replace(data, Y=torch.poisson(1e4 * data.Y + 1.0, generator=torch.Generator().manual_seed(4)))
    logs = data.Y.log().numpy()
    theirs = discriminant_analysis.QuadraticDiscriminantAnalysis().fit(logs, group.numpy())
    ours = posterior(fit(QDA(groups="g"), data), data).argmax(1).numpy()
    assert (ours == theirs.predict(logs)).mean() > 0.98


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_covariances_that_are_kept_as_factors_answer_alike(covariance: str) -> None:
    """More features than samples, so that a full one is made of factors."""
    g = torch.Generator().manual_seed(6)
    data, _ = table(each=8)
    more = torch.poisson(torch.full((data.n, 60), 4.0).double() + 3.0 * torch.rand(data.n, 1, generator=g), generator=g)
    data = replace(data, Y=torch.cat([data.Y, more.double()], 1), responses=())
    whole, factors = (fit(QDA(groups="g", covariance=covariance, sigma=kept), data) for kept in (True, False))
    assert "Sigma" in whole.estimates and "Sigma" not in factors.estimates and "D" in factors.state
    assert posterior(factors, data).numpy() == pytest.approx(posterior(whole, data).numpy(), abs=1e-6)
    assert answers(factors).covariance is not None
    Sigma = answers(factors).Sigma
    assert Sigma.numpy() == pytest.approx(whole.estimates["Sigma"].numpy(), abs=1e-6)
