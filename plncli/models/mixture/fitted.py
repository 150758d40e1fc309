"""What a finished mixture answers: as its clusters do, each a Poisson log-normal model, by how probable they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.models.abilities import (
    Diagnosis,
    Discriminated,
    LatentCells,
    LatentValues,
    Prediction,
    Score,
    Simulated,
    Zeros,
)
from plncli.models.fitted import INFINITE, NOT_ESTIMABLE, Fitted, at_limits
from plncli.models.mixture.combining import any_of, cdf, median, mixed, moments, of_fit, pmf, quantile
from plncli.models.pln.finished.diagnosing import diagnosis
from plncli.models.pln.finished.fitted import FittedPLN
from plncli.models.pln.finished.importance import LogLikelihood
from plncli.models.pln.finished.scoring import sample_bounds, with_deviances
from plncli.numerics.covariance import Covariance, DenseCovariance, FactoredCovariance
from plncli.numerics.rows import total

FARTHEST = 6.0
"""Size beyond which a quantile residual is not told."""
FLOORED = "taken as expected with half a count in all samples of a cluster that never shows their feature"
SURELY = 0.8
"""Probability from which a sample is told to be surely of its cluster."""


@dataclass(frozen=True)
class FittedMixture(Fitted):
    """A finished fit. K clusters, the largest first."""

    @cached_property
    def log_pi(self) -> Tensor:
        """Logarithms of the proportions, (K,)."""
        return self.tensor("pi").log()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the clusters: their numbers."""
        return tuple(str(k + 1) for k in range(len(self.log_pi)))

    @cached_property
    def tau(self) -> Tensor:
        """Posterior probabilities of the samples of the fit, n×K."""
        return self.tensor("tau")

    @cached_property
    def offsets(self) -> Tensor:
        """Of the clusters' means from their mean, which is that of the clusters that show a feature, K×p; finite."""
        mu, pi = self.tensor("mu"), self.log_pi.exp()[:, None]
        seen = torch.isfinite(mu)
        mean = torch.where(seen, pi * mu, 0.0).sum(0) / (pi * seen).sum(0).clamp_min(torch.finfo(pi.dtype).tiny)
        return self.tensor("mu_finite") - mean

    @property
    def contrasts(self) -> Tensor:
        """The same, −inf in clusters that never show a feature."""
        return self.offsets.masked_fill(self.never, -math.inf)

    @property
    def within(self) -> Tensor:
        """Latent variances within the clusters, K×p."""
        return self.tensor("V")

    @cached_property
    def covariance(self) -> Covariance:
        """Of all samples with the same covariates, within clusters and between those that show a feature."""
        pi = self.log_pi.exp()
        between = pi.sqrt()[:, None] * self.offsets.masked_fill(self.never, 0.0)
        if "Sigma_k" not in self.estimates:
            return FactoredCovariance(pi @ self.tensor("V"), between)
        within = torch.einsum("k,kij->ij", pi, self.tensor("Sigma_k"))
        return DenseCovariance(within + between.mT @ between)

    @cached_property
    def clusters(self) -> tuple[FittedPLN, ...]:
        """Each cluster as a fit by itself."""
        return tuple(self._cluster(k, off) for k, off in enumerate(self.offsets))

    @cached_property
    def assigning(self) -> tuple[FittedPLN, ...]:
        """The same by which samples are put into clusters: half a count of what a cluster never shows (`floor`)."""
        lifted = self.tensor("floor") - self.tensor("mu_finite")
        off = self.offsets + torch.where(self.never, lifted, 0.0)
        return tuple(self._cluster(k, own) for k, own in enumerate(off))

    @property
    def never(self) -> Tensor:
        """Features that a cluster never shows, K×p."""
        return torch.isneginf(self.tensor("mu"))

    def _cluster(self, k: int, off: Tensor) -> FittedPLN:
        B = self.B + self.tensor("one")[:, None] * off
        if "Sigma_k" in self.estimates:
            of_layer, state = {"Sigma": self.tensor("Sigma_k")[k]}, {}
        else:
            D = self.tensor("V")[k]
            of_layer, state = {}, {"D": D, "V": D.new_zeros((0, len(D)))}
        limits = {name: value for name, value in self.state.items() if "courses" in name}
        known = {"B": B, **of_layer}
        return FittedPLN(self.spec, self.terms, self.responses, known, {"B_finite": B, **state, **limits})

    def _log_weights(
        self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor, clusters: Sequence[FittedPLN] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of posterior probabilities of samples, n×K, their bounds, and whether all q were found, (n,)."""
        found = [sample_bounds(cluster, X, O, Y, K) for cluster in clusters or self.assigning]
        joint = torch.stack([bound for bound, _ in found], 1) + self.log_pi
        return joint.log_softmax(1), joint.logsumexp(1), torch.stack([converged for _, converged in found], 1).all(1)

    # -- expected counts -----------------------------------------------------------------------------------------------

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """`link`, the mean over clusters of the linear predictor; `marginal` and `median`; pred_low, pred_high.

        Of a sample of which only the covariates are known: marginal is sum_k pi_k exp(eta_k + V_k/2); median is of the
        mixture of log-normal rates.
        """
        limits = self.limits(X)
        etas = [at_limits(limits, O + X @ cluster.B) for cluster in self.clusters]
        variances = [cluster.latent.variances for cluster in self.clusters]
        pi = self.log_pi.exp()
        marginal = sum(share * (eta + 0.5 * v).exp() for share, eta, v in zip(pi, etas, variances, strict=True))
        columns = {
            "link": at_limits(limits, O + X @ self.B),
            "marginal": torch.as_tensor(marginal),
            "median": median(self.log_pi, etas, variances).exp(),
        }
        if "prediction" in intervals:
            for name, probability in (("pred_low", 0.5 - 0.5 * level), ("pred_high", 0.5 + 0.5 * level)):
                columns[name] = quantile(self.log_pi, probability, etas, variances)
        return Prediction(self.responses, columns, {NOT_ESTIMABLE: limits.isnan(), INFINITE: limits > 0})

    def fitted_values(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Prediction:
        """`latent_mean`, `latent_sd` and `fitted` of each cell, over the clusters that the sample may be of."""
        each = [cluster.fitted_values(X, O, Y, K) for cluster in self.clusters]
        weights = self._log_weights(X, O, Y, K)[0].exp()
        means, sds, expected = (
            torch.stack([found.columns[name] for found in each]) for name in ("latent_mean", "latent_sd", "fitted")
        )
        mean, sd = moments(weights, means, sds)
        fitted = mixed(weights, expected)
        columns = {"latent_mean": mean, "latent_sd": sd, "fitted": fitted}
        return Prediction(self.responses, columns, any_of(found.reasons for found in each))

    def transform(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> LatentValues:
        """Mean and standard deviation of q over the clusters, and what is left of the mean of all clusters."""
        each = [cluster.transform(X, O, Y, K) for cluster in self.clusters]
        weights = self._log_weights(X, O, Y, K)[0].exp()
        mean, sd = moments(weights, torch.stack([q.mean for q in each]), torch.stack([q.sd for q in each]))
        left = [q.residual + off for q, off in zip(each, self.offsets, strict=True)]
        return LatentValues(mean, sd, mixed(weights, torch.stack(left)), any_of(q.reasons for q in each))

    # -- which cluster -------------------------------------------------------------------------------------------------

    @property
    def group_of(self) -> Tensor:
        """The most probable cluster of each sample of the fit, (n,), by index."""
        return self.tau.argmax(1)

    @property
    def held_out(self) -> None:
        """None: clusters are not known beforehand."""
        return None

    def discriminate(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Discriminated:
        """Probabilities of the clusters of samples with counts Y, n×K; nan where q of a cluster was not found."""
        log_posterior, elbo, converged = self._log_weights(X, O, Y, K)
        log_posterior = log_posterior.masked_fill(~converged[:, None], math.nan)
        return Discriminated(self.groups, log_posterior, elbo, {FLOORED: K & self.never.any(0)})

    # -- draws and scores ----------------------------------------------------------------------------------------------

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """A cluster for each sample by the proportions, and counts by the model of that cluster."""
        labels = torch.multinomial(self.log_pi.exp(), len(X), replacement=True, generator=generator)
        Y, Z = X.new_zeros((len(X), len(self.responses))), X.new_zeros((len(X), len(self.responses)))
        for k, cluster in enumerate(self.clusters):
            rows = (labels == k).nonzero()[:, 0]
            if len(rows):
                Y[rows], Z[rows] = cluster.simulate(X[rows], O[rows], generator)
        return Simulated(Y, Z)

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The bound of each sample, log sum_k pi_k exp(ELBO_ik); deviances against medians and means of the mixture."""
        _, bound, converged = self._log_weights(X, O, Y, scored, self.clusters)
        marginal = self.predict(X, O).columns
        mean = marginal["median"].log()
        spread = 2.0 * (marginal["marginal"].log() - mean)  # of the log-normal with that median and mean
        return with_deviances(bound, Y, mean, spread.nan_to_num(nan=0.0), scored, bool(converged.all()))

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of counts that were hidden, given the others of their samples."""
        assert data.K is not None
        X, O, Y = (tensor.detach().cpu().double() for tensor in (data.X, data.O, Y))
        K, scored = data.K.cpu(), scored.cpu()
        seen = torch.where(K, data.Y.detach().cpu().double(), 0.0)
        log_weights = self._log_weights(X, O, seen, K)[0]
        each = [of_fit(cluster, X, O, seen, K).score_cells(data, Y, scored) for cluster in self.clusters]
        loglik = torch.stack([score.loglik for score in each])
        told = (loglik + log_weights.mT[:, :, None]).logsumexp(0)
        deviance = mixed(log_weights.exp(), torch.stack([score.deviance for score in each]))
        means = torch.stack([score.of_means for score in each if score.of_means is not None])
        of_means = mixed(log_weights.exp(), means)
        return Score(torch.where(scored, told, 0.0), deviance, all(score.converged for score in each), of_means)

    # -- diagnosis -----------------------------------------------------------------------------------------------------

    def _counted(self, data: Dataset) -> Tensor:
        seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
        return seen & (self.limits(data.X) == 0)

    def _each(self, data: Dataset) -> tuple[list[Tensor], list[Tensor]]:
        """Linear predictors of the samples of the fit and latent variances, by cluster."""
        etas = [data.O + data.X @ cluster.B for cluster in self.clusters]
        return etas, [cluster.latent.variances for cluster in self.clusters]

    def cells(self, data: Dataset) -> LatentCells:
        """The counts of the fit, with mean and variances of their log rates over the clusters."""
        mean = data.O + data.X @ self.B
        return LatentCells(data.Y, self._counted(data), mean, self.covariance.variances)

    def count_residuals(self, data: Dataset, generator: Generator) -> Tensor:
        """Randomised quantile residuals n×p (Dunn & Smyth 1996), of the mixture given the covariates alone."""
        etas, variances = self._each(data)
        share = torch.rand(data.Y.shape, generator=generator, dtype=data.Y.dtype)
        drawn = share * pmf(self.log_pi, data.Y, etas, variances)
        below = cdf(self.log_pi, data.Y, etas, variances) - drawn
        above = cdf(self.log_pi, data.Y, etas, variances, upper=True) + drawn
        low, high = (torch.special.ndtri(tail.clamp(0.0, 1.0)) for tail in (below, above))
        found = torch.where(below < above, low, -high).clamp(-FARTHEST, FARTHEST)
        return found.masked_fill(~self._counted(data), math.nan)

    def expected_zeros(self, data: Dataset) -> Zeros:
        """Zeros of each feature among the cells that count, beside what the model expects."""
        counted = self._counted(data)
        probability = torch.where(counted, pmf(self.log_pi, torch.zeros_like(data.Y), *self._each(data)), 0.0)
        variance = total(probability * (1.0 - probability))
        return Zeros(total(counted & (data.Y == 0)).to(data.Y), total(probability), variance.sqrt())

    def mean_residuals(self, data: Dataset) -> Tensor:
        """Means over features of latent means less those of the samples' clusters, in standard deviations."""
        R = self.tensor("M_finite") - data.X @ self.B - self.tau @ self.offsets
        scaled = torch.where(self._counted(data), R / (self.tau @ self.tensor("V")).sqrt(), 0.0)
        return scaled.sum(1) / self._counted(data).sum(1)

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """The bound, the likelihood, zeros, and residuals."""
        seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
        _, bounds, _ = self._log_weights(data.X, data.O, data.Y, seen, self.clusters)
        R, independent = self.count_residuals(data, generator), "Sigma_k" not in self.estimates
        found = self._likelihood(data, seen, draws, generator) if draws or independent else None
        counting = int(self._counted(data).sum())
        return diagnosis(data, bounds, found, R, self.expected_zeros(data), counting, draws, independent=independent)

    def _likelihood(self, data: Dataset, seen: Tensor, draws: int, generator: Generator) -> LogLikelihood:
        """Of the samples of the fit; k is that of the cluster they are most likely of."""
        each = [
            of_fit(cluster, data.X, data.O, data.Y, seen).likelihood(data, draws, generator)
            for cluster in self.clusters
        ]
        joint = torch.stack([found.value for found in each], 1) + self.log_pi
        value, weights = joint.logsumexp(1), joint.softmax(1)
        error = (weights * torch.stack([found.error for found in each], 1)).square().sum(1).sqrt()
        khat = torch.stack([found.khat for found in each], 1).gather(1, weights.argmax(1, keepdim=True))[:, 0]
        return LogLikelihood(value, error, khat)

    # -- tables --------------------------------------------------------------------------------------------------------

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`memberships`, `clusters`, and `cluster_covariances` where they are full."""
        tau, names = self.tau, self.groups
        best, label = tau.max(1)
        own = [tau[label == k, k] for k in range(len(names))]
        found: dict[str, dict[str, Any]] = {
            "memberships": {
                "sample": list(samples),
                "cluster": label + 1,
                "posterior": best,
                **{f"posterior_{name}": tau[:, k].contiguous() for k, name in enumerate(names)},
            },
            "clusters": {
                "cluster": list(names),
                "proportion": self.log_pi.exp(),
                "samples": torch.bincount(label, minlength=len(names)),
                "mean_posterior": torch.stack([each.mean() for each in own]),
                "surely": torch.stack([(each > SURELY).sum() for each in own]),
                "latent_variance": self.tensor("V").mean(1),
            },
        }
        if "Sigma_k" in self.estimates:
            many, p = self.tensor("V").shape
            found["cluster_covariances"] = {
                "cluster": [name for name in names for _ in range(p)],
                "feature": list(self.responses) * many,
                **dict(zip(self.responses, self.tensor("Sigma_k").reshape(many * p, p).mT.contiguous(), strict=True)),
            }
        return found
