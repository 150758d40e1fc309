"""Tables in Parquet and Feather files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plncli.errors import DataError, some
from plncli.files.content import Content
from plncli.files.text import looks_like_id

if TYPE_CHECKING:
    import pyarrow as pa

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
    if not index and not _is_text(cells.column(0).type) and not looks_like_id(header[0]):
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
    import json

    import pyarrow as pa

    try:
        if bytes(data[:4]) == b"PAR1":
            import pyarrow.parquet as pq

            cells = pq.ParquetFile(pa.BufferReader(data)).read()
        else:
            cells = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{name} is damaged: it starts like Parquet or Feather but cannot be read ({reason}). Write or "
            "fetch it again."
        ) from None
    try:
        stored = json.loads((cells.schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, TypeError, KeyError):  # not by pandas
        stored = []
    return cells, [column for column in stored if isinstance(column, str) and column in cells.column_names]


def _is_text(kind: pa.DataType) -> bool:
    """Whether values are text, as they are or by reference."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
