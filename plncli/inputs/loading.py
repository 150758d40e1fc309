"""From the files that a configuration names to a Dataset: read, match by sample name, check, encode.

Each sentence of `Inputs.notes` goes to the user, each `Drop` to the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import FIRST, Faults
from plncli.inputs.abundances.counts import Counts, counts_to_fit, estimate_size_factors, facts_of
from plncli.inputs.alignment.positions import POSITION, by_position
from plncli.inputs.alignment.spelling import levels_alike
from plncli.inputs.blocks.survey import Survey
from plncli.inputs.designs.design import Design
from plncli.inputs.designs.groups import check_groups, group_column, with_groups
from plncli.inputs.designs.zeros import columns_of, designs, with_its_references, zeros_formula
from plncli.inputs.formula import Formula, left_side, names_in, parse
from plncli.inputs.matching import Positions, Tables, join, without_missing
from plncli.inputs.matrices import matrix_of
from plncli.inputs.offsets import check_offsets, depth_note, offset_of
from plncli.inputs.responses import real_responses, response_table, two_classes
from plncli.inputs.selection import LISTS, choose_samples, listed_features, settled
from plncli.inputs.sources import (
    COLUMNS,
    Source,
    add_column,
    check_response,
    main_option,
    matrix_settings,
    read_tables,
    unread_covariates,
)
from plncli.inputs.tensors import mostly_zeros, tensor
from plncli.inputs.weights import Weighted, weights_of
from plncli.models.spec import CLASSES, COUNTS, NUMBERS
from plncli.numerics.size_factors import SizeFactors
from plncli.settings import FitConfig, check, output_folder
from plncli.tables.sparse import CSR
from plncli.tables.table import Drop, Table, frame

if TYPE_CHECKING:
    import numpy as np

LARGE = 1_000_000  # numbers in a data set whose tables are worth giving back


@dataclass(frozen=True)
class Inputs:
    """All that a fit is made of. `classes` has the (zero, one) labels of each response, where these are classes.

    features: what the file of counts says of the responses, see `Run.features`.
    matrices: p×p, in the order of the responses, by the setting that names them; size_factors: what --offset-method has
    learnt of the counts, None unless it was asked for; positions: None unless rows were matched by their position.
    beside: what else a validation looks at, None for a fit; survey: what was learnt of rows that stay in their file.
    """

    data: Dataset
    design: Design
    sources: tuple[Source, ...] = ()
    dropped: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()
    name: str = "fit"
    matrices: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    size_factors: SizeFactors | None = field(default=None, repr=False)
    positions: Positions | None = field(default=None, repr=False)
    beside: Beside | None = field(default=None, repr=False)
    features: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict, repr=False)
    survey: Survey | None = field(default=None, repr=False)


class Beside(NamedTuple):
    """What a data set was made of: its tables, the columns of the covariates that are used (a data frame), counts.

    designed: whether the formula could be used; missing: entries, by column of the covariates, before samples went.
    """

    tables: Tables
    columns: Any
    counts: Counts | None
    designed: bool
    missing: Mapping[str, int]


class Matched(NamedTuple):
    """Joined tables without missing entries, the columns of the covariates that are used, and what goes with them."""

    tables: Tables
    formula: Formula
    zeros: Formula | None
    used: tuple[str, ...]
    matrices: Mapping[str, Table]
    offset_blocks: Table | None
    sources: tuple[Source, ...]
    missing: Mapping[str, int]


def load(
    config: FitConfig,
    *,
    device: torch.device,
    dtype: torch.dtype,
    given: Mapping[str, Table] | None = None,
    sparse: bool = False,
) -> Inputs:
    """Read everything that `config` names. UsageError, DataError or FormulaError say what cannot be used.

    given: tables that are there already, by option; their paths are not read. sparse: counts may come without their
    zeros, where the model takes them so.
    """
    return load_each([config], device=device, dtype=dtype, given=given, sparse=sparse)[0]


def load_each(
    configs: Sequence[FitConfig],
    *,
    device: torch.device,
    dtype: torch.dtype,
    given: Mapping[str, Table] | None = None,
    sparse: bool = False,
) -> tuple[Inputs, ...]:
    """The same for configurations that differ in their formulas alone.

    Tables are read once, and samples that cannot be used for one formula are left out for all.
    """
    for config in configs:
        check(config)
    tables = read_tables(configs[0], given or {})
    pairs = [(_formula(config, tables), zeros_formula(config, tables)) for config in configs]
    used = columns_of(formula for pair in pairs for formula in pair)
    configs = [with_its_references(config, columns_of(pair), used) for config, pair in zip(configs, pairs, strict=True)]
    inputs = tuple(
        _assemble(config, _match(config, dict(tables), *pair, used), device, dtype, sparse=sparse)
        for config, pair in zip(configs, pairs, strict=True)
    )
    if sum(read.data.X.numel() + read.data.Y.numel() for read in inputs) > LARGE:
        _return_memory()
    return inputs


def examine(config: FitConfig, *, device: torch.device, dtype: torch.dtype, faults: Faults) -> Inputs | None:
    """Read everything that `config` names as `load` does, and go on past the faults that are kept.

    Of tables with faults, what is sound is looked at: counts that are none are unobserved, and the design is the
    intercept alone where the formula cannot be used. None where too little is left to make a data set.
    """
    check(config)
    tables = read_tables(config, {}, faults)
    formula = _formula(config, tables, faults)
    zeros = faults.attempt(partial(zeros_formula, config, tables), None)
    used = columns_of((formula, zeros))
    matched = faults.attempt(partial(_match, config, tables, formula, zeros, used, faults), None)
    if matched is None:
        return None
    return faults.attempt(partial(_assemble, config, matched, device, dtype, faults, sparse=True), None)


def _return_memory() -> None:
    """Give back what the tables took, for the fit needs it: formulaic's objects refer to each other and to them."""
    import gc

    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()


