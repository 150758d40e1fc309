"""Covariance of estimated coefficients: from the curvature of the likelihood, or from how its scores spread.

With H the Hessian of minus the log-likelihood (or the bound) in the coefficients and s_i the score of sample i,

    model-based: V = H^-1,     sandwich: V = H^-1 (sum_i w_i s_i s_i') H^-1 = sum_i w_i u_i u_i',   u_i = H^-1 s_i

(Huber 1967; White 1982). u_i, the *influence* of sample i, is n×p×d. Weights count samples: weight 2 is two samples.
All is computed in an orthonormal basis of the design, and turned into the units of X at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plncli.dataset import LETTERS, Dataset
from plncli.errors import counted, some
from plncli.models.findings import IN_FULL, Finding
from plncli.numerics.linalg import Basis, ImplicitBasis, inverses, weighted_grams
from plncli.numerics.rows import accumulate, over_parts, total

BLOCK = 1 << 20
"""Numbers in a temporary: samples go through in blocks, so that memory does not grow with n."""
ALONE = 1.0 - 1e-8
"""Leverage from which a sample fits itself exactly: it says nothing of how far it is off."""
_FLAT = 1e-10  # share of the largest eigenvalue below which a direction carries no information


class Interrupted(Exception):
    """Someone asked to stop while standard errors were computed."""


class LikelihoodRatios(NamedTuple):
    """Tests and intervals of single coefficients by likelihood ratios, in place of Wald's; nan where there is none.

    roots: d×p, signed roots of the ratios of B = 0, standard normal if it holds; intervals(level): low and high, d×p.
    """

    roots: Tensor
    intervals: Callable[[float], tuple[Tensor, Tensor]]


class Ratios(NamedTuple):
    """Tests by likelihood ratios of a hypothesis about the coefficients of each response, (p,); nan where none is.

    statistic: twice what the log-likelihood loses where it holds; low, high: the interval, where one is wanted.
    """

    statistic: Tensor
    low: Tensor
    high: Tensor


class Beside(NamedTuple):
    """Other parameters of a model, and their variances, of one shape; nan where there is none."""

    estimate: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Uncertainty:
    """How well coefficients are known.

    blocks: p×d×d, the covariance of each response's own coefficients, nan in the rows and columns of those without
    one; covariance: the whole matrix, (p·d)×(p·d), on demand, responses outside and terms inside (entry j·d + k is
    term k of response j); df: degrees of freedom of the t statistics, inf for z; facts: for the summary, by name.
    ratios: tests and intervals that are not Wald's, None where these are. beside: of other parameters, by symbol.
    """

    method: str
    blocks: Tensor
    covariance: Callable[[], Tensor] = field(repr=False)
    df: float = math.inf
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    ratios: LikelihoodRatios | None = field(default=None, repr=False)
    beside: Mapping[str, Beside] = field(default_factory=dict, repr=False)

    @property
    def variance(self) -> Tensor:
        """d×p, nan where there is none."""
        return self.blocks.diagonal(dim1=1, dim2=2).mT


@dataclass(frozen=True)
class Determined:
    """The directions in which each response's coefficients are determined by the cells that count.

    vectors: p×d×d (1×d×d when every cell counts), orthonormal columns; free: p×d (1×d), True for a column along which
    nothing is known. Gram: p×d (1×d) eigenvalues of Q'WK_jQ, to which the columns belong.
    """

    vectors: Tensor
    free: Tensor
    gram: Tensor

    @staticmethod
    def by(Q: Tensor, w: Tensor, kept: Tensor | None) -> Determined:
        """From the basis Q (n×d), the weights and the cells that count, n×p (None: all)."""
        if kept is None:
            return Determined.wholly(total(w), Q.shape[1])
        return Determined.of(weighted_grams(Q, w[:, None] * kept), total(w))

    @staticmethod
    def of(grams: Tensor, wbar: Tensor) -> Determined:
        """From the matrices Q'WK_jQ (p×d×d) and the sum of the weights."""
        values, vectors = torch.linalg.eigh(grams)
        return Determined(vectors, values <= _FLAT * wbar, values)

    @staticmethod
    def wholly(wbar: Tensor, d: int) -> Determined:
        """Where every cell counts: Q'WQ is the identity times the sum of the weights."""
        gram = wbar.expand(1, d)
        return Determined(
            torch.eye(d, dtype=wbar.dtype, device=wbar.device)[None], torch.zeros_like(gram, dtype=torch.bool), gram
        )

    def inverse(self, H: Tensor) -> Tensor:
        """Inverse of each H_j (p×d×d) within the directions that are determined, 0 along the others."""
        U, open_ = self.vectors.expand_as(H), self.free.expand(len(H), -1)
        inner = _unit_diagonal(torch.matmul(U.mT, H) @ U, open_)
        return U @ _symmetric_inverse(inner, open_) @ U.mT


