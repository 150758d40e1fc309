from __future__ import annotations

import csv
import hashlib
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plncli import resources

ROOT = Path(__file__).parents[2] / "sample_data"
Cli = Callable[..., Any]


def test_names_are_listed(cli: Cli) -> None:
    ran = cli("sample-data")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["linear", "logistic", "oaks", "study"]


def test_tables_are_written(cli: Cli, tmp_path: Path) -> None:
    ran = cli("sample-data", "oaks", "--out", "data/oaks")
    assert ran.code == 0
    assert sorted(path.name for path in (tmp_path / "data" / "oaks").iterdir()) == [
        "README.md",
        "counts.csv",
        "covariates.csv",
        "exposure.csv",
    ]
    assert "data/oaks/counts.csv" in ran.out.split()


def test_files_in_the_way_are_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "oaks").mkdir()
    mine = tmp_path / "oaks" / "counts.csv"
    mine.write_text("mine")
    ran = cli("sample-data", "oaks")
    assert ran.code == 2
    assert "`oaks` already holds counts.csv. Add --overwrite, or choose another --out." in ran.err
    assert mine.read_text() == "mine"
    assert cli("sample-data", "oaks", "--overwrite").code == 0
    assert mine.read_text() != "mine"


def test_an_unknown_name_is_answered_with_the_nearest(cli: Cli) -> None:
    ran = cli("sample-data", "oak")
    assert ran.code == 2
    assert "There is no sample data `oak`, only linear, logistic, oaks, study. Did you mean `oaks`?" in ran.err


def test_a_folder_that_cannot_be_made_is_a_message(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = cli("sample-data", "oaks", "--out", "file/oaks")
    assert ran.code == 3
    assert "Cannot write into `file/oaks`: Not a directory." in ran.err


@pytest.mark.parametrize("name", resources.sample_data())
def test_readmes_tell_shape_and_checksum(name: str) -> None:
    folder = ROOT / name
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.iterdir():
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            assert f"| `{path.name}` | {len(rows) - 1} × {len(rows[0]) - 1} |" in readme
        if path.name != "README.md":
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            assert re.search(rf"^\| `{path.name}` \| \d+ × \d+.* \| `{sha}` \|$", readme, re.M)


def test_the_script_makes_the_committed_tables_again(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "simulate.py"))["write"](tmp_path)
    made = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in made] == ["plots.csv", "patients.csv", "metadata.tsv"]
    for path in made:
        assert path.read_bytes() == (ROOT / path.relative_to(tmp_path)).read_bytes()


def test_the_feature_table_of_the_study_holds_what_the_script_simulates(cli: Cli, tmp_path: Path) -> None:
    counts = runpy.run_path(str(ROOT / "simulate.py"))["study"]()[1]
    assert cli("convert", ROOT / "study" / "table.qza", "counts.csv").code == 0
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[1:] for row in rows[1:]] == [[str(count) for count in row[1:]] for row in counts[1:]]
    assert rows[0][1:] == counts[0][1:] and [row[0] for row in rows][1:] == [row[0] for row in counts][1:]
