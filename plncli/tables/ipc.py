"""How much a Feather (Arrow IPC) file says that it holds, without unpacking any of it.

Arrow takes memory for each buffer as its head says; the layout is that of Message.fbs and File.fbs of Apache Arrow.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

FOOTER = 10  # bytes after it: its length, and ARROW1
DICTIONARY, RECORDS = 2, 3
"""Kinds of messages with buffers; also, of a footer, the fields with their places."""


class Declared(NamedTuple):
    """Bytes of all buffers once unpacked, and cells of all columns."""

    size: int
    cells: int


def declared(data: memoryview) -> Declared:
    """What the batches of a file say. ValueError, or struct.error, where it has no such parts."""
    end = len(data) - FOOTER
    (length,) = struct.unpack_from("<i", data, end)
    footer = _table(data, end - length)
    size = cells = 0
    for field in (DICTIONARY, RECORDS):
        for offset, metadata in _blocks(data, _field(data, footer, field)):
            batch = _batch(data, offset)
            found = (0, 0) if batch is None else _held(data, batch, offset + metadata)
            size, cells = size + found[0], cells + found[1]
    return Declared(size, cells)


def _blocks(data: memoryview, place: int | None) -> list[tuple[int, int]]:
    """Where messages begin, and how long each is without its body."""
    numbers = _numbers(data, place, 3)
    return [(int(offset), int(length) & 0xFFFFFFFF) for offset, length, _ in numbers]


def _batch(data: memoryview, offset: int) -> int | None:
    """The table of a record batch, of a message at an offset; None where it has none."""
    (marker,) = struct.unpack_from("<I", data, offset)
    message = _table(data, offset + (8 if marker == 0xFFFFFFFF else 4))
    kind, header = _field(data, message, 1), _field(data, message, 2)
    if kind is None or header is None:
        return None
    (what,) = struct.unpack_from("<B", data, _inside(kind))
    if what not in (DICTIONARY, RECORDS):
        return None
    table = _table(data, header)
    inner = _field(data, table, 1) if what == DICTIONARY else None
    return table if inner is None else _table(data, inner)


def _held(data: memoryview, batch: int, body: int) -> tuple[int, int]:
    """Bytes and cells of a record batch."""
    nodes, buffers = (_numbers(data, _field(data, batch, k), 2) for k in (1, 2))
    packed = _field(data, batch, 3) is not None
    size = 0
    for offset, length in buffers.tolist():
        whole = struct.unpack_from("<q", data, body + offset)[0] if packed and length else -1
        size += length if whole < 0 else whole
    return size, sum(cells for cells, _ in nodes.tolist())


def _table(data: memoryview, place: int) -> int:
    """Where a table begins to which an offset leads."""
    (offset,) = struct.unpack_from("<I", data, _inside(place))
    return place + int(offset)


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where a field of a table is; None where it has none."""
    (back,) = struct.unpack_from("<i", data, _inside(table))
    (size,) = struct.unpack_from("<H", data, _inside(table - back))
    if 4 + 2 * number >= size:
        return None
    (offset,) = struct.unpack_from("<H", data, _inside(table - back + 4 + 2 * number))
    return table + offset if offset else None


def _numbers(data: memoryview, place: int | None, each: int) -> np.ndarray:
    """A vector of structures of so many int64 (k×each)."""
    if place is None:
        return np.zeros((0, each), np.int64)
    start = _table(data, place)
    (count,) = struct.unpack_from("<I", data, start)
    return np.frombuffer(data, "<i8", count * each, start + 4).reshape(count, each)


def _inside(place: int) -> int:
    if place < 0:
        raise ValueError("It begins before the file does.")
    return place
