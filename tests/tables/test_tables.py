"""Reading tables: the same table in any format is the same table, and every fault of a file has its sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sys
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tries import examples

from plncli.errors import DataError
from plncli.tables.numbers import numbers
from plncli.tables.reading import read_table
from plncli.tables.table import Table

FRAME = pd.DataFrame(
    {"b_OTU_1": [0, 3, 12], "Ünï": [1, 2**40, 5], "x": [1.5, -2e-7, np.nan], "tree": ["susceptible", "a, b", None]},
    index=["007", "1e5", "A 12"],
)


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def read(tmp_path: Path, content: str | bytes, option: str = "counts", **more: bool) -> Table:
    return read_table(write(tmp_path / "table.csv", content), option, **more)


def same(a: Table, b: Table) -> bool:
    return (a.samples, a.columns) == (b.samples, b.columns) and a.cells.equals(b.cells)


def text(sep: str = ",", **more: object) -> bytes:
    return FRAME.to_csv(sep=sep, **more).encode()  # type: ignore[call-overload,no-any-return]


VARIANTS = {
    "tab": text("\t"),
    "semicolon": text(";"),
    "bar": text("|"),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "utf-16": text().decode().encode("utf-16"),
    "CRLF": text(lineterminator="\r\n"),
    "no last newline": text().rstrip(b"\n"),
    "blank lines": b"\n" + text().replace(b"\n", b"\n\n"),
    "quotes": text(quoting=1),
    "NA": text(na_rep="NA"),
    "trailing separator": text().replace(b"\n", b",\n"),
    "trailing separator in rows": text().replace(b"\n", b",\n").replace(b"tree,\n", b"tree\n"),
    "R": text().removeprefix(b","),
    "R with spaces": text(" ", na_rep="NA", quoting=2).removeprefix(b'"" '),
    "empty rows and columns": text().replace(b"\n", b",,\n") + b",,,,,,\n,,,,,,\n",
    "blanks before quotes": re.sub(rb'(?m)(^|,)"', rb'\1  "', text(quoting=1)),
    "blanks around fields": re.sub(rb",(?=[\d-])", b" , ", text()),
    "Mac": text(lineterminator="\r"),
    "accents apart": unicodedata.normalize("NFD", text().decode()).encode(),
    "n/a": text(na_rep="n/a"),
    "#N/A": text(na_rep="#N/A"),
    "comments": b"# Constructed by hand, 2021\n# with, more, commas\n" + text(),
    "comments and blank lines": b"\n#\n\n# by me\n\n" + text("\t"),
    "gzip": gzip.compress(text()),
    "bz2": bz2.compress(text("\t")),
    "xz": lzma.compress(text()),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_table_in_any_text_is_the_same(tmp_path: Path, variant: str) -> None:
    assert same(read(tmp_path, VARIANTS[variant]), read(tmp_path, text()))


def test_zstd(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "t.zst"), "zstd") as stream:
        stream.write(text())
    assert same(read_table(str(tmp_path / "t.zst"), "counts"), read(tmp_path, text()))


@pytest.mark.parametrize("kind", ["parquet", "feather", "feather with index"])
def test_binary_formats_are_told_by_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.csv"  # the suffix lies
    if kind == "parquet":
        FRAME.to_parquet(path)
    elif kind == "feather":
        FRAME.reset_index(names="sample").to_feather(path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, (t := pa.Table.from_pandas(FRAME)).schema) as f:
            f.write_table(t)
    assert same(read_table(str(path), "counts"), _text_table(tmp_path))


def _text_table(tmp_path: Path) -> Table:
    return read_table(write(tmp_path / "text.csv", text()), "counts")


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text())))
    table = read_table("-", "counts")
    assert same(table, _text_table(tmp_path))
    assert table.name == "standard input"


def test_names_stay_text_and_dates_are_labels(tmp_path: Path) -> None:
    table = read(tmp_path, "id,day,hour\n007,2020-01-02,12:30\n1e5,2020-01-03,7:15\n")
    assert table.samples == ("007", "1e5")
    assert table.cells.column(0).to_pylist() == ["2020-01-02", "2020-01-03"]


def test_row_numbers_name_rows_without_names(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).to_parquet(tmp_path / "t")
    table = read_table(str(tmp_path / "t"), "counts")
    assert (table.samples, table.columns) == (("1", "2"), ("a", "b"))
    assert "rows are numbered from 1" in table.notes[0]
    pd.DataFrame({"sample": [10, 20], "b": [3, 4]}).to_parquet(tmp_path / "t")
    assert read_table(str(tmp_path / "t"), "counts").samples == ("10", "20")
    assert read(tmp_path, "a,b\n1,2\n1,3\n", sample_names=False).samples == ("1", "2")


def test_equal_names_in_parquet_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "t"
    pa.parquet.write_table(pa.Table.from_arrays([["s1", "s2"], [1, 2], [3, 4]], names=["id", "x", "x"]), path)
    with pytest.raises(DataError, match="1 column name used more than once: x"):
        read_table(str(path), "counts")


@pytest.mark.parametrize("kind", ["int32", "uint8", "float32", "Int64", "category", "string", "object"])
def test_columns_of_any_type_are_numbers(tmp_path: Path, kind: str) -> None:
    FRAME[["b_OTU_1"]].astype(kind).to_parquet(tmp_path / "t")
    assert numbers(read_table(str(tmp_path / "t"), "counts"), "")[0].ravel().tolist() == [0, 3, 12]


def test_numbers_in_several_pieces(tmp_path: Path) -> None:
    whole = pa.table({"id": list("abcdef"), "x": [1, 2, 3, 4, 5, 6], "y": [0.5, 1.5, 2.5, 3.5, 4.5, 2.0**60]})
    pieces = pa.concat_tables([whole.slice(1, 2), whole.slice(0, 0), whole.slice(3)])
    with pa.OSFile(str(tmp_path / "t"), "wb") as sink, pa.ipc.new_file(sink, pieces.schema) as file:
        file.write_table(pieces)
    table = read_table(str(tmp_path / "t"), "counts")
    assert numbers(table, "")[0].T.tolist() == [[2, 3, 4, 5, 6], [1.5, 2.5, 3.5, 4.5, 2.0**60]]
    assert numbers(table.take(np.array([4, 0])), "")[0].tolist() == [[6, 2.0**60], [2, 1.5]]


def test_taxon_numbers_are_names(tmp_path: Path) -> None:
    table = read(tmp_path, ",4353,8921\ns1,1,1\n")
    assert table.columns == ("4353", "8921")
    assert "named by numbers" in table.notes[0]


def test_numbers_taken_for_sample_names_are_told(tmp_path: Path) -> None:
    assert "use --no-sample-names" in read(tmp_path, "otu1,otu2\n1,2\n2,3\n").notes[0]


def test_decimal_commas_are_told_and_never_read_in_counts(tmp_path: Path) -> None:
    content = "id;x\ns1;1,5\ns2;-2,25\n"
    table = read(tmp_path, content, "covariates")
    assert numbers(table, "")[0].ravel().tolist() == [1.5, -2.25]
    assert "decimal marks" in table.notes[0]
    with pytest.raises(DataError, match="sample s1, feature x"):
        numbers(read(tmp_path, content), "")


def test_quoted_separators_and_newlines_stay_in_their_field(tmp_path: Path) -> None:
    table = read(tmp_path, 'id,a\n"s\n1",2\n"s,2",3\n"say ""hi""",4\n')
    assert table.samples == ("s\n1", "s,2", 'say "hi"')


