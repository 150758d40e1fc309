"""A table in a Parquet file whose rows stay there, and are read by blocks, each time that they are asked for."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from plncli.dataset import Names
from plncli.errors import DataError, counted, some
from plncli.settings import split_part
from plncli.tables.columnar import check_kinds, damaged, index_columns, is_text
from plncli.tables.reading import check_names, duplicates, plain, trimmed
from plncli.tables.table import Table
from plncli.tables.text import looks_like_id

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MAGIC = b"PAR1"
BUFFER = 1 << 20
"""Bytes of a column that are read at a time."""

T = TypeVar("T")


class Block(NamedTuple):
    """Some rows, from the place `first` on, as a table of the columns that were asked for."""

    first: int
    table: Table


@dataclass(frozen=True)
class StoredTable:
    """A table of n rows in a Parquet file.

    columns: without that of the sample names, which is `named`, empty where rows are numbered; labels: of the columns
    in the file; stamp: size and time of the file when it was opened; span: the rows that are read, from and up to.
    """

    path: Path
    option: str
    n: int
    columns: tuple[str, ...]
    named: str
    corner: str
    notes: tuple[str, ...]
    labels: dict[str, str] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    stamp: tuple[int, int] = field(repr=False)
    span: tuple[int, int] = field(repr=False)

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(self.path)

    def blocks(self, columns: Sequence[str], rows: int, *, names: bool = False) -> Iterator[Block]:
        """All rows, so many at a time; one block is read while another is worked on.

        names: whether the names of the samples are there, where they are no numbers.
        """
        return _ahead(self._blocks(columns, rows, names and bool(self.named)))

    def _blocks(self, columns: Sequence[str], rows: int, names: bool) -> Iterator[Block]:
        import pyarrow as pa

        wanted = [*([self.named] if names else []), *(self.labels[name] for name in columns)]
        first = self.span[0]
        for cells in self._batches(wanted, rows):
            made = [_plain(column, label, self.name) for column, label in zip(cells.columns, wanted, strict=True)]
            samples: Sequence[str] = _named(made.pop(0), first, self.name) if names else _Numbers(first, cells.num_rows)
            table = pa.Table.from_arrays(made, names=[str(j) for j in range(len(made))])
            if not columns:
                table = pa.table({})
            yield Block(first, Table(self.name, self.option, samples, tuple(columns), table))  # type: ignore[arg-type]
            first += cells.num_rows

    def _batches(self, labels: Sequence[str], rows: int) -> Iterator[Any]:
        """Tables of columns of the file as they are in it; DataError where it has changed, or cannot be read."""
        import pyarrow as pa

        start, stop = self.span
        try:
            if _stamp(self.path) != self.stamp:
                raise DataError(f"{self.name} has changed while it was read. Begin anew.")
            if not labels:
                yield from (_Empty(min(rows, stop - i)) for i in range(start, stop, rows))
                return
            with _opened(self.path, self.texts) as file:
                groups, before = _groups(file.metadata, start, stop)
                for batch in file.iter_batches(rows, row_groups=groups, columns=list(labels), use_threads=False):
                    batch.validate(full=True)
                    low, high = max(start - before, 0), min(stop - before, batch.num_rows)
                    before += batch.num_rows
                    if low < high:
                        yield pa.Table.from_batches([batch.slice(low, high - low)]).select(list(labels))
        except (pa.ArrowException, OSError) as error:
            raise damaged(self.name, error) from None

    def share(self, own: int, number: int) -> StoredTable:
        """One of so many runs of its rows, each of which is read alone."""
        return replace(self, span=(self.n * own // number, self.n * (own + 1) // number))

    def whole(self, columns: Sequence[str], kept: np.ndarray | None = None) -> Table:
        """Some columns in memory, of the rows that are kept: to say what is wrong with them."""
        import pyarrow as pa

        tables, samples = [], []
        for first, table in self._blocks(columns, 1 << 16, names=bool(self.named)):
            mask = None if kept is None else kept[first : first + len(table.samples)]
            at = range(len(table.samples)) if mask is None else mask.nonzero()[0].tolist()
            samples += [table.samples[i] for i in at]
            tables.append(table.cells if mask is None else filtered(table, mask))
        return Table(self.name, self.option, tuple(samples), tuple(columns), pa.concat_tables(tables))

    def check_samples(self, rows: int) -> None:
        """DataError where two rows have the same name; of each a hash is kept, and names of those that are alike."""
        import numpy as np
        from pandas.util import hash_array

        if not self.named:
            return
        hashes = np.empty(self.n, np.uint64)
        for first, table in self.blocks((), rows, names=True):
            words = np.array(table.samples, dtype=object)
            hashes[first : first + len(words)] = hash_array(words, categorize=False)
        order = np.sort(hashes)
        twice = np.unique(order[1:][order[1:] == order[:-1]])
        if not len(twice):
            return
        alike: Counter[str] = Counter()
        for first, table in self.blocks((), rows, names=True):
            at = np.flatnonzero(np.isin(hashes[first : first + len(table.samples)], twice))
            alike.update(table.samples[i] for i in at.tolist())
        repeated = [name for name, times in alike.items() for _ in range(times) if times > 1]
        if repeated:
            raise DataError(duplicates(repeated, self.name))

    def names(self, kept: np.ndarray | None) -> StoredNames:
        """The names of the rows that are kept, looked up when they are asked for."""
        return StoredNames(self, kept)

    def name_of(self, row: int) -> str:
        """The name of a row of the file."""
        if not self.named:
            return str(row + 1)
        with _opened(self.path, ()) as file:
            first = 0
            for group in range(file.metadata.num_row_groups):
                many = file.metadata.row_group(group).num_rows
                if row < first + many:
                    column = file.read_row_group(group, columns=[self.named]).column(0)
                    return str(_labels(column.slice(row - first, 1))[0])
                first += many
        raise IndexError(row)


@dataclass(frozen=True)
class StoredNames(Names):
    """Names of the rows of a table that are kept (all: None)."""

    table: StoredTable = field(repr=False)
    kept: np.ndarray | None = field(repr=False)

    def __len__(self) -> int:
        return self.table.n if self.kept is None else int(self._before[-1])

    @cached_property
    def _before(self) -> np.ndarray:
        """Rows that are kept before each of equal stretches of the table, and in all."""
        import numpy as np

        assert self.kept is not None
        ends = [int(np.count_nonzero(self.kept[i : i + STRETCH])) for i in range(0, self.table.n, STRETCH)]
        return np.cumsum([0, *ends])

    def row(self, place: int) -> int:
        """The row of the table in which the sample at a place is."""
        import numpy as np

        if self.kept is None:
            return place
        stretch = int(np.searchsorted(self._before, place, side="right")) - 1
        first = stretch * STRETCH
        inner = np.flatnonzero(self.kept[first : first + STRETCH])
        return first + int(inner[place - self._before[stretch]])

    def name(self, place: int) -> str:
        """The name of a sample."""
        return self.table.name_of(self.row(place))

    def __iter__(self) -> Iterator[str]:
        import numpy as np

        kept, named = self.kept, bool(self.table.named)
        for first, block in self.table.blocks((), STRETCH, names=named):
            many = len(block.samples)
            at = np.arange(many) if kept is None else kept[first : first + many].nonzero()[0]
            yield from (block.samples[i] for i in at.tolist()) if named else map(str, (at + first + 1).tolist())


STRETCH = 1 << 16
"""Rows whose names are looked up at a time."""


class _Numbers(Names):
    """Numbers of rows as names, from the row at a place on."""

    def __init__(self, first: int, number: int) -> None:
        self.first, self.number = first, number

    def __len__(self) -> int:
        return self.number

    def name(self, place: int) -> str:
        return str(self.first + place + 1)


class _Empty(NamedTuple):
    """A table without columns."""

    num_rows: int
    columns: tuple[Any, ...] = ()


def filtered(table: Table, mask: np.ndarray) -> pa.Table:
    """The cells of the rows of a block where a mask (b,) is True."""
    import pyarrow as pa

    assert isinstance(table.cells, pa.Table)
    return table.cells.filter(pa.array(mask))


def opened(path: str, option: str, *, sample_names: bool) -> StoredTable | None:
    """The table of a Parquet file as it lies there; None where the path names no such file, or unnamed columns.

    sample_names: whether a column of them is looked for, as `read_table` does.
    """
    name, part = split_part(path)
    place = Path(name)
    if part or name == "-" or not place.is_file():
        return None
    with place.open("rb") as file:
        if file.read(4) != MAGIC:
            return None
    import pyarrow as pa

    try:
        with _opened(place, ()) as parquet:
            schema, n = parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(name, error) from None
    check_kinds(schema, name)
    header = [unicodedata.normalize("NFC", str(label)) for label in schema.names]
    index = index_columns(schema)
    if not n or not header or len(index) > 1 or not all(header) or len(set(header)) < len(header):
        return None  # which is said of it whole
    first, named = header.index(index[0]) if index else 0, ""
    notes: tuple[str, ...] = ()
    others = [label for i, label in enumerate(header) if not index or i != first]
    if sample_names and not index and not is_text(schema.field(0).type) and not looks_like_id(header[0]):
        notes = (
            f"{name} has no sample names (no index, and its first column `{header[0]}` is not text): its rows "
            "are numbered from 1.",
        )
    elif sample_names:
        named, others = schema.names[first], [label for i, label in enumerate(header) if i != first]
    check_names(others, name, option)
    labels = dict(zip(header, map(str, schema.names), strict=True))
    texts = tuple(field.name for field in schema if pa.types.is_string(field.type))
    corner = header[first] if named else ""
    return StoredTable(place, option, n, tuple(others), named, corner, notes, labels, texts, _stamp(place), (0, n))


def _opened(path: Path, texts: Sequence[str]) -> Any:
    """The file, columns of which are read in pieces, texts by reference."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, read_dictionary=list(texts), buffer_size=BUFFER, pre_buffer=False)


