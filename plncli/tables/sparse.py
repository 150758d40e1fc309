"""Counts most of which are 0, kept as such from the file to the device that fits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

CSR = Any
"""A scipy.sparse.csr_array of float64, without stored zeros."""


@dataclass(frozen=True)
class Sparse:
    """Cells of a table, n×p; they answer as a pyarrow table does, one dense column at a time."""

    values: CSR

    @property
    def num_rows(self) -> int:
        """n."""
        return int(self.values.shape[0])

    @property
    def columns(self) -> Iterator[pa.ChunkedArray]:
        """The columns, in turn."""
        return (self.column(j) for j in range(self.values.shape[1]))

    def column(self, j: int) -> pa.ChunkedArray:
        """One column, nan where it is missing."""
        import pyarrow as pa

        from plncli.tables.writing import number_column

        return pa.chunked_array([number_column(self.values[:, [j]].toarray()[:, 0])])

    def take(self, rows: np.ndarray) -> Sparse:
        """The given rows in the given order."""
        return Sparse(self.values[rows])

    def select(self, columns: Sequence[int]) -> Sparse:
        """The given columns in the given order."""
        return Sparse(self.values[:, list(columns)])


def csr(values: Any) -> CSR:
    """A matrix of any kind, dense ones included, as rows of float64 without stored zeros or repeated cells.

    ValueError where places of its cells lead out of it, which a damaged file may say, and scipy does not ask.
    """
    import numpy as np
    from scipy import sparse

    if hasattr(values, "check_format"):
        values.check_format(full_check=True)
    made = sparse.csr_array(values, dtype=np.float64)
    made.sum_duplicates()
    made.eliminate_zeros()
    return made


def dense(values: np.ndarray | CSR) -> np.ndarray:
    """The same n×p numbers as an array."""
    import numpy as np

    return values if isinstance(values, np.ndarray) else values.toarray()


def tensor_of(
    values: np.ndarray | CSR, device: torch.device, dtype: torch.dtype, *, keep: bool = False
) -> torch.Tensor:
    """n×p on a device: what is sparse travels sparse, and becomes dense there unless it is to be kept so."""
    import numpy as np
    import torch

    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(values)).to(dtype=dtype).to(device=device)
    if keep:
        from plncli.sparse import csr as sparse_tensor

        kind = np.int32 if values.nnz < 1 << 31 else np.int64
        parts = (values.indptr.astype(kind), values.indices.astype(kind), values.data)
        indptr, columns, numbers = (torch.from_numpy(part).to(device=device) for part in parts)
        return sparse_tensor(indptr, columns, numbers.to(dtype=dtype), values.shape[1])
    rows, columns = (torch.from_numpy(index.astype(np.int64)).to(device) for index in values.nonzero())
    made = torch.zeros(values.shape, dtype=dtype, device=device)
    made[rows, columns] = torch.from_numpy(values.data).to(dtype=dtype).to(device=device)
    return made
