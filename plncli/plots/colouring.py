"""Covariates of the samples of a fit, read again from their table: by which samples are coloured or put in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from plncli.errors import DataError, PlncliError, counted, nearest, some
from plncli.models.abilities import Clustering
from plncli.plots.source import Source
from plncli.runs.run import Run
from plncli.tables.table import frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Colouring:
    """A covariate of the n samples: (n,) numbers, nan where missing; or, with levels, (n,) their codes, −1 missing."""

    name: str
    values: np.ndarray = field(repr=False)
    levels: tuple[str, ...] = ()


def covariates(run: Run) -> dict[str, bool]:
    """Columns of the covariates that the formula names, in its order, and whether each is a factor."""
    columns = (run.design.get("x") or {}).get("columns", {})
    return {name: bool(levels) or name in run.coefficients.levels for name, levels in columns.items()}


def of_the_formula(source: Source) -> Colouring | None:
    """The first factor of the formula, where its table can be read again."""
    factor = next((name for name, has_levels in covariates(source.run).items() if has_levels), None)
    if factor is None:
        return None
    try:
        return colouring(source, factor)
    except PlncliError:  # a picture without colours is better than none
        return None


def of_the_clusters(source: Source) -> Colouring | None:
    """The clusters of a fit, where it has found any."""
    fitted = source.run.fitted
    if not isinstance(fitted, Clustering) or len(fitted.groups) < 2:
        return None
    return Colouring("cluster", fitted.tau.argmax(1).numpy(), fitted.groups)


def colouring(source: Source, name: str) -> Colouring:
    """A column of the covariates, for the samples of the fit in their order. DataError for one that is not there."""
    import pandas as pd

    column = columns(source, [name])[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return Colouring(name, column.cat.codes.to_numpy(), tuple(map(str, column.cat.categories)))
    return Colouring(name, column.to_numpy(dtype=float))


def columns(source: Source, names: Sequence[str]) -> pd.DataFrame:
    """Columns of the covariates, a row a sample of the fit, texts as categories; what the fit took as levels, too."""
    import pandas as pd

    if not names:
        return pd.DataFrame(index=list(source.run.samples or source.data.samples))
    table = source.covariates
    for name in names:
        if name not in table.columns:
            raise DataError(
                f"{table.name} has no column `{name}` to colour by: it has {some(table.columns)}."
                f"{nearest(name, table.columns)}"
            )
    samples = source.run.samples or source.data.samples
    row_of = {sample: row for row, sample in enumerate(table.samples)}
    absent = [sample for sample in samples if sample not in row_of]
    if absent:
        raise DataError(f"{table.name} lacks {counted(len(absent), 'sample')} of {source.run.place}: {some(absent)}.")
    made = frame(table.take(np.array([row_of[sample] for sample in samples])), list(names))
    levels = (source.run.design.get("x") or {}).get("columns", {})
    for name in names:
        if levels.get(name) and not isinstance(made[name].dtype, pd.CategoricalDtype):
            made[name] = made[name].map(str, na_action="ignore")
        if made[name].dtype == object or pd.api.types.is_bool_dtype(made[name]):
            made[name] = made[name].astype("category")
    made.index = list(samples)
    return made
