"""New samples for a finished fit: read, match by sample name, check, and encode as the fit did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plncli.errors import DataError, UsageError, counted, nearest, some
from plncli.inputs.abundances.counts import count_cells
from plncli.inputs.abundances.rounding import rounded
from plncli.inputs.alignment.positions import POSITION, by_position
from plncli.inputs.alignment.spelling import told
from plncli.inputs.cells import NUMBERS_RULE
from plncli.inputs.designs.design import Design
from plncli.inputs.layout.orientation import counts_of
from plncli.inputs.matching import Tables, join, without_missing
from plncli.inputs.offsets import check_offsets, match_features, offset_of
from plncli.models import MODELS
from plncli.models.spec import NUMBERS
from plncli.runs.groups import group_column_of, truth_of, with_any_group
from plncli.runs.run import Run
from plncli.tables.numbers import numbers, with_missing
from plncli.tables.reading import read_table, table_of
from plncli.tables.sparse import Sparse, dense, tensor_of
from plncli.tables.table import Table, frame

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Sources:
    """Where new samples are: paths by option, None where an option was not given; `-` is standard input; or tables.

    counts: of all features of the fit; given: of some of them; transpose: they have features in rows, None to find out.
    exposure, offsets: a path, or a number for all samples. na_values: entries that are missing, beside those that were
    in the fit; match, round: as the settings of a fit.
    """

    covariates: str | Table | None = None
    counts: str | Table | None = None
    given: str | Table | None = None
    exposure: str | Table | None = None
    offsets: str | Table | None = None
    missing: str = "error"
    sample_names: bool = True
    transpose: bool | None = None
    na_values: tuple[str, ...] = ()
    match: str = "name"
    round: bool = False


@dataclass(frozen=True)
class NewData:
    """n samples as the fit sees them: design X (n×d), offset O (n×1 or n×p), and what is known of their counts.

    Y: n×p, or n×o for the features `observed` (o,) by index; K as Y, None when all are observed. X0: n×c, design of
    structural zeros, None without one. groups: what they are said to be of, where that was asked, and is there.
    """

    samples: tuple[str, ...]
    X: Tensor = field(repr=False)
    O: Tensor = field(repr=False)
    Y: Tensor | None = field(repr=False, default=None)
    K: Tensor | None = field(repr=False, default=None)
    observed: Tensor | None = field(repr=False, default=None)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    X0: Tensor | None = field(repr=False, default=None)
    groups: tuple[str | None, ...] | None = field(repr=False, default=None)


def load(run: Run, sources: Sources, groups: Sequence[str] = (), *, sparse: bool = False) -> NewData:
    """Read the tables that `sources` name and encode them as the fit did; DataError or UsageError refuse by name.

    groups: those of the fit, where it is asked which of them the samples are of: the design says the first for all.
    sparse: large counts may come without their zeros, for models that take them so.
    """
    _check(run, sources)
    design = Design.from_json(run.design)
    group = group_column_of(run) if groups else ""
    tables = _read(run, sources, design, group)
    if group:
        tables = with_any_group(tables, group, groups[0])
    notes = tuple(note for table in tables.values() for note in table.notes)
    main = next(iter(tables))
    given = Tables(tables, main, notes=notes)
    if sources.match == POSITION:
        given = by_position(given)
    joined = join(given, named=sources.sample_names)
    observed = None
    if main == "counts":
        joined, observed = _known_features(run, joined, sources)
    joined = without_missing(joined, design.columns, sources.missing)
    joined, Y, K = _known_counts(joined, run if sparse else None)
    columns = _columns(design, joined)
    X, X0 = design.build(columns), design.build_zeros(columns)
    O, joined = offset_of(joined, run.responses, design.offset(columns) + _constant(sources))
    if run.spec.response is not NUMBERS:
        check_offsets(O, joined)
    if (joined.get("exposure") or joined.get("offsets") or _constant(sources)) and not _offset_option(run):
        joined = joined.noting(
            "The fit had neither --exposure nor --offsets: what is given now adds to its linear predictor."
        )
    warnings = (joined.positions.finding.message,) if joined.positions else ()
    zeros = None if X0 is None else _tensor(X0)
    truth = truth_of(joined, group, groups) if group else None
    return NewData(joined.samples, _tensor(X), _tensor(O), Y, K, observed, joined.notes, warnings, zeros, truth)


def _tensor(values: np.ndarray) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


# What is asked for


def _check(run: Run, sources: Sources) -> None:
    """UsageError for options that do not go together, or with this fit."""
    _constant(sources)
    if sources.counts and sources.given:
        raise UsageError("--counts holds all features of new samples and --given some of them; give one of the two.")
    if sources.exposure and sources.offsets:
        raise UsageError("--exposure and --offsets say the same on two scales; give one of them.")
    if not run.spec.latent and (sources.counts or sources.given):
        option = "--counts" if sources.counts else "--given"
        latent = some(spec.name for spec in MODELS.values() if spec.latent)
        raise UsageError(f"{option} goes with fits of {latent} only; {run.place} is one of {run.model}.")
    if sources.missing not in ("error", "drop", "keep"):
        raise UsageError(f"--missing must be error, drop or keep, not {sources.missing}.")
    if sources.match not in ("name", POSITION):
        raise UsageError(f"--match must be name or position, not {sources.match}.")
    needed = _offset_option(run)
    if needed and not (sources.exposure or sources.offsets):
        if needed == "offset_method":
            raise UsageError(
                f"The fit estimated size factors (--offset-method {run.settings[needed]}), so its predictions for a "
                f"sample depend on the sample's size factor. Give --exposure FILE{_sizes_of(run)}, or --exposure 1 for "
                "predictions at a size factor of 1."
            )
        neutral = "1" if needed == "exposure" else "0"
        or_else = f", or --{needed} {neutral} for predictions at an exposure of 1"
        raise UsageError(
            f"The fit had --{needed}, so its predictions depend on it. Give --{needed} FILE of the new "
            f"samples{'' if sources.counts or sources.given else or_else}."
        )


def _sizes_of(run: Run) -> str:
    """How to come by size factors of new samples: relative to the fit, where its method keeps what that takes."""
    if (run.design.get("size_factors") or {}).get("references"):
        return f", such as `plncli offsets --from {quote(str(run.place))} --counts NEW --out FILE` makes of new counts"
    method = run.settings["offset_method"]
    return (
        f" ({method} holds each sample against all others, so estimate those of old and new samples together: `plncli "
        f"offsets --offset-method {method} --counts BOTH --out FILE`)"
    )


def _offset_option(run: Run) -> str:
    """`exposure`, `offsets` or `offset_method`, as the fit had it; nothing where it had none."""
    return next((option for option in ("exposure", "offsets", "offset_method") if run.settings.get(option)), "")


def _number(text: str | Table | None) -> float | None:
    """A number given in place of a file; None for a path."""
    if not isinstance(text, str) or text == "-" or Path(text).is_file():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _constant(sources: Sources) -> float:
    """The offset of all samples that was given as a number, 0 unless one was."""
    exposure, offset = _number(sources.exposure), _number(sources.offsets)
    if exposure is not None:
        if not 0.0 < exposure < math.inf:
            raise UsageError(f"--exposure {sources.exposure}: an exposure is a positive number.")
        return math.log(exposure)
    if offset is not None and not math.isfinite(offset):
        raise UsageError(f"--offsets {sources.offsets}: an offset is a finite number.")
    return offset or 0.0


# Tables


def _read(run: Run, sources: Sources, design: Design, asked: str = "") -> dict[str, Table]:
    """The tables by option; the first of them says which samples there are, and in which order.

    asked: a column of the covariates that they need not have.
    """
    needed = [name for name in design.columns if name != asked]
    tables: dict[str, Table] = {}
    missing = (*run.settings.get("na_values", ()), *sources.na_values)
    for option in ("counts", "given", "covariates", "exposure", "offsets"):
        path = getattr(sources, option)
        if path and not (option in ("exposure", "offsets") and _number(path) is not None):
            named, unnamed = sources.sample_names, sources.match == POSITION and bool(tables)
            given = isinstance(path, Table)
            table = (
                with_missing(path, missing)
                if given
                else read_table(path, option, sample_names=named, na_values=missing, unnamed=unnamed)
            )
            tables["counts" if option == "given" else option] = table
    if counts := tables.get("counts"):
        others = {option: table for option, table in tables.items() if option != "counts"}
        choice, named = sources.transpose, sources.sample_names
        made = counts_of(counts, others, choice, named=named, known=run.responses)
        tables["counts"] = rounded(made) if sources.round else made
    counts, covariates = tables.get("counts"), tables.get("covariates")
    if needed and covariates is None and counts is not None and counts.about is not None:
        covariates = tables["covariates"] = table_of(counts.about, "covariates", counts.name, missing)
    if needed and covariates is None:
        raise UsageError(
            f"The fit explains by {some(f'`{name}`' for name in needed)} (`{run.formula}`"
            f"{f', zeros `{design.zeros.formula.text}`' if design.zeros else ''}). Give --covariates FILE with these "
            "columns of the new samples."
        )
    if not tables:
        raise UsageError("There are no samples to predict for: give --covariates FILE, or --exposure FILE.")
    if covariates is not None:
        absent = [name for name in needed if name not in covariates.columns]
        if absent:
            raise DataError(
                f"{covariates.name} lacks {counted(len(absent), 'column')} that the fit used: {some(absent)}."
                f"{nearest(absent[0], covariates.columns)}"
            )
    return tables


def _columns(design: Design, tables: Tables) -> Any:
    """The columns that the design needs, as a data frame with the samples as its index."""
    import pandas as pd

    covariates = tables.get("covariates")
    if covariates is None:
        return pd.DataFrame(index=list(tables.samples))
    kinds = {name: levels for encoding in design.encodings for name, levels in encoding.columns.items()}
    covariates = _as_in_the_fit(covariates, kinds)
    columns = frame(covariates, design.columns)
    columns.index = pd.Index(covariates.samples)
    return columns


def _as_in_the_fit(table: Table, kinds: dict[str, Any]) -> Table:
    """Columns of the kind that the fit had: DataError for texts among numbers; numbers that were labels become texts.

    kinds: name of a column -> its levels, None for numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, levels in kinds.items():
        place = table.columns.index(name)
        column = table.cells.column(place)
        if levels is None:
            advice = f"--na-values takes an entry as missing. {NUMBERS_RULE}"
            numbers(table.select([name]), f"The fit took `{name}` as a number; {advice}")
            if pa.types.is_string(column.type):  # numbers written as text
                column = column.cast(pa.float64())
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
            column = (column.cast(pa.int64()) if whole else column).cast(pa.string())
        assert not isinstance(table.cells, Sparse)  # covariates
        table = replace(table, cells=table.cells.set_column(place, str(place), column))
    return table


