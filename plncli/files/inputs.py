"""From the files that a configuration names to a Dataset: read, match by sample name, check, encode.

Each sentence of `Inputs.notes` goes to the user, each `Drop` to the manifest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.depths import SizeFactors, log_exposure, spread
from plncli.errors import FIRST, DataError, Faults, FormulaError, UsageError, counted, nearest, some
from plncli.files.config import FitConfig, check, output_folder
from plncli.files.content import split_part
from plncli.files.depths import Depths, blocks_of, depths_of
from plncli.files.design import Design, expression, make_design, words_among_numbers
from plncli.files.formula import Formula, left_side, names_in, parse
from plncli.files.matching import Drop, Tables, check_orientation, join, turned, without_missing
from plncli.files.selection import LISTS, choose_features, choose_samples, listed_features, read_list
from plncli.files.sparse import CSR, Sparse, dense, tensor_of
from plncli.files.tables import Table, frame, missing_cells, numbers, read_table, refuse, refuse_where, table_of

if TYPE_CHECKING:
    import numpy as np

COUNTS_RULE = "Counts must be whole numbers of 0 or more."
COLUMNS = ("weights", "cluster")  # options that name a table of one column, or a column of the covariates
LARGE = 1_000_000  # numbers in a data set whose tables are worth giving back
MOST_COUNT = 2.0**53  # from it on, not all whole numbers are numbers of 64 bits
HUGE = 1e100  # beyond it, sums of squares overflow
MOST_OFFSET = 500.0  # beyond it, so does exp
FINITE_RULE = "Give finite numbers."
NUMBERS_RULE = "Give numbers, without units or thousand separators."


@dataclass(frozen=True)
class Source:
    """A table that was read: the option that named it, its path, SHA-256 of its bytes, samples × columns."""

    role: str
    path: str
    sha256: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Inputs:
    """All that a fit is made of. `classes` has the (zero, one) labels of each response of a logistic model.

    precision: p×p, in the order of the responses; size_factors: what --offset-method has learnt of the counts. Both
    are None unless they were asked for. beside: what else a validation looks at, None for a fit.
    """

    data: Dataset
    design: Design
    sources: tuple[Source, ...] = ()
    dropped: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()
    name: str = "fit"
    precision: Tensor | None = field(default=None, repr=False)
    size_factors: SizeFactors | None = field(default=None, repr=False)
    beside: Beside | None = field(default=None, repr=False)


class Beside(NamedTuple):
    """What a data set was made of: its tables, the columns of the covariates that are used (a data frame), counts.

    designed: whether the formula could be used.
    """

    tables: Tables
    columns: Any
    counts: Counts | None
    designed: bool


class Matched(NamedTuple):
    """Joined tables without missing entries, the columns of the covariates that are used, and what goes with them."""

    tables: Tables
    formula: Formula
    used: tuple[str, ...]
    precision: Table | None
    offset_blocks: Table | None
    sources: tuple[Source, ...]


def load(
    config: FitConfig, *, device: torch.device, dtype: torch.dtype, given: Mapping[str, Table] | None = None
) -> Inputs:
    """Read everything that `config` names. UsageError, DataError or FormulaError say what cannot be used.

    given: tables that are there already, by option; their paths are not read.
    """
    return load_each([config], device=device, dtype=dtype, given=given)[0]


def load_each(
    configs: Sequence[FitConfig],
    *,
    device: torch.device,
    dtype: torch.dtype,
    given: Mapping[str, Table] | None = None,
) -> tuple[Inputs, ...]:
    """The same for configurations that differ in their formulas alone.

    Tables are read once, and samples that cannot be used for one formula are left out for all.
    """
    for config in configs:
        check(config)
    tables = _read(configs[0], given or {})
    formulas = [_formula(config, tables) for config in configs]
    used = tuple(dict.fromkeys(name for formula in formulas for name in formula.columns))
    inputs = tuple(
        _assemble(config, _match(config, dict(tables), formula, used), device, dtype)
        for config, formula in zip(configs, formulas, strict=True)
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
    tables = _read(config, {}, faults)
    formula = _formula(config, tables, faults)
    matched = faults.attempt(partial(_match, config, tables, formula, formula.columns, faults), None)
    return None if matched is None else faults.attempt(partial(_assemble, config, matched, device, dtype, faults), None)


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
    refused = faults.refused(partial(_check_response, config, tables))
    text, left = config.formula, left_side(config.formula)
    if text and refused and config.model == "pln":
        text = f"~ {text.partition('~')[2]}"
    if _unread_covariates(config, tables):
        faults.attempt(lambda: parse(text, names_in(text or "", text or "", ()), config.covariates), None)
        return Formula("")  # the columns are not known
    covariates = tables.get("covariates")
    known = (covariates.columns, covariates.name, covariates.corner) if covariates else ()
    formula = faults.attempt(lambda: parse(text, *known), None)
    if formula is None and left and config.model != "pln":
        formula = Faults(every=True).attempt(lambda: replace(parse(f"{left} ~ 1", *known), text=""), None)
    return formula or Formula("")


def _unread_covariates(config: FitConfig, tables: Mapping[str, Table]) -> bool:
    """Whether covariates were given, maybe by the file of counts, that could not be read or matched."""
    given = config.covariates or (config.model == "pln" and "counts" not in tables)
    return "covariates" not in tables and bool(given)


def _match(
    config: FitConfig, tables: dict[str, Table], formula: Formula, columns: tuple[str, ...], faults: Faults = FIRST
) -> Matched:
    """Join the tables, and leave out the samples that cannot be used: `columns` of the covariates must be complete."""
    sources = tuple(
        Source(t.option.replace("-", "_"), t.name, t.sha256, (len(t.samples), len(t.columns)))
        for t in tables.values()
        if t.option != "covariates" or config.covariates  # else they came with the counts
    )
    covariates = tables.get("covariates")
    weight_column, cluster_column = (_add_column(config, tables, option) for option in COLUMNS)
    main = "counts" if config.model == "pln" else "response" if config.response else "covariates"
    precision, offset_blocks = (tables.pop(option, None) for option in ("precision", "offset-blocks"))
    samples, features = (tables.pop(option, None) for option in LISTS)
    notes = [note for table in tables.values() for note in table.notes]
    if covariates and not columns and not (weight_column or cluster_column or config.filter or faults.found):
        notes.append(f"{covariates.name} is only used to match samples: add --formula to fit its columns.")
    joined = Tables(tables, main, notes=tuple(notes))
    if main not in tables:
        joined = joined.less(main)
    if not joined.by_option:
        raise faults.found[-1]  # none could be read
    joined = join(joined, named=config.sample_names, faults=faults)
    joined = faults.attempt(partial(check_orientation, joined), None) or joined.less("counts")
    if not joined.by_option:
        raise faults.found[-1]
    if _unread_covariates(config, joined.by_option):
        config, formula, columns, weight_column = replace(config, filter=None), Formula(""), (), ()
    joined = choose_samples(joined, config, samples, faults)
    if joined.get("counts"):
        joined = faults.attempt(partial(listed_features, joined, features), joined)
    used = tuple(dict.fromkeys((*columns, *weight_column)))
    joined = without_missing(joined, used, config.missing, faults)
    if joined.get("weights"):
        joined = faults.attempt(partial(_weighted, joined, faults), None) or joined.less("weights")
    if not joined.by_option:
        raise faults.found[-1]  # none is left
    return Matched(joined, formula, used, precision, offset_blocks, sources)


def _weighted(tables: Tables, faults: Faults) -> Tables:
    """Without the samples of weight 0."""
    return tables.without(_weights(tables["weights"], faults) == 0, "the weight is 0")


class Explained(NamedTuple):
    """Y (n×p, an array or sparse), K (n×p, True where observed, or None), the names of the responses, their classes.

    counts: what --offset-method estimates depths from, None for other models and where counts are at fault.
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
    if config.model == "pln":
        tables, counts = _counts(tables, config, faults)
        return tables, Explained(counts.Y, counts.K, counts.responses, counts=counts)
    response = _response(tables, formula, columns)
    if config.model == "logistic":
        Y, classes, notes = _two_classes(response, faults)
        return tables.noting(*notes), Explained(Y, None, response.columns, classes)
    return tables, Explained(_real(response, faults), None, response.columns)


