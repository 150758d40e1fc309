"""Zeros that may be structural, cell by cell, under a Gaussian latent value: their loss and its derivatives.

A count is 0 with probability pi, else Poisson with mean lambda = exp(eta + s e), e ~ N(0, 1): Lambert 1992
(Technometrics 34) with a latent value. Which zeros are structural is summed out, so that a zero costs

    F = −E log(pi + (1 − pi) exp(−lambda)) = softplus(z) − E [z + softplus(−lambda − z)],   z = logit(pi),

where others give the indicator a distribution of its own, independent of the latent value's: a looser bound, which can
lie below that of no inflation. Expectations are sums over nodes, and F is that sum: its derivatives are the sum's own,
exactly. softplus(z), which all cells pay, positive or not, is left to `entries`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

STEEP = 50.0
"""Log of a Poisson mean beyond which a zero is structural whatever pi is: exp(−lambda) is 0 to the last digit."""
COARSE = 12
"""Nodes of quadrature over a latent value on the way to an optimum."""
NODES = 44
"""The same at an optimum, unless that proves too few."""
FINEST = 64
"""Nodes that do wherever there is no time to be saved."""
REACH = 7.0
"""Standard deviations beyond which no node is: what is left out is 3e-12 of the bounded F."""
BLOCK = 1 << 15
"""Numbers in a block of cells × nodes."""
KEPT = 1 << 22
"""The same that are kept between a value and its derivatives: 64 MB of float64."""
LINEAR = 100.0
"""Argument from which softplus is told as its argument, where that is exact."""


class Nodes(NamedTuple):
    """Quadrature: nodes e and weights omega (m,), sum 1, for expectations over N(0, 1).

    Equidistant: log(pi + (1 − pi) exp(−exp(x))) has singularities beside the real axis, and the error of any rule falls
    with the distance of its nodes from each other alone. Those of Gauss and Hermite reach to where nothing is, so that
    90 of them lie as densely in the middle as 44 of these (Trefethen 2022, SIAM Review 64).
    """

    e: Tensor
    omega: Tensor

    @staticmethod
    def of(m: int, like: Tensor) -> Nodes:
        """m nodes; a single one is at 0."""
        reach = min(REACH, 1.45 * math.sqrt(m)) if m > 1 else 0.0
        e = torch.linspace(-reach, reach, m, dtype=torch.float64)
        omega = (-0.5 * e.square()).exp()
        return Nodes(e.to(like), (omega / omega.sum()).to(like))


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
    """A block of cells: lambda, and odds (1 − pi) exp(−lambda) / pi against a structural zero, at each node (m×b)."""

    def __init__(self, eta: Tensor, s: Tensor, z: Tensor, nodes: Nodes) -> None:
        self.z, self.nodes = z, nodes
        self.rate = torch.addcmul(eta, nodes.e[:, None], s).clamp_(max=STEEP).exp_()
        self.odds = torch.sub(-z, self.rate).exp_()

    def losses(self) -> Tensor:
        """(b,); the logarithm's own rounding is 1e-16 nats."""
        return -(self.z + self.nodes.omega @ torch.add(self.odds, 1.0).log_())

    def structural(self) -> Tensor:
        """E rho, (b,)."""
        return self.nodes.omega @ torch.add(self.odds, 1.0).reciprocal_()

    def sums(self) -> Tensor:
        """`Sums`, 9×b."""
        e, omega = self.nodes
        powers = torch.stack([omega, omega * e, omega * e.square()])
        rho = torch.add(self.odds, 1.0).reciprocal_()
        counted = self.odds * rho  # 1 − rho, without cancellation
        slope = self.rate * counted
        mixed = slope * rho
        bend = torch.addcmul(slope, self.rate, mixed, value=-1.0)
        found = self.z.new_empty((9, len(self.z)))
        torch.mm(powers[:2], slope, out=found[:2])
        torch.mm(powers, bend, out=found[2:5])
        torch.mm(powers[:2], mixed, out=found[5:7])
        torch.mv(rho.mT, omega, out=found[7])
        torch.mv(counted.mul_(rho).mT, omega, out=found[8])
        return found


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

    @cached_property
    def _chances(self) -> Tensor | None:
        """exp(−lambda) at each node (m×k), where that is small enough to be kept."""
        if len(self.eta) * len(self.nodes.e) > KEPT:
            return None
        eta, s, e = (each.double() for each in (self.eta, self.s, self.nodes.e))
        return torch.addcmul(eta, e[:, None], s).exp_().neg_().exp_()

    def structural_at(self, z: Tensor) -> Tensor:
        """E rho alone at other logits (k,), (k,)."""
        chances = self._chances
        if chances is None:
            moved = ZeroCells(self.eta, self.s, z, self.nodes)
            return torch.cat([block.structural() for block in moved._blocks()]).to(self.eta)
        rho = torch.mul(chances, (-z.double()).exp()).add_(1.0).reciprocal_()
        return (self.nodes.omega.double() @ rho).to(self.eta)

    @cached_property
    def bends(self) -> tuple[Tensor, Tensor, Tensor]:
        """Second derivatives of F in eta, in eta and s²/2, and in s²/2, (k,) each."""
        at, s = self.sums, self.s
        return at.bend, at.bend_e / s, (at.bend_ee - at.slope_e / s) / s.square()

    @property
    def second(self) -> Tensor:
        """Twice the slope of F in s², (k,)."""
        return self.sums.slope_e / self.s

    def turn(self, deta: Tensor, ds2: Tensor, dz: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Change of the slopes in eta, of `second`, and of the slope of F − softplus(z) in z, along (deta, ds2, dz)."""
        at, dh, (a, b, c), mixed = self.sums, 0.5 * ds2, self.bends, self.mixed
        slope, second = torch.addcmul(a * deta, b, dh), torch.addcmul(b * deta, c, dh)
        logit = -torch.addcmul(at.mixed * deta, mixed, dh)
        if dz is not None:
            slope.addcmul_(at.mixed, dz, value=-1.0)
            second.addcmul_(mixed, dz, value=-1.0)
            logit.addcmul_(at.doubt, dz, value=-1.0)
        return slope, second, logit

    @property
    def mixed(self) -> Tensor:
        """Minus the second derivative of F in s²/2 and z, (k,)."""
        return self.sums.mixed_e / self.s
