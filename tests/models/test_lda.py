"""Discriminant analysis: laws of the model with groups, then values against truths that are known and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.discrimination import agreement, folds_of, held_out
from plncli.fitting import fit
from plncli.models.lda.fitted import FittedLDA
from plncli.models.lda.grouped import confusion, most_probable
from plncli.models.lda.groups import label_of, number_of_groups
from plncli.models.lda.model import LDA
from plncli.models.lda.spec import is_folds, is_prior, prior_of
from plncli.models.pln.model import PLN
from plncli.optim.base import StopRule
from plncli.optim.newton_cg import NewtonCG
from plncli.results import FitResult

G, P, EACH = 3, 6, 40
NAMES = ("a", "b", "c")
MEANS = torch.tensor([[0.0] * P, [1.0, -1.0, 0.5, 0, 0, 0], [0, 1.0, -0.5, 0.7, 0, -0.6]]).double()
SIGMA = 0.3 * torch.eye(P).double() + 0.15


def drawn(each: int = EACH, level: float = 2.0, seed: int = 0) -> tuple[Dataset, Tensor, Tensor]:
    """A table of that many samples a group, with an offset; the group of each, and its latent values."""
    g = torch.Generator().manual_seed(seed)
    group = torch.arange(G).repeat_interleave(each)
    Z = level + MEANS[group] + torch.randn(len(group), P, generator=g).double() @ torch.linalg.cholesky(SIGMA).mT
    O = 0.3 * torch.randn(len(group), 1, generator=g).double()
    X = torch.nn.functional.one_hot(group, G).double()
    terms = tuple(f"g[{name}]" for name in NAMES)
    Y = torch.poisson((O + Z).exp(), generator=g)
    return Dataset(Y, X, O, torch.ones(len(group)).double(), terms=terms), group, Z


def seen(Y: Tensor) -> Tensor:
    return torch.ones_like(Y, dtype=torch.bool)


def posterior(result: FitResult, data: Dataset) -> Tensor:
    fitted = result.fitted
    assert isinstance(fitted, FittedLDA)
    return fitted.discriminate(data.X, data.O, data.Y, seen(data.Y)).log_posterior


@pytest.fixture(scope="module")
def whole() -> FitResult:
    return fit(LDA(groups="g"), drawn()[0], stop=StopRule(tol=1e-10))


# Laws


def test_it_is_the_model_with_a_factor(whole: FitResult) -> None:
    plain = fit(PLN(), whole.data, stop=StopRule(tol=1e-10))
    assert whole.criteria.loglik == pytest.approx(plain.criteria.loglik, abs=1e-9)
    assert torch.equal(whole.estimates["B"], plain.estimates["B"])
    assert whole.criteria.n_parameters == plain.criteria.n_parameters == G * P + P * (P + 1) // 2


def test_probabilities_sum_to_1_and_the_group_of_the_design_is_no_matter(whole: FitResult) -> None:
    data = whole.data
    known = posterior(whole, data)
    assert known.exp().sum(1).numpy() == pytest.approx(np.ones(data.n))
    turned = replace(data, X=data.X[:, [2, 0, 1]])
    assert torch.equal(posterior(whole, turned), known)


def test_bounds_in_their_own_groups_are_those_of_the_fit(whole: FitResult) -> None:
    """The joint bound is a mixture's, so no sample lies below its own group's with its prior."""
    fitted, data = whole.fitted, whole.data
    assert isinstance(fitted, FittedLDA)
    found = fitted.discriminate(data.X, data.O, data.Y, seen(data.Y))
    own = (found.log_posterior + found.elbo[:, None] - fitted.prior.log()).gather(1, fitted.group_of[:, None])[:, 0]
    assert own.numpy() == pytest.approx(fitted.bounds(data).numpy(), abs=1e-7)
    assert float(own.sum()) == pytest.approx(whole.criteria.loglik, abs=1e-6)


def test_names_of_groups_are_no_matter(whole: FitResult) -> None:
    data = whole.data
    order = [1, 2, 0]
    other = replace(data, X=data.X[:, order], terms=tuple(data.terms[k] for k in order))
    again = fit(LDA(groups="g"), other, stop=StopRule(tol=1e-10))
    assert posterior(again, other).numpy() == pytest.approx(posterior(whole, data)[:, order].numpy(), abs=1e-5)
    a, b = whole.fitted, again.fitted
    assert isinstance(a, FittedLDA) and isinstance(b, FittedLDA)
    assert b.groups == ("b", "c", "a")
    assert b.scores.numpy() == pytest.approx(a.scores.numpy(), abs=1e-4)


def test_a_prior_adds_its_logarithm(whole: FitResult) -> None:
    given = replace(whole, model=LDA(groups="g", prior="a=1,b=2,c=5"))
    result = fit(given.model, whole.data, stop=StopRule(tol=1e-10))
    assert torch.equal(result.estimates["B"], whole.estimates["B"])
    moved = posterior(result, whole.data) - torch.tensor([1.0, 2.0, 5.0]).double().log()
    assert (moved - moved.logsumexp(1, keepdim=True)).numpy() == pytest.approx(
        posterior(whole, whole.data).numpy(), abs=1e-7
    )
    with pytest.raises(DataError, match="lacks c"):
        fit(LDA(groups="g", prior="a=1,b=2"), whole.data)
    with pytest.raises(DataError, match="has z, which is no group"):
        fit(LDA(groups="g", prior="a=1,b=2,c=3,z=1"), whole.data)


def test_axes_are_uncorrelated_and_explain_what_lies_between_groups(whole: FitResult) -> None:
    fitted = whole.fitted
    assert isinstance(fitted, FittedLDA)
    known = fitted.axes
    assert known.V.shape == (P, G - 1) and known.names == ("LD1", "LD2")
    inner = known.V.mT @ whole.estimates["Sigma"] @ known.V
    assert inner.numpy() == pytest.approx(np.eye(G - 1), abs=1e-9)
    means = known.scores(known.means)
    assert (means.square().mean(0)).numpy() == pytest.approx(known.between.numpy())
    assert float(known.between[0]) >= float(known.between[1]) > 0
    assert bool((known.correlations.square().sum(1) <= 1 + 1e-9).all())
    for g in range(G):  # scores lie about the mean of their group
        assert fitted.scores[fitted.group_of == g].mean(0).numpy() == pytest.approx(means[g].numpy(), abs=1e-6)


def test_missing_counts_and_weights(whole: FitResult) -> None:
    """A cell that is missing has no influence; a sample of weight 2 is two."""
    data = whole.data
    K = torch.rand(data.Y.shape, generator=torch.Generator().manual_seed(1)) > 0.1
    a = fit(LDA(groups="g"), replace(data, K=K))
    b = fit(LDA(groups="g"), replace(data, K=K, Y=torch.where(K, data.Y, 0.0)))
    assert torch.equal(a.estimates["B"], b.estimates["B"])
    fitted = a.fitted
    assert isinstance(fitted, FittedLDA)
    one, two = (fitted.discriminate(data.X, data.O, Y, K).log_posterior for Y in (data.Y, torch.where(K, data.Y, 9.0)))
    assert torch.equal(one, two) or not bool(K.all())
    weighted = fit(LDA(groups="g"), replace(data, w=1.0 + (torch.arange(data.n) < EACH).double()))
    assert weighted.state["prior"].tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_a_feature_that_a_group_never_has_decides_nothing_alone() -> None:
    data, group, _ = drawn()
    Y = data.Y.clone()
    Y[group == 0, 5] = 0.0
    result = fit(LDA(groups="g"), replace(data, Y=Y))
    assert result.estimates["B"][0, 5] == -torch.inf
    fitted = result.fitted
    assert isinstance(fitted, FittedLDA)
    assert fitted.means[0, 5] == -torch.inf and bool(torch.isfinite(fitted.axes.V).all())
    Y[0, 5] = 1.0
    found = fitted.discriminate(data.X, data.O, Y, seen(Y))
    assert bool(torch.isfinite(found.log_posterior).all())
    assert any(bool(cells.any()) for cells in found.reasons.values())
    # What is taken for it has half a count in the whole group.
    rate = (fitted.centres(data.X, 0)[0][:, 5] + 0.5 * fitted.latent.variances[5] + data.O[:, 0]).exp()
    assert float(rate[group == 0].sum()) == pytest.approx(0.5)


@pytest.mark.parametrize("count", [2, 7, 10])
def test_folds_hold_out_each_sample_once_and_all_groups_evenly(count: int) -> None:
    data, group, _ = drawn(each=12)
    fold = folds_of(data, group, count, 0)
    sizes = confusion(group, fold, max(count, G))[:G, :count]
    assert int(sizes.sum()) == data.n
    assert int(sizes.max() - sizes.min()) <= 1
    assert not torch.equal(fold, folds_of(data, group, count, 1))
    assert torch.equal(folds_of(data, group, data.n, 0), torch.arange(data.n))
    together = replace(data, clusters=torch.arange(data.n) // 4)
    kept = folds_of(together, group, 3, 0).view(-1, 4)
    assert bool((kept == kept[:, :1]).all())


def test_samples_are_held_out_of_the_fit_that_classifies_them(whole: FitResult) -> None:
    """Each fold by hand: a fit of the others alone, from the data."""
    data, fitted = whole.data, whole.fitted
    assert isinstance(fitted, FittedLDA)
    fold = folds_of(data, fitted.group_of, 4, 0)
    found, failed = held_out(whole, fold, NewtonCG(), StopRule(tol=1e-10))
    assert failed == 0
    for k in range(4):
        rows, held = (fold != k).nonzero()[:, 0], (fold == k).nonzero()[:, 0]
        alone = fit(LDA(groups="g"), data.take(rows, torch.ones_like(rows)), stop=StopRule(tol=1e-10)).fitted
        assert isinstance(alone, FittedLDA)
        Y = data.Y[held]
        by_hand = alone.discriminate(data.X[held], data.O[held], Y, seen(Y)).log_posterior
        assert found[held].numpy() == pytest.approx(by_hand.numpy(), abs=1e-3)


def test_labels_by_chance_are_not_found_again() -> None:
    """The apparent accuracy of groups that are none is high, that of held-out samples is chance."""
    data, _, _ = drawn(each=20)
    order = torch.randperm(data.n, generator=torch.Generator().manual_seed(3))
    extra = torch.poisson(torch.full((data.n, 24), 5.0), generator=torch.Generator().manual_seed(4)).double()
    data = replace(data, X=data.X[order], Y=torch.cat([data.Y, extra], 1), responses=())
    result = fit(LDA(groups="g"), data)
    fitted = result.fitted
    assert isinstance(fitted, FittedLDA)
    truth = fitted.group_of
    apparent = agreement(truth, posterior(result, data))
    honest = agreement(truth, held_out(result, folds_of(data, truth, 6, 0), NewtonCG(), StopRule())[0])
    assert apparent.accuracy > 0.6 and honest.accuracy < 0.5
    assert honest.log_loss > apparent.log_loss


def test_agreement_counts() -> None:
    truth = torch.tensor([0, 0, 0, 1, 1])
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [torch.nan, torch.nan]]).double()
    found = agreement(truth, p.log())
    assert found.accuracy == 0.75 and found.balanced == pytest.approx((2 / 3 + 1) / 2) and found.number == 4
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.7]).mean())
    assert most_probable(p).tolist() == [0, 0, 1, 1, -1]
    assert confusion(truth, most_probable(p), 2).tolist() == [[2, 1], [0, 1]]


def test_what_a_prior_and_folds_may_be() -> None:
    assert prior_of("a=0.2, b=0.8") == {"a": 0.2, "b": 0.8}
    assert prior_of("x,y=1,z=2") == {"x,y": 1.0, "z": 2.0}  # a name may have a comma
    assert prior_of("a=b=3") == {"a=b": 3.0}
    assert is_prior("equal") and not any(map(is_prior, ("", "a", "a=0", "a=-1", "a=x", "a=1,a=2", "a=inf", "a=nan")))
    assert all(map(is_folds, ("0", "2", "10", "loo"))) and not any(map(is_folds, ("1", "-2", "2.5", "", "x", "1e3")))
    assert label_of("g[a[b]]") == "a[b]"


def test_groups_are_told_from_other_columns() -> None:
    data, _, _ = drawn(each=3)
    assert number_of_groups(data, "g") == 3
    assert number_of_groups(data, None) == number_of_groups(data, "h") == 0
    assert number_of_groups(replace(data, X=0.5 * data.X), "g") == 0
    with_x = replace(data, X=torch.cat([data.X, data.X[:, :1]], 1), terms=(*data.terms, "g[z]"))
    assert number_of_groups(with_x, "g") == 3
    plain = fit(LDA(groups="h"), data)  # without groups it is a plain model, and tells none apart
    fitted = plain.fitted
    assert isinstance(fitted, FittedLDA) and not fitted.groups
    with pytest.raises(DataError, match="no groups"):
        posterior(plain, data)


# Values


def test_it_is_nearly_as_good_as_the_rule_that_knows_the_truth() -> None:
    """Counts so high that latent values are known: Bayes' rule is that of these, with the true means and Sigma."""
    result = fit(LDA(groups="g"), drawn(each=150, level=6.0, seed=1)[0])
    new, group, Z = drawn(each=400, level=6.0, seed=2)
    Omega = torch.linalg.inv(SIGMA)
    R = Z[:, None, :] - 6.0 - MEANS
    best = -0.5 * torch.einsum("igj,jk,igk->ig", R, Omega, R)
    theirs, ours = agreement(group, best.log_softmax(1)), agreement(group, posterior(result, new))
    assert 0.7 < theirs.accuracy < 0.99  # a task that is neither trivial nor hopeless
    assert ours.accuracy > theirs.accuracy - 0.015
    assert ours.log_loss < theirs.log_loss + 0.02


