"""What many fits have found so far, kept one by one: those that are done need not be done again.

A file of records, each its length and a checkpoint of one answer; what was cut short at the end does not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor

from plncli.errors import DataError
from plncli.optim.base import State
from plncli.runs.unfinished.checkpoints import checksum, differences, packed

LENGTH = 8  # bytes


class Journal:
    """Answers by index, as `workers.shared` takes and gives them: named tuples of tensors, numbers and texts.

    path: of the file; about: what is done, as JSON, that answers are only taken over from the same; every: seconds
    before which nothing is written, and between two writes; kind: of the answers, which makes them of their parts;
    sound: whether an answer may be that of an index; note: what there is to say.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        every: float,
        kind: Callable[..., Any],
        sound: Callable[[int, Any], bool],
        resume: bool,
    ) -> None:
        self.path, self.about, self.every = path, about, every
        self.found: dict[int, Any] = {}
        self.note = ""
        self._waiting: list[bytes] = []
        self._saved = time.monotonic()
        self._size = 0
        if resume and path.is_file() and not path.is_symlink():
            self._take_over(kind, sound)

    def keep(self, index: int, answer: Any) -> None:
        """Keep an answer; written if it is time."""
        tensors = {name: value for name, value in answer._asdict().items() if isinstance(value, Tensor)}
        facts = {name: value for name, value in answer._asdict().items() if name not in tensors}
        self._waiting.append(packed(State(tensors, {"index": index, "answer": facts}, ()), self.about))
        if time.monotonic() - self._saved >= self.every:
            self.save()

    def save(self) -> bool:
        """Write what is not written yet, if anything; a disk that is full is no reason to end the work."""
        self._saved = time.monotonic()
        if not self._waiting:
            return self._size > 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._size:
                self.path.unlink(missing_ok=True)  # also a link, which would be followed
            with self.path.open("r+b" if self._size else "xb") as file:
                file.seek(self._size)
                file.truncate()
                for record in self._waiting:
                    file.write(len(record).to_bytes(LENGTH, "little") + record)
                file.flush()
                self._size = file.tell()
        except OSError:
            return False
        self._waiting.clear()
        return True

    def discard(self) -> None:
        """Remove the file: the work is done."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def _take_over(self, kind: Callable[..., Any], sound: Callable[[int, Any], bool]) -> None:
        """Read the records that are whole, of the same work, as far as each may be what this work found."""
        content = self.path.read_bytes()
        while True:
            end = self._size + LENGTH + int.from_bytes(content[self._size : self._size + LENGTH], "little")
            record = content[self._size + LENGTH : end]
            if self._size + LENGTH > len(content) or end > len(content):
                return
            try:
                tensors, facts, about = _unpacked(record)
                different = differences(about, self.about)
                index, answer = facts["index"], kind(**tensors, **facts["answer"])
            except (DataError, KeyError, TypeError, AttributeError):
                return
            if different:
                self.note = f"{self.path} is of other work, and is not used: {'; '.join(different)}."
                self.found, self._size = {}, 0
                return
            if type(index) is not int or index < 0 or index in self.found or not sound(index, answer):
                return
            self.found[index] = answer
            self._size = end


def _unpacked(record: bytes) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Tensors, facts and what they are about; DataError for a damaged record."""
    try:
        arrays = load(record)
        header = json.loads(record[8 : 8 + int.from_bytes(record[:8], "little")])
        texts = header["__metadata__"]
        if texts.pop("sha256", "") != checksum(arrays, texts):
            raise DataError("The content is not what was written.")
        facts, about = json.loads(texts["facts"]), json.loads(texts["about"])
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"A damaged record: {error}.") from None
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, facts, about
