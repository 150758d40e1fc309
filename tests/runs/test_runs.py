"""The model file: what later verbs read back, and what tells runs on different data apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tables import dataset, pln_table

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.names import COLUMNS
from plncli.numerics.nesting import SKETCH, sketch
from plncli.runs import run as runs
from plncli.runs.fingerprint import fingerprint
from plncli.runs.run import pack, read_run

WRITTEN = Path(__file__).parents[1] / "reference/0.1.0"


def parts(model: str) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """Facts and groups of tensors of a fit of a model."""
    with safe_open(WRITTEN / model / runs.MODEL_FILE, framework="pt") as file:
        facts = {name: json.loads(text) for name, text in file.metadata().items()}
        groups: dict[str, dict[str, torch.Tensor]] = {group: {} for group in runs.GROUPS}
        for name in file.keys():  # noqa: SIM118 (no mapping)
            group, _, symbol = name.partition(".")
            groups[group][symbol] = file.get_tensor(name)
    return facts, groups


FACTS, GROUPS = parts("linear")


@pytest.mark.parametrize("named", [".", "model.safetensors"])
def test_a_run_is_its_folder_or_its_model_file(tmp_path: Path, named: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(pack(FACTS, GROUPS))
    run = read_run(tmp_path / named)
    assert (run.path, run.model, [*run.terms]) == (tmp_path / runs.MODEL_FILE, "linear", FACTS["terms"])
    np.testing.assert_array_equal(run.estimates["B"], GROUPS["estimates"]["B"])
    assert run.inference["df"] == GROUPS["inference"]["df"] and {*run.inference} == {"df", "blocks", *COLUMNS}
    assert "M" not in run.estimates
    with pytest.raises(KeyError):
        run.estimates["M"]


@pytest.mark.parametrize("model", ["pln", "linear", "logistic"])
def test_a_file_holds_all_that_verbs_ask_for(tmp_path: Path, model: str) -> None:
    facts, groups = parts(model)
    path = tmp_path / "model.safetensors"
    path.write_bytes(pack(facts, groups | {"inference": {}}))
    assert not read_run(tmp_path).inference  # a fit with --se none
    del facts["schema_version"]  # which `pack` adds
    lacking = [pack({key: value for key, value in facts.items() if key != name}, groups) for name in facts]
    for group, members in groups.items():
        for name in members:
            left = {symbol: tensor for symbol, tensor in members.items() if symbol != name}
            lacking.append(pack(facts, groups | {group: left}))
    assert len(lacking) >= 20
    for content in lacking:
        path.write_bytes(content)
        with pytest.raises(DataError, match="is damaged, or was not written by plncli"):
            read_run(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model at all", pack({}, {}), pack(FACTS, GROUPS)[:-1]])
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
    assert S.shape == (min(n, SKETCH), 6)
    assert rank(S) == 6
    assert rank(S[:, :3], sketch(inside)) == 3
    assert rank(S[:, :3], sketch(inside + 1e-3 * X[:, 5:])) == 4
    other = X[:, 1:2].clone()
    other[3] += 1.0  # one sample of another group
    assert rank(S, sketch(other)) == 7


def test_a_design_that_is_stretched_keeps_its_span() -> None:
    data = dataset(torch.ones(3000, 1), torch.rand(3000, 2))
    assert rank(sketch(data.X), sketch(data.X * torch.tensor([1e3, 1e-3]).double())) == 2