def _known_features(run: Run, tables: Tables, sources: Sources) -> tuple[Tables, Tensor | None]:
    """The table of counts with features of the fit alone, in its order; which they are, by index, for --given."""
    table = tables["counts"]
    known = set(table.columns)
    chosen = [j for j, name in enumerate(run.responses) if name in known]
    absent = [name for name in run.responses if name not in known]
    fitted = set(run.responses)
    spare = [name for name in table.columns if name not in fitted]
    if not chosen:
        raise DataError(
            f"{table.name} holds no feature of the fit: {some(table.columns, 3)} against {some(run.responses, 3)}."
            f"{told(table.columns, run.responses)}"
        )
    if absent and not sources.given:
        raise DataError(
            f"{table.name} lacks {len(absent)} of the {counted(len(run.responses), 'feature')} of the fit: "
            f"{some(absent)}.{told(absent, spare) or nearest(absent[0], table.columns)} Features that are not known "
            "are predicted from the others by `plncli predict --given`."
        )
    if not absent and sources.given:
        raise DataError(
            f"{table.name} holds all {len(chosen)} features of the fit, so none is left to be predicted. Take out "
            "those that are not known, or give it as --counts for fitted counts."
        )
    table, tables = match_features(table, tuple(run.responses[j] for j in chosen), tables)
    tables = replace(tables, by_option=tables.by_option | {"counts": table})
    return tables, torch.tensor(chosen) if sources.given else None


def _known_counts(tables: Tables, run: Run | None = None) -> tuple[Tables, Tensor | None, Tensor | None]:
    """Y and K of the table of counts, if there is one; both None without. run: a fit that may take Y without zeros."""
    import numpy as np

    table = tables.get("counts")
    if table is None:
        return tables, None, None
    Y, missing = count_cells(table)
    K = None if missing is None or not missing.any() else torch.from_numpy(~missing)
    if K is not None:
        tables = tables.noting(f"{counted(int((~K).sum()), 'missing entry')} of {table.name} kept as unobserved.")
    own = {} if run is None else {setting.name: run.settings.get(setting.name) for setting in run.spec.settings}
    keep = run is not None and K is None and not isinstance(Y, np.ndarray)
    if keep and run is not None and run.spec.sparse(own, Y.shape[0] * Y.shape[1]):
        return tables, tensor_of(Y, torch.device("cpu"), torch.float64, keep=True), None
    return tables, _tensor(dense(Y)), K
