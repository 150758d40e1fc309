"""Where an optimizer begins, and the axes on which a fit ends.

The bound has many maxima in the loadings, apart by hundreds of nats or thousands. Those that are found from log counts
are seldom the best. Better ones are found from counts that weigh little at first, and more and more (annealing: Ueda &
Nakano 1998, Neural Networks 11), or from more components than are asked for, the least of which are then given up. None
of them is always the best, so there are several starts, of both kinds by turns, for those of one kind may agree on what
is not the best. Alternation takes each to the neighbourhood of its maximum, for a fraction of what Newton steps cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from plncli import ranks
from plncli.models.base import Init
from plncli.models.pca.prepared import Prepared
from plncli.models.pca.profile import Blocked, evaluated
from plncli.models.pca.starting.alternation import Alternation, ByBlocks, Whole
from plncli.models.pca.table import Table
from plncli.numerics.linalg import principal_axes
from plncli.numerics.rows import gathered, gram, number, over_rows, total, triangular, weigh

HOT, NOISY = 1e-3, 1e-2
"""What counts weigh where they weigh little, and the same of loadings with noise."""
WARM = (0.3, 3e-2)
"""The same where an optimum is annealed again."""
LEVELS = 6
"""Weights of the counts, from there to 1."""
WIDER = (5, 10)
"""Components that are given up."""
ROUNDS = 5
"""Rounds of alternation after each change."""
LAST, NEAR = 150, 1e-4
"""Rounds at the end of a start, at most, and what the features' steps promise where it ends, in nats a sample."""
SEARCHED = 1 << 21
"""Cells of a table that is fitted from one start, for others take long."""
EXTRA, PASSES = 8, 3
"""Directions beyond the rank, and passes, of subspace iteration."""
LARGE = 3000
"""Features beyond which the residuals' own axes stand for those of components that are missing."""
SMALLER = 6
"""How often loadings of components that are missing are made smaller until they gain."""
MOST_WIDER, LEAST_HOT = 10, 1e-4
"""Of starts by chance."""


def starts(prepared: Prepared, init: Init | None, zeta: Tensor | None = None) -> Iterator[Tensor]:
    """Starts that are worth a try, theta ((d+q)×p) each; init: an earlier fit of fewer components.

    zeta: parameters of the probabilities of structural zeros, held, where there are any.
    """
    large = _large(prepared.table)
    if init is not None and large:
        yield start(prepared, init, zeta)
        return
    table, best = prepared.table.whole(), math.inf

    def end(theta: Tensor) -> Tensor:
        nonlocal best
        found = Whole(table, theta, zeta=zeta).settled(LAST, NEAR * table.wbar, best)
        best = min(best, found.value)
        return found.theta

    plain = of_log_counts(table)
    yield end(annealed(table, plain, HOT, zeta))
    if init is not None:
        yield end(start(prepared, init, zeta))
    if large:
        return
    chance = Generator().manual_seed(0)
    for wider in WIDER:
        yield end(narrowed(table, wider, zeta))
        yield end(annealed(table, noisy(plain, table.d, chance), NOISY, zeta))
    yield end(annealed(table, plain, NOISY, zeta))


def _large(table: Table) -> bool:
    """Whether other starts take long."""
    return number(len(table.Y)) * table.Y.shape[1] > SEARCHED


def restarts(theta: Tensor, prepared: Prepared) -> Iterator[Tensor]:
    """Starts near an optimum of a table that is not too large to look for better ones."""
    if _large(prepared.table):
        return
    table = prepared.table.whole()
    for weight in WARM:
        yield settled(table, annealed(table, theta, weight))


def another(prepared: Prepared, generator: Generator) -> Tensor:
    """A start by chance: from noisy loadings, annealed from a weight by chance, or from more components, as many."""
    table = prepared.table.whole()
    chance, share = torch.rand(2, generator=generator).tolist()
    if chance < 0.5:
        return settled(table, narrowed(table, round(share * MOST_WIDER), generator=generator))
    return settled(table, annealed(table, noisy(of_log_counts(table), table.d, generator), LEAST_HOT ** (1.0 - share)))


