"""Read a table from a file or standard input: text with any separator, Parquet or Feather, told apart by content.

A table is rows of named samples by named columns. Numbers stay numbers, labels stay text, names are always text.
Every fault of a file is a DataError that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import csv
import hashlib
import lzma
import mmap
import os
import re
import stat
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, some

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MISSING = ("", "NA", "NaN", "nan", "N/A", "null", "NULL")
SEPARATORS = (",", "\t", ";", "|")
ID_WORDS = {
    "id",
    "ids",
    "sample",
    "samples",
    "sampleid",
    "samplename",
    "name",
    "names",
    "index",
    "site",
    "row",
    "rownames",
}
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or a zip archive; save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\x89HDF": "an HDF5 file (.h5, .h5ad, .biom); export the table as CSV or Parquet",
    b"%PDF": "a PDF document",
    b"FEA1": "a Feather file of version 1; write it again with a current pandas or arrow (version 2)",
}


@dataclass(frozen=True)
class Table:
    """n samples × columns. `cells` has one pyarrow column per name, of type int64, float64, bool or string.

    `name` is how messages call the file, `option` the flag that gave it.
    """

    name: str
    option: str
    samples: tuple[str, ...] = field(repr=False)
    columns: tuple[str, ...] = field(repr=False)
    cells: pa.Table = field(repr=False)
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        """What a column of this table is called in messages."""
        return "feature" if self.option in ("counts", "offsets", "exposure", "precision") else "column"

    def take(self, rows: np.ndarray | None) -> Table:
        """The given rows in the given order; all of them for None."""
        if rows is None:
            return self
        samples = tuple(self.samples[i] for i in rows.tolist())
        return replace(self, samples=samples, cells=self.cells.take(rows))

    def select(self, columns: Sequence[str]) -> Table:
        """The given columns in the given order."""
        places = [self.columns.index(name) for name in columns]
        return replace(self, columns=tuple(columns), cells=self.cells.select(places))


def read_table(path: str, option: str, *, sample_names: bool = True) -> Table:
    """Read the table that `--option path` names; `-` is standard input.

    With `sample_names` False every column is data and samples are numbered from 1.
    """
    name = "standard input" if path == "-" else path
    raw = _bytes(path, option)
    sha256 = hashlib.sha256(raw).hexdigest()
    data = _unpack(raw, name)
    magic = bytes(data[:8])
    if magic.startswith((b"PAR1", b"ARROW1")):
        header, cells, notes = _read_arrow(data, name, sample_names)
    else:
        header, cells, notes = _read_text(data, name, option, sample_names)
    samples, header, cells, more = _split_names(header, cells, name, sample_names)
    header, cells = _tidy(header, cells, name)
    _check_names(header, name, option)
    return Table(name, option, samples, tuple(header), cells, sha256, (*notes, *more))


def counted(number: int, noun: str) -> str:
    """`1 sample`, `3 samples`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# Bytes


def _bytes(path: str, option: str) -> bytes | mmap.mmap:
    """The bytes of a file, mapped into memory rather than read where that is possible."""
    if path == "-":
        data: bytes | mmap.mmap = sys.stdin.buffer.read()
        if not data:
            raise DataError(
                f"Standard input is empty, but --{option} - reads a table from it. Pipe one in: cat table.csv "
                "| plncli ..."
            )
        return data
    try:
        with Path(path).open("rb") as file:
            info = os.fstat(file.fileno())
            if stat.S_ISREG(info.st_mode) and info.st_size:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            data = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.{_sibling(path)} Check the path given to --{option}.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, and --{option} needs a file.") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Check the path given to --{option}."
        ) from None
    if not data:
        raise DataError(f"{path} is empty. --{option} needs a table with a header line and a line per sample.")
    return data


def _sibling(path: str) -> str:
    """A sentence naming the file of the same folder whose name is closest, or nothing."""
    from plncli.errors import nearest

    try:
        return nearest(Path(path).name, sorted(file.name for file in Path(path).parent.iterdir()))
    except OSError:
        return ""


