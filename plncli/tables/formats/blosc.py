"""Whether a buffer packed by Blosc is sound: its decoder trusts what the buffer says of itself, and may crash.

The format (README_CHUNK_FORMAT of c-blosc): a header of 16 bytes; where each block begins; in each block one stream, or
as many as an item has bytes, each behind its length.
"""

from __future__ import annotations

import struct

HEADER, COPIED, WHOLE = 16, 0x02, 0x10
"""Bytes of the header; flags of what is not compressed, and of blocks that are one stream."""
LARGEST_ITEM, SMALLEST_PART = 16, 128
"""Bytes of an item, and of a stream, beyond and below which a block is one stream."""


def check(data: bytes, size: int | None) -> None:
    """ValueError where a buffer is not sound, or doesn't say that it unpacks to so many bytes, if these are known."""
    if len(data) < HEADER:
        raise ValueError("a packed piece ends in its header")
    version, _, flags, item, unpacked, block, packed = struct.unpack_from("<BBBBIII", data)
    if packed != len(data) or version not in (1, 2) or not item:
        raise ValueError("a packed piece is not as long as it says")
    if size is not None and unpacked != size:
        raise ValueError("a packed piece does not hold what its array says")
    if flags & COPIED:
        if packed != HEADER + unpacked:
            raise ValueError("a packed piece is not as long as it says")
        return
    if unpacked:
        _check_blocks(data, flags, item, unpacked, block)


def _check_blocks(data: bytes, flags: int, item: int, unpacked: int, block: int) -> None:
    """ValueError where the streams of a buffer lead out of it."""
    if not 0 < block <= unpacked:
        raise ValueError("blocks of a packed piece have no size")
    many = -(-unpacked // block)
    first = HEADER + 4 * many
    if first > len(data):
        raise ValueError("a packed piece ends in its header")
    for k, start in enumerate(struct.unpack_from(f"<{many}I", data, HEADER)):
        held = min(block, unpacked - k * block)
        parts = item if not flags & WHOLE and item <= LARGEST_ITEM and block // item >= SMALLEST_PART else 1
        if held < block:
            parts = 1
        for _ in range(parts):
            if not first <= start <= len(data) - 4:
                raise ValueError("a packed piece leads beyond its end")
            (length,) = struct.unpack_from("<i", data, start)
            if not 0 < length <= min(len(data) - start - 4, held // parts):
                raise ValueError("a packed piece leads beyond its end")
            start += 4 + length