def _unit_diagonal(H: Tensor, open_: Tensor) -> Tensor:
    """H (p×d×d) with the rows and columns of directions not estimable replaced by those of the identity."""
    closed = (~open_).to(H.dtype)
    return H * closed[:, :, None] * closed[:, None, :] + torch.diag_embed(open_.to(H.dtype))


def _symmetric_inverse(H: Tensor, open_: Tensor) -> Tensor:
    """Inverse of positive definite matrices (p×d×d), 0 in directions not estimable; nan where not positive definite."""
    scale = H.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(H.dtype).tiny).rsqrt()
    inverse = inverses(H * scale[:, :, None] * scale[:, None, :]) * scale[:, :, None] * scale[:, None, :]
    closed = (~open_).to(H.dtype)
    return inverse * closed[:, :, None] * closed[:, None, :]


def blocks(n: int, numbers: int) -> Iterator[slice]:
    """Slices of n samples, each of about BLOCK numbers when a sample takes `numbers`."""
    rows = max(1, BLOCK // max(1, numbers))
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def to_units(basis: Basis | ImplicitBasis, rows: Tensor) -> Tensor:
    """Coefficients in the orthonormal basis (... × d) in the units of X: T^-1 times each."""
    return torch.linalg.solve_triangular(basis.T, rows.reshape(-1, rows.shape[-1]).mT, upper=True).mT.reshape(
        rows.shape
    )


def from_influence(
    method: str,
    influence: Callable[[slice], Tensor],
    w: Tensor,
    shape: tuple[int, int],
    missing: Tensor,
    clusters: Tensor | None = None,
    correction: float = 1.0,
) -> Uncertainty:
    """The sandwich from influences: `influence(rows)` is b×p×d in the units of X; shape = (d, p); missing: d×p.

    clusters: (n,) codes; the influences of a cluster are added up before they are squared, since its samples may err
    together (Liang & Zeger 1986), and what comes out is multiplied by `correction`.
    """
    facts: dict[str, Any] = {}
    if clusters is not None:
        sums = (correction**0.5) * _by_cluster(influence, w, clusters, shape)
        influence, w, facts = (lambda rows: sums[rows]), w.new_ones(len(sums)), {"clusters": len(sums)}
    (d, p), n = shape, len(w)
    own = w.new_zeros((p, d, d))

    def add_own(rows: slice) -> None:
        u = (influence(rows) * w[rows, None, None].sqrt()).transpose(0, 1)
        own.baddbmm_(u.mT, u)

    accumulate((own,), add_own, n, p * d, BLOCK)

    def covariance() -> Tensor:
        V = w.new_zeros((p * d, p * d))

        def add(rows: slice) -> None:
            u = influence(rows).flatten(1) * w[rows, None].sqrt()
            V.addmm_(u.mT, u)

        accumulate((V,), add, n, p * d, BLOCK)
        return without(V, missing)

    return Uncertainty(method, own_without(own, missing), covariance, facts=facts)


def _by_cluster(influence: Callable[[slice], Tensor], w: Tensor, clusters: Tensor, shape: tuple[int, int]) -> Tensor:
    """Weighted sums of the influences of each cluster, G×p×d."""
    d, p = shape
    sums = w.new_zeros((int(clusters.max()) + 1, p, d))

    def add(rows: slice) -> None:
        sums.index_add_(0, clusters[rows], w[rows, None, None] * influence(rows))

    return accumulate((sums,), add, len(w), p * d, BLOCK)[0]


def from_inverses(method: str, basis: Basis | ImplicitBasis, inverses: Tensor, missing: Tensor) -> Uncertainty:
    """The model-based covariance of responses that are independent: H_j^-1 (p×d×d) in the orthonormal basis."""
    p, d, _ = inverses.shape

    half = to_units(basis, inverses)  # rows of H^-1 in X's units: H^-1 T^-T, which is symmetric after the other side
    own = to_units(basis, half.mT)

    def covariance() -> Tensor:
        V = inverses.new_zeros((p, d, p, d))
        index = torch.arange(p, device=V.device)
        V[index, :, index, :] = own
        return without(V.view(p * d, p * d), missing)

    return Uncertainty(method, own_without(own, missing), covariance)


def own_without(own: Tensor, missing: Tensor) -> Tensor:
    """Blocks (p×d×d) with nan in the rows and columns of coefficients that have no variance; missing: d×p."""
    gone = missing.mT
    return own.masked_fill(gone[:, :, None] | gone[:, None, :], math.nan)


def without(V: Tensor, missing: Tensor) -> Tensor:
    """V ((p·d)×(p·d)) with nan in the rows and columns of coefficients that have no variance; missing: d×p."""
    gone = missing.mT.flatten()
    V[gone, :] = math.nan
    V[:, gone] = math.nan
    return V


def resting_on_one(
    basis: Basis, w: Tensor, kept: Tensor | None, at: Determined, p: int, clusters: Tensor | None = None
) -> Tensor:
    """Coefficients (d×p) that rest on a sample, or cluster, which alone determines some direction of the design.

    Such a sample has leverage 1: it is fitted exactly, whatever it is, and its score is 0, so a sandwich would give the
    coefficient a variance that leaves it out. So has such a cluster, and the sum of its scores. kept: n×p cells that
    count (None: all); clusters: (n,) codes.
    """
    Q = basis.Q
    root = torch.where(at.free, 0.0, at.gram.clamp_min(torch.finfo(w.dtype).tiny).rsqrt())
    half = at.vectors * root[:, None, :]  # G^-½, p×d×d
    out = torch.zeros((basis.T.shape[0], len(half)), dtype=torch.bool, device=w.device)
    units = to_units(basis, half.mT).mT  # T^-1 G^-½
    size = torch.linalg.vector_norm(units, dim=2)
    if clusters is not None:
        for j in range(len(half)):
            z = (Q @ half[j]) * (w if kept is None else w * kept[:, j]).sqrt()[:, None]
            shares, directions = torch.linalg.eigh(_grams_by_cluster(z, clusters))
            for g, k in (shares > ALONE).nonzero().tolist():
                out[:, j] |= (units[j] @ directions[g, :, k]).abs() > 1e-6 * size[j]
        return out.expand(-1, p)

    def add(rows: slice) -> None:
        z = torch.einsum("il,jlk->ijk", Q[rows] * w[rows, None].sqrt(), half)
        alone = (z.square().sum(2) > ALONE) & (True if kept is None else kept[rows] > 0)
        for i, j in alone.nonzero().tolist():
            out[:, j] |= (units[j] @ z[i, j]).abs() > 1e-6 * size[j]

    return accumulate((out,), add, len(Q), len(half) * Q.shape[1], BLOCK)[0].expand(-1, p)


def _grams_by_cluster(z: Tensor, clusters: Tensor) -> Tensor:
    """Sums of z_i z_i' over each cluster, G×d×d; z: n×d."""
    d = z.shape[1]
    grams = z.new_zeros((int(clusters.max()) + 1, d, d))

    def add(rows: slice) -> None:
        grams.index_add_(0, clusters[rows], z[rows, :, None] * z[rows, None, :])

    return accumulate((grams,), add, len(z), d * d, BLOCK)[0]


def alone_finding(missing: Tensor, data: Dataset) -> tuple[Finding, ...]:
    """The sentence about coefficients (d×p, True) without a robust standard error because of `resting_on_one`."""
    cells = tuple((data.responses[j], data.terms[k]) for j, k in missing.mT.nonzero().tolist())
    if not cells:
        return ()
    names = tuple(dict.fromkeys(response for response, _ in cells))
    one = "sample" if data.clusters is None else "cluster"
    message = (
        f"{counted(len(cells), 'coefficient')} without standard error, for each rests on a single {one}: of "
        f"{some(names, where=IN_FULL, width=100)}."
    )
    remedy = f"Merge levels of a single {one}, or leave it out."
    return (Finding("single-sample", message, names, cells, remedy),)


class Cells(NamedTuple):
    """What robust standard errors take of b samples: the basis with their Q (b×d); residuals y − mu, b×p.

    leverage(rows): h, of one sample of weight 1, of some of them by p (or 1); kept: those that count, b×p; None: all.
    """

    basis: Basis
    residuals: Tensor
    leverage: Callable[[slice], Tensor]
    kept: Tensor | None = None


def robust(
    method: str,
    data: Dataset,
    T: Tensor,
    cells: Callable[[Dataset], Cells],
    inverses: Tensor,
    at: Determined,
    missing: Tensor,
) -> Uncertainty:
    """Heteroskedasticity-consistent covariance of regressions, HC0 to HC3 (MacKinnon & White 1985).

    cells: of a block of samples; inverses: H_j^-1 in the orthonormal basis, p×d×d; T: what leads to it (`Basis`). hc0:
    scores as they are; hc1: times n/(n − d), n the sum of the weights; hc2, hc3: residuals divided by sqrt(1 − h),
    1 − h. They are those of R's sandwich::vcovHC for lm and glm. `robust` is hc3, whose tests keep their size best in
    small samples (Long & Ervin 2000).

    With clusters `robust` adds up the scores of each, times G/(G − 1) · (n − 1)/(n − d), G clusters (Cameron & Miller
    2015, section II.B): what Stata and statsmodels compute.
    """
    if data.clusters is None and method == "robust":
        method = "hc3"
    (d, p), number = (len(T), data.p), data.total_weight
    half = to_units(Basis(T, T), inverses).mT  # T^-1 H^-1, p×d×d
    correction = math.sqrt(number / (number - d)) if number > d else math.nan
    few = math.nan if number <= d else (number - 1.0) / (number - d)
    factor = 1.0 if data.clusters is None else cluster_correction(data) * few

    def resting(part: Dataset) -> tuple[Tensor]:
        of = cells(part)
        return (resting_on_one(of.basis, part.w, of.kept, at, p, part.clusters).to(half),)

    def spread(part: Dataset) -> Uncertainty:
        basis, residuals, leverage, _ = cells(part)

        def influence(rows: slice) -> Tensor:
            e = residuals[rows]
            if method == "hc1":
                e = e * correction
            elif method in ("hc2", "hc3"):
                left = (1.0 - leverage(rows)).clamp_min(1.0 - ALONE)
                e = e / (left.sqrt() if method == "hc2" else left)
            return torch.einsum("jkl,il,ij->ijk", half, basis.Q[rows], e)

        none = torch.zeros_like(missing)
        return from_influence(method, influence, part.w, (d, p), none, part.clusters, factor)

    alone = (over_parts(resting, data, LETTERS)[0] > 0) & ~missing
    (blocks,) = over_parts(lambda part: (spread(part).blocks,), data, LETTERS)
    gone = missing | alone

    def covariance() -> Tensor:
        return without(over_parts(lambda part: (spread(part).covariance(),), data, LETTERS)[0], gone)

    facts = {} if data.clusters is None else {"clusters": data.n_clusters}
    return Uncertainty(method, own_without(blocks, gone), covariance, findings=alone_finding(alone, data), facts=facts)


def cluster_correction(data: Dataset) -> float:
    """G/(G − 1), G clusters; nan for one, which tells nothing."""
    G = data.n_clusters
    return G / (G - 1.0) if G > 1 else math.nan
