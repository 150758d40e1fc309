"""The same table of counts as the programs of the field write it, each by its own library."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import biom
import h5py
import numpy as np
import openpyxl
import pandas as pd
from scipy import io as matrices
from scipy import sparse

Writer = Callable[[Path, pd.DataFrame, "pd.DataFrame | None"], Path]


def h5ad(form: Callable[[np.ndarray], Any], suffix: str = "h5ad") -> Writer:
    """AnnData whose X is of some form, a file or a zarr store; what is known of the samples is obs."""

    def write(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
        with pd.option_context("future.infer_string", False):
            obs = pd.DataFrame(index=pd.Index(list(counts.index), dtype=object))
            for name in () if about is None else about.columns:
                column = about[name].array
                if isinstance(column, pd.Categorical):
                    levels = pd.Index(list(column.categories), dtype=object)
                    column = pd.Categorical.from_codes(column.codes, levels)
                elif pd.api.types.is_string_dtype(column.dtype):
                    column = np.array(list(column), dtype=object)
                obs[name] = column
            var = pd.DataFrame(index=pd.Index(list(counts.columns), dtype=object))
            made = anndata.AnnData(X=form(counts.to_numpy()), obs=obs, var=var)
            (made.write_zarr if suffix == "zarr" else made.write_h5ad)(folder / f"t.{suffix}")
        return folder / f"t.{suffix}"

    return write


def records(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    """AnnData as before 0.7: obs and var are arrays of records, levels of categories stand in uns."""
    with h5py.File(folder / "t.h5ad", "w") as opened:
        for key, names in (("obs", counts.index), ("var", counts.columns)):
            texts = [name.encode() for name in names]
            columns = [("index", f"S{max(map(len, texts))}", texts)]
            for name in about.columns if key == "obs" and about is not None else ():
                column = about[name]
                if pd.api.types.is_numeric_dtype(column):
                    columns.append((name, "f8", column.to_numpy(float, na_value=np.nan)))
                else:
                    levels = sorted(set(column.dropna()))
                    columns.append((name, "i1", [levels.index(word) if word in levels else -1 for word in column]))
                    opened[f"uns/{name}_categories"] = [level.encode() for level in levels]
            made = np.zeros(len(names), dtype=[(name, kind) for name, kind, _ in columns])
            for name, _, values in columns:
                made[name] = values
            opened[key] = made
        opened["X"] = counts.to_numpy(np.float32 if counts.to_numpy().max() < 2**24 else np.float64)
    return folder / "t.h5ad"


def _biom(counts: pd.DataFrame, about: pd.DataFrame | None) -> Any:
    facts = None if about is None else about.astype(object).where(about.notna(), None).to_dict("records")
    facts = facts and [{key: "" if value is None else str(value) for key, value in each.items()} for each in facts]
    matrix = sparse.csr_matrix(counts.to_numpy(float).T)
    return biom.Table(matrix, list(counts.columns), list(counts.index), sample_metadata=facts)


def biom_hdf5(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    with h5py.File(folder / "t.biom", "w") as opened:
        _biom(counts, about).to_hdf5(opened, "a test")
    return folder / "t.biom"


def biom_json(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    (folder / "t.biom").write_text(_biom(counts, about).to_json("a test"), encoding="utf-8")
    return folder / "t.biom"


def qza(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    """A QIIME 2 artifact."""
    table = biom_hdf5(folder, counts, about).read_bytes()
    with zipfile.ZipFile(folder / "t.qza", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0a/VERSION", "QIIME 2\narchive: 5\n")
        archive.writestr("0a/metadata.yaml", "type: FeatureTable[Frequency]\nformat: BIOMV210DirFmt\n")
        archive.writestr("0a/data/feature-table.biom", table)
    return folder / "t.qza"


def tenx(version: int) -> Writer:
    """Cell Ranger's .h5: version 3 has one matrix, version 2 a group of genes for each genome."""

    def write(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
        columns = sparse.csc_matrix(counts.to_numpy().T)
        features = np.array([name.encode() for name in counts.columns])
        with h5py.File(folder / "t.h5", "w") as opened:
            group = opened.create_group("matrix" if version == 3 else "hg19")
            group["barcodes"] = [name.encode() for name in counts.index]
            for key in ("data", "indices", "indptr"):
                group.create_dataset(key, data=getattr(columns, key).astype("i8"), compression="gzip")
            group["shape"] = np.array(columns.shape, dtype="i4")
            if version == 3:
                for key in ("id", "name"):
                    group[f"features/{key}"] = features
                group["features/feature_type"] = [b"Gene Expression"] * len(features)
            else:
                group["genes"] = group["gene_names"] = features
        return folder / "t.h5"

    return write


def folder_10x(*, packed: bool = False, end: str = "\n", features: str = "features.tsv") -> Writer:
    """The folder of matrix.mtx with its lists."""

    def write(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
        stream = io.BytesIO()
        matrices.mmwrite(stream, sparse.coo_matrix(counts.to_numpy(np.int64).T))
        contents = {
            "matrix.mtx": stream.getvalue(),
            "barcodes.tsv": "".join(f"{name}{end}" for name in counts.index).encode(),
            features: "".join(f"{name}\tname\tGene Expression{end}" for name in counts.columns).encode(),
        }
        for name, content in contents.items():
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
        return folder

    return write


def xlsx(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    """A workbook, with what is known of the samples in a second sheet."""
    book = openpyxl.Workbook()
    for title, frame in (("counts", counts), ("covariates", about)):
        if frame is None:
            continue
        sheet = book.active if title == "counts" else book.create_sheet()
        sheet.title = title
        sheet.append(["id", *frame.columns])
        for name, row in zip(frame.index, frame.astype(object).itertuples(index=False), strict=True):
            sheet.append([name, *(None if pd.isna(value) else value for value in row)])
        for row in sheet.iter_rows():
            for cell in row:
                cell.data_type = "s" if isinstance(cell.value, str) else cell.data_type  # `=a` is a name
    book.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def csv(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    counts.to_csv(folder / "t.csv", quoting=2)
    return folder / "t.csv"


def parquet(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    counts.to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def feather(folder: Path, counts: pd.DataFrame, about: pd.DataFrame | None) -> Path:
    counts.reset_index(names="sample").to_feather(folder / "t.feather")
    return folder / "t.feather"


WRITERS: dict[str, Writer] = {
    "csv": csv,
    "parquet": parquet,
    "feather": feather,
    "h5ad": h5ad(np.asarray),
    "h5ad of csr": h5ad(sparse.csr_matrix),
    "h5ad of csc": h5ad(sparse.csc_matrix),
    "h5ad of records": records,
    "zarr": h5ad(np.asarray, "zarr"),
    "zarr of csr": h5ad(sparse.csr_matrix, "zarr"),
    "biom 2.1": biom_hdf5,
    "biom 1.0": biom_json,
    "qza": qza,
    "10x v3": tenx(3),
    "10x v2": tenx(2),
    "10x folder": folder_10x(),
    "10x folder, packed": folder_10x(packed=True),
    "10x folder, old": folder_10x(features="genes.tsv", end="\r\n"),
    "xlsx": xlsx,
}
ABOUT = ("h5ad", "h5ad of csr", "h5ad of records", "zarr of csr", "biom 2.1", "biom 1.0", "qza", "xlsx")
"""Formats that also say what the samples are."""
