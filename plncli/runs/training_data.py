"""The tables of a finished fit, read once more: a run holds what was estimated, not what it was estimated from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError, UsageError, some
from plncli.evaluation.memory import in_words
from plncli.inputs.alignment.positions import named_by_position
from plncli.inputs.blocks.loading import bytes_held
from plncli.inputs.loading import Inputs, load
from plncli.numerics.nesting import sketch, sketch_of
from plncli.runs import schema as schemas
from plncli.runs.fingerprint import fingerprint
from plncli.runs.run import Run
from plncli.runtime import free_memory
from plncli.settings import FRAME, FitConfig, built, option, recorded, settings, split_part
from plncli.tables import writing as output
from plncli.tables.formats import digest, lies_at
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.json"
WITH_ZEROS = 16.0
"""Bytes that a cell of counts takes at least which a fit has taken without their zeros."""
NAMES = {
    "samples": "names of samples",
    "responses": "names of features",
    "table": "entries",
    "weights": "weights",
    "offset": "offsets",
    "design": "covariates",
}


class Origin(NamedTuple):
    """What a fit was made to: its data on the CPU in float64, and its covariates as a path or table, None for none."""

    data: Dataset
    covariates: str | Table | None
    sample_names: bool = True


def read_again(
    run: Run, moved: Mapping[str, str] | None = None, advice: str = "Put the table back as it was"
) -> Origin:
    """The data of a fit as it read them.

    moved: files that have moved, by option; advice: what to do about one that cannot be read, `{}` being its option.
    DataError when a table is gone or has changed, or when what was given instead is not what was fitted.
    """
    told, moved = manifest(run), moved or {}
    config = _configuration(run, Path(told.get("folder", ".")), moved, advice)
    for source in told.get("inputs", ()):
        if source["role"] not in moved:
            _check_unchanged(
                run,
                source,
                _named(config, source["role"]),
                advice,
            )
    _check_known(run, config, {source["role"] for source in told.get("inputs", ())} | {*moved}, advice)
    return _origin(run, config, {})


def given_again(run: Run, tables: Mapping[str, Table], chosen: Mapping[str, Any]) -> Origin:
    """The same of tables that are there, by option. chosen: settings of the data; where it has none, those of the fit.

    DataError when they are not what was fitted.
    """
    known = settings(run.model)
    kept = {name: value for name, value in run.settings.items() if name in known and not known[name].path}
    own = {setting.name: setting.default for setting in run.spec.settings}
    kept |= own | {"se": "auto"}  # which say nothing of the data, but ask for tables
    learnt = run.design.get("size_factors")
    if {"offsets", "exposure"} & set(chosen):
        kept.pop("offset_method", None)  # the offsets then differ, which is said
    elif learnt and len(learnt["blocks"]) > 1:
        kept["offset_blocks"] = FRAME
        tables = {**tables, "offset_blocks": _blocks(run, learnt)}
    return _origin(run, built(run.model, kept | dict(chosen)), tables)


def _blocks(run: Run, learnt: Mapping[str, Any]) -> Table:
    """The table of blocks of features that a run was fitted with."""
    blocks = output.table({"block": [learnt["blocks"][b] for b in learnt["block"]]})
    features = tuple(learnt.get("features") or run.responses)
    return Table("offset blocks of the fit", "offset-blocks", features, ("block",), blocks)


def _origin(run: Run, config: FitConfig, given: Mapping[str, Table]) -> Origin:
    if not given:
        _check_held(run, config)
    inputs = load(config, device=torch.device("cpu"), dtype=torch.float64, given=given)
    _check_same(run, inputs)
    covariates: str | Table | None = given.get("covariates") or config.covariates
    if covariates is None and inputs.design.columns and config.counts:
        covariates = split_part(config.counts)[0]  # which says what its samples are
    if inputs.positions and covariates:
        reading = {"sample_names": config.sample_names, "na_values": config.na_values}
        covariates = named_by_position(covariates, inputs.positions.names, **reading)
    return Origin(inputs.data, covariates, config.sample_names)


def _check_held(run: Run, config: FitConfig) -> None:
    """DataError for a table that stayed in its file where memory does not hold it."""
    cells = run.summary["n_samples"] * run.summary["n_features"]
    counted = run.spec.sparse(config.own, cells)
    needs, free = WITH_ZEROS * cells if counted else bytes_held(config), free_memory(torch.device("cpu"))
    if free is not None and needs > free:
        file = config.counts if counted else config.covariates
        raise DataError(
            f"{run.place} was fitted to {file} by blocks of its rows, and this takes all of them at once: about "
            f"{in_words(needs)} of memory, and {in_words(free)} are free. Use a larger machine, or fit to some of the "
            "rows (--filter)."
        )


def manifest(run: Run) -> dict[str, Any]:
    """What the folder of a run says of its inputs; nothing where the model file was given alone.

    DataError where it is there, and not what a fit writes.
    """
    path = run.path.parent / MANIFEST
    if not path.exists():
        return {}
    return schemas.read(path, "manifest")


def _configuration(run: Run, folder: Path, moved: Mapping[str, str], advice: str) -> FitConfig:
    """The settings of the fit, which was made in `folder`, with paths that mean the same from here."""
    known = settings(run.model)
    paths: dict[str, Any] = {"overwrite": False}
    for name in moved:
        if name not in known:
            raise UsageError(f"{option(name)} is not for a fit of the model {run.model}, as {run.place} is.")
    config = recorded(run.model, run.settings, run.path)
    for name, setting in known.items():
        value = config.value(name)
        if name in moved or not setting.path or not value:
            continue
        if value in ("-", FRAME):
            source = "a table from standard input" if value == "-" else "a data frame"
            raise UsageError(
                f"{run.place} was fitted to {source}, which cannot be read again. "
                f"{advice.format(option(name))}, or fit to a file."
            )
        beside = folder / value
        if setting.path != "maybe" or beside.is_file():
            paths[name] = str(beside)
    return config.but(**paths | dict(moved))


def _named(config: FitConfig, role: str) -> str:
    """The path that the setting of that name holds, empty where there is none."""
    return (config.value(role) if role in settings(config.model) else None) or ""


def _check_known(run: Run, config: FitConfig, roles: Collection[str], advice: str) -> None:
    """DataError for a file that the fit does not say it read, with a checksum: a run may name whatever lies here."""
    for name, setting in settings(run.model).items():
        value = config.value(name)
        file = setting.path == "file" or (setting.path == "maybe" and value and Path(value).is_absolute())
        if file and value and name not in roles:
            raise DataError(
                f"{run.place} does not say what it read as {option(name)}: its {MANIFEST} has no checksum of {value}. "
                f"{advice.format(option(name))}."
            )


def _check_unchanged(run: Run, source: Mapping[str, Any], path: str, advice: str) -> None:
    """DataError unless the file holds the bytes that were fitted."""
    advice = advice.format(option(source["role"]))
    place = Path(split_part(path)[0])
    if not lies_at(place):
        raise DataError(f"{path or source['path']}, to which {run.place} was fitted, is gone. {advice}.")
    if digest(place) != source["sha256"]:
        raise DataError(f"{path} has changed since {run.place} was fitted to it. {advice}, or fit again.")


def _check_same(run: Run, inputs: Inputs) -> None:
    """DataError unless the data are those that were fitted."""
    found = fingerprint(inputs.data)
    parts = [part for part, digest in run.fingerprint.items() if found.get(part) != digest]
    if not parts and not _same_design(run, inputs):
        parts = ["design"]
    if parts:
        raise DataError(
            f"The tables are not those that {run.place} was fitted to: they differ in "
            f"{some(NAMES.get(part, part) for part in parts)}."
        )


def _same_design(run: Run, inputs: Inputs) -> bool:
    """Whether the columns of the design are those of the fit, as far as its sketch and single precision tell."""
    if inputs.design.terms != run.terms:
        return False
    data = inputs.data
    if data.zero_terms != run.zero_terms:
        return False
    designs = {"X": sketch_of(data)} | ({} if data.X0 is None else {"X0": sketch(data.X0)})
    return all(name in run.sketch and _alike(found, run.sketch[name]) for name, found in designs.items())


def _alike(X: Tensor, kept: np.ndarray) -> bool:
    """Whether a sketch is the one that was kept, to single precision."""
    known = torch.from_numpy(kept).double()
    size = torch.linalg.vector_norm(known, dim=0)
    return X.shape == known.shape and bool((torch.linalg.vector_norm(X - known, dim=0) <= 1e-5 * size).all())
