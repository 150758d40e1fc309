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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from plncli import ranks
from plncli.numerics.cones import STILL, distinct, interior, limits_of, null_space, unit_rows
from plncli.numerics.linalg import grams_where_positive, orthonormal_basis, weighted_grams
from plncli.numerics.rows import gathered, group_totals, place, some_row
from plncli.sparse import block_of, columns_taken, is_sparse, spread

_SCREEN = 1e-9  # smallest eigenvalue of a scaled Gram matrix, a square: far above TOL², so the screen misses nothing


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
        return limits_of(self._moves(), distinct(self.rows)[0])

    def infinite(self) -> Tensor:
        """Which coefficients have no finite estimate, (d,) booleans: `limits` without their directions."""
        return torch.linalg.vector_norm(self._moves(), dim=1) > STILL

    def _moves(self) -> Tensor:
        """How the kernel moves each coefficient, d×k, as a share of how far any unit direction could."""
        inverse = torch.linalg.solve_triangular(self.T, torch.eye(len(self.T), dtype=self.T.dtype), upper=True)
        return inverse @ self.kernel / torch.linalg.vector_norm(inverse, dim=1, keepdim=True)


@dataclass(frozen=True)
class Separation:
    """Features of a table of counts without finite coefficients.

    cells: n×p, True where the expected count goes to 0 at the supremum, sparse where counts are; `features` index the
    columns concerned, among them those that are merely not identified (too few of their cells are observed).
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
        rows = [_extreme(distinct(cone.rows)[0]) for cone in cones]
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
            out[:, self.of == c] = limits_of(moves, rows)[:, None]
        return out


def poisson_separation(X: Tensor, Y: Tensor, K: Tensor | None = None) -> Separation | None:
    """Separation in a Poisson (or Poisson log-normal) regression of Y (n×p) on X (n×d); None when there is none.

    K (n×p): True where Y is observed. X must have full column rank.
    """
    if is_sparse(Y):
        return _of_sparse(X, Y)
    positive = (Y > 0).cpu()
    zero = (Y == 0).cpu()
    if K is not None:
        positive, zero = positive & K.cpu(), zero & K.cpu()
    if ranks.now() is None:
        return _of_counts(X, positive, zero, Y.device)
    suspects = singular(weighted_grams(_rows(X)[0], positive)).nonzero()[:, 0]
    if len(suspects) == 0:
        return None
    return _of_all_rows(X, positive[:, suspects], zero[:, suspects], _of_counts, suspects, Y.shape[1])


def _of_sparse(X: Tensor, Y: Tensor) -> Separation | None:
    """The same of counts without their zeros: of the few features that may be separated, as they are."""
    suspects = singular(grams_where_positive(_rows(X)[0], Y)).nonzero()[:, 0]
    if len(suspects) == 0:
        return None
    found = poisson_separation(X, block_of(columns_taken(Y, suspects.to(Y.device)), slice(None)))
    if found is None:
        return None
    cells = spread(found.cells.cpu(), suspects, Y.shape[1]).to(Y.device)
    return Separation(cells, tuple(suspects[list(found.features)].tolist()), found.recessions)


def _of_all_rows(
    X: Tensor,
    one: Tensor,
    other: Tensor,
    find: Callable[[Tensor, Tensor, Tensor, torch.device], Separation | None],
    features: Tensor,
    p: int,
) -> Separation | None:
    """What is found of all rows, wherever they are, with the cells of those that are here.

    one, other: n×f booleans of some of the p features, given by index.
    """
    n = len(X)
    whole, first, second, own = gathered(X), gathered(one), gathered(other), place(n)
    with ranks.alone():
        found = find(whole, first, second, X.device)
    if found is None:
        return None
    cells = torch.zeros((n, p), dtype=torch.bool, device=X.device)
    cells[:, features] = found.cells[own]
    return Separation(cells, tuple(features[list(found.features)].tolist()), found.recessions)


def _of_counts(X: Tensor, positive: Tensor, zero: Tensor, device: torch.device) -> Separation | None:
    """The same from n×p booleans: counts above 0, and 0; `device`: of the answer."""
    A, T = _rows(X)
    # Samples with the same covariates are one row: a design of groups shrinks to as many rows as groups.
    A, member = distinct(A)  # needs all rows
    fixed = group_totals(positive.double(), member, len(A)) > 0
    free = (group_totals(zero.double(), member, len(A)) > 0) & ~fixed
    suspects = singular(weighted_grams(A, fixed)).nonzero()[:, 0]
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
    return Separation(cells.to(device), tuple(j for j, _ in found), tuple(cone for _, cone in found))


def one_sided(X: Tensor, down: Tensor, up: Tensor) -> Separation | None:
    """Where linear predictors run off that cost ever less the lower they are (`down`, n×p), or the higher (`up`).

    Rows that are both stay where they are, those that are neither do not count. cells: those that run off. None when
    there is none, and all coefficients are determined.
    """
    down, up = down.cpu(), up.cpu()
    if ranks.now() is None:
        return _of_slopes(X, down, up, X.device)
    p = down.shape[1]
    return _of_all_rows(X, down, up, _of_slopes, torch.arange(p), p)


def _of_slopes(X: Tensor, down: Tensor, up: Tensor, device: torch.device) -> Separation | None:
    """The same of all rows."""
    A, T = _rows(X)
    A, member = distinct(A)  # needs all rows
    falls, rises = (group_totals(each.double(), member, len(A)) > 0 for each in (down, up))
    suspects = singular(weighted_grams(A, falls & rises)).nonzero()[:, 0]
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
    return Separation(cells.to(device), tuple(j for j, _ in found), tuple(cone for _, cone in found))


def bernoulli_separation(X: Tensor, y: Tensor, candidates: Tensor | None = None) -> Recession | None:
    """Separation in a Bernoulli regression of y (n,), 0 or 1, on X (n×d); None when there is none.

    `candidates` (n,): the only rows that may be separated, from a fit near the supremum where separated rows have
    all but no loss; without them every row may be. Complete separation: all `cells`; quasi-complete: some.
    """
    X = X.detach().to("cpu", torch.float64)
    free = torch.ones(len(X), dtype=torch.bool) if candidates is None else candidates.cpu()
    if not bool(some_row(free)) or not singular(weighted_grams(X, ~free.unsqueeze(1)))[0]:
        return None
    if ranks.now() is not None:
        whole, own = (gathered(X), gathered(y), gathered(free)), place(len(X))
        with ranks.alone():
            found = bernoulli_separation(*whole)
        return None if found is None else replace(found, cells=found.cells[own])
    A, T = _rows(X)
    A = A * (1.0 - 2.0 * y.detach().to("cpu", torch.float64)).unsqueeze(1)
    cone = recession(A, ~free, free, T)
    return cone if bool(cone.cells.any()) else None


def recession(A: Tensor, fixed: Tensor, free: Tensor, T: Tensor) -> Recession:
    """Cone {δ : a_i'δ = 0 on `fixed` rows, a_i'δ ≤ 0 on `free` rows} for unit rows A (n×d); masks are (n,).

    T (d×d): what leads from the coefficients of the design to those of A.
    """
    N = null_space(A[fixed])
    N, R, z = interior(N, A[free])
    negative = torch.zeros_like(free)
    negative[free] = R.abs().amax(dim=1) > 0 if R.shape[1] else False
    return Recession(negative, N @ z, N, T, R[negative[free]])


def _rows(X: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows of an orthonormal basis of X, n×d on the CPU in float64, and T (d×d) of X = QT."""
    X = X.detach().to("cpu", torch.float64)
    basis = orthonormal_basis(X, X.new_ones(len(X)))
    return unit_rows(basis.Q), basis.T


def _extreme(R: Tensor) -> Tensor:
    """The rows of R (b×2) between which all others lie, where they all lie on one side; R itself in more dimensions."""
    if R.shape[1] != 2 or len(R) <= 2:
        return R
    x, y = R.mean(dim=0)  # over distinct rows of a cone, not samples
    angle = torch.atan2(R[:, 1] * x - R[:, 0] * y, R[:, 0] * x + R[:, 1] * y)
    return R[torch.stack([angle.argmin(), angle.argmax()])]


def singular(G: Tensor) -> Tensor:
    """Which of the Gram matrices G (p×d×d) may be singular: (p,) booleans."""
    if G.shape[-1] == 0:
        return torch.zeros(G.shape[0], dtype=torch.bool)
    size = G.diagonal(dim1=1, dim2=2).sqrt()
    size = torch.where(size > 0, size, 1.0)
    return torch.linalg.eigvalsh(G / size.unsqueeze(1) / size.unsqueeze(2))[:, 0] <= _SCREEN