def _assemble(
    config: FitConfig, matched: Matched, device: torch.device, dtype: torch.dtype, faults: Faults = FIRST
) -> Inputs:
    """The data set of matched tables."""
    import numpy as np

    tables, formula, used, precision, offset_blocks, sources = matched
    main = "counts" if config.model == "pln" else "covariates" if formula.lhs else "response"

    def explain(tables: Tables, columns: Any) -> tuple[Tables, Explained | None]:
        nothing: tuple[Tables, Explained | None] = (tables, None)
        if main not in tables.by_option:
            return nothing
        return faults.attempt(partial(_explained, config, tables, formula, columns, faults), nothing)

    explained: Explained | None = None
    if config.model == "pln":
        tables, explained = explain(tables, None)  # samples without counts go first
    covariates = tables.get("covariates")
    bare = formula.rhs == "1" and not used
    columns = None if bare else frame(covariates or tables[tables.main], used)
    if config.model != "pln":
        tables, explained = explain(tables, columns)
    where = covariates.name if covariates else ""
    made = faults.attempt(partial(make_design, formula, columns, tables.samples, where, faults), None)
    design, X, offset = made or make_design(Formula(), None, tables.samples, where)
    O, tables = offset_of(tables, explained.responses if explained else (), offset, faults)
    size_factors = None
    if config.offset_method and explained and explained.counts:
        estimate = partial(estimate_depths, tables, explained.counts, config, offset_blocks)
        estimated = faults.attempt(estimate, None)
        if estimated:
            size_factors, O, tables = estimated.learnt, O + estimated.offset, tables.noting(estimated.told)
    if config.model != "linear":
        faults.attempt(partial(check_offsets, O, tables), None)
    w = _weights(tables["weights"], faults) if tables.get("weights") else np.ones(len(tables.samples))
    accounted = config.offset_method or tables.get("offsets") or tables.get("exposure") or formula.offsets
    if config.model == "pln" and explained and not accounted:
        tables = tables.noting(*_depth_note(explained.Y, tables))
    tables = tables.noting(*_label_notes(tables, used))
    clusters = faults.attempt(partial(_clusters, tables["cluster"]), None) if tables.get("cluster") else None
    if explained is None:
        raise faults.found[-1]  # which is known: there is nothing to explain
    Y, K, responses, classes, _ = explained

    def tensor(array: np.ndarray | CSR) -> Tensor:
        converted = tensor_of(array, device, dtype)
        if dtype != torch.float64 and not bool(torch.isfinite(converted).all()):
            largest = abs(array).max()
            raise DataError(f"The tables hold numbers up to {largest:.3g}, too large for --dtype float32.")
        return converted

    data = Dataset(
        Y=tensor(Y),
        X=tensor(X),
        O=tensor(O),
        w=tensor(w),
        K=None if K is None else torch.from_numpy(K).to(device=device),
        clusters=None if clusters is None else clusters.to(device=device),
        samples=tables.samples,
        terms=design.terms,
        responses=responses,
    )
    Omega = None
    if precision is not None:
        known = faults.attempt(partial(_precision, precision, responses, config.sample_names, faults), None)
        Omega = None if known is None else tensor(known)
    name = output_folder(replace(config, out=None)).name.removesuffix(f"-{config.model}")
    designed = made is not None and bool(formula.text)
    beside = Beside(tables, columns, explained.counts, designed) if faults.every else None
    return Inputs(data, design, sources, tables.dropped, tables.notes, classes, name, Omega, size_factors, beside)


