"""Whether maximum-likelihood coefficients are finite, and which run off to infinity when they are not.

A direction δ along which the likelihood never falls is a *direction of recession*. With rows q_i of the design,

    Poisson:    q_i'δ = 0 where y_i > 0,  q_i'δ ≤ 0 where y_i = 0;
    Bernoulli:  (2 y_i − 1) q_i'δ ≥ 0 everywhere.

When some inequality can be strict the likelihood has a supremum and no maximum: those rows are *separated*.
Both are one question about a polyhedral cone {δ : a_i'δ = 0 for fixed rows, a_i'δ ≤ 0 for free rows}, answered
here exactly: mostly by ranks and signs, else by small linear programs (scipy's HiGHS, imported only then).

Albert & Anderson 1984 (Biometrika 71); Konis 2007 (thesis, Oxford); Correia, Guimarães & Zylkin 2019
(arXiv:1903.01633). Neither the units of a column nor the scale of a row changes an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from plncli.numerics.linalg import orthonormal_basis, weighted_grams
from plncli.numerics.rows import group_totals

_TOL = 1e-9  # a singular value, or what is left of a unit row, below this is rounding
_SCREEN = 1e-9  # smallest eigenvalue of a scaled Gram matrix, a square: far above _TOL², so the screen misses nothing
_STILL = 1e-8  # a coefficient that the kernel moves by a smaller share than this does not move
_BOX = 1e7  # largest entry of a direction that lowers each row by one: narrower cones count as closed
_ROWS = 400  # rows of the first linear program; further ones join where the direction found violates them


@dataclass(frozen=True)
class Recession:
    """The cone of directions of recession of one response.

    cells: (n,) rows that are separated, those with a_i'δ < 0 for some δ of the cone.
    delta: (d,) a direction in the relative interior: negative on every separated row, zero on all others.
    kernel: d×k orthonormal basis of the directions that change no row that is kept (neither separated nor ignored).
    rows: b×k separated rows in terms of the kernel, of unit norm.
    T: d×d, the design is the basis times T; delta and kernel are coefficients in that orthonormal basis.
    """

    cells: Tensor
    delta: Tensor
    kernel: Tensor
    T: Tensor = field(repr=False)
    rows: Tensor = field(repr=False)

    def limits(self) -> Tensor:
        """Where each coefficient of the design's columns goes, (d,).

        0: it has a finite estimate; ±1: it goes to ±inf; nan: it is not estimable (any value fits as well).
        A coefficient is finite when no direction of the kernel moves it, and it diverges when the whole cone
        moves it one way; the difference of two coefficients that both go to −inf, say, is not estimable.
        """
        return _limits_of(self._moves(), _distinct(self.rows)[0])

    def infinite(self) -> Tensor:
        """Which coefficients have no finite estimate, (d,) booleans: `limits` without their directions."""
        return torch.linalg.vector_norm(self._moves(), dim=1) > _STILL

    def _moves(self) -> Tensor:
        """How the kernel moves each coefficient, d×k, as a share of how far any unit direction could."""
        inverse = torch.linalg.solve_triangular(self.T, torch.eye(len(self.T), dtype=self.T.dtype), upper=True)
        return inverse @ self.kernel / torch.linalg.vector_norm(inverse, dim=1, keepdim=True)


@dataclass(frozen=True)
class Separation:
    """Features of a table of counts without finite coefficients.

    cells: n×p, True where the expected count goes to 0 at the supremum; `features` index the columns concerned,
    among them those that are merely not identified (too few of their cells are observed).
    """

    cells: Tensor
    features: tuple[int, ...]
    recessions: tuple[Recession, ...] = field(repr=False)

    def limits(self) -> Tensor:
        """Where each coefficient goes, d×p: see `Recession.limits`."""
        d = len(self.recessions[0].T)
        out = torch.zeros(d, self.cells.shape[1], dtype=torch.float64, device=self.cells.device)
        seen: dict[int, Tensor] = {}  # features with the same pattern of zeros share one cone
        for j, recession in zip(self.features, self.recessions, strict=True):
            key = id(recession)
            if key not in seen:
                seen[key] = recession.limits().to(out)
            out[:, j] = seen[key]
        return out

    def predictor_limits(self) -> PredictorLimits:
        """What tells where linear predictors of other samples go; each cone that features share is kept once."""
        cones = list({id(recession): recession for recession in self.recessions}.values())
        number = {id(cone): c for c, cone in enumerate(cones)}
        of = torch.full((self.cells.shape[1],), -1)
        of[list(self.features)] = torch.tensor([number[id(recession)] for recession in self.recessions])
        rows = [_extreme(_distinct(cone.rows)[0]) for cone in cones]
        b, k = max(map(len, rows)), max(cone.kernel.shape[1] for cone in cones)
        d = len(cones[0].T)
        kernels, bounds = cones[0].T.new_zeros((len(cones), d, k)), cones[0].T.new_zeros((len(cones), b, k))
        for c, (cone, R) in enumerate(zip(cones, rows, strict=True)):
            kernels[c, :, : cone.kernel.shape[1]] = cone.kernel
            bounds[c, : R.shape[0], : R.shape[1]] = R
        return PredictorLimits(of, cones[0].T, kernels, bounds)


@dataclass(frozen=True)
class PredictorLimits:
    """Where the linear predictor x'b_j goes at the supremum, for any x: to a finite value, to ±inf, or not estimable.

    of: (p,) cone of each feature, -1 for features all of whose coefficients are finite. T: d×d, the design is an
    orthonormal basis times T. kernels: c×d×k and rows: c×b×k, as in `Recession`, filled up with zeros.
    """

    of: Tensor
    T: Tensor
    kernels: Tensor
    rows: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """What it is made of, by name, to be kept."""
        return {f"courses_{name}": getattr(self, name) for name in ("of", "T", "kernels", "rows")}

    @classmethod
    def from_tensors(cls, known: Mapping[str, Tensor]) -> PredictorLimits | None:
        """The inverse of `tensors`; None where there are none."""
        if "courses_of" not in known:
            return None
        return cls(*(known[f"courses_{name}"] for name in ("of", "T", "kernels", "rows")))

    def of_samples(self, X: Tensor) -> Tensor:
        """n×p for samples with covariates X (n×d): 0 finite, ±1 to ±inf, nan not estimable (any value fits as well)."""
        X = X.detach().to("cpu", torch.float64)
        x = torch.linalg.solve_triangular(self.T, X, upper=True, left=False)
        x = x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        out = x.new_zeros((len(x), len(self.of)))
        for c in range(len(self.kernels)):
            moves = x @ self.kernels[c][:, self.kernels[c].abs().amax(0) > 0]
            rows = self.rows[c][self.rows[c].abs().amax(1) > 0, : moves.shape[1]]
            out[:, self.of == c] = _limits_of(moves, rows)[:, None]
        return out


def poisson_separation(X: Tensor, Y: Tensor, K: Tensor | None = None) -> Separation | None:
    """Separation in a Poisson (or Poisson log-normal) regression of Y (n×p) on X (n×d); None when there is none.

    K (n×p): True where Y is observed. X must have full column rank.
    """
    positive = (Y > 0).cpu()
    zero = (Y == 0).cpu()
    if K is not None:
        positive, zero = positive & K.cpu(), zero & K.cpu()
    A, T = _rows(X)
    # Samples with the same covariates are one row: a design of groups shrinks to as many rows as groups.
    A, member = _distinct(A)  # needs all rows
    fixed = group_totals(positive.double(), member, len(A)) > 0
    free = (group_totals(zero.double(), member, len(A)) > 0) & ~fixed
    suspects = _singular(weighted_grams(A, fixed)).nonzero()[:, 0]
    if len(suspects) == 0:
        return None
    patterns, which = torch.unique(torch.cat([fixed, free])[:, suspects], dim=1, return_inverse=True)
    cones = [recession(A, column[: len(A)], column[len(A) :], T) for column in patterns.T]
    found = [(j, cones[c]) for j, c in zip(suspects.tolist(), which.tolist(), strict=True) if cones[c].kernel.shape[1]]
    if not found:
        return None
    cells = torch.zeros_like(zero)
    for j, cone in found:
        cells[:, j] = cone.cells[member] & zero[:, j]
    return Separation(cells.to(Y.device), tuple(j for j, _ in found), tuple(cone for _, cone in found))


def one_sided(X: Tensor, down: Tensor, up: Tensor) -> Separation | None:
    """Where linear predictors run off that cost ever less the lower they are (`down`, n×p), or the higher (`up`).

    Rows that are both stay where they are, those that are neither do not count. cells: those that run off. None when
    there is none, and all coefficients are determined.
    """
    down, up = down.cpu(), up.cpu()
    A, T = _rows(X)
    A, member = _distinct(A)  # needs all rows
    falls, rises = (group_totals(each.double(), member, len(A)) > 0 for each in (down, up))
    suspects = _singular(weighted_grams(A, falls & rises)).nonzero()[:, 0]
    if len(suspects) == 0:
        return None
    patterns, which = torch.unique(torch.cat([falls, rises])[:, suspects], dim=1, return_inverse=True)
    cones = []
    for column in patterns.T:
        low, high = column[: len(A)], column[len(A) :]
        cones.append(recession(torch.where(high[:, None], -A, A), low & high, low ^ high, T))
    found = [(j, cones[c]) for j, c in zip(suspects.tolist(), which.tolist(), strict=True) if cones[c].kernel.shape[1]]
    if not found:
        return None
    cells = torch.zeros_like(down)
    for j, cone in found:
        cells[:, j] = cone.cells[member] & (down | up)[:, j]
    return Separation(cells.to(X.device), tuple(j for j, _ in found), tuple(cone for _, cone in found))


def bernoulli_separation(X: Tensor, y: Tensor, candidates: Tensor | None = None) -> Recession | None:
    """Separation in a Bernoulli regression of y (n,), 0 or 1, on X (n×d); None when there is none.

    `candidates` (n,): the only rows that may be separated, from a fit near the supremum where separated rows have
    all but no loss; without them every row may be. Complete separation: all `cells`; quasi-complete: some.
    """
    X = X.detach().to("cpu", torch.float64)
    free = torch.ones(len(X), dtype=torch.bool) if candidates is None else candidates.cpu()
    if not bool(free.any()) or not _singular(weighted_grams(X, ~free.unsqueeze(1)))[0]:
        return None
    A, T = _rows(X)
    A = A * (1.0 - 2.0 * y.detach().to("cpu", torch.float64)).unsqueeze(1)
    cone = recession(A, ~free, free, T)
    return cone if bool(cone.cells.any()) else None


def recession(A: Tensor, fixed: Tensor, free: Tensor, T: Tensor) -> Recession:
    """Cone {δ : a_i'δ = 0 on `fixed` rows, a_i'δ ≤ 0 on `free` rows} for unit rows A (n×d); masks are (n,).

    T (d×d): what leads from the coefficients of the design to those of A.
    """
    N = _null_space(A[fixed])
    N, R, z = _interior(N, A[free])
    negative = torch.zeros_like(free)
    negative[free] = R.abs().amax(dim=1) > 0 if R.shape[1] else False
    return Recession(negative, N @ z, N, T, R[negative[free]])


def _interior(N: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shrink the subspace N (d×k) until all rows of A (b×d) that still act on it can be negative at once.

    Returns the subspace (d×k'), the rows in its terms (b×k', unit norm or zero) and a direction (k',) on which every
    row that is not zero is negative. A row that cannot be negative anywhere on the cone is zero on all of it.
    """
    while True:
        R = _unit_rows(A @ N, floor=_TOL)
        if N.shape[1] == 0:
            return N, R, N.new_zeros(0)
        acting = R.abs().amax(dim=1) > 0
        z, stuck = _strict(R[acting])
        if len(stuck) == 0:
            return N, R, z
        N = N @ _null_space(stuck)


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


