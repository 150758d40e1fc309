"""The verdict: what each check finds, and in what order."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from plncli.dataset import Dataset
from plncli.errors import some
from plncli.evaluation.checks import CLEAR, TREND, Subject, checks, level_sizes, leverages
from plncli.fitting import fit
from plncli.inference.hypotheses import Terms
from plncli.models.abilities import Zeros
from plncli.models.findings import FINE, LOOK, NOTE, Check, told
from plncli.models.pln.finished.residuals import far_off
from plncli.models.pln.model import PLN
from plncli.numerics.significance import rank_correlation
from plncli.optim.base import StopRule


def summary(**facts: Any) -> dict[str, Any]:
    known = {"converged": True, "status": "converged", "gap": 1e-6, "findings": [], "se": "sandwich"}
    return known | {"n_samples": 40, "n_features": 6, "n_covariates": 1} | facts


def judge(data: Dataset, offset: str = "exposure") -> dict[str, Check]:
    """The checks of a fit to made-up counts, by name."""
    found = fit(PLN("full"), data, stop=StopRule(1e-5, 80))
    subject = Subject(summary(n_samples=data.n), found.fitted, Terms(data.terms), offset, data)
    return {check.name: check for check in checks(subject)}


def counts(seed: int, n: int = 60, p: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts n×p, and the log depths n×1 that they were drawn with."""
    draw = torch.Generator().manual_seed(seed)
    depth = 0.8 * torch.randn(n, 1, generator=draw, dtype=torch.float64)
    A = torch.randn(p, 2, generator=draw, dtype=torch.float64)
    own = torch.randn(n, p, generator=draw, dtype=torch.float64)
    Z = 2.0 + 0.5 * torch.randn(n, 2, generator=draw, dtype=torch.float64) @ A.T + 0.7 * own
    return torch.poisson((depth + Z).exp(), generator=draw), depth


def dataset(Y: torch.Tensor, O: torch.Tensor, **more: Any) -> Dataset:
    ones = torch.ones(len(Y), 1, dtype=torch.float64)
    return Dataset(Y=Y, X=ones, O=O, w=ones[:, 0], **{"terms": ("Intercept",)} | more)


# The offset


@pytest.mark.parametrize("seed", range(4))
def test_a_right_offset_passes_and_none_does_not(seed: int) -> None:
    Y, depth = counts(seed)
    assert judge(dataset(Y, depth))["offset"].state == FINE
    without = judge(dataset(Y, torch.zeros_like(depth)), "")["offset"]
    assert without.state == LOOK and "--offset-method total" in without.remedy
    assert "There is no offset" in without.sentence


@pytest.mark.parametrize(("share", "word"), [(0.3, "more"), (1.9, "less")])
def test_an_offset_that_says_too_little_or_too_much_is_told(share: float, word: str) -> None:
    Y, depth = counts(5, n=100)
    found = judge(dataset(Y, share * depth), "offset_method:gmpr")["offset"]
    assert found.state == LOOK and f"by {word} than the offset says" in found.sentence
    assert found.remedy == "Compare with --offset-method wrench."
    assert abs(found.numbers["rank_correlation"]) > max(TREND, CLEAR / math.sqrt(99))


def test_even_depths_need_no_offset() -> None:
    Y, _ = counts(1)
    Y = torch.full_like(Y, 9.0) + (Y > 8)
    assert judge(dataset(Y, torch.zeros_like(Y[:, :1])), "")["offset"].state == FINE


def test_rank_correlation_is_that_of_scipy() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 5, 50).astype(float), draw.normal(size=50)
    y[3] = np.nan
    expected = spearmanr(np.delete(x, 3), np.delete(y, 3)).statistic
    assert rank_correlation(torch.tensor(x), torch.tensor(y)) == pytest.approx(expected, abs=1e-14)
    assert math.isnan(rank_correlation(torch.ones(5).double(), torch.arange(5).double()))


# Samples, levels, zeros


def test_leverages_are_the_diagonal_of_the_hat_matrix() -> None:
    draw = torch.Generator().manual_seed(0)
    X, w = torch.randn(9, 3, generator=draw).double(), torch.rand(9, generator=draw).double() + 0.5
    data = Dataset(Y=torch.ones(9, 2).double(), X=X, O=torch.zeros(9, 1).double(), w=w)
    root = w.sqrt()[:, None] * X
    torch.testing.assert_close(
        torch.cat([*leverages(data)]), (root @ torch.linalg.inv(root.T @ root) @ root.T).diagonal()
    )


def designed(X: torch.Tensor) -> Dataset:
    n = len(X)
    return Dataset(Y=torch.ones(n, 1).double(), X=X, O=torch.zeros(n, 1).double(), w=torch.ones(n).double())


def test_levels_are_counted_from_either_coding_of_a_factor() -> None:
    site = torch.tensor([0, 0, 0, 1, 1, 2])
    indicators = torch.nn.functional.one_hot(site).double()
    levels = {"site": ("a", "b", "c")}
    treatment = torch.cat([torch.ones(6, 1).double(), indicators[:, 1:]], 1)
    terms = Terms(("Intercept", "b", "c"), {"Intercept": (0,), "site": (1, 2)}, levels)
    expected = {"site a": 3, "site b": 2, "site c": 1}
    assert dict(level_sizes(terms, designed(treatment))) == expected
    assert dict(level_sizes(Terms(("a", "b", "c"), {"site": (0, 1, 2)}, levels), designed(indicators))) == expected
    other = treatment - 0.5  # a contrast of its own has no indicators
    assert not dict(level_sizes(terms, designed(other)))


def test_zeros_are_far_off_where_there_are_many_more_or_fewer() -> None:
    expected = torch.full((20,), 10.0).double()
    counted = expected.clone()
    counted[3], counted[7] = 30.0, 0.0
    assert far_off(Zeros(counted, expected, torch.full_like(expected, 2.0))).nonzero()[:, 0].tolist() == [3, 7]
    lone = Zeros(torch.ones(20).double(), torch.full((20,), 0.01).double(), torch.full((20,), 0.1).double())
    assert not far_off(lone).any()  # a single zero, where next to none is expected


# How they are told


def test_what_needs_a_look_comes_first_and_a_check_reads_back() -> None:
    Y, depth = counts(2, n=12)
    finding = {"code": "no-extra-poisson-variance", "message": "x.", "names": ("y1",), "cells": (), "note": True}
    found = fit(PLN("diagonal"), dataset(Y, depth), stop=StopRule(1e-5, 80))
    facts = summary(converged=False, status="max_iter", n_samples=12, n_covariates=4, findings=[finding])
    made = checks(Subject(facts, found.fitted, Terms(("Intercept",)), "exposure", dataset(Y, depth)))
    states = [check.state for check in made]
    assert states == sorted(states, key=[LOOK, NOTE, FINE].index)
    assert [check.name for check in told(made)][:2] == ["convergence", "samples-per-coefficient"]
    assert "Raise --max-iter" in made[0].line
    for check in made:
        assert Check.from_json(json.loads(json.dumps(check.to_json()))) == check


def test_lists_end_after_five_names_however_long_these_are() -> None:
    names = [f"k__Bacteria;p__Firmicutes;c__Clostridia;o__{j};f__;g__;s__{j}" for j in range(900)]
    told = some(names, where="summary.json")
    assert told.endswith(" and 895 more (summary.json)") and len(told) < 200
    assert told.count(", ") == 4 and "s__0" in told
    assert some(["a", "b"], where="summary.json") == "a, b"
