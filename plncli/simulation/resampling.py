"""Simulation from a run: its parameters, for its own samples, for some of them drawn again, or for new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, UsageError, counted, some
from plncli.inputs.designs.design import Design
from plncli.runs.new_data import NewData, Sources, load
from plncli.runs.run import Run
from plncli.runs.training_data import Origin
from plncli.simulation.truth import MOST, Truth, names_of, numbered
from plncli.tables import writing as output
from plncli.tables.reading import read_table
from plncli.tables.table import Table


def resample(
    run: Run, generator: Generator, *, n: int | None, new: Sources | None, own: Callable[[Run], Origin]
) -> Truth:
    """The parameters of a run, for its own samples, for n of them drawn with replacement, or for new ones.

    own: what the run was made to, called where it is needed.
    """
    if n is not None and new is not None:
        raise UsageError("--n draws from the samples of the fit; --covariates and --exposure say how many there are.")
    if n is not None and not 1 <= n <= MOST:
        raise UsageError(f"--n must be from 1 to {MOST}, not {n}.")
    design = Design.from_json(run.design)
    data: Dataset | NewData
    if new is None:
        data, covariates, named = own(run)
    else:
        data, covariates, named = load(run, new), new.covariates, new.sample_names
    samples, X, O, X0 = data.samples, data.X, data.O, data.X0
    missing = run.settings.get("na_values", ())
    table = _covariates_of(covariates, named, missing, samples, design.columns) if design.columns else None
    open_cells = _open_cells(run, X)
    if n is not None:
        rows = torch.randint(len(samples), (n,), generator=generator)
        samples, X, O = numbered("s", n), X[rows], O[rows]
        X0 = None if X0 is None else X0[rows]
        table = None if table is None else table.take(rows.numpy())
    if table is not None:
        table = output.with_names("sample", samples, design.columns, table.columns)
    return Truth(
        fitted=run.fitted.of_samples(X0),
        samples=samples,
        formula=f"~ {design.formula.rhs}",
        own=_own(run),
        X=X,
        O=O,
        coefficients=torch.from_numpy(run.estimates["B"]).double() if run.has_coefficients else None,
        covariates=table,
        classes=tuple((zero, one) for zero, one in run.classes or ()),
        notes=tuple(_notes(run, design, own=n is None and new is None, open_cells=open_cells)),
        facts={"from": str(run.place)},
    )


def _covariates_of(
    path: str | Table | None, named: bool, missing: Sequence[str], samples: tuple[str, ...], columns: tuple[str, ...]
) -> pa.Table:
    """The columns of a table of covariates, in the order of the samples."""
    assert path is not None
    read = path if isinstance(path, Table) else read_table(path, "covariates", sample_names=named, na_values=missing)
    table = read.select(columns)
    at = {sample: i for i, sample in enumerate(table.samples)}
    return table.take(np.array([at[sample] for sample in samples])).cells


def _own(run: Run) -> dict[str, Any]:
    """The settings of the model for a fit of the table; their defaults, where those of the run need a matrix."""
    names = [setting.name for setting in run.spec.settings if not setting.matrix]
    own = {setting.name: setting.default for setting in run.spec.settings}
    chosen = {name: run.settings[name] for name in names if run.settings.get(name) is not None}
    try:
        run.spec.check(own | chosen)
    except UsageError:
        return {name: own[name] for name in names}
    return chosen


def _open_cells(run: Run, X: Tensor) -> int:
    """How many expected values are not estimable; DataError where that of a feature is infinite."""
    limits = run.fitted.limits(X)
    bad = names_of(run.responses, (limits > 0).any(0))
    if bad:
        raise DataError(
            f"{counted(len(bad), 'feature')} with an infinite expected count in samples like these: {some(bad)}. "
            "The fit had no such samples; leave them out."
        )
    return int(limits.isnan().sum())


def _notes(run: Run, design: Design, *, own: bool, open_cells: int) -> Iterator[str]:
    """What the user should know about tables drawn from this run."""
    if open_cells:
        yield f"{counted(open_cells, 'expected count')} not estimable from the fit; a value that fits is taken."
    if not run.done:
        yield f"{run.place} did not converge: its parameters are not those of the optimum."
    if run.settings.get("weights"):
        yield f"{run.place} was fitted with weights; each row counts as one sample here."
    if not own and design.encoding is not None and design.encoding.state.get("transforms", {}).get("items"):
        yield (
            "A fit of the new table learns the transforms of the formula anew (centres, knots), so its coefficients "
            "may be on another scale than the true ones."
        )
