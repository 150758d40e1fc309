"""Tables in text files: separator, header, quotes, encoding and decimal mark are found out, faults named by line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plncli.errors import DataError, counted, some
from plncli.files.content import READABLE

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "NA", "na", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL")
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "spaces"}
ID_WORDS = ("id", "ids", "sample", "samples", "sampleid", "samplename", "name", "names", "index", "site", "row")


def read_text(data: memoryview, name: str, option: str, named: bool) -> tuple[list[str], pa.Table, list[str]]:
    """Header, columns and notes of a text table; its first column is read as text when `named`."""
    data = _as_utf8(data, name)
    lines = _head(data)
    if b"\x00" in b"".join(lines):
        raise DataError(f"{name} is not a table that can be read: it is binary. {READABLE}")
    separator = _sniff(lines)
    header, start = _header(lines, separator, name)
    rows = [row for row in csv.reader(_decoded(lines[start:]), delimiter=separator) if row]
    if not rows:
        raise DataError(f"{name} has a header line but no rows. Check that --{option} names the right file.")
    header = _fit_header(header, rows, name)
    notes = _check_header(header, rows[0][0], name, option, named)
    comma = separator == ";" and option != "counts" and _has_decimal_commas(rows)
    if comma:
        notes.append(f"{name} is read with commas as decimal marks (1,5 is one and a half).")
    body = data[sum(map(len, lines[:start])) :]
    return header, _parse(body, separator, len(header), named, comma, name, start), notes


def looks_like_id(header: str) -> bool:
    """Whether a column's name is one that tables give to their column of sample names."""
    word = re.sub(r"[^a-z]", "", header.casefold())
    return not header or word in (*ID_WORDS, "rownames") or header.startswith(("Unnamed: 0", "__index_level_0__"))


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


def _head(data: memoryview, enough: int = 1 << 16) -> list[bytes]:
    """First lines with their ends: at least three where there are so many, and then up to `enough` bytes."""
    size = enough
    while len(lines := bytes(data[:size]).splitlines(keepends=True)) < 5 and size < len(data):
        size *= 4
    return lines if size >= len(data) else lines[:-1]


