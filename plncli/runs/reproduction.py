"""Two folders of the same fit, held against each other: what is the same to the bit, and how far the rest is apart."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import csv, feather, parquet
from safetensors import SafetensorError
from safetensors.numpy import load_file

from plncli.errors import DataError
from plncli.models import MODELS
from plncli.names import SE_CUT_SHORT
from plncli.runs import schema as schemas
from plncli.runs.folder import table_names
from plncli.runs.run import MODEL_FILE
from plncli.tables.writing import FORMATS

TIME = "seconds"
"""How the names of what may differ end."""


class Repetition(NamedTuple):
    """Names of files that are the same but for times, and of those that are not; notes on versions.

    largest: the largest difference between two numbers, relative to the larger.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]
    largest: float
    notes: tuple[str, ...]


def model_named(config: Path) -> str:
    """The model that a configuration file of a fit names. DataError where it cannot be read."""
    try:
        model = tomllib.loads(config.read_text(encoding="utf-8"))["model"]
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise DataError(f"`{config}` is not the configuration of a fit: {error}.") from None
    if model not in MODELS:
        raise DataError(f"`{config}` is the configuration of no model that there is.")
    return str(model)


def ended_by_the_clock(folder: Path) -> bool:
    """Whether a fit was cut short by a time limit or a signal. DataError where its summary cannot be read."""
    summary = schemas.read(folder / "summary.json", "summary")
    codes = {finding["code"] for finding in summary["findings"]}
    return summary["status"] in ("time_limit", "interrupted") or SE_CUT_SHORT in codes


def compared(first: Path, second: Path) -> Repetition:
    """Compare all that a fit found: tables, summary and model."""
    same: list[str] = []
    different: list[str] = []
    largest = 0.0
    tables = dict.fromkeys(table_names())  # some models have tables of the same name
    names = [f"{table}.{suffix}" for table in tables for suffix in FORMATS] + ["summary.json", MODEL_FILE]
    for name in names:
        there = [(folder / name).is_file() for folder in (first, second)]
        if not any(there):
            continue
        gap = _distance(first / name, second / name) if all(there) else math.inf
        (different if gap else same).append(name)
        largest = max(largest, gap)
    return Repetition(tuple(same), tuple(different), largest, tuple(_versions(first, second)))


def _distance(a: Path, b: Path) -> float:
    """The largest relative difference of numbers in two files; 0 where all is the same, inf where texts are not."""
    if a.read_bytes() == b.read_bytes():
        return 0.0
    nothing = object()
    try:
        return max(_apart(x, y) for x, y in zip_longest(_content(a), _content(b), fillvalue=nothing))
    except (pa.ArrowException, SafetensorError, ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"{a} is damaged: {str(error).splitlines()[0][:200]}.") from None


def _apart(x: Any, y: Any) -> float:
    if x == y or (x != x and y != y):
        return 0.0
    if isinstance(x, float) and isinstance(y, float) and math.isfinite(x) and math.isfinite(y):
        return abs(x - y) / max(abs(x), abs(y))
    return math.inf


def _content(path: Path) -> Iterator[Any]:
    """Numbers and texts of a file, in order, without times."""
    if path.name == MODEL_FILE:
        for name, array in sorted(load_file(path).items()):
            yield from (name, *(float(value) for value in array.astype(float).ravel()))
    elif path.suffix == ".json":
        yield from _flat(json.loads(path.read_text(encoding="utf-8")))
    else:
        table = _table(path)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if not name.endswith(TIME):
                yield from (name, *(float(v) if isinstance(v, int) else v for v in column.to_pylist()))


def _table(path: Path) -> pa.Table:
    """A table that a fit wrote."""
    if path.suffix in (".csv", ".tsv"):
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="," if path.suffix == ".csv" else "\t"))
    return parquet.read_table(path) if path.suffix == ".parquet" else feather.read_table(path)


def _flat(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for key, value in content.items():
            if not key.endswith(TIME):
                yield key
                yield from _flat(value)
    elif isinstance(content, list):
        for value in content:
            yield from _flat(value)
    else:
        yield float(content) if isinstance(content, int) and not isinstance(content, bool) else content


def _versions(first: Path, second: Path) -> Iterator[str]:
    """What of the two manifests may be why they differ."""
    try:
        a, b = (schemas.read(folder / "manifest.json", "manifest") for folder in (first, second))
    except DataError:
        return
    for name, version in a["versions"].items():
        if b["versions"].get(name) != version:
            yield f"It was fitted with {name} {version}, and now with {b['versions'].get(name)}."
    for name, what in (("threads", "threads"), ("device", "the device")):
        if a.get(name) != b.get(name):
            yield f"It was fitted with {what} {a.get(name)}, and now with {b.get(name)}."
    if (shared := a.get("processes")) != (now := b.get("processes")):
        yield f"Processes that shared its samples: {shared or 1} then, {now or 1} now."
