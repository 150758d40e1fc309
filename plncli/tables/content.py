"""The bytes of a file or of standard input, unpacked: content tells what they are, whatever the name of the file."""

from __future__ import annotations

import io
import lzma
import mmap
import os
import stat
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.errors import DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

READABLE = "Text tables, Parquet, Feather, Excel, AnnData (.h5ad, .zarr), BIOM, Matrix Market and 10x files are read."
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
FOREIGN = {
    b"%PDF": "a PDF document",
    b"FEA1": "a Feather file of version 1; write it again with a current pandas or arrow (version 2)",
}
STEP = 1 << 24
"""Bytes that are unpacked at a time."""
"""Stands between the path of a file and the part of it that is meant: a sheet, a layer."""


class Content(NamedTuple):
    """A table as its file holds it. `names` are those of all columns; types: declared, by the number of the column."""

    names: list[str]
    cells: pa.Table
    notes: list[str]
    types: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class File:
    """A file that was found and unpacked.

    name: how messages call it; part: what stands after `::`; data: its content; path: where that lies as it is, None
    for standard input and compressed files; beside: files that belong to it (lists of samples and of features).
    """

    name: str
    part: str
    data: memoryview = field(repr=False)
    path: Path | None = None
    sha256: str = ""
    beside: tuple[Path, ...] | None = None


def read_bytes(path: str, option: str) -> bytes | mmap.mmap:
    """The bytes of a file, mapped into memory rather than read where that is possible; `-` is standard input."""
    if path == "-":
        data = sys.stdin.buffer.read()
        if not data:
            raise DataError(
                f"Standard input is empty, but --{option} - reads a table from it. Pipe one in: cat table.csv "
                "| plncli ..."
            )
        return data
    try:
        with Path(path).open("rb") as file:
            info = os.fstat(file.fileno())
            if stat.S_ISREG(info.st_mode) and info.st_size:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            data = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.{_sibling(path)} Check the path given to --{option}.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, and --{option} needs a file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}. Check the path given to --{option}.") from None
    if not data:
        raise DataError(f"{path} is empty. --{option} needs a table with a header line and a line per sample.")
    return data


def _sibling(path: str) -> str:
    """A sentence naming the file of the same folder whose name is closest, its endings left aside; or nothing."""
    stem = Path(path).name.partition(".")[0]
    try:
        names = sorted(file.name for file in Path(path).parent.iterdir())
    except OSError:
        return ""
    return nearest(Path(path).name, [name for name in names if nearest(stem, [name.partition(".")[0]])])


def unpack(raw: bytes | mmap.mmap, name: str) -> memoryview:
    """The content of a compressed file, or the bytes as they are; refuses kinds of file that are no tables."""
    head = bytes(raw[:8])
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{name} is not a table that can be read: it is {what}. {READABLE}")
    kind = next((kind for magic, kind in COMPRESSED.items() if head.startswith(magic)), None)
    if kind is None:
        return memoryview(raw)
    most, data = most_bytes(), bytearray()
    try:
        with _opened(raw, kind) as stream:
            while len(data) <= most and (piece := stream.read(STEP)):
                data += piece
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{name} is damaged: it cannot be unpacked as {kind} ({error}). It may be cut short; fetch or "
            "write it again."
        ) from None
    refuse_large(len(data), name)
    if not data:
        raise DataError(f"{name} is empty once unpacked. A table with a header line and a line per sample is needed.")
    return memoryview(data).toreadonly()


def _opened(raw: bytes | mmap.mmap, kind: str) -> Any:
    """A gzip, bz2, xz or zstd file, open for reading what it holds."""
    if kind == "zstd":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.BufferReader(raw), "zstd")
    if kind == "gzip":
        from gzip import GzipFile

        return GzipFile(fileobj=io.BytesIO(raw))
    if kind == "bz2":
        from bz2 import BZ2File

        return BZ2File(io.BytesIO(raw))
    return lzma.LZMAFile(io.BytesIO(raw))


def most_bytes() -> int:
    """Bytes that one table may take: half of the machine's memory; 16 GB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return 1 << 34


def refuse_large(size: int, name: str) -> None:
    """DataError where the content of a file, of `size` bytes, is more than the memory can take."""
    if size > most_bytes():
        raise DataError(
            f"{name} holds more than {most_bytes() / 2**30:.3g} GB once unpacked, half of this machine's memory. It is "
            "damaged, or needs a larger machine."
        )
