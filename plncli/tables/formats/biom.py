"""BIOM tables, 1.0 (JSON) and 2.1 (HDF5), alone or in a QIIME 2 artifact (McDonald et al. 2012, GigaScience 1:7)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from plncli.errors import DataError
from plncli.tables.content import File
from plncli.tables.formats.base import Facts, Matrix, hdf5, held, no_part, package, reading, rows_of, words
from plncli.tables.sparse import CSR
from plncli.tables.text import values_of

EXTRA = "biom"
TAXONOMY = "taxonomy"


def is_one(opened: Any) -> bool:
    """Whether an open HDF5 file is a BIOM table."""
    return "observation" in opened and "sample" in opened


def read(file: File) -> Matrix:
    """The table, observations being the features."""
    no_part(file, "a BIOM table")
    with reading(file, "a BIOM table"):
        in_hdf5 = bytes(file.data[:4]) == b"\x89HDF"
        samples, features, values, metadata, told = _in_hdf5(file) if in_hdf5 else _in_json(file)
        values, about = rows_of(values, samples, features, file.name), _about(metadata, samples)
        facts = _facts(told, features)
    if not samples or not features:
        raise DataError(f"{file.name} is empty: it has {len(samples)} samples and {len(features)} features.")
    return Matrix(samples, features, values, about, facts=facts)


def _in_hdf5(file: File) -> tuple[list[str], list[str], Any, Any, Any]:
    """Samples, features, n×p values, and what is known of each sample and each feature, of version 2.1."""
    biom = package("biom", EXTRA, f"{file.name} is a BIOM table. Reading it")
    with hdf5(file) as opened:
        held(file, opened["observation"], opened["sample"])
        table = biom.Table.from_hdf5(opened)
    samples, features = (words(table.ids(axis=axis)) for axis in ("sample", "observation"))
    known, told = (table.metadata(axis=axis) for axis in ("sample", "observation"))
    return samples, features, table.matrix_data.T, known, told


def _in_json(file: File) -> tuple[list[str], list[str], Any, Any, Any]:
    """The same of version 1.0: values are a list of [feature, sample, value], or dense."""
    import numpy as np
    from scipy import sparse

    made = json.loads(bytes(file.data))
    if not {"rows", "columns", "data", "shape"} <= set(made):
        raise DataError(f"{file.name} is JSON, but no BIOM table, which has rows, columns, data and a shape.")
    samples, features = (words(each["id"] for each in made[axis]) for axis in ("columns", "rows"))
    values: Any = np.array(made["data"], dtype=np.float64)
    if made.get("matrix_type") != "dense":
        rows, columns, entries = values.reshape(-1, 3).T
        if (rows % 1).any() or (columns % 1).any():
            raise DataError(f"{file.name} is damaged: it has an entry that is at no whole number. Fetch it again.")
        values = sparse.coo_array((entries, (rows.astype(np.int64), columns.astype(np.int64))), shape=made["shape"])
    known, told = ([each.get("metadata") for each in made[axis]] for axis in ("columns", "rows"))
    return samples, features, values.T, known, told


def _about(metadata: Any, samples: list[str]) -> Any:
    """Data frame of the metadata of the samples, texts of numbers as numbers; None where there is none."""
    import pandas as pd

    if metadata is None or not any(metadata):
        return None
    keys = dict.fromkeys(key for facts in metadata for key in facts or {})
    told = {key: values_of([(facts or {}).get(key) for facts in metadata]) for key in keys}
    return pd.DataFrame(told, index=samples, dtype=object)


def _facts(metadata: Any, features: list[str]) -> dict[str, dict[str, str]]:
    """What is said of the features, by key: a text by feature, of a list its parts with semicolons between."""
    told: dict[str, dict[str, str]] = {}
    for feature, facts in zip(features, metadata or (), strict=False):
        for key, value in (facts or {}).items():
            text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            if value is not None and text:
                told.setdefault(str(key), {})[feature] = text
    return told


def write(path: Path, samples: list[str], features: list[str], values: CSR, about: Any, facts: Facts) -> None:
    """Write a table of version 2.1; with the suffix .json one of version 1.0."""
    biom = package("biom", EXTRA, "Writing a BIOM table")
    from scipy.sparse import csr_matrix

    metadata = None if about is None else about.astype(object).where(about.notna(), None).to_dict("records")
    if metadata is not None:
        metadata = [{key: str(value) for key, value in facts.items() if value is not None} for facts in metadata]
    told = [{key: _told(key, known.get(feature)) for key, known in facts.items()} for feature in features]
    table = biom.Table(csr_matrix(values.T), features, samples, told if facts else None, metadata, type="OTU table")
    if path.suffix == ".json":
        text = io.StringIO()
        table.to_json("plncli", direct_io=text)
        path.write_text(text.getvalue(), encoding="utf-8")
        return
    h5py = package("h5py", EXTRA, "Writing a BIOM table")
    with h5py.File(path, "w") as opened:
        table.to_hdf5(opened, "plncli")


def _told(key: str, text: str | None) -> Any:
    """What is said of a feature, as BIOM has it: a lineage is a list of taxa."""
    if key == TAXONOMY and text is not None:
        return [part.strip() for part in text.split(";")]
    return text
