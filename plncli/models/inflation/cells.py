"""Zeros that may be structural, cell by cell, under a Gaussian latent value: their loss and its derivatives.

A count is 0 with probability pi, else Poisson with mean lambda = exp(eta + s e), e ~ N(0, 1): Lambert 1992
(Technometrics 34) with a latent value. Which zeros are structural is summed out, so that a zero costs

    F = −E log(pi + (1 − pi) exp(−lambda)) = softplus(z) − E [z + softplus(−lambda − z)],   z = logit(pi),

where others give the indicator a distribution of its own, independent of the latent value's: a looser bound, which can
lie below that of no inflation. Expectations are sums over Gauss-Hermite nodes, and F is that sum: its derivatives are
the sum's own, exactly. softplus(z), which all cells pay, positive or not, is left to `entries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

STEEP = 50.0
"""Log of a Poisson mean beyond which a zero is structural whatever pi is: exp(−lambda) is 0 to the last digit."""
NODES = 20
"""Nodes of quadrature over a latent value, unless that proves too few."""
FINEST = 80
"""Nodes that do wherever there is no time to be saved."""
BLOCK = 1 << 18
"""Numbers in a block of cells × nodes."""
KEPT = 1 << 22
"""The same that are kept between a value and its derivatives: 64 MB of float64."""
LINEAR = 100.0
"""Argument from which softplus is told as its argument, where that is exact."""


class Nodes(NamedTuple):
    """Gauss-Hermite quadrature: nodes e and weights omega (m,), sum 1, for expectations over N(0, 1)."""

    e: Tensor
    omega: Tensor

    @staticmethod
    def of(m: int, like: Tensor) -> Nodes:
        """m nodes: eigenvalues of the recurrence of Hermite polynomials (Golub & Welsch 1969)."""
        beside = torch.arange(1, m, dtype=torch.float64).sqrt()
        e, V = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
        return Nodes(e.to(like), V[0].square().to(like))


class Sums(NamedTuple):
    """Expectations in each cell (k,), with f the loss at a node: all that first and second derivatives need.

    slope: E f_eta; slope_e: E e f_eta; bend, bend_e, bend_ee: E (1, e, e²) f_eta,eta; mixed, mixed_e: −E (1, e)
    f_eta,z; structural: E rho, rho the probability that the zero is structural; doubt: E rho (1 − rho).
    """

    slope: Tensor
    slope_e: Tensor
    bend: Tensor
    bend_e: Tensor
    bend_ee: Tensor
    mixed: Tensor
    mixed_e: Tensor
    structural: Tensor
    doubt: Tensor


def losses(eta: Tensor, s: Tensor, z: Tensor, nodes: Nodes) -> Tensor:
    """F − softplus(z) of each cell (k,), in elementary operations; eta, s > 0 and z: (k,)."""
    rate = torch.addcmul(eta[:, None], s[:, None], nodes.e).clamp(max=STEEP).exp()
    return -(z + softplus(-rate - z[:, None], threshold=LINEAR) @ nodes.omega)


class _Block:
    """A block of cells: lambda, and odds (1 − pi) exp(−lambda) / pi against a structural zero, at each node (b×m)."""

    def __init__(self, eta: Tensor, s: Tensor, z: Tensor, nodes: Nodes) -> None:
        self.z, self.nodes = z, nodes
        self.rate = torch.addcmul(eta[:, None], s[:, None], nodes.e).clamp_(max=STEEP).exp_()
        self.odds = torch.add(self.rate, z[:, None]).neg_().exp_()

    def losses(self) -> Tensor:
        """(b,); the logarithm's own rounding is 1e-16 nats."""
        return -(self.z + torch.add(self.odds, 1.0).log_() @ self.nodes.omega)

    def structural(self) -> Tensor:
        """E rho, (b,)."""
        return torch.add(self.odds, 1.0).reciprocal_() @ self.nodes.omega

    def sums(self) -> Tensor:
        """`Sums`, 9×b."""
        e, omega = self.nodes
        powers = torch.stack([omega, omega * e, omega * e.square()], 1)
        rho = torch.add(self.odds, 1.0).reciprocal_()
        counted = self.odds * rho  # 1 − rho, without cancellation
        slope = self.rate * counted
        mixed = slope * rho
        bend = torch.addcmul(slope, self.rate, mixed, value=-1.0)
        known = [slope @ powers[:, :2], bend @ powers, mixed @ powers[:, :2]]
        return torch.cat([*known, (rho @ omega)[:, None], (counted.mul_(rho) @ omega)[:, None]], 1).mT


class ZeroCells:
    """k cells at (eta, s, z), (k,) each: eta and s > 0 are mean and standard deviation of the log of lambda.

    Sums over nodes are of float64, whatever these are: next to a kink float32 loses what steps live on.
    """

    def __init__(self, eta: Tensor, s: Tensor, z: Tensor, nodes: Nodes) -> None:
        self.eta, self.s, self.z, self.nodes = eta, s, z, nodes

    def _blocks(self) -> Iterator[_Block]:
        rows, nodes = max(1, BLOCK // len(self.nodes.e)), Nodes(self.nodes.e.double(), self.nodes.omega.double())
        eta, s, z = (each.double().split(rows) for each in (self.eta, self.s, self.z))
        return (_Block(*each, nodes) for each in zip(eta, s, z, strict=True))

    @cached_property
    def _kept(self) -> Sequence[_Block]:
        """All of them, where they are small enough to be kept for the derivatives."""
        return tuple(self._blocks()) if len(self.eta) * len(self.nodes.e) <= KEPT else ()

    @cached_property
    def loss(self) -> Tensor:
        """F − softplus(z), (k,)."""
        return torch.cat([block.losses() for block in self._kept or self._blocks()]).to(self.eta)

    @cached_property
    def sums(self) -> Sums:
        """What derivatives need."""
        found = Sums(*torch.cat([block.sums() for block in self._kept or self._blocks()], 1).to(self.eta))
        self.__dict__.pop("_kept", None)
        return found

    @property
    def structural(self) -> Tensor:
        """E rho alone, (k,)."""
        return torch.cat([block.structural() for block in self._blocks()]).to(self.eta)

    @property
    def second(self) -> Tensor:
        """Twice the slope of F in s², (k,)."""
        return self.sums.slope_e / self.s

    def turn(self, deta: Tensor, ds2: Tensor, dz: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Change of the slopes in eta, of `second`, and of the slope of F − softplus(z) in z, along (deta, ds2, dz)."""
        at, ds = self.sums, 0.5 * ds2 / self.s
        slope = torch.addcmul(at.bend * deta, at.bend_e, ds)
        second = torch.addcmul(at.bend_e * deta, at.bend_ee, ds)
        logit = -torch.addcmul(at.mixed * deta, at.mixed_e, ds)
        if dz is not None:
            slope.addcmul_(at.mixed, dz, value=-1.0)
            second.addcmul_(at.mixed_e, dz, value=-1.0)
            logit.addcmul_(at.doubt, dz, value=-1.0)
        second.addcmul_(at.slope_e, ds / self.s, value=-1.0).div_(self.s)
        return slope, second, logit
