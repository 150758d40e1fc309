"""From a configuration to a data set whose rows stay in their file, where they can; else all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from plncli.dataset import Stored
from plncli.errors import FIRST, DataError, UsageError
from plncli.inputs.alignment.spelling import levels_alike
from plncli.inputs.blocks.learning import Learnt, as_numbers, labels_of, learn
from plncli.inputs.blocks.proof import Proof
from plncli.inputs.blocks.source import Response, StoredRows
from plncli.inputs.blocks.survey import NotByBlocks, Survey, Wanted, survey
from plncli.inputs.designs.design import Design, offset_names
from plncli.inputs.filter import columns_asked
from plncli.inputs.formula import Formula, left_side, parse
from plncli.inputs.loading import Inputs, load
from plncli.inputs.matching import Tables
from plncli.inputs.responses import classes_notes, label, real_responses, response_table, two_classes
from plncli.inputs.sources import Source
from plncli.models.spec import CLASSES, NUMBERS
from plncli.numerics.linalg import basis_of
from plncli.settings import FitConfig, check, option, output_folder, settings
from plncli.tables.formats import digest
from plncli.tables.stored import StoredTable, opened
from plncli.tables.table import Table, frame

MANY = 10**8
"""Cells of the columns that a formula uses, from which a table stays in its file."""
BLOCK = 1 << 21
"""Cells of a block."""
COPIES = 4
"""Of a table that is read whole, at the peak, with its file: measured 3.5."""
OTHERS = ("response", "offsets", "exposure", "cluster", "samples", "na_values")
"""Settings that ask for tables of their own, or for what must be known of all rows before any is read."""


def load_for_fit(
    config: FitConfig,
    *,
    device: torch.device,
    dtype: torch.dtype,
    given: Mapping[str, Table] | None = None,
    sparse: bool = True,
) -> Inputs:
    """As `inputs.loading.load`; rows of large tables, or where blocks are asked for, stay in their file.

    UsageError where blocks are asked for and cannot be had.
    """
    check(config)
    read, notes = load_by_blocks(config, device=device, dtype=dtype, given=given)
    if read is None:
        read = load(config, device=device, dtype=dtype, given=given, sparse=sparse)
    return replace(read, notes=(*read.notes, *notes))


def load_by_blocks(
    config: FitConfig, *, device: torch.device, dtype: torch.dtype, given: Mapping[str, Table] | None = None
) -> tuple[Inputs | None, tuple[str, ...]]:
    """The data set of a table whose rows stay in their file; None of one that is read whole, and why if it is large."""
    asked, large = config.spec.by_blocks is not None and config.own.get("block_rows") is not None, False
    try:
        table = _stored(config, given)
        large = table.n * len(table.columns) >= MANY
        if asked or large:
            plan = _plan(config, table)
            if asked or plan.cells >= MANY:
                return _loaded(plan, device, dtype), ()
    except NotByBlocks as why:
        if asked:
            raise UsageError(f"--block-rows cannot be had, for {why}. Leave it out to read the table whole.") from None
        return None, (f"{config.covariates} is read whole, for {why}.",) if large else ()
    return None, ()


def bytes_held(config: FitConfig) -> float:
    """Bytes that a table takes in memory which stays in its file unless it is asked for whole; 0 for any other."""
    try:
        cells = _plan(config, _stored(config, None)).cells
    except NotByBlocks:
        return 0.0
    return 8.0 * COPIES * cells if cells >= MANY or config.own.get("block_rows") else 0.0


@dataclass(frozen=True)
class Plan:
    """A table that may be read by blocks, and what is asked of it. cells: of the columns that are used."""

    config: FitConfig
    table: StoredTable
    formula: Formula
    wanted: Wanted
    rows: int

    @property
    def cells(self) -> int:
        """Of the columns that are used."""
        return self.table.n * len(self.wanted.columns)


def _stored(config: FitConfig, given: Mapping[str, Table] | None) -> StoredTable:
    """The covariates as they lie in a file; NotByBlocks where they do not, or the model takes tables whole."""
    if config.spec.by_blocks is None:
        raise NotByBlocks(f"{config.model} takes tables whole")
    if given or not config.covariates:
        raise NotByBlocks("the table is none of a file that --covariates names")
    table = opened(config.covariates, "covariates", sample_names=config.sample_names)
    if table is None:
        raise NotByBlocks(f"{config.covariates} is no Parquet file, or has columns without a name")
    return table


def _plan(config: FitConfig, table: StoredTable) -> Plan:
    """How a table is read by blocks; NotByBlocks where it cannot be."""
    assert config.spec.by_blocks is not None
    if reason := config.spec.by_blocks({**config.own, "se": config.se}) or _whole(config):
        raise NotByBlocks(reason)
    if not left_side(config.formula):
        raise NotByBlocks("the response is not left of `~` in the formula")
    formula = parse(config.formula, table.columns, table.name, table.corner)
    labels = labels_of(formula)
    weights = config.weights or ""
    if weights and weights not in table.columns:
        raise NotByBlocks("--weights names no column of the table")
    used = tuple(dict.fromkeys((*formula.columns, *([weights] if weights else []))))
    conditional = columns_asked(config.filter, table.columns, table.name) if config.filter else ()
    wanted = Wanted(used, labels.columns, labels.combined, config.filter, conditional, weights, config.missing)
    rows = config.own.get("block_rows") or max(1, BLOCK // max(1, len(wanted.columns) + 2))
    return Plan(config, table, formula, wanted, rows)


def _whole(config: FitConfig) -> str:
    """Which setting takes a table whole, as the end of a sentence; nothing where none does."""
    known = settings(config.model)
    asked = [option(name) for name in OTHERS if name in known and config.value(name)]
    asked += [f"--match {config.match}"] * (config.match != "name")
    asked += [f"--aliased {config.aliased}"] * (config.aliased != "error")
    return f"{asked[0]} takes the table whole" if asked else ""


def _loaded(plan: Plan, device: torch.device, dtype: torch.dtype) -> Inputs:
    """The data set, whose rows were looked at once to know of all of them, and once more as they are encoded."""
    config, table, formula = plan.config, plan.table, plan.formula
    table.check_samples(plan.rows)
    found = survey(table, plan.wanted, plan.rows)
    rows = partial(_rows, plan, found)
    learnt = learn(config, formula, table, found, lambda numbers: rows(Learnt(Design(formula), numbers)).frames)
    responses, classes, told = _responses(plan, found, learnt)
    source = replace(rows(learnt), responses=responses)
    like = torch.zeros((), dtype=dtype, device=device)
    data = Stored.of(source, learnt.design.terms, formula.lhs, like)
    _proved(plan, data)
    taken = [
        f"Column `{name}` of {table.name} is numeric in the samples that are used, and taken so."
        for name in learnt.numeric
    ]
    alike = levels_alike(found.examples, plan.wanted.used)
    notes = (*table.notes, *found.notes, *taken, *told, *learnt.notes, *alike)
    read = Source("covariates", table.name, digest(table.path), (table.n, len(table.columns)))
    name = output_folder(config.but(out=None)).name.removesuffix(f"-{config.model}")
    return Inputs(data, learnt.design, (read,), found.dropped, notes, classes, name, survey=found)


def _rows(plan: Plan, found: Survey, learnt: Learnt) -> StoredRows:
    return StoredRows(plan.table, found.kept, plan.rows, learnt, (), plan.wanted.weights)


def _responses(
    plan: Plan, found: Survey, learnt: Learnt
) -> tuple[tuple[Response, ...], tuple[tuple[str, str], ...], list[str]]:
    """The responses, their classes where they have any, and what is told of these; DataError as of a table whole."""
    formula = plan.formula
    made = [Response(name, learnt.responses.get(name)) for name in formula.lhs]
    if plan.config.spec.response is not CLASSES:
        for response in made:
            column = found.columns.get(response.name)
            if response.encoding is None and column is not None and (column.labels or column.low == column.high):
                _refused(plan, found, learnt, response)
        return tuple(made), (), []
    pairs = []
    for k, response in enumerate(made):
        values = _values(plan, found, learnt, response)
        if len(values) != 2:
            _refused(plan, found, learnt, response)
        made[k] = replace(response, second=values[1])
        pairs.append((values[0], values[1]))
    classes = [(label(zero), label(one)) for zero, one in pairs]
    return tuple(made), tuple(classes), classes_notes(formula.lhs, classes)


def _values(plan: Plan, found: Survey, learnt: Learnt, response: Response) -> list[Any]:
    """The different values of a response, sorted; three at most where they are many."""
    if response.encoding is None:
        column = found.columns[response.name]
        return [0.0, 1.0, 2.0] if column.sizes is None else column.values
    import numpy as np

    there: set[float] = set()
    for part in _rows(plan, found, learnt).tables(list(response.encoding.columns)):
        there |= set(np.unique(response.values(part))[:3].tolist())
        if len(there) > 2:
            break
    return sorted(there)


def _refused(plan: Plan, found: Survey, learnt: Learnt, response: Response) -> None:
    """The DataError of a response, for which its columns are read whole."""
    whole = as_numbers(plan.table.whole(list(response.columns), found.kept), learnt.numeric)
    formula = replace(plan.formula, lhs=(response.name,))
    of = response_table(Tables({"covariates": whole}, "covariates"), formula, frame(whole, list(response.columns)))
    if plan.config.spec.response is CLASSES:
        two_classes(of, FIRST)
    else:
        real_responses(of, FIRST)
    raise DataError(f"The response `{response.name}` of {plan.table.name} cannot be used.")


def _proved(plan: Plan, data: Stored) -> None:
    """DataError for numbers that are not finite, and terms that are constant, or that follow from others."""
    numbers = plan.config.spec.response is NUMBERS
    proof = Proof(data, plan.table.name, numbers)
    first = 0
    for part in data.parts("YXO"):
        proof.add(first, part)
        first += part.n
    proof.refuse(offset_names(plan.formula))
    basis_of(data)
