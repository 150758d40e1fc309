"""The folder of a fit: written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from plncli.evaluation.checks import Subject, checks
from plncli.inference.wald import tensors_of
from plncli.inputs.designs.record import offset_of, terms_of
from plncli.models import MODELS
from plncli.models.abilities import Tabulating
from plncli.models.findings import LOOK
from plncli.models.spec import SIGMA, Symbol, writes_square
from plncli.names import COLUMNS
from plncli.numerics.nesting import sketch, sketch_of
from plncli.results import FitResult
from plncli.runs import path
from plncli.runs.fingerprint import fingerprint
from plncli.runs.latent import write_latent
from plncli.runs.network.graphml import graphml
from plncli.runs.network.market import matrix_market
from plncli.runs.outcome import FOLDER, Member, Outcome
from plncli.runs.run import (
    MODEL_FILE,
    SCHEMA_VERSION,
    Run,
    made_run,
    pack,
    read_run,
)
from plncli.runs.trace import trace_row
from plncli.settings import absolute, applying, to_toml
from plncli.tables import writing as output
from plncli.tables.atomic import whole_folder, write_file
from plncli.tables.target import check_target
from plncli.tables.writing import FORMATS

OTHERS = ("summary.json", "manifest.json", MODEL_FILE, "config.toml", "run.log")


FILES = {".graphml": graphml, ".mtx": matrix_market}
"""What makes files that are no tables (`Spec.files`), by suffix."""


def table_names() -> tuple[str, ...]:
    """The tables that a fit of any model may leave."""
    own = dict.fromkeys(symbol.table for spec in MODELS.values() for symbol in spec.tables)
    further = dict.fromkeys(name for spec in MODELS.values() for name, _ in spec.further)
    return ("coefficients", "vcov", "loss_trace", "features", path.TABLE, *own, *further)


def written() -> set[str]:
    """The files that a fit of any model may leave."""
    files = {name for spec in MODELS.values() for name, _ in spec.files}
    return {f"{table}.{suffix}" for table in table_names() for suffix in FORMATS} | files | set(OTHERS)


STATUSES = ("estimated", "aliased", "infinite", "not estimable")
"""What is said of a coefficient: it has an estimate, it follows from others in the design, or why it has none."""
AXIS_NAMES = {
    "sample": "samples",
    "response": "responses",
    "term": "terms",
    "component": "components",
    "cluster": "clusters",
}  # axis -> attribute of a run


def with_checks(outcome: Outcome) -> Outcome:
    """With what the fit and its data alone tell of whether to trust it."""
    result, design = outcome.result, outcome.design
    subject = Subject(
        _facts(outcome),
        result.fitted,
        terms_of(design, result.data.terms),
        offset_of(applying(outcome.config), design),
        result.data.to("cpu", torch.float64),
    )
    return replace(outcome, checks=checks(subject))


def check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is in the way or cannot be written, before any work is done."""
    check_target(out, overwrite, written(), of_path)


def of_path(folder: Path) -> bool:
    """Whether a folder in that of a fit holds fits of a path, and nothing besides."""
    if folder.name != FOLDER or not folder.is_dir():
        return False
    places = [*folder.iterdir()]
    return all(place.is_dir() and not place.is_symlink() for place in places) and all(
        file.name in written() and file.is_file() for place in places for file in place.iterdir()
    )


def write(out: Path, outcome: Outcome, *, overwrite: bool | None = None) -> None:
    """Write the files of a fit into `out`. The target is checked again: it may have appeared during a long fit."""
    check_folder(out, outcome.config.overwrite if overwrite is None else overwrite)
    with whole_folder(out) as partial:
        _fill(partial, outcome)
        for member in outcome.path.members if outcome.path else ():
            folder = partial / FOLDER / member.name
            folder.mkdir(parents=True)
            if not isinstance(member.place, Path):
                _fill(folder, replace(member.place, config=member.config))
                continue
            for file in sorted(member.place.iterdir()):
                write_file(folder / file.name, file.read_bytes())


def _fill(folder: Path, outcome: Outcome) -> None:
    """Write the files of one fit."""
    for name, content in _contents(outcome):
        write_file(folder / name, content())
    if outcome.config.latent:
        write_latent(folder, outcome)


