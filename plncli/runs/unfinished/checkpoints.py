"""Checkpoints of a fit that is not done: at most two files beside the results to be, each whole, checked and data only.

They are written in turn, so that the older one stands while the newer is written, and are gone when the fit is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from plncli.errors import DataError, UsageError, counted, short
from plncli.inputs.sources import Source
from plncli.names import OUTPUT
from plncli.optim.base import State, Status
from plncli.progress import Step
from plncli.runs import schema as schemas
from plncli.settings import FRAME, FitConfig, absolute, applying, option, recorded, settings, split_part
from plncli.tables.atomic import tidy, whole_file
from plncli.tables.formats import digest, lies_at

SUFFIX = ".checkpoint"
FILES = ("a.safetensors", "b.safetensors")
JOURNAL = "pieces"
"""Beside them: what many fits have found so far (see `runs.journal`)."""
HELD_OUT = "held-out"
"""The same of fits without a fold each, by which a fit is judged that is done."""
PATH = "path.json"
"""Beside the fits of a path that are done, while others are not: which path it is (see `runs.path`)."""
SCHEMA_VERSION = 1
NUMBERS = ("value", "gap", "grad_norm", "seconds")
WHOLE = ("steps", "evaluations", "products")
"""What is known of a part that is done, as `fitting` keeps it."""


def folder_of(out: Path) -> Path:
    """The folder of the checkpoints of a fit whose results go to `out`."""
    return out.with_name(out.name + SUFFIX)


class Keeper:
    """Keeps the state of a fit: every so many seconds, and where it ends before its time.

    folder: of the checkpoints; about: what is fitted, as JSON, to be compared when the fit is taken up; every: seconds;
    beside: go on beside the checkpoints that are there, the newest of which is not the first to be replaced.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], every: float, *, beside: bool = False) -> None:
        self.folder, self.about, self.every = folder, about, every
        self._began = self._saved = time.monotonic()
        self._latest: State | None = None
        self._next = _oldest(folder) if beside else 0
        self.failure = ""

    def offer(self, state: State) -> None:
        """Told the state between two steps; saved if it is time."""
        self._latest = state
        if self.due:
            self.save()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved >= self.every

    def save(self) -> bool:
        """Save the state that was offered last, if there is one; a disk that is full is no reason to end a fit."""
        if self._latest is None:
            return False
        made = [folder for folder in (self.folder, *self.folder.absolute().parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / FILES[self._next]
            if path.is_symlink():
                path.unlink()  # which would be followed
            whole_file(path, packed(self._latest, self.about))
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
        """Remove the checkpoints, and nothing else: the fit is done."""
        if self.folder.is_symlink():
            return
        for path in (
            *(self.folder / name for name in (*FILES, JOURNAL, HELD_OUT)),
            *self.folder.glob(".*.partial.*.safetensors"),
        ):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def _oldest(folder: Path) -> int:
    """Which of the checkpoints to replace first: one that is not there, or damaged, else the less far one."""
    far = []
    for name in FILES:
        try:
            far.append(_progress(read(folder / name)[0]))
        except DataError:
            far.append((-1, -1, -1))
    return far.index(min(far))


def packed(state: State, about: Mapping[str, Any]) -> bytes:
    """A checkpoint as the bytes of a safetensors file, with a checksum of all that is in it."""
    arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.tensors.items()}
    texts = {
        "schema_version": json.dumps(SCHEMA_VERSION),
        "facts": json.dumps(state.facts),
        "trace": json.dumps([astuple(step) for step in state.trace]),
        "about": json.dumps(about),
    }
    return save(arrays, {**texts, "sha256": checksum(arrays, texts)})


def checksum(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> str:
    """SHA-256 of tensors and texts, by name."""
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
        if texts.pop("sha256", "") != checksum(arrays, texts):
            raise DataError(f"{path} is damaged: its content is not what was written.")
        version, facts, trace, about = (
            json.loads(texts[name]) for name in ("schema_version", "facts", "trace", "about")
        )
        if version == SCHEMA_VERSION:
            _check(facts, trace, about)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged, or no checkpoint: {short(str(error), 200)}.") from None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} was written by another version of plncli.")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return State(tensors, facts, tuple(Step(*row) for row in trace)), about


def _check(facts: Any, trace: Any, about: Any) -> None:
    """ValueError where facts are of the wrong kind: a checksum only says that they are those that somebody wrote."""
    schemas.check({"facts": facts, "about": about}, "checkpoint")
    for part in (*facts["parts"], *facts.get("search", ())):
        if not all(_is_number(part[name]) for name in NUMBERS) or part["status"] not in Status.__members__:
            raise ValueError("a part that did not end")
    if len(facts["traces"]) != len(facts["parts"]):
        raise ValueError("parts without a trace")
    for rows in (trace, *facts["traces"]):
        if not isinstance(rows, list) or not all(_is_step(row, k) for k, row in enumerate(rows)):
            raise ValueError("a trace that is none")


def _is_number(value: Any) -> bool:
    """Whether a value is a number, maybe inf or nan."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


def _is_step(row: Any, number: int) -> bool:
    """Whether a row of a trace is the `Step` of that number."""
    width = len(fields(Step))  # the last of which earlier versions had not
    if not isinstance(row, list) or len(row) not in (width - 1, width):
        return False
    whole = all(map(_is_number, row[: width - 1])) and all(one is None or _is_number(one) for one in row[width - 1 :])
    return whole and type(row[0]) is int and row[0] == number and type(row[2]) is int and row[2] >= 0


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


def _progress(state: State) -> tuple[int, int, int]:
    """How far a state is: parts that are done, steps of this one, and starts that were tried before."""
    return len(state.facts["parts"]), len(state.trace), len(state.facts.get("search", ()))


# Which fit it is


LATER = (
    *("se", "resamples", "workers", "level", "vcov", "cluster"),
    *("time_limit", "max_iter", "threads", "device", "config"),
)
"""Settings that may change when a fit is taken up: they matter after it, or say how long it may last, and where."""


RESAMPLED = ("se", "resamples", "cluster")
"""Those of them that matter to the fits of a bootstrap or a jackknife."""
FOLDED = ("cluster", "max_iter")
"""Those that matter to fits without a fold each."""


def about_fit(config: FitConfig, sources: Iterable[Source], more: Collection[str] = ()) -> dict[str, Any]:
    """What a fit is, to be held against another time: its settings, with some `more`, and the files that it reads."""
    output = {name for name, setting in settings(config.model).items() if setting.panel == OUTPUT}
    later = (output | {*LATER}) - {*more}
    chosen = {name: value for name, value in applying(absolute(config)).items() if name not in later}
    return {
        "configuration": applying(absolute(config)),
        "settings": chosen,
        "inputs": [asdict(source) for source in sources],
    }


def differences(known: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """What differs between a fit that was begun and the one that is to go on from it, in words."""
    told = []
    for name, value in about["settings"].items():
        before = known["settings"].get(name, [] if isinstance(value, list) else None)
        if before != value:
            told.append(f"{option(name)} was {_shown(before)}, and is {_shown(value)} now")
    files = {source["role"]: source["sha256"] for source in known["inputs"]}
    told += [
        f"{source['path']} has changed"
        for source in about["inputs"]
        if files.get(source["role"]) not in (None, source["sha256"])
    ]
    return told


def _shown(value: Any) -> str:
    return "not given" if value is None else f"`{short(str(value), 200)}`"


def configured(folder: Path, about: Mapping[str, Any]) -> FitConfig:
    """The configuration of the fit that checkpoints of a folder are about.

    UsageError where a table came from standard input, or has changed: a file is only read whose content whoever wrote
    the checkpoint knew. DataError where one is gone.
    """
    given = about["configuration"]
    config = recorded(given.get("model"), given, folder)
    hashes = {source["role"]: source["sha256"] for source in about["inputs"]}
    for name, setting in settings(config.model).items():
        value = config.value(name)
        if value in ("-", FRAME) and setting.path:
            raise UsageError(
                f"{folder} is of a fit to --{name} from standard input, which has gone. Pipe the same table into the "
                "command of the fit again, with --resume."
            )
        if setting.path not in ("file", "maybe") or value is None:
            continue
        place = Path(split_part(value)[0])
        if setting.path == "maybe" and name not in hashes and not place.is_absolute():
            continue  # a column of the covariates
        if not lies_at(place):
            raise DataError(f"{value}, which the fit read as {option(name)}, is gone. Put it back, or fit anew.")
        if name not in hashes or digest(place) != hashes[name]:
            raise UsageError(
                f"{folder} is of another fit: {value} has changed since it was read as {option(name)}. Put that back, "
                "or begin anew with `plncli fit` and --overwrite."
            )
    return config


def unfinished(out: Path) -> bool:
    """Whether there is a checkpoint of a fit whose results go to `out`, or what fits to parts of its data found."""
    return any((folder_of(out) / name).is_file() for name in (*FILES, JOURNAL, HELD_OUT, PATH))


def check_links(out: Path) -> None:
    """UsageError where a link lies in the place of what plncli keeps beside `out`: it makes none, so others did."""
    for path in (folder_of(out), lock_of(out)):
        if path.is_symlink():
            raise UsageError(f"{path} is a link, through which nothing is read, written or removed. Remove it.")


def lock_of(out: Path) -> Path:
    """The file that is locked while somebody works on `out`, by whatever link."""
    target = Path(os.path.realpath(out))
    return target.with_name(f".{target.name}.lock")


def check_unfinished(out: Path, resume: bool, overwrite: bool) -> None:
    """UsageError where a fit would lose what another had reached."""
    if unfinished(out) and not (resume or overwrite):
        raise UsageError(
            f"{folder_of(out)} holds an unfinished fit. Add --resume to go on from it, or --overwrite to begin anew."
        )


def check_same(folder: Path, known: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """UsageError where what is kept in a folder is of another fit."""
    different = differences(known, about)
    if different:
        raise UsageError(
            f"{folder} is of another fit: {'; '.join(different)}. Put that back, or begin anew with "
            "--overwrite instead of --resume."
        )


def taken_up(out: Path, about: Mapping[str, Any]) -> tuple[State | None, tuple[str, ...]]:
    """The state to go on from, None without any, and notes; UsageError where it is that of another fit."""
    found = newest(folder_of(out))
    if found is None:
        return None, ()
    state, known, notes = found
    check_same(folder_of(out), known, about)
    steps = sum(part["steps"] for part in (*state.facts["parts"], state.facts["state"]))
    return state, (*notes, f"Going on after {counted(steps, 'step')}, from {folder_of(out)}.")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Nobody else fits into `out` meanwhile, and what killed processes left is gone; UsageError where somebody does."""
    from filelock import FileLock, Timeout

    check_links(out)
    path = lock_of(out)
    made = [folder for folder in path.parents if not folder.exists()]
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # fails at once where the lock would be waited for
        lock.acquire()
    except Timeout:
        raise UsageError(f"Another plncli is fitting into {out}. Wait for it, or choose another --out.") from None
    except OSError:  # a place where nothing can be locked, or written, which is said when the results are
        yield
        return
    try:
        with suppress(OSError):
            tidy(out)
        yield
    finally:
        try:
            path.unlink(missing_ok=True)
        finally:
            lock.release()  # also where a second interrupt comes just now
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