def settled(table: Table, theta: Tensor, cancelled: Callable[[], bool] = lambda: False) -> Tensor:
    """In the neighbourhood of the maximum that theta leads to, or on the way there, where it is cancelled."""
    now: Alternation = ByBlocks(table, theta) if table.block else Whole(table, theta)
    return now.settled(LAST, NEAR * table.wbar, cancelled=cancelled).theta


def annealed(table: Table, theta: Tensor, weight: float, zeta: Tensor | None = None) -> Tensor:
    """From theta, by counts of that weight at first, and 1 at last: w counts, as w times as many are expected."""
    for level in torch.linspace(0.0, 1.0, LEVELS).tolist():
        w = weight ** (1.0 - level)
        weighed = replace(table, Y=table.Y * w, O=table.O + math.log(w))
        theta = Whole(weighed, theta, zeta=zeta).settled(ROUNDS).theta
    return theta


def narrowed(table: Table, more: int, zeta: Tensor | None = None, generator: Generator | None = None) -> Tensor:
    """From `more` components than the table's, those with the least variance given up."""
    n, p = number(len(table.Y)), table.Y.shape[1]
    wider = replace(table, q=max(table.q, min(table.q + more, p, n - table.d)))
    theta = of_log_counts(wider)
    theta = theta if generator is None else noisy(theta, table.d, generator)
    theta = Whole(wider, theta, zeta=zeta).settled(ROUNDS).theta
    return rotated(theta, wider)[: table.d + table.q]


def noisy(theta: Tensor, d: int, generator: Generator) -> Tensor:
    """theta with noise on each component of the loadings, as large as they are."""
    C = theta[d:]
    noise = torch.randn(C.shape, generator=generator, dtype=C.dtype).to(C)
    return torch.cat([theta[:d], C + C.square().mean(1, keepdim=True).sqrt() * noise])


def start(prepared: Prepared, init: Init | None = None, zeta: Tensor | None = None) -> Tensor:
    """theta ((d+q)×p). init: B (d×p), maybe finite, and C (p×any rank) of an earlier fit, nan where it has none."""
    theta = of_log_counts(prepared.table)
    if init is not None and "C" in init:
        _take(theta, init, prepared, zeta)
    return theta


def of_log_counts(table: Table) -> Tensor:
    """Log counts less the offset and their regression on the design, by a singular value decomposition.

    Cells that don't count are at the mean of their feature; by blocks, at the mean that is fitted.
    """
    if table.block:
        return _by_blocks(table)
    L = table.Y.log1p() - table.O
    if table.K is not None:
        L = torch.where(table.K > 0, L, total(L * table.K) / total(table.K).clamp_min(1.0))
    G = gram(weigh(table.w, table.Q), L) / table.wbar
    R = weigh(None if table.w is None else table.w.sqrt(), L - table.Q @ G)
    if number(len(R)) <= R.shape[1]:
        R = gathered(R)
        values, U = torch.linalg.eigh(R @ R.mT)
        C = R.mT @ U[:, -table.q :].flip(1) / table.wbar**0.5
    else:
        values, W = torch.linalg.eigh(gram(R, R))
        C = (W[:, -table.q :] * values[-table.q :].clamp_min(0.0).sqrt()).flip(1) / table.wbar**0.5
    return torch.cat([G, C.mT])


def _by_blocks(table: Table) -> Tensor:
    """`of_log_counts` by passes over blocks of rows: subspace iteration for the axes (Halko et al. 2011)."""
    assert table.block is not None
    like, q = table.Q, table.q

    def residuals(rows: slice, G: Tensor) -> tuple[Tensor, Tensor]:
        part = table.rows(rows)
        R = part.Y.log1p() - part.O - part.Q @ G
        return (R if part.K is None else R * part.K), weigh(part.w, part.Q)

    def over(work: Callable[[slice], Tensor]) -> Tensor:
        return over_rows(lambda rows: (work(rows),), like, 1, table.block)[0]

    def mean(rows: slice) -> Tensor:
        R, Q = residuals(rows, like.new_zeros((table.d, table.Y.shape[1])))
        return gram(Q, R)

    G = over(mean) / table.wbar

    def spread(rows: slice, W: Tensor) -> Tensor:
        R = residuals(rows, G)[0]
        return gram(R, weigh(None if table.w is None else table.w[rows], R @ W))

    values, axes = _leading(lambda W: over(partial(spread, W=W)), table.Y.shape[1], q, like)
    return torch.cat([G, (axes * values.clamp_min(0.0).sqrt()).mT / table.wbar**0.5])


