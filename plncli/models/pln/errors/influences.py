"""Sandwich covariance of coefficients that are estimated together with others: from minus the Hessian, and scores.

Influences of samples are scores, each feature's divided by 1 − leverage as in `sandwich`, times the inverse of minus
the Hessian of all that is estimated: the coefficients, feature by feature, log sd, and the logits of structural zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.models.inflation.errors import Directions
from plncli.models.pln.errors.sandwich import leverage_factors
from plncli.models.uncertainty import Determined, Interrupted, Uncertainty, from_influence, to_units
from plncli.numerics.linalg import Basis, Factor, cholesky_scaled


@dataclass(frozen=True)
class Bread:
    """Minus the Hessian, and the scores at the optimum.

    hessian: of coefficients in the basis, log sd and logits; W: n×p, each cell's weight in the regression of its
    feature; E: n×p, scores in the linear predictors; scores: n×p each, in log sd and in the logits of cells; sd: p×T,
    which features share what of log sd; z: of the logits.
    """

    hessian: Tensor
    W: Tensor
    E: Tensor
    scores: tuple[Tensor, Tensor]
    sd: Tensor
    z: Directions

    def influences(self, basis: Basis, w: Tensor, at: Determined, cancelled: Callable[[], bool]) -> Influences | None:
        """None when minus the Hessian is not positive definite."""
        p, d = self.E.shape[1], basis.Q.shape[1]
        U, known = at.vectors.expand(p, d, d), ~at.free.expand(p, d).reshape(-1)
        factor = _factor(self.hessian, U, known, self.z)
        if factor is None:
            return None
        blocks = torch.stack([self.hessian[j * d : (j + 1) * d, j * d : (j + 1) * d] for j in range(p)])
        lever = leverage_factors(basis.Q, self.W.clamp_min(0.0), at.inverse(blocks))
        return Influences(self, basis, U, known, factor, lever, cancelled)


@dataclass(frozen=True)
class Influences:
    """What each sample adds to the estimates. U: p×d×d, directions, of which `known` (p·d,) are; lever: n×p."""

    bread: Bread
    basis: Basis
    U: Tensor
    known: Tensor
    factor: Factor
    lever: Tensor
    cancelled: Callable[[], bool]

    def _all(self, rows: slice) -> Tensor:
        """Of everything, b×m. Raises Interrupted."""
        if self.cancelled():
            raise Interrupted
        bread, f, Q, many = self.bread, self.lever[rows], self.basis.Q[rows], len(self.known)
        g = torch.einsum("jlk,ijl->ijk", self.U, (f * bread.E[rows])[:, :, None] * Q[:, None, :]).flatten(1)
        of_sd, of_z = (f * score[rows] for score in bread.scores)
        others = [of_sd @ bread.sd, bread.z.scores(of_z, rows)]
        found = self.factor.solve(torch.cat([g * self.known, *others], 1).mT).mT
        return torch.cat([found[:, :many] * self.known, found[:, many:]], 1)

    def coefficients(self, rows: slice) -> Tensor:
        """b×d×p, in the units of their covariates."""
        p, d, _ = self.U.shape
        u = self._all(rows)[:, : p * d].view(-1, p, d)
        return to_units(self.basis, torch.einsum("jkl,ijl->ijk", self.U, u))

    def logits(self, rows: slice) -> Tensor:
        """b×m, along the directions of `Bread.z`."""
        return self._all(rows)[:, len(self.known) + self.bread.sd.shape[1] :]

    def of_coefficients(self, data: Dataset, missing: Tensor, correction: float) -> Uncertainty:
        """Their covariance; missing: d×p, those without one."""
        p, d, _ = self.U.shape
        return from_influence("sandwich", self.coefficients, data.w, (d, p), missing, data.clusters, correction)


def _factor(hessian: Tensor, U: Tensor, known: Tensor, z: Directions) -> Factor | None:
    """Of minus the Hessian, turned to directions that are known or not.

    Those of coefficients that are not are left alone, and those of logits left out.
    """
    p, d, _ = U.shape
    between = len(hessian) - p * d - z.known.numel()
    turn = torch.block_diag(*U, torch.eye(between).to(U), *z.U)
    keep = torch.cat([torch.ones(p * d + between, dtype=torch.bool, device=known.device), z.known.flatten()])
    turned = (turn.mT @ hessian @ turn)[keep][:, keep]
    stay = torch.ones(len(turned), dtype=torch.bool, device=known.device)
    stay[: p * d] = known
    return cholesky_scaled(torch.where(stay[:, None] & stay, turned, torch.diag((~stay).to(U))))


def flat(block: Tensor) -> Tensor:
    """a×b×P×R as (P·a)×(R·b): features outside, their parameters inside."""
    a, b, P, R = block.shape
    return block.permute(2, 0, 3, 1).reshape(P * a, R * b)
