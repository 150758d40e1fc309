"""Size factors: laws, tables done by hand, other programs' values, formulas written a second time, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tables import oaks
from torch import Tensor
from tries import examples

from plncli.errors import DataError
from plncli.names import OFFSET_METHODS, OFFSET_SCALES
from plncli.numerics.size_factor_methods import METHODS, totals
from plncli.numerics.size_factors import SizeFactors, estimate

EXACT = ("total", "rle", "rle-positive", "gmpr", "wrench")  # a sample k times as deep has k times the factor
seeds = st.integers(0, 10_000)


def simulated(seed: int, n: int = 12, p: int = 30, sparse: bool = False) -> Tensor:
    """Overdispersed counts (n×p); without zeros unless sparse."""
    generator = np.random.default_rng(seed)
    mean = np.exp(generator.normal(1.0, 1.2, (n, p)) + generator.normal(0.0, 0.7, (n, 1)))
    return torch.from_numpy(generator.poisson(mean) + (0.0 if sparse else 1.0))


def learn(*given: Any, **named: Any) -> SizeFactors:
    """What a method has learnt, which gives the table's own samples the factors that it was learnt with."""
    learnt, log_factors = estimate(*given, **named)
    samples = named.get("samples") or [*map(str, range(len(given[0])))]
    np.testing.assert_allclose(learnt.log_factors(given[0], samples), log_factors, atol=1e-13)
    return learnt


def factors(Y: Tensor, method: str) -> np.ndarray:
    """(n,) size factors as the method defines them, before the scale is settled."""
    chosen = METHODS[method]
    return chosen.log_factors(Y, chosen.reference(Y)).exp().numpy()


def relative(Y: Tensor, method: str) -> np.ndarray:
    """(n,) log size factors about their mean."""
    return learn(Y, method, "proportions").log_factors(Y, range(len(Y))).flatten().numpy()


def test_the_names_are_those_of_the_methods() -> None:
    assert tuple(METHODS) == OFFSET_METHODS


# Laws


@examples(4, 12)
@given(seed=seeds, k=st.integers(2, 50))
@pytest.mark.parametrize("method", EXACT)
def test_a_deeper_sample_has_a_larger_factor(method: str, seed: int, k: int) -> None:
    Y = simulated(seed)
    deep = Y.clone()
    deep[3] *= k
    gained = learn(deep, method, "proportions").log_factors(deep, range(12)) - learn(
        Y, method, "proportions"
    ).log_factors(Y, range(12))
    others = np.delete(gained.numpy(), 3)
    np.testing.assert_allclose(others, others[0], atol=1e-12)
    np.testing.assert_allclose(gained[3] - others[0], np.log(k), rtol=1e-12)


@examples(4, 12)
@given(seed=seeds, k=st.integers(2, 50))
@pytest.mark.parametrize("method", OFFSET_METHODS)
def test_relative_factors_do_not_know_the_depth_of_the_whole_table(method: str, seed: int, k: int) -> None:
    Y = simulated(seed)
    np.testing.assert_allclose(relative(Y * k, method), relative(Y, method), atol=1e-10)


@examples(4, 12)
@given(seed=seeds)
@example(seed=8976)  # the upper quartiles of two samples are equally near the mean
@pytest.mark.parametrize("method", OFFSET_METHODS)
def test_the_order_of_samples_and_features_does_not_matter(method: str, seed: int) -> None:
    Y = simulated(seed)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(size, generator=generator) for size in (12, 30))
    np.testing.assert_allclose(relative(Y[rows][:, columns], method), relative(Y, method)[rows], atol=1e-12)


@examples(4, 12)
@given(seed=seeds)
@pytest.mark.parametrize("method", OFFSET_METHODS)
def test_equal_samples_have_equal_factors_and_unseen_features_do_not_matter(method: str, seed: int) -> None:
    Y = simulated(seed)
    Y[7] = Y[2]
    found = relative(Y, method)
    assert found[7] == pytest.approx(found[2], abs=1e-12)
    np.testing.assert_allclose(relative(torch.cat([Y, torch.zeros(12, 4)], 1), method), found, atol=1e-12)


@pytest.mark.parametrize("method", [method for method in OFFSET_METHODS if method != "css"])
def test_samples_that_differ_in_depth_alone_have_the_ratios_of_their_totals(method: str) -> None:
    Y = torch.outer(*table([1, 3, 10, 4, 0, 0, 0, 0], [5, 1, 20, 3, 11, 2, 7, 40]))[:4]
    np.testing.assert_allclose(relative(Y, method), (totals(Y).log() - totals(Y).log().mean()), atol=1e-12)


@pytest.mark.parametrize("method", OFFSET_METHODS)
def test_the_scale_is_the_geometric_mean(method: str) -> None:
    Y = simulated(1)
    on = {scale: learn(Y, method, scale).log_factors(Y, range(12)).flatten() for scale in OFFSET_SCALES}
    assert float(on["counts"].mean()) == pytest.approx(float(totals(Y).log().mean()), rel=1e-12)
    assert float(on["proportions"].mean()) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose((on["counts"] - on["proportions"]).diff(), 0.0, atol=1e-12)


