"""The folder of a simulation: the tables, the truth about them, and a configuration to fit them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from plncli.models import MODELS
from plncli.models.abilities import Tabulating
from plncli.models.links import edge_columns
from plncli.models.spec import COUNTS, NUMBERS
from plncli.settings import built, to_toml
from plncli.simulation.truth import Outcome, Truth
from plncli.tables import writing as output
from plncli.tables.atomic import whole_folder, write_file
from plncli.tables.target import check_target
from plncli.tables.writing import FORMATS

FURTHER = tuple(f"true_{name}" for spec in MODELS.values() for name, _ in spec.further)
TRUE = ("true_coefficients", "true_loadings", "true_sigma", *dict.fromkeys(FURTHER), "true_latent")
TABLES = ("counts", "response", "covariates", "exposure", "offsets", *TRUE)
FACTS = "simulation.json"
WRITTEN = {f"{name}.{suffix}" for name in TABLES for suffix in FORMATS} | {FACTS, "config.toml"}


def write(out: Path, outcome: Outcome, suffix: str, *, latent: bool, overwrite: bool) -> None:
    """Write the tables, the truth and a configuration to fit them with into `out`."""
    check_target(out, overwrite, WRITTEN)
    made = tables(outcome)
    with whole_folder(out) as partial:
        for name, table in made.items():
            if latent or name != "true_latent":
                write_file(partial / f"{name}.{suffix}", output.table_bytes(table(), suffix))
        paths: dict[str, Any] = {name: f"{name}.{suffix}" for name in made if not name.startswith("true_")}
        config = built(outcome.truth.spec.name, {**paths, **settings(outcome)})
        write_file(partial / "config.toml", to_toml(config).encode())
        write_file(partial / FACTS, output.to_json(outcome.facts).encode())


def tables(outcome: Outcome) -> dict[str, Callable[[], pa.Table]]:
    """What makes each table, the truth among them, by its name: one at a time, for they may be large."""
    truth = outcome.truth
    made: dict[str, Callable[[], pa.Table]] = {truth.main: lambda: _main(outcome)}
    if (B := truth.coefficients) is not None:
        made["true_coefficients"] = lambda: _coefficients(truth, B)
    if truth.covariates is not None:
        made["covariates"] = lambda: truth.covariates
    if truth.offset:
        made[truth.offset] = lambda: _offset(truth)
    if "C" in truth.fitted.estimates:
        C = truth.fitted.tensor("C")
        made["true_loadings"] = lambda: _matrix(
            "response", truth.responses, tuple(f"PC{k + 1}" for k in range(C.shape[1])), C
        )
    if "Sigma" in truth.fitted.estimates:
        Sigma = truth.fitted.Sigma
        made["true_sigma"] = lambda: _matrix("response", truth.responses, truth.responses, Sigma)
    if "Omega" in truth.fitted.estimates and truth.facts.get("design", {}).get("graph"):
        edges = edge_columns(truth.fitted.tensor("Omega"), truth.responses)
        made["true_edges"] = lambda: _plain(edges)
    if isinstance(truth.fitted, Tabulating):
        for name, columns in truth.fitted.further_tables(truth.samples).items():
            made[f"true_{name}"] = lambda columns=columns: _plain(columns)  # type: ignore[misc]
    made["true_latent"] = lambda: _matrix("sample", truth.samples, truth.responses, outcome.drawn.latent)
    return made


def _plain(columns: Mapping[str, Any]) -> pa.Table:
    return output.table({head: each if isinstance(each, list) else each.numpy() for head, each in columns.items()})


def _main(outcome: Outcome) -> pa.Table:
    """Counts as whole numbers, classes by their labels where they have any, other responses as they are."""
    truth, Y = outcome.truth, outcome.drawn.Y
    if truth.spec.response is NUMBERS:
        return _matrix("sample", truth.samples, truth.responses, Y)
    if not truth.classes:
        return _matrix("sample", truth.samples, truth.responses, Y.long())
    cells = [output.text_column([labels[int(y)] for y in Y[:, j].tolist()]) for j, labels in enumerate(truth.classes)]
    return output.with_names("sample", truth.samples, truth.responses, cells)


def _offset(truth: Truth) -> pa.Table:
    columns = truth.responses if truth.O.shape[1] == len(truth.responses) > 1 else (truth.offset,)
    return _matrix("sample", truth.samples, columns, truth.O.exp() if truth.spec.response is COUNTS else truth.O)


def _coefficients(truth: Truth, B: Tensor) -> pa.Table:
    """One row a response and term."""
    terms, responses = truth.terms, truth.responses
    return output.table(
        {
            "response": [response for response in responses for _ in terms],
            "term": list(terms) * len(responses),
            "value": B.mT.reshape(-1).numpy(),
        }
    )


def _matrix(what: str, rows: tuple[str, ...], columns: tuple[str, ...], values: Tensor) -> pa.Table:
    cells = [output.number_column(values[:, j].numpy()) for j in range(len(columns))]
    return output.with_names(what, rows, columns, cells)


def settings(outcome: Outcome) -> dict[str, Any]:
    """Of a fit of the simulated tables, besides these."""
    given: dict[str, Any] = {"formula": outcome.truth.formula, **outcome.truth.own}
    if outcome.facts.get("empty_samples") or outcome.facts.get("empty_features"):
        given["all_zero"] = "drop"
    return given