def test_a_header_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    table = read(tmp_path, "# Constructed from biom file\n#OTU ID\ts1\ts2\nO1\t1.0\t2.0\n")
    assert (table.corner, table.columns, table.samples) == ("#OTU ID", ("s1", "s2"), ("O1",))
    assert table.notes[0].endswith("table.csv: `# Constructed from biom file`.")
    assert read(tmp_path, "#id\ta\ns1\t1\n").notes == ()
    semicolons = "".join(f"O{i}\t1\ta; b; c; d\n" for i in range(9))
    assert read(tmp_path, f"# by me\n#OTU ID\ts1\ttaxonomy\n{semicolons}").columns == ("s1", "taxonomy")


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    for content in ("# by me\n#\nid,a\ns1,1\ns2,1,2\n", b"# \xe9\n#\nid,a\ns1,1\ncaf\xe9,1\n"):
        with pytest.raises(DataError, match="line 5"):
            read(tmp_path, content)


def test_hexadecimal_is_no_number(tmp_path: Path) -> None:
    content = "id,a,b\n0x1,0x1F,2\ns2,4,1\n"
    with pytest.raises(DataError, match=r"1 non-numeric entry: sample 0x1, feature a \(`0x1F`\)"):
        numbers(read(tmp_path, content), "")
    table = read(tmp_path, content, "covariates")
    assert [column.to_pylist() for column in table.cells.columns] == [["0x1F", "4"], [2, 1]]


def test_wide_rows(tmp_path: Path) -> None:
    p = 10_000  # a row is longer than the first block that is looked at
    header = ",".join(["id", *(f"feature_{j:08d}" for j in range(p))])
    table = read(tmp_path, "\n".join([header, *(f"s{i}," + ",".join(["123456789012"] * p) for i in range(3))]))
    assert (len(table.samples), len(table.columns)) == (3, p)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8)
MISSING = ("na", "nan", "n/a", "null", "#n/a", "<na>")
# Names come back in Unicode's composed form (NFC), whichever form they were written in.
LABELS = NAMES.map(partial(unicodedata.normalize, "NFC")).filter(
    lambda s: s.strip() == s and s.casefold() not in MISSING
)


