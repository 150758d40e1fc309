"""Metadata of QIIME 2: read by its rules, wherever a table is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli.errors import DataError
from plncli.tables.qiime import EXACT_IDS, IDS
from plncli.tables.reading import composed, read_table, table_of
from plncli.tables.table import Table, frame
from plncli.tables.text import MISSING

CASES = Path(__file__).parents[1] / "field"


def read(folder: Path, text: str, option: str = "covariates") -> Table:
    path = folder / "meta.tsv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_table(str(path), option)


def kinds(table: Table) -> list[str]:
    return [str(column.type) for column in table.cells.columns]


@pytest.mark.parametrize("header", [*IDS, *(word.upper() for word in IDS), *EXACT_IDS])
def test_every_header_of_identifiers(header: str, tmp_path: Path) -> None:
    rows = "#q2:types\tcategorical\tnumeric\n# more\ns1\t1\t3\ns2\t02\t4\n"
    table = read(tmp_path, f"# of us\n{header}\tsite\tday\n{rows}")
    assert table.samples == ("s1", "s2") and table.columns == ("site", "day") and table.corner == header
    assert kinds(table) == ["string", "int64"]
    assert frame(table, ["site"])["site"].tolist() == ["1", "02"]
    assert "1 line is a comment above the header" in table.notes[-1] or "below the header" in table.notes[-1]
    assert len(table.notes) == 2


def test_types_in_any_case_and_place(tmp_path: Path) -> None:
    """Other separators, quotes, blanks, short rows, empty rows: what a spreadsheet makes of such a file."""
    table = read(
        tmp_path,
        '"#SampleID" ; "a";b ;c;;\r\n\r\n"#Q2:Types";Numeric; CATEGORICAL\r\n;;;;;\r\n s1 ;1; x ;7\r\ns2;;\r\n',
    )
    assert table.samples == ("s1", "s2") and table.columns == ("a", "b", "c")
    assert kinds(table)[:2] == ["double", "string"] and table.cells.column(2).to_pylist() == [7, None]
    assert table.cells.column(1).to_pylist() == ["x", None]
    assert table.types == {"a": "numeric", "b": "categorical"}


def test_comments_without_directives(tmp_path: Path) -> None:
    """Below a header that QIIME 2 knows, in a tab-separated file; elsewhere such a row is one like any other."""
    assert read(tmp_path, "id\tx\ns1\t1\n# s2\ns3\t2\n").samples == ("s1", "s3")
    assert read(tmp_path, "id,x\ns1,1\n#2,3\ns3,2\n").samples == ("s1", "#2", "s3")
    assert read(tmp_path, "tree\tx\ns1\t1\n#2\t3\ns3\t2\n").samples == ("s1", "#2", "s3")
    assert read(tmp_path, "#SampleID\tx\n#a comment\ts1\ns1\t1\ns3\t2\n").samples == ("s1", "s3")


def test_jagged_rows(tmp_path: Path) -> None:
    """As spreadsheets leave them: without the empty cells that end a row, or with more of them."""
    table = read(tmp_path, "sample-id\tx\ty\ns1\t1\ns2\t2\tb\t\t\ns3\n")
    assert [column.to_pylist() for column in table.cells.columns] == [[1, 2, None], [None, "b", None]]
    with pytest.raises(DataError, match="Line 3 .* has 4 cells, but the header only 3"):
        read(tmp_path, "sample-id\tx\ty\ns1\t1\ns2\t2\tb\tc\n")
    assert read(tmp_path, '"# by\tme"\nid\tx\ns1\t1\n').samples == ("s1",)


FAULTS = {
    "sample-id\tday\n#q2:types\tnumber\ns1\t2\n": "declares column `day` as `number`, but a column is categorical or "
    "numeric. Did you mean `numeric`",
    "sample-id\tday\n#q2:types\tnumeric\tnumeric\ns1\t2\n": "`#q2:types` of .* has 3 cells, but the header only 2",
    "sample-id\tday\n#q2:kinds\tnumeric\ns1\t2\n": "Line 2 .* begins with `#q2:kinds`, which is no directive",
    "sample-id\tday\ns1\t2\n#q2:types\tnumeric\n": "Line 3 .*, `#q2:types`, stands below rows of data",
    "sample-id\tday\n#q2:types\tnumeric\n#q2:types\tnumeric\ns1\t2\n": "Line 3 .* is another `#q2:types`",
    "sample-id\tday\n#q2:types\tnumeric\ns1\tlate\ns2\t3\ns3\tinf\n": "`day` .* is declared numeric .* holds 2 entries "
    r"that are no numbers: `late` \(sample s1\), `inf` \(sample s3\)",
    "sample-id\tday\n#q2:types\tnumeric\n": "a header line but no rows",
    "#q2:types\tnumeric\nsample-id\tday\ns1\t2\n": "`#q2:types` stands above the header of .* directly below",
    "sample-id\tday\n#q2:types\tnumeric\ns1\t2\t3\n": "Line 3 .* has 3 cells, but the header only 2",
    "sample-id\tday\n#q2:missing\tno-missing\ns1\t\n": "declared `no-missing`, but is empty in 1 sample: s1",
    "sample-id\tday\n#q2:missing\tnone\ns1\t\n": "takes blank, no-missing or INSDC:missing",
}


@pytest.mark.parametrize("text", FAULTS, ids=FAULTS.values())
def test_faults_are_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=FAULTS[text]):
        read(tmp_path, text)


def test_a_short_line_of_types_is_told(tmp_path: Path) -> None:
    table = read(tmp_path, "id\ta\tb\tc\n#q2:types\tcategorical\ns1\t1\t2\n")
    assert kinds(table)[:2] == ["string", "int64"] and table.cells.column(2).null_count == 1
    (note,) = table.notes
    assert "`#q2:types` of" in note and "ends after 1 of 3 columns" in note


def test_words_for_missing_entries(tmp_path: Path) -> None:
    """Only empty entries are missing to QIIME 2; words that are missing elsewhere, or declared so, are told."""
    table = read(tmp_path, "id\ta\tb\n#q2:types\tcategorical\tnumeric\ns1\tNA\t \ns2\tx\t2\n")
    assert table.cells.column(0).to_pylist() == [None, "x"] and table.cells.column(1).to_pylist() == [None, 2.0]
    assert "`a` (`NA` in 1)" in table.notes[0]
    table = read(tmp_path, "id\ta\tb\n#q2:missing\tINSDC:missing\ns1\tnot collected\t1\ns2\tx\t2\n")
    assert table.cells.column(0).to_pylist() == [None, "x"]
    assert "`not collected` (1) taken as missing" in table.notes[0]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=5)
NUMBERS = st.one_of(st.just(""), st.integers(-(10**6), 10**6).map(str), st.floats(-1e6, 1e6).map(repr))


@given(data=st.data())
def test_what_is_written_is_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any labels and numbers in any table, with comments and empty rows anywhere, as Python's csv writes it."""
    n = data.draw(st.integers(1, 5))
    labels = data.draw(st.lists(TEXT, min_size=n, max_size=n))
    numbers = data.draw(st.lists(NUMBERS, min_size=n, max_size=n))
    rows = [[f"s{i}", labels[i], numbers[i]] for i in range(n)]
    lines = [["sample-id", "label", "number"], ["#q2:types", "categorical", "numeric"]]
    for row in rows:
        lines += [["#", data.draw(TEXT)]] * data.draw(st.booleans()) + [[" ", ""]] * data.draw(st.booleans()) + [row]
    text = io.StringIO(newline="")
    csv.writer(text, dialect="excel-tab").writerows(lines)
    table = read(tmp_path_factory.mktemp("any"), text.getvalue())
    assert table.samples == tuple(row[0] for row in rows)
    expected = [None if (word := composed(label)) in MISSING else word for label in labels]
    assert table.cells.column(0).to_pylist() == expected
    known = [None if number == "" else float(number) for number in numbers]
    assert table.cells.column(1).to_pylist() == known