def _contents(outcome: Outcome) -> list[tuple[str, Callable[[], bytes]]]:
    """The name of each file, and what makes its bytes: one at a time, for they may be large."""
    result, config, run = outcome.result, outcome.config, run_of(outcome)
    tables: dict[str, Callable[[], pa.Table]] = {"loss_trace": lambda: trace_table(result)}
    if run.has_coefficients:
        tables["coefficients"] = lambda: coefficients(run)
    if result.inference is not None and result.inference.covariance is not None:
        tables["vcov"] = lambda: _vcov(result)
    if run.features:
        tables["features"] = lambda: features(run)
    for symbol in result.model.spec.tables:
        wanted = "sample" not in symbol.axes or (not symbol.asked if config.latent is None else config.latent)
        wanted &= not symbol.square or writes_square(config.own.get(SIGMA.name), len(run.responses))
        if symbol.name in run.estimates and wanted:
            tables[symbol.table] = lambda symbol=symbol: matrix(run, symbol)  # type: ignore[misc]
    tables |= further(run)
    if outcome.path is not None:
        tables[path.TABLE] = outcome.path.table
    suffix = config.format
    files: list[tuple[str, Callable[[], bytes]]] = [
        (f"{name}.{suffix}", lambda table=table: output.table_bytes(table(), suffix))  # type: ignore[misc]
        for name, table in tables.items()
    ]
    # The saved configuration never overwrites by itself: running it again must not replace this folder unasked.
    again = absolute(outcome.path.config if outcome.path else config).but(overwrite=False)
    return [
        *files,
        *((name, partial(FILES[Path(name).suffix], run)) for name, _ in run.spec.files),
        (MODEL_FILE, lambda: pack(*_kept(outcome))),
        ("summary.json", lambda: output.to_json(summary(outcome)).encode()),
        ("manifest.json", lambda: output.to_json(outcome.manifest).encode()),
        ("config.toml", lambda: to_toml(again).encode()),
        ("run.log", lambda: "".join(f"{line}\n" for line in outcome.log).encode()),
    ]


# --- tables ---


