"""Estimated counts are rounded on request and told; what is no estimate of counts is refused, with what shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import io, sparse

from plncli import Dataset, fit, offsets
from plncli.errors import DataError
from plncli.inputs.abundances.counts import count_cells
from plncli.inputs.abundances.rounding import fractional_rule, normalised, rounded
from plncli.tables.reading import read_table, table_of
from plncli.tables.sparse import csr

Cli = Callable[..., Any]
N, P = 10, 6


def whole() -> np.ndarray:
    return np.random.default_rng(1).negative_binomial(1.5, 0.02, (N, P)) + 1.0


def estimated() -> pd.DataFrame:
    """As salmon's: some whole, some not."""
    rng = np.random.default_rng(2)
    Y = whole() + np.where(rng.random((N, P)) < 0.5, rng.uniform(-0.6, 0.6, (N, P)), 0.0)
    Y[0, :3] = 2.5, 3.5, 0.5
    return pd.DataFrame(Y, index=[f"s{i}" for i in range(N)], columns=list("abcdef"))


def test_halves_go_to_even_numbers_and_the_largest_change_is_told() -> None:
    table = rounded(table_of(estimated(), "counts"))
    Y, missing = count_cells(table)
    assert missing is None and np.array_equal(Y, np.rint(estimated().to_numpy())) and list(Y[0, :3]) == [2, 4, 0]
    number = int((estimated().to_numpy() % 1 != 0).sum())
    assert table.notes == (
        f"{number} counts of `counts` rounded to whole numbers, halves to even ones; the largest change is 0.5 "
        "(sample s0, feature a: 2.5 to 2).",
    )


@given(arrays(float, (3, 4), elements=st.floats(0, 1e6).map(lambda x: round(x, 3))))
@settings(max_examples=50)
def test_what_is_rounded_is_the_nearest_count_sparse_or_not(Y: np.ndarray) -> None:
    frame = pd.DataFrame(Y)
    try:
        table = rounded(table_of(frame, "counts"))
    except DataError:
        assert normalised(Y)
        return
    found = count_cells(table)[0]
    assert np.array_equal(found, np.rint(Y)) and np.abs(found - Y).max() <= 0.5
    assert ("changes nothing" in table.notes[-1]) == bool((Y % 1 == 0).all())
    assert normalised(Y) == normalised(csr(Y)) and np.array_equal(count_cells(rounded(table))[0], found)


def test_missing_and_unlawful_entries_stay_what_they_are() -> None:
    frame = estimated()
    frame.iloc[1, 1] = np.nan
    _, missing = count_cells(rounded(table_of(frame, "counts")))
    assert missing is not None and missing.sum() == 1 and missing[1, 1]
    for value, words in ((-0.4, "negative count"), (np.inf, "infinite count")):
        frame.iloc[1, 1] = value
        with pytest.raises(DataError, match=words):
            count_cells(rounded(table_of(frame, "counts")))


def test_sparse_files(tmp_path: Path) -> None:
    io.mmwrite(tmp_path / "matrix.mtx", sparse.coo_array(estimated().to_numpy().T))
    (tmp_path / "barcodes.tsv").write_text("".join(f"{name}\n" for name in estimated().index))
    (tmp_path / "features.tsv").write_text("".join(f"{name}\n" for name in estimated().columns))
    table = rounded(read_table(str(tmp_path / "matrix.mtx"), "counts"))
    Y, _ = count_cells(table)
    assert np.array_equal(Y.toarray(), np.rint(estimated().to_numpy())) and (Y.data > 0).all()
    assert "(sample s0, feature a: 2.5 to 2)" in table.notes[-1]


def scaled(base: np.ndarray) -> np.ndarray:
    return base / np.random.default_rng(3).uniform(0.4, 2.0, N)[:, None]


