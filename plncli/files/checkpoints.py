"""Checkpoints of a fit that is not done: at most two files beside the results to be, each whole, checked and data only.

They are written in turn, so that the older one stands while the newer is written, and are gone when the fit is done.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from plncli.errors import DataError
from plncli.files.folder import whole_file
from plncli.optim.base import State, Step

SUFFIX = ".checkpoint"
FILES = ("a.safetensors", "b.safetensors")
SCHEMA_VERSION = 1


def folder_of(out: Path) -> Path:
    """The folder of the checkpoints of a fit whose results go to `out`."""
    return out.with_name(out.name + SUFFIX)


class Keeper:
    """Keeps the state of a fit: every so many seconds, and where it ends before its time.

    folder: of the checkpoints; about: what is fitted, as JSON, to be compared when the fit is taken up; every: seconds.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], every: float) -> None:
        self.folder, self.about, self.every = folder, about, every
        self._began = self._saved = time.monotonic()
        self._latest: State | None = None
        self._next = 0
        self.failure = ""

    def offer(self, state: State) -> None:
        """Told the state between two steps; saved if it is time."""
        self._latest = state
        if time.monotonic() - self._saved >= self.every:
            self.save()

    def save(self) -> bool:
        """Save the state that was offered last, if there is one; a disk that is full is no reason to end a fit."""
        if self._latest is None:
            return False
        made = [folder for folder in (self.folder, *self.folder.absolute().parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            whole_file(self.folder / FILES[self._next], packed(self._latest, self.about))
        except (OSError, DataError) as error:
            self.failure = str(error)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            return False
        finally:
            self._saved = time.monotonic()
        self._next = 1 - self._next
        return True

    def discard(self) -> None:
        """Remove the checkpoints: the fit is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def packed(state: State, about: Mapping[str, Any]) -> bytes:
    """A checkpoint as the bytes of a safetensors file, with a checksum of all that is in it."""
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.tensors.items()}
    texts = {
        "schema_version": json.dumps(SCHEMA_VERSION),
        "facts": json.dumps(state.facts),
        "trace": json.dumps([astuple(step) for step in state.trace]),
        "about": json.dumps(about),
    }
    return save(arrays, {**texts, "sha256": _checksum(arrays, texts)})


def _checksum(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    for name in sorted(texts):
        digest.update(f"{name} {texts[name]}".encode())
    return digest.hexdigest()


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """The state in a checkpoint, and what it is about; DataError where it is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            texts = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if texts.pop("sha256", "") != _checksum(arrays, texts):
            raise DataError(f"{path} is damaged: its content is not what was written.")
        version, facts, trace, about = (
            json.loads(texts[name]) for name in ("schema_version", "facts", "trace", "about")
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged, or no checkpoint: {error}.") from None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} was written by another version of plncli.")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return State(tensors, facts, tuple(Step(*row) for row in trace)), about


def newest(folder: Path) -> tuple[State, dict[str, Any], tuple[str, ...]] | None:
    """The furthest state of a folder of checkpoints, what it is about, and notes on damaged ones; None without any.

    DataError where there are checkpoints, and all are damaged.
    """
    found, damaged = [], []
    for name in FILES:
        if (folder / name).is_file():
            try:
                found.append(read(folder / name))
            except DataError as error:
                damaged.append(str(error))
    if not found:
        if damaged:
            raise DataError(f"{damaged[0]} Remove {folder} to begin anew.")
        return None
    state, about = max(found, key=lambda pair: _progress(pair[0]))
    return state, about, tuple(f"{sentence} An older checkpoint is used." for sentence in damaged)


def _progress(state: State) -> tuple[int, int]:
    """How far a state is: parts that are done, and steps of this one."""
    return len(state.facts["parts"]), len(state.trace)


def differences(known: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """What differs between the fit of a checkpoint and the one that is to go on from it, in sentences."""
    told = []
    for name, value in about["settings"].items():
        before = known["settings"].get(name)
        if before != value:
            told.append(f"--{name.replace('_', '-')} was {_shown(before)}, and is {_shown(value)} now")
    files = {source["role"]: source["sha256"] for source in known["inputs"]}
    told += [
        f"{source['path']} has changed"
        for source in about["inputs"]
        if files.get(source["role"]) not in (None, source["sha256"])
    ]
    return told


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not given"
    return f"`{value}`"