# Which tables there are


def _read(config: FitConfig, given: Mapping[str, Table], faults: Faults = FIRST) -> dict[str, Table]:
    """The tables that are given or named by a path, by option; without those whose faults are kept."""
    tables: dict[str, Table] = {}

    def read(option: str, step: Callable[[], Table]) -> None:
        table = faults.attempt(step, None)
        if table is not None:
            tables[option] = table

    for option in ("counts", "response", "covariates", "offsets", "exposure", *COLUMNS, "precision"):
        path = getattr(config, option)
        belongs = config.model == "pln" or option not in ("counts", "precision")
        if not path or not belongs or (option == "response" and config.model == "pln"):
            continue
        if option in given:
            tables[option] = given[option]
            continue
        if option in COLUMNS and not faults.attempt(partial(_names_a_file, option, path, config, tables), None):
            continue
        read(option, partial(read_table, path, option, sample_names=config.sample_names))
        if option == "counts" and config.transpose and option in tables:
            read(option, partial(turned, tables.pop(option), COUNTS_RULE))
    if blocks := config.offset_blocks:
        read("offset-blocks", lambda: given.get("offset_blocks") or read_table(blocks, "offset-blocks"))
    for option in LISTS:
        if path := getattr(config, option) if option == "samples" or config.model == "pln" else None:
            read(option, partial(_list, option, path, given))
    return faults.attempt(partial(_with_known, config, tables), tables)


