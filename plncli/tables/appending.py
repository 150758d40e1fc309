"""Files of tables that come by blocks of rows: what `writing.table_bytes` makes of them whole, never held at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from plncli.tables.writing import separated, text_bytes

Append = Callable[[pa.Table], None]


@contextmanager
def by_blocks(path: Path, suffix: str, names: Iterable[str]) -> Iterator[Append]:
    """Write a file that is not there yet, to which blocks of rows are added; names: all texts that will be in it.

    Each block is a row group of a Parquet file, and a batch of a Feather file.
    """
    with path.open("xb") as file:
        if suffix in ("parquet", "feather"):
            writer = _Binary(file, suffix)
            yield writer.add
            writer.close()
        else:
            yield _Text(file, suffix, quoted=separated(names)).add
        file.flush()
        os.fsync(file.fileno())


class _Binary:
    """A Parquet or Feather file."""

    def __init__(self, file: Any, suffix: str) -> None:
        self.file, self.suffix = file, suffix
        self.writer: Any = None

    def add(self, table: pa.Table) -> None:
        if self.writer is None and self.suffix == "parquet":
            self.writer = parquet.ParquetWriter(self.file, table.schema)
        elif self.writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self.writer = pa.ipc.new_file(self.file, table.schema, options=options)
        self.writer.write_table(table)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class _Text:
    """A delimited file."""

    def __init__(self, file: Any, suffix: str, *, quoted: bool) -> None:
        self.file, self.suffix, self.quoted, self.begun = file, suffix, quoted, False

    def add(self, table: pa.Table) -> None:
        self.file.write(text_bytes(table, self.suffix, header=not self.begun, quoted=self.quoted))
        self.begun = True