def _unpack(raw: bytes | mmap.mmap, name: str) -> memoryview:
    """The content of a compressed file, or the bytes as they are; refuses kinds of file that are no tables."""
    head = bytes(raw[:8])
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise DataError(
                f"{name} is not a table that can be read: it is {what}. CSV, TSV, Parquet and Feather are read."
            )
    kind = next((kind for magic, kind in COMPRESSED.items() if head.startswith(magic)), None)
    if kind is None:
        return memoryview(raw)
    try:
        data = _decompress(bytes(raw), kind)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{name} is damaged: it cannot be unpacked as {kind} ({error}). It may be cut short; fetch or "
            "write it again."
        ) from None
    if not data:
        raise DataError(f"{name} is empty once unpacked. A table with a header line and a line per sample is needed.")
    return memoryview(data)


def _decompress(raw: bytes, kind: str) -> bytes:
    """Whole content of a gzip, bz2, xz or zstd file."""
    if kind == "gzip":
        import gzip

        return gzip.decompress(raw)
    if kind == "bz2":
        import bz2

        return bz2.decompress(raw)
    if kind == "xz":
        return lzma.decompress(raw)
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        return bytes(stream.read())


# Parquet and Feather


def _read_arrow(data: memoryview, name: str, named: bool) -> tuple[list[str], pa.Table, list[str]]:
    """Header, columns and notes of a Parquet or Feather file; the column of names comes first and is text."""
    import json

    import pyarrow as pa

    try:
        if bytes(data[:4]) == b"PAR1":
            import pyarrow.parquet as pq

            cells = pq.read_table(pa.BufferReader(data), use_threads=True)
        else:
            cells = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{name} is damaged: it starts like Parquet or Feather but cannot be read ({reason}). Write or "
            "fetch it again."
        ) from None
    stored = json.loads((cells.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    index = [column for column in stored if isinstance(column, str) and column in cells.column_names]
    if len(index) > 1:
        raise DataError(
            f"{name} has an index of {len(index)} levels ({some(index)}); one column of sample names is "
            "needed. Reset the index before writing it."
        )
    header = [str(column) for column in cells.column_names]
    if not named or not header or not cells.num_rows:
        return header, cells.drop_columns(index) if index and not named else cells, []
    first = header.index(index[0]) if index else 0
    kind = cells.column(first).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    notes = []
    if not index and not is_text and not _looks_like_id(header[0]):
        numbers = pa.array(map(str, range(1, cells.num_rows + 1)))
        cells, header = cells.add_column(0, "", numbers), ["", *header]
        notes = [
            f"{name} has no sample names (no index, and its first column `{header[1]}` is not text): its rows "
            "are numbered from 1."
        ]
    else:
        order = [first, *(i for i in range(len(header)) if i != first)]
        cells, header = cells.select(order), [header[i] for i in order]
        cells = cells.set_column(0, header[0], cells.column(0).cast(pa.string()))
    return header, cells, notes


def _looks_like_id(header: str) -> bool:
    """Whether a column's name is one that tables give to their column of sample names."""
    word = re.sub(r"[^a-z]", "", header.casefold())
    return not header or word in ID_WORDS or header.startswith(("Unnamed: 0", "__index_level_0__"))


# Text


def _read_text(data: memoryview, name: str, option: str, named: bool) -> tuple[list[str], pa.Table, list[str]]:
    """Header, columns and notes of a text table; its first column is read as text when `named`."""
    data = _as_utf8(data, name)
    lines = list(_head(data))
    if b"\x00" in b"".join(lines):
        raise DataError(
            f"{name} is not a table that can be read: it is binary. CSV, TSV, Parquet and Feather are read."
        )
    separator = _sniff(lines)
    header, start = _header(lines, separator, name)
    rows = [row for row in csv.reader(_decoded(lines[start:]), delimiter=separator) if row]
    if not rows:
        raise DataError(f"{name} has a header line but no rows. Check that --{option} names the right file.")
    header = _fit_header(header, rows)
    notes = _check_header(header, name, option, named)
    comma = separator == ";" and option != "counts" and _has_decimal_commas(rows)
    if comma:
        notes.append(f"{name} is read with commas as decimal marks (1,5 is one and a half).")
    body = data[sum(map(len, lines[:start])) :]
    cells = _parse(body, separator, len(header), named, comma, name, start)
    return header, cells, notes


def _as_utf8(data: memoryview, name: str) -> memoryview:
    """Without its byte-order mark, UTF-16 turned into UTF-8."""
    if bytes(data[:3]) == b"\xef\xbb\xbf":
        return data[3:]
    if bytes(data[:2]) in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return memoryview(bytes(data).decode("utf-16").encode())
        except UnicodeError:
            raise DataError(f"{name} starts like UTF-16 text but is not. Save it as UTF-8.") from None
    return data


def _head(data: memoryview, enough: int = 1 << 16) -> Iterator[bytes]:
    """First lines with their ends: at least three where there are so many, and then up to `enough` bytes."""
    size = enough
    while (lines := bytes(data[:size]).splitlines(keepends=True)) and len(lines) < 5 and size < len(data):
        size *= 4
    complete = lines if size >= len(data) else lines[:-1]
    yield from complete


def _decoded(lines: Sequence[bytes]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 are replaced here and refused later, where their place is known."""
    return (line.decode("utf-8", errors="replace") for line in lines)


def _sniff(lines: Sequence[bytes]) -> str:
    """The separator that cuts the first lines into equally many fields, at least two; else the most frequent."""

    def consistency(separator: str) -> tuple[float, bool, int]:
        """Share of the rows that agree on a number of fields, whether the header does too, and that number."""
        try:
            sizes = [len(row) for row in csv.reader(_decoded(lines), delimiter=separator) if row]
        except csv.Error:  # the line as one field is too long a field
            sizes = []
        common, votes = Counter(sizes[1:] or sizes).most_common(1)[0] if sizes else (0, 0)
        if common < 2 or abs(sizes[0] - common) > 1:
            return 0.0, False, 0
        return votes / len(sizes[1:] or sizes), sizes[0] == common, common

    scores = {separator: consistency(separator) for separator in SEPARATORS}
    best = max(scores, key=lambda separator: scores[separator])
    if scores[best][0] < 1 and consistency(" ")[0] == 1:
        return " "
    return best if scores[best][0] > 0 else _only_separator(lines)


def _only_separator(lines: Sequence[bytes]) -> str:
    """The separator that occurs most in the header, for tables whose rows agree on none."""
    first = next(_decoded(lines), "")
    return max(SEPARATORS, key=first.count)


def _header(lines: Sequence[bytes], separator: str, name: str) -> tuple[list[str], int]:
    """Fields of the first line that is not blank, and how many physical lines come before the first row."""
    try:
        b"".join(lines[:1]).decode()
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(name, error.object[error.start], 1)) from None
    reader = csv.reader(_decoded(lines), delimiter=separator)
    for row in reader:
        if any(cell.strip() for cell in row):
            return [cell.strip() for cell in row], reader.line_num
    raise DataError(f"{name} holds nothing but blank lines. A header line and a line per sample are needed.")


def _fit_header(header: list[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A name for each field of the rows: R leaves out that of the row names, some end lines with a separator."""
    fields = Counter(map(len, rows)).most_common(1)[0][0]
    if fields == len(header) + 1:
        trailing = all(row[-1] == "" for row in rows if len(row) == fields)
        return [*header, ""] if trailing else ["", *header]
    if fields == len(header) - 1 and header[-1] == "":
        return header[:-1]
    return header


def _check_header(header: list[str], name: str, option: str, named: bool) -> list[str]:
    """Refuse a first line that is data; a note where numbers are taken for names."""
    names = header[1:] if named else header
    if not names or not all(re.fullmatch(NUMBER, cell) for cell in names):
        return []
    whole = all(cell.isdigit() for cell in names) and len(set(names)) == len(names)
    if named and whole and not re.fullmatch(NUMBER, header[0]) and (len(names) > 1 or not header[0]):
        return [
            f"The columns of {name} are named by numbers ({some(names, 3)}); if its first line is data, add a "
            "header line."
        ]
    raise DataError(
        f"{name} has no header: its first line holds numbers ({some(names, 3)}). "
        f"Add a first line with the names of the columns (--{option} needs them)."
    )


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether numbers are written with a decimal comma and never with a point."""
    cells = [cell.strip() for row in rows for cell in row[1:]]
    commas = any(re.fullmatch(r"[+-]?\d+,\d+", cell) for cell in cells)
    return commas and not any(re.fullmatch(r"[+-]?\d*\.\d+", cell) for cell in cells)


def _parse(body: memoryview, separator: str, width: int, named: bool, comma: bool, name: str, start: int) -> pa.Table:
    """Columns of the rows below the header, their types inferred from all rows; columns are called "0", "1", ..."""
    import pyarrow as pa
    import pyarrow.csv as pc

    columns = [str(i) for i in range(width)]
    text: set[str] = {"0"} if named else set()
    quoted = _contains(body, b'"')
    block = max(1 << 20, 64 * width)
    while True:
        try:
            cells = pc.read_csv(
                pa.BufferReader(body),
                pc.ReadOptions(column_names=columns, block_size=min(block, 2**31 - 1)),
                pc.ParseOptions(delimiter=separator, newlines_in_values=quoted),
                pc.ConvertOptions(
                    column_types={column: pa.string() for column in text},
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                    true_values=["true", "True", "TRUE"],
                    false_values=["false", "False", "FALSE"],
                    decimal_point="," if comma else ".",
                ),
            )
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) and block < len(body):
                block = len(body) + 1
                continue
            raise _explain(body, separator, width, name, start, str(error)) from None
        odd = {column.name for column in cells.schema if _is_odd(column.type)}
        if not odd:
            return cells
        if any(pa.types.is_binary(cells.schema.field(column).type) for column in odd):
            raise _explain(body, separator, width, name, start, "bytes that are no text")
        text |= odd  # dates and times are labels here: read them again as they are written


def _contains(data: memoryview, wanted: bytes, step: int = 1 << 24) -> bool:
    """Whether a single byte occurs, without a copy of all the data."""
    return any(wanted in bytes(data[i : i + step]) for i in range(0, len(data), step))


def _is_odd(kind: pa.DataType) -> bool:
    """Types inferred from text that are neither numbers, booleans nor labels."""
    import pyarrow as pa

    return bool(pa.types.is_temporal(kind) or pa.types.is_binary(kind))


def _explain(body: memoryview, separator: str, width: int, name: str, start: int, reason: str) -> DataError:
    """Why a text table could not be read: lines of the wrong length, bytes that are not UTF-8, or else."""
    place = _undecodable(body)
    if place is not None:
        line = start + 1 + bytes(body[:place]).count(b"\n")
        return DataError(_not_utf8(name, body[place], line))
    lines = (line.decode() for line in _lines(body))
    reader = csv.reader(lines, delimiter=separator)
    ragged: list[tuple[int, int]] = []
    try:
        ragged = [(start + reader.line_num, len(row)) for row in reader if row and len(row) != width]
    except csv.Error as error:
        reason = str(error)
    if not ragged:
        return DataError(
            f"{name} cannot be read as a table: {reason.splitlines()[0]}. Check its quotes and separators."
        )
    lines_are, first = ("lines have", "first") if len(ragged) > 1 else ("line has", "namely")
    found = some((f"line {line} with {fields}" for line, fields in ragged), 3)
    return DataError(
        f"{name} is ragged: {len(ragged)} {lines_are} not the {width} fields of the others, {first}: {found}. "
        f"Look for missing or stray separators ({_called(separator)}) there, and quote texts that hold one."
    )


def _not_utf8(name: str, byte: int, line: int) -> str:
    """Message for bytes in another encoding."""
    return (
        f"{name} is not UTF-8 text: byte 0x{byte:02x} in line {line}. "
        f"Save it as UTF-8, e.g. `iconv -f latin1 -t utf-8 OLD > NEW`."
    )


def _called(separator: str) -> str:
    """A separator's name."""
    return {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "spaces"}[separator]


def _undecodable(data: memoryview) -> int | None:
    """Position of the first byte that is not UTF-8."""
    try:
        str(data, "utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None


def _lines(data: memoryview) -> Iterator[bytes]:
    """Lines with their ends, one at a time."""
    import io

    return iter(io.BytesIO(data))


# Names and types, whatever the format


def _split_names(
    header: list[str], cells: pa.Table, name: str, named: bool
) -> tuple[tuple[str, ...], list[str], pa.Table, list[str]]:
    """Sample names apart from the columns of data; numbers from 1 when there is no column of names."""
    import pyarrow.compute as pc

    if not cells.num_rows:
        raise DataError(f"{name} has a header but no rows. A row per sample is needed.")
    if not named:
        return tuple(map(str, range(1, cells.num_rows + 1))), header, cells, []
    labels = pc.utf8_trim_whitespace(cells.column(0))
    if labels.null_count or pc.any(pc.equal(labels, "")).as_py():
        nameless = [str(i + 1) for i, label in enumerate(labels.to_pylist()) if not label]
        raise DataError(
            f"{name}: {counted(len(nameless), 'row')} without a sample name (the first column is empty or "
            f"NA): row {some(nameless)}. "
            f" Name them, or use --no-sample-names if there is no column of names."
        )
    rest = header[1:]
    if not any(rest) and cells.num_columns <= 2:
        raise DataError(
            f"{name} has one column only, `{header[0]}`, and the first column is the sample names. "
            f"Check its separator, or use --no-sample-names if it has no column of names."
        )
    samples = tuple(labels.to_pylist())
    suspicious = header[0] and not _looks_like_id(header[0]) and all(label.isdigit() for label in samples)
    if len(set(samples)) < len(samples):
        raise DataError(_duplicates(samples, name, bool(suspicious)))
    first = (
        f"The first column of {name}, `{header[0]}`, is taken as sample names; if it is data, use --no-sample-names."
    )
    return samples, rest, cells.remove_column(0), [first] if suspicious else []


def _duplicates(samples: Sequence[str], name: str, suspicious: bool) -> str:
    """Message for sample names that occur more than once."""
    twice = [f"{label} ({times} times)" for label, times in Counter(samples).items() if times > 1]
    numeric = suspicious or all(re.fullmatch(NUMBER, label) for label in samples)
    if numeric:
        remedy = "They are all numbers: if the table has no column of sample names, use --no-sample-names."
    else:
        remedy = "The first column names the samples: make each name unique."
    return f"{name}: {counted(len(twice), 'sample name')} used more than once: {some(twice)}. {remedy}"


def _tidy(header: list[str], cells: pa.Table, name: str) -> tuple[list[str], pa.Table]:
    """Columns in one of the four types, under unique positions; an unnamed empty last column is left out."""
    import pyarrow as pa

    if header and header[-1] == "" and cells.column(cells.num_columns - 1).null_count == cells.num_rows:
        header, cells = header[:-1], cells.remove_column(cells.num_columns - 1)
    columns = [_plain(column, label, name) for label, column in zip(header, cells.columns, strict=True)]
    return header, pa.Table.from_arrays(columns, names=[str(i) for i in range(len(columns))])


def _plain(column: pa.ChunkedArray, label: str, name: str) -> pa.ChunkedArray:
    """A column as int64, float64, bool or string; NaN counts as missing; texts lose outer blanks."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_int64(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_null(kind) or pa.types.is_decimal(kind) or kind in (pa.float16(), pa.float32(), pa.uint64()):
        column = column.cast(pa.float64(), safe=False)
    elif pa.types.is_integer(kind):
        return column.cast(pa.int64())
    elif pa.types.is_temporal(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    if pa.types.is_float64(column.type):
        nan = pc.is_nan(column)
        return pc.if_else(nan, None, column) if pc.any(nan).as_py() else column
    if not pa.types.is_string(column.type):
        raise DataError(
            f"{name}: column `{label}` holds {kind}, which is neither numbers nor text. Leave it out or convert it."
        )
    column = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(column, pa.array(MISSING))
    return pc.if_else(missing, None, column) if pc.any(missing).as_py() else column


def _check_names(header: Sequence[str], name: str, option: str) -> None:
    """Refuse tables without columns, unnamed columns, and names that occur twice."""
    if not header:
        raise DataError(
            f"{name} has no columns besides the sample names. Check its separator and that --{option} names "
            "the right file."
        )
    empty = [str(i + 1) for i, label in enumerate(header) if not label]
    if empty:
        raise DataError(
            f"{name}: {counted(len(empty), 'column')} without a name (number {some(empty)} after the sample "
            "names). Name them in the header."
        )
    twice = [label for label, times in Counter(header).items() if times > 1]
    if twice:
        raise DataError(
            f"{name}: {counted(len(twice), 'column name')} used more than once: {some(twice)}. Make each name unique."
        )


# Numbers out of a table


def numbers(table: Table, rule: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Cells as n×p float64 (0 where missing), and the n×p mask of missing ones or None.

    DataError, ended by `rule`, names cells that hold text.
    """
    import numpy as np
    import pyarrow as pa

    _refuse_text(table, rule)
    shape = (len(table.samples), len(table.columns))
    values = np.empty(shape)
    missing = np.zeros(shape, dtype=bool) if any(column.null_count for column in table.cells.columns) else None
    for j, column in enumerate(table.cells.columns):
        if missing is not None and column.null_count:
            missing[:, j] = column.is_null().to_numpy()
            column = column.fill_null(pa.scalar(0, column.type))
        values[:, j] = column.to_numpy()
    return values, missing


def _refuse_text(table: Table, rule: str) -> None:
    """DataError naming the cells that are not numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shown: list[str] = []
    total = 0
    for label, column in zip(table.columns, table.cells.columns, strict=True):
        if pa.types.is_string(column.type):
            bad = pc.invert(pc.match_substring_regex(column, f"^{NUMBER}$"))
        elif pa.types.is_boolean(column.type):
            bad = pc.is_valid(column)
        else:
            continue
        rows = pc.indices_nonzero(pc.fill_null(bad, False)).to_pylist()
        total += len(rows)
        first = rows[: max(0, 3 - len(shown))]
        shown += [f"sample {table.samples[i]}, {table.noun} {label} (`{column[i].as_py()}`)" for i in first]
    if total:
        raise DataError(
            _cells_message(table, total, "entry that is no number", "entries that are no numbers", shown, rule)
        )


def refuse(table: Table, bad: np.ndarray, values: np.ndarray, one: str, many: str, rule: str) -> None:
    """DataError naming the first cells where the n×p mask `bad` holds and counting them; silent when there are none."""
    import numpy as np

    if not bad.any():
        return
    rows, columns = np.nonzero(bad)
    shown = [
        f"sample {table.samples[i]}, {table.noun} {table.columns[j]} ({values[i, j]:.15g})"
        for i, j in zip(rows[:3].tolist(), columns[:3].tolist(), strict=True)
    ]
    raise DataError(_cells_message(table, len(rows), one, many, shown, rule))


def _cells_message(table: Table, total: int, one: str, many: str, shown: Sequence[str], rule: str) -> str:
    """What is wrong, the first cells, and the rule: `counts.csv: 3 negative counts, first: ...`."""
    if total == 1:
        return f"{table.name}: 1 {one}: {shown[0]}. {rule}"
    return f"{table.name}: {total} {many}, first: {'; '.join(shown)}. {rule}"


def refuse_missing(table: Table, missing: np.ndarray, rule: str) -> None:
    """DataError naming the first missing cells of the n×p mask."""
    import numpy as np

    rows, columns = np.nonzero(missing)
    shown = [
        f"sample {table.samples[i]}, {table.noun} {table.columns[j]}"
        for i, j in zip(rows[:3].tolist(), columns[:3].tolist(), strict=True)
    ]
    raise DataError(
        _cells_message(table, len(rows), "missing entry (empty or NA)", "missing entries (empty or NA)", shown, rule)
    )


def frame(table: Table, columns: Sequence[str]) -> Any:
    """The named columns as a pandas DataFrame: numbers as float64 (NaN missing), texts and booleans as categories.

    Levels are those that occur, sorted.
    """
    import pandas as pd
    import pyarrow as pa

    content: dict[str, Any] = {}
    for name in columns:
        column = table.cells.column(table.columns.index(name))
        if pa.types.is_boolean(column.type):
            column = pa.chunked_array(
                [pa.array(["True" if x else None if x is None else "False" for x in column.to_pylist()], pa.string())]
            )
        if pa.types.is_string(column.type):
            coded = column.combine_chunks().dictionary_encode()
            words = coded.dictionary.to_pylist()
            codes = coded.indices.fill_null(-1).to_numpy()
            order = sorted(words)
            content[name] = pd.Categorical.from_codes(codes, categories=words).reorder_categories(order)
        else:
            content[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return pd.DataFrame(content, index=range(len(table.samples)))