def _list(option: str, path: str, given: Mapping[str, Table]) -> Table:
    """A list of names that is given, or in a file."""
    return given.get(option) or read_list(path, option)


def _with_known(config: FitConfig, tables: dict[str, Table]) -> dict[str, Table]:
    """With what the file of counts says of its samples as covariates, where some are asked for and none are given."""
    counts = tables.get("counts")
    asked = left_side(config.formula) or config.filter or not re.fullmatch(r"\s*~?\s*[01]?\s*", config.formula or "")
    asked = asked or any(getattr(config, option) and option not in tables for option in COLUMNS)
    if not asked or "covariates" in tables or counts is None or counts.about is None:
        return tables
    about = table_of(counts.about, "covariates", counts.name)
    note = f"Covariates are what {counts.name} says of its samples ({some(about.columns, 8)})."
    return tables | {"covariates": replace(about, notes=(*about.notes, note))}


def _names_a_file(option: str, name: str, config: FitConfig, tables: dict[str, Table]) -> bool:
    """Whether --weights, say, names a file rather than a column of the covariates, which comes first."""
    covariates = tables.get("covariates")
    if _unread_covariates(config, tables):
        return Path(name).is_file()
    if covariates is None and "counts" in tables and tables["counts"].about is not None:
        return name not in tables["counts"].about.columns
    if covariates and name in covariates.columns:
        return False
    if covariates and not Path(split_part(name)[0]).exists() and name != "-":
        hint = nearest(name, covariates.columns)
        raise DataError(f"--{option} {name} is neither a file nor a column of {covariates.name}.{hint}")
    return True


def _add_column(config: FitConfig, tables: dict[str, Table], option: str) -> tuple[str, ...]:
    """Put a column of the covariates that --weights, say, names beside the other tables; the name of that column."""
    name, covariates = getattr(config, option), tables.get("covariates")
    if not name or option in tables or covariates is None or name not in covariates.columns:
        return ()
    tables[option] = replace(covariates.select([name]), option=option, notes=())
    return (name,)


def _check_response(config: FitConfig, tables: dict[str, Table]) -> None:
    """FormulaError or UsageError unless exactly one place says what is explained."""
    text, left = config.formula or "~ 1", left_side(config.formula).strip("`")
    right = f"~ {text.partition('~')[2].strip()}"
    if config.model == "pln":
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


# The table to explain


RAW_RULE = f"{COUNTS_RULE} Use the raw counts, not rates, means or transformed ones."
Check = tuple[str, Callable[[Any], Any], str]
"""What no cell may be: noun, where it is so, and what to do."""
COUNT_FAULTS: tuple[Check, ...] = (
    ("infinite count", lambda y: abs(y) == math.inf, COUNTS_RULE),
    ("negative count", lambda y: y < 0, RAW_RULE),
    ("fractional count", lambda y: y % 1 != 0, RAW_RULE),
    ("oversized count", lambda y: y >= MOST_COUNT, "Counts must be below 2^53, for larger ones are not exact."),
)


def count_cells(table: Table, faults: Faults = FIRST) -> tuple[np.ndarray | CSR, np.ndarray | None]:
    """Counts as n×p float64 (0 where missing), and the mask of missing ones or None; DataError for what is no count.

    A sparse table stays sparse. Where faults are kept, what is no count is missing.
    """
    import numpy as np

    Y, missing = cells_of(table, faults)
    for noun, bad, rule in COUNT_FAULTS:
        if faults.refused(partial(refuse_where, table, Y, bad, noun, f"{rule} {table.hint}".strip())):
            wrong = bad(dense(Y))
            Y, missing = np.where(wrong, 0.0, dense(Y)), wrong if missing is None else missing | wrong
    return Y, missing


def cells_of(table: Table, faults: Faults = FIRST) -> tuple[np.ndarray | CSR, np.ndarray | None]:
    """Numbers of a table of counts, sparse where it is and none is missing; DataError for texts."""
    if isinstance(table.cells, Sparse) and missing_cells(table) is None:
        return table.cells.values, None
    return numbers(table, COUNTS_RULE, faults)