def _formula(config: FitConfig, tables: dict[str, Table], faults: Faults = FIRST) -> Formula:
    """The formula, of columns that there are, and with a response left of `~` where one belongs.

    Where it cannot be used, and that is kept as a fault: without text, an intercept with the response if there is one.
    """
    refused = faults.refused(partial(check_response, config, tables))
    text, left = config.formula, left_side(config.formula)
    if text and refused and config.spec.response is COUNTS:
        text = f"~ {text.partition('~')[2]}"
    if unread_covariates(config, tables):
        faults.attempt(lambda: parse(text, names_in(text or "", text or "", ()), config.covariates), None)
        return Formula("")  # the columns are not known
    covariates = tables.get("covariates")
    known = (covariates.columns, covariates.name, covariates.corner) if covariates else ()
    formula = faults.attempt(lambda: parse(text, *known), None)
    if formula is None and left and config.spec.response is not COUNTS:
        formula = Faults(every=True).attempt(lambda: replace(parse(f"{left} ~ 1", *known), text=""), None)
    if formula is None:
        return Formula("")
    return faults.attempt(lambda: with_groups(config, formula, tables), formula)


def _match(
    config: FitConfig,
    tables: dict[str, Table],
    formula: Formula,
    zeros: Formula | None,
    columns: tuple[str, ...],
    faults: Faults = FIRST,
) -> Matched:
    """Join the tables, and leave out the samples that cannot be used: `columns` of the covariates must be complete."""
    sources = tuple(
        Source(t.option.replace("-", "_"), t.name, t.sha256, (len(t.samples), len(t.columns)))
        for t in tables.values()
        if t.option != "covariates" or config.covariates  # else they came with the counts
    )
    covariates = tables.get("covariates")
    weight_column, cluster_column = (add_column(config, tables, option) for option in COLUMNS)
    main = main_option(config)
    matrices = {name: tables.pop(name) for name in matrix_settings(config) if name in tables}
    offset_blocks = tables.pop("offset-blocks", None)
    samples, features = (tables.pop(option, None) for option in LISTS)
    notes = [note for table in tables.values() for note in table.notes]
    if covariates and not columns and not (weight_column or cluster_column or config.filter or faults.found):
        notes.append(f"{covariates.name} is only used to match samples: add --formula to fit its columns.")
    dropped = tuple(drop for table in tables.values() for drop in table.dropped)
    joined = Tables(tables, main, dropped, tuple(notes))
    if main not in tables:
        joined = joined.less(main)
    if not joined.by_option:
        raise faults.found[-1]  # none could be read
    if config.match == POSITION:
        joined = by_position(joined, faults)
    joined = join(joined, named=config.sample_names, faults=faults)
    if unread_covariates(config, joined.by_option):
        config, formula, zeros, columns, weight_column = config.but(filter=None), Formula(""), None, (), ()
    joined = choose_samples(joined, config, samples, faults)
    if joined.get("counts"):
        joined = faults.attempt(partial(listed_features, joined, features), joined)
    used = tuple(dict.fromkeys((*columns, *weight_column)))
    missing = _missing(joined.get("covariates"), used)
    joined = without_missing(joined, used, config.missing, faults)
    if joined.get("weights"):
        joined = faults.attempt(partial(_weighted, joined, faults), None) or joined.less("weights")
    if not joined.by_option:
        raise faults.found[-1]  # none is left
    return Matched(joined, formula, zeros, used, matrices, offset_blocks, sources, missing)


