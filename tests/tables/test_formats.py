"""The same table of counts is the same whatever program wrote it; what a file declares is doubted before it is held."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import openpyxl
import pandas as pd
import pytest
import written
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from scipy import sparse
from tries import examples

from plncli.errors import DataError
from plncli.inputs.selection import read_list
from plncli.tables import content
from plncli.tables.formats import blosc, digest
from plncli.tables.numbers import numbers
from plncli.tables.reading import read_table
from plncli.tables.table import Table

pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # anndata writes objects alone

SIGNS = st.characters(
    codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp", "Mn", "Co", "Cn"), exclude_characters='"'
)
WORDS = ("s1", "007", "1e5", "-3", "=a+b", "a,b", "a;b", "a|b", "x.y", "É", "日本", "TRUE", "2020-01-02", "#1")
NAMES = (st.sampled_from(WORDS) | st.text(SIGNS, min_size=1, max_size=6)).filter(
    lambda name: pd.Series([name]).str.normalize("NFC")[0] == name == name.strip()
    and name.casefold() not in ("na", "nan", "n/a", "null", "#n/a", "<na>", "none")
)  # fmt: skip
COUNTS = st.one_of(st.integers(0, 9), st.integers(0, 2**31), st.sampled_from([2**53 - 1, 2**53 - 2, 2**31, 2**24 + 1]))


@st.composite
def counts(draw: st.DrawFn) -> pd.DataFrame:
    samples = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    features = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    rows = draw(st.lists(st.lists(COUNTS, min_size=len(features), max_size=len(features)),
                         min_size=len(samples), max_size=len(samples)))  # fmt: skip
    return pd.DataFrame(np.array(rows, dtype=np.int64), index=samples, columns=[f"f{name}" for name in features])


def same(table: Table, frame: pd.DataFrame) -> bool:
    """Whether a table has the names and, bit by bit, the numbers of a data frame."""
    values, missing = numbers(table, "")
    names = (table.samples, table.columns) == (tuple(frame.index), tuple(frame.columns))
    return names and missing is None and np.array_equal(values, frame.to_numpy(float))


@pytest.mark.parametrize("kind", written.WRITERS)
def test_any_program_writes_the_same_table(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    @examples(5, 20, suppress_health_check=list(HealthCheck))
    @given(frame=counts(), data=st.data())
    def check(frame: pd.DataFrame, data: st.DataObject) -> None:
        rows = data.draw(st.permutations(range(len(frame))))
        columns = data.draw(st.permutations(range(frame.shape[1])))
        for each in (frame, frame.iloc[rows, columns]):
            path = written.WRITERS[kind](tmp_path_factory.mktemp("t"), each, None)
            assert same(read_table(f"{path}", "counts"), each)

    check()


ABOUT = pd.DataFrame(
    {
        "ph": [7.1, 6, np.nan, 5e-300],
        "age": pd.array([1, 2, None, 2**40], dtype="Int64"),
        "tree": pd.Categorical(["oak", "elm", None, "oak"]),
        "site": ["a", "b, c", "b, c", "É"],
    },
    index=["s3", "s1", "s2", "s4"],
)
TRUTH = {
    "ph": [7.1, 6.0, None, 5e-300],
    "age": [1, 2, None, 2**40],
    "tree": ["oak", "elm", None, "oak"],
    "site": ["a", "b, c", "b, c", "É"],
}
FRAME = pd.DataFrame(np.arange(12).reshape(4, 3), index=ABOUT.index, columns=["g1", "g2", "g3"])


@pytest.mark.parametrize("kind", written.ABOUT)
def test_what_a_file_says_of_its_samples_keeps_its_types(tmp_path: Path, kind: str) -> None:
    path = written.WRITERS[kind](tmp_path, FRAME, ABOUT)
    table = read_table(str(path), "covariates")
    told = {name: table.cells.column(j).to_pylist() for j, name in enumerate(table.columns)}
    assert table.samples == tuple(ABOUT.index)
    assert told == TRUTH
    assert [type(value) for value in told["ph"]] == [float, float, type(None), float]


@pytest.mark.parametrize("matrix_type", ["dense", "sparse"])
def test_biom_in_json_is_what_it_says(tmp_path: Path, matrix_type: str) -> None:
    path = written.biom_json(tmp_path, FRAME, None)
    made = json.loads(path.read_text())
    if matrix_type == "dense":
        made |= {"matrix_type": "dense", "data": FRAME.T.to_numpy().tolist()}
        path.write_text(json.dumps(made))
        assert same(read_table(str(path), "counts"), FRAME)
    for change, words in (
        ({"shape": [10**12, 4], "matrix_type": "sparse", "data": []}, "1000000000000"),
        ({"matrix_type": "sparse", "data": [[0.5, 0, 1]]}, "entry that is at no whole number"),
        ({"matrix_type": "sparse", "data": [[7, 0, 1]]}, "is damaged"),
        ({"rows": []}, "is damaged"),
    ):
        path.write_text(json.dumps(made | change))
        assert words in refusal(path)
    path.write_text('{"a": 1}')
    assert "is JSON, but no BIOM table" in refusal(path)


def test_metadata_of_biom_are_read_as_a_text_table_is(tmp_path: Path) -> None:
    facts = {"case": ["TRUE", "false"], "big": ["9" * 19, "1"], "date": ["2020-01-02", ""], "code": ["x1", "2"]}
    about = pd.DataFrame(facts, index=["s1", "s2"])
    frame = FRAME.iloc[:2].set_axis(["s1", "s2"])
    about.to_csv(tmp_path / "about.csv")
    text = read_table(str(tmp_path / "about.csv"), "covariates")
    for kind in ("biom 1.0", "biom 2.1"):
        table = read_table(str(written.WRITERS[kind](tmp_path, frame, about)), "covariates")
        for name in about.columns:
            columns = [each.cells.column(each.columns.index(name)) for each in (table, text)]
            assert columns[0].to_pylist() == columns[1].to_pylist()
            assert columns[0].type == columns[1].type


def test_texts_of_numbers_may_be_missing(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["1", None]}, index=["s1", "s2"]).to_parquet(tmp_path / "t")
    values, missing = numbers(read_table(str(tmp_path / "t"), "counts"), "")
    assert missing is not None
    assert (values.tolist(), missing.tolist()) == ([[1.0], [0.0]], [[False], [True]])


def test_lists_of_facts_about_samples_do_not_stop_a_biom_table(tmp_path: Path) -> None:
    made = json.loads(written.biom_json(tmp_path, FRAME, None).read_text())
    for i, column in enumerate(made["columns"]):
        column["metadata"] = {"x": i, "tags": ["a", "b"]}
    (tmp_path / "t.biom").write_text(json.dumps(made))
    table = read_table(str(tmp_path / "t.biom"), "covariates")
    assert table.cells.column(0).to_pylist() == [0, 1, 2, 3]
    assert table.columns == ("x", "tags")


# What a file declares, and what it unpacks to


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with little memory."""
    monkeypatch.setattr(content, "most_bytes", lambda: 1 << 20)