def test_low_counts_are_weighed_as_they_should_be() -> None:
    """Probabilities are calibrated: samples with a probability p of a group are of it in a share p."""
    result = fit(LDA(groups="g"), drawn(each=300, level=0.5, seed=5)[0])
    new, group, _ = drawn(each=600, level=0.5, seed=6)
    p = posterior(result, new).exp()
    for g in range(G):
        for low in (0.2, 0.4, 0.6):
            near = (p[:, g] > low) & (p[:, g] < low + 0.2)
            share = float((group[near] == g).double().mean(dim=0))
            assert share == pytest.approx(float(p[near, g].mean(dim=0)), abs=0.09), (g, low, int(near.sum()))


def test_axes_and_scores_are_those_of_scikit_learn() -> None:
    """Where counts are high, of the logarithms of the counts."""
    discriminant_analysis = pytest.importorskip("sklearn.discriminant_analysis")
    data, group, _ = drawn(each=150, level=7.0, seed=7)
    fitted = fit(LDA(groups="g"), data).fitted
    assert isinstance(fitted, FittedLDA)
    logs = (data.Y.log1p() - data.O).numpy()
    theirs = discriminant_analysis.LinearDiscriminantAnalysis(solver="eigen").fit(logs, group.numpy())
    V, W = fitted.axes.V.numpy(), theirs.scalings_[:, : G - 1]
    cosines = np.abs((V * W).sum(0)) / np.linalg.norm(V, axis=0) / np.linalg.norm(W, axis=0)
    assert cosines == pytest.approx(np.ones(G - 1), abs=2e-3)
    scores = theirs.transform(logs)[:, : G - 1]
    for k in range(G - 1):
        assert abs(np.corrcoef(scores[:, k], fitted.scores[:, k].numpy())[0, 1]) > 0.999
    agree = theirs.predict(logs) == posterior(fit(LDA(groups="g"), data), data).argmax(1).numpy()
    assert agree.mean() > 0.99
