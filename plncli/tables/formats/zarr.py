"""AnnData as zarr stores: folders (cells.zarr) that hold what an .h5ad file does, in pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plncli.tables.content import File, refuse_large
from plncli.tables.formats import blosc, h5ad
from plncli.tables.formats.base import Matrix, package, reading

EXTRA = "anndata"
MARKS = ("zarr.json", ".zgroup")
"""Files, one of which a store has, by its version."""
BLOSC = ("Blosc", "BloscCodec")
"""The codec, in stores of either version."""


def is_one(path: Path) -> bool:
    """Whether a folder is a store."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def files(path: Path) -> Sequence[Path]:
    """The files of a store, in order."""
    return sorted(file for file in path.rglob("*") if file.is_file())


def read(file: File) -> Matrix:
    """As an .h5ad file."""
    zarr = package("zarr", EXTRA, f"{file.name} is a zarr store. Reading it")
    with reading(file, "a zarr store of AnnData"):
        opened = zarr.open_group(file.path, mode="r")
        return h5ad.matrix(file, opened, lambda *parts: _held(file, parts))


def _held(file: File, parts: Sequence[Any]) -> None:
    """DataError where parts of a store hold more than the memory does."""
    inside = [each for part in parts if hasattr(part, "members") for _, each in part.members(max_depth=None)]
    arrays = [each for each in (*parts, *inside) if hasattr(each, "shape")]
    refuse_large(sum(math.prod(array.shape) * max(array.dtype.itemsize, 1) for array in arrays), file.name)
    for array in arrays:
        _check_pieces(file, array)


def _check_pieces(file: File, array: Any) -> None:
    """ValueError where pieces of an array that are packed by Blosc are damaged, or have another size than it says."""
    codecs = array.compressors if hasattr(array, "compressors") else (array.compressor,)  # zarr 2 has one
    if not any(type(codec).__name__ in BLOSC for codec in codecs):
        return
    typed = array.dtype.kind in "biuf" and not array.filters
    size = math.prod(array.chunks) * array.dtype.itemsize if typed else None
    assert file.path is not None
    for piece in files(Path(file.path) / array.path):
        if not piece.name.startswith(".z") and piece.name != "zarr.json":
            blosc.check(piece.read_bytes(), size)