def _values(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def matrix(run: Run, symbol: Symbol) -> pa.Table:
    """A matrix with the names of its rows in the first column, and those of its columns in the header.

    A vector has one column, which is called like its table.
    """
    values, row = run.estimates[symbol.name], symbol.axes[0]
    values = values.reshape(len(values), -1)
    rows = getattr(run, AXIS_NAMES[row])
    columns = getattr(run, AXIS_NAMES[symbol.axes[1]]) if len(symbol.axes) > 1 else (symbol.table,)
    return output.with_names(row, rows, columns, [output.number_column(values[:, j]) for j in range(len(columns))])


def further(run: Run) -> dict[str, Callable[[], pa.Table]]:
    """Tables of other shapes that the fit leaves, by name."""
    fitted = run.fitted
    if not isinstance(fitted, Tabulating):
        return {}

    def made(columns: Mapping[str, Any]) -> pa.Table:
        return output.table({name: each if isinstance(each, list) else _values(each) for name, each in columns.items()})

    return {name: partial(made, columns) for name, columns in fitted.further_tables(run.samples).items()}


def coefficients(run: Run) -> pa.Table:
    """One row a response and term; what rests on standard errors is empty where there are none."""
    return output.table(coefficient_columns(run))


def coefficient_columns(run: Run) -> dict[str, Any]:
    """The same by column: texts as lists, numbers as arrays, nan where there is none; logarithms are natural.

    Aliased coefficients are among them, without an estimate. status: see `STATUSES`. DataError where there are none.
    """
    B = run.coefficient_table
    aliased = dict(run.aliased)
    terms, kept = list(run.terms), np.ones(len(run.terms) + len(aliased), bool)
    for place, name in sorted(aliased.items()):
        terms.insert(place, name)
        kept[place] = False

    def whole(values: np.ndarray) -> np.ndarray:
        full = np.full((len(terms), B.shape[1]), np.nan)
        full[kept] = values
        return full.T.reshape(-1)

    estimate, known = whole(B), np.tile(kept, B.shape[1])
    codes = np.where(~known, 1, np.where(np.isinf(estimate), 2, np.where(np.isnan(estimate), 3, 0)))
    empty = np.full(estimate.size, np.nan)
    return {
        "response": [response for response in run.responses for _ in terms],
        "term": terms * len(run.responses),
        "estimate": estimate,
        **{name: whole(run.inference[name]) if run.inference else empty for name in COLUMNS},
        "status": [STATUSES[code] for code in codes.tolist()],
    }


def features(run: Run) -> pa.Table:
    """What the file of counts says of the features: a row each, a column a fact, empty where it says nothing."""
    columns = [pa.array(texts, pa.string()) for texts in run.features.values()]
    return output.with_names("feature", run.responses, list(run.features), columns)


def _vcov(result: FitResult) -> pa.Table:
    """The covariance of all coefficients: rows as in the table of coefficients, a column `response:term` for each."""
    assert result.inference is not None and result.inference.covariance is not None
    V, data = _values(result.inference.covariance), result.data
    pairs = [(response, term) for response in data.responses for term in data.terms]
    columns = [output.number_column(V[:, i].copy()) for i in range(len(pairs))]
    names = [pa.array(part, pa.string()) for part in zip(*pairs, strict=True)]
    return pa.Table.from_arrays([*names, *columns], names=["response", "term", *(f"{r}:{t}" for r, t in pairs)])


def trace_table(result: FitResult) -> pa.Table:
    """As loss_trace.csv holds it."""
    rows = [trace_row(step, result.model.spec.likelihood) for step in result.optimum.trace]
    types = {name: np.int64 if name in ("step", "evaluations") else np.float64 for name in rows[0]}
    return output.table(
        {name: np.array([each.get(name, np.nan) for each in rows], kind) for name, kind in types.items()}
    )


# --- summary and model ---


def summary(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints and summary.json holds."""
    result = outcome.result
    content = _facts(outcome) | {
        "checks": [check.to_json() for check in outcome.checks],
        "warnings": [check.line for check in outcome.checks if check.state == LOOK],
    }
    if outcome.path is not None:
        content["path"] = outcome.path.told()
    for symbol in result.model.spec.symbols:
        if symbol.reported:
            content[symbol.reported] = _reported(result, symbol)
    return content


def _facts(outcome: Outcome) -> dict[str, Any]:
    """The summary without its verdict."""
    result, criteria, optimum = outcome.result, outcome.result.criteria, outcome.result.optimum
    return {
        "schema_version": SCHEMA_VERSION,
        "model": result.model.spec.name,
        "n_samples": result.data.n,
        "n_features": result.data.p,
        "n_covariates": result.data.d,
        "covariance": outcome.config.spec.structure(outcome.config.own),
        **outcome.config.spec.told(outcome.config.own),
        result.model.spec.likelihood: criteria.loglik,
        "n_parameters": criteria.n_parameters,
        "aic": criteria.aic,
        "bic": criteria.bic,
        "icl": criteria.icl,
        "r2": criteria.r2,
        **result.facts,
        "converged": result.converged,
        "status": optimum.status.name.lower(),
        "gap": optimum.gap,
        "grad_norm": optimum.grad_norm,
        "steps": optimum.steps,
        "evaluations": optimum.evaluations,
        **({"starts": optimum.starts.number, "starts_agree": optimum.starts.agree} if optimum.starts else {}),
        **({} if optimum.kept is None else {"step_kept": optimum.kept}),
        "fit_seconds": optimum.seconds,
        "se": "none" if result.inference is None else result.inference.method,
        **({} if result.inference is None else result.inference.facts),
        "level": None if result.inference is None else result.inference.level,
        "se_seconds": None if result.inference is None else result.inference.seconds,
        "total_seconds": outcome.total_seconds,
        "device": outcome.device,
        "dtype": outcome.config.dtype,
        "optimizer": outcome.config.optimizer,
        "findings": [asdict(finding) for finding in result.findings],
    }


def _reported(result: FitResult, symbol: Symbol) -> Any:
    """A symbol by the names of its rows and columns."""
    values = _values((result.state if symbol.state else result.estimates)[symbol.name])
    rows, *columns = (getattr(result.data, AXIS_NAMES[axis]) for axis in symbol.axes)
    if not columns:
        return dict(zip(rows, values.tolist(), strict=True))
    return {name: dict(zip(columns[0], row, strict=True)) for name, row in zip(rows, values.tolist(), strict=True)}


def run_of_member(member: Member) -> Run:
    """A fit of a path, as later verbs read it."""
    return read_run(member.place) if isinstance(member.place, Path) else run_of(member.place, member.name)


def run_of(outcome: Outcome, name: str = "this fit") -> Run:
    """The run as later verbs read it back, without a file."""
    return made_run(name, *_kept(outcome))


def _kept(outcome: Outcome) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and groups of tensors of a run (`runs.run`)."""
    result = outcome.result
    spec = result.model.spec
    latent = any("sample" in symbol.axes for symbol in spec.symbols)
    of_features = {"features": outcome.features} if outcome.features else {}
    told = {symbol.reported for symbol in spec.symbols if symbol.reported}
    facts = {
        "model": result.model.spec.name,
        "settings": applying(outcome.config),
        "design": outcome.design,
        "classes": outcome.classes,
        "samples": result.data.samples if latent else (),
        "terms": result.data.terms,
        "responses": result.data.responses,
        "versions": outcome.manifest.get("versions", {}),
        "summary": output.finite({key: value for key, value in summary(outcome).items() if key not in told}),
        "fingerprint": fingerprint(result.data),
        **of_features,
    }
    groups: dict[str, Any] = {
        "estimates": result.estimates,
        "state": result.state,
        "sketch": {
            "X": sketch_of(result.data),
            **({} if result.data.X0 is None else {"X0": sketch(result.data.X0)}),
        },
    }
    if result.inference is not None:
        groups["inference"] = tensors_of(result.inference)
    return facts, groups
