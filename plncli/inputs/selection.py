"""The subset of the tables that is fitted: samples by list, condition and depth, features by list and by counts.

Samples come first, so that features are judged by those that are fitted, and types of covariates are decided by them.
Whatever goes is counted and named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from plncli.errors import FIRST, DataError, Faults, UsageError, counted, nearest, some
from plncli.inputs.alignment.spelling import told
from plncli.inputs.filter import holds
from plncli.inputs.matching import Tables
from plncli.settings import FitConfig
from plncli.tables.content import read_bytes, unpack
from plncli.tables.numbers import numeric
from plncli.tables.qiime import CATEGORICAL
from plncli.tables.reading import composed
from plncli.tables.sparse import Sparse
from plncli.tables.table import Drop, Table
from plncli.tables.text import lines_of

if TYPE_CHECKING:
    import numpy as np

LISTS = ("samples", "features")
"""Options that name a list of names."""


def read_list(path: str, option: str) -> Table:
    """A list of names, one a line, as a table without columns; blank lines and lines that begin with `#` do not count.

    DataError for a file that is no text, or holds no name.
    """
    import hashlib

    name = "standard input" if path == "-" else path
    raw = read_bytes(path, option)
    lines = [line for line in lines_of(unpack(raw, name), name) if line.strip() and not line.startswith("#")]
    if any("\0" in line for line in lines):
        raise DataError(f"{name} is no list: --{option} takes a text file (UTF-8) with a name a line.")
    named = [_unquoted(line.strip()) for line in lines]
    return replace(list_of(named, option, name), sha256=hashlib.sha256(raw).hexdigest())


def list_of(names: Collection[object], option: str, name: str = "") -> Table:
    """Names as a table without columns, which messages call `name`; DataError where there are none."""
    import pyarrow as pa

    name = name or f"`{option}`"
    if isinstance(names, str):
        raise DataError(f"{name} is one text; give a list of names.")
    if not len(names):
        raise DataError(f"{name} names nothing: --{option} takes a text file with a name a line.")
    return Table(name, option, tuple(dict.fromkeys(map(composed, names))), (), pa.table({}))


def _unquoted(line: str) -> str:
    """What stands in quotes that open and close a line; else the line."""
    return line[1:-1].replace('""', '"') if re.fullmatch(r'"([^"]|"")+"', line) else line


def choose_samples(tables: Tables, config: FitConfig, listed: Table | None, faults: Faults = FIRST) -> Tables:
    """The samples that --samples names, and for which --filter holds."""
    tables = faults.attempt(partial(_listed_samples, tables, listed), tables)
    return faults.attempt(partial(_filtered, tables, config.filter), tables)


def _listed_samples(tables: Tables, listed: Table | None) -> Tables:
    """The samples that a list names; all of them without one."""
    import numpy as np

    if listed is None:
        return tables
    wanted = set(listed.samples)
    gone = np.array([sample not in wanted for sample in tables.samples])
    if gone.all():
        raise DataError(
            f"{listed.name} names no sample of {tables[tables.main].name}: {some(listed.samples, 3)} against "
            f"{some(tables.samples, 3)}.{told(listed.samples, tables.samples)}"
        )
    tables = _noting_strangers(tables, listed, tables.samples, "sample")
    return tables.without(gone, f"{listed.name} does not name", after="them")


def _filtered(tables: Tables, condition: str | None) -> Tables:
    """The samples for which a condition on the covariates holds; all of them without one."""
    if not condition:
        return tables
    covariates = tables.get("covariates")
    if covariates is None:
        raise UsageError("--filter asks for columns of the covariates: give --covariates FILE.")
    kept, notes = holds(condition, covariates)
    return tables.noting(*notes).without(~kept, f"`{condition}` does not hold for", after="them")


def _noting_strangers(tables: Tables, listed: Table, known: tuple[str, ...], noun: str) -> Tables:
    """A note on names of a list that the table has not."""
    there = set(known)
    strangers = [name for name in listed.samples if name not in there]
    if not strangers:
        return tables
    return tables.noting(
        f"{counted(len(strangers), 'name')} in {listed.name} that no {noun} has: {some(strangers)}."
        f"{nearest(strangers[0], known)}"
    )


def listed_features(tables: Tables, listed: Table | None) -> Tables:
    """The counts of the features that --features names, as if the table had no others."""
    if listed is None:
        return tables
    table, wanted = tables["counts"], set(listed.samples)
    kept = tuple(name for name in table.columns if name in wanted)
    if not kept:
        raise DataError(
            f"{listed.name} names no feature of {table.name}: {some(listed.samples, 3)} against "
            f"{some(table.columns, 3)}.{told(listed.samples, table.columns)}"
        )
    tables = _noting_strangers(tables, listed, table.columns, "feature")
    if len(kept) == len(table.columns):
        return tables
    which = tuple(name for name in table.columns if name not in wanted)
    drop = Drop("feature", which, _told(which, f"they are not in {listed.name}"))
    return tables.telling(drop, {**tables.by_option, "counts": table.select(kept)})


def choose_features(tables: Tables, Y: Any, observed: Any, config: FitConfig) -> tuple[Tables, np.ndarray]:
    """Mask (p,) of the features of the counts Y (n×p, an array or sparse) to keep, and the tables with what went told.

    observed: in how many samples each is known, (p,) or n for all. DataError where none is left.
    """
    import numpy as np

    names, total = tables["counts"].columns, Y.sum(axis=0)
    kept = np.ones(len(names), dtype=bool)
    rules: list[tuple[np.ndarray, str]] = []
    if config.min_prevalence:
        few = (Y > 0).sum(axis=0) < config.min_prevalence * observed * (1.0 - 1e-12)
        rules.append((few, f"they are seen in less than {100 * config.min_prevalence:g} % of the samples"))
    if config.min_total:
        rules.append((total < config.min_total, f"their total count is below {config.min_total:g}"))
    for gone, why in rules:
        tables, kept = _drop(tables, kept, gone, why)
    if config.top:
        order = np.argsort(-np.where(kept, total, -1.0), kind="stable")
        lower = np.ones(len(names), dtype=bool)
        lower[order[: config.top]] = False
        tables, kept = _drop(tables, kept, lower, f"the other {config.top} have larger totals")
    return tables, kept


def _drop(tables: Tables, kept: np.ndarray, gone: np.ndarray, why: str) -> tuple[Tables, np.ndarray]:
    """Features (p,) without those that go, and the tables with these told."""
    import numpy as np

    names = tables["counts"].columns
    which = tuple(names[j] for j in np.flatnonzero(kept & gone).tolist())
    if not which:
        return tables, kept
    reason = _told(which, why)
    if not (kept & ~gone).any():
        raise DataError(f"No feature is left: {reason}")
    return tables.telling(Drop("feature", which, reason)), kept & ~gone


def _told(which: tuple[str, ...], why: str) -> str:
    return f"{counted(len(which), 'feature')} left out, because {why}: {some(which)}."


def settled(tables: Tables, used: Sequence[str]) -> Tables:
    """The tables, with columns of the covariates as numbers whose texts are in samples that are not used, and a note.

    What a data frame, or a file, says that a column is stands: only a file of text has to be guessed.
    """
    covariates = tables.get("covariates")
    if covariates is None or not covariates.sha256 or isinstance(covariates.cells, Sparse):
        return tables
    cells, notes = covariates.cells, []
    for name in (name for name in used if covariates.types.get(name) != CATEGORICAL):
        at = covariates.columns.index(name)
        column = cells.column(at)
        if (numbers := numeric(column)) is not column:
            cells = cells.set_column(at, str(at), numbers)
            notes.append(f"Column `{name}` of {covariates.name} is numeric in the samples that are used, and taken so.")
    return replace(tables, by_option=tables.by_option | {"covariates": replace(covariates, cells=cells)}).noting(*notes)