def _limits_of(moves: Tensor, R: Tensor) -> Tensor:
    """Sign of c'z over the cone {z : Rz ≤ 0} for each row c of `moves` (m×k), R (b×k): 0 if c is 0, nan if both."""
    size = torch.linalg.vector_norm(moves, dim=1)
    out = torch.zeros_like(size)
    moving = (size > _STILL).nonzero()[:, 0]
    if not len(moving):
        return out
    C = moves[moving] / size[moving, None]
    if _independent(R):  # then c'z = λ'Rz takes any sign that the entries of λ take, or both outside the row space
        share = torch.linalg.lstsq(R.T, C.T, driver="gelsd").solution.T if len(R) else C[:, :0]
        outside = torch.linalg.vector_norm(share @ R - C, dim=1) > 1e-7
        down, up = (share > 1e-7).any(1) | outside, (share < -1e-7).any(1) | outside
        out[moving] = torch.where(down == up, torch.nan, torch.where(up, 1.0, -1.0).to(out))
        return out
    distinct, member = _distinct(C)
    signs = [_limit(c, R) for c in distinct]
    out[moving] = out.new_tensor(signs)[member]
    return out


def _limit(c: Tensor, R: Tensor) -> float:
    """Sign of c'z over the cone {z : Rz ≤ 0} by linear programs, c (k,) not 0."""
    down, up = (_reaches(sign * c, R) for sign in (1.0, -1.0))
    return torch.nan if down == up else 1.0 if up else -1.0


