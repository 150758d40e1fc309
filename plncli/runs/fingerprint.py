"""What a fit was of, so that another table is told from the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from plncli.sparse import block_of, blocks_of

if TYPE_CHECKING:
    from torch import Tensor

    from plncli.dataset import Dataset


def fingerprint(data: Dataset) -> dict[str, str]:
    """SHA-256 of what was fitted, by part: names of samples and responses, table (with its mask), weights, offset.

    Numbers are taken in single precision, so that a fit in float32 and one in float64 of the same tables agree.
    """
    mask = () if data.K is None else (data.K,)
    return {
        "samples": _names_hash(data.samples),
        "responses": _names_hash(data.responses),
        "table": _hash(data.Y.float(), *mask),
        "weights": _hash(data.w.float()),
        "offset": _hash(data.O.float()),
    }


def _names_hash(names: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}".encode())
        for rows in blocks_of(tensor):
            digest.update(np.ascontiguousarray(block_of(tensor, rows).cpu().numpy()).data)
    return digest.hexdigest()
