"""Columns and tables on their way out, in the formats that are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
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
        delimiter = "," if suffix == "csv" else "\t"
        header = io.StringIO()
        csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
        sink.write(header.getvalue().encode())
        quoting = "needed" if _has_separators(table) else "none"  # "needed" alone quotes every text
        options = pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style=quoting)
        pa_csv.write_csv(table, sink, options)
    return sink.getvalue()


def _has_separators(table: pa.Table) -> bool:
    """Whether a text of the table holds what a delimited file must put in quotes."""
    columns = [column for column in table.columns if pa.types.is_string(column.type)]
    return any(pc.any(pc.match_substring_regex(column, r'[,\t"\r\n]')).as_py() for column in columns)
