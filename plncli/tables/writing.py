"""Columns and tables on their way out, in the formats that are written."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv as pa_csv
from pyarrow import feather, parquet

FORMATS = ("csv", "tsv", "parquet", "feather")


def number_column(values: Any) -> pa.Array:
    """A column of numbers (n,) in which nan, which is no number, is left empty; ±inf stays.

    Made of its buffer, as texts are below: arrow imports pandas, which takes long, to look at a value of numpy.
    """
    values = np.ascontiguousarray(values)
    made = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
    if values.dtype.kind != "f":
        return made
    return pc.if_else(pc.is_nan(made), pa.nulls(len(values), made.type), made)


def text_column(words: Sequence[str]) -> pa.Array:
    """A column of texts (n,)."""
    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


def table_bytes(table: pa.Table, suffix: str) -> bytes:
    """A table in a format; text formats hold the shortest digits that read back as the same number."""
    sink = io.BytesIO()
    if suffix == "parquet":
        parquet.write_table(table, sink)
    elif suffix == "feather":
        feather.write_feather(table, sink, compression="lz4")
    else:
        return text_bytes(table, suffix, header=True, quoted=_has_separators(table))
    return sink.getvalue()


def text_bytes(table: pa.Table, suffix: str, *, header: bool, quoted: bool) -> bytes:
    """A table as delimited text; quoted: whether texts stand in quotes, as those must that hold separators."""
    sink, delimiter = io.BytesIO(), "," if suffix == "csv" else "\t"
    if header:
        line = io.StringIO()
        csv.writer(line, delimiter=delimiter).writerow(table.column_names)  # quotes what could end a line
        sink.write(line.getvalue().removesuffix("\r\n").encode() + b"\n")
    quoting = "needed" if quoted else "none"  # "needed" alone quotes every text
    options = pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style=quoting)
    pa_csv.write_csv(table, sink, options)
    return sink.getvalue()


def separated(texts: Iterable[str]) -> bool:
    """Whether one of the texts holds what a delimited file must put in quotes."""
    return any(sign in text for text in texts for sign in ',\t"\r\n')


def _has_separators(table: pa.Table) -> bool:
    """Whether a text of the table holds what a delimited file must put in quotes."""
    columns = [column for column in table.columns if pa.types.is_string(column.type)]
    return any(pc.any(pc.match_substring_regex(column, r'[,\t"\r\n]')).as_py() for column in columns)


def corner(what: str, columns: Sequence[str]) -> str:
    """The header of the names of rows: what they are, unless a column is called so."""
    return next(name for name in (what, f"{what}_name", "") if name not in columns)


def with_names(what: str, names: Sequence[str], columns: Sequence[str], cells: Sequence[pa.Array]) -> pa.Table:
    """A table of cells by column whose first column holds the names of the rows, which are a sample each, say."""
    return pa.Table.from_arrays([text_column(names), *cells], names=[corner(what, columns), *columns])


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Columns by name, numbers as arrays (n,) and texts as lists."""
    arrays = [text_column(values) if isinstance(values, list) else number_column(values) for values in columns.values()]
    return pa.Table.from_arrays(arrays, names=list(columns))


def records(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as a list of rows."""
    plain = [values if isinstance(values, list) else values.tolist() for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]


def to_json(content: Any) -> str:
    """JSON, in which what is not a finite number is null."""
    return json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def finite(content: Any) -> Any:
    """The same, with None for what is not a finite number."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content
