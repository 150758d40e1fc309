"""Dense linear algebra that does not depend on units: orthonormal bases, dependent columns, scaled Cholesky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plncli import ranks
from plncli.dataset import Dataset, Stored
from plncli.errors import DataError, some
from plncli.numerics.rows import (
    accumulate,
    every_row,
    extremes,
    gram,
    most,
    norm,
    number,
    orthogonal,
    over_parts,
    over_rows,
    total,
    triangle,
    triangular,
)
from plncli.sparse import BLOCK, block_of

WIDE = 32
"""Columns above which the products of all pairs of columns cost more than weighting the table for each response."""


@dataclass(frozen=True)
class Basis:
    """X = Q T with Q'WQ = (sum of w) I: entries of Q are of order one whatever the units of X.

    Q: n×d; T: d×d upper triangular.
    """

    Q: Tensor
    T: Tensor

    def coefficients(self, G: Tensor) -> Tensor:
        """Coefficients of X's own columns from those of Q (d×p, or d×k): XB = QG, so B solves TB = G."""
        return torch.linalg.solve_triangular(self.T, G, upper=True)

    def reduced(self, B: Tensor) -> Tensor:
        """Coefficients of Q from those of X (d×p): the inverse of `coefficients`."""
        return self.T @ B


def orthonormal_basis(X: Tensor, w: Tensor, terms: Sequence[str] = ()) -> Basis:
    """Basis of the columns of X (n×d) that is orthonormal under the weights w (n,), by Householder QR.

    Columns are brought to unit norm first, so units of 1e12 beside units of 1e-12 do no harm.
    Raises DataError, with the names of the `terms`, when columns depend on each other linearly.
    """
    n, d = number(len(X)), X.shape[1]
    _check_finite(every_row(torch.isfinite(X)), terms, X.dtype)
    root = w.sqrt()
    A, norms = _unit_columns(X, root)
    if d <= n:
        Q, R = orthogonal(A)
        sound = bool((R.diagonal().abs() > _rank_tolerance(X)).all())
    if d > n or not sound:
        # A small diagonal is only a sign: the verdict, and the names, come from the column by column search.
        dependent = dependent_columns(X, w)
        if dependent:
            raise DataError(describe_dependence(dependent, n, terms or [f"x{k + 1}" for k in range(d)]))
    scale = total(w).sqrt()
    Q.mul_(scale).div_(root.unsqueeze(1))
    return Basis(Q, R * norms / scale)


def _check_finite(finite: Tensor, terms: Sequence[str], dtype: torch.dtype) -> None:
    """DataError for columns that are not finite throughout; finite: (d,)."""
    lost = (~finite).nonzero()[:, 0].tolist()
    if lost:
        names = some(f"`{(terms or [f'x{k + 1}' for k in range(len(finite))])[k]}`" for k in lost)
        kind = str(dtype).removeprefix("torch.")
        raise DataError(f"The design has entries too large for {kind}: {names}. Use other units, or --dtype float64.")


@dataclass(frozen=True)
class ImplicitBasis:
    """X = QT with Q = AU and Q'WQ = (sum of w) I, Q never formed: its products go through d×d matrices.

    A: n×d, the design itself; or Q, and U the identity, where the design is too ill-conditioned for that.
    U, T: d×d upper triangular. total: A'w (d,). formed: whether A is Q. stored: whether the rows of A stay in a file.
    """

    A: Tensor
    U: Tensor
    T: Tensor
    total: Tensor
    formed: bool
    stored: bool = False

    def coefficients(self, G: Tensor) -> Tensor:
        """Coefficients of X's own columns from those of Q (d×p)."""
        return torch.linalg.solve_triangular(self.T, G, upper=True)

    def inner(self, G: Tensor) -> Tensor:
        """Coefficients of A from those of Q (d×p): QG = A (UG)."""
        return self.U @ G

    def whole(self) -> Basis:
        """The same basis with Q (n×d) in memory."""
        return Basis(self.A if self.formed else self.A @ self.U, self.T)

    def rows(self, part: Dataset) -> Tensor:
        """What A has of a block of samples; all of it where they are in memory."""
        return part.X if self.stored else self.A

    def of(self, part: Dataset) -> Basis:
        """The same basis with Q (b×d) of a block of samples in memory."""
        return Basis(part.X @ self.U, self.T) if self.stored else self.whole()