def _reaches(c: Tensor, R: Tensor) -> bool:
    """Whether c'z < 0 for some z with Rz ≤ 0."""
    whole = torch.eye(len(c), dtype=R.dtype)
    _, rows, _ = _interior(whole, torch.cat([c.unsqueeze(0), R]))
    return rows.shape[1] > 0 and bool((rows[0] != 0).any())


def _rows(X: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows of an orthonormal basis of X, n×d on the CPU in float64, and T (d×d) of X = QT."""
    X = X.detach().to("cpu", torch.float64)
    basis = orthonormal_basis(X, X.new_ones(len(X)))
    return _unit_rows(basis.Q), basis.T


def _unit_rows(A: Tensor, floor: float = 1e-13) -> Tensor:
    """Rows of A (n×d) at norm one; rows of norm below `floor` × max(1, largest norm) become exactly zero."""
    if A.numel() == 0:
        return A
    norm = torch.linalg.vector_norm(A, dim=1, keepdim=True)
    small = norm <= floor * norm.max().clamp(min=1.0)
    return torch.where(small, 0.0, A / torch.where(small, 1.0, norm))


def _distinct(A: Tensor) -> tuple[Tensor, Tensor]:
    """One of each set of unit rows of A (n×d) that agree to rounding, m×d, and which of them each row is, (n,)."""
    codes, member = torch.unique((A / _TOL).round(), dim=0, return_inverse=True)
    first = member.new_zeros(len(codes)).scatter_(0, member, torch.arange(len(A)))
    return A[first], member


def _extreme(R: Tensor) -> Tensor:
    """The rows of R (b×2) between which all others lie, where they all lie on one side; R itself in more dimensions."""
    if R.shape[1] != 2 or len(R) <= 2:
        return R
    x, y = R.mean(dim=0)  # over distinct rows of a cone, not samples
    angle = torch.atan2(R[:, 1] * x - R[:, 0] * y, R[:, 0] * x + R[:, 1] * y)
    return R[torch.stack([angle.argmin(), angle.argmax()])]


def _null_space(A: Tensor) -> Tensor:
    """Orthonormal basis d×k of {δ : Aδ = 0} for A (n×d) with unit rows."""
    n, d = A.shape
    if n == 0 or d == 0:
        return torch.eye(d, dtype=A.dtype)
    R = torch.linalg.qr(A, mode="r").R if n > d else A
    _, s, Vh = torch.linalg.svd(R, full_matrices=True)
    return Vh[int((s > _TOL * s[0]).sum()) :].T


def _independent(R: Tensor) -> bool:
    """Whether the rows of R (b×k) are linearly independent."""
    b, k = R.shape
    return b == 0 or (b <= k and bool(torch.linalg.svdvals(R).min() > 1e-6))


def _singular(G: Tensor) -> Tensor:
    """Which of the Gram matrices G (p×d×d) may be singular: (p,) booleans."""
    if G.shape[-1] == 0:
        return torch.zeros(G.shape[0], dtype=torch.bool)
    size = G.diagonal(dim1=1, dim2=2).sqrt()
    size = torch.where(size > 0, size, 1.0)
    return torch.linalg.eigvalsh(G / size.unsqueeze(1) / size.unsqueeze(2))[:, 0] <= _SCREEN
