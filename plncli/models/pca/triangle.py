"""Symmetric matrices of the samples by their distinct entries, and their inverses."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Triangle:
    """Symmetric q×q matrices by their distinct entries. k: how often each stands in the matrix, (t,)."""

    def __init__(self, like: Tensor, q: int) -> None:
        self.q = q
        self.rows, self.columns = torch.triu_indices(q, q, device=like.device)
        self.k = torch.where(self.rows == self.columns, 1.0, 2.0).to(like)
        place = torch.empty((q, q), dtype=torch.int64, device=like.device)
        place[self.rows, self.columns] = place[self.columns, self.rows] = torch.arange(len(self.k), device=like.device)
        self._place, self._upper = place.flatten(), self.rows * q + self.columns

    def entries(self, S: Tensor) -> Tensor:
        """Distinct entries (... × t) of matrices (... × q×q)."""
        return S.flatten(-2).index_select(-1, self._upper)

    def matrix(self, V: Tensor) -> Tensor:
        """Matrices (... × q×q) of distinct entries (... × t)."""
        return V.index_select(-1, self._place).unflatten(-1, (self.q, self.q))

    def products(self, C: Tensor) -> Tensor:
        """c_j c_j' by entries (p×t), rows c_j' of C (p×q)."""
        return C.index_select(1, self.rows) * C.index_select(1, self.columns)

    def turned(self, C: Tensor, dC: Tensor) -> Tensor:
        """Change of `products` along dC."""
        return C[:, self.rows] * dC[:, self.columns] + dC[:, self.rows] * C[:, self.columns]


def inverse(P: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses of b×q×q, and their log-determinants (b,); nan where a matrix is not positive definite."""
    L, failed = torch.linalg.cholesky_ex(P)
    L = torch.where((failed == 0)[:, None, None], L, torch.eye(P.shape[1], dtype=P.dtype, device=P.device))
    nothing = torch.where(failed == 0, 0.0, math.nan).to(P)
    S = torch.cholesky_inverse(L).add_(nothing[:, None, None])
    return S, nothing - 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