def _leading(turned: Callable[[Tensor], Tensor], p: int, many: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues (many,), and their eigenvectors p×many, of a symmetric p×p matrix known by its products.

    By subspace iteration (Halko et al. 2011), from the same directions each time.
    """
    W = torch.randn((p, min(p, many + EXTRA)), generator=Generator().manual_seed(0), dtype=like.dtype).to(like)
    for _ in range(PASSES):
        W = torch.linalg.qr(turned(torch.linalg.qr(W).Q)).Q
    values, V = torch.linalg.eigh(W.mT @ turned(W))
    return values[-many:].flip(0), (W @ V[:, -many:]).flip(1)


def _take(theta: Tensor, init: Init, prepared: Prepared, zeta: Tensor | None) -> None:
    """Put an earlier fit into a start, as far as it goes: features that it knows, components that both have."""
    table, basis = prepared.table, prepared.basis
    d, C = table.d, init["C"].to(theta)
    known = torch.isfinite(C).all(1)
    both = min(C.shape[1], table.q)
    theta[d : d + both, known] = C[known, :both].mT
    B = init["B_finite" if "B_finite" in init else "B"].to(theta)
    theta[:d] = torch.where(torch.isfinite(B).all(0) & known, basis.reduced(B.nan_to_num()), theta[:d])
    if both < table.q:
        theta[d + both :] = _missing(theta[: d + both], table, zeta)


def _missing(theta: Tensor, table: Table, zeta: Tensor | None) -> Tensor:
    """Loadings of the components that a fit of fewer lacks most, as far as they gain: (those to the table's q)×p.

    One of loadings c, small, and scores of variance 1 changes the bound by half of c'(E'WE − diag sum_i w_i A_ij)c.
    """
    at = evaluated(theta, replace(table, q=len(theta) - table.d), zeta)
    more = table.q - len(theta) + table.d
    if isinstance(at, Blocked):
        c = _lacked(at, more)
    else:
        E = weigh(None if table.w is None else table.w.sqrt(), at.z.A - table.Y)
        if E.shape[1] <= LARGE:
            c = torch.linalg.eigh(gram(E, E) - total(at.second).diag()).eigenvectors[:, -more:].flip(1).mT
        else:
            c = torch.linalg.svd(E if ranks.now() is None else triangular(E), full_matrices=False).Vh[:more]
    for _ in range(SMALLER):
        if evaluated(torch.cat([theta, c]), table, zeta).value <= at.value:
            break
        c = 0.3 * c
    return c


def _lacked(at: Blocked, more: int) -> Tensor:
    """The leading eigenvectors of E'WE − diag sum_i w_i A_ij by blocks of rows, by subspace iteration; more×p.

    What is subtracted is added again, as its largest entry, so that the largest eigenvalues are the largest in size.
    """
    p, like = at.table.Y.shape[1], at.C
    own = at.over(lambda rows: (total(at.part(rows).second),))[0]
    shift = own.max() - own

    def spread(rows: slice, W: Tensor) -> tuple[Tensor]:
        part = at.part(rows)
        E = part.z.A - part.table.Y
        return (gram(E, weigh(part.table.w, E @ W)),)

    def turned(W: Tensor) -> Tensor:
        return at.over(partial(spread, W=W))[0] + shift[:, None] * W

    return _leading(turned, p, more, like)[1].mT


def rotated(theta: Tensor, table: Table) -> Tensor:
    """The same fit with the loadings on their principal axes."""
    return torch.cat([theta[: table.d], principal_axes(theta[table.d :].mT).mT])