def refusal(path: Path, option: str = "counts") -> str:
    with pytest.raises(DataError) as caught:
        read_table(str(path), option)
    return str(caught.value)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_files_that_unpack_to_more_than_the_memory(tmp_path: Path, little: None, module: Any) -> None:
    (tmp_path / "t").write_bytes(module.compress(b"id,a\n" + bytes(1 << 21)))
    assert "holds more than 0.000977 GB once unpacked" in refusal(tmp_path / "t")


def test_archives_that_unpack_to_more_than_the_memory(tmp_path: Path, little: None) -> None:
    with zipfile.ZipFile(tmp_path / "t", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0a/data/feature-table.biom", bytes(1 << 21))
    assert "once unpacked" in refusal(tmp_path / "t")


def test_hdf5_that_declares_more_than_the_memory(tmp_path: Path) -> None:
    for kind, place in (("10x v3", "matrix/data"), ("h5ad", "X"), ("biom 2.1", "observation/matrix/data")):
        path = written.WRITERS[kind](tmp_path, FRAME, None)
        with h5py.File(path, "a") as opened:
            attributes = dict(opened[place].attrs)
            del opened[place]
            shape = (10**6, 10**6) if place == "X" else (10**12,)
            opened.create_dataset(place, shape, dtype="f8", chunks=True).attrs.update(attributes)
        assert "once unpacked" in refusal(path)


def test_a_matrix_that_is_larger_than_its_names(tmp_path: Path) -> None:
    path = written.WRITERS["h5ad of csc"](tmp_path, FRAME, None)
    with h5py.File(path, "a") as opened:
        opened["X"].attrs["shape"] = [10**10, 3]
    assert "its matrix is 10000000000 × 3, but it names 4 samples and 3 features" in refusal(path)


@pytest.mark.parametrize("place", [-1, 3, 2**31 - 1])
@pytest.mark.parametrize(("kind", "indices"), [("h5ad of csr", "X/indices"), ("10x v3", "matrix/indices")])
def test_a_matrix_whose_cells_lead_out_of_it(tmp_path: Path, kind: str, indices: str, place: int) -> None:
    path = written.WRITERS[kind](tmp_path, FRAME, None)
    with h5py.File(path, "a") as opened:
        opened[indices][0] = place
    assert "is damaged" in refusal(path)


def test_a_zarr_store_whose_cells_lead_out_of_it(tmp_path: Path) -> None:
    path = written.WRITERS["zarr of csr"](tmp_path, FRAME, None)
    piece = path / "X/indices/0"
    content = bytearray(piece.read_bytes())
    assert content[2] & 0x02  # as it is, not packed
    content[-2] ^= 0x40
    piece.write_bytes(content)
    assert "is damaged" in refusal(path)


PACKED = [
    numcodecs.Blosc(cname, shuffle=shuffle).encode(data)
    for cname in ("lz4", "zstd", "blosclz", "zlib")
    for shuffle in (0, 1)
    for data in (np.zeros(1), np.arange(10), np.arange(10**5), np.random.default_rng(1).random(10**5).astype("f4"))
]


@pytest.mark.parametrize("packed", PACKED)
def test_what_blosc_packed_is_sound(packed: bytes) -> None:
    size = len(numcodecs.blosc.decompress(packed))
    blosc.check(packed, size)
    blosc.check(packed, None)
    for damaged in (packed[:-1], packed + b"0", packed[:10], packed[:4] + bytes(4) + packed[8:]):
        with pytest.raises(ValueError, match="packed piece"):
            blosc.check(damaged, size)


@examples(300, 3000)
@given(packed=st.sampled_from(PACKED), at=st.integers(0, 40), value=st.integers(0, 255))
def test_what_is_found_sound_unpacks_or_is_refused(packed: bytes, at: int, value: int) -> None:
    damaged = bytearray(packed)
    damaged[at % len(packed)] = value
    try:
        blosc.check(bytes(damaged), len(numcodecs.blosc.decompress(packed)))
        numcodecs.blosc.decompress(bytes(damaged))
    except (ValueError, RuntimeError):
        return


@pytest.mark.parametrize("size", ["1000000000000 1000000000000 1", "3 4 1000000000000"])
def test_a_matrix_market_header_that_declares_too_much(tmp_path: Path, size: str) -> None:
    written.WRITERS["10x folder"](tmp_path, FRAME, None)
    (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix coordinate integer general\n{size}\n1 1 1\n")
    assert "1000000000000" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("form", "body", "words"),
    [
        ("coordinate integer symmetric", "3 4 1\n1 1 1\n", "of the form `coordinate integer symmetric`"),
        ("coordinate complex general", "3 4 1\n1 1 1 0\n", "of the form `coordinate complex general`"),
        ("coordinate integer general", "3 4 2\n1 1 1\n1 2\n1 3 3\n", "declares 2 lines of 3 numbers, but has 3 of 3"),
        ("coordinate integer general", "3 4 1\n1 1 x\n", "is damaged"),
        ("coordinate integer general", "3 4 1\n1.5 1 2\n", "is damaged"),
        ("coordinate integer general", "3 4 1\n4 1 2\n", "is damaged"),
        ("coordinate integer general", "3 4\n", "`3 4` are no sizes of a matrix"),
    ],
)
def test_damaged_matrix_market_files(tmp_path: Path, form: str, body: str, words: str) -> None:
    written.WRITERS["10x folder"](tmp_path, FRAME, None)
    (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix {form}\n% by me\n{body}")
    assert words in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["10x folder", "10x folder, packed"])
def test_a_symmetric_matrix_of_which_programs_write_one_half(tmp_path: Path, kind: str) -> None:
    names = ["a", "b", "c"]
    frame = pd.DataFrame([[1, 2, 0], [2, 5, 3], [0, 3, 0]], index=names, columns=["x", "y", "z"])
    path = written.WRITERS[kind](tmp_path, frame, None)
    assert same(read_table(f"{path}", "counts"), frame)


def test_forms_of_matrix_market_files(tmp_path: Path) -> None:
    written.WRITERS["10x folder"](tmp_path, FRAME, None)
    for form, body, values in (
        ("array real general", "3 4\n" + "\n".join(map(str, FRAME.to_numpy().ravel())), FRAME),
        ("coordinate pattern general", "3 4 1\n2\t1\n", FRAME * 0 + np.eye(4, 3, 1) * np.eye(4, 1)),
        ("coordinate real general", "\n3 4 1\n  2  1  1.0e0\n", FRAME * 0 + np.eye(4, 3, 1) * np.eye(4, 1)),
    ):
        (tmp_path / "matrix.mtx").write_text(f"%%MatrixMarket matrix {form}\n{body}")
        assert same(read_table(str(tmp_path), "counts"), values)


def test_a_cell_far_outside_of_a_sheet(tmp_path: Path) -> None:
    path = written.WRITERS["xlsx"](tmp_path, FRAME, None)
    book = openpyxl.load_workbook(path)
    book.active.cell(1048576, 16384).number_format = "0.00"  # without content: no harm
    book.save(path)
    assert same(read_table(str(path), "counts"), FRAME)
    book.active.cell(1048576, 16384).value = "x"
    book.save(path)
    assert "reaches to row 1048576 and column 16384, too far to be held" in refusal(path)


# Files as people have them


def test_a_sheet_may_begin_anywhere(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in ([], [None, "id", "a", "b"], [None, "s1", 1, 2], [], [None, "s2", 3, 4]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert same(
        read_table(str(tmp_path / "t.xlsx"), "counts"), pd.DataFrame([[1, 2], [3, 4]], ["s1", "s2"], ["a", "b"])
    )


def test_a_title_above_a_sheet_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["Counts of 2021"], ["id", "a", "b"], ["s1", 1, 2]):
        book.active.append(row)
    book.active.merge_cells("A1:C1")
    book.save(tmp_path / "t.xlsx")
    assert "remove any title above it" in refusal(tmp_path / "t.xlsx")


def test_layers_raw_and_float32(tmp_path: Path) -> None:
    path = written.h5ad(lambda values: sparse.csr_matrix(values.astype(np.float32)))(tmp_path, FRAME, ABOUT)
    with h5py.File(path, "a") as opened:
        opened.copy("X", "layers/counts")
        opened.copy("X", "raw/X")
        opened.copy("var", "raw/var")
        opened["X/data"][...] = 0.5
    for part in ("counts", "raw"):
        assert same(read_table(f"{path}::{part}", "counts"), FRAME)
    table = read_table(str(path), "counts")
    assert numbers(table, "")[0].max() == 0.5
    assert table.hint == f"Other tables in it are `{path}::counts`, `{path}::raw`."


def test_genomes_are_chosen(tmp_path: Path) -> None:
    path = written.tenx(2)(tmp_path, FRAME, None)
    with h5py.File(path, "a") as opened:
        opened.copy("hg19", "mm10")
    assert f"Choose one by {path}::NAME: there are hg19, mm10" in refusal(path)
    assert same(read_table(f"{path}::mm10", "counts"), FRAME)


def test_lists_beside_a_matrix(tmp_path: Path) -> None:
    written.WRITERS["10x folder"](tmp_path, FRAME, None)
    (tmp_path / "features.tsv").write_text("gene_id\tname\n" + "".join(f"{name}\tx\n" for name in FRAME.columns))
    assert "The first line of features.tsv, `gene_id`, may be a header: remove it" in refusal(tmp_path)
    (tmp_path / "features.tsv").write_text("g1\ng2\n")
    assert "names 4 samples and features.tsv 2 features. They do not belong together" in refusal(tmp_path)
    (tmp_path / "features.tsv").unlink()
    (tmp_path / "features.csv").write_bytes(b'\xef\xbb\xbf"g1","x, y"\r\n"g2",z\r\n"g\xe2\x80\xa83",z\r\n')
    assert read_table(str(tmp_path), "counts").columns == ("g1", "g2", "g\u20283")
    (tmp_path / "features.csv").write_bytes(b"g1\ng2\n\xe9\n")
    assert "features.csv is not UTF-8 text: byte 0xe9 in line 3" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"s1\r\ns 2\r\n", b"\xef\xbb\xbfs1\ns 2", '"s1"\n"s 2"\n'.encode("utf-16"), b"# mine\n\ns1\rs 2 \r\rs1\r"],
)
def test_lists_of_names(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    assert read_list(str(tmp_path / "list.txt"), "samples").samples == ("s1", "s 2")


# Numbers in text


@pytest.mark.parametrize("cell", ["1,234", "1 234", "1'234", "1.234.567", "1\u00a0234", "1\u202f234"])
def test_thousand_separators_are_refused(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(f'id,a,b\ns1,"{cell}",2\n', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        numbers(read_table(str(tmp_path / "t.csv"), "counts"), "")
    assert f"sample s1, feature a (`{cell}`)" in str(caught.value) or not cell.isprintable()
    assert "Write numbers without thousand separators" in str(caught.value)


def read_text(tmp_path: Path, text: str, option: str = "covariates") -> Table:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_table(str(tmp_path / "t.csv"), option)


def test_points_that_may_set_thousands_apart_are_told(tmp_path: Path) -> None:
    table = read_text(tmp_path, "id;a\ns1;1.234\ns2;12\n", "counts")
    assert "`1.234` is 1.234" in table.notes[0]
    assert not read_text(tmp_path, "id;a\ns1;1.234\ns2;1.5\n").notes
    assert not read_text(tmp_path, "id,a\ns1,1.234\ns2,2.345\n").notes
    with pytest.raises(DataError, match="holds both `1.234` and `2,5`"):
        read_text(tmp_path, "id;a;b\ns1;1.234;2,5\n")


def test_decimal_commas_between_tabs(tmp_path: Path) -> None:
    table = read_text(tmp_path, "id\ta\ns1\t1,5\ns2\t1,234\n")
    assert numbers(table, "")[0].ravel().tolist() == [1.5, 1.234]
    assert "decimal marks" in table.notes[0]
    with pytest.raises(DataError, match="without thousand separators"):
        numbers(read_text(tmp_path, "id\ta\ns1\t1,234\ns2\t12\n"), "")


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n'])
def test_a_line_that_tells_excel_the_separator(tmp_path: Path, first: str) -> None:
    assert same(read_text(tmp_path, f"{first}id;a\ns1;1\n"), pd.DataFrame([[1]], ["s1"], ["a"]))
    with pytest.raises(DataError, match="line 4 has 3"):
        read_text(tmp_path, f"{first}id;a\ns1;1\ns2;1;2\n")


def test_comments_below_the_header_and_zero_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3 has 1. Comments .* stand above the header only: remove these"):
        read_text(tmp_path, "id,a\ns1,1\n# hi\ns2,1\n")
    with pytest.raises(DataError, match="it is binary"):
        read_text(tmp_path, "id,a\n" + "s,1\n" * 30_000 + "s\0,1\n")


def test_a_refusal_is_one_line_whatever_the_names(tmp_path: Path) -> None:
    message = refusal_of(tmp_path, 'id,a\n"s\n\x1b[2J1",1\n"s\n\x1b[2J1",2\n')
    assert r"s\n\x1b[2J1 (2 times)" in message
    assert message.isprintable()


def refusal_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        read_text(tmp_path, text)
    return str(caught.value)


TABLES = st.tuples(counts(), st.sampled_from([",", "\t", ";", "|"]), st.sampled_from(["\n", "\r\n", "\r"]),
                   st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from([0, 1, 2]))  # fmt: skip


@examples(30, 120)
@given(made=TABLES, extra=st.sampled_from(["", "blank lines", "comments", "trailing separators", "padding"]),
       pack=st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]))  # fmt: skip
def test_text_in_any_dialect_is_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, made: Any, extra: str, pack: Any
) -> None:
    frame, separator, end, encoding, quoting = made
    stream = io.StringIO(newline="")
    if any(name.startswith("#") for name in frame.index):
        extra = ""
    frame.to_csv(stream, sep=separator, lineterminator=end, quoting=quoting)
    text = stream.getvalue()
    if extra == "blank lines":
        text = end + text.replace(end, end + end)
    if extra == "comments":
        text = f"# by me{end}#{end}{text}"
    if extra == "trailing separators":
        text = text.replace(end, separator + end)
    if extra == "padding" and separator != "\t" and not quoting:
        text = (
            text.replace(separator, f" {separator} ")
            if not any(separator in n for n in (*frame, *frame.index))
            else text
        )
    path = tmp_path_factory.mktemp("t") / "t"
    path.write_bytes(pack(text.encode(encoding)))
    assert same(read_table(str(path), "counts"), frame)


def test_hdf5_of_another_program_is_said_to_be_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as opened:
        opened["matrix"] = np.ones((2, 3))
    with pytest.raises(DataError, match="neither AnnData, nor BIOM, nor of 10x Genomics: it holds matrix"):
        read_table(str(tmp_path / "t.h5"), "counts")


def test_a_zarr_store_that_changes_is_another(tmp_path: Path) -> None:
    """Its checksum is of all its files; one that is cut, or holds no AnnData, is refused by name."""
    path = written.WRITERS["zarr of csr"](tmp_path, FRAME, None)
    before = digest(path)
    assert before == digest(path)
    piece = next(file for file in sorted(path.rglob("*")) if "data" in file.parts and file.name.isdigit())
    piece.write_bytes(piece.read_bytes()[:8])
    assert digest(path) != before
    with pytest.raises(DataError, match=r"t\.zarr is damaged"):
        read_table(str(path), "counts")
    empty = tmp_path / "empty.zarr"
    empty.mkdir()
    (empty / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(DataError, match=r"empty\.zarr is damaged, or not quite a zarr store of AnnData"):
        read_table(str(empty), "counts")
