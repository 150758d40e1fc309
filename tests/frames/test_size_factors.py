"""Depths from Python: the table of `plncli offsets`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from plncli import Dataset, FitResult, PlncliError, fit, load, offsets

Cli = Callable[..., Any]
EXACT: dict[str, Any] = {"check_exact": True, "check_dtype": False}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col=0)


@pytest.fixture
def blocks(tables: dict[str, pd.DataFrame], tmp_path: Path) -> pd.Series:
    made = pd.Series(["bacteria", "fungi"] * 4, index=tables["counts"].columns, name="block")
    made.to_csv(tmp_path / "blocks.csv")
    return made


def test_size_factors_are_those_of_the_command(
    tables: dict[str, pd.DataFrame], blocks: pd.Series, cli: Cli, tmp_path: Path
) -> None:
    cases: list[tuple[list[str], dict[str, Any]]] = [
        ([], {}),
        (["--offset-method", "gmpr", "--log"], {"method": "gmpr", "log": True}),
        (
            ["--offset-method", "tmm", "--offset-method", "css", "--offset-scale", "proportions"],
            {"method": ["tmm", "css"], "scale": "proportions"},
        ),
        (["--offset-method", "total", "--offset-blocks", "blocks.csv"], {"method": "total", "blocks": blocks}),
    ]
    for flags, given in cases:
        ran = cli("offsets", "--counts", "counts.csv", *flags, "--out", "depths.csv", "--overwrite")
        assert ran.code == 0, ran.err
        assert_frame_equal(offsets(tables["counts"], **given), read(tmp_path / "depths.csv"), **EXACT)


def test_an_exposure_of_size_factors_is_the_offset_method(tables: dict[str, pd.DataFrame], blocks: pd.Series) -> None:
    """With and without blocks; and logs are offsets."""
    counts, small = tables["counts"], {"covariance": "diagonal", "se": "none"}
    depths = offsets(counts, method="total")
    assert depths["total"].tolist() == counts.sum(axis=1).tolist()
    for data, how in (
        (Dataset(counts=counts, exposure=depths), {}),
        (Dataset(counts=counts, offsets=offsets(counts, method="total", log=True)), {}),
        (
            Dataset(counts=counts, exposure=offsets(counts, method="total", blocks=blocks)),
            {"offset_blocks": blocks.iloc[::-1]},
        ),
    ):
        known = fit("pln", Dataset(counts=counts), offset_method="total", **how, **small)
        found = fit("pln", data, **small)
        assert found.summary["elbo"] == pytest.approx(known.summary["elbo"], abs=1e-4)


def test_new_samples_are_held_against_those_of_a_fit(
    tables: dict[str, pd.DataFrame], blocks: pd.Series, cli: Cli, tmp_path: Path
) -> None:
    counts = tables["counts"]
    flags = ["--counts", "counts.csv", "--offset-method", "tmm", "--offset-blocks", "blocks.csv", "--se", "none"]
    assert cli("fit", "pln", *flags, "--out", "run").code == 0
    (counts.iloc[:7] * 3).to_csv(tmp_path / "new.csv")
    assert cli("offsets", "--from", "run", "--counts", "new.csv", "--out", "new-depths.csv").code == 0
    expected = read(tmp_path / "new-depths.csv")
    result = fit("pln", Dataset(counts=counts), offset_method="tmm", offset_blocks=blocks, se="none")
    for fitted in (result, load(tmp_path / "run")):
        assert_frame_equal(fitted.offsets(counts.iloc[:7].iloc[:, ::-1] * 3), expected, **EXACT)
    with pytest.raises(PlncliError, match=r"Give `exposure`, such as its `offsets\(counts\)` makes of new counts"):
        result.transform(counts)
    assert result.transform(counts, exposure=result.offsets(counts)).mean.shape == counts.shape


def test_only_what_is_not_defined_is_told(tables: dict[str, pd.DataFrame], capsys: pytest.CaptureFixture[str]) -> None:
    counts = tables["counts"].clip(lower=1)
    offsets(counts, method=["total", "rle"])
    assert capsys.readouterr() == ("", "")
    counts.iloc[0] = [0, *counts.iloc[0, 1:]]
    counts = pd.concat([counts.iloc[:, :1], counts.iloc[:, 1:2] * 0 + (counts.index != "oak002")[:, None]], axis=1)
    found = offsets(counts)
    assert "rle" not in found and "total" in found
    assert "note: Size factors by rle are not defined" in capsys.readouterr().err


COUNTS = pd.DataFrame({"a": [1, 2, 5, 3], "b": [0, 3, 4, 9]}, index=list("wxyz"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"counts": [[1]]}, "`counts` must be a pandas DataFrame"),
        (
            {"counts": COUNTS.replace(9, None)},
            "`counts`: 1 missing entry: sample z, feature b. A size factor cannot",
        ),
        ({"counts": COUNTS * 0}, "4 samples without any count"),
        ({"method": "tm"}, "`method` is `tm`, but must be one of total, css.*Did you mean `tmm`"),
        ({"scale": "reads"}, "`scale` is `reads`, but must be one of counts, proportions"),
        ({"blocks": COUNTS}, "`blocks` make a column for each feature: give one `method`"),
        ({"method": "total", "blocks": pd.Series(["u"], index=["a"])}, "`blocks` has no block for 1 of the 2 features"),
        ({"method": ["rle", "total"], "counts": COUNTS - COUNTS.iloc[0]}, "negative|not defined|without any"),
    ],
)
def test_refusals_are_in_the_words_of_python(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PlncliError, match=message) as caught:
        offsets(**{"counts": COUNTS} | given)
    assert "--" not in str(caught.value)


def test_a_fit_without_size_factors_has_none_to_be_relative_to(result: FitResult) -> None:
    with pytest.raises(PlncliError, match="^This fit was fitted without `offset_method`, so it has no size factors"):
        result.offsets(COUNTS)
    with pytest.raises(
        PlncliError, match="`offset_blocks` has size factors estimated block by block: give `offset_method`"
    ):
        fit("pln", Dataset(counts=COUNTS), offset_blocks=pd.Series(["u", "v"], index=["a", "b"]))