def implicit_basis(X: Tensor, w: Tensor, terms: Sequence[str] = ()) -> ImplicitBasis:
    """Basis of the columns of X (n×d) by the Cholesky factor of the Gram matrix: one pass, no copy of the table.

    The Gram matrix is scaled to a unit diagonal first, so units do no harm. It squares the condition number kappa of
    the scaled columns: T is good to eps kappa², which only turns the coordinates a little; what counts, X (U gamma),
    is good to eps kappa. Where kappa² exceeds eps^-½ (kappa 8e3, in float32 50), or numbers overflow, Householder QR.
    """
    if X.numel() == 0:
        return explicit_basis(X, w, terms)
    G, sums = _gram_and_total(X, w)
    known = _correlations(G)
    if known is None:
        return explicit_basis(X, w, terms)
    C, norms = known
    return _from_triangle(X, torch.linalg.cholesky(C, upper=True), norms, sums, total(w), stored=False)


def _from_triangle(X: Tensor, R: Tensor, norms: Tensor, sums: Tensor, wbar: Tensor, *, stored: bool) -> ImplicitBasis:
    """The basis of a design (n×d) whose columns over their norms (d,), with the root of the weights, are QR."""
    scale = wbar.sqrt()
    inverse = torch.linalg.solve_triangular(R, torch.eye(len(R), dtype=X.dtype, device=X.device), upper=True)
    return ImplicitBasis(
        X, inverse * (scale / norms.unsqueeze(1)), R * (norms / scale), sums, formed=False, stored=stored
    )


def basis_of(data: Dataset) -> ImplicitBasis:
    """The basis of the design of a data set, whose samples may come by blocks: then it is made once.

    Where these are too ill-conditioned for the Gram matrix, the triangular factor comes of the blocks one after the
    other, which squares nothing (Demmel, Grigori, Hoemmen & Langou 2012).
    """
    if not isinstance(data, Stored):
        return implicit_basis(data.X, data.w, data.terms)
    if "basis" not in data.known:
        data.known["basis"] = _by_blocks(data)
    found: ImplicitBasis = data.known["basis"]
    return found


def _by_blocks(data: Stored) -> ImplicitBasis:
    sums: tuple[Tensor, ...] = over_parts(lambda part: (*_gram_and_total(part.X, part.w), total(part.w)), data, "Xw")
    known = _correlations(sums[0])
    if known is not None:
        C, norms = known
        return _from_triangle(data.X, torch.linalg.cholesky(C, upper=True), norms, *sums[1:], stored=True)
    largest = extremes(lambda part: part.X.abs(), data, "X")[1]
    _check_finite(torch.isfinite(largest), data.terms, largest.dtype)
    largest = torch.where(largest > 0, largest, 1.0)
    R = triangle(lambda part: part.X / largest * part.w.sqrt().unsqueeze(1), data, "Xw")
    norms = torch.linalg.vector_norm(R, dim=0)
    norms = torch.where(norms > 0, norms, 1.0)
    R, n, d = R / norms, number(data.n), data.d
    if d > n or not bool((R.diagonal().abs() > _rank_tolerance(R)).all()):
        with ranks.alone():
            dependent = dependent_columns(R)
        if dependent:
            raise DataError(describe_dependence(dependent, n, data.terms))
    return _from_triangle(data.X, R, norms * largest, *sums[1:], stored=True)


