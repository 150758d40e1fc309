"""Metadata as QIIME 2 reads them: identifier headers, comment lines, and the directives that declare columns.

The rules are those of "Metadata file format" in its documentation (https://use.qiime2.org/en/latest/references/metadata).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from plncli.errors import DataError, counted, nearest, some

IDS = ("id", "sampleid", "sample id", "sample-id", "featureid", "feature id", "feature-id")
"""Headers of the identifiers, in any case."""
EXACT_IDS = ("#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name")
"""The others, in this case alone."""
CATEGORICAL, NUMERIC = "categorical", "numeric"
TYPES = (CATEGORICAL, NUMERIC)
DIRECTIVE, TYPES_LINE, MISSING_LINE = "#q2:", "#q2:types", "#q2:missing"
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "blank": (),
    "no-missing": (),
    "insdc:missing": (
        "not applicable",
        "missing",
        "not collected",
        "not provided",
        "restricted access",
        "missing: not provided",
        "missing: not collected",
        "missing: restricted access",
    ),
}
"""Words that stand for missing entries, by the name that `#q2:missing` gives to a column."""
MARKED = rb'(?:^|[\r\n])[ "]*#'
"""Where a line begins with a number sign."""


@dataclass(frozen=True)
class Metadata:
    """The rows of a text table below its header, without comments and directives, as text anew.

    types: declared, by the number of the column; notes: sentences for the user.
    """

    body: bytes
    types: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_id(header: str) -> bool:
    """Whether QIIME 2 takes the first cell of a header for that of the identifiers."""
    return header.strip().casefold() in IDS or header.strip() in EXACT_IDS


def is_directive(cell: str) -> bool:
    """Whether a first cell makes its row a directive."""
    return cell.strip().casefold().startswith(DIRECTIVE)


def first_cell(line: bytes) -> str:
    """The first cell of a line, whatever separates them."""
    found = re.match(rb'[\s"]*([^\t,;|"\r\n]*)', line)
    return found[1].decode("utf-8", errors="replace").strip() if found else ""


def is_marked(line: bytes) -> bool:
    """Whether a line begins with a number sign."""
    return re.match(MARKED, line) is not None


def is_tabbed(lines: Sequence[bytes]) -> bool:
    """Whether the first line is a header of metadata, which tabs separate."""
    cell, tab, _ = lines[0].partition(b"\t") if lines else (b"", b"", b"")
    return bool(tab) and is_id(cell.decode("utf-8", errors="replace").strip().strip('"'))


def is_jagged(header: Sequence[str], separator: str, rows: Iterable[Sequence[str]]) -> bool:
    """Whether rows below a known header have cells too few, or empty ones too many, as spreadsheets leave them."""
    if separator != "\t" or not is_id(header[0]):
        return False
    sizes = {len(row) for row in rows if row}
    return not (sizes <= {len(header)} or sizes == {len(header) + 1})  # one more: R leaves out that of the names


def is_metadata(header: Sequence[str], separator: str, body: bytes | memoryview) -> bool:
    """Whether rows are read by these rules: some directive says so, or there are comments below a known header."""
    if not re.search(MARKED, body):
        return False
    return bool(re.search(rb"(?i)" + MARKED + rb"q2:", body)) or (separator == "\t" and is_id(header[0]))


def check_above(cells: Sequence[str], name: str) -> None:
    """DataError for a directive among the first cells of the lines down to the header."""
    found = next((cell for cell in cells if is_directive(cell)), None)
    if found is not None:
        raise DataError(f"`{found}` stands above the header of {name}. Move that line directly below it.")


def read_metadata(
    header: Sequence[str], body: str, separator: str, name: str, start: int, absent: Collection[str]
) -> Metadata:
    """The rows below a header, which `start` lines end with; DataError names lines that break the rules.

    absent: words that are missing entries in any table, told where they are, for QIIME 2 takes them as labels.
    """
    rows: list[list[str]] = []
    directives: dict[str, Sequence[str]] = {}
    comments: list[str] = []
    short: list[str] = []
    for line, row in _rows(body, separator, name, start):
        if is_directive(row[0]):
            key = row[0].casefold()
            _check_directive(key, directives, bool(rows), f"Line {line} of {name}")
            directives[key] = _fitted(row, header, f"The line `{key}` of {name}")
            if len(row) < len(header):
                few = f"{len(row) - 1} of {counted(len(header) - 1, 'column')}"
                short.append(
                    f"The line `{key}` of {name} ends after {few}; the entries of the others tell what they are."
                )
        elif row[0].startswith("#"):
            comments.append(separator.join(row).strip())
        else:
            rows.append(_fitted(row, header, f"Line {line} of {name}"))
    types = _types(directives.get(TYPES_LINE, ()), header, name)
    notes = _of_missing(rows, directives.get(MISSING_LINE, ()), header, name)
    notes += short + _of_absent(rows, types, absent, header, name)
    if comments:
        lines = f"{counted(len(comments), 'line')} below the header of {name}"
        notes.append(f"{lines} {'is a comment' if len(comments) == 1 else 'are comments'}: `{comments[0]}`.")
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)  # what ends a line is quoted
    return Metadata(text.getvalue().encode(), types, tuple(notes))


def _rows(body: str, separator: str, name: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Rows with any content and the number of the line that each ends in, their cells without outer blanks."""
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, skipinitialspace=separator != "\t")
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield start + reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{name} cannot be read: {error}. Check its quotes and separators.") from None


