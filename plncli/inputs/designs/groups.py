"""Groups in a design: a column of the covariates each of whose labels has a mean of its own, and no intercept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plncli.errors import DataError, FormulaError, UsageError, counted, nearest, some
from plncli.inputs.designs.kinds import SHARE
from plncli.inputs.formula import Formula
from plncli.settings import FitConfig, option
from plncli.tables.sparse import Sparse
from plncli.tables.table import Table


def group_column(config: FitConfig) -> str:
    """The column that is named; nothing for models without groups."""
    named = [config.own[setting.name] for setting in config.spec.settings if setting.grouping == "column"]
    return str(named[0]) if named and named[0] else ""


def labelled(config: FitConfig, tables: dict[str, Table]) -> dict[str, Table]:
    """The tables with that column as texts: groups may be numbered. DataError for numbers that are no labels."""
    name, covariates = group_column(config), tables.get("covariates")
    if not name or covariates is None or name not in covariates.columns:
        return tables
    return tables | {"covariates": as_labels(covariates, name)}


def as_labels(table: Table, name: str) -> Table:
    """A table with a column of whole numbers as texts. DataError for other numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert not isinstance(table.cells, Sparse)  # covariates
    place = table.columns.index(name)
    column = table.cells.column(place)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return table
    if pc.all(pc.equal(column, pc.floor(column))).as_py() is False:
        raise DataError(
            f"Column `{name}` of {table.name} holds numbers such as {_fraction(column)}, which are no labels of "
            "groups. Name another column, or cut it into classes first."
        )
    return replace(table, cells=table.cells.set_column(place, str(place), column.cast(pa.int64()).cast(pa.string())))


def _fraction(column: Any) -> str:
    return next(f"{value:g}" for value in column.to_pylist() if value is not None and value != int(value))


def with_groups(config: FitConfig, formula: Formula, tables: Mapping[str, Table]) -> Formula:
    """The formula with the groups in the place of the intercept, or as it is for models without groups.

    All else is in interactions with them where each group has coefficients of its own.

    DataError where there is no such column, or the formula has it already.
    """
    name, covariates, flag = group_column(config), tables.get("covariates"), _option(config)
    if not name:
        return formula
    if covariates is None:
        raise UsageError(f"{flag} {name} names a column of the covariates, and none are given. Add --covariates FILE.")
    if name not in covariates.columns:
        raise DataError(
            f"{flag} {name}: {covariates.name} has no such column.{nearest(name, covariates.columns)} Its columns are: "
            f"{some(covariates.columns, 20)}."
        )
    if name in formula.columns:
        raise FormulaError(
            f"The formula `{formula.text}` has `{name}`, which {flag} names as the groups: these are in the model "
            "already. Take it out of the formula."
        )
    if set(name) & set("[]`'\"\\") or name in ("1", "~"):
        raise DataError(f"{flag} {name}: a column of that name cannot stand in a formula; rename it.")
    code = f"`{name}`"
    own = f"{code}:({formula.rhs} - 1)" if _own_coefficients(config) else formula.rhs
    terms = [] if formula.rhs == "1" else [own]
    return replace(formula, rhs=" + ".join([code, *terms]) + " - 1", columns=(name, *formula.columns))


def _own_coefficients(config: FitConfig) -> bool:
    """Whether each group has coefficients of all terms of its own."""
    return any(config.own.get(one.name) for one in config.spec.settings if one.grouping == "coefficients")


def check_groups(config: FitConfig, labels: Sequence[str], table: str) -> None:
    """DataError for what are no groups. labels: of the n samples that are used."""
    name, flag = group_column(config), _option(config)
    sizes: dict[str, int] = {}
    for label in labels:
        sizes[label] = sizes.get(label, 0) + 1
    n, what = len(labels), f"Column `{name}` of {table}, which {flag} names,"
    if len(sizes) < 2:
        raise DataError(
            f"{what} has one group only, {some(sizes)}, in the {counted(n, 'sample')}: nothing to tell apart."
        )
    if len(sizes) > SHARE * n:
        raise DataError(
            f"{what} has {len(sizes)} different entries in {counted(n, 'sample')} ({some(sizes, 3)}): nearly every "
            "sample would be a group of its own. Name a column of groups."
        )
    alone = [label for label, size in sizes.items() if size < 2]
    if alone:
        raise DataError(
            f"{what} has {counted(len(alone), 'group')} of a single sample: {some(alone)}. A group needs two samples "
            f"or more. Merge it with another, or leave it out: --filter \"{name} != '{alone[0]}'\"."
        )


def _option(config: FitConfig) -> str:
    return next((option(one.name) for one in config.spec.settings if one.grouping == "column"), "")
