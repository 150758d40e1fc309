"""Polyhedral cones {z : Rz ≤ 0}: their interior, and which way linear functions of z go on them.

Answered exactly: mostly by ranks and signs, else by small linear programs (scipy's HiGHS, imported only then).
"""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.numerics.rows import most

TOL = 1e-9  # a singular value, or what is left of a unit row, below this is rounding
STILL = 1e-8  # a coefficient that the kernel moves by a smaller share than this does not move
_BOX = 1e7  # largest entry of a direction that lowers each row by one: narrower cones count as closed
_ROWS = 400  # rows of the first linear program; further ones join where the direction found violates them


def interior(N: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shrink the subspace N (d×k) until all rows of A (b×d) that still act on it can be negative at once.

    Returns the subspace (d×k'), the rows in its terms (b×k', unit norm or zero) and a direction (k',) on which every
    row that is not zero is negative. A row that cannot be negative anywhere on the cone is zero on all of it.
    """
    while True:
        R = unit_rows(A @ N, floor=TOL)
        if N.shape[1] == 0:
            return N, R, N.new_zeros(0)
        acting = R.abs().amax(dim=1) > 0
        z, stuck = _strict(R[acting])
        if len(stuck) == 0:
            return N, R, z
        N = N @ null_space(stuck)


def _strict(R: Tensor) -> tuple[Tensor, Tensor]:
    """A direction z (k,) with Rz < 0 in every row of R (b×k, unit rows), or the rows that no Rz ≤ 0 makes negative.

    The second value is empty when there is such a z. Signs and ranks decide first. Otherwise maximise Σ t_i with
    Rz ≤ −t, 0 ≤ t ≤ 1 over some of the rows, and let those join on which the solution is not negative. Rows are
    judged on fewer constraints than there are, so one that is stuck now is stuck for good.
    """
    b, k = R.shape
    none = R[:0]
    if b == 0:
        return R.new_zeros(k), none
    if k == 1:
        sign = R[:, 0].sign()
        return (-sign[:1], none) if bool((sign == sign[0]).all()) else (R.new_zeros(1), R[:1])
    active = torch.zeros(b, dtype=torch.bool)
    active[torch.linspace(0, b - 1, min(b, max(_ROWS, 20 * k))).long()] = True
    z = torch.linalg.lstsq(R[active], -R.new_ones(int(active.sum()), 1), driver="gelsd").solution[:, 0]
    if bool((R @ z < -1.0 / _BOX).all()):  # always when the distinct rows are independent
        return z, none
    while True:
        z = _lowest(R[active])
        value = R @ z
        open_ = value > -0.5
        if bool((open_ & active).any()):
            return z, R[open_ & active]
        if not bool(open_.any()):
            return z, none
        worst = value.masked_fill(active, -torch.inf).topk(min(int(open_.sum()), int(active.sum()))).indices
        active[worst] = True


def _lowest(R: Tensor) -> Tensor:
    """Direction z (k,) that maximises Σ t_i subject to Rz + t ≤ 0, 0 ≤ t ≤ 1, |z| ≤ box: 1 wherever t_i can be > 0."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    b, k = R.shape
    cost = np.concatenate([np.zeros(k), -np.ones(b)])
    bounds = np.concatenate([np.tile([-_BOX, _BOX], (k, 1)), np.tile([0.0, 1.0], (b, 1))])
    constraints = hstack([csr_array(R.numpy()), eye_array(b)], format="csc")
    answer = linprog(cost, A_ub=constraints, b_ub=np.zeros(b), bounds=bounds, method="highs")
    if answer.x is None:  # z = 0 is always feasible, so this is numerical trouble: claim nothing
        return R.new_zeros(k)
    return torch.from_numpy(answer.x[:k].copy())


def limits_of(moves: Tensor, R: Tensor) -> Tensor:
    """Sign of c'z over the cone {z : Rz ≤ 0} for each row c of `moves` (m×k), R (b×k): 0 if c is 0, nan if both."""
    size = torch.linalg.vector_norm(moves, dim=1)
    out = torch.zeros_like(size)
    moving = (size > STILL).nonzero()[:, 0]
    if not len(moving):
        return out
    C = moves[moving] / size[moving, None]
    if _independent(R):  # then c'z = λ'Rz takes any sign that the entries of λ take, or both outside the row space
        share = torch.linalg.lstsq(R.T, C.T, driver="gelsd").solution.T if len(R) else C[:, :0]
        outside = torch.linalg.vector_norm(share @ R - C, dim=1) > 1e-7
        down, up = (share > 1e-7).any(1) | outside, (share < -1e-7).any(1) | outside
        out[moving] = torch.where(down == up, torch.nan, torch.where(up, 1.0, -1.0).to(out))
        return out
    several, member = distinct(C)
    signs = [_limit(c, R) for c in several]
    out[moving] = out.new_tensor(signs)[member]
    return out


def _limit(c: Tensor, R: Tensor) -> float:
    """Sign of c'z over the cone {z : Rz ≤ 0} by linear programs, c (k,) not 0."""
    down, up = (_reaches(sign * c, R) for sign in (1.0, -1.0))
    return torch.nan if down == up else 1.0 if up else -1.0


def _reaches(c: Tensor, R: Tensor) -> bool:
    """Whether c'z < 0 for some z with Rz ≤ 0."""
    whole = torch.eye(len(c), dtype=R.dtype)
    _, rows, _ = interior(whole, torch.cat([c.unsqueeze(0), R]))
    return rows.shape[1] > 0 and bool((rows[0] != 0).any())


def unit_rows(A: Tensor, floor: float = 1e-13) -> Tensor:
    """Rows of A (n×d) at norm one; rows of norm below `floor` × max(1, largest norm) become exactly zero."""
    if A.numel() == 0:
        return A
    norm = torch.linalg.vector_norm(A, dim=1, keepdim=True)
    small = norm <= floor * most(norm).clamp(min=1.0)
    return torch.where(small, 0.0, A / torch.where(small, 1.0, norm))


def distinct(A: Tensor) -> tuple[Tensor, Tensor]:
    """One of each set of unit rows of A (n×d) that agree to rounding, m×d, and which of them each row is, (n,)."""
    codes, member = torch.unique((A / TOL).round(), dim=0, return_inverse=True)
    first = member.new_zeros(len(codes)).scatter_(0, member, torch.arange(len(A)))
    return A[first], member


def null_space(A: Tensor) -> Tensor:
    """Orthonormal basis d×k of {δ : Aδ = 0} for A (n×d) with unit rows."""
    n, d = A.shape
    if n == 0 or d == 0:
        return torch.eye(d, dtype=A.dtype)
    R = torch.linalg.qr(A, mode="r").R if n > d else A
    _, s, Vh = torch.linalg.svd(R, full_matrices=True)
    return Vh[int((s > TOL * s[0]).sum()) :].T


def _independent(R: Tensor) -> bool:
    """Whether the rows of R (b×k) are linearly independent."""
    b, k = R.shape
    return b == 0 or (b <= k and bool(torch.linalg.svdvals(R).min() > 1e-6))
