"""Structural zeros whose logits are linear in covariates: laws, boundaries, truths, errors, and what a fit answers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.crossvalidation import validate
from plncli.evaluation.folds import Candidate, folds_of_samples
from plncli.fitting import fit
from plncli.inference.wald import InferenceRule
from plncli.models.base import Model
from plncli.models.inflation import design
from plncli.models.inflation.design import ZeroDesign
from plncli.models.pca.model import PCA
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.model import PLN
from plncli.numerics.separation import bernoulli_separation, one_sided, poisson_separation
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.results import FitResult

FORMULA = "~ group"
NAMES = ("pln", pytest.param("pln-pca", marks=pytest.mark.slow))  # which searches before it fits


def model(name: str, zeros: str = FORMULA) -> Model[Any]:
    return PLN(zero_inflation=zeros) if name == "pln" else PCA(rank=1, zero_inflation=zeros)


def table(n: int, p: int, depth: float, pi: tuple[float, ...], seed: int, sd: float = 0.8) -> Dataset:
    """Counts whose probability of a structural zero is that of the sample's group; the mean knows a number only."""
    g = torch.Generator().manual_seed(seed)
    L = torch.randn(p, p, generator=g, dtype=torch.float64) / math.sqrt(p)
    Sigma = sd**2 * 0.5 * (L @ L.mT + torch.eye(p, dtype=torch.float64))
    x = torch.randn(n, generator=g, dtype=torch.float64)
    X = torch.stack([torch.ones_like(x), x], 1)
    B = torch.stack([math.log(depth) - 0.5 * Sigma.diagonal(), 0.3 * torch.randn(p, generator=g).double()])
    Z = X @ B + torch.randn(n, p, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(Sigma).mT
    group = torch.arange(n) % len(pi)
    gone = torch.rand(n, p, generator=g, dtype=torch.float64) < torch.tensor(pi).double()[group][:, None]
    Y = torch.poisson(Z.exp(), generator=g).masked_fill(gone, 0.0)
    return with_zeros(Dataset(Y, X, torch.zeros(n, 1).double(), torch.ones(n).double()), groups(group))


def groups(group: Tensor) -> Tensor:
    """An intercept, and an indicator of each group but the first."""
    others = [(group == k).double() for k in range(1, int(group.max()) + 1)]
    return torch.stack([torch.ones(len(group)).double(), *others], 1)


def with_zeros(data: Dataset, X0: Tensor) -> Dataset:
    return replace(data, X0=X0, zero_terms=tuple(f"z{k}" for k in range(X0.shape[1])))


@cache
def fitted(name: str = "pln", se: str = "none") -> FitResult:
    rule = None if se == "none" else InferenceRule(se)
    return fit(model(name), table(120, 5, 20.0, (0.1, 0.5), 5), inference=rule)


def known(result: FitResult) -> FittedPLN:
    assert isinstance(result.fitted, FittedPLN)
    return result.fitted


# Cones


def test_what_falls_or_rises_generalises_both_separations() -> None:
    g = torch.Generator().manual_seed(0)
    for _ in range(10):
        X = torch.cat([torch.ones(12, 1), torch.randint(-1, 2, (12, 2), generator=g)], 1).double()
        Y = torch.randint(0, 2, (12, 3), generator=g).double()
        try:
            wanted = poisson_separation(X, Y)
        except DataError:  # columns that depend on each other
            continue
        found = one_sided(X, torch.ones_like(Y, dtype=torch.bool), Y > 0)
        assert (found is None) == (wanted is None)
        if found is not None and wanted is not None:
            assert torch.equal(found.cells, wanted.cells)
            torch.testing.assert_close(found.limits(), wanted.limits(), equal_nan=True)
        of_classes = one_sided(X, Y == 0, Y > 0)
        for j in range(3):
            cone = bernoulli_separation(X, Y[:, j])
            cells = torch.zeros(12, dtype=torch.bool) if of_classes is None else of_classes.cells[:, j]
            assert torch.equal(cells, torch.zeros(12, dtype=torch.bool) if cone is None else cone.cells)


def test_what_is_sure_does_not_hang_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that are sure are those that linear programs find without a look at regressions before."""
    g, sure = torch.Generator().manual_seed(7), 0
    for trial in range(12):
        X = torch.randn(25, 3, generator=g).double()
        X[:, 0] = 1.0
        X[:, 1:] = X[:, 1:].round() if trial % 2 else X[:, 1:] * torch.tensor([1e-3, 1e4]).double()
        slopes = 6.0 * torch.rand(1, generator=g).double() * torch.randn(3, 6, generator=g).double()
        zero = torch.bernoulli((X @ (slopes / X.abs().mean(0)[:, None])).sigmoid(), generator=g) > 0
        counts = torch.rand(25, 6, generator=g) > 0.1
        parts = (X, torch.ones(25).double(), ("a", "b", "c"), counts & ~zero, counts & zero)
        found = ZeroDesign.of(*parts).sure
        with monkeypatch.context() as patch:
            patch.setattr(design, "_near_certain", lambda _, positive, zero: positive | zero)
            assert torch.equal(found, ZeroDesign.of(*parts).sure)
        sure += int((found != 0).any(0).sum())
    assert 10 < sure < 62  # of 72: some of each


# Laws


@pytest.mark.parametrize("name", NAMES)
def test_an_intercept_alone_is_a_probability_a_feature(name: str) -> None:
    data = table(40, 4, 8.0, (0.3,), 3)
    one = replace(data, X0=torch.ones(40, 1).double(), zero_terms=("Intercept",))
    a, b = fit(model(name, "~ 1"), one), fit(model(name, "feature"), data)
    assert a.criteria == b.criteria
    assert torch.equal(a.state["zeta_response"], b.state["zeta_response"])


def test_groups_may_be_written_in_two_ways() -> None:
    data = table(60, 4, 8.0, (0.1, 0.5, 0.3), 4)
    assert data.X0 is not None
    cells = data.X0.clone()
    cells[:, 0] = 1.0 - data.X0[:, 1:].sum(1)  # an indicator of each group, and no intercept
    a, b = (fit(PLN(zero_inflation=FORMULA), each) for each in (data, with_zeros(data, cells)))
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(a.state["zeta_cells"], b.state["zeta_cells"], rtol=0, atol=5e-3)
    assert a.criteria.n_parameters == b.criteria.n_parameters == 4 * (2 + 3) + 10


def test_units_of_a_covariate_change_nothing() -> None:
    data = table(60, 4, 8.0, (0.1, 0.5), 6)
    x = torch.randn(60, generator=torch.Generator().manual_seed(1)).double()
    small, large = (torch.stack([torch.ones(60).double(), each], 1) for each in (x, 2000.0 + 300.0 * x))
    a, b = (fit(PLN(zero_inflation="~ x"), with_zeros(data, X0)) for X0 in (small, large))
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-6)
    torch.testing.assert_close(a.state["zeta_terms"][1], 300.0 * b.state["zeta_terms"][1], rtol=0, atol=1e-3)


def test_the_order_of_samples_and_their_repetition_do_not_matter() -> None:
    data = table(40, 4, 6.0, (0.1, 0.6), 7)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    turned = data.take(order, torch.ones(40))
    twice = data.take(torch.arange(40), torch.where(torch.arange(40) < 20, 2.0, 1.0))
    rows = torch.cat([torch.arange(40), torch.arange(20)])
    repeated = replace(data.take(rows, torch.ones(60)), samples=tuple(f"s{k}" for k in range(60)))
    a, b, c, d = (
        fit(PLN(zero_inflation=FORMULA), each, stop=StopRule(tol=1e-9)) for each in (data, turned, twice, repeated)
    )
    assert a.criteria.loglik == pytest.approx(b.criteria.loglik, abs=1e-5)
    torch.testing.assert_close(a.state["zeta_cells"][order], b.state["zeta_cells"], rtol=0, atol=2e-3)
    assert c.criteria.loglik == pytest.approx(d.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(c.state["zeta_terms"], d.state["zeta_terms"], rtol=0, atol=2e-3)


def nasty(kind: str) -> Dataset:
    """A table of which something about zeros has no finite estimate, or next to nothing is known."""
    data = table(48, 5, 6.0, (0.0, 0.3, 0.6), 8)
    group, Y = torch.arange(48) % 3, data.Y.clone()
    x = torch.randn(48, generator=torch.Generator().manual_seed(2)).double()
    number = torch.stack([torch.ones_like(x), x], 1)
    if kind == "no zeros in a group":
        Y[group == 0] = Y[group == 0].clamp_min(1.0)
    elif kind == "nothing but zeros in a group":
        Y[group == 1, 0] = Y[group == 2, 1] = 0.0
    elif kind == "also in the mean":
        assert data.X0 is not None
        Y[group == 1, 0] = 0.0
        return replace(data, Y=Y, X=data.X0, terms=data.zero_terms)
    elif kind == "split by a number":
        Y[:, 0] = torch.where(x > 0, 0.0, Y[:, 0].clamp_min(1.0))
        return with_zeros(replace(data, Y=Y), number)
    elif kind == "nearly split":
        Y[:, 0] = torch.where(x > 0.3, 0.0, Y[:, 0])
        return with_zeros(replace(data, Y=Y), number)
    elif kind == "few counts":
        Y = torch.poisson(torch.full_like(Y, 0.2), generator=torch.Generator().manual_seed(3))
        Y[0] = 1.0
    elif kind == "missing":
        K = torch.rand(48, 5, generator=torch.Generator().manual_seed(4)) > 0.3
        Y[group == 1, 0] = 0.0
        return replace(data, Y=Y * K, K=K)
    return replace(data, Y=Y)


NASTY = (
    "no zeros in a group",
    "nothing but zeros in a group",
    "also in the mean",
    "split by a number",
    "nearly split",
    "few counts",
    "missing",
)


@pytest.mark.parametrize("kind", NASTY)
def test_no_bound_is_below_those_of_simpler_models(kind: str) -> None:
    data = nasty(kind)
    plain, feature, terms = (fit(PLN(zero_inflation=zeros), data) for zeros in ("none", "feature", FORMULA))
    assert terms.converged
    assert terms.criteria.loglik >= max(plain.criteria.loglik, feature.criteria.loglik) - 2e-6 * data.n
    K = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
    answers = known(terms)
    assert float(answers.bounds(data).sum()) == pytest.approx(terms.criteria.loglik, abs=1e-3)
    of_samples = answers.of_samples(data.X0)
    told = of_samples.fitted_values(data.X, data.O, data.Y, K)  # type: ignore[attr-defined]
    probability = told.columns["zero_probability"]
    torch.testing.assert_close(probability, terms.estimates["P0"], rtol=0, atol=5e-3, equal_nan=True)
    drawn = of_samples.simulate(data.X, data.O, torch.Generator().manual_seed(0)).Y  # type: ignore[attr-defined]
    assert float(drawn[terms.state["zeta_cells"] == math.inf].sum()) == 0.0


@pytest.mark.slow  # a search for each of seven tables
@pytest.mark.parametrize("kind", NASTY)
def test_no_bound_with_components_is_below_those_of_simpler_models(kind: str) -> None:
    data = nasty(kind)
    plain, feature, terms = (fit(PCA(rank=2, zero_inflation=zeros), data) for zeros in ("none", "feature", FORMULA))
    assert terms.criteria.loglik >= max(plain.criteria.loglik, feature.criteria.loglik) - 2e-6 * data.n


# What has no finite estimate


def test_a_group_without_zeros_has_probability_0_and_coefficients_that_say_so() -> None:
    result = fit(PLN(zero_inflation=FORMULA), nasty("no zeros in a group"))
    logits = result.state["zeta_cells"]
    assert bool(logits[torch.arange(48) % 3 == 0].isneginf().all())
    assert bool(logits[torch.arange(48) % 3 == 2].isfinite().all())
    found = known(result).further_tables(result.data.samples)["zero_inflation"]
    estimates = found["estimate"].view(5, 3)
    assert bool(estimates[:, 0].isneginf().all()) and bool((estimates[:, 2] == math.inf).all())
    assert found["status"][0] == "infinite" and found["term"][:3] == ["z0", "z1", "z2"]
    assert "no-structural-zeros" in [finding.code for finding in result.findings]


def test_a_group_of_nothing_but_zeros_is_structural_for_sure() -> None:
    data = nasty("nothing but zeros in a group")
    result = fit(PLN(zero_inflation=FORMULA), data)
    there = (torch.arange(48) % 3 == 1, 0)
    assert bool((result.state["zeta_cells"][there] == math.inf).all())
    assert bool((result.estimates["P0"][there] == 1.0).all())
    finding = next(finding for finding in result.findings if finding.code == "only-structural-zeros")
    assert finding.names == ("y1", "y2")
    # these cells say nothing of all else: without them the fit is the same
    K = torch.ones_like(data.Y, dtype=torch.bool)
    K[there] = False
    K[torch.arange(48) % 3 == 2, 1] = False
    without = fit(PLN(zero_inflation=FORMULA), replace(data, K=K))
    assert result.criteria.loglik == pytest.approx(without.criteria.loglik, abs=1e-4)
    torch.testing.assert_close(result.estimates["B"], without.estimates["B"], rtol=0, atol=2e-3)
    of_samples = known(result).of_samples(data.X0)
    expected = of_samples.predict(data.X, data.O).columns["marginal"]  # type: ignore[attr-defined]
    assert float(expected[there].abs().max()) == 0.0


def test_a_mean_that_explains_them_comes_first() -> None:
    """Where both designs have the group, it is the mean that has no finite coefficient, and no logit is told."""
    data = nasty("also in the mean")
    result = fit(PLN(zero_inflation=FORMULA), data)
    assert float(result.estimates["B"][1, 0]) == -math.inf
    found = known(result).further_tables(data.samples)["zero_inflation"]
    assert found["status"][1] == "not estimable" and math.isnan(float(found["estimate"][1]))
    there = torch.arange(48) % 3 == 1
    assert bool(result.estimates["P0"][there, 0].isnan().all()) and not bool(
        result.estimates["P0"][:, 1:].isnan().any()
    )
    expected = known(result).of_samples(data.X0).predict(data.X, data.O).columns["marginal"]  # type: ignore[attr-defined]
    assert float(expected[there, 0].abs().max()) == 0.0 and bool(expected.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_a_group_in_which_nothing_is_gained_has_probability_0(name: str) -> None:
    """Rare features in one group, structural zeros in the other: found on the way, not from the counts alone."""
    data = table(80, 6, 60.0, (0.0, 0.5), 9, sd=0.5)
    assert data.X0 is not None
    first = torch.arange(80) % 2 == 0
    rare = torch.poisson(torch.full((80, 6), 1.5).double(), generator=torch.Generator().manual_seed(1))
    rare = replace(data, Y=torch.where(first[:, None], rare, data.Y), X=data.X0, terms=data.zero_terms)
    result = fit(model(name), rare)
    logits, zeros = result.state["zeta_cells"], ((rare.Y == 0) & first[:, None]).sum(0)
    none = logits[0].isneginf()
    assert bool((zeros > 5).all()) and int(none.sum()) >= 2
    assert bool(logits[1].isfinite().all()) and float(result.estimates["P0"][first][:, none].sum()) == 0.0
    found = known(result).further_tables(rare.samples)["zero_inflation"]
    estimates = found["estimate"].view(6, 2)
    assert torch.equal(estimates[:, 0].isneginf(), none) and torch.equal(estimates[:, 1] == math.inf, none)


def test_a_sample_of_which_nothing_is_known_is_left_empty() -> None:
    """A group whose counts of a feature are all missing says nothing of their zeros."""
    data = table(60, 4, 10.0, (0.1, 0.4, 0.3), 17)
    K = torch.ones_like(data.Y, dtype=torch.bool)
    there = torch.arange(60) % 3 == 2
    K[there, 0] = False
    result = fit(PLN(zero_inflation=FORMULA), replace(data, Y=data.Y * K, K=K), inference=InferenceRule("sandwich"))
    assert result.inference is not None and result.converged
    assert result.inference.beside["zeta_terms_se"][:, 0].isnan().tolist() == [False, False, True]
    of_samples = known(result).of_samples(data.X0)
    found = of_samples.predict(data.X, data.O, ("prediction",))  # type: ignore[attr-defined]
    for name in ("marginal", "pred_low", "pred_high"):
        assert torch.equal(found.columns[name].isnan(), ~K)
    assert bool(found.columns["median"].isfinite().all())
    assert torch.equal(result.estimates["P0"].isnan(), ~K)
    q = of_samples.fitted_values(data.X, data.O, data.Y, torch.ones_like(K))  # type: ignore[attr-defined]
    assert torch.equal(q.columns["zero_probability"].isnan(), ~K & (data.Y == 0))


def test_designs_that_cannot_be_are_refused() -> None:
    data = table(20, 3, 8.0, (0.3,), 3)
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(DataError, match="no intercept"):
        PLN(zero_inflation="~ 0 + x").prepare(with_zeros(data, x))
    with pytest.raises(DataError, match="design of structural zeros"):
        PLN(zero_inflation="~ x").prepare(replace(data, X0=None, zero_terms=()))
    ones = torch.ones(20, 1).double()
    with pytest.raises(DataError, match="z2"):
        PLN(zero_inflation="~ x").prepare(with_zeros(data, torch.cat([ones, x, 2.0 * x], 1)))
    with pytest.raises(DataError, match="design of structural zeros of 2 columns"):
        fitted().fitted.of_samples(None)


def test_coefficients_are_nearest_to_logits_where_they_are_known() -> None:
    X = groups(torch.arange(12) % 3)
    some = torch.ones(12, 2, dtype=torch.bool)
    of_groups = ZeroDesign.of(X, torch.ones(12).double(), ("a", "b", "c"), some, some)
    wanted = torch.tensor([[0.5, -1.0], [1.0, 0.0], [2.0, 3.0]]).double()
    logits = X @ wanted
    logits[torch.arange(12) % 3 == 2, 0] = -math.inf
    found = of_groups.basis.coefficients(of_groups.nearest(logits))
    torch.testing.assert_close(found[:2], wanted[:2])
    torch.testing.assert_close(found[2, 1], wanted[2, 1])


# Truths


@pytest.mark.parametrize("depth", [pytest.param(3.0, marks=pytest.mark.slow), 50.0])  # 2 s
def test_groups_are_recovered(depth: float) -> None:
    data = table(500, 8, depth, (0.1, 0.5), 1)
    result = fit(PLN(zero_inflation=FORMULA), data)
    pi = result.state["zeta_cells"][:2].sigmoid()
    # about 250 samples each: 0.06 is two standard errors of the second, and counts of 3 tell half as much
    assert result.converged
    assert float((pi[0] - 0.1).abs().mean()) < 0.06 and float((pi[1] - 0.5).abs().mean()) < 0.06
    assert float((pi.mean(1) - torch.tensor([0.1, 0.5]).double()).abs().max()) < 0.04
    feature = fit(PLN(zero_inflation="feature"), data)
    assert result.criteria.bic < feature.criteria.bic - 100.0


def test_plain_structural_zeros_are_a_logistic_regression() -> None:
    """Where counts are large, every zero is structural: coefficients and their errors are those of its zeros."""
    data = table(200, 2, 3000.0, (0.3,), 11, sd=0.3)
    x = torch.randn(200, generator=torch.Generator().manual_seed(5)).double()
    X0 = torch.stack([torch.ones_like(x), x], 1)
    p = (-0.5 + 0.8 * x).sigmoid()[:, None].expand(200, 2)
    Y = data.Y.masked_fill(torch.bernoulli(p, generator=torch.Generator().manual_seed(6)) > 0, 0.0)
    result = fit(PLN(zero_inflation="~ x"), with_zeros(replace(data, Y=Y), X0), inference=InferenceRule("sandwich"))
    assert result.inference is not None
    for j in range(2):
        zero, b = (Y[:, j] == 0).double(), torch.zeros(2).double()
        for _ in range(30):
            mu = (X0 @ b).sigmoid()
            H = X0.mT @ (X0 * (mu * (1 - mu))[:, None])
            b = b + torch.linalg.solve(H, X0.mT @ (zero - mu))
        torch.testing.assert_close(result.state["zeta_terms"][:, j], b, rtol=0, atol=1e-3)
        se = result.inference.beside["zeta_terms_se"][:, j]
        torch.testing.assert_close(se, torch.linalg.inv(H).diagonal().sqrt(), rtol=0.2, atol=0.0)  # robust ones differ


# Errors


@pytest.mark.parametrize("name", NAMES)
def test_errors_of_groups_are_those_of_their_own_fits(name: str) -> None:
    """In cells of groups the logit of the second is the sum of both coefficients: its error, too, by either coding."""
    result = fitted(name, "sandwich")
    assert result.inference is not None
    data = result.data
    assert data.X0 is not None
    other = data.X0.clone()
    other[:, 0], other[:, 1] = 1.0, data.X0[:, 0] - data.X0[:, 1]
    again = fit(model(name), with_zeros(data, other), inference=InferenceRule("sandwich"))
    assert again.inference is not None
    se, turned = (each.inference.beside["zeta_terms_se"] for each in (result, again))  # type: ignore[union-attr]
    torch.testing.assert_close(se[1], turned[1], rtol=1e-2, atol=0.0)  # of the difference
    assert bool((turned[0] > 0.15).all()) and bool((turned[0] < 1.0).all())
    torch.testing.assert_close(result.inference.std_error, again.inference.std_error, rtol=1e-2, atol=0.0)


def test_what_is_infinite_has_no_error() -> None:
    result = fit(PLN(zero_inflation=FORMULA), nasty("no zeros in a group"), inference=InferenceRule("sandwich"))
    assert result.inference is not None
    assert bool(result.inference.beside["zeta_terms_se"].isnan().all())
    assert bool(result.inference.std_error.isfinite().all())


# What a fit answers


@pytest.mark.parametrize("name", NAMES)
def test_new_samples_are_answered_by_their_own_rows(name: str) -> None:
    result = fitted(name)
    data, some = result.data, torch.tensor([3, 10, 11])
    assert data.X0 is not None
    K = torch.ones(3, 5, dtype=torch.bool)
    of_some = known(result).of_samples(data.X0[some])
    q = of_some.transform(data.X[some], data.O[some], data.Y[some], K)  # type: ignore[attr-defined]
    torch.testing.assert_close(q.mean, result.estimates["M"][some], rtol=0, atol=2e-3)
    expected = of_some.predict(data.X[some], data.O[some], ("prediction",)).columns  # type: ignore[attr-defined]
    pi = result.state["zeta_cells"][some].sigmoid()
    rate = (known(result).linear_predictor(data)[some] + 0.5 * known(result).latent.variances).exp()
    torch.testing.assert_close(expected["marginal"], (1.0 - pi) * rate)
    scored = of_some.score_samples(data.X[some], data.O[some], data.Y[some], K)  # type: ignore[attr-defined]
    torch.testing.assert_close(scored.loglik, known(result).bounds(data)[some], rtol=0, atol=1e-3)


def test_expectations_are_those_of_draws() -> None:
    result = fitted()
    data = result.data
    assert data.X0 is not None
    rows = torch.tensor([0, 1]).repeat(20_000)
    answers = known(result).of_samples(data.X0[rows])
    drawn = answers.simulate(data.X[rows], data.O[rows], torch.Generator().manual_seed(0)).Y  # type: ignore[attr-defined]
    told = known(result).of_samples(data.X0[:2]).predict(data.X[:2], data.O[:2], ("prediction",), 0.9).columns  # type: ignore[attr-defined]
    for k in range(2):
        own = drawn[rows == k]
        assert bool(((own.mean(0) - told["marginal"][k]).abs() < 5.0 * own.std(0) / math.sqrt(len(own))).all())
        inside = ((own >= told["pred_low"][k]) & (own <= told["pred_high"][k])).double().mean(0)
        assert bool((inside > 0.89).all())


def test_conditional_counts_know_the_sample() -> None:
    result = fitted()
    data, observed = result.data, torch.tensor([0, 2])
    answers = known(result).of_samples(data.X0)
    found = answers.conditional(  # type: ignore[attr-defined]
        data.X, data.O, data.Y[:, observed], observed, torch.ones(data.n, 2, dtype=torch.bool)
    ).columns
    variance = found["latent_sd"].square()
    pi = result.state["zeta_cells"][:, [1, 3, 4]].sigmoid()
    wanted = (1.0 - pi) * (data.O + found["latent_mean"] + 0.5 * variance).exp()
    torch.testing.assert_close(found["conditional"], wanted)


def test_residuals_and_zeros_are_as_the_model_says() -> None:
    result = fitted()
    diagnosis = known(result).diagnose(result.data, 200, torch.Generator().manual_seed(0))
    assert diagnosis.facts["zeros"]["expected"] == pytest.approx(diagnosis.facts["zeros"]["share"], abs=0.02)
    assert abs(diagnosis.facts["residuals"]["sd"] - 1.0) < 0.1
    assert float(diagnosis.facts["gap"]) > -1.0


def test_a_fit_begins_where_another_ended() -> None:
    for data in (fitted().data, nasty("nothing but zeros in a group")):
        first = fit(PLN(zero_inflation=FORMULA), data)
        init = {**first.estimates, **first.state}
        again = fit(PLN(zero_inflation=FORMULA), data, init=init)
        assert again.optimum.steps <= 2
        assert again.criteria.loglik == pytest.approx(first.criteria.loglik, abs=1e-4)
        torch.testing.assert_close(again.state["zeta_cells"], first.state["zeta_cells"], rtol=0, atol=2e-2)


def test_held_out_samples_prefer_the_truth() -> None:
    data = table(150, 5, 20.0, (0.05, 0.6), 15)
    candidates = [
        Candidate("~ x", PLN(zero_inflation=zeros), data, {"zero_inflation": zeros}) for zeros in ("feature", FORMULA)
    ]
    found = validate(candidates, 0, folds_of_samples(data, 3, 0), NewtonCG(), StopRule())
    assert found.standings[1].best and found.standings[0].behind > 0.3


def test_a_level_that_a_fold_lacks_is_not_scored() -> None:
    data = table(60, 4, 20.0, (0.2, 0.4), 16)
    assert data.X0 is not None
    alone = (torch.arange(60) == 7).double()[:, None]
    wide = with_zeros(data, torch.cat([data.X0, alone], 1))
    found = validate(
        [Candidate("~ x", PLN(zero_inflation=FORMULA), wide)], 0, folds_of_samples(wide, 3, 0), NewtonCG(), StopRule()
    )
    assert any("`z2` not estimable" in words and "1 held-out sample not scored" in words for words in found.left_out)