def test_a_data_frame_that_was_read_as_any_other(tmp_path: Path) -> None:
    text = "sample-id\tsite\tday\tnote\n#q2:types\tcategorical\tnumeric\t\ns1\t1\t3\tx\ns2\t2\t\ty\n"
    read(tmp_path, text)
    table = table_of(pd.read_csv(tmp_path / "meta.tsv", sep="\t", index_col=0), "covariates")
    assert table.samples == ("s1", "s2") and table.types == {"site": "categorical", "day": "numeric"}
    assert [column.to_pylist() for column in table.cells.columns] == [["1", "2"], [3.0, None], ["x", "y"]]


def test_conversion_keeps_types(tmp_path: Path, cli: Callable) -> None:
    read(tmp_path, "sample-id\tsite\tday\n#q2:types\tcategorical\tnumeric\ns1\t1\t3\ns2\t02\t4\n")
    for target in ("back.tsv", "back.tsv.gz", "back.parquet"):
        ran = cli("convert", "meta.tsv", target)
        assert ran.code == 0 and "look like numbers" not in ran.err
        table = read_table(str(tmp_path / target), "covariates")
        assert table.cells.column(0).to_pylist() == ["1", "02"] and table.cells.column(1).to_pylist() == [3, 4]
    for target in ("back.csv", "back.xlsx", "-"):
        assert "`site` of meta.tsv hold labels that look like numbers" in cli("convert", "meta.tsv", target).err


