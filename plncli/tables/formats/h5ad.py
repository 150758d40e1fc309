"""AnnData files (.h5ad): observations are the samples, variables the features (Virshup et al. 2024, JOSS 9:4371)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from plncli.errors import UNCUT, DataError, nearest, some
from plncli.tables.content import File
from plncli.tables.formats.base import OBS, Facts, Matrix, hdf5, held, package, reading, rows_of, words
from plncli.tables.sparse import CSR

EXTRA = "anndata"


def is_one(opened: Any) -> bool:
    """Whether an open HDF5 file is one of AnnData."""
    return "obs" in opened and "var" in opened


def read(file: File) -> Matrix:
    """X, or the layer that is asked for; `raw` is what AnnData keeps by that name, `X` is X."""
    with reading(file, "an AnnData file"), hdf5(file) as opened:
        return matrix(file, opened, partial(held, file))


def matrix(file: File, opened: Any, held: Callable[..., None]) -> Matrix:
    """What an open file or store holds; held: refuses parts of it that memory does not take."""
    io = package("anndata.io", EXTRA, f"{file.name} is an AnnData file. Reading it")
    layers = list(opened["layers"]) if "layers" in opened else []
    held(opened["obs"])
    obs = _frame(io.read_elem(opened["obs"]), opened)
    samples = words(obs.index)
    if file.part == OBS:
        return Matrix(samples, (), None, obs if len(obs.columns) else None)
    place, names = _place(opened, file, layers)
    held(opened[place], opened[names])
    var = _frame(io.read_elem(opened[names]), opened)
    features = words(var.index)
    values = rows_of(io.read_elem(opened[place]), samples, features, file.name)
    others = [f"`{file.name}::{name}`" for name in (*layers, *(["raw"] if "raw/X" in opened else []))]
    hint = f"Other tables in it are {some(others, width=UNCUT)}." if others and not file.part else ""
    return Matrix(samples, features, values, obs if len(obs.columns) else None, (), hint, _facts(var, features))


def _facts(var: Any, features: list[str]) -> dict[str, dict[str, str]]:
    """What columns of texts say of the features."""
    import pandas as pd

    told = {}
    for name in var.columns:
        column = var[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(column):
            known = zip(features, column.tolist(), column.isna().tolist(), strict=True)
            told[str(name)] = {feature: str(value) for feature, value, missing in known if not missing}
    return told


def _frame(read: Any, opened: Any) -> Any:
    """A data frame as such; before anndata 0.7 it was an array of records, and `uns` held the levels of categories."""
    import numpy as np
    import pandas as pd

    if isinstance(read, pd.DataFrame):
        return read
    columns = {name: read[name] for name in read.dtype.names}
    for name, column in columns.items():
        levels = opened.get(f"uns/{name}_categories")
        if levels is not None:
            columns[name] = pd.Categorical.from_codes(column, words(np.atleast_1d(levels[()])))
        elif column.dtype.kind in "SO":
            columns[name] = np.array(words(column), dtype=object)
    return pd.DataFrame(columns).set_index("index" if "index" in columns else next(iter(columns)))


def _place(opened: Any, file: File, layers: list[str]) -> tuple[str, str]:
    """Where the values are, and the names of their features."""
    part = file.part or "X"
    if part in layers:
        return f"layers/{part}", "var"
    if part == "raw" and "raw/X" in opened:
        return "raw/X", "raw/var"
    if part == "X" and "X" in opened:
        return "X", "var"
    known = [*(["X"] if "X" in opened else []), *layers, *(["raw"] if "raw/X" in opened else [])]
    if not known:
        raise DataError(f"{file.name} holds no table: neither X nor a layer.")
    what = f"has no layer `{part}`" if file.part else "has no X"
    raise DataError(
        f"{file.name} {what}.{nearest(part, known)} Choose a table by {file.name}::NAME: there are {some(known)}."
    )


def write(path: Path, samples: list[str], features: list[str], values: CSR, about: Any, facts: Facts) -> None:
    """Write X, with what is known of the samples in obs and of the features in var."""
    anndata = package("anndata", EXTRA, "Writing an AnnData file")
    import pandas as pd

    def named(names: list[str]) -> Any:
        return pd.DataFrame(index=pd.Index(names, dtype=object))

    obs = named(samples)
    for name in () if about is None else about.columns:
        obs[str(name)] = _writable(about[name])
    var = named(features)
    for name, known in facts.items():
        var[name] = _writable(pd.Series(pd.Categorical([known.get(feature) for feature in features])))
    anndata.AnnData(X=values, obs=obs, var=var).write_h5ad(path, compression="gzip")


def _writable(column: Any) -> Any:
    """A column as anndata writes it whatever the version of pandas: texts as categories that are objects."""
    import pandas as pd

    if not (isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(column)):
        return column.to_numpy()
    made = pd.Categorical(column)
    return pd.Categorical.from_codes(
        made.codes, categories=pd.Index(made.categories.to_numpy(dtype=object), dtype=object)
    )
