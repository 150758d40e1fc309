"""How good the bound of a finished fit is, and how well its model fits: summary and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.evaluation.checks import Subject, checks
from plncli.models.abilities import Diagnosable
from plncli.models.findings import Check
from plncli.runs.run import Run
from plncli.tables import writing as output
from plncli.tables.atomic import whole_folder, write_file
from plncli.tables.target import check_target
from plncli.tables.writing import FORMATS

TABLES = ("samples", "features", "responses", "bins", "residuals")
WRITTEN = {f"{name}.{suffix}" for name in TABLES for suffix in FORMATS} | {"diagnosis.json"}


@dataclass(frozen=True)
class Diagnosis:
    """facts: the summary, as JSON; tables: columns (lists or arrays) by name, by name of the table; residuals: n×p."""

    facts: dict[str, Any]
    tables: dict[str, dict[str, Any]] = field(repr=False)
    residuals: Tensor = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    responses: tuple[str, ...] = field(repr=False)


def diagnose(run: Run, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
    """Diagnose a fit with the data that it was made to, on the CPU in float64. DataError where its model cannot."""
    fitted = run.fitted
    if not isinstance(fitted, Diagnosable):
        raise DataError(f"Nothing tells whether the model holds for a {run.model} fit.")
    found = fitted.diagnose(data, draws, generator)
    name, value = run.likelihood
    top = {
        "run": str(run.place),
        "model": run.model,
        "converged": run.summary["converged"],
        "n_samples": data.n,
        "n_features": data.p,
        name: value,
    }
    plain = {
        table: {name: part.numpy() if isinstance(part, Tensor) else part for name, part in columns.items()}
        for table, columns in found.tables.items()
    }
    facts = {**top, **found.facts}
    facts["checks"] = [check.to_json() for check in judged(run, data, facts)]
    return Diagnosis(facts, plain, found.residuals, data.samples, data.responses)


def judged(run: Run, data: Dataset | None, facts: Mapping[str, Any] | None) -> tuple[Check, ...]:
    """The checks of a run: with its data, and the facts of a diagnosis, where they are at hand."""
    return checks(Subject(run.summary, run.fitted, run.coefficients, run.offset, data, facts))


def write(out: Path, found: Diagnosis, suffix: str, *, residuals: bool, overwrite: bool) -> None:
    """Write the tables and the summary into `out`."""
    check_target(out, overwrite, WRITTEN)
    with whole_folder(out) as partial:
        for name, columns in found.tables.items():
            write_file(partial / f"{name}.{suffix}", output.table_bytes(output.table(columns), suffix))
        if residuals:
            cells = [output.number_column(np.ascontiguousarray(column)) for column in found.residuals.mT.numpy()]
            table = pa.Table.from_arrays([output.text_column(found.samples), *cells], ["sample", *found.responses])
            write_file(partial / f"residuals.{suffix}", output.table_bytes(table, suffix))
        write_file(partial / "diagnosis.json", output.to_json(found.facts).encode())
