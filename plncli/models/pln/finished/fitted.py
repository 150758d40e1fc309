"""What a finished fit of a Poisson log-normal model answers.

With eta = o + B'x the linear predictor of a cell, it expects three different counts:

marginal     exp(eta + Sigma_jj/2): of a sample of which only the covariates are known
fitted       exp(o + m + s²/2): of a sample whose counts are all known, m and s² being q's (the variational step)
conditional  exp(o + mu + v/2): of the other features of a sample, some features of which are known

For the last, q of the known features o comes from their own (marginal) model, and is carried to the others c by the
Gaussian law, with G = Sigma_co Sigma_oo^-1:

    mu = B_c'x + G (m_o − B_o'x),    v = diag(Sigma_cc − G Sigma_oc) + diag(G diag(s_o²) G')

Beside a marginal or conditional count stands the median of the same log-normal rate, exp(eta) or exp(o + mu): half of
such samples have a rate above it. No variance raises it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.models.abilities import Diagnosis, LatentValues, Prediction, Score, Simulated, Zeros
from plncli.models.fitted import (
    IMPOSSIBLE,
    INFINITE,
    NOT_ESTIMABLE,
    NOT_FOUND,
    ZEROS_NOT_ESTIMABLE,
    Fitted,
    at_limits,
    check_errors,
    expected_values,
)
from plncli.models.inflation.finished import StructuralZeros, coefficients, told
from plncli.models.inflation.spec import SYMBOLS, TERMS
from plncli.models.pln.finished import scoring
from plncli.models.pln.finished.diagnosing import diagnosis
from plncli.models.pln.finished.importance import Cells, LogLikelihood, log_likelihood, sample_bounds
from plncli.models.pln.finished.kinds import kind_of
from plncli.models.pln.finished.latent import FittedLatent
from plncli.models.pln.finished.residuals import quantile_residuals, zeros
from plncli.models.pln.variational_step import variational_step
from plncli.numerics.covariance import DenseCovariance, definite
from plncli.numerics.distributions import poisson_lognormal_quantile
from plncli.numerics.simulation import by_blocks, poisson_counts


@dataclass(frozen=True)
class FittedPLN(FittedLatent):
    """A finished fit: with the covariance of the latent layer, and perhaps structural zeros."""

    @classmethod
    def answering(cls, state: Mapping[str, Any]) -> type[Fitted]:
        """What else answers where the mean is neural, or q has a full covariance (`kinds`)."""
        return kind_of(state, cls) if cls is FittedPLN else cls

    # -- expected counts -------------------------------------------------------------------------------------------

    def predict(self, X: Tensor, O: Tensor, intervals: Sequence[str] = (), level: float = 0.95) -> Prediction:
        """`link`, `marginal`, `median`; pred_low, pred_high: quantiles of the Poisson log-normal distribution.

        Its mean is eta, its variance Sigma_jj + that of eta by the coefficients. Where counts may be structural zeros,
        `marginal` is times the probability that they are none, `median` is of the rate of those that are none, and
        quantiles are those of the mixture.
        """
        check_errors(self, "confidence" in intervals)
        variance, counted = self.latent.variances, self.counted

        def observation(eta: Tensor, of_eta: Tensor, _: float) -> tuple[Tensor, Tensor]:
            return _count_interval(eta, of_eta + variance, level, self.zeros)

        found = expected_values(
            self,
            X,
            O,
            intervals,
            level,
            column="marginal",
            expected=lambda eta: counted * (eta + 0.5 * variance).exp(),
            median=torch.exp,
            observation=observation,
        )
        return self._without_unknown(found, ("marginal", "conf_low", "conf_high", "pred_low", "pred_high"))

    def _without_unknown(
        self, found: Prediction, columns: Sequence[str], among: Tensor | slice = slice(None)
    ) -> Prediction:
        """Empty in these columns where a probability of structural zeros is not estimable, and a count is expected."""
        unknown = None if self.zeros is None else self.zeros.unknown
        if unknown is None:
            return found
        median = found.columns["median"]
        lost = unknown[:, among] & (median > 0)
        left = {name: found.columns[name].masked_fill(lost, math.nan) for name in columns if name in found.columns}
        whole = torch.zeros_like(unknown)
        whole[:, among] = lost
        return replace(found, columns={**found.columns, **left}, reasons={**found.reasons, ZEROS_NOT_ESTIMABLE: whole})

    def fitted_values(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> Prediction:
        """`latent_mean` and `latent_sd` of q, and `fitted`: exp(o + m + s²/2).

        Where a zero may be structural, `zero_probability` is how probable that is given all counts of its sample, and
        `fitted` the expected count that leaves.
        """
        q, logits = self._transformed(X, O, Y, K)
        expected = (O + q.mean + 0.5 * q.sd.square()).exp()
        columns = {"latent_mean": q.mean, "latent_sd": q.sd, "fitted": expected}
        if logits is not None:
            found = told(O + q.mean, q.sd, Y, self.telling(K), logits)
            columns |= {"fitted": found.expected, "zero_probability": found.probability}
        unknown = None if self.zeros is None else self.zeros.unknown
        if unknown is None:
            return Prediction(self.responses, columns, q.reasons)
        lost = unknown & ~(K & (Y > 0))  # a count is no structural zero
        columns["zero_probability"] = columns["zero_probability"].masked_fill(lost, math.nan)
        columns["fitted"] = columns["fitted"].masked_fill(lost & (columns["fitted"] > 0), math.nan)
        return Prediction(self.responses, columns, {**q.reasons, ZEROS_NOT_ESTIMABLE: lost})

    def transform(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> LatentValues:
        """q of each sample in the joint model of all features, as in the fit."""
        return self._transformed(X, O, Y, K)[0]

    def _transformed(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> tuple[LatentValues, Tensor | None]:
        """The same, and logits of structural zeros."""
        limits, C = self.limits(X), self.mean(X)
        counted = self.telling(K & (limits == 0)).to(Y)
        varied, O = self.latent.varied, O.expand_as(Y)
        step, logits = self.step(Y, counted, O, C, definite(self.latent.precision()))
        M, S = C.clone(), torch.zeros_like(C)
        M[:, varied], S[:, varied] = step.M, step.S
        q = latent_values(limits, K & (Y > 0), C, M, S, step.converged)
        return without_impossible(q, K & (Y > 0), logits), logits

    def conditional(
        self,
        X: Tensor,
        O: Tensor,
        Y: Tensor,
        observed: Tensor,
        K: Tensor,
        intervals: Sequence[str] = (),
        level: float = 0.95,
    ) -> Prediction:
        """`latent_mean` mu, `latent_sd` sqrt(v), `conditional` and `median` of the features that are not observed.

        pred_low, pred_high: quantiles of the Poisson log-normal distribution with mean o + mu and variance v.
        """
        if "confidence" in intervals:
            raise DataError("Conditional counts have no confidence interval, only a prediction interval.")
        limits, O = self.limits(X), O.expand(-1, len(self.responses))
        others = torch.ones(O.shape[1], dtype=torch.bool)
        others[observed] = False
        limited = limits[:, observed]
        of_observed = None if self.zeros is None else self.zeros.among(observed).doubtful
        counted = K & (limited == 0) & (True if of_observed is None else of_observed)
        mean, variance, lost = self.given(X, O, Y, observed, counted, others)
        mean = at_limits(limits[:, others], mean).masked_fill(lost[:, None], math.nan)
        eta = O[:, others] + mean
        known = None if self.zeros is None else self.zeros.among(others)
        conditional = (eta + 0.5 * variance).exp()
        if known is not None:
            conditional = (1.0 - known.expected) * conditional
        expected = {"conditional": conditional, "median": eta.exp()}
        columns = {"latent_mean": mean, "latent_sd": variance.sqrt(), **expected}
        if "prediction" in intervals:
            columns |= dict(zip(("pred_low", "pred_high"), _count_interval(eta, variance, level, known), strict=True))
        impossible = torch.zeros_like(others).expand_as(limits).clone()
        never = limited < 0
        if self.zeros is not None and of_observed is not None:
            never = never | (self.zeros.among(observed).logits == math.inf)
        impossible[:, observed] = K & never & (Y > 0)
        reasons = {
            NOT_ESTIMABLE: limits.isnan() & others,
            INFINITE: (limits > 0) & others,
            IMPOSSIBLE: impossible,
            NOT_FOUND: lost[:, None] & others,
        }
        names = tuple(name for name, other in zip(self.responses, others.tolist(), strict=True) if other)
        found = Prediction(names, columns, reasons)
        return self._without_unknown(found, ("conditional", "pred_low", "pred_high"), others)

    def given(
        self, X: Tensor, O: Tensor, Y: Tensor, observed: Tensor, counted: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance (n×c) of the latent values of `others`, and samples whose variational step failed (n,).

        X n×d, O n×p; Y and counted (which cells are known) n×o. Samples with the same known features go together.
        """
        C = self.mean(X)
        own = self.latent.variances[others]
        mean, variance = C[:, others], own.expand(len(C), -1).clone()
        lost = torch.zeros(len(C), dtype=torch.bool)
        patterns, member = torch.unique(counted & (self.latent.variances > 0)[observed], dim=0, return_inverse=True)
        for g, pattern in enumerate(patterns):
            o, rows = observed[pattern], (member == g).nonzero()[:, 0]
            if not len(o):
                continue
            Omega = definite(DenseCovariance(self.latent.block(o, o)).precision()).dense()
            counts, centre = Y[rows][:, pattern], C[rows][:, o]
            Z = None if self.zeros is None else self.zeros.among(o).take(rows).expected.logit().expand_as(counts)
            step = variational_step(counts, torch.ones_like(counts), O[rows][:, o], centre, Omega, Z=Z)
            cross = self.latent.block(others.nonzero()[:, 0], o)
            G = cross @ Omega
            mean[rows] += (step.M - centre) @ G.mT
            variance[rows] = (own - (G * cross).sum(1)).clamp_min(0.0) + step.S.square() @ G.square().mT
            lost[rows] = ~step.converged
        return mean, variance, lost

    def further_tables(self, samples: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`zero_inflation`: of all counts, or of each feature or sample, the logit and the probability."""
        if self.zeros is None:
            return {}
        if self.zeros.of == TERMS:
            return {"zero_inflation": coefficients(self.state, self.inference, self.responses, self.zero_terms)}
        logits = self.zeros.logits.flatten()
        names: dict[str, Any] = {"feature": self.responses, "sample": samples}
        of = self.zeros.of if self.zeros.of in names else "counts"
        found = {of: list(names.get(of, ["all"])), "logit": logits, "probability": logits.sigmoid()}
        for name, column in (("se", "logit_std_error"), ("low", "logit_conf_low"), ("high", "logit_conf_high")):
            known = self.inference.get(f"{SYMBOLS[self.zeros.of]}_{name}")
            if known is not None:
                found[column] = torch.as_tensor(known).detach().cpu().double().reshape(-1)
        return {"zero_inflation": found}

    # -- draws and scores ------------------------------------------------------------------------------------------

    def simulate(self, X: Tensor, O: Tensor, generator: Generator) -> Simulated:
        """Counts Y_ij ~ Poisson(exp(O_ij + Z_ij)), Z_i ~ Normal(B'x_i, Sigma), for all n rows of X.

        A variance of 0 makes Poisson counts; Z is −inf in cells whose expected count is 0. Structural zeros are 0
        whatever Z is. DataError for counts that float64 cannot hold.
        """
        never = self.limits(X) < 0

        def draw(rows: slice, eta: Tensor) -> tuple[Tensor, Tensor]:
            Z = eta + self.latent.draws(eta, generator)
            Z = Z.masked_fill(never[rows], -math.inf)
            Y = poisson_counts((O[rows] + Z).exp(), generator)
            if self.zeros is not None:
                Y = Y.masked_fill(self.zeros.take(rows).drawn(len(Y), Y.shape[1], generator), 0.0)
            return Y, Z

        return Simulated(*by_blocks(X, len(self.responses), self.mean, draw))

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The bound of each sample; deviances of counts against exp(o + x'B), and against exp(o + x'B + Sigma_jj/2)."""
        return scoring.of_samples(self, X, O, Y, scored)

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of counts that were hidden, given the others of their samples."""
        return scoring.of_cells(self, data, Y, scored)

    # -- diagnosis -------------------------------------------------------------------------------------------------

    def cells(self, data: Dataset) -> Cells:
        """The counts of the fit; observed ones whose expected value is 0 or not estimable do not count."""
        seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
        logits = self.own_logits(data.n)
        counted = self.telling(seen & (self.limits(data.X) == 0))
        return Cells(data.Y, counted, data.O + self.mean(data.X), self.latent, logits)

    def count_residuals(self, data: Dataset, generator: Generator) -> Tensor:
        """Randomised quantile residuals n×p, nan where a cell does not count."""
        return quantile_residuals(self.cells(data), generator)

    def expected_zeros(self, data: Dataset) -> Zeros:
        """Zeros of each feature among the cells that count, beside what the model expects."""
        return zeros(self.cells(data))

    def mean_residuals(self, data: Dataset) -> Tensor:
        """Means over the features with a latent layer of (m − x'B)/sqrt(Sigma_jj), m that of q, in cells that count."""
        sd = self.latent.variances.sqrt()
        counts = self.cells(data).K & (sd > 0)
        R = (self.tensor("M_finite") - self.mean(data.X)) / torch.where(sd > 0, sd, 1.0)
        return torch.where(counts, R, 0.0).sum(1) / counts.sum(1)

    def bounds(self, data: Dataset) -> Tensor:
        """The ELBO of each sample of the fit (n,)."""
        M, S2 = data.O + self.tensor("M_finite"), self.tensor("S").square()
        return sample_bounds(self.cells(data), M, S2)

    def likelihood(self, data: Dataset, draws: int, generator: Generator) -> LogLikelihood:
        """Log-likelihoods of the samples of the fit."""
        M, S2 = data.O + self.tensor("M_finite"), self.tensor("S").square()
        return log_likelihood(self.cells(data), M, S2, draws, generator)

    def diagnose(self, data: Dataset, draws: int, generator: Generator) -> Diagnosis:
        """The bound, the likelihood, zeros, and residuals."""
        cells, bounds = self.cells(data), self.bounds(data)
        R, independent = quantile_residuals(cells, generator), cells.covariance.independent
        found = self.likelihood(data, draws, generator) if draws or independent else None
        return diagnosis(data, bounds, found, R, zeros(cells), int(cells.K.sum()), draws, independent=independent)


def latent_values(limits: Tensor, seen: Tensor, C: Tensor, M: Tensor, sd: Tensor, found: Tensor) -> LatentValues:
    """Latent values with means M and standard deviations sd around C = XB (n×p), empty where they cannot be.

    limits: of the linear predictors, n×p; seen: n×p, cells with a count; found: (n,) samples whose q was found.
    """
    lost = ~found[:, None].expand_as(limits)
    reasons = {NOT_ESTIMABLE: limits.isnan(), INFINITE: limits > 0, IMPOSSIBLE: seen & (limits < 0), NOT_FOUND: lost}
    mean = at_limits(limits, M).masked_fill(reasons[IMPOSSIBLE] | lost, math.nan)
    return LatentValues(mean, sd.masked_fill(lost, math.nan), (M - C).masked_fill(lost, math.nan), reasons)


def without_impossible(q: LatentValues, seen: Tensor, logits: Tensor | None) -> LatentValues:
    """Empty in cells with a count (`seen`, n×p) where all zeros are structural."""
    impossible = None if logits is None else seen & (logits == math.inf)
    if impossible is None or not bool(impossible.any()):
        return q
    reasons = {**q.reasons, IMPOSSIBLE: q.reasons[IMPOSSIBLE] | impossible}
    return replace(q, mean=q.mean.masked_fill(impossible, math.nan), reasons=reasons)


def _count_interval(
    eta: Tensor, variance: Tensor, level: float, zeros: StructuralZeros | None
) -> tuple[Tensor, Tensor]:
    """Quantiles of the (zero-inflated) Poisson log-normal distribution, n×p, that leave out as much on either side."""
    probabilities = (0.5 - 0.5 * level, 0.5 + 0.5 * level)
    if zeros is None:
        low, high = (poisson_lognormal_quantile(probability, eta, variance) for probability in probabilities)
        return low, high
    low, high = (zeros.quantile(probability, eta, variance) for probability in probabilities)
    return low, high
