"""The model file: what later verbs read back, and what tells runs on different data apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tables import dataset, pln_table

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.files import runs
from plncli.files.runs import fingerprint, pack, read_run, sketch
from plncli.names import COLUMNS

DESIGN = {
    "formula": {"text": "~ 0 + a + b", "lhs": [], "rhs": "0 + a + b", "offsets": [], "columns": ["a", "b"]},
    "x": {
        "formula": "0 + a + b",
        "columns": {"a": None, "b": None},
        "state": {"transforms": {"items": []}, "encoders": {}, "columns": {"a": [0], "b": [1]}},
        "terms": ["a", "b"],
    },
    "offset": None,
}
FACTS = {
    "model": "linear",
    "settings": {},
    "design": DESIGN,
    "classes": None,
    "samples": (),
    "terms": ("a", "b"),
    "responses": ("y",),
    "versions": {},
}
ESTIMATES = {"B": torch.tensor([[1.0], [math.nan]])}


@pytest.mark.parametrize("named", [".", "model.safetensors"])
def test_a_run_is_its_folder_or_its_model_file(tmp_path: Path, named: str) -> None:
    inference = {"df": torch.tensor(math.inf)} | dict.fromkeys(COLUMNS, torch.ones(2, 1))
    groups = {"estimates": ESTIMATES, "inference": inference}
    (tmp_path / "model.safetensors").write_bytes(pack(FACTS, groups))
    run = read_run(tmp_path / named)
    assert (run.path, run.model, run.terms) == (tmp_path / runs.MODEL_FILE, "linear", ("a", "b"))
    np.testing.assert_array_equal(run.estimates["B"], ESTIMATES["B"])
    assert run.inference["df"] == math.inf and {*run.inference} == {"df", *COLUMNS}
    assert "M" not in run.estimates
    with pytest.raises(KeyError):
        run.estimates["M"]


def test_a_file_without_later_groups_reads_all_the_same(tmp_path: Path) -> None:
    facts = {"schema_version": 1} | FACTS
    tensors = {f"estimates.{name}": tensor for name, tensor in ESTIMATES.items()}
    save_file(tensors, tmp_path / "model.safetensors", {key: json.dumps(value) for key, value in facts.items()})
    run = read_run(tmp_path)
    assert (run.summary, run.fingerprint, len(run.inference), len(run.sketch)) == ({}, {}, 0, 0)


@pytest.mark.parametrize("content", [b"", b"not a model at all", pack({}, {}), pack(FACTS, {"state": ESTIMATES})[:-1]])
def test_a_damaged_run_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="is damaged, or was not written by plncli"):
        read_run(tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not the folder of a fit: it has no model\.safetensors"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_run(tmp_path / "a")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(pack(FACTS | {"schema_version": 99}, {}))
    with pytest.raises(DataError, match="another version"):
        read_run(tmp_path)


# --- fingerprints ---

CHANGES: dict[str, Callable[[Dataset], Any]] = {
    "samples": lambda data: replace(data, samples=data.samples[::-1]),
    "responses": lambda data: replace(data, responses=data.responses[::-1]),
    "table": lambda data: replace(data, Y=data.Y + torch.eye(len(data.Y))[:, : data.p]),
    "weights": lambda data: replace(data, w=data.w * 2),
    "offset": lambda data: replace(data, O=data.O + 0.1),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_fingerprint_tells_which_part_differs(part: str) -> None:
    data = pln_table(20, 4)[0]
    before, after = fingerprint(data), fingerprint(CHANGES[part](data))
    assert {name for name in before if before[name] != after[name]} == {part}


def test_a_fingerprint_knows_unobserved_cells_from_zeros() -> None:
    data = pln_table(20, 4)[0]
    assert fingerprint(data)["table"] != fingerprint(replace(data, K=torch.ones_like(data.Y).bool()))["table"]


def test_a_fingerprint_does_not_depend_on_the_design_or_the_precision() -> None:
    data = pln_table(20, 4, 3)[0]
    data = replace(data, O=torch.randn(20, 4, dtype=torch.float64))
    assert fingerprint(data) == fingerprint(data.to(dtype=torch.float32))
    assert fingerprint(data) == fingerprint(replace(data, X=data.X * 2))


# --- sketches ---


def rank(*parts: torch.Tensor) -> int:
    return int(torch.linalg.matrix_rank(torch.cat(parts, 1)))


@pytest.mark.parametrize("n", [50, 1024, 1025, 5000])
def test_a_sketch_spans_what_the_design_spans(n: int) -> None:
    g = torch.Generator().manual_seed(n)
    X = torch.randn(n, 6, generator=g, dtype=torch.float64)
    X[:, 0], X[:, 1] = 1.0, (torch.arange(n) % 7 == 0).double()
    inside = X[:, :3] @ torch.randn(3, 2, generator=g, dtype=torch.float64)
    S = sketch(X)
    assert S.shape == (min(n, runs.SKETCH), 6)
    assert rank(S) == 6
    assert rank(S[:, :3], sketch(inside)) == 3
    assert rank(S[:, :3], sketch(inside + 1e-3 * X[:, 5:])) == 4
    other = X[:, 1:2].clone()
    other[3] += 1.0  # one sample of another group
    assert rank(S, sketch(other)) == 7


def test_a_design_that_is_stretched_keeps_its_span() -> None:
    data = dataset(torch.ones(3000, 1), torch.rand(3000, 2))
    assert rank(sketch(data.X), sketch(data.X * torch.tensor([1e3, 1e-3]).double())) == 2
