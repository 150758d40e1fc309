"""What a finished fit of a Poisson log-normal PCA answers: as `FittedPLN`, with posteriors of scores for q.

A sample of which all or some counts are known has a posterior of its scores, N(m, S) in q dimensions, from the counts
that it has and nothing else. The latent value of any feature is then N(x'B_j + c_j'm, c_j'S c_j).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.models.abilities import LatentValues, Score
from plncli.models.inflation.cells import FINEST, Nodes
from plncli.models.inflation.closing import Cells
from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.finished import mixed
from plncli.models.inflation.own import cells_among, with_own_logits
from plncli.models.pca.cells import Doubtful, Loadings, Samples
from plncli.models.pca.posterior import Posterior, posterior
from plncli.models.pca.triangle import Triangle
from plncli.models.pln.finished.fitted import FittedPLN, latent_values, without_impossible
from plncli.models.pln.finished.importance import WIDER, LogLikelihood, averaged
from plncli.models.pln.finished.scoring import check_possible, of_hidden, with_deviances
from plncli.models.uncertainty import blocks
from plncli.numerics.covariance import Covariance, DenseCovariance, FactoredCovariance
from plncli.numerics.likelihoods import log_factorial, poisson_loglik, softplus


@dataclass(frozen=True)
class FittedPCA(FittedPLN):
    """A finished fit: with the loadings, or, of a design that tables are drawn from, a covariance."""

    @cached_property
    def covariance(self) -> Covariance | None:
        """CC'."""
        if "C" not in self.estimates:
            return DenseCovariance(self.tensor("Sigma"))
        C = self.tensor("C")
        return FactoredCovariance(C.new_zeros(len(C)), C.mT)

    @cached_property
    def C(self) -> Tensor:
        """Loadings p×q."""
        return self.tensor("C")

    def _samples(self, X: Tensor, O: Tensor, Y: Tensor, counted: Tensor, among: Tensor | None = None) -> Samples:
        """Samples by the counts Y of the cells that count (n×p, or n×o of the features `among`)."""
        B, C = (self.B, self.C) if among is None else (self.B[:, among], self.C[among])
        O = O if among is None or O.shape[1] == 1 else O[:, among]
        K = counted.to(Y)
        return Samples(Y * K, K, O + X @ B, Loadings(C, Triangle(Y, C.shape[1])))

    def _posterior(self, samples: Samples, own: bool = False) -> tuple[Posterior, Tensor | None]:
        """Posteriors of samples with all features, and logits of structural zeros, n×p.

        Where each sample has a probability of its own, it is the one that is best for its counts, as in the fit, or
        (own: they are the samples of the fit) the one that it has there.
        """
        if self.zeros is None:
            return posterior(samples), None
        if own or self.zeros.of != "sample":
            logits = self.zeros.logits.expand_as(samples.Y)
            return posterior(doubted(samples, logits)), logits
        assert samples.K is not None
        K, of_counts = samples.K, Inflation.of("sample", samples.K)

        def fitted(zeta: Tensor) -> tuple[Posterior, list[Cells]]:
            z = posterior(doubted(samples, zeta.expand_as(samples.Y)))
            eta, variance = samples.predictor + z.M @ self.C.mT, self._variance(z)
            return z, [cells_among(samples.Y, K, eta, variance.sqrt(), of_counts)]

        z, zeta = with_own_logits(of_counts, self.zeros.expected.logit(), fitted)
        return z, zeta.expand_as(samples.Y)

    def _transformed(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> tuple[LatentValues, Tensor | None]:
        """q of each sample, as in the fit, and logits of structural zeros."""
        limits, C = self.limits(X), X @ self.B
        z, logits = self._posterior(self._samples(X, O, Y, self.telling(K & (limits == 0))))
        mean, sd = C + z.M @ self.C.mT, self._variance(z).sqrt()
        q = latent_values(limits, K & (Y > 0), C, mean, sd, z.converged)
        return without_impossible(q, K & (Y > 0), logits), logits

    def _variance(self, z: Posterior) -> Tensor:
        """c_j'S_i c_j, n×p."""
        triangle = Triangle(z.M, self.C.shape[1])
        return (z.V @ (triangle.k * triangle.products(self.C)).mT).clamp_min(0.0)

    def given(
        self, X: Tensor, O: Tensor, Y: Tensor, observed: Tensor, counted: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `FittedPLN.given`, by the posterior of the scores given the observed features."""
        samples = self._samples(X, O, Y, counted, observed)
        if self.zeros is not None:
            samples = doubted(samples, self.zeros.among(observed).expected.logit().expand_as(Y))
        z = posterior(samples)
        mean = (X @ self.B + z.M @ self.C.mT)[:, others]
        return mean, self._variance(z)[:, others], ~z.converged

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The bound of each sample; deviances as `FittedPLN` has them."""
        limits, eta = self.limits(X), O.expand_as(Y) + X @ self.B
        check_possible(self.zeros, Y, scored)
        counted = self.telling(scored & (limits == 0))
        z, logits = self._posterior(self._samples(X, O, Y, counted))
        bound = -z.value - (counted * log_factorial(Y)).sum(1)
        if logits is not None:
            bound = bound - torch.where(counted, softplus(logits), 0.0).sum(1)
        bound = torch.where(counted.any(1), bound, 0.0)
        eta = torch.where(limits < 0, -math.inf, eta) + torch.as_tensor(self.counted).log()
        return with_deviances(bound, Y, eta, self.latent.variances, scored, bool(z.converged.all()))

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of counts that were hidden, given the others of their samples."""
        assert data.K is not None
        X, O, Y = (tensor.detach().cpu().double() for tensor in (data.X, data.O, Y))
        scored, limits, K = scored.cpu(), self.limits(X), data.K.cpu()
        seen = torch.where(K, data.Y.detach().cpu().double(), 0.0)
        z, logits = self._posterior(self._samples(X, O, seen, self.telling(K & (limits == 0))), own=True)
        mean, variance = O + X @ self.B + z.M @ self.C.mT, self._variance(z)
        return of_hidden(Y, mean, variance, scored, limits, bool(z.converged.all()), logits)

    def mean_residuals(self, data: Dataset) -> Tensor:
        """Means over the features of c_j'm/sqrt(Sigma_jj) of the samples of the fit, in cells that count, (n,)."""
        sd, U = self.latent.variances.sqrt(), self.tensor("U")
        W, found = self.C / torch.where(sd > 0, sd, 1.0)[:, None], []
        for rows in data.blocks():
            finite = self.limits(data.X[rows]) == 0
            counts = self.telling(finite if data.K is None else finite & data.K[rows]) & (sd > 0)
            found.append(torch.where(counts, U[rows] @ W.mT, 0.0).sum(1) / counts.sum(1))
        return torch.cat(found)

    # -- diagnosis: the bound and the likelihood, in as many dimensions as components ----------------------------------

    def bounds(self, data: Dataset) -> Tensor:
        """The ELBO of each sample of the fit (n,)."""
        seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
        return self.score_samples(data.X, data.O, data.Y, seen).loglik

    def likelihood(self, data: Dataset, draws: int, generator: Generator) -> LogLikelihood:
        """Log-likelihoods of the samples of the fit, by draws of scores from their posteriors, a little wider.

        The mean of p(y, u)/g(u) over u = m + wide L e, e ~ N(0, I), LL' = S; that is, without (2 pi)^(q/2) of both,
        exp(log p(y | u) − ½ u'u + ½ e'e) |wide L|.
        """
        cells, C = self.cells(data), self.C
        (n, p), q = cells.Y.shape, C.shape[1]
        z, _ = self._posterior(self._samples(data.X, data.O, cells.Y, cells.K), own=True)
        wide = 1.0 + WIDER / math.sqrt(p)
        L = wide * torch.linalg.cholesky_ex(z.S).L
        volume = L.diagonal(dim1=1, dim2=2).log().sum(1)
        parts = []
        for rows in blocks(n, draws * p):
            E = torch.randn((len(z.M[rows]), draws, q), generator=generator, dtype=C.dtype)
            U = z.M[rows, None] + E @ L[rows].mT
            eta = cells.mean[rows, None] + U @ C.mT
            Y, logits = cells.Y[rows, None], None if cells.logits is None else cells.logits[rows, None]
            logs = torch.where(cells.K[rows, None], mixed(Y, poisson_loglik(Y, eta), logits), 0.0).sum(2)
            weights = logs + 0.5 * (E.square() - U.square()).sum(2) + volume[rows, None]
            parts.append(averaged(weights.mT))
        columns = zip(*((found.value, found.error, found.khat) for found in parts), strict=True)
        return LogLikelihood(*map(torch.cat, columns))


def doubted(samples: Samples, logits: Tensor) -> Samples:
    """Samples with zeros that may be structural, with these logits (n×p, −inf where they cannot be)."""
    assert samples.K is not None
    rows, columns = ((samples.Y == 0) & (samples.K > 0) & (logits > -math.inf)).nonzero(as_tuple=True)
    if not len(rows):
        return samples
    return replace(samples, zeros=Doubtful(rows, columns, logits[rows, columns], Nodes.of(FINEST, logits)))
