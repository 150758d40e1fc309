"""Workbooks (.xlsx, .xls, .xlsb, .ods): a sheet is read as the text file that it would be saved as."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from plncli.errors import DataError, nearest, some
from plncli.tables.content import STEP, File, most_bytes
from plncli.tables.formats.base import package, reading

EXTRA = "excel"
LONGEST = 32767
BYTES = 40
"""Memory that each cell of a sheet takes while it is read, also an empty one."""
FAR = rb"r=[\"'](?:[A-Za-z]{3}|[A-Za-z]+\d{5})"
CELL = rb"<(?:\w+:)?c\s(?:[^>]*\s)?r=[\"']([A-Za-z]+)(\d+)[\"'](?:[^>]*[^>/])?>"


def as_text(file: File, option: str) -> tuple[memoryview, str]:
    """A sheet as comma-separated text, and its name: the one asked for, or called like the option, or the only one."""
    calamine = package("python_calamine", EXTRA, f"{file.name} is a workbook. Reading it")
    with reading(file, "a workbook"):
        _refuse_far(file)
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(file.data))
        name = _sheet(file, book.sheet_names, option)
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_word(cell) for cell in row] for row in _filled(rows))
    if not text.tell():
        raise DataError(f"The sheet `{name}` of {file.name} is empty. Choose another by {file.name}::SHEET.")
    return memoryview(text.getvalue().encode()), name


def _refuse_far(file: File) -> None:
    """DataError where a sheet reaches so far that its cells, most of them empty, do not fit into memory."""
    if bytes(file.data[:2]) != b"PK":
        return
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        for member in archive.namelist():
            if not re.match(r"xl/worksheets/[^/]+\.xml$", member):
                continue
            with archive.open(member) as sheet:
                if not any(re.search(FAR, piece) for piece in _pieces(sheet)):
                    continue
            with archive.open(member) as sheet:
                width, height = _extent(sheet)
            if width * height * BYTES > most_bytes():
                raise DataError(
                    f"{member} of {file.name} reaches to row {height} and column {width}, too far to be held. Delete "
                    "what stands far outside of the table, or save the sheet as CSV."
                )


def _extent(sheet: IO[bytes]) -> tuple[int, int]:
    """Columns and rows of a sheet (XML) up to the last cell that holds anything."""
    columns, height = {b"A"}, 1
    for piece in _pieces(sheet):
        cells = re.findall(CELL, piece)
        columns.update(column for column, _ in cells)
        height = max([height, *(int(row) for _, row in cells)])
    return max(map(_number, columns)), height


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """What a file holds, in pieces that overlap by more than what begins a cell."""
    rest = b""
    while piece := stream.read(STEP):
        yield rest + piece
        rest = piece[-200:]


def _number(letters: bytes) -> int:
    """Number of the column that letters name, from 1: A, ..., Z, AA, ..."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number


def _sheet(file: File, known: list[str], option: str) -> str:
    """The name of the sheet to read."""
    if file.part:
        if file.part in known:
            return file.part
        raise DataError(
            f"{file.name} has no sheet `{file.part}`.{nearest(file.part, known)} There are {some(known, 20)}."
        )
    like = [name for name in known if name.strip().casefold() == option]
    if len(like) == 1 or len(known) == 1:
        return (like or known)[0]
    raise DataError(
        f"{file.name} has {len(known)} sheets ({some(known, 20)}). Choose one by --{option} {file.name}::SHEET."
    )


def _filled(rows: list[list[Any]]) -> list[list[Any]]:
    """Rows with some content, from the first column that has any to the last."""
    filled = [row for row in rows if any(cell != "" for cell in row)]
    used = [[j for j, cell in enumerate(row) if cell != ""] for row in filled]
    first, last = min((places[0] for places in used), default=0), max((places[-1] for places in used), default=0)
    return [row[first : last + 1] for row in filled]


def _word(cell: Any) -> str:
    """A cell as text: whole numbers without a point."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**63:
        return str(int(cell))
    return str(cell)


def write(path: Path, header: list[str], columns: list[list[Any]]) -> None:
    """Write columns, that of the names first, as the one sheet of a workbook."""
    openpyxl = package("openpyxl", EXTRA, "Writing a workbook")
    rows, width = len(columns[0]), len(columns)
    if rows >= 1 << 20 or width > 1 << 14:
        raise DataError(
            f"A sheet of a workbook holds 1048575 rows below its header and 16384 columns; this table has {rows} and "
            f"{width}. Write another format."
        )
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("table")
    sheet.append([_cell(openpyxl, sheet, name) for name in header])
    for row in zip(*columns, strict=True):
        sheet.append([_cell(openpyxl, sheet, value) if isinstance(value, str) else value for value in row])
    book.save(path)


def _cell(openpyxl: Any, sheet: Any, text: str) -> Any:
    """A text that stays text: one that begins with `=` is no formula, and a sign that XML lacks is spelt out.

    Workbooks spell such signs as `_x000D_` (ECMA-376 part 1, 22.4.2.4 bstr); so a name that looks like it is spelt too.
    """
    spelt = re.sub(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f]", lambda sign: f"_x{ord(sign[0]):04X}_", text)
    if len(spelt) > LONGEST:
        raise DataError(f"A cell of a workbook holds {LONGEST} signs, fewer than the name `{spelt[:40]} ...` has.")
    cell = openpyxl.cell.WriteOnlyCell(sheet, value=spelt)
    cell.data_type = "s"
    return cell
