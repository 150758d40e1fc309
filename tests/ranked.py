"""A command that several processes share, as torchrun would start them, and the files of two fits held together."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from forked import Forked

LATER = ("seconds", "gap", "grad_norm", "checks", "evaluations", "steps")
"""In the names of what of a summary may differ by rounding, or by a step."""


def started(
    number: int, words: tuple[str, ...], cwd: Path | list[Path], env: Mapping[str, str] | None = None
) -> list[Forked]:
    """The processes, all in one folder, or each in its own."""
    folders = cwd if isinstance(cwd, list) else [cwd] * number
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [Forked(words, folder, {**place, "RANK": str(rank), **(env or {})}) for rank, folder in enumerate(folders)]


def ended(processes: list[Forked]) -> tuple[list[int], list[str]]:
    """Their exit codes, and what each said."""
    said = [process.communicate()[1] for process in processes]
    return [process.wait() for process in processes], said


def shared(number: int, words: tuple[str, ...], cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What the first said of a command that all end well; the others say nothing."""
    codes, said = ended(started(number, words, cwd, env))
    assert codes == [0] * number, said
    assert not any(said[1:]), said
    return said[0]


def check_same(one: Path, other: Path, tolerance: float = 1e-6) -> None:
    """The same files, texts, and numbers but for rounding."""
    assert {file.name for file in one.iterdir()} == {file.name for file in other.iterdir()}
    for file in one.glob("*.csv"):
        if file.name != "loss_trace.csv":
            pd.testing.assert_frame_equal(
                pd.read_csv(file), pd.read_csv(other / file.name), rtol=tolerance, atol=tolerance
            )
    mine, others = (json.loads((place / "summary.json").read_text()) for place in (one, other))
    assert {*mine} == {*others}
    for name in mine:
        if not any(word in name for word in LATER):
            _check(name, mine[name], others[name], tolerance)


def _check(name: str, one: Any, other: Any, tolerance: float) -> None:
    if isinstance(one, dict):
        assert {*one} == {*other}, name
        for key in one:
            _check(f"{name}.{key}", one[key], other[key], tolerance)
    elif isinstance(one, float) and isinstance(other, float):
        assert np.isclose(one, other, rtol=tolerance, atol=tolerance), (name, one, other)
    else:
        assert one == other, name