def test_the_scale_of_counts_leaves_totals_as_they_are() -> None:
    Y = simulated(2)
    np.testing.assert_allclose(learn(Y, "total").log_factors(Y, range(12)).exp()[:, 0], totals(Y), rtol=1e-12)


@pytest.mark.parametrize("method", OFFSET_METHODS)
def test_each_block_has_the_factors_it_has_by_itself(method: str) -> None:
    Y = simulated(3)
    block = torch.arange(30) % 2
    learnt = learn(Y, method, blocks=("even", "odd"), block=block)
    O = learnt.spread_out(learnt.log_factors(Y, range(12)))
    assert O.shape == Y.shape
    for b in (0, 1):
        part = Y[:, block == b]
        alone = learn(part, method).log_factors(part, range(12))
        np.testing.assert_allclose(O[:, block == b], alone.expand(-1, 15), atol=1e-12)


@pytest.mark.parametrize("method", [method for method in OFFSET_METHODS if method != "gmpr"])
def test_what_was_learnt_survives_a_file_and_knows_samples_one_by_one(method: str) -> None:
    Y = simulated(4)
    learnt = learn(Y, method, blocks=("a", "b"), block=torch.arange(30) // 15)
    again = SizeFactors.from_json(learnt.to_json())
    whole = learnt.log_factors(Y, range(12))
    np.testing.assert_array_equal(again.log_factors(Y, range(12)), whole)
    np.testing.assert_allclose(again.log_factors(Y[5:6], ["new"]), whole[5:6], atol=1e-12)


# By hand


def table(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


HAND = {
    "total": (table([1, 2, 4], [2, 4, 8]), [7, 14]),
    # r = 1.5, 3, 6; deviations 0.5, 1, 2 from either; unstable at once, so the median: 2 and 4
    "css": (table([1, 2, 4], [2, 4, 8]), [3, 6]),
    "rle": (table([1, 4, 2, 0], [4, 9, 8, 5]), [0.5, 2]),  # g = 2, 6, 4; ratios 1/2, 2/3, 1/2 and 2, 3/2, 2
    "rle-positive": (table([1, 4, 0], [4, 0, 9]), [1, 6**0.5]),  # g = 2, 2, 3; medians of 1/2, 2 and of 2, 3
    # r12 = 3 of 2, 4; r13 = 9/8 of 2, 1/4; r21 = 3/8; r23 = 3/4; r31 = 9/4; r32 = 3/2
    "gmpr": (table([2, 4, 0, 1], [1, 1, 3, 0], [0, 2, 3, 4]), [3.375 ** (1 / 3), 0.28125 ** (1 / 3), 1.5]),
    # proportions 1/4, 1/4, 1/2 and 1/2, 0, 1/2; their means 3/8, 1/8, 1/2; mean ratios 11/9 and 7/9
    "wrench": (table([1, 1, 2], [2, 0, 2]), [44 / 9, 28 / 9]),
    # equal proportions: no ratio but 1
    "tmm": (table([1, 1, 1], [2, 2, 2]), [3, 6]),
}


@pytest.mark.parametrize("method", HAND)
def test_tables_done_by_hand(method: str) -> None:
    Y, expected = HAND[method]
    np.testing.assert_allclose(factors(Y, method), expected, rtol=1e-12)


def test_tmm_trims_the_outer_ratios() -> None:
    """Ten features in equal shares; three ratios of the sample are cut off on either side, so the rest decide."""
    r = table([100.0] * 10)[0]
    y = table([100, 100, 100, 100, 1000, 2000, 3000, 10, 20, 30])[0]
    share = float((100 / y.sum()) / (100 / r.sum()))
    found = METHODS["tmm"].log_factors(y[None], r).exp()
    assert float(found) == pytest.approx(float(y.sum()) * share, rel=1e-12)


# Other programs, and the formulas a second time


AT = [0, 1, 2, 57, 114, 115]
ELSEWHERE = {  # oaks; about their geometric mean
    # rnanorm 2.2.0, TMM(m_trim=0.3, a_trim=0.05), its factors times the totals
    "tmm": [1.1681629278704104, 1.1774077605533102, 0.9135020745794463, 1.668316894168893, 0.6665716256163948,
            1.653790486800206],
    # pydeseq2 0.5.4, preprocessing.deseq2_norm
    "rle": [0.4958884885800275, 1.491332905400111, 1.7768913826401422, 1.0901975932141068, 1.080283028821129,
            0.9160688109646316],
}  # fmt: skip


@pytest.mark.parametrize("method", ELSEWHERE)
def test_the_values_of_other_programs(method: str) -> None:
    np.testing.assert_allclose(np.exp(relative(oaks().Y, method))[AT], ELSEWHERE[method], rtol=1e-12)


def css_again(Y: np.ndarray) -> np.ndarray:
    seen = [np.sort(row[row > 0]) for row in Y]
    L = max(map(len, seen))
    reference = np.mean([np.concatenate([np.zeros(L - len(s)), s]) for s in seen], axis=0)
    apart = np.median([abs(reference - np.quantile(s, np.linspace(0, 1, L))) for s in seen], axis=0)
    k = next(k for k in range(1, L) if abs(apart[k] - apart[k - 1]) > 0.1 * apart[k])
    return np.array([s[s <= np.quantile(s, max(0.5, k / L))].sum() for s in seen])


def gmpr_again(Y: np.ndarray) -> np.ndarray:
    def ratio(a: np.ndarray, b: np.ndarray) -> float:
        both = (a > 0) & (b > 0)
        return float(np.median(a[both] / b[both])) if both.any() else np.nan

    return np.array([np.exp(np.nanmean(np.log([ratio(a, b) for b in Y]))) for a in Y])


def positive_again(Y: np.ndarray) -> np.ndarray:
    g = np.array([np.prod(column[column > 0] ** (1 / len(Y))) for column in Y.T])
    return np.array([np.exp(np.median(np.log(row[row > 0] / g[row > 0]))) for row in Y])


def wrench_again(Y: np.ndarray) -> np.ndarray:
    Q = np.array([row / row.sum() for row in Y])
    return np.array([row.sum() * np.mean(q / Q.mean(axis=0)) for row, q in zip(Y, Q, strict=True)])


AGAIN = {"css": css_again, "gmpr": gmpr_again, "rle-positive": positive_again, "wrench": wrench_again}


@pytest.mark.parametrize("method", AGAIN)
@pytest.mark.parametrize("seed", range(4))
def test_the_formulas_written_a_second_time(method: str, seed: int) -> None:
    Y = simulated(seed, n=9, p=25 + seed, sparse=True)
    Y = Y[:, Y.any(0)]
    np.testing.assert_allclose(factors(Y, method), AGAIN[method](Y.numpy()), rtol=1e-11)


def test_css_finds_a_quantile_above_the_median() -> None:
    """Samples alike up to their largest counts: stable until these, so that only they are left out."""
    low = torch.arange(20.0, 40.0, dtype=torch.float64)
    Y = torch.stack([torch.cat([low + 4 * i, (1 + i) * table([1000, 3000])[0]]) for i in range(3)])
    quantile = float(METHODS["css"].reference(Y)[0])
    assert 0.5 < quantile < 1.0
    np.testing.assert_allclose(factors(Y, "css"), css_again(Y.numpy()), rtol=1e-12)


# Refusals


@pytest.mark.parametrize(
    ("method", "Y", "words"),
    [
        ("rle", table([1, 0], [0, 2]), ["rle", "every feature is 0 in some sample", "Use rle-positive or gmpr"]),
        ("css", table([1, 0, 0], [1, 2, 3]), ["css", "single feature", "(a)"]),
        ("css", table([1, 2, 3], [1, 2, 3]), ["css", "no quantile"]),
        ("gmpr", table([1, 1, 0], [1, 2, 0], [0, 0, 5]), ["gmpr", "shares no feature", "(c)"]),
        ("gmpr", table([1, 1, 0, 0], [1, 2, 0, 0], [3, 2, 0, 0], [0, 0, 5, 1], [0, 0, 5, 5]), ["(d, e)"]),
        ("rle", table([1, 1, 0], [1, 2, 3], [0, 0, 5]), ["every feature is 0"]),
        ("rle-positive", table([1, 1], [0, 0]), ["1 sample without any count (b)"]),
        ("tmm", table([5, 5, 5, 0], [5, 6, 4, 0], [0, 0, 0, 9]), ["tmm", "(c)", "reference sample"]),
    ],
)  # fmt: skip
def test_where_a_method_is_not_defined_it_says_so_by_name(method: str, Y: Tensor, words: list[str]) -> None:
    with pytest.raises(DataError) as refused:
        learn(Y, method, samples="abcdefgh")
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_block_without_counts_is_named() -> None:
    with pytest.raises(DataError, match=r"in the block `fungi` \(b\)"):
        learn(table([1, 1], [2, 0]), "total", blocks=("bacteria", "fungi"), block=torch.tensor([0, 1]), samples="ab")


@pytest.mark.parametrize("method", ["rle", "wrench"])
def test_a_new_sample_with_nothing_in_common_is_named(method: str) -> None:
    learnt = learn(table([1, 4, 0], [2, 3, 0]), method)
    with pytest.raises(DataError, match=r"none of the features.*\(new\)"):
        learnt.log_factors(table([0, 0, 3]), ["new"])


def test_the_reference_of_gmpr_is_not_kept() -> None:
    with pytest.raises(DataError, match="old samples and the new ones together"):
        SizeFactors.from_json(learn(simulated(0), "gmpr").to_json())
