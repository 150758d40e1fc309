"""Size factors by method: counts Y (n×p, each sample with some) -> reference; Y, reference -> (n,) log factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.numerics.rows import mean
from plncli.numerics.rows import total as sum_of_rows

RATIO_TRIM, LEVEL_TRIM = 0.3, 0.05  # tmm: shares trimmed off either end of the log ratios, and of the levels
STEP = 0.1  # css: relative change of the deviations that counts as unstable


class Undefined(Exception):
    """A method has no answer: why, what to do, and the samples (rows) at fault, none where the whole table is."""

    def __init__(self, reason: str, remedy: str, rows: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.reason, self.remedy, self.rows = reason, remedy, rows


def _check(bad: Tensor, reason: str, remedy: str) -> None:
    """Undefined where the mask `bad` (n,) holds for any sample."""
    if bool(bad.any()):
        raise Undefined(reason, remedy, bad.nonzero().flatten().tolist())


def _median(V: Tensor) -> Tensor:
    """(n,) median of each row of V (n×p) but for its nan entries, the mean of the two in the middle; nan of none."""
    ordered, size = V.sort(1).values, (~V.isnan()).sum(1, keepdim=True)
    low, high = ((size - 1) // 2).clamp(min=0), (size // 2).clamp(max=V.shape[1] - 1)
    return (ordered.gather(1, low) + ordered.gather(1, high)).flatten() / 2


def _quantiles(Y: Tensor, sizes: Tensor, at: Tensor) -> Tensor:
    """(n, k) quantiles at the probabilities `at` (k,) or (n, k) of the `sizes` (n,) largest entries of each row of Y.

    Between two entries it is linear (type 7 of Hyndman & Fan 1996).
    """
    ordered, p = Y.sort(1).values, Y.shape[1]
    place = (sizes[:, None] - 1) * at.expand(len(Y), -1)
    low = (place + 1e-12 * p).floor()  # a place that is whole but for rounding is whole
    part = (place - low).clamp(min=0.0)
    first = (p - sizes)[:, None]
    below = ordered.gather(1, first + low.long())
    above = ordered.gather(1, (first + low.long() + 1).clamp(max=p - 1))
    return torch.where(part > 0, below + part * (above - below), below)


def no_reference(Y: Tensor) -> Tensor:
    """Nothing is learnt of the table: each sample is by itself."""
    return Y.new_empty(0)


def total(Y: Tensor, R: Tensor) -> Tensor:  # noqa: ARG001 (every method takes its reference)
    """Total counts (total sum scaling): s_i = Σ_j Y_ij."""
    return totals(Y).log()


def css_quantile(Y: Tensor) -> Tensor:
    """(1,) the quantile up to which cumulative sum scaling adds counts (Paulson et al. 2013, Nature Methods 10:1200).

    The quantiles q_i(t) are those of the positive counts of a sample, at L equally spaced t from 0 to 1, L being the
    most features that a sample has; the reference r(t) is the mean over samples of the counts in order, largest with
    largest; d_k = median_i |r(t_k) − q_i(t_k)|. The quantile is k/L for the first k with |d_{k+1} − d_k| > 0.1 d_{k+1},
    and at least 1/2: the rule of the authors' program, metagenomeSeq, where the paper has medians for means in r and
    d_k for d_{k+1}. Undefined where a sample has a single feature, and where no k is unstable (such as for equal ones).
    """
    sizes = (Y > 0).sum(1)
    _check(sizes < 2, "a sample has a single feature, which has no quantiles", "Leave it out, or use total or gmpr.")
    L = int(sizes.max())
    at = torch.linspace(0.0, 1.0, L, dtype=Y.dtype)
    reference = mean(Y.sort(1).values[:, Y.shape[1] - L :])
    # needs all rows: a median over samples
    deviation = _median((reference - _quantiles(Y, sizes, at)).abs().mT)
    unstable = (deviation.diff().abs() / deviation[1:] > STEP).nonzero().flatten()
    if not len(unstable):
        raise Undefined("there is no quantile from which on the samples part", "Use total or gmpr.")
    return Y.new_tensor([max(0.5, (int(unstable[0]) + 1) / L)])


def css(Y: Tensor, R: Tensor) -> Tensor:
    """Cumulative sum scaling: s_i = Σ_j Y_ij over the counts up to the quantile R (1,) of the positive ones."""
    q = _quantiles(Y, (Y > 0).sum(1), R)
    return torch.where(q * (1 + 1e-12) < Y, 0.0, Y).sum(1).log()


def geometric_means(Y: Tensor) -> Tensor:
    """(p,) geometric mean g_j of each feature, 0 where a sample lacks it. Undefined where all are 0."""
    means = mean(Y.log()).exp()
    if not bool((means > 0).any()):
        raise Undefined("every feature is 0 in some sample", "Use rle-positive or gmpr.")
    return means


def positive_means(Y: Tensor) -> Tensor:
    """(p,) n-th root of the product of the positive counts of each feature, 0 where there are none.

    As DESeq2's `poscounts` (Love, Huber & Anders 2014, Genome Biology 15:550, and its manual): the root is that of all
    n samples, so that features that are often absent count as small ones.
    """
    seen = Y > 0
    return torch.where(seen.any(0), mean(torch.where(seen, Y, 1.0).log()).exp(), 0.0)


def rle(Y: Tensor, R: Tensor) -> Tensor:
    """Relative log expression (Anders & Huber 2010, Genome Biology 11:R106, eq. 5): s_i = median_j Y_ij / g_j.

    Over the features with geometric mean g = R (p,) above 0 that the sample has. The median is taken of logarithms, as
    DESeq2 does: between two middle ratios, their geometric mean. Undefined for a sample without such a feature.
    """
    ratios = torch.where((Y > 0) & (R > 0), (Y / R).log(), torch.nan)
    factors = _median(ratios)
    _check(factors.isnan(), "a sample has none of the features of the reference", "Leave it out.")
    return factors


def all_samples(Y: Tensor) -> Tensor:
    """The table itself (n×p). Undefined where some samples share no feature with the others, not even by way of more.

    Their size factors would not be comparable.
    """
    shared = (Y > 0).to(Y.dtype)  # needs all rows, as do the ratios of pairs
    left = torch.ones(len(Y), dtype=torch.bool)
    largest = torch.zeros_like(left)
    while bool(left.any()):
        group = torch.zeros_like(left)
        group[left.nonzero()[0]] = True
        size = 0
        while int(group.sum()) > size:
            size = int(group.sum())
            group = shared @ sum_of_rows(shared[group]) > 0
        left &= ~group
        largest = group if size > int(largest.sum()) else largest
    _check(~largest, "a sample shares no feature with most others", "Leave it out, or use total.")
    return Y


def gmpr(Y: Tensor, R: Tensor) -> Tensor:
    """Geometric mean of pairwise ratios (Chen et al. 2018, PeerJ 6:e4600).

    r_ik = median_j Y_ij / R_kj over the features of both samples, s_i = (Π_k r_ik)^(1/m) over the m samples k of
    R (the table itself) that share one with i, itself included. As in the paper, every shared feature counts; the
    authors' program takes counts from 2 and pairs from 4 shared features on.
    """
    factors = Y.new_empty(len(Y))
    for i, sample in enumerate(Y):
        mine = sample > 0
        ratios = sample[mine] / R[:, mine]
        factors[i] = _median(torch.where(ratios.isfinite(), ratios, torch.nan)).log().nanmean()
    return factors


def mean_proportions(Y: Tensor) -> Tensor:
    """(p,) mean over the samples of the proportion that each feature has of their counts."""
    return mean(Y / totals(Y)[:, None])


def wrench(Y: Tensor, R: Tensor) -> Tensor:
    """Wrench in its plain form (Kumar et al. 2018, BMC Genomics 19:799): s_i = N_i · mean_j (Y_ij / N_i) / R_j.

    N_i total counts, R (p,) mean proportions; the mean is over all features of R, zeros included, without weights,
    shrinkage of the ratios or groups of samples. Undefined for a sample with no feature of the reference.
    """
    ratios = (Y / totals(Y)[:, None])[:, R > 0] / R[R > 0]
    factors = ratios.mean(1).log()
    _check(~factors.isfinite(), "a sample has none of the features of the reference", "Leave it out.")
    return totals(Y).log() + factors


def typical_sample(Y: Tensor) -> Tensor:
    """(p,) counts of the reference sample of tmm, chosen as edgeR does.

    It is the one whose upper quartile (of all features seen), as a proportion of its total, is nearest to the mean of
    all, and of several that are equally near (but for rounding) the one with the largest Σ_j √Y_ij, where edgeR takes
    the first, so that the order of the samples does not matter. Where most quartiles are 0, Σ_j √Y_ij decides alone.
    """
    seen = Y[:, Y.any(0)]
    whole = torch.full((len(Y),), seen.shape[1])
    quartile = _quantiles(seen, whole, Y.new_tensor([0.75])).flatten() / totals(Y)
    distance = (quartile - quartile.mean()).abs()
    near = distance <= distance.min() + 1e-12
    if float(_median(quartile[None])) < 1e-20:
        near = torch.ones_like(near)
    return Y[int(torch.where(near, Y.sqrt().sum(1), -1.0).argmax())]


def tmm(Y: Tensor, R: Tensor) -> Tensor:
    """Trimmed mean of M-values (Robinson & Oshlack 2010, Genome Biology 11:R25), as edgeR has it: s_i = N_i 2^T_i.

    Over the features of both the sample and the reference R (p,), with totals N and N_R: M_j = log2 of the ratio of the
    proportions, A_j = log2 of their geometric mean; T_i is the mean of the M_j that are neither in the outer 30 % of M
    on either side nor in the outer 5 % of A, weighted by 1/((N − Y)/(N Y) + (N_R − R)/(N_R R)), the inverse of their
    approximate variance. Undefined where nothing is left. The weights know the depth: only to first order does a sample
    that is k times as deep get k times the factor.
    """
    factors = torch.stack([_trimmed_mean(sample, R) for sample in Y])
    _check(
        ~factors.isfinite(),
        "too few features are shared with the reference sample",
        "Leave it out, or use gmpr or total.",
    )
    return totals(Y).log() + log(2.0) * factors


def _trimmed_mean(y: Tensor, r: Tensor) -> Tensor:
    """T of a sample with counts y (p,) against r (p,); nan where nothing is left."""
    N, N_r, both = y.sum(), r.sum(), (y > 0) & (r > 0)
    y, r = y[both], r[both]
    M = torch.log2((y / N) / (r / N_r))
    A = (torch.log2(y / N) + torch.log2(r / N_r)) / 2
    if len(M) and float(M.abs().max()) < 1e-6:
        return M.new_zeros(())
    keep = _inner(M, RATIO_TRIM) & _inner(A, LEVEL_TRIM)
    variance = (N - y) / N / y + (N_r - r) / N_r / r
    weight = 1 / variance[keep]
    return (weight * M[keep]).sum() / weight.sum()


def _inner(V: Tensor, trim: float) -> Tensor:
    """(m,) which entries of V (m,) are not among the ⌊trim · m⌋ lowest or highest; equal ones share their mean rank."""
    _, place, times = V.unique(return_inverse=True, return_counts=True)
    rank = (times.cumsum(0) - (times - 1) / 2)[place]
    low = int(len(V) * trim) + 1
    return (rank >= low) & (rank <= len(V) + 1 - low)


class Method(NamedTuple):
    """What a method learns of a table, and the log size factors of samples against it."""

    reference: Callable[[Tensor], Tensor]
    log_factors: Callable[[Tensor, Tensor], Tensor]


METHODS: Mapping[str, Method] = {
    "total": Method(no_reference, total),
    "css": Method(css_quantile, css),
    "rle": Method(geometric_means, rle),
    "rle-positive": Method(positive_means, rle),
    "gmpr": Method(all_samples, gmpr),
    "wrench": Method(mean_proportions, wrench),
    "tmm": Method(typical_sample, tmm),
}


def totals(Y: Tensor) -> Tensor:
    """(n,) total count of each sample of Y (n×p)."""
    return Y.sum(1)