@examples(25, 100)
@given(data=st.data(), separator=st.sampled_from([",", "\t", ";", "|"]))
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, separator: str
) -> None:
    samples = data.draw(st.lists(LABELS, min_size=1, max_size=5, unique=True))
    columns = [f"c{name}" for name in data.draw(st.lists(LABELS, min_size=2, max_size=4, unique=True))]
    cells = st.one_of(st.none(), st.integers(-(10**12), 10**12))
    rows = [[data.draw(cells) for _ in columns] for _ in samples]
    frame = pd.DataFrame(rows, index=samples, columns=columns, dtype="object")
    path = tmp_path_factory.mktemp("t") / "t"
    frame.to_csv(path, sep=separator, quoting=2 if separator != "\t" else 0)
    table = read_table(str(path), "counts")
    assert (table.samples, table.columns) == (tuple(samples), tuple(columns))
    values, missing = numbers(table, "")
    empty = np.array([[cell is None for cell in row] for row in rows])
    assert np.array_equal(empty, np.zeros_like(empty) if missing is None else missing)
    assert np.array_equal(values, [[cell or 0 for cell in row] for row in rows])


FAULTS = {
    "empty": ("", "is empty. --counts needs a table"),
    "blank": ("\n \n", "nothing but blank lines"),
    "header only": ("id,a\n", "has a header line but no rows"),
    "no header": ("1,2,3\n4,5,6\n", "has no header: its first line holds numbers"),
    "no header with names": ("s1,0,0,4\ns2,1,2,3\n", "has no header: its first line holds numbers"),
    "one column": ("a\nx\ny\n", "has one column only, `a`"),
    "ragged": ("id,a,b\ns1,1,2\ns2,3\n\ns3,1,2\ns4,1,2,3,4\n", "2 lines of another length than the 3 fields of "
               "the header: line 3 has 2, line 6 has 5"),
    "title": ("My counts, 2021\nid,a,b,c\ns1,1,2,3\ns2,1,2,3\n", "its first line has 2 fields (`My counts, 2021`), the "
              "lines below it 4. Remove what stands above the header"),
    "title in a sheet": ("My counts,,\nid,a,b\ns1,1,2\n", "2 columns without a name", "remove any title above it"),
    "comment alone": ("# by me\n", "has a header line but no rows"),
    "open quote": ('id,a\ns1,1\n"s2,1\ns3,1\ns4,1\n', "an opening quote (\") in line 3 that is never closed"),
    "no header, names": ("s1,3,1\ns2,1,2\n", "has no header: its first line holds numbers (3, 1)"),
    "duplicate samples": ("id,a\ns1,1\ns1,2\n", "1 sample name used more than once: s1 (2 times). The first column"),
    "data as names": ("x,y\n1,2\n1,3\n", "use --no-sample-names"),
    "duplicate columns": ("id,a,a\ns1,1,2\n", "1 column name used more than once: a"),
    "nameless column": ("id,a,,b\ns1,1,2,3\n", "1 column without a name: number 2 after the sample names"),
    "nameless sample": ("id,a\n,1\ns2,3\n", "1 row without a sample name"),
    "binary": (b"\x00\x01\x02\xff" * 50, "it is binary"),
    "Excel": (b"PK\x03\x04 and more", "is damaged, or not quite a zip archive"),
    "latin-1": ("id,a\ns1,1\ncaf\xe9,2\n".encode("latin-1"), "is not UTF-8 text: byte 0xe9 in line 3"),
    "latin-1 header": ("id,\xe9\ns1,1\n".encode("latin-1"), "is not UTF-8 text: byte 0xe9 in line 1"),
    "truncated gzip": (gzip.compress(b"id,a\n" + b"s,1\n" * 999)[:-20], "is damaged: it cannot be unpacked as gzip"),
    "truncated parquet": (b"PAR1 and then nothing", "is damaged: it starts like Parquet or Feather"),
    "truncated feather": (b"ARROW1\x00\x00 and then nothing", "is damaged: it starts like Parquet or Feather"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_files(tmp_path: Path, fault: str) -> None:
    content, *words = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert all(word in str(caught.value) for word in words)
    assert "table.csv" in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "counts.csv", "id,a\ns,1\n")
    with pytest.raises(
        DataError, match=r"does not exist. Did you mean `counts.csv`\? Check the path given to --counts"
    ):
        read_table(str(tmp_path / "count.csv"), "counts")
    with pytest.raises(DataError, match=r"does not exist\. Check"):  # near by its ending alone
        read_table(str(tmp_path / "x.csv"), "counts")
    with pytest.raises(DataError, match="is a folder"):
        read_table(str(tmp_path), "counts")


def test_empty_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="Standard input is empty"):
        read_table("-", "counts")
