"""Tables in Parquet and Feather files."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from plncli.errors import DataError, short, some
from plncli.tables.content import Content, refuse_large
from plncli.tables.ipc import declared
from plncli.tables.text import looks_like_id

if TYPE_CHECKING:
    import pyarrow as pa

CELL = 8
"""Bytes that a cell takes at least, once it is a number."""
MAGIC = (b"PAR1", b"ARROW1")


def read_columnar(data: memoryview, name: str, named: bool) -> Content:
    """The content; when `named`, the column of sample names comes first and is text."""
    import pyarrow as pa

    cells, index = _read(data, name)
    if len(index) > 1:
        raise DataError(
            f"{name} has an index of {len(index)} levels ({some(index)}); one column of sample names is "
            "needed. Reset the index before writing it."
        )
    header = [str(column) for column in cells.column_names]
    first = header.index(index[0]) if index else 0
    others = [i for i in range(len(header)) if i != first]
    if not named:
        shown = others if index else range(len(header))
        return Content([header[i] for i in shown], cells.select(list(shown)), [])
    if not header or not cells.num_rows:
        return Content(header, cells, [])
    if not index and not is_text(cells.column(0).type) and not looks_like_id(header[0]):
        note = (
            f"{name} has no sample names (no index, and its first column `{header[0]}` is not text): its rows "
            "are numbered from 1."
        )
        numbers = pa.array(map(str, range(1, cells.num_rows + 1)))
        return Content(["", *header], cells.add_column(0, "", numbers), [note])
    header, cells = [header[i] for i in (first, *others)], cells.select([first, *others])
    cells = cells.set_column(0, header[0], cells.column(0).cast(pa.string()))
    return Content(header, cells, [])


def _read(data: memoryview, name: str) -> tuple[pa.Table, list[str]]:
    """All columns, and the names of those that pandas stored as the index."""
    import pyarrow as pa

    try:
        cells = _parquet(data, name) if bytes(data[:4]) == b"PAR1" else _feather(data, name)
        _refuse_long(cells, name)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise damaged(name, error) from None
    return cells, index_columns(cells.schema)


def index_columns(schema: pa.Schema) -> list[str]:
    """The columns that pandas stored as the index."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, TypeError, KeyError):  # not by pandas
        return []
    return [column for column in stored if isinstance(column, str) and column in schema.names]


def damaged(name: str, error: Exception) -> DataError:
    """Of a file that begins like one of them."""
    reason = (str(error) or "an error").splitlines()[0]
    return DataError(
        f"{name} is damaged: it starts like Parquet or Feather but cannot be read ({reason}). Write or fetch it again."
    )


def _parquet(data: memoryview, name: str) -> pa.Table:
    """The columns of a Parquet file, texts by reference, as they may be many times as long as the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.ParquetFile(pa.BufferReader(data))
    told = whole.metadata
    check_kinds(whole.schema_arrow, name)
    # Of row groups, for pyarrow ends the process where it is asked about columns whose description is damaged.
    size = sum(told.row_group(g).total_byte_size for g in range(told.num_row_groups))
    refuse_large(max(CELL * told.num_rows * told.num_columns, size), name)
    texts = [field.name for field in whole.schema_arrow if pa.types.is_string(field.type)]
    cells = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts).read()
    cells.validate(full=True)
    return cells


def _feather(data: memoryview, name: str) -> pa.Table:
    """The columns of a Feather file, whose texts and references all lead into it."""
    import pyarrow as pa

    with pa.ipc.open_file(pa.BufferReader(data)) as whole:
        check_kinds(whole.schema, name)
        told = declared(data)
        refuse_large(max(told.size, CELL * told.cells), name)
        cells = whole.read_all()
    cells.validate(full=True)
    return cells


def check_kinds(schema: pa.Schema, name: str) -> None:
    """DataError for columns that hold tables of their own, or repeat a value without saying it."""
    import pyarrow as pa

    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind) or pa.types.is_dictionary(kind):
            raise DataError(
                f"{name}: column `{field.name}` holds {short(str(kind), 80)}, which is neither numbers nor text. Leave "
                "it out or convert it."
            )


def _refuse_long(cells: pa.Table, name: str) -> None:
    """DataError where texts that are kept by reference would not fit into memory as they are."""
    refuse_large(sum(_length(chunk) for column in cells.columns for chunk in column.chunks), name)


def _length(chunk: pa.Array) -> int:
    """Bytes of the texts of a column that keeps them by reference, written out; 0 for other columns."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(chunk.type):
        if not pa.types.is_string(chunk.type.value_type):
            return _length(chunk.dictionary) * len(chunk)
        return pc.sum(pc.binary_length(chunk.dictionary).cast(pa.int64()).take(chunk.indices)).as_py() or 0
    if pa.types.is_string_view(chunk.type) and len(chunk):
        views = np.frombuffer(chunk.buffers()[1], np.int32)[4 * chunk.offset :: 4][: len(chunk)]
        return int(views.sum(dtype=np.int64))
    return 0


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text, as they are or by reference."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
