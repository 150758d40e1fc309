"""The seams of the evaluation: other emissions, structures and means plug in without a change of the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from tables import toeplitz
from torch import Tensor
from tries import quickly

from plncli.models.pln.elbo import LatentTable, objective, plain_objective
from plncli.models.pln.emissions import Poisson
from plncli.models.pln.means import Held, Linear
from plncli.models.pln.precondition.whole import feature_preconditioner
from plncli.models.pln.structures import Diagonal, Fixed, Full
from plncli.numerics.covariance import DensePrecision
from plncli.numerics.linalg import orthonormal_basis

N, P, D = 7, 3, 2


def weighed(w: Tensor | None, A: Tensor) -> Tensor:
    return A if w is None else A * w[:, None]


# -- stand-ins for what is to come -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussian:
    """y ~ N(z, v): F = ((y − m)² + s²)/2v, whose second derivative is 1/v and whose third is 0."""

    Y: Tensor
    w: Tensor | None
    variance: float = 0.7
    constant: float = 1.25

    def losses(self, M, S2, zeta=None):
        return 0.5 * ((self.Y - M).square() + S2) / self.variance

    def at(self, M, S2, beside, zeta=None):
        return GaussianCells(self, M, weighed(self.w, self.losses(M, S2) + beside).sum())


@dataclass(frozen=True)
class GaussianCells:
    emission: Gaussian
    M: Tensor
    value: Tensor

    @property
    def second(self):
        return weighed(self.emission.w, torch.full_like(self.M, 1.0 / self.emission.variance))

    @property
    def curvature(self):
        return self.second

    def slope(self, beside, *, out):
        residual = (self.M - self.emission.Y) / self.emission.variance
        return out.copy_(weighed(self.emission.w, residual + beside))

    def turn(self, dM, dS2, dzeta=None):
        return self.second * dM, torch.zeros_like(dM), None


NODES, WEIGHTS = (torch.tensor(x) for x in np.polynomial.hermite_e.hermegauss(40))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class ZeroInflated:
    """y = 0 with probability pi, else Poisson: the structural zero summed out, by Gauss–Hermite and autograd.

    Zero cells cost −E log(pi + (1 − pi) exp(−exp(z))), which bends down in places.
    """

    Y: Tensor
    w: Tensor | None
    logit: float = -1.0
    constant: float = 0.0

    def losses(self, M, S2, zeta=None):
        logit = torch.tensor(self.logit, dtype=M.dtype)
        z = M[..., None] + S2.sqrt()[..., None] * NODES
        rate = z.exp()
        mixture = torch.nn.functional.softplus(logit - (-rate)) - rate - torch.nn.functional.softplus(logit)
        zero = -(mixture * WEIGHTS).sum(-1)
        positive = (M + 0.5 * S2).exp() - self.Y * M + torch.nn.functional.softplus(logit)
        return torch.where(self.Y > 0, positive, zero)

    def at(self, M, S2, beside, zeta=None):
        return AutogradCells(self, M.detach(), S2.detach(), beside.clone())


@dataclass(frozen=True)
class AutogradCells:
    emission: ZeroInflated
    M: Tensor
    S2: Tensor
    beside: Tensor

    def slopes(self, M, S2):
        loss = weighed(self.emission.w, self.emission.losses(M, S2)).sum()
        in_M, in_S2 = torch.autograd.grad(loss, (M, S2), create_graph=True)
        return in_M, 2.0 * in_S2

    def leaves(self):
        return self.M.clone().requires_grad_(), self.S2.clone().requires_grad_()

    @property
    def value(self):
        return weighed(self.emission.w, self.emission.losses(self.M, self.S2) + self.beside).sum()

    @property
    def second(self):
        with torch.enable_grad():
            return self.slopes(*self.leaves())[1].detach()

    @property
    def curvature(self):
        return self.second.clamp_min(1e-3)

    def slope(self, beside, *, out):
        with torch.enable_grad():
            return out.copy_(self.slopes(*self.leaves())[0].detach() + weighed(self.emission.w, beside))

    def turn(self, dM, dS2, dzeta=None):
        _, (slope, second) = torch.autograd.functional.jvp(self.slopes, (self.M, self.S2), (dM, dS2))
        return slope, second, None


class Ridge:
    """A structure of its own kind: Sigma^ + c·I in place of Sigma^, derivatives from the dense inverse."""

    def __init__(self, R, S2, w, wbar, *, ridge):
        self.R, self.w, self.wbar = R, w, wbar
        Sigma = R.mT @ weighed(w, R) / wbar + torch.diag(weighed(w, S2).sum(0)) / wbar
        self.Sigma = Sigma + ridge * torch.eye(R.shape[1], dtype=R.dtype)
        self.Omega = torch.linalg.inv(self.Sigma)
        self.value = 0.5 * wbar * torch.logdet(self.Sigma)
        self.precision, self.pull = self.Omega.diagonal(), R @ self.Omega

    def turn(self, dR, dS2):
        half = self.R.mT @ weighed(self.w, dR)
        dOmega = -self.Omega @ (half + half.mT + torch.diag(weighed(self.w, dS2).sum(0))) @ self.Omega / self.wbar
        return dR @ self.Omega + self.R @ dOmega, dOmega.diagonal()

    def bent(self, floor):
        return None

    def loadings(self, floor):
        return None

    def curve(self, dR):
        return None

    def couple(self, dR, dS2):
        return None

    def covariance(self):
        return self.Sigma

    def inverse(self):
        return self.Omega


@dataclass(frozen=True)
class Surface:
    """A mean of another kind: a surface, such as a network has of the covariates, and beside it what is linear."""

    surface: Tensor
    linear: Linear

    @property
    def basis(self):
        return self.linear.basis

    def fitted(self, M):
        return self.surface + self.linear.fitted(M - self.surface)

    def coefficients(self, M):
        return self.linear.coefficients(M - self.surface)

    def project(self, dM):
        return self.linear.project(dM)

    def held(self, M):
        return Held(self.fitted(M), self.coefficients(M))


def emissions(w: Tensor | None):
    g = torch.Generator().manual_seed(2)
    counts = torch.poisson(torch.full((N, P), 1.0, dtype=torch.float64), generator=g)
    K = (torch.rand(N, P, generator=g) > 0.2).double()
    return {
        "poisson": Poisson(counts, torch.full((N, 1), 0.3, dtype=torch.float64), K, w, 2.5),
        "gaussian": Gaussian(torch.randn(N, P, generator=g, dtype=torch.float64), w),
        "zero-inflated": ZeroInflated(counts, w),
    }


def means(w: Tensor | None, ones: Tensor):
    g = torch.Generator().manual_seed(3)
    X = torch.randn(N, D, generator=g, dtype=torch.float64)
    linear = Linear(orthonormal_basis(X, ones).Q, w, float(ones.sum()))
    centre = torch.randn(N, P, generator=g, dtype=torch.float64)
    surface = (torch.randn(N, 4, generator=g).double() @ torch.randn(4, P, generator=g).double()).relu()
    return {"linear": linear, "held": linear.held(centre), "surface": Surface(surface, linear)}


def structures():
    Omega = torch.linalg.inv(toeplitz(P))
    return {
        "full": Full,
        "diagonal": Diagonal,
        "spherical": partial(Diagonal, shared=True),
        "fixed": partial(Fixed, Omega=DensePrecision(Omega)),
        "ridge": partial(Ridge, ridge=0.3),
    }


def composed(emission: str, structure: str, mean: str, weighted: bool) -> tuple[LatentTable, Tensor]:
    g = torch.Generator().manual_seed(4)
    ones = 0.5 + torch.rand(N, generator=g).double() if weighted else torch.ones(N, dtype=torch.float64)
    w = ones if weighted else None
    table = LatentTable(emissions(w)[emission], means(w, ones)[mean], structures()[structure], w, float(ones.sum()))
    q = torch.randn(2, N, P, generator=g, dtype=torch.float64)
    q[1] -= 1
    return table, q


COMPOSED = [
    (emission, structure, mean)
    for emission in ("poisson", "gaussian", "zero-inflated")
    for structure in ("full", "diagonal", "spherical", "fixed", "ridge")
    for mean in ("linear", "held", "surface")
]


@pytest.mark.parametrize("weighted", quickly([False, True], True))
@pytest.mark.parametrize(("emission", "structure", "mean"), COMPOSED)
def test_derivatives_of_any_composition_are_those_of_the_plain_objective(
    emission: str, structure: str, mean: str, weighted: bool
) -> None:
    table, q = composed(emission, structure, mean, weighted)
    plain = partial(plain_objective, table=table)
    at, v = table.at(q), torch.randn_like(q)
    close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    close(at.value, plain(q), rtol=1e-13)
    close(objective(q, table), plain(q), rtol=1e-13)
    close(at.gradient(), torch.autograd.functional.jacobian(plain, q))
    close(at.product(v), torch.autograd.functional.hvp(plain, q, v)[1])
    # The same from outside of autograd: central differences of step 1e-4 are good to 1e-7 or so.
    step = 1e-4
    difference = (plain(q + step * v) - plain(q - step * v)) / (2 * step)
    close((at.gradient() * v).sum(), difference, rtol=1e-6, atol=1e-5)
    turned = (table.at(q + step * v).gradient() - table.at(q - step * v).gradient()) / (2 * step)
    close(at.product(v), turned, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("emission", "structure", "mean"), COMPOSED)
def test_the_preconditioner_of_any_composition_is_symmetric_and_positive(
    emission: str, structure: str, mean: str
) -> None:
    table, q = composed(emission, structure, mean, weighted=True)
    apply = feature_preconditioner(table.at(q))
    unit = torch.eye(q.numel(), dtype=torch.float64).view(-1, *q.shape)
    inverse = torch.stack([apply(e).flatten() for e in unit])
    torch.testing.assert_close(inverse, inverse.mT, rtol=1e-9, atol=1e-10)
    assert float(torch.linalg.eigvalsh(inverse).min()) > 0


def test_without_inflation_zero_inflated_cells_are_poisson_cells() -> None:
    table, q = composed("zero-inflated", "full", "linear", weighted=True)
    emission = ZeroInflated(table.emission.Y, table.w, logit=-1e15)
    poisson = Poisson(table.emission.Y, torch.zeros(N, 1, dtype=torch.float64), None, table.w, 0.0)
    M, psi = q
    # No rate at a node comes near 1e15; 40 nodes then leave less than 1e-8 at these spreads.
    torch.testing.assert_close(emission.losses(M, psi.exp()), poisson.losses(M, psi.exp()), rtol=1e-8, atol=1e-8)
