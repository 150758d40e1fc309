"""Entries that are missing by a word of the user's, in tables of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from plncli.errors import DataError
from plncli.tables.numbers import numbers, with_missing
from plncli.tables.reading import read_table, table_of
from plncli.tables.sparse import Sparse
from plncli.tables.table import Table


def columns(table: Table) -> dict[str, list[object]]:
    return {name: column.to_pylist() for name, column in zip(table.columns, table.cells.columns, strict=True)}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_entries_are_missing_and_the_rest_are_numbers(suffix: str, tmp_path: Path) -> None:
    content = {"a": ["1", "unknown", "+3"], "b": ["1.5", "-9", "-9.00"], "c": ["x", "unknown", "y"], "d": [1, 2, -9]}
    frame = pd.DataFrame(content, index=pd.Index(["s1", "s2", "s3"], name="id"))
    path = tmp_path / f"t.{suffix}"
    frame.to_csv(path) if suffix == "csv" else frame.to_parquet(path)
    words = ["unknown", "-9"]
    for table in (read_table(str(path), "covariates", na_values=words), table_of(frame, "covariates", na_values=words)):
        found = columns(table)
        assert found["a"] == [1, None, 3] and found["c"] == ["x", None, "y"] and found["d"] == [1, 2, None]
        if suffix == "csv":
            assert found["b"][0] in (1.5, "1.5") and found["b"][1] is None


def test_with_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id;a;b\ns1;1,5;x\ns2;unknown;y\ns3;2,25;x\n")
    assert columns(read_table(str(path), "covariates", na_values=["unknown"]))["a"] == [1.5, None, 2.25]
    assert columns(read_table(str(path), "covariates"))["a"] == ["1,5", "unknown", "2,25"]


def test_a_column_of_nothing_else_and_of_truth_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,a,b\ns1,.,true\ns2,.,false\n")
    assert columns(read_table(str(path), "covariates", na_values=["."])) == {"a": [None, None], "b": [True, False]}


def test_declared_numbers_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "meta.tsv"
    path.write_text("id\ta\n#q2:types\tnumeric\ns1\t1.5\ns2\tunknown\n")
    with pytest.raises(DataError, match="unknown"):
        read_table(str(path), "covariates")
    assert columns(read_table(str(path), "covariates", na_values=["unknown"]))["a"] == [1.5, None]


def test_of_a_sparse_table() -> None:
    cells = Sparse(sparse.csr_array(np.array([[1, 0], [-9, 2]])))
    table = with_missing(Table("t", "counts", ("s", "t"), ("a", "b"), cells), ["-9", "unknown"])
    values, missing = numbers(table, "")
    assert values.tolist() == [[1, 0], [0, 2]] and missing is not None and missing.tolist() == [[0, 0], [1, 0]]
    with pytest.raises(DataError, match="0 cannot be told"):
        with_missing(table, ["0"])