class Counts(NamedTuple):
    """Y (n×p, an array or sparse), K (n×p, True where observed, or None) and the names of the features to fit.

    every, every_K, every_feature: the same of all features that have any count, before some were chosen. sound: none
    of it is at fault.
    """

    Y: np.ndarray | CSR
    K: np.ndarray | None
    responses: tuple[str, ...]
    every: np.ndarray | CSR
    every_K: np.ndarray | None
    every_feature: tuple[str, ...]
    sound: bool = True


def _counts(tables: Tables, config: FitConfig, faults: Faults) -> tuple[Tables, Counts]:
    """The counts to fit, and the tables without samples that have none, or too few."""
    import numpy as np

    table = tables["counts"]
    every, missing = count_cells(table, faults)
    wrong = _wrong(table, missing, config) if faults.every else None
    if wrong is not None:
        every = np.where(wrong, MOST_COUNT, dense(every))  # it may be any number: no rule on totals leaves it out
    if config.min_depth:
        shallow = every.sum(axis=1) < config.min_depth
        tables = tables.without(shallow, f"the total count is below {config.min_depth:g}")
        every, missing = _rows(every, missing, ~shallow)
    observed = every.shape[0] if missing is None else (~missing).sum(axis=0)
    tables, kept = choose_features(tables, every, observed, config)
    empty = Empty.of(every[:, kept])
    refused = faults.refused(partial(_refuse_empty, tables, kept, empty, config))
    if empty and not refused:
        tables, kept = _without_empty(tables, kept, empty)
        every, missing = _rows(every, missing, ~empty.rows)
    if wrong is not None and missing is not None:
        every = np.where(missing, 0.0, every)
    Y = every if kept.all() else every[:, kept]
    K = None if missing is None else ~missing[:, kept]
    K = None if K is None or K.all() else K
    if K is not None and wrong is None:
        tables = tables.noting(f"{counted(int((~K).sum()), 'missing entry')} of {table.name} kept as unobserved.")
    known = every.sum(axis=0) > 0
    responses, every_feature = (
        tuple(table.columns[j] for j in np.flatnonzero(mask).tolist()) for mask in (kept, known)
    )
    every_K = None if missing is None else ~missing[:, known]
    return tables, Counts(
        Y,
        K,
        responses,
        every if known.all() else every[:, known],
        every_K,
        every_feature,
        wrong is None and not refused,
    )


def _wrong(table: Table, missing: np.ndarray | None, config: FitConfig) -> np.ndarray | None:
    """n×p mask of the cells that were refused, of those that count as missing; None where there are none."""
    lawful = missing_cells(table) if config.missing == "keep" else None
    wrong = missing if missing is None or lawful is None else missing & ~lawful
    return wrong if wrong is not None and wrong.any() else None


class Empty(NamedTuple):
    """Which samples (n,) and which features (p,) have no count; false where none is."""

    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, Y: np.ndarray | CSR) -> Empty:
        """Those of the counts Y (n×p)."""
        return cls(*(Y.sum(axis=axis) == 0 for axis in (1, 0)))

    def __bool__(self) -> bool:
        return bool(self.rows.any() or self.columns.any())


def _refuse_empty(tables: Tables, kept: np.ndarray, empty: Empty, config: FitConfig) -> None:
    """DataError for samples, and features among those kept (p,), without any count, unless they may be left out."""
    import numpy as np

    if not empty:
        return
    table = tables["counts"]
    if config.all_zero != "drop":
        names = tuple(table.columns[j] for j in np.flatnonzero(kept).tolist())
        raise DataError(_all_zero_message(table.name, tables.samples, names, *empty))
    if empty.rows.all():
        raise DataError(f"{table.name} has no count other than 0 in the {counted(len(empty.rows), 'sample')} kept.")


def _without_empty(tables: Tables, kept: np.ndarray, empty: Empty) -> tuple[Tables, np.ndarray]:
    """The tables without the samples, and the mask (p,) without the features, that have no count."""
    import numpy as np

    names = tables["counts"].columns
    tables = tables.without(empty.rows, f"{tables['counts'].name} has no counts")
    if empty.columns.any():
        gone = np.flatnonzero(kept)[empty.columns]
        which = tuple(names[j] for j in gone.tolist())
        reason = (
            f"{counted(len(which), 'feature')} left out, because they have no counts in the samples kept: "
            f"{some(which)}."
        )
        tables = tables.telling(Drop("feature", which, reason))
        kept = kept.copy()
        kept[gone] = False
    return tables, kept