NO_COUNTS = {
    "proportions": (whole() / whole().sum(1, keepdims=True), "no value exceeds 1"),
    "per million": (1e6 * whole() / whole().sum(1, keepdims=True), "each sample sums to 1e+06"),
    "percent": (np.round(100 * whole() / whole().sum(1, keepdims=True), 4), "each sample sums to 100"),
    "natural logarithms": (np.log1p(whole()), "natural logarithms of counts plus 1"),
    "binary logarithms": (np.log2(whole() + 1), "binary logarithms of counts plus 1"),
    "size factors": (scaled(whole()), "divided by size factors"),
    "size factors, few digits": (np.round(scaled(whole()), 7), "divided by size factors"),
}


@pytest.mark.parametrize("case", NO_COUNTS)
def test_what_is_normalised_is_refused_rounded_or_not(case: str) -> None:
    Y, words = NO_COUNTS[case]
    table = table_of(pd.DataFrame(Y), "counts")
    with pytest.raises(DataError, match=f"cannot be rounded.*{words.replace('+', '.')}"):
        rounded(table)
    with pytest.raises(DataError) as caught:
        count_cells(table)
    message = str(caught.value).casefold()
    assert words in message and "fractional count" in message and message.endswith("use the raw counts.")
    assert "--round" not in message


ESTIMATES = {
    "salmon": estimated().to_numpy(),
    "shared evenly": np.maximum(whole() // 2, 1) / np.random.default_rng(4).choice([1, 2, 3, 4], (N, P)),
    "thinned": whole() * 0.93 + np.random.default_rng(5).uniform(0, 1, (N, P)),
}


@pytest.mark.parametrize("case", ESTIMATES)
def test_estimates_are_pointed_to_round(case: str) -> None:
    assert "use --round" in fractional_rule(ESTIMATES[case])


def test_small_fractions_are_pointed_nowhere() -> None:
    assert fractional_rule(np.random.default_rng(6).gamma(2.0, 1.0, (N, P)) + 1.0) == ""


def test_every_verb_that_reads_counts(cli: Cli, tmp_path: Path) -> None:
    frame = estimated()
    frame.to_csv(tmp_path / "counts.csv")
    frame.round().to_csv(tmp_path / "whole.csv")
    told = "counts of counts.csv rounded to whole numbers, halves to even ones; the largest change is 0.5"

    def both(*words: str) -> tuple[Any, Any]:
        assert "use --round" in " ".join(((ran := cli(*words, "--counts", "counts.csv")).err + ran.out).split())
        assert ran.code == 3
        ran = cli(*words, "--counts", "counts.csv", "--round")
        assert ran.code == 0 and told in " ".join((ran.err + ran.out).split()), ran.err
        return ran, cli(*words, "--counts", "whole.csv")

    both("validate", "pln")
    fitted = ("fit", "pln", "--counts", "counts.csv", "--covariance", "diagonal")
    assert "use --round" in cli(*fitted).err
    assert cli(*fitted, "--round", "--out", "run").code == 0
    assert cli("fit", "pln", "--counts", "whole.csv", "--covariance", "diagonal", "--out", "known").code == 0
    for file in ("coefficients.csv", "sigma.csv"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "known" / file).read_bytes()
    assert cli("rerun", "run", "--check").code == 0
    assert cli("diagnose", "run", "--draws", "0").code == 0
    for words in (("offsets", "--offset-method", "total"), ("transform", "run"), ("predict", "run")):
        ran, known = both(*words)
        assert ran.out == known.out and ran.out
    ran, known = both("cv", "pln", "--covariance", "diagonal", "--folds", "2", "--workers", "1")
    assert ran.out.splitlines()[1:] == known.out.splitlines()[1:]


def test_python() -> None:
    with pytest.raises(DataError, match="use `round=True`"):
        fit("pln", Dataset(counts=estimated()), covariance="diagonal")
    result = fit("pln", Dataset(counts=estimated(), round=True), covariance="diagonal")
    assert any("rounded to whole numbers" in note for note in result.notes)
    known = fit("pln", Dataset(counts=estimated().round()), covariance="diagonal")
    assert np.array_equal(result.coefficients["estimate"], known.coefficients["estimate"])
    assert result.transform(estimated(), round=True).mean.equals(known.transform(estimated().round()).mean)
    found = offsets(estimated(), method="total", round=True)
    assert found.equals(offsets(estimated().round(), method="total"))
