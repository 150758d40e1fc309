"""UTF-16 is recognised with and without a byte-order mark, and UTF-8 never taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plncli.errors import DataError
from plncli.tables.encoding import HEAD, as_utf8, unmarked
from plncli.tables.reading import read_table

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
NUMBERS = st.integers(0, 10**6).map(str)
BOMS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@st.composite
def tables(draw: st.DrawFn) -> str:
    """A table of names in any script and numbers, with either separator and end of lines."""
    comma, end = draw(st.sampled_from([",", "\t", ";"])), draw(st.sampled_from(["\n", "\r\n"]))
    columns = draw(st.lists(NAMES, min_size=1, max_size=5))
    rows = draw(st.lists(NAMES, min_size=1, max_size=6))
    lines = [["id", *columns], *([name, *(draw(NUMBERS) for _ in columns)] for name in rows)]
    return "".join(comma.join(line) + end for line in lines)


@given(st.text() | tables())
def test_utf_8_is_never_taken_for_utf_16(text: str) -> None:
    data = text.replace("\0", "").encode()
    assert unmarked(memoryview(data)) == ""
    marks = "\ufeff".encode()
    bare = data
    while bare.startswith(marks):
        bare = bare[3:]
    for raw in (data, marks + data):
        assert bytes(as_utf8(memoryview(raw), "x")) == bare


@given(st.binary())
def test_other_bytes_stay_or_are_refused(data: bytes) -> None:
    try:
        found = bytes(as_utf8(memoryview(data), "x"))
    except DataError:
        return
    found.decode() if found != data else None  # what was turned is UTF-8


@given(tables(), st.sampled_from(sorted(BOMS)), st.booleans())
def test_tables_in_utf_16(text: str, encoding: str, marked: bool) -> None:
    data = BOMS[encoding] * marked + text.encode(encoding)
    assert bytes(as_utf8(memoryview(data), "x")).decode() == text


@pytest.mark.parametrize("encoding", sorted(BOMS))
@pytest.mark.parametrize("name", ["Eiche", "Buche ä", "дуб", "橡樹", "Ā", "😀"])
def test_files(encoding: str, name: str, tmp_path: Path) -> None:
    rows = "".join(f"s{i}\t{i}\t{i * i}\n" for i in range(800))  # more than is looked at, cut within a sign
    (tmp_path / "counts.tsv").write_bytes(f"sample\t{name}\ta\n{rows}".encode(encoding))
    assert (tmp_path / "counts.tsv").stat().st_size > HEAD
    table = read_table(str(tmp_path / "counts.tsv"), "counts")
    assert table.columns == (name, "a") and table.samples[::799] == ("s0", "s799")
    assert table.cells.column(1).to_pylist() == [i * i for i in range(800)]


@pytest.mark.parametrize(
    "data", [b"a,b\ns1,\x00\x002\n", b"\x00" * 64, b"a,b\ns1,1\n\x00\x00", "a,b\ns1,1\n".encode("utf-32")]
)
def test_binary_files_are_refused_as_before(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(DataError, match=r"it is binary|UTF-16 text but is not"):
        read_table(str(tmp_path / "x.csv"), "counts")