def _rows(Y: Any, missing: np.ndarray | None, kept: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """The rows (n,) of counts that are kept, and of the mask of missing ones."""
    if kept.all():
        return Y, missing
    return Y[kept], None if missing is None else missing[kept]


def estimate_depths(tables: Tables, counts: Counts, config: FitConfig, blocks: Table | None) -> Depths | None:
    """Depths that --offset-method estimates, from all features, also those that are not fitted.

    None where the counts are at fault: then the blocks alone are looked at.
    """
    import numpy as np

    assert config.offset_method
    names = counts.every_feature
    of_features = blocks_of(blocks, names)
    if not counts.sound:
        return None
    found = depths_of(
        tables["counts"],
        counts.every,
        counts.every_K,
        names,
        config.offset_method,
        config.offset_scale,
        of_features,
    )
    if found.offset.shape[1] == 1:
        return found
    at = {name: j for j, name in enumerate(names)}
    return found._replace(offset=found.offset[:, np.array([at[name] for name in counts.responses])])


def _all_zero_message(
    table: str, samples: Sequence[str], features: Sequence[str], rows: np.ndarray, columns: np.ndarray
) -> str:
    """Message naming the samples and features without any count."""
    import numpy as np

    parts = []
    for noun, names, empty in (("sample", samples, rows), ("feature", features, columns)):
        if empty.any():
            which = [names[i] for i in np.flatnonzero(empty).tolist()]
            parts.append(f"{counted(len(which), noun)} without any count ({some(which)})")
    return (
        f"{table} has {' and '.join(parts)} among those to be fitted: nothing can be learnt about them. "
        f"Leave them out with --all-zero drop."
    )


def _response(tables: Tables, formula: Formula, used: Any) -> Table:
    """The table of responses: --response, or what stands left of `~`."""
    import pyarrow as pa

    if not formula.lhs:
        return tables["response"]
    covariates = tables["covariates"]
    columns = []
    for response in formula.lhs:
        if response in covariates.columns:
            columns.append(covariates.cells.column(covariates.columns.index(response)))
        else:
            columns.append(pa.chunked_array([pa.array(expression(response, formula, used))]))
    cells = pa.Table.from_arrays(columns, names=[str(i) for i in range(len(columns))])
    return replace(covariates, columns=formula.lhs, cells=cells)


def _checked(table: Table, rule: str, *checks: Check, faults: Faults = FIRST) -> np.ndarray:
    """n×p numbers that pass each check; `rule` ends what is said of text. Others are 1 where faults are kept."""
    import numpy as np

    values, missing = numbers(table, rule, faults)
    wrong = np.zeros(values.shape, dtype=bool) if missing is None else missing
    for noun, bad, advice in checks:
        found = bad(values) & ~wrong
        faults.attempt(partial(refuse, table, found, noun, advice, values), None)
        wrong = wrong | found
    return np.where(wrong, 1.0, values) if wrong.any() else values


def _real(table: Table, faults: Faults) -> np.ndarray:
    """n×p finite numbers, no column of which is constant."""
    import numpy as np

    rule = f"Responses must be numbers within ±{HUGE:g}; rescale larger ones."
    check = ("infinite or huge response", lambda y: ~(np.abs(y) <= HUGE), rule)
    before = len(faults.found)
    Y = _checked(table, f"A linear model explains numbers. {NUMBERS_RULE}", check, faults=faults)
    if len(faults.found) > before:
        raise faults.found[-1]
    constant = [table.columns[j] for j in np.flatnonzero((Y[:1] == Y).all(axis=0)).tolist()]
    if constant:
        raise DataError(
            f"{table.name}: {counted(len(constant), 'response')} with the same value in all {len(Y)} samples "
            f"({some(constant)}). "
            f"There is nothing to explain; leave it out."
        )
    return Y


def _two_classes(table: Table, faults: Faults) -> tuple[np.ndarray, tuple[tuple[str, str], ...], list[str]]:
    """n×p of 0 and 1, the (zero, one) labels of each response, and notes on labels that do not say which is which."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    Y = np.empty((len(table.samples), len(table.columns)))
    classes: list[tuple[str, str]] = []
    distinct = [sorted(pc.unique(column).to_pylist()) for column in table.cells.columns]
    pairs = zip(table.columns, distinct, strict=True)
    if faults.each(DataError(_not_two(table, name, values)) for name, values in pairs if len(values) != 2):
        raise faults.found[-1]
    for j, (column, values) in enumerate(zip(table.cells.columns, distinct, strict=True)):
        Y[:, j] = pc.equal(column, pa.scalar(values[1], column.type)).to_numpy(zero_copy_only=False)
        classes.append((_label(values[0]), _label(values[1])))
    clear = {("0", "1"), ("false", "true")}
    odd = {pair: [n for n, c in zip(table.columns, classes, strict=True) if c == pair] for pair in classes}
    notes = [
        f"Of {some(f'`{name}`' for name in names)}, `{one}` is modelled as 1 and `{zero}` as 0."
        for (zero, one), names in odd.items()
        if (zero, one) not in clear
    ]
    return Y, tuple(classes), notes


def _label(value: object) -> str:
    """How a class is called: 0 rather than 0.0, true rather than True."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _not_two(table: Table, name: str, values: Sequence[object]) -> str:
    """Message for a response of one class, or of more than two."""
    if len(values) == 1:
        return (
            f"The response `{name}` of {table.name} is `{_label(values[0])}` in all {len(table.samples)} samples. "
            f"A logistic model needs two classes."
        )
    advice = "recode it to two, or fit each against the rest."
    if not isinstance(values[0], str) and len(values) > 10:
        advice = "if it is a measured number, use `plncli fit linear`."
    return (
        f"The response `{name}` of {table.name} has {len(values)} different values "
        f"({some(map(_label, values))}). A logistic model needs two classes: {advice}"
    )


# What goes with it


def offset_of(
    tables: Tables, responses: tuple[str, ...], terms: np.ndarray | None, faults: Faults = FIRST
) -> tuple[np.ndarray, Tables]:
    """n×1 or n×p offset: the table's, plus that of the formula's terms (n,).

    Where faults are kept, a table whose features do not match adds nothing, but its cells are looked at.
    """
    import numpy as np

    O = np.zeros((len(tables.samples), 1)) if terms is None else terms[:, None]
    table = tables.get("offsets") or tables.get("exposure")
    if table is None:
        return O, tables
    matches = True
    if len(table.columns) > 1:
        found = faults.attempt(partial(match_features, table, responses, tables), None) if responses else None
        matches = found is not None
        table, tables = found or (table, tables)
    finite = ("infinite entry", lambda v: ~np.isfinite(v), FINITE_RULE)
    if table.option == "exposure":
        rule = "Exposures are on the natural scale and must be positive (--offsets takes logarithms)."
        positive = ("zero or negative exposure", lambda v: ~(v > 0), rule)
        values = _checked(table, NUMBERS_RULE, positive, finite, faults=faults)
        values = log_exposure(torch.from_numpy(values)).numpy()
    else:
        values = _checked(table, NUMBERS_RULE, finite, faults=faults)
    return O + values if matches else O, tables


def check_offsets(O: np.ndarray, tables: Tables) -> None:
    """DataError for offsets (n×1 or n×p) that can be no logarithms."""
    import numpy as np

    rows = np.flatnonzero((np.abs(O) > MOST_OFFSET).any(axis=1)).tolist()
    if rows:
        raise DataError(
            f"Offsets are logarithms, but go up to {np.abs(O).max():.3g} in {counted(len(rows), 'sample')} "
            f"({some(tables.samples[i] for i in rows)}). Give what is on the natural scale by --exposure, or as "
            "`offset(log(column))` in the formula."
        )


def match_features(table: Table, responses: tuple[str, ...], tables: Tables) -> tuple[Table, Tables]:
    """The table's columns in the order of the responses; DataError names those it lacks."""
    known = set(table.columns)
    absent = [name for name in responses if name not in known]
    if absent:
        raise DataError(
            f"{table.name} lacks {len(absent)} of the {counted(len(responses), 'feature')}: {some(absent)}. "
            f"Give a column for each feature, or a single column for all.{nearest(absent[0], table.columns)}"
        )
    wanted = set(responses)
    spare = [name for name in table.columns if name not in wanted]
    if spare:
        tables = tables.noting(
            f"{counted(len(spare), 'column')} of {table.name} not used, being no features of the fit: {some(spare)}."
        )
    return table.select(responses), tables


def _weights(table: Table, faults: Faults = FIRST) -> np.ndarray:
    """(n,) finite weights of 0 or more."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; weights are one: "
            f"{some(table.columns)}."
        )
    rule = f"Weights must be numbers from 0 to {HUGE:g}."
    check = ("unusable weight", lambda v: ~((v >= 0) & (v <= HUGE)), rule)
    return _checked(table, NUMBERS_RULE, check, faults=faults)[:, 0]


def _clusters(table: Table) -> Tensor:
    """(n,) codes 0, 1, ... of the clusters, in the order in which they come; texts or numbers name them."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; the clusters are one: "
            f"{some(table.columns)}."
        )
    encoded = table.cells.column(0).combine_chunks().dictionary_encode()
    if len(encoded.dictionary) == 1:
        raise DataError(
            f"All {len(table.samples)} samples are in one cluster (`{_label(encoded.dictionary[0].as_py())}` of "
            f"{table.name}), which leaves nothing to compare. Give a column with a cluster for each sample."
        )
    return torch.from_numpy(encoded.indices.to_numpy().astype("int64"))


