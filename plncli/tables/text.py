"""Tables in text files: separator, header, quotes, encoding and decimal mark are found out, faults named by line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, counted, some
from plncli.tables import mothur, qiime
from plncli.tables.content import READABLE, Content
from plncli.tables.encoding import as_utf8

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "NA", "na", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL")
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
GROUPED = r"[+-]?[1-9]\d{0,2}([., '\u2019\u00a0\u2009\u202f]\d{3})+([.,]\d+)?"
"""A number whose thousands are set apart, such as 1,234; it may also be one with three decimals."""
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "spaces"}
ID_WORDS = ("id", "ids", "sample", "samples", "sampleid", "samplename", "name", "names", "index", "site", "row")
FEATURE_ID_WORDS = ("featureid", "otuid", "asvid", "geneid", "taxonid")


def read_text(
    data: memoryview, name: str, option: str, named: bool, part: str = "", missing: Sequence[str] = ()
) -> Content:
    """The content of a text table; its first column is read as text when `named`.

    part: the one of its tables that is asked for, by its label; missing: more entries that are.
    """
    data = as_utf8(data, name)
    lines = _head(data)
    if _holds(data, b"\x00"):
        raise DataError(f"{name} is not a table that can be read: it is binary. {READABLE}")
    above, remarks = _above(lines)
    separator = "\t" if qiime.is_tabbed(lines[above:]) else _sniff(_without_marked(lines[above:]))
    header, start = _header(lines, above, separator, name)
    qiime.check_above([*map(qiime.first_cell, lines[:above]), header[0]], name)
    below, body = lines[start:], data[sum(map(len, lines[:start])) :]
    notes: list[str] = []
    types: Mapping[int, str] = {}
    shared = mothur.is_shared(header)
    if part and not shared:
        raise DataError(f"{name} has no parts, so there is no `{part}` in it.")
    if shared:
        header, body, told = mothur.one_label(header, body, part, name, option)
        below, notes = _head(body), [told]
    elif qiime.is_jagged(header, separator, _fields(_decoded(below), separator)) or (
        _holds(body, b"#") and qiime.is_metadata(header, separator, body)
    ):
        header = _without_empty_end(header)
        found = qiime.read_metadata(header, _text(body, name, start), separator, name, start, MISSING)
        body, types, notes = memoryview(found.body), found.types, [*found.notes]
        below = _head(body)
    rows = [row for row in _fields(_decoded(below), separator) if row]
    if not rows:
        raise DataError(f"{name} has a header line but no rows. Check that --{option} names the right file.")
    header = _fit_header(header, rows, name)
    notes += _check_header(header, rows[0][0], name, option, named)
    if remarks:
        told = "1 line is a comment" if len(remarks) == 1 else f"{len(remarks)} lines are comments"
        notes.append(f"{told} above the header of {name}: `{remarks[0]}`.")
    comma, judged = _decimal_mark([cell.strip() for row in rows for cell in row[1:]], separator, name, option)
    text = {*("0" if named else ""), *("01" if shared else ""), *map(str, types)}
    cells = _parse(body, separator, len(header), text, comma, missing, name, start)
    return Content(header, cells, [*notes, *judged], types)


def looks_like_id(header: str) -> bool:
    """Whether a column's name is one that tables give to their column of sample names."""
    word = re.sub(r"[^a-z]", "", header.casefold())
    known = (*ID_WORDS, *FEATURE_ID_WORDS, "rownames")
    return not header or word in known or header.startswith(("Unnamed: 0", "__index_level_0__"))


def values_of(words: Sequence[Any]) -> list[Any]:
    """Words as a column of a text table is read: all of them whole numbers, numbers, true or false, or else texts.

    None where one is missing.
    """
    texts = [None if word is None or str(word).strip() in MISSING else str(word).strip() for word in words]
    known = [text for text in texts if text is not None]
    kinds: dict[str, Any] = {r"[+-]?\d{1,18}": int, NUMBER: float, "true|True|TRUE|false|False|FALSE": _true}
    for pattern, kind in kinds.items():
        if known and all(re.fullmatch(pattern, text, re.ASCII) for text in known):
            return [None if text is None else kind(text) for text in texts]
    return texts


def _true(text: str) -> bool:
    return text.casefold() == "true"


def lines_of(data: memoryview, name: str) -> list[str]:
    """Lines of a list of names, in UTF-8 or UTF-16, without their ends; DataError for a file that is no text."""
    return re.split(r"\r\n?|\n", _text(as_utf8(data, name), name, 0))


def _text(body: memoryview, name: str, start: int) -> str:
    """UTF-8 text that follows `start` lines; DataError for what is none."""
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(name, body[error.start], start + 1 + bytes(body[: error.start]).count(b"\n")) from None


def _head(data: memoryview, enough: int = 1 << 16) -> list[bytes]:
    """First lines with their ends: at least three besides comments where there are so many, and `enough` bytes."""
    size = enough
    while True:
        lines = bytes(data[:size]).splitlines(keepends=True)
        if size >= len(data):
            return lines
        if sum(not line.startswith(b"#") for line in lines) >= 5:
            return lines[:-1]
        size *= 4


