"""Read a table from a file or standard input, whatever its format, told by its content.

A table is rows of named samples by named columns. Numbers stay numbers, labels stay text, names are always text.
Arrow imports pandas, which takes long, to convert a value of Python or numpy: names and numbers do without.
Every fault of a file is a DataError that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, counted, some
from plncli.tables import formats, mothur, qiime
from plncli.tables.columnar import MAGIC, read_columnar
from plncli.tables.content import File
from plncli.tables.numbers import with_missing, with_numbers
from plncli.tables.sparse import Sparse
from plncli.tables.table import Drop, Table
from plncli.tables.text import MISSING, NUMBER, looks_like_id, read_text, values_of

if TYPE_CHECKING:
    import pyarrow as pa


ABOUT_SAMPLES = ("covariates", "weights", "cluster")
"""Options that ask a file of samples × features what it says of its samples, not for the matrix."""


def read_table(
    path: str, option: str, *, sample_names: bool = True, unnamed: bool = False, na_values: Sequence[str] = ()
) -> Table:
    """Read the table that an option names by its path: `-` is standard input, `path::part` a sheet or layer of it.

    With `sample_names` False every column is data and samples are numbered from 1, in formats that can lack names; so
    they are with `unnamed` where the first column holds no names, for entries repeat.
    na_values: entries that are missing, beside those that always are.
    """
    file = formats.open_file(path, option)
    matrix = formats.read_matrix(file, about=option in ABOUT_SAMPLES)
    if matrix is not None:
        return with_missing(_of_matrix(matrix, file, option), na_values)
    data, name = file.data, file.name
    sheet = formats.sheet_text(file, option)
    if sheet is not None:
        data, name = sheet[0], f"{name}::{sheet[1]}" if file.part else name
    part, loose = "" if sheet else file.part, False
    if bytes(data[:8]).startswith(MAGIC):
        if part:
            raise DataError(f"{name} has no parts, so there is no `{part}` in it.")
        header, cells, notes, types = read_columnar(data, name, sample_names)
    else:
        header, cells, notes, types = read_text(data, name, option, sample_names, part, na_values)
        name, loose = f"{name}::{part}" if part else name, True
    header = [unicodedata.normalize("NFC", label) for label in header]
    corner = header[0] if sample_names and header else ""
    declared = {header[j]: kind for j, kind in types.items()}
    dropped: tuple[Drop, ...] = ()
    if mothur.is_shared(header):
        dropped, corner, sample_names = (mothur.beside_counts(header, name),), header[1], True
        header, cells = [header[1], *header[3:]], cells.select([1, *range(3, len(header))])
    samples, header, cells, more = _split_names(header, cells, name, sample_names, unnamed)
    header, cells = _tidy(header, cells, name)
    check_names(header, name, option)
    if loose:
        cells = with_numbers(cells, [name in declared for name in header])  # arrow takes one within blanks for text
    notes = [*notes, *(drop.reason for drop in dropped), *more]
    table = Table(name, option, samples, tuple(header), cells, file.sha256, tuple(notes), corner, dropped=dropped)
    return as_declared(with_missing(replace(table, types=declared), na_values))


def as_declared(table: Table) -> Table:
    """The table with columns of the types that its file declares; DataError names what is no number among numbers."""
    cells = table.cells
    for label, kind in table.types.items():
        at = table.columns.index(label)
        if kind == qiime.NUMERIC and not isinstance(cells, Sparse):
            cells = cells.set_column(at, str(at), _declared_numbers(table, at))
    return replace(table, cells=cells)


def _declared_numbers(table: Table, at: int) -> pa.ChunkedArray:
    """A column of texts as the numbers that it is declared to hold."""
    import numpy as np
    import pyarrow as pa

    from plncli.tables.writing import number_column

    words = table.cells.column(at).to_pylist()
    wrong = [i for i, word in enumerate(words) if word is not None and not re.fullmatch(NUMBER, str(word), re.ASCII)]
    if wrong:
        entries = some((f"`{words[i]}` (sample {table.samples[i]})" for i in wrong), 3)
        it = "it" if len(wrong) == 1 else "them"
        raise DataError(
            f"Column `{table.columns[at]}` of {table.name} is declared numeric (`{qiime.TYPES_LINE}`), but holds "
            f"{counted(len(wrong), 'entry')} that {'is no number' if len(wrong) == 1 else 'are no numbers'}: "
            f"{entries}. Correct {it}, leave {it} empty, or declare the column categorical."
        )
    values = values_of(words)
    whole = None not in values and all(isinstance(value, int) for value in values)
    numbers = np.array([float("nan") if value is None else value for value in values], np.int64 if whole else float)
    return pa.chunked_array([number_column(numbers)])


def _of_matrix(matrix: formats.Matrix, file: File, option: str) -> Table:
    """The table that a matrix of samples × features is, or what its file says of the samples."""
    if matrix.values is None:
        if matrix.about is None:
            raise DataError(f"{file.name} says nothing of its samples besides their names. --{option} needs a table.")
        return replace(table_of(matrix.about, option, file.name), sha256=file.sha256)
    samples, header = (tuple(map(composed, names)) for names in (matrix.samples, matrix.features))
    nameless = [str(i) for i, label in enumerate(samples, 1) if not label]
    if nameless:
        raise DataError(
            f"{file.name} has {counted(len(nameless), 'sample')} without a name: number {some(nameless)}. Name them."
        )
    if len(set(samples)) < len(samples):
        raise DataError(duplicates(samples, file.name))
    check_names(header, file.name, option)
    name = f"{file.name}::{file.part}" if file.part else file.name
    facts = {name: {composed(feature): text for feature, text in known.items()} for name, known in matrix.facts.items()}
    table = Table(name, option, samples, header, Sparse(matrix.values), file.sha256, matrix.notes, "", matrix.hint)
    return replace(table, about=matrix.about, facts=facts)


def table_of(frame: Any, option: str, name: str = "", na_values: Sequence[str] = (), *, unnamed: bool = False) -> Table:
    """The table that a pandas DataFrame or Series is, as if it had been read from a file: its index names the samples.

    name: how messages call it, by its option unless given; na_values: entries that are missing.

    Levels of categories are sorted, as those of a file are. DataError as for files. With `unnamed`, an index that
    repeats is none: samples are numbered from 1.
    """
    import pandas as pd
    import pyarrow as pa

    name = name or f"`{option}`"
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(option if frame.name is None else frame.name)
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{name} must be a pandas DataFrame or Series, but is of the type {type(frame).__name__}.")
    header = [composed(label) for label in frame.columns]
    if not len(frame) or not header:
        raise DataError(f"{name} is empty: it has {counted(len(frame), 'row')} and {counted(len(header), 'column')}.")
    frame, declared = _directives_apart(frame, header, name)
    if unnamed and not frame.index.is_unique:
        frame = frame.reset_index(drop=True).set_axis(range(1, len(frame) + 1))
    frame, declared = _with_labels(frame, header, declared)
    samples = _index(frame.index, name)
    columns = [_arrow(frame.iloc[:, j], label, name) for j, label in enumerate(header)]
    cells = pa.Table.from_arrays(columns, names=[str(j) for j in range(len(columns))])
    header, cells = _tidy(header, cells, name)
    check_names(header, name, option)
    notes = []
    first = cells.column(0)
    numbered = isinstance(frame.index, pd.RangeIndex) and pa.types.is_string(first.type)
    if numbered and not first.null_count and len(first.unique()) == len(first):
        hint = f"its index only numbers the rows. If `{header[0]}` names the samples, use .set_index({header[0]!r})."
        if option in ("counts", "given"):
            raise DataError(f"Column `{header[0]}` of {name} is text, and {hint}")
        notes.append(f"Column `{header[0]}` of {name} has another text in each row, and {hint}")
    corner = "" if frame.index.name is None else str(frame.index.name)
    table = Table(name, option, samples, tuple(header), cells, notes=tuple(notes), corner=corner)
    return as_declared(with_missing(replace(table, types=declared), na_values))


def _with_labels(frame: Any, header: Sequence[str], declared: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """A data frame whose categories are texts, and the types of its columns, which these declare."""
    import pandas as pd

    at = [j for j, kind in enumerate(frame.dtypes) if isinstance(kind, pd.CategoricalDtype)]
    if not at:
        return frame, declared
    frame = frame.copy(deep=False)
    for j in at:
        frame.isetitem(j, frame.iloc[:, j].map(str, na_action="ignore").astype(object))
    return frame, declared | {header[j]: qiime.CATEGORICAL for j in at}


def _directives_apart(frame: Any, header: Sequence[str], name: str) -> tuple[Any, dict[str, str]]:
    """A data frame without rows that QIIME 2's metadata begin with, and the types that they declare, by column.

    Such rows are there where a file was read as any other.
    """
    if frame.index.nlevels > 1:
        return frame, {}
    labels = [str(label) for label in frame.index]
    marked = [i for i, label in enumerate(labels) if qiime.is_directive(label)]
    if not marked:
        return frame, {}
    rows = frame.iloc[marked].fillna("").astype(str).to_numpy().tolist()
    lines = [["", *header], *([labels[i], *row] for i, row in zip(marked, rows, strict=True))]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t").writerows(lines[1:])
    found = qiime.read_metadata(lines[0], text.getvalue(), "\t", name, 1, ())
    declared = {header[j - 1]: kind for j, kind in found.types.items()}
    kept = frame.iloc[[i for i in range(len(frame)) if i not in marked]].copy()
    for j in (header.index(label) for label in declared):
        kept.isetitem(j, kept.iloc[:, j].map(str, na_action="ignore").astype(object))
    if not len(kept):
        raise DataError(f"{name} is empty: it has no row besides `{labels[marked[0]]}`.")
    return kept, declared


def composed(label: object) -> str:
    """A name as text without outer blanks, letters with accents in their composed form."""
    return unicodedata.normalize("NFC", str(label).strip())


def _index(index: Any, name: str) -> tuple[str, ...]:
    """The names of the samples: unique texts, for numbers their digits."""
    if index.nlevels > 1:
        raise DataError(f"The index of {name} has {index.nlevels} levels; it names the samples, by one.")
    samples = tuple(map(composed, index))
    bad = [str(i) for i, missing in enumerate(index.isna().tolist(), 1) if missing or not samples[i - 1]]
    if bad:
        raise DataError(
            f"The index of {name} names the samples, but is empty in {counted(len(bad), 'row')}: {some(bad)}."
        )
    twice = [f"{label} ({times} times)" for label, times in Counter(samples).items() if times > 1]
    if twice:
        raise DataError(
            f"The index of {name} has {counted(len(twice), 'sample name')} more than once: {some(twice)}. "
            "It names the samples: make each name unique."
        )
    return samples


def _arrow(column: Any, label: str, name: str) -> pa.ChunkedArray:
    """A column of a data frame; DataError for one of several kinds of values."""
    import pyarrow as pa

    try:
        made = pa.Array.from_pandas(column)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"Column `{label}` of {name} is neither numbers nor text throughout: {reason}.") from None
    return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])


# Names and types, whatever the format


def _split_names(
    header: list[str], cells: pa.Table, name: str, named: bool, unnamed: bool = False
) -> tuple[tuple[str, ...], list[str], pa.Table, list[str]]:
    """Sample names apart from the columns of data; numbers from 1 when there is no column of names."""
    import pyarrow.compute as pc

    if not cells.num_rows:
        raise DataError(f"{name} has a header but no rows. A row per sample is needed.")
    numbered = tuple(map(str, range(1, cells.num_rows + 1)))
    if not named:
        if not header[0] and cells.num_columns > 1:
            raise DataError(
                f"The first column of {name} has no header, as the row names have that R writes: leave out "
                "--no-sample-names. Where they are no names, --match position takes rows in the same order."
            )
        return numbered, header, cells, []
    labels, whole = trimmed(cells.column(0)), cells
    if not all(labels.to_pylist()):
        nameless = pc.fill_null(pc.equal(labels, ""), True)
        for column in cells.columns[1:]:
            nameless = pc.and_(nameless, pc.is_null(column))
        cells, labels = (column.filter(pc.invert(nameless)) for column in (cells, labels))  # rows without any content
    bad = [str(i) for i, label in enumerate(labels.to_pylist(), 1) if not label]
    if bad:
        raise DataError(
            f"{name} has {counted(len(bad), 'row')} without a sample name (the first column is empty or NA): "
            f"number {some(bad)} below the header. Name them, or use --no-sample-names if there is no column of names."
        )
    rest = header[1:]
    if not any(rest) and cells.num_columns <= 2:
        raise DataError(
            f"{name} has one column only, `{header[0]}`, and the first column is the sample names. "
            f"Check its separator, or use --no-sample-names if it has no column of names."
        )
    samples = tuple(labels.to_pylist())
    suspicious = header[0] and not looks_like_id(header[0]) and all(label.isdigit() for label in samples)
    if len(set(samples)) < len(samples):
        if unnamed:
            note = f"`{header[0]}`, the first column of {name}, repeats: it is taken as data, not as sample names."
            return numbered, header, whole, [note]
        raise DataError(duplicates(samples, name))
    first = (
        f"The first column of {name}, `{header[0]}`, is taken as sample names; if it is data, use --no-sample-names."
    )
    return samples, rest, cells.remove_column(0), [first] if suspicious else []


def duplicates(samples: Sequence[str], name: str) -> str:
    """Message for sample names that occur more than once."""
    twice = [f"{label} ({times} times)" for label, times in Counter(samples).items() if times > 1]
    if all(re.fullmatch(NUMBER, label) for label in samples):
        remedy = "They are all numbers: if the table has no column of sample names, use --no-sample-names."
    else:
        remedy = "The first column names the samples: make each name unique."
    return f"{name}: {counted(len(twice), 'sample name')} used more than once: {some(twice)}. {remedy}"


def _tidy(header: list[str], cells: pa.Table, name: str) -> tuple[list[str], pa.Table]:
    """Columns in one of the four types, under unique positions; unnamed empty columns at the end are left out."""
    import pyarrow as pa

    width = len(header)
    while width and not header[width - 1] and cells.column(width - 1).null_count == cells.num_rows:
        width -= 1
    header = header[:width]
    columns = [plain(column, label, name) for label, column in zip(header, cells.columns, strict=False)]
    return header, pa.Table.from_arrays(columns, names=[str(i) for i in range(width)])


def plain(column: pa.ChunkedArray, label: str, name: str) -> pa.ChunkedArray:
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
    column = trimmed(column)
    missing = pc.is_in(column, pa.array(MISSING))
    return pc.if_else(missing, None, column) if pc.any(missing).as_py() else column


def trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without outer blanks, letters with accents in their composed form: the same word is the same bytes."""
    import pyarrow.compute as pc

    return pc.utf8_normalize(pc.utf8_trim_whitespace(column), form="NFC")


def check_names(header: Sequence[str], name: str, option: str) -> None:
    """Refuse tables without columns, unnamed columns, and names that occur twice."""
    if not header:
        raise DataError(
            f"{name} has no columns besides the sample names. Check its separator and that --{option} names "
            "the right file."
        )
    empty = [str(i) for i, label in enumerate(header, 1) if not label]
    if empty:
        raise DataError(
            f"{name} has {counted(len(empty), 'column')} without a name: number {some(empty)} after the sample "
            "names. Name them in the first line, and remove any title above it."
        )
    twice = [label for label, times in Counter(header).items() if times > 1]
    if twice:
        raise DataError(
            f"{name}: {counted(len(twice), 'column name')} used more than once: {some(twice)}. Make each name unique."
        )