def _precision(table: Table, responses: tuple[str, ...], named: bool, faults: Faults) -> np.ndarray:
    """p×p precision in the order of the responses; symmetric and positive definite, or DataError."""
    import numpy as np

    p = len(responses)
    if not named:
        table = replace(table, samples=table.columns)
    for what, names in (("rows", table.samples), ("columns", table.columns)):
        absent, spare = [x for x in responses if x not in set(names)], [x for x in names if x not in set(responses)]
        if absent or spare:
            told = [f"lacks {some(absent)}"] * bool(absent) + [f"has {some(spare)} besides"] * bool(spare)
            raise DataError(
                f"The {what} of {table.name} must be the {p} features that are fitted, but it {' and '.join(told)}."
            )
    before = len(faults.found)
    faults.attempt(partial(refuse, table, missing_cells(table), "missing entry", "Fill it in."), None)
    values = _checked(table, NUMBERS_RULE, ("infinite entry", lambda v: ~np.isfinite(v), FINITE_RULE), faults=faults)
    if len(faults.found) > before:
        raise faults.found[-1]
    rows = [table.samples.index(x) for x in responses]
    columns = [table.columns.index(x) for x in responses]
    Omega = values[np.ix_(rows, columns)]
    gap = np.abs(Omega - Omega.T)
    if gap.max() > 1e-8 * np.abs(Omega).max():  # what is lost by writing nine digits
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise DataError(
            f"{table.name} is not symmetric: ({responses[i]}, {responses[j]}) is {Omega[i, j]:.9g} and "
            f"({responses[j]}, {responses[i]}) is {Omega[j, i]:.9g}. A precision matrix is symmetric and "
            "positive definite."
        )
    Omega = (Omega + Omega.T) / 2
    scale = np.sqrt(np.abs(np.diag(Omega)).clip(min=1e-300))
    lowest = float(np.linalg.eigvalsh(Omega / np.outer(scale, scale))[0])
    if lowest <= 1e-13 * p:
        raise DataError(
            f"{table.name} is not positive definite (smallest eigenvalue {lowest:.3g} at unit diagonal). "
            f"A precision matrix is the inverse of a covariance matrix; add a little to its diagonal."
        )
    return Omega