def _decoded(lines: Sequence[bytes]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 are replaced here and refused later, where their place is known."""
    return (line.decode("utf-8", errors="replace") for line in lines)


def _fields(lines: Iterable[str], separator: str) -> Any:
    """Reader of lines as rows of fields, blanks before a field, or before its quote, left out."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ")


def _above(lines: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many of the first lines stand above the header, and the comments (`# ...`) among them.

    A line with `#` is the header itself where it has as many fields as the line below.
    """
    if lines and re.fullmatch(rb'"?sep=."?\s*', lines[0]):  # what tells Excel the separator
        first, remarks = _above(lines[1:])
        return first + 1, remarks
    first = next((i for i, line in enumerate(lines) if line.strip() and not qiime.is_marked(line)), len(lines))
    cells = [qiime.first_cell(line) for line in lines[: first + 1]]
    marked = [i for i in range(first) if qiime.is_marked(lines[i]) and not qiime.is_directive(cells[i])]
    known = [i for i, cell in enumerate(cells) if qiime.is_id(cell)]
    if known:
        first = known[0]
    elif marked:
        below = [lines[marked[-1]], *(line for line in lines[first:] if line.strip())]
        sizes = [len(row) for row in _fields(_decoded(below[:2]), _sniff(below))]
        if len(sizes) < 2 or sizes[0] == sizes[1] > 1:
            first = marked[-1]
    else:
        return 0, []
    return first, [line.strip() for line in _decoded([lines[i] for i in marked if i < first])]


def _without_marked(lines: Sequence[bytes]) -> list[bytes]:
    """The header, and the lines below it that do not begin with a number sign; all lines where no other is left."""
    left = [line for line in lines[1:] if not qiime.is_marked(line)]
    return [*lines[:1], *left] if left else [*lines]


def _without_empty_end(header: list[str]) -> list[str]:
    """A header without the empty cells that end it."""
    return header[: max((j + 1 for j, cell in enumerate(header) if cell), default=0)]


def _sniff(lines: Sequence[bytes]) -> str:
    """The separator that cuts the first lines into equally many fields, at least two; else the most frequent."""

    def agreement(separator: str) -> tuple[bool, float, bool, int]:
        """Whether the header fits the rows (give or take one), share of rows that agree, whether all do, fields."""
        try:
            sizes = [len(row) for row in _fields(_decoded(lines), separator) if row]
        except csv.Error:  # the line as one field is too long a field
            sizes = []
        rows = sizes[1:] or sizes
        common, votes = Counter(rows).most_common(1)[0] if rows else (0, 0)
        if common < 2:
            return False, 0.0, False, 0
        return abs(sizes[0] - common) < 2, votes / len(rows), sizes[0] == common, common

    signs = {separator: agreement(separator) for separator in SEPARATORS if separator != " "}
    best = max(signs, key=signs.__getitem__)
    if signs[best][:2] < (True, 1.0) and agreement(" ")[:2] == (True, 1.0):
        return " "
    first = next(_decoded(lines), "")
    return best if signs[best][1] else max(signs, key=first.count)


def _header(lines: Sequence[bytes], above: int, separator: str, name: str) -> tuple[list[str], int]:
    """Fields of the first line from `above` on that is not blank, and how many lines come before the first row."""
    try:
        b"".join(lines[above : above + 1]).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(name, error.object[error.start], above + 1) from None
    reader = _fields(_decoded(lines[above:]), separator)
    for row in reader:
        if any(cell.strip() for cell in row):
            return [cell.strip() for cell in row], above + reader.line_num
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


def _decimal_mark(cells: Sequence[str], separator: str, name: str, option: str) -> tuple[bool, list[str]]:
    """Whether the decimal mark is a comma, and a note where that or a point like one of thousands had to be judged.

    DataError where both are there, and the points can only be of thousands.
    """
    commas = [cell for cell in cells if "," in cell and re.fullmatch(r"[+-]?\d+,\d+", cell)] if separator != "," else []
    points = [cell for cell in cells if "." in cell and re.fullmatch(r"[+-]?\d*\.\d+", cell)]
    grouped = bool(points) and all(re.fullmatch(GROUPED, cell) for cell in points)
    if commas and grouped and separator == ";":
        raise DataError(
            f"{name} holds both `{points[0]}` and `{commas[0]}`, as if points set thousands apart and commas were "
            "decimal marks. Save it without thousand separators."
        )
    if commas and not points and option != "counts":
        if separator == ";" or not all(re.fullmatch(GROUPED, cell) for cell in commas):
            return True, [f"{name} is read with commas as decimal marks (1,5 is one and a half)."]
    elif grouped and separator == ";":
        return False, [
            f"{name} is read with points as decimal marks: `{points[0]}` is {float(points[0]):g}. If they set "
            "thousands apart, save it without thousand separators."
        ]
    return False, []


def _parse(
    body: memoryview,
    separator: str,
    width: int,
    text: set[str],
    comma: bool,
    missing: Sequence[str],
    name: str,
    start: int,
) -> pa.Table:
    """Columns of the rows below the header, called "0", "1", ...; those in `text` are texts, others as all rows say."""
    import pyarrow as pa
    import pyarrow.compute as pc

    quoted, hexadecimal = _holds(body, b'"'), _holds(body, b"0x", b"0X")
    plain = _without_blanks_before_quotes(body, separator) if quoted else body
    while True:
        try:
            cells = _read_csv(plain, separator, width, text, comma, quoted, missing)
        except pa.ArrowInvalid as error:
            raise _unreadable(body, separator, width, name, start, str(error)) from None
        if any(pa.types.is_binary(column.type) for column in cells.schema):
            raise _unreadable(body, separator, width, name, start, "bytes that are no text")
        labels = {column.name for column in cells.schema if pa.types.is_temporal(column.type)}
        whole = {column.name for column in cells.schema if pa.types.is_int64(column.type)}
        if hexadecimal and whole:
            written = _read_csv(plain, separator, width, text | whole, comma, quoted, missing)
            labels |= {
                i for i in whole if pc.any(pc.match_substring(written.column(i), "0x", ignore_case=True)).as_py()
            }
        if not labels:
            return cells
        text = text | labels  # dates, times and 0x1F are labels here: read them again as they are written


def _read_csv(
    body: memoryview,
    separator: str,
    width: int,
    text: Iterable[str],
    comma: bool,
    quoted: bool,
    missing: Sequence[str],
) -> pa.Table:
    """Columns "0", "1", ... of the rows, those in `text` as they are written, the others by what all their rows are."""
    import pyarrow as pa
    import pyarrow.csv as pc

    block = max(1 << 20, 64 * width)
    while True:
        try:
            return pc.read_csv(
                pa.BufferReader(body),
                pc.ReadOptions(column_names=[str(i) for i in range(width)], block_size=min(block, 2**31 - 1)),
                pc.ParseOptions(delimiter=separator, newlines_in_values=quoted),
                pc.ConvertOptions(
                    column_types=dict.fromkeys(text, pa.string()),
                    null_values=[*MISSING, *missing],
                    strings_can_be_null=True,
                    true_values=["true", "True", "TRUE"],
                    false_values=["false", "False", "FALSE"],
                    decimal_point="," if comma else ".",
                ),
            )
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error) or block >= len(body):
                raise
            block = len(body) + 1


def _holds(body: memoryview, *signs: bytes, step: int = 1 << 24) -> bool:
    """Whether any of the signs, of two bytes at most, occurs."""
    parts = (bytes(body[i : i + step + 1]) for i in range(0, len(body), step))
    return any(sign in part for part in parts for sign in signs)


def _without_blanks_before_quotes(body: memoryview, separator: str) -> memoryview:
    """The same rows, written anew where a field has blanks before its quote: arrow takes such a quote for text."""
    if separator == " " or not re.search(rb"(?:^|[\r\n" + re.escape(separator.encode()) + rb'])\x20+"', body):
        return body
    rows = io.StringIO(str(body, "utf-8", "surrogateescape"), newline="")
    anew = io.StringIO(newline="")
    try:
        reader = csv.reader(rows, delimiter=separator, skipinitialspace=True, strict=True)
        csv.writer(anew, delimiter=separator).writerows(reader)
    except csv.Error:
        return body  # no table as it is: refused when it is parsed, where its lines are known
    return memoryview(anew.getvalue().encode("utf-8", "surrogateescape"))


def _unreadable(body: memoryview, separator: str, width: int, name: str, start: int, reason: str) -> DataError:
    """Why a text table could not be read: bytes that are not UTF-8, an open quote, lines of the wrong length."""
    try:
        content = str(body, "utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(name, body[error.start], start + 1 + bytes(body[: error.start]).count(b"\n"))
    reader = _fields(io.StringIO(content, newline=""), separator)
    ragged: list[tuple[int, int, bool]] = []
    begin = end = start
    try:
        for row in reader:
            begin, end = end + 1, start + reader.line_num
            if row and len(row) != width:
                ragged.append((begin, len(row), row[0].startswith("#")))
    except csv.Error as error:
        reason = str(error)
    if not ragged:
        return DataError(f"{name} cannot be read: {reason.splitlines()[0]}. Check its quotes and separators.")
    if end > begin == ragged[-1][0]:
        return DataError(f'{name} has an opening quote (") in line {begin} that is never closed. Close or remove it.')
    found = some((f"line {line} has {fields}" for line, fields, _ in ragged), 3)
    if all(remark for _, _, remark in ragged):
        remedy = "Comments (`# ...`) stand above the header only: remove these."
    else:
        remedy = f"Look for missing or stray separators ({SEPARATORS[separator]}) there, and quote texts that hold one."
    return DataError(
        f"{name} is ragged: {counted(len(ragged), 'line')} of another length than the {width} fields of the header: "
        f"{found}. {remedy}"
    )


def _not_utf8(name: str, byte: int, line: int) -> DataError:
    """Refusal of bytes in another encoding."""
    return DataError(
        f"{name} is not UTF-8 text: byte 0x{byte:02x} in line {line}. "
        f"Save it as UTF-8, e.g. `iconv -f latin1 -t utf-8 OLD > NEW`."
    )
