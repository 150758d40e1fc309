"""The .h5 files of 10x Genomics' Cell Ranger: barcodes are the samples, features (once: genes) the features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plncli.errors import DataError, nearest, some
from plncli.tables.content import File
from plncli.tables.formats.base import OBS, Matrix, hdf5, held, package, reading, rows_of, words
from plncli.tables.sparse import CSR

EXTRA = "10x"
PARTS = ("data", "indices", "indptr", "shape", "barcodes")


def _tables(opened: Any) -> list[str]:
    """The groups that hold a matrix: `matrix`, in old files one for each genome."""
    return [name for name, group in opened.items() if hasattr(group, "items") and all(part in group for part in PARTS)]


def is_one(opened: Any) -> bool:
    """Whether an open HDF5 file is one of Cell Ranger."""
    return bool(_tables(opened))


def read(file: File) -> Matrix:
    """The matrix, or that of the genome which is asked for; features are named by their ids, which are unique."""
    from scipy import sparse

    with reading(file, "an .h5 file of Cell Ranger"), hdf5(file) as opened:
        known = _tables(opened)
        asked = "" if file.part == OBS else file.part
        name = asked or known[0]
        if name not in known or (not asked and len(known) > 1):
            what = f"has no part `{name}`" if asked else "has several genomes"
            raise DataError(
                f"{file.name} {what}.{nearest(name, known) if asked else ''} Choose one by {file.name}::NAME: "
                f"there are {some(known)}."
            )
        group = opened[name]
        held(file, group)
        p, n = (int(size) for size in group["shape"][()])
        columns = tuple(group[part][()] for part in ("data", "indices", "indptr"))
        values = sparse.csr_array(columns, shape=(n, p))
        ids = group["features"]["id"] if "features" in group else group["genes"]
        kinds = words(group["features"]["feature_type"][()]) if "features" in group else []
        barcodes, features = words(group["barcodes"][()]), words(ids[()])
        values = rows_of(values, barcodes, features, file.name)
    return Matrix(barcodes, features, values, None, told_kinds(file.name, kinds))


def told_kinds(name: str, kinds: list[str]) -> tuple[str, ...]:
    """A sentence where features are of several kinds, such as genes and antibodies."""
    many = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    if len(many) < 2:
        return ()
    found = some(f"{number} of {kind}" for kind, number in many.items())
    return (f"The features of {name} are of {len(many)} kinds ({found}); choose some with --features FILE.",)


def write(path: Path, samples: list[str], features: list[str], values: CSR, *_: Any) -> None:
    """Write a file as Cell Ranger 3 does; it has no place for what is known of samples and features."""
    import numpy as np

    h5py = package("h5py", EXTRA, "Writing an .h5 file")
    whole = bool((np.floor(values.data) == values.data).all()) and bool((np.abs(values.data) < 2**31).all())
    text = h5py.string_dtype()
    with h5py.File(path, "w") as opened:
        group = opened.create_group("matrix")
        group["barcodes"] = np.array(samples, dtype=object).astype(text)
        group["data"] = values.data.astype(np.int32 if whole else np.float64)
        group["indices"], group["indptr"] = values.indices.astype(np.int64), values.indptr.astype(np.int64)
        group["shape"] = np.array(values.shape[::-1], dtype=np.int32)
        named = group.create_group("features")
        for key in ("id", "name"):
            named[key] = np.array(features, dtype=object).astype(text)
        named["feature_type"] = np.array(["Gene Expression"] * len(features), dtype=object).astype(text)