def _check_directive(key: str, known: Collection[str], late: bool, where: str) -> None:
    """DataError for a directive that is not known, comes twice, or below rows of data."""
    if key not in (TYPES_LINE, MISSING_LINE):
        raise DataError(
            f"{where} begins with `{key}`, which is no directive of QIIME 2's metadata: there are `{TYPES_LINE}` and "
            f"`{MISSING_LINE}`.{nearest(key, (TYPES_LINE, MISSING_LINE))}"
        )
    if key in known:
        raise DataError(f"{where} is another `{key}`; leave one of them out.")
    if late:
        raise DataError(f"{where}, `{key}`, stands below rows of data. Move it directly below the header.")


def _fitted(row: list[str], header: Sequence[str], where: str) -> list[str]:
    """A row of the header's length: what is short ends in empty cells, and DataError where more than these follow."""
    width = len(header)
    if any(row[width:]):
        raise DataError(
            f"{where} has {counted(len(row), 'cell')}, but the header only {width} ({some(header, 3)}). Look for stray "
            "separators."
        )
    return (row + [""] * (width - len(row)))[:width]


def _types(cells: Sequence[str], header: Sequence[str], name: str) -> dict[int, str]:
    """What `#q2:types` says, by the number of the column; an empty cell says nothing."""
    declared = {}
    for j, cell in enumerate(cells[1:], 1):
        kind = cell.casefold()
        if kind not in ("", *TYPES):
            raise DataError(
                f"The line `{TYPES_LINE}` of {name} declares column `{header[j]}` as `{cell}`, but a column is "
                f"{' or '.join(TYPES)}.{nearest(kind, TYPES)}"
            )
        if kind:
            declared[j] = kind
    return declared


def _of_missing(rows: list[list[str]], cells: Sequence[str], header: Sequence[str], name: str) -> list[str]:
    """Empty the entries that `#q2:missing` calls missing, in place, and tell them."""
    notes = []
    for j, cell in enumerate(cells[1:], 1):
        scheme = cell.casefold()
        if scheme and scheme not in SCHEMES:
            raise DataError(
                f"The line `{MISSING_LINE}` of {name} has `{cell}` for column `{header[j]}`, but it takes blank, "
                "no-missing or INSDC:missing."
            )
        absent = [row[0] for row in rows if not row[j]]
        if scheme == "no-missing" and absent:
            raise DataError(
                f"Column `{header[j]}` of {name} is declared `no-missing`, but is empty in "
                f"{counted(len(absent), 'sample')}: {some(absent)}. Fill the entries in, or take the word out."
            )
        words = SCHEMES.get(scheme, ())
        found = Counter(row[j] for row in rows if row[j] in words)
        for row in rows:
            row[j] = "" if row[j] in words else row[j]
        if found:
            told = some(f"`{word}` ({times})" for word, times in found.items())
            notes.append(f"Column `{header[j]}` of {name}: {told} taken as missing, as `{MISSING_LINE}` says.")
    return notes


def _of_absent(
    rows: list[list[str]], types: Mapping[int, str], absent: Collection[str], header: Sequence[str], name: str
) -> list[str]:
    """A sentence on declared columns with words such as NA, which are missing entries in any other table."""
    found = {j: Counter(row[j] for row in rows if row[j] and row[j] in absent) for j in types}
    told = [
        f"`{header[j]}` ({some(f'`{word}` in {times}' for word, times in words.items())})"
        for j, words in found.items()
        if words
    ]
    if not told:
        return []
    return [f"{name} has words that are taken as missing entries, though QIIME 2 takes them as labels: {some(told)}."]