def _gram_and_total(X: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """X'WX (d×d) and X'w (d,), in one pass without a copy of X."""
    even = bool((w == 1).all())  # here

    def add(rows: slice) -> tuple[Tensor, Tensor]:
        x = X[rows]
        weighted = x if even else x * w[rows].unsqueeze(1)
        return gram(x, weighted), total(weighted)

    G, sums = over_rows(add, X, X.shape[1])
    return G, sums


def _correlations(G: Tensor) -> tuple[Tensor, Tensor] | None:
    """A Gram matrix (d×d) scaled to a unit diagonal, and the norms (d,); None unless it is clearly well-conditioned."""
    norms, dtype = G.diagonal().sqrt(), torch.finfo(G.dtype)
    if not (bool(torch.isfinite(G).all()) and bool((norms > dtype.tiny**0.4).all())):
        return None
    C = G / norms / norms.unsqueeze(1)
    values = torch.linalg.eigvalsh(C)
    return (C, norms) if float(values[0]) > dtype.eps**0.5 * float(values[-1]) else None


def explicit_basis(X: Tensor, w: Tensor, terms: Sequence[str] = ()) -> ImplicitBasis:
    """The same from `orthonormal_basis`, with Q in place of the design."""
    basis = orthonormal_basis(X, w, terms)
    eye = torch.eye(X.shape[1], dtype=X.dtype, device=X.device)
    return ImplicitBasis(basis.Q, eye, basis.T, gram(basis.Q, w), formed=True)


def clearly_independent(X: Tensor) -> bool:
    """Whether no column of X (n×d) comes near to depending on others, by one pass; where False, they may or may not."""
    if X.shape[1] > number(len(X)) or X.numel() == 0:
        return False
    return _correlations(_gram_and_total(X, X.new_ones(len(X)))[0]) is not None


def dependent_columns(X: Tensor, w: Tensor | None = None) -> list[tuple[int, tuple[int, ...]]]:
    """Columns of X (n×d) that are linear combinations of earlier ones, each with the columns it is made of.

    Earlier columns are kept, later ones are called dependent, as in R's lm. A column that is zero throughout
    depends on none. The answer does not change with the units of the columns.
    """
    A, _ = _unit_columns(X, None if w is None else w.sqrt())
    R = triangular(A)  # same inner products between columns, min(n, d) rows
    tol = _rank_tolerance(X)
    kept: list[int] = []
    found: list[tuple[int, tuple[int, ...]]] = []
    E = R.new_zeros((R.shape[0], 0))  # orthonormal, spans the kept columns
    for k in range(R.shape[1]):
        r = R[:, k]
        for _ in range(2):  # Gram-Schmidt twice is enough (Giraud, Langou & Rozloznik 2005)
            r = r - E @ torch.mv(E.T, r)  # rows of R, not samples
        norm = torch.linalg.vector_norm(r)
        if norm > tol:
            kept.append(k)
            E = torch.cat([E, (r / norm).unsqueeze(1)], dim=1)
        elif not kept:
            found.append((k, ()))
        else:
            share = torch.linalg.lstsq(R[:, kept], R[:, k : k + 1]).solution[:, 0]
            found.append((k, tuple(c for c, s in zip(kept, share.abs().tolist(), strict=True) if s > tol**0.5)))
    return found


def independent_columns(X: Tensor, w: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Indices of the columns of X (n×d), under weights w, that follow from no earlier ones, and of those that do."""
    dropped = tuple(k for k, _ in dependent_columns(X, w))
    kept = torch.ones(X.shape[1], dtype=torch.bool)
    kept[list(dropped)] = False
    return kept.nonzero()[:, 0], dropped


def describe_dependence(dependent: Sequence[tuple[int, Sequence[int]]], n: int, terms: Sequence[str]) -> str:
    """The sentence for the user about the columns that `dependent_columns` found among the named terms."""
    if len(terms) > n:
        return (
            f"There are more coefficients ({len(terms)}: {some(terms)}) than samples ({n}). "
            "Take terms out of the formula, or add samples."
        )
    told = "; ".join(
        f"`{terms[k]}` is a linear combination of {some(f'`{terms[c]}`' for c in others)}"
        if others
        else f"`{terms[k]}` is zero in every sample"
        for k, others in dependent[:3]
    )
    more = f"; and {len(dependent) - 3} more" if len(dependent) > 3 else ""
    spare = any(terms[c] == "Intercept" for _, others in dependent for c in others)
    advice = ", or the intercept with `~ 0 + ...`" if spare else ""
    return f"Terms of the design are collinear: {told}{more}. Take the redundant ones out of the formula{advice}."


def inverses(G: Tensor) -> Tensor:
    """Inverses of symmetric positive definite matrices (b×q×q); nan where one is not positive definite."""
    L, info = torch.linalg.cholesky_ex(G)
    failed = (info != 0)[:, None]
    L.diagonal(dim1=1, dim2=2).masked_fill_(failed, 1.0)  # torch refuses all where it meets a 0
    return torch.cholesky_inverse(L).masked_fill_(failed[:, :, None], torch.nan)


class Factor(NamedTuple):
    """Cholesky factor of a positive definite matrix and the logarithm of its determinant."""

    L: Tensor
    logdet: Tensor

    def inverse(self) -> Tensor:
        """The inverse of the factored matrix."""
        return torch.cholesky_inverse(self.L)

    def solve(self, B: Tensor) -> Tensor:
        """The inverse times B, without forming it."""
        return torch.cholesky_solve(B, self.L)


def cholesky_scaled(Sigma: Tensor) -> Factor | None:
    """Factor Sigma (p×p) through its correlation form, so that variances of very different size do no harm.

    None, never an exception, when Sigma is not finite or not positive definite. Differentiable: the scale is
    held constant, which changes no derivative because L and the log-determinant do not depend on it.
    """
    variance = Sigma.diagonal().detach()
    if not bool(((variance > 0) & torch.isfinite(variance)).all()):
        return None
    sd = variance.sqrt()
    L, info = torch.linalg.cholesky_ex(Sigma / sd / sd.unsqueeze(1))
    if bool(info != 0) or not bool(torch.isfinite(L.detach()).all()):
        return None
    return Factor(L * sd.unsqueeze(1), 2.0 * L.diagonal().log().sum() + variance.log().sum())


def weighted_grams(Q: Tensor, V: Tensor, block: int | None = None) -> Tensor:
    """Q' diag(V_j) Q for each column of V: p×d×d from Q (n×d) and V (n×p).

    Rows go through in blocks of about `block` numbers: the temporary memory does not grow with n.
    """
    (n, d), p = Q.shape, V.shape[1]
    if n == 0:
        return Q.new_zeros((p, d, d))
    single = p < d or d > WIDE

    def add(rows: slice) -> tuple[Tensor]:
        q, v = Q[rows], V[rows].to(Q.dtype)
        if not single:
            return (gram(v, (q.unsqueeze(2) * q.unsqueeze(1)).flatten(1)).view(p, d, d),)
        out, scaled = q.new_empty((p, d, d)), torch.empty_like(q)
        for j in range(p):
            torch.mm(q.mT, torch.mul(q, v[:, j : j + 1], out=scaled), out=out[j])
        return (out,)

    return over_rows(add, Q, d if single else d * d, block or (None if single else 1 << 22))[0]


def grams_where_positive(rows: Tensor, Y: Tensor) -> Tensor:
    """Of a sparse table, sum of a_i a_i' over the samples that have a count of feature j: p×d×d."""
    (n, d), p = rows.shape, Y.shape[1]
    sums = rows.new_zeros((p, d, d))

    def add(block: slice) -> None:
        sums.add_(weighted_grams(rows[block], block_of(Y, block).cpu() > 0))

    return accumulate((sums,), add, n, p, BLOCK)[0]


def _unit_columns(X: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
    """W^½X with columns of norm one (a zero column stays zero), and the norms (d,); root: (n,) square roots of w."""
    A = X.clone() if root is None else X * root.unsqueeze(1)
    if A.shape[0] == 0 or A.shape[1] == 0:
        return A, A.new_ones(A.shape[1])
    largest = most(A.abs())  # first, so that squares neither overflow nor vanish
    largest = torch.where(largest > 0, largest, 1.0)
    A.div_(largest)
    norms = norm(A)
    norms = torch.where(norms > 0, norms, 1.0)
    A.div_(norms)
    return A, largest * norms


def _rank_tolerance(X: Tensor) -> float:
    """Share of a column's norm below which what other columns leave of it is rounding: 4e-11, in float32 2e-5."""
    return torch.finfo(X.dtype).eps ** (2 / 3)


def principal_axes(C: Tensor) -> Tensor:
    """Loadings (p×q) of the same CC' with orthogonal columns, in order of size; the largest entry of each positive."""
    U, size, _ = torch.linalg.svd(C, full_matrices=False)
    C = U * size
    sign = C.gather(0, C.abs().argmax(0)[None])[0].sign()
    return C * torch.where(sign == 0, 1.0, sign)
