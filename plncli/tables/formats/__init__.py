"""The formats of the field besides text, Parquet and Feather: told by content, one file for each.

A matrix comes with names on both sides and stays sparse; a sheet of a workbook is read as text.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from plncli.errors import DataError
from plncli.settings import split_part
from plncli.tables.content import File, read_bytes, refuse_large, unpack
from plncli.tables.formats import biom, excel, h5ad, market, tenx, zarr
from plncli.tables.formats.base import OBS, Matrix, hdf5, reading

__all__ = ["Matrix", "digest", "open_file", "read_matrix", "sheet_text"]

ZIP = b"PK\x03\x04"
ARTIFACT = "/data/feature-table.biom"


def open_file(path: str, option: str) -> File:
    """Find a file, or standard input for `-`, and unpack it; a folder stands for the matrix in it."""
    name, part = split_part(path)
    if name == "-":
        raw = read_bytes(name, option)
        return File("standard input", part, unpack(raw, "standard input"), sha256=hashlib.sha256(raw).hexdigest())
    if zarr.is_one(Path(name)):
        return File(name, part, memoryview(b""), Path(name), digest(Path(name)))
    main, *beside = files_of(Path(name))
    raw = read_bytes(str(main) if beside else name, option)
    data = unpack(raw, name)
    sha256 = digest(Path(name)) if beside else hashlib.sha256(raw).hexdigest()
    whole = data.obj is raw and main.is_file()
    return File(name, part, data, main if whole else None, sha256, tuple(beside) or None)


def files_of(path: Path) -> Sequence[Path]:
    """The file itself, or those of a store; for a matrix without names, or its folder, the lists of its names too."""
    if zarr.is_one(path):
        return zarr.files(path)
    matrix = market.in_folder(path) if os.path.isdir(path) else path  # noqa: PTH112 (never raises)
    there = market.is_one(matrix) and os.path.isfile(matrix)  # noqa: PTH113
    return (matrix, *market.lists(matrix)) if there else (path,)


def lies_at(path: Path) -> bool:
    """Whether there is a file or a folder, of which there is an end: not a device, and not a pipe."""
    return path.is_file() or path.is_dir()


def digest(path: Path) -> str:
    """SHA-256 of a file; of several that belong together, that of the lines that `sha256sum` prints of them."""
    sums, folder = [], path if path.is_dir() else path.parent
    for each in files_of(path):
        with each.open("rb") as file:
            sums.append((hashlib.file_digest(file, "sha256").hexdigest(), each.relative_to(folder).as_posix()))
    if len(sums) == 1:
        return sums[0][0]
    return hashlib.sha256("".join(f"{found}  {name}\n" for found, name in sums).encode()).hexdigest()


def read_matrix(file: File, *, about: bool = False) -> Matrix | None:
    """What a file of samples × features holds, or only what it says `about` its samples; None for other files."""
    head = bytes(file.data[:64])
    kind: Callable[[File], Matrix]
    if file.path is not None and zarr.is_one(file.path):
        kind = zarr.read
    elif head.startswith(market.MAGIC):
        kind = market.read
    elif head.startswith(b"\x89HDF"):
        kind = _in_hdf5(file)
    elif head.startswith(ZIP):
        inner = _in_artifact(file)
        if inner is None:
            return None
        kind, file = biom.read, inner
    elif head.lstrip().startswith(b"{"):
        kind = biom.read
    else:
        return None
    if about and not file.part:
        file = replace(file, part=OBS)
    matrix = kind(file)
    return matrix._replace(values=None) if file.part == OBS else matrix


def sheet_text(file: File, option: str) -> tuple[memoryview, str] | None:
    """A sheet of a workbook as text, and its name; None where the file is no workbook."""
    head = bytes(file.data[:8])
    return excel.as_text(file, option) if head.startswith((ZIP, b"\xd0\xcf\x11\xe0")) else None


def _in_hdf5(file: File) -> Callable[[File], Matrix]:
    """What reads an HDF5 file; DataError where nothing does."""
    with reading(file, "an HDF5 file"), hdf5(file) as opened:
        made = next((kind for kind in (h5ad, biom, tenx) if kind.is_one(opened)), None)
        inside = ", ".join(list(opened)[:5])
    if made is None:
        raise DataError(
            f"{file.name} is an HDF5 file, but neither AnnData, nor BIOM, nor of 10x Genomics: it holds {inside}."
        )
    return made.read


def _in_artifact(file: File) -> File | None:
    """The BIOM table of a QIIME 2 artifact; None for other archives that may be workbooks; DataError for the rest."""
    with reading(file, "a zip archive"), zipfile.ZipFile(BytesIO(file.data)) as archive:
        members = {member.filename: member for member in archive.infolist()}
        refuse_large(sum(member.file_size for member in members.values()), file.name)
        table = next((name for name in members if name.endswith(ARTIFACT)), None)
        if table is not None:
            return replace(file, path=None, data=memoryview(archive.read(members[table])))
        if any(name.endswith("metadata.yaml") for name in members):
            raise DataError(
                f"{file.name} is a QIIME 2 artifact, but holds no feature table. Give one of the type "
                "FeatureTable[Frequency]."
            )
        if not any(name.startswith("xl/") or name == "content.xml" for name in members):
            raise DataError(f"{file.name} is a zip archive, and no workbook or QIIME 2 artifact. Unpack it.")
    return None
