"""The column of groups of new samples, which they need not have: it is what is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, some
from plncli.inputs.designs.groups import as_labels
from plncli.tables.sparse import Sparse
from plncli.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plncli.inputs.matching import Tables
    from plncli.runs.run import Run


def group_column_of(run: Run) -> str:
    """The column of the covariates that named the groups of the fit; nothing where it had none."""
    names = [setting.name for setting in run.spec.settings if setting.grouping == "column"]
    return str(run.settings.get(names[0]) or "") if names else ""


def truth_column(group: str) -> str:
    """What the column of groups is called while another of its name stands for it."""
    return f"{group} (given)"


def with_any_group(tables: Mapping[str, Table], group: str, level: str) -> dict[str, Table]:
    """The tables with a column of groups that says `level` throughout; one that is there is under `truth_column`."""
    import pyarrow as pa

    covariates = tables.get("covariates")
    if covariates is None:
        first = next(iter(tables.values()))
        any_group = pa.table({"0": pa.array([level] * len(first.samples), pa.string())})
        only = Table(first.name, "covariates", first.samples, (group,), any_group, corner=first.corner)
        return {**tables, "covariates": only}
    if group in covariates.columns:
        covariates = as_labels(covariates, group)
        names = tuple(truth_column(group) if name == group else name for name in covariates.columns)
        covariates = replace(covariates, columns=names)
    assert not isinstance(covariates.cells, Sparse)  # covariates
    column = pa.array([level] * len(covariates.samples), pa.string())
    cells = covariates.cells.append_column(f"{len(covariates.columns)}", column)
    return {**tables, "covariates": replace(covariates, columns=(*covariates.columns, group), cells=cells)}


def truth_of(tables: Tables, group: str, known: Sequence[str]) -> tuple[str | None, ...] | None:
    """The groups that the new samples are said to be of, None where that is missing; None without such a column.

    DataError for groups that the fit has not.
    """
    covariates = tables.get("covariates")
    name = truth_column(group)
    if covariates is None or name not in covariates.columns:
        return None
    cells: Any = covariates.cells.column(covariates.columns.index(name))
    truth = tuple(None if value is None else str(value) for value in cells.to_pylist())
    other = list(dict.fromkeys(value for value in truth if value is not None and value not in known))
    if other:
        raise DataError(
            f"Column `{group}` of {covariates.name} holds {some(other)}, which is no group of the fit: "
            f"{some(known, 20)}. Leave such samples out, or take the column out of the table: it is not needed."
        )
    return truth
