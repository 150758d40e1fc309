"""Which tables a configuration names, and what stands for those that it does not name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from plncli.errors import FIRST, DataError, Faults, FormulaError, UsageError, nearest, some
from plncli.inputs.abundances.rounding import rounded
from plncli.inputs.alignment.positions import POSITION
from plncli.inputs.designs.groups import group_column, labelled
from plncli.inputs.formula import left_side
from plncli.inputs.layout.orientation import counts_of
from plncli.inputs.selection import LISTS, read_list
from plncli.models.spec import COUNTS
from plncli.settings import FitConfig, settings, split_part
from plncli.tables.reading import read_table, table_of
from plncli.tables.table import Table

COLUMNS = ("weights", "cluster")  # options that name a table of one column, or a column of the covariates


@dataclass(frozen=True)
class Source:
    """A table that was read: the option that named it, its path, SHA-256 of its bytes, samples × columns."""

    role: str
    path: str
    sha256: str
    shape: tuple[int, int]


def read_tables(config: FitConfig, given: Mapping[str, Table], faults: Faults = FIRST) -> dict[str, Table]:
    """The tables that are given or named by a path, by option; without those whose faults are kept."""
    tables: dict[str, Table] = {}

    def read(option: str, step: Callable[[], Table]) -> None:
        table = faults.attempt(step, None)
        if table is not None:
            tables[option] = table

    known = settings(config.model)
    for option in ("counts", "response", "covariates", "offsets", "exposure", *COLUMNS, *matrix_settings(config)):
        path = config.value(option) if option in known else None
        if not path:
            continue
        if option in given:
            tables[option] = given[option]
            continue
        if option in COLUMNS and not faults.attempt(partial(_names_a_file, option, path, config, tables), None):
            continue
        unnamed = config.match == POSITION and option != main_option(config)
        reading: dict[str, Any] = {
            "sample_names": config.sample_names,
            "unnamed": unnamed,
            "na_values": config.na_values,
        }
        read(option, partial(read_table, path, option, **reading))
        if option == "counts" and config.transpose and option in tables:
            tables[option] = replace(tables[option], about=None)  # which is said of its rows
    if blocks := config.offset_blocks:
        read("offset-blocks", lambda: given.get("offset_blocks") or read_table(blocks, "offset-blocks"))
    for option in LISTS:
        if path := config.value(option) if option in known else None:
            read(option, partial(_list, option, path, given))
    if counts := tables.get("counts"):
        step = partial(_counts, counts, tables, config, faults)
        tables = {**tables, "counts": made} if (made := faults.attempt(step, None)) else _less(tables, "counts")
    tables = faults.attempt(partial(_with_known, config, tables), tables)
    return faults.attempt(partial(labelled, config, tables), tables)


def main_option(config: FitConfig) -> str:
    """The option of the table that says which samples there are."""
    response = config.spec.response
    return response.option if response is COUNTS or config.response else "covariates"


def _counts(counts: Table, tables: Mapping[str, Table], config: FitConfig, faults: Faults) -> Table:
    """The table of counts as samples × features, rounded where that is asked for."""
    made = counts_of(counts, tables, config.transpose, named=config.sample_names, faults=faults)
    return rounded(made) if config.round else made


def _less(tables: Mapping[str, Table], option: str) -> dict[str, Table]:
    return {name: table for name, table in tables.items() if name != option}


def matrix_settings(config: FitConfig) -> tuple[str, ...]:
    """The settings of the model that name a table of responses by responses."""
    return tuple(setting.name for setting in config.spec.settings if setting.matrix)


def _list(option: str, path: str, given: Mapping[str, Table]) -> Table:
    """A list of names that is given, or in a file."""
    return given.get(option) or read_list(path, option)


def _with_known(config: FitConfig, tables: dict[str, Table]) -> dict[str, Table]:
    """With what the file of counts says of its samples as covariates, where some are asked for and none are given."""
    counts = tables.get("counts")
    formulas = (config.formula or "", *config.spec.formulas(config.own).values())
    asked = bool(left_side(config.formula) or config.filter)
    asked = asked or bool(group_column(config))
    asked = asked or any(not re.fullmatch(r"\s*~?\s*[01]?\s*", formula) for formula in formulas)
    asked = asked or any(bool(getattr(config, option)) and option not in tables for option in COLUMNS)
    if not asked or "covariates" in tables or counts is None or counts.about is None:
        return tables
    about = table_of(counts.about, "covariates", counts.name, config.na_values)
    note = f"Covariates are what {counts.name} says of its samples ({some(about.columns, 8)})."
    return tables | {"covariates": replace(about, notes=(*about.notes, note))}


def unread_covariates(config: FitConfig, tables: Mapping[str, Table]) -> bool:
    """Whether covariates were given, maybe by the file of counts, that could not be read or matched."""
    given = config.covariates or (config.spec.response is COUNTS and "counts" not in tables)
    return "covariates" not in tables and bool(given)


def _names_a_file(option: str, name: str, config: FitConfig, tables: dict[str, Table]) -> bool:
    """Whether --weights, say, names a file rather than a column of the covariates, which comes first."""
    covariates = tables.get("covariates")
    if unread_covariates(config, tables):
        return Path(name).is_file()
    if covariates is None and "counts" in tables and tables["counts"].about is not None:
        return name not in tables["counts"].about.columns
    if covariates and name in covariates.columns:
        return False
    if covariates and not Path(split_part(name)[0]).exists() and name != "-":
        hint = nearest(name, covariates.columns)
        raise DataError(f"--{option} {name} is neither a file nor a column of {covariates.name}.{hint}")
    return True


def add_column(config: FitConfig, tables: dict[str, Table], option: str) -> tuple[str, ...]:
    """Put a column of the covariates that --weights, say, names beside the other tables; the name of that column."""
    name, covariates = getattr(config, option), tables.get("covariates")
    if not name or option in tables or covariates is None or name not in covariates.columns:
        return ()
    tables[option] = replace(covariates.select([name]), option=option, notes=())
    return (name,)


def check_response(config: FitConfig, tables: dict[str, Table]) -> None:
    """FormulaError or UsageError unless exactly one place says what is explained."""
    text, left = config.formula or "~ 1", left_side(config.formula).strip("`")
    right = f"~ {text.partition('~')[2].strip()}"
    if config.spec.response is COUNTS:
        if left:
            raise FormulaError(
                f"The formula `{text}` has `{left}` left of `~`, but the counts come from --counts. "
                f"Write what explains them alone: `{right}`."
            )
    elif left and config.response:
        covariates = tables.get("covariates")
        other = f", or leave out --response to explain that column of {covariates.name}" if covariates else ""
        if covariates and left not in covariates.columns:
            other = ""
        raise FormulaError(
            f"The response is given twice: by --response {config.response}, all columns of which are fitted, and left "
            f"of `~` in `{text}`. Write `{right}`{other}."
        )
    elif not left and not config.response:
        name = tables["covariates"].name if "covariates" in tables else config.covariates
        raise UsageError(
            f"The formula `{text}` has no response left of `~`, and there is no --response FILE. "
            f"Write `name ~ ...` with a column of {name}, or give --response."
        )