def _missing(covariates: Table | None, used: Sequence[str]) -> dict[str, int]:
    """How many entries of each column are missing."""
    if covariates is None:
        return {}
    return {name: covariates.cells.column(covariates.columns.index(name)).null_count for name in used}


def _weighted(tables: Tables, faults: Faults) -> Tables:
    """Without the samples of weight 0."""
    return tables.without(weights_of(tables["weights"], faults) == 0, "the weight is 0")


class Explained(NamedTuple):
    """Y (n×p, an array or sparse), K (n×p, True where observed, or None), the names of the responses, their classes.

    counts: what --offset-method estimates size factors from, None for other responses and where counts are at fault.
    """

    Y: np.ndarray | CSR
    K: np.ndarray | None
    responses: tuple[str, ...]
    classes: tuple[tuple[str, str], ...] = ()
    counts: Counts | None = None


def _explained(
    config: FitConfig, tables: Tables, formula: Formula, columns: Any, faults: Faults
) -> tuple[Tables, Explained]:
    """What is to be explained, and the tables with what is told of it."""
    if config.spec.response is COUNTS:
        tables, counts = counts_to_fit(tables, config, faults)
        return tables, Explained(counts.Y, counts.K, counts.responses, counts=counts)
    response = response_table(tables, formula, columns)
    if config.spec.response is CLASSES:
        Y, classes, notes = two_classes(response, faults)
        return tables.noting(*notes), Explained(Y, None, response.columns, classes)
    return tables, Explained(real_responses(response, faults), None, response.columns)