# Notes


def _depth_note(Y: np.ndarray | CSR, tables: Tables) -> list[str]:
    """A sentence when depths vary more than 2-fold and nothing accounts for it."""
    depth = Y.sum(axis=1)
    fold, lowest, highest = spread(torch.from_numpy(depth))
    if fold <= 2:
        return []
    return [
        f"Total counts vary {fold:.3g}-fold between samples ({depth[lowest]:.0f} in {tables.samples[lowest]}, "
        f"{depth[highest]:.0f} in {tables.samples[highest]}) and no offset is given, so differences in depth count as "
        f"differences in abundance. Give --exposure FILE or --offset-method, or `offset(log(column))` in the formula."
    ]


def _label_notes(tables: Tables, used: Sequence[str]) -> list[str]:
    """A sentence for each column that is nearly all numbers but taken for labels, because of a few texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    covariates = tables.get("covariates")
    if not covariates:
        return []
    notes = []
    for name in used:
        column = covariates.cells.column(covariates.columns.index(name))
        levels = pc.unique(column).to_pylist() if pa.types.is_string(column.type) else []
        words = words_among_numbers(levels)
        if words and len(levels) > 20:
            notes.append(
                f"Column `{name}` of {covariates.name} is taken as {len(levels)} labels, because of entries that are "
                f"no numbers ({some(words, 3)}). If it is a number, mend these."
            )
    return notes
