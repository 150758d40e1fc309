"""What a fit was of, so that another table is told from the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from plncli.dataset import Stored
from plncli.sparse import block_of, blocks_of

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.dataset import Dataset

STEP = 1 << 16
"""Names that are looked up at a time."""


def fingerprint(data: Dataset) -> dict[str, str]:
    """SHA-256 of what was fitted, by part: names of samples and responses, table (with its mask), weights, offset.

    Numbers are taken in single precision, so that a fit in float32 and one in float64 of the same tables agree.
    """
    if isinstance(data, Stored):
        if "fingerprint" not in data.known:
            data.known["fingerprint"] = _by_blocks(data)
        return dict(data.known["fingerprint"])
    mask = () if data.K is None else (data.K,)
    return {
        "samples": _names_hash(data.samples),
        "responses": _names_hash(data.responses),
        "table": _hash(data.Y.float(), *mask),
        "weights": _hash(data.w.float()),
        "offset": _hash(data.O.float()),
    }


def _by_blocks(data: Dataset) -> dict[str, str]:
    """The same of samples that come by blocks."""
    shapes = {"table": data.Y.shape, "weights": data.w.shape, "offset": data.O.shape}
    digests = {name: hashlib.sha256(f"{tuple(shape)}".encode()) for name, shape in shapes.items()}
    for part in data.parts("YOw"):
        for digest, tensor in zip(digests.values(), (part.Y, part.w, part.O), strict=True):
            digest.update(np.ascontiguousarray(tensor.float().cpu().numpy()).data)
    names, every, between = hashlib.sha256(), iter(data.samples), ""
    while some := list(islice(every, STEP)):
        names.update((between + "\0".join(some)).encode())
        between = "\0"
    found = {name: digest.hexdigest() for name, digest in digests.items()}
    return {"samples": names.hexdigest(), "responses": _names_hash(data.responses), **found}


def _names_hash(names: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}".encode())
        for rows in blocks_of(tensor):
            digest.update(np.ascontiguousarray(block_of(tensor, rows).cpu().numpy()).data)
    return digest.hexdigest()
