"""Tables that were read, on the device of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plncli.errors import DataError
from plncli.settings import FitConfig
from plncli.sparse import values_of
from plncli.tables.sparse import CSR, tensor_of

if TYPE_CHECKING:
    import numpy as np

SHARE = 0.3
"""Of counts above 0, up to which those of a file without zeros stay so."""


def mostly_zeros(config: FitConfig, Y: np.ndarray | CSR, K: np.ndarray | None) -> bool:
    """Whether counts are read without their zeros, most of them are 0, and the model takes them so."""
    if K is not None or not hasattr(Y, "nnz"):
        return False
    cells = Y.shape[0] * Y.shape[1]
    return bool(Y.nnz <= SHARE * cells and config.spec.sparse(config.own, cells))


def tensor(array: np.ndarray | CSR, device: torch.device, dtype: torch.dtype, *, keep: bool = False) -> Tensor:
    """A table on the device, without its zeros where it is to be kept so; DataError for numbers too large for it."""
    converted = tensor_of(array, device, dtype, keep=keep)
    if dtype != torch.float64 and not bool(torch.isfinite(values_of(converted)).all()):
        largest = abs(array).max()
        raise DataError(f"The tables hold numbers up to {largest:.3g}, too large for --dtype float32.")
    return converted
