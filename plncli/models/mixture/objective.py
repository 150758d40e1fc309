"""The bound of a mixture, with derivatives of its own: clusters, their covariances and shared coefficients.

Model: a sample is of cluster k with probability pi_k, and then Z_i ~ N(mu_k + T_i'beta, Sigma_k), counts
Poisson(exp(O + Z)). q of a sample is a mixture too: of cluster k with probability tau_ik, there N(m_ik, diag(s_ik²)).
With e_ik minus the bound of sample i in cluster k, and the sums of weights wbar_k = sum_i w_i tau_ik,

    −ELBO = sum_ik w_i tau_ik [ e_ik + log tau_ik − log(wbar_k / wbar) ]

at its best tau_ik ∝ pi_k exp(−e_ik), where it is −sum_i w_i log sum_k pi_k exp(−e_ik). Free are M and psi = log s² of
each sample in each cluster, tau by its logits zeta, and the coefficients beta that clusters share; mu_k, Sigma_k and
pi_k are where they are best for those (McLachlan & Peel 2000; Silva et al. 2019, arXiv:1711.11190, for the model).

A change of tau is a change of weights. With a_ik = d log tau_ik − d log wbar_k, that of the covariance is what turning
residuals and variances by ½ a R and a S² would do, for whatever structure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.pln.elbo import Evaluation as Part
from plncli.models.pln.elbo import LatentTable
from plncli.models.pln.emissions import Poisson
from plncli.models.pln.means import Linear, Shifted
from plncli.models.pln.structures import LayerAt
from plncli.numerics.rows import gram, grand_total, weighted_total

LEAST = -200.0
"""Least logarithm of a probability to be of a cluster: 1e-87 changes no sum, and can still be divided by."""


@dataclass(frozen=True)
class Table:
    """n samples × p features in clusters.

    Y: n×p; O: n×p or n×1; K: n×p, 1 where a cell counts, None when all do; w: (n,); T: n×c, columns of the design
    besides the intercept, orthonormal in w/wbar; layer: the structure of a covariance; shared: whether all clusters
    have one. constant: sum of w K log Y!, nats.
    """

    Y: Tensor
    O: Tensor
    K: Tensor | None
    w: Tensor
    wbar: float
    T: Tensor
    layer: LayerAt
    shared: bool
    constant: float

    def part(self, W: Tensor, centre: Tensor) -> LatentTable[Poisson]:
        """Of c clusters that have one covariance, their samples one below the other: W, c×n; centre: n×p, T beta."""
        many, n = W.shape
        w = W.flatten()
        wbar = self.wbar if self.shared else float(w.sum())

        def below(A: Tensor) -> Tensor:
            return A if many == 1 else A.repeat(many, 1)

        sizes = W.sum(1)
        Q = torch.block_diag(*[(wbar / size).sqrt() * W.new_ones((n, 1)) for size in sizes])
        emission = Poisson(below(self.Y), below(self.O), None if self.K is None else below(self.K), w, 0.0)
        return LatentTable(emission, Shifted(Linear(Q, w, wbar), below(centre)), self.layer, w, wbar)


class Evaluation:
    """Value, gradient and Hessian products at one point: q (2×K×n×p), zeta (n×K), beta (c×p).

    tau: n×K; W: K×n, w tau; sizes: (K,), wbar_k; parts: of the bound, one for each covariance.
    """

    def __init__(self, params: Params, table: Table) -> None:
        self.table = table
        self.q, self.zeta, self.beta = (params[name].detach() for name in ("q", "zeta", "beta"))
        self.log_tau = torch.log_softmax(self.zeta, 1).clamp_min(LEAST)
        self.tau = self.log_tau.exp()
        self.W = (table.w[:, None] * self.tau).mT.contiguous()
        self.sizes = self.W.sum(1)
        self.log_pi = self.sizes.log() - math.log(table.wbar)
        centre = table.T @ self.beta
        several = [slice(None)] if table.shared else [slice(k, k + 1) for k in range(self.many)]
        self.parts = [
            Part(self.q[:, clusters].flatten(1, 2), table.part(self.W[clusters], centre)) for clusters in several
        ]
        weights = grand_total(self.W.mT * (self.log_tau - self.log_pi))
        self.value = torch.stack([part.value for part in self.parts]).sum() + weights + table.constant

    @property
    def many(self) -> int:
        """Number of clusters."""
        return self.q.shape[1]

    # -- of all clusters together: K×n×p, K×p or (K,) ------------------------------------------------------------------

    def _of_clusters(self, parts: list[Tensor]) -> Tensor:
        """Tables of the parts as K×n×p, or what each part has one of as K×anything."""
        if parts[0].ndim == 2:
            return torch.cat(parts).view(self.many, -1, parts[0].shape[-1])
        return torch.stack(parts).expand(self.many, *parts[0].shape)

    @cached_property
    def R(self) -> Tensor:
        """Residuals of M, K×n×p."""
        return self._of_clusters([part.R for part in self.parts])

    @cached_property
    def S2(self) -> Tensor:
        """Variances of q, K×n×p."""
        return self._of_clusters([part.S2 for part in self.parts])

    @cached_property
    def A(self) -> Tensor:
        """Expected counts, 0 where cells don't count, K×n×p."""
        A = (self.table.O + self.q[0] + 0.5 * self.S2).exp()
        return A if self.table.K is None else A * self.table.K

    @property
    def mu(self) -> Tensor:
        """Means of the clusters where the other columns of the design are 0, K×p."""
        return self._means(self.q[0] - self.table.T @ self.beta)

    def _means(self, N: Tensor) -> Tensor:
        """Of each cluster, K×p."""
        return torch.stack([weighted_total(w, rows) for w, rows in zip(self.W, N, strict=True)]) / self.sizes[:, None]

    @cached_property
    def pull(self) -> Tensor:
        """R Omega, K×n×p."""
        return self._of_clusters([part.layer.pull for part in self.parts])

    @cached_property
    def omega(self) -> Tensor:
        """Diagonals of Omega, K×p."""
        return self._of_clusters([part.layer.precision for part in self.parts])

    def _turned(self, dR: Tensor, dS2: Tensor) -> tuple[Tensor, Tensor]:
        """Change of pull (K×n×p) and omega (K×p)."""
        each = len(self.R) // len(self.parts)
        rows = [slice(k, k + each) for k in range(0, self.many, each)]
        turned = [
            part.layer.turn(dR[k].flatten(0, 1), dS2[k].flatten(0, 1)) for part, k in zip(self.parts, rows, strict=True)
        ]
        return self._of_clusters([dpull for dpull, _ in turned]), self._of_clusters([domega for _, domega in turned])

    # -- of the clusters -----------------------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> Tensor:
        """e_ik, minus the bound of each sample in each cluster, but for log Y! and −½ p; K×n."""
        M, psi = self.q
        cells = self.A - self._counts * (self.table.O + M) - 0.5 * psi + 0.5 * self.R * self.pull
        half_logdet = self._of_clusters([part.layer.value / part.table.wbar for part in self.parts])
        return cells.sum(2) + 0.5 * (self.S2 @ self.omega[:, :, None])[:, :, 0] + half_logdet[:, None]

    @property
    def _counts(self) -> Tensor:
        return self.table.Y if self.table.K is None else self.table.Y * self.table.K

    @cached_property
    def _heights(self) -> Tensor:
        """e_ik + log tau_ik − log pi_k, n×K: all alike where tau is best."""
        return self.losses.mT + self.log_tau - self.log_pi

    @cached_property
    def _heights_off(self) -> Tensor:
        return self._heights - (self.tau * self._heights).sum(1, keepdim=True)

    @cached_property
    def slope(self) -> Tensor:
        """K (A − Y) + R Omega, K×n×p: the gradient in M per unit weight."""
        return self.A - self._counts + self.pull

    @cached_property
    def rate(self) -> Tensor:
        """K A + omega, K×n×p."""
        return self.A + self.omega[:, None]

    def gradient(self) -> Params:
        """In q, zeta and beta."""
        of_q = torch.cat([part.gradient().unflatten(1, (-1, len(self.tau))) for part in self.parts], 1)
        return {"q": of_q, "zeta": self.W.mT * self._heights_off, "beta": self._back(self.pull)}

    def _back(self, pull: Tensor) -> Tensor:
        """−T' sum_k W_k pull_k, c×p."""
        return -gram(self.table.T, (self.W[:, :, None] * pull).sum(0))

    def product(self, v: Params) -> Params:
        """Hessian times v."""
        dM, dpsi = v["q"]
        W, table = self.W[:, :, None], self.table
        dt = v["zeta"] - (self.tau * v["zeta"]).sum(1, keepdim=True)
        dW = self.W * dt.mT
        dsizes = dW.sum(1) / self.sizes
        a = dt.mT if table.shared else dt.mT - dsizes[:, None]
        dS2 = self.S2 * dpsi
        dN = dM - table.T @ v["beta"]
        dmu = (
            self._means(dN)
            + torch.stack([weighted_total(*each) for each in zip(dW, self.R, strict=True)]) / (self.sizes[:, None])
        )
        dR = dN - dmu[:, None]
        halved, by_weight = dR + 0.5 * a[:, :, None] * self.R, dS2 + a[:, :, None] * self.S2
        logdet = 2.0 * (self.pull * halved).sum(2) + (by_weight @ self.omega[:, :, None])[:, :, 0]
        logdet = (self.W * logdet).sum(1)
        dlogdet = logdet.sum() / table.wbar if table.shared else logdet / self.sizes
        dpull, domega = self._turned(halved, by_weight)
        dpull = dpull - 0.5 * a[:, :, None] * self.pull
        dA = self.A * (dM + 0.5 * dS2)
        back = dt.mT[:, :, None]
        of_M = W * (back * self.slope + dA + dpull)
        of_psi = 0.5 * W * (back * (self.S2 * self.rate - 1.0) + dS2 * self.rate + self.S2 * (dA + domega[:, None]))
        cells = (self.A - self._counts) * dM + 0.5 * self.A * dS2 - 0.5 * dpsi
        cells = cells + 0.5 * (dR * self.pull + self.R * dpull + domega[:, None] * self.S2 + self.omega[:, None] * dS2)
        dlosses = cells.sum(2) + 0.5 * dlogdet.expand(self.many)[:, None]
        dheights = dlosses.mT + dt - dsizes
        dtau = self.tau * dt
        change = dheights - (self.tau * dheights + dtau * self._heights).sum(1, keepdim=True)
        of_zeta = table.w[:, None] * (dtau * self._heights_off + self.tau * change)
        return {"q": torch.stack([of_M, of_psi]), "zeta": of_zeta, "beta": self._back(dpull + back * self.pull)}

    def curve(self, v: Params) -> Params | None:
        """None: no valley is known."""
        del v
        return None