def _assemble(
    config: FitConfig,
    matched: Matched,
    device: torch.device,
    dtype: torch.dtype,
    faults: Faults = FIRST,
    *,
    sparse: bool = False,
) -> Inputs:
    """The data set of matched tables; sparse: counts may come without their zeros."""
    tables, formula, zeros, used, matrices, offset_blocks, sources, missing = matched
    counted = config.spec.response is COUNTS
    main = "covariates" if formula.lhs and not counted else config.spec.response.option

    def explain(tables: Tables, columns: Any) -> tuple[Tables, Explained | None]:
        nothing: tuple[Tables, Explained | None] = (tables, None)
        if main not in tables.by_option:
            return nothing
        return faults.attempt(partial(_explained, config, tables, formula, columns, faults), nothing)

    explained: Explained | None = None
    if counted:
        tables, explained = explain(tables, None)  # samples without counts go first
    groups = group_column(config)
    tables = settled(tables, [name for name in used if name != groups])
    covariates = tables.get("covariates")
    bare = formula.rhs == "1" and not used
    columns = None if bare else frame(covariates or tables[tables.main], used)
    if not counted:
        tables, explained = explain(tables, columns)
    if columns is not None and groups in columns:
        where = covariates.name if covariates else ""
        faults.attempt(partial(check_groups, config, list(map(str, columns[groups])), where), None)
    made, sound, tables = designs(config, tables, formula, zeros, columns, faults)
    design, X, X0, terms = made
    O, size_factors, tables = _offset(config, tables, explained, formula, terms, offset_blocks, faults)
    weighted = Weighted.of(tables, faults)
    tables = tables.noting(*levels_alike(tables.get("covariates"), used))
    if explained is None:
        raise faults.found[-1]  # which is known: there is nothing to explain
    to = partial(tensor, device=device, dtype=dtype)
    data = Dataset(
        Y=to(explained.Y, keep=sparse and mostly_zeros(config, explained.Y, explained.K)),
        X=to(X),
        O=to(O),
        w=to(weighted.w),
        K=None if explained.K is None else torch.from_numpy(explained.K).to(device=device),
        clusters=None if weighted.clusters is None else weighted.clusters.to(device=device),
        samples=tables.samples,
        terms=design.terms,
        responses=explained.responses,
        X0=None if X0 is None else to(X0),
        zero_terms=design.zeros.terms if design.zeros else (),
    )
    known = _matrices(matrices, data.responses, config, faults)
    name = output_folder(config.but(out=None)).name.removesuffix(f"-{config.model}")
    return Inputs(
        data,
        design,
        sources,
        tables.dropped,
        tables.notes,
        explained.classes,
        name,
        {name: to(values) for name, values in known.items()},
        size_factors,
        tables.positions,
        Beside(tables, columns, explained.counts, sound, missing) if faults.every else None,
        facts_of(tables.get("counts"), data.responses),
    )


def _matrices(
    matrices: Mapping[str, Table], responses: tuple[str, ...], config: FitConfig, faults: Faults
) -> dict[str, np.ndarray]:
    """The matrices p×p by the setting that names them; without those whose faults are kept."""
    kinds = {setting.name: setting.matrix for setting in config.spec.settings}
    steps = {
        name: partial(matrix_of, table, responses, config.sample_names, faults, kinds[name])
        for name, table in matrices.items()
    }
    found = {name: faults.attempt(step, None) for name, step in steps.items()}
    return {name: values for name, values in found.items() if values is not None}


def _offset(
    config: FitConfig,
    tables: Tables,
    explained: Explained | None,
    formula: Formula,
    terms: np.ndarray | None,
    offset_blocks: Table | None,
    faults: Faults,
) -> tuple[np.ndarray, SizeFactors | None, Tables]:
    """Offset n×1 or n×p: of a table, of terms of the formula (n,), and as estimated from the counts; what was learnt.

    A note where depths differ and nothing accounts for it.
    """
    O, tables = offset_of(tables, explained.responses if explained else (), terms, faults)
    size_factors = None
    if config.offset_method and explained and explained.counts:
        estimate = partial(estimate_size_factors, tables, explained.counts, config, offset_blocks)
        estimated = faults.attempt(estimate, None)
        if estimated:
            size_factors, O, tables = estimated.learnt, O + estimated.offset, tables.noting(estimated.told)
    if config.spec.response is not NUMBERS:
        faults.attempt(partial(check_offsets, O, tables), None)
    accounted = config.offset_method or config.offsets or config.exposure or formula.offsets
    if config.spec.response is COUNTS and explained and not accounted:
        tables = tables.noting(*depth_note(explained.Y, tables))
    return O, size_factors, tables
