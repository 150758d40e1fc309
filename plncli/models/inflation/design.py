"""Logits of structural zeros that are linear in covariates: z_ij = x0_i'b_j, each feature by itself.

A positive count costs less the lower its logit is, whatever all else is, and a zero less the higher. So coefficients
may run off, as those of any Bernoulli regression (Albert & Anderson 1984): where a group of samples has no count of a
feature, all of its zeros are structural, and where there are nothing but counts, none is. These cells are known before
a fit begins (`sure`). Zeros in whose samples nothing is gained by structural ones are found on its way: their logits
fall to −inf together, as far as the others hold still (`Inflation.faces`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import softplus

from plncli.errors import DataError
from plncli.numerics.linalg import Basis, orthonormal_basis, weighted_grams
from plncli.numerics.separation import Separation, one_sided

MANY = 64
"""Different rows of a design up to which each is looked at by itself for structural zeros that pay."""
INTERCEPT = 1e-8
"""Share of a column of ones that may lie outside of what the columns span, and be rounding."""
NEWTON, SETTLED, MARGIN = 40, 1e-9, 1e4
"""Newton steps of a screen for cells that are sure, gain in nats at which they end; times that other cells cost."""
FLAT = 1e-10
"""Share of the largest curvature below which a direction has none."""


@dataclass(frozen=True)
class ZeroDesign:
    """The design X (n×c, its basis) of logits of structural zeros, and what is known of n×p cells before a fit.

    counted: cells that count in the likelihood; sure: +1 where zeros are structural for sure, and do not count any
    more, −1 where counts cannot be, 0 elsewhere.
    """

    X: Tensor = field(repr=False)
    basis: Basis = field(repr=False)
    counted: Tensor = field(repr=False)
    sure: Tensor = field(repr=False)

    @staticmethod
    def of(X: Tensor, w: Tensor, terms: tuple[str, ...], positive: Tensor, zero: Tensor) -> ZeroDesign:
        """positive, zero: cells (n×p) that count, by what they hold. DataError for a design that cannot be."""
        basis = orthonormal_basis(X, w, terms)
        check_intercept(X)
        held = ~_near_certain(basis.Q, positive, zero)
        found = one_sided(X, positive | (zero & held), zero | (positive & held))
        sure = torch.zeros_like(positive, dtype=torch.int8)
        if found is not None:
            sure = torch.where(found.cells & zero, 1, torch.where(found.cells & positive, -1, sure)).to(torch.int8)
        return ZeroDesign(X, basis, (positive | zero) & (sure <= 0), sure)

    @cached_property
    def groups(self) -> Tensor:
        """Which samples have the same row, (n,); all are one where too many rows differ."""
        _, member = torch.unique(self.X, dim=0, return_inverse=True)  # needs all rows
        return member if int(member.max()) < MANY else torch.zeros_like(member)

    def faces(self, closed: Tensor) -> Separation | None:
        """Where logits run off when those of `closed` cells (n×p) fall, and all others that are not sure hold still."""
        held = self.counted & (self.sure == 0) & ~closed
        return one_sided(self.X, held | (self.counted & ~held), held | (self.sure > 0))

    def nearest(self, logits: Tensor) -> Tensor:
        """Coefficients of the basis (c×p) at which logits are nearest to these (n×p), of those that are finite."""
        known = torch.isfinite(logits)
        Q = self.basis.Q
        values, V = torch.linalg.eigh(weighted_grams(Q, known.to(Q)))
        scale = torch.where(values > FLAT * values[:, -1:].clamp_min(1e-300), values, torch.inf).reciprocal()
        right = Q.mT @ torch.where(known, logits, 0.0)  # needs all rows
        return (V @ (scale[:, :, None] * (V.mT @ right.mT[:, :, None])))[:, :, 0].mT


def _near_certain(Q: Tensor, positive: Tensor, zero: Tensor) -> Tensor:
    """n×p: all cells that may be sure, and some more. positive, zero: what logistic regressions on Q (n×c) tell apart.

    Along a direction of recession the cost of separated cells falls to 0, and no other rises: what they cost at any
    point is no more than what is to be gained there. Newton's method says how much that is: half its decrement.
    """
    Q = Q.double()
    y, counts = zero.to(Q), (positive | zero).to(Q)
    b = Q.new_zeros((Q.shape[1], y.shape[1]))
    gain = torch.full_like(b[0], torch.inf)
    for _ in range(NEWTON):
        pi = (Q @ b).sigmoid()
        slope = Q.mT @ (counts * (pi - y))  # needs all rows
        H = weighted_grams(Q, counts * pi * (1.0 - pi))
        H.diagonal(dim1=1, dim2=2).add_(torch.finfo(Q.dtype).tiny)
        step, failed = torch.linalg.solve_ex(H, slope.mT[:, :, None])
        gain = torch.where(failed == 0, 0.5 * (slope * step[:, :, 0].mT).sum(0), torch.inf)
        if bool((gain < SETTLED).all()):
            break
        b = b - torch.where((failed == 0) & gain.isfinite(), step[:, :, 0].mT, 0.0)
    cost = softplus(torch.where(zero, -(Q @ b), Q @ b))
    return (positive | zero) & ~((gain < SETTLED) & (cost > MARGIN * SETTLED))


def check_intercept(X: Tensor) -> None:
    """DataError unless the columns of a design (n×c) combine to an intercept: without, no model holds that of none."""
    ones = X.new_ones((len(X), 1))
    outside = ones - X @ torch.linalg.lstsq(X, ones).solution  # needs all rows
    if float(outside.square().mean()) > INTERCEPT:  # over rows
        raise DataError(
            "The formula of --zero-inflation has no intercept: where all its terms are 0, every second zero would be "
            "structural. Leave out `0 +` or `- 1`."
        )