def _decoded(lines: Sequence[bytes]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 are replaced here and refused later, where their place is known."""
    return (line.decode("utf-8", errors="replace") for line in lines)


def _sniff(lines: Sequence[bytes]) -> str:
    """The separator that cuts the first lines into equally many fields, at least two; else the most frequent."""

    def agreement(separator: str) -> tuple[bool, float, bool, int]:
        """Whether the header fits the rows (give or take one), share of rows that agree, whether all do, fields."""
        try:
            sizes = [len(row) for row in csv.reader(_decoded(lines), delimiter=separator) if row]
        except csv.Error:  # the line as one field is too long a field
            sizes = []
        rows = sizes[1:] or sizes
        common, votes = Counter(rows).most_common(1)[0] if rows else (0, 0)
        if common < 2:
            return False, 0.0, False, 0
        return abs(sizes[0] - common) < 2, votes / len(rows), sizes[0] == common, common

    signs = [separator for separator in SEPARATORS if separator != " "]
    best = max(signs, key=agreement)
    if agreement(best)[:2] < (True, 1.0) and agreement(" ")[:2] == (True, 1.0):
        return " "
    first = next(_decoded(lines), "")
    return best if agreement(best)[1] else max(signs, key=first.count)


def _header(lines: Sequence[bytes], separator: str, name: str) -> tuple[list[str], int]:
    """Fields of the first line that is not blank, and how many physical lines come before the first row."""
    try:
        b"".join(lines[:1]).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(name, error.object[error.start], 1) from None
    reader = csv.reader(_decoded(lines), delimiter=separator)
    for row in reader:
        if any(cell.strip() for cell in row):
            return [cell.strip() for cell in row], reader.line_num
    raise DataError(f"{name} holds nothing but blank lines. A header line and a line per sample are needed.")


def _fit_header(header: list[str], rows: Sequence[Sequence[str]], name: str) -> list[str]:
    """A name for each field of the rows: R leaves out that of the row names, some end lines with a separator."""
    fields = Counter(map(len, rows)).most_common(1)[0][0]
    if fields == len(header) + 1:
        trailing = all(row[-1] == "" for row in rows if len(row) == fields)
        return [*header, ""] if trailing else ["", *header]
    if fields > len(header):
        raise DataError(
            f"{name} does not start with its header: its first line has {counted(len(header), 'field')} "
            f"(`{some(header, 3)}`), the lines below it {fields}. Remove what stands above the header."
        )
    if fields == len(header) - 1 and header[-1] == "":
        return header[:-1]
    return header


def _check_header(header: list[str], label: str, name: str, option: str, named: bool) -> list[str]:
    """Refuse a first line that is data; a note where numbers are taken for names. `label` begins the second line."""
    names = header[1:] if named else header
    if not names or not all(re.fullmatch(NUMBER, cell) for cell in names):
        return []
    whole = all(cell.isdigit() for cell in names) and len(set(names)) == len(names)
    alike = bool(header[0]) and re.sub(r"\d+", "0", header[0]) == re.sub(r"\d+", "0", label.strip())  # s1 above s2
    if named and whole and not alike and (len(names) > 1 or not header[0]):
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

    text = {"0"} if named else set()
    quoted = any(b'"' in bytes(body[i : i + (1 << 24)]) for i in range(0, len(body), 1 << 24))
    block = max(1 << 20, 64 * width)
    while True:
        try:
            cells = pc.read_csv(
                pa.BufferReader(body),
                pc.ReadOptions(column_names=[str(i) for i in range(width)], block_size=min(block, 2**31 - 1)),
                pc.ParseOptions(delimiter=separator, newlines_in_values=quoted),
                pc.ConvertOptions(
                    column_types=dict.fromkeys(text, pa.string()),
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
            raise _unreadable(body, separator, width, name, start, str(error)) from None
        if any(pa.types.is_binary(column.type) for column in cells.schema):
            raise _unreadable(body, separator, width, name, start, "bytes that are no text")
        dates = {column.name for column in cells.schema if pa.types.is_temporal(column.type)}
        if not dates:
            return cells
        text |= dates  # dates and times are labels here: read them again as they are written


def _unreadable(body: memoryview, separator: str, width: int, name: str, start: int, reason: str) -> DataError:
    """Why a text table could not be read: bytes that are not UTF-8, an open quote, lines of the wrong length."""
    try:
        content = str(body, "utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(name, body[error.start], start + 1 + bytes(body[: error.start]).count(b"\n"))
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator)
    ragged: list[tuple[int, int]] = []
    begin = end = start
    try:
        for row in reader:
            begin, end = end + 1, start + reader.line_num
            if row and len(row) != width:
                ragged.append((begin, len(row)))
    except csv.Error as error:
        reason = str(error)
    if not ragged:
        return DataError(f"{name} cannot be read: {reason.splitlines()[0]}. Check its quotes and separators.")
    if end > begin == ragged[-1][0]:
        return DataError(f'{name} has an opening quote (") in line {begin} that is never closed. Close or remove it.')
    found = some((f"line {line} has {fields}" for line, fields in ragged), 3)
    return DataError(
        f"{name} is ragged: {counted(len(ragged), 'line')} of another length than the {width} fields of the header: "
        f"{found}. Look for missing or stray separators ({SEPARATORS[separator]}) there, and quote texts that hold one."
    )


def _not_utf8(name: str, byte: int, line: int) -> DataError:
    """Refusal of bytes in another encoding."""
    return DataError(
        f"{name} is not UTF-8 text: byte 0x{byte:02x} in line {line}. "
        f"Save it as UTF-8, e.g. `iconv -f latin1 -t utf-8 OLD > NEW`."
    )
