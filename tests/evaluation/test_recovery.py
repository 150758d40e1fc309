"""Rankings and choices of edges against true ones, as scikit-learn judges them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from plncli.evaluation.recovery import Choice, choice, curve


def drawn(seed: int, m: int, levels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of m pairs, of so many levels where that is not None, and which of them are true edges."""
    r = np.random.RandomState(seed)
    truth = r.uniform(size=m) < 0.2
    truth[:2] = [True, False]
    scores = r.normal(size=m) + truth
    return torch.tensor(scores if levels is None else np.floor(scores * levels) / levels), torch.tensor(truth)


@pytest.mark.parametrize("levels", [None, 8, 1])
@pytest.mark.parametrize("m", [2, 17, 400])
def test_areas_are_those_of_scikit_learn(m: int, levels: int | None) -> None:
    scores, truth = drawn(m, m, levels)
    found, y, s = curve(scores, truth), truth.numpy(), scores.numpy()
    assert found.auc == pytest.approx(metrics.roc_auc_score(y, s), abs=1e-12)
    assert found.average_precision == pytest.approx(metrics.average_precision_score(y, s), abs=1e-12)
    rates = metrics.roc_curve(y, s, drop_intermediate=False)
    assert found.false_positive_rate.numpy() == pytest.approx(rates[0][1:])
    assert found.recall.numpy() == pytest.approx(rates[1][1:])
    assert found.threshold.numpy() == pytest.approx(rates[2][1:])


def test_a_ranking_is_of_its_order_alone() -> None:
    scores, truth = drawn(0, 100, 8)
    one, other = curve(scores, truth), curve(scores.exp() * 3.0, truth)
    assert (one.auc, one.average_precision) == (other.auc, other.average_precision)
    turned = curve(-scores, truth)
    assert turned.auc == pytest.approx(1.0 - one.auc)
    best = curve(truth.double(), truth)
    assert (best.auc, best.average_precision) == (1.0, 1.0)
    none = curve(torch.zeros(100), truth)
    assert (none.auc, none.average_precision) == (0.5, pytest.approx(float(truth.double().mean())))


def test_a_choice_is_judged_as_scikit_learn_judges_it() -> None:
    scores, truth = drawn(1, 300, None)
    linked = scores > 0.7
    found, y, c = choice(linked, truth), truth.numpy(), linked.numpy()
    assert sum(found) == 300
    assert found.edges == linked.sum()
    assert found.precision == pytest.approx(metrics.precision_score(y, c))
    assert found.recall == pytest.approx(metrics.recall_score(y, c))
    assert found.f1 == pytest.approx(metrics.f1_score(y, c))
    assert found.mcc == pytest.approx(metrics.matthews_corrcoef(y, c))
    point = curve(linked.double(), truth)
    assert point.false_positive_rate[0] == pytest.approx(found.false_positive_rate)


def test_what_is_not_defined_has_no_number() -> None:
    none = Choice(0, 0, 5, 40)
    assert math.isnan(none.precision)
    assert math.isnan(none.mcc)
    assert (none.recall, none.f1, none.false_positive_rate) == (0.0, 0.0, 0.0)
