"""Mixture of Poisson log-normal models, fitted by its bound with clusters' means and covariances profiled out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from plncli.arrays import Differentiated, Params
from plncli.dataset import Dataset
from plncli.models.base import Init, Model
from plncli.models.findings import Finding
from plncli.models.fused import Fused, joined
from plncli.models.mixture import preconditioner
from plncli.models.mixture.findings import findings
from plncli.models.mixture.objective import LEAST, Evaluation
from plncli.models.mixture.preconditioner import UNLIKELY
from plncli.models.mixture.prepared import Prepared, floor, prepare, unseen
from plncli.models.mixture.rounds import posterior
from plncli.models.mixture.spec import MIXTURE as SPEC
from plncli.models.mixture.start import (
    HEATS,
    around,
    by_chance,
    by_components,
    from_labels,
    from_probabilities,
    known,
    starts,
)
from plncli.models.pln.estimates import explained
from plncli.models.pln.separation import at_supremum, with_limits
from plncli.models.pln.zeros.counting import cell_limits
from plncli.models.spec import Spec
from plncli.numerics.rows import grand_total

NONE, ONCE = 1e-6, 10.0
"""Probability of a cluster that is none, and how many times more probable it must become to be looked at again."""


class MixtureElbo(Fused):
    """Minus the ELBO of q, zeta and beta."""


@dataclass(frozen=True)
class Mixture(Model[Prepared]):
    """Z_i ~ N(mu_k + B'x_i, Sigma_k) with probability pi_k, and counts Poisson(exp(o_i + Z_i)).

    Silva, Rothstein, McNicholas & Subedi 2019 (BMC Bioinformatics 20:394); Chiquet, Mariadassou & Robin 2021.
    covariance: of each cluster, or, `shared`, of all. starts: searches, from that many starts. sigma: whether the whole
    covariance, p×p, is wanted.
    """

    spec: ClassVar[Spec] = SPEC
    exact_preconditioner: ClassVar[bool] = False
    curved: ClassVar[bool] = True
    loose: ClassVar[float] = 1e-2
    patience: ClassVar[int | None] = None
    clusters: int = 2
    covariance: str = "diagonal"
    shared: bool = False
    starts: int = 1
    sigma: bool | None = None

    def prepare(self, data: Dataset) -> Prepared:
        """Check counts and design, and find separated cells."""
        return prepare(data, self.clusters, self.covariance, shared=self.shared)

    # -- where it begins -----------------------------------------------------------------------------------------------

    def start(self, prepared: Prepared, init: Init | None = None) -> Params:
        """By k-means of log counts, or with the clusters of an earlier fit of as many."""
        if init is not None and "tau" in init and init["tau"].shape[1] == prepared.many:
            return from_probabilities(prepared, known(prepared, init))
        return from_labels(prepared, by_components(prepared, torch.Generator().manual_seed(0)), HEATS[0])

    def searches(self, prepared: Prepared, init: Init | None) -> bool:
        """Without an earlier fit, and from one of another number of clusters."""
        return init is None or "tau" not in init or init["tau"].shape[1] != prepared.many

    def own_starts(self, prepared: Prepared, init: Init | None) -> Iterator[tuple[Params, Prepared]]:
        """By k-means, and the clusters of an earlier fit split or merged."""
        if prepared.many == 1:
            return iter([(from_labels(prepared, torch.zeros_like(prepared.data.w).long()), prepared)])
        return ((params, prepared) for params in starts(prepared, None if init is None or "tau" not in init else init))

    def restarts(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """Two clusters merged and one split."""
        return ((near, prepared) for near in around(prepared, prepared.at(params).tau))

    def another(self, prepared: Prepared, generator: Generator) -> tuple[Params, Prepared]:
        """By k-means, some samples moved, annealed."""
        return by_chance(prepared, generator), prepared

    def rival(self, prepared: Prepared) -> float:
        """None."""
        del prepared
        return math.inf

    def searched(self, prepared: Prepared) -> Prepared:
        """The same."""
        return prepared

    def wholes(self, params: Params, prepared: Prepared) -> Iterator[tuple[Params, Prepared]]:
        """None: no start is of a simpler model."""
        del params, prepared
        return iter(())

    # -- as optimizers see it ------------------------------------------------------------------------------------------

    def objective(self, params: Params, prepared: Prepared) -> Tensor:
        """Minus the ELBO in nats, constants included."""
        return joined(MixtureElbo, params, lambda split: prepared.at(split))

    def at(self, params: Params, prepared: Prepared) -> Differentiated:
        """The bound at q of each sample in each cluster, who is where, and the coefficients that clusters share."""
        return prepared.at(params)

    def preconditioner(self, params: Params, prepared: Prepared) -> Callable[[Params], Params]:
        """Approximate inverse of the clusters' blocks, what they leave of beta, and of tau."""
        return preconditioner.preconditioner(prepared.at(params))

    def curvature(self, params: Params, prepared: Prepared) -> Params:
        """Diagonal of the blocks."""
        return preconditioner.curvature(prepared.at(params))

    def settle(self, params: Params, prepared: Prepared) -> tuple[Params, Prepared]:
        """q and tau of each sample where they are best for the clusters as they are."""
        better = posterior(params, prepared.table)
        gained = float(prepared.at(params).value) - float(Evaluation(better, prepared.table).value)
        return (better if gained >= 0.0 else params), prepared

    # -- samples that are next to never of a cluster -------------------------------------------------------------------

    def degenerate(self, params: Params, prepared: Prepared) -> bool:
        """Never: it is looked at where the optimizer ends."""
        del params, prepared
        return False

    def resume(self, prepared: Prepared, init: Init) -> tuple[Params, Prepared]:
        """Begin with the clusters of an earlier fit."""
        return self.start(prepared, init), prepared

    def revise(self, params: Params, prepared: Prepared, *, settled: bool) -> tuple[Params, Prepared] | None:
        """Where q and tau are best for the clusters as they are, if a sample is more of a cluster than it seemed.

        Steps hardly move q of samples in clusters that they are next to never of.
        """
        if not settled:
            return None
        tau = prepared.at(params).tau
        better, _ = self.settle(params, prepared)
        now = better["zeta"].softmax(1)
        return (better, prepared) if bool(((tau < UNLIKELY) & (now > ONCE * tau) & (now > NONE)).any()) else None

    def boundary_state(self, prepared: Prepared) -> dict[str, Tensor]:
        """Nothing: the problem is not changed."""
        del prepared
        return {}

    def at_boundary_state(self, prepared: Prepared, state: Mapping[str, Tensor]) -> Prepared:
        """The same data."""
        del state
        return prepared

    # -- what comes out ------------------------------------------------------------------------------------------------

    def entropy(self, params: Params, prepared: Prepared) -> float:
        """Of the clusters given the counts, −sum_ik w_i tau_ik log tau_ik, nats (Biernacki, Celeux & Govaert 2000)."""
        at = prepared.at(params)
        return -float(grand_total(at.W.mT * at.log_tau))

    def cell_limits(self, training: Dataset, X: Tensor, X0: Tensor | None = None) -> Tensor | None:
        """Where linear predictors of samples X (m×d) go in a fit to `training`, m×p; None where all are finite."""
        return cell_limits(training, X, X0, "none")

    def estimates(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B (d×p), proportions (K,), tau (n×K), means and variances (K×p) of the clusters, M and S (n×p).

        The largest cluster is the first. Means are −inf of features that a cluster never shows. Full covariances of the
        clusters are K×p×p; Sigma, p×p, is that of all samples with the same covariates.
        """
        at = prepared.at(params)
        order = at.sizes.argsort(descending=True, stable=True)
        pi, mu = at.log_pi.exp()[order], at.mu[order]
        tau = torch.where(at.log_tau > LEAST, at.tau, 0.0)[:, order]
        covariances = [at.parts[k if len(at.parts) > 1 else 0].layer.covariance() for k in order.tolist()]
        M, S2 = (table[order] for table in (at.q[0], at.S2))
        weights = tau.mT[:, :, None]
        mean = (weights * M).sum(0)
        spread = (weights * (S2 + (M - mean).square())).sum(0)
        B, never = prepared.coefficients(at), unseen(at)[order]
        mean = mean.masked_fill(tau @ never.to(tau) > 0.5, -torch.inf)
        found = {
            "B": with_limits(B, prepared.separated),
            "pi": pi,
            "tau": tau,
            "mu": mu.masked_fill(never, -torch.inf),
            "V": torch.stack([covariance.variances for covariance in covariances]),
            "M": at_supremum(mean, prepared.separated, -torch.inf),
            "S": spread.sqrt(),
        }
        if self.covariance == "full":
            found["Sigma_k"] = torch.stack([covariance.dense() for covariance in covariances])
        if self.sigma:
            off = (mu - prepared.centre(at)).masked_fill(never, 0.0)
            found["Sigma"] = (pi[:, None] * off).mT @ off
            for share, each in zip(pi, covariances, strict=True):
                found["Sigma"] += share * each.dense()
        return found

    def state(self, params: Params, prepared: Prepared) -> dict[str, Tensor]:
        """B_finite (d×p), M_finite (n×p), mu_finite, floor (K×p), `one` (d,), and where predictors of others go."""
        limits = {} if prepared.separated is None else prepared.separated.limits_of_others.tensors()
        at = prepared.at(params)
        mean = (at.tau.mT[:, :, None] * at.q[0]).sum(0)
        order = at.sizes.argsort(descending=True, stable=True)
        means = {"mu_finite": at.mu[order], "floor": floor(at)[order]}
        return {"B_finite": prepared.coefficients(at), "M_finite": mean, **means, "one": prepared.one, **limits}

    def n_parameters(self, prepared: Prepared, params: Params | None = None) -> int:
        """K − 1 proportions, K p means, (d − 1) p coefficients, and those of one covariance or of K."""
        p, K = prepared.data.p, prepared.many
        each = {"full": p * (p + 1) // 2, "diagonal": p, "spherical": 1}[self.covariance]
        return K - 1 + K * p + (prepared.data.d - 1) * p + each * (1 if self.shared else K)

    def facts(self, params: Params, prepared: Prepared, bic: float) -> dict[str, float]:
        """The entropy of the clusters, and the smallest of them."""
        del bic
        smallest = float(prepared.at(params).sizes.min())
        return {"classification_entropy": self.entropy(params, prepared), "smallest_cluster": smallest}

    def r2(self, params: Params, prepared: Prepared) -> float:
        """Share of the deviance that the fitted means explain."""
        at = prepared.at(params)
        A = (prepared.table.O + at.q[0] + 0.5 * at.S2).exp()
        fitted = at_supremum((at.tau.mT[:, :, None] * A).sum(0), prepared.separated, 0.0)
        return explained(prepared.data, fitted)

    def findings(self, params: Params, prepared: Prepared, gap: float) -> tuple[Finding, ...]:
        """Coefficients without a finite estimate, and clusters that are next to none."""
        del gap
        return findings(prepared, prepared.at(params))