@pytest.fixture(scope="module")
def study() -> Path:
    return CASES / "q2-types-row"


@pytest.mark.parametrize("table", ["meta-id.tsv", "meta-hash.tsv", "meta-hash2.tsv"])
def test_the_types_of_a_study(table: str, study: Path, cli: Callable) -> None:
    given = ("pln", "--counts", study / "counts.csv", "--covariates", study / table)
    ran = cli("validate", *given, "--formula", "~ day + site")
    assert ran.code == 0 and "(Intercept, day, site[T.skin])" in ran.out.replace("\n          ", " ")
    assert "q2:types" not in ran.out


def test_types_hold_in_every_verb(study: Path, tmp_path: Path, cli: Callable) -> None:
    """A label of digits stays one from the fit to new samples, whose table says nothing of types."""
    rows = (study / "meta-id.tsv").read_text().replace("gut", "1").replace("skin", "2")
    (tmp_path / "meta.tsv").write_text(rows)
    given = ("pln", "--counts", study / "counts.csv", "--covariates", "meta.tsv", "--formula", "~ day + site")
    assert cli("fit", *given, "--out", "run").code == 0
    plain = [line.split("\t") for line in rows.splitlines() if "#" not in line]
    (tmp_path / "new.csv").write_text("".join(",".join(row) + "\n" for row in plain))
    declared = cli("predict", "run", "--covariates", "meta.tsv")
    bare = cli("predict", "run", "--covariates", "new.csv")
    assert declared.code == bare.code == 0 and declared.out == bare.out
    ran = cli("cv", *given, "--folds", "2")
    assert ran.code == 0, ran.err
    assert cli("rerun", "run", "--out", "again").code == 0
    header = (tmp_path / "again" / "coefficients.csv").read_text()
    assert "site[T.2]" in header and header == (tmp_path / "run" / "coefficients.csv").read_text()


@pytest.mark.parametrize("option", ["weights", "offsets", "exposure", "cluster"])
def test_types_in_other_tables(option: str, study: Path, tmp_path: Path, cli: Callable) -> None:
    lines = "".join(f"s{i}\t{1 + i % 2}\n" for i in range(20))
    (tmp_path / "one.tsv").write_text(f"#SampleID\tone\n#q2:types\tnumeric\n{lines}")
    ran = cli("validate", "pln", "--counts", study / "counts.csv", f"--{option}", "one.tsv")
    assert ran.code == 0, ran.out
    assert "q2:types" not in ran.out + ran.err


def test_counts_of_qiime(study: Path, tmp_path: Path, cli: Callable) -> None:
    text = (study / "counts.csv").read_text().replace("id,", "sample-id,").replace(",", "\t")
    header, _, rows = text.partition("\n")
    (tmp_path / "counts.tsv").write_text(f"{header}\n#q2:types{5 * chr(9)}\n{rows}".replace("\t\n", "\tnumeric\n"))
    ran = cli("validate", "pln", "--counts", "counts.tsv")
    assert ran.code == 0 and "20 samples × 5 features" in ran.out