def _groups(told: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows from `start` up to `stop`, and where the first of them begins."""
    groups: list[int] = []
    first = begin = 0
    for group in range(told.num_row_groups):
        last = first + told.row_group(group).num_rows
        if first < stop and last > start:
            begin = begin if groups else first
            groups.append(group)
        first = last
    return groups, begin


def _stamp(path: Path) -> tuple[int, int]:
    known = os.stat(path)  # noqa: PTH116
    return known.st_size, known.st_mtime_ns


def _plain(column: pa.ChunkedArray, label: str, name: str) -> pa.ChunkedArray:
    """A column in one of the four types; of texts by reference each is looked at once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        return plain(column, label, name)
    chunks = [
        pc.take(plain(pa.chunked_array([chunk.dictionary]), label, name).combine_chunks(), chunk.indices)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.string())


def _labels(column: pa.ChunkedArray) -> list[str | None]:
    """Names of samples as text."""
    import pyarrow as pa

    found: list[str | None] = trimmed(column.cast(pa.string())).to_pylist()
    return found


def _named(column: pa.ChunkedArray, first: int, name: str) -> tuple[str, ...]:
    """Names of the rows from the place `first` on; DataError where one has none."""
    import pyarrow as pa

    labels = _labels(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    bad = [str(first + i) for i, label in enumerate(labels, 1) if not label]
    if bad:
        raise DataError(
            f"{name} has {counted(len(bad), 'row')} without a sample name (the first column is empty or NA): "
            f"number {some(bad)} below the header. Name them, or use --no-sample-names if there is no column of names."
        )
    return tuple(map(str, labels))


def _ahead(blocks: Iterator[T]) -> Iterator[T]:
    """The same, the next of which is made while one is worked on."""
    with ThreadPoolExecutor(1, "plncli-blocks") as pool:
        waiting = pool.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = pool.submit(next, blocks, None)
            yield block
