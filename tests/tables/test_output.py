"""A table on its way into a file: whole or not at all."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from plncli.errors import DataError, UsageError
from plncli.tables.atomic import whole_file
from plncli.tables.target import check_file
from plncli.tables.writing import records, table, table_bytes

COLUMNS = {"name": ["a,b", "c"], "x": np.array([np.nan, -np.inf]), "k": np.array([1, 2])}


def test_columns_become_rows() -> None:
    assert table_bytes(table(COLUMNS), "csv").decode() == 'name,x,k\n"a,b",,1\n"c",-inf,2\n'
    first, second = records(COLUMNS)
    assert (first["name"], first["k"], second) == ("a,b", 1, {"name": "c", "x": -np.inf, "k": 2})


def test_a_full_disk_leaves_the_earlier_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    whole_file(path, b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(DataError, match=r"Cannot write .*t\.csv: File too large"):
            whole_file(path, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_a_link_to_a_file_keeps_pointing_at_it(tmp_path: Path) -> None:
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    whole_file(tmp_path / "link.csv", b"x")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_bytes() == b"x"


def test_only_a_file_is_ever_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        with pytest.raises(UsageError, match="is no file that could be replaced"):
            check_file(tmp_path / name, overwrite=True)
    assert check_file(tmp_path / "new.TSV", overwrite=False) == "tsv"
