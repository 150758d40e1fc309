"""What a finished fit with a full posterior answers: as `FittedPLN`, with the posterior of each sample as in the fit.

None of it needs an inverse of Sigma. With lambda of the known cells of a sample, and W = (Sigma + Lambda^-1)^-1 among
them, the latent values of any features have means B'x + Sigma (y − lambda) and covariance Sigma − Sigma W Sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from plncli.dataset import Dataset
from plncli.models.abilities import LatentValues, Score
from plncli.models.pln.finished.fitted import FittedPLN, latent_values
from plncli.models.pln.finished.importance import WIDER, LogLikelihood, averaged
from plncli.models.pln.finished.scoring import of_hidden, with_deviances
from plncli.models.pln.posterior.samples import Posteriors, Samples, blocks, posteriors
from plncli.models.pln.posterior.start import root
from plncli.numerics.likelihoods import log_factorial, poisson_loglik


@dataclass(frozen=True)
class FittedFull(FittedPLN):
    """A finished fit whose q(Z_i) has a full covariance."""

    def _posteriors(self, X: Tensor, O: Tensor, Y: Tensor, counted: Tensor) -> Posteriors:
        """Of samples from the counts Y of the cells that count, n×p each."""
        K = counted.to(Y)
        return posteriors(Samples(torch.where(counted, Y, 0.0), K, O + X @ self.B, self.Sigma))

    def _transformed(self, X: Tensor, O: Tensor, Y: Tensor, K: Tensor) -> tuple[LatentValues, Tensor | None]:
        """q of each sample, as in the fit; no structural zeros."""
        limits, C = self.limits(X), X @ self.B
        z = self._posteriors(X, O, Y, K & (limits == 0))
        sd = z.variance.clamp_min(0.0).sqrt()
        return latent_values(limits, K & (Y > 0), C, C + z.r, sd, z.converged), None

    def given(
        self, X: Tensor, O: Tensor, Y: Tensor, observed: Tensor, counted: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `FittedPLN.given`, by the posterior given the observed features."""
        cells, known = torch.zeros_like(others).expand(len(X), -1).clone(), X.new_zeros((len(X), len(others)))
        cells[:, observed], known[:, observed] = counted, Y
        z = self._posteriors(X, O, known, cells)
        return (X @ self.B + z.r)[:, others], z.variance.clamp_min(0.0)[:, others], ~z.converged

    def score_samples(self, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
        """The bound of each sample; deviances as `FittedPLN` has them."""
        limits, eta = self.limits(X), O.expand_as(Y) + X @ self.B
        counted = scored & (limits == 0)
        z = self._posteriors(X, O, Y, counted)
        bound = torch.where(counted.any(1), -z.value - torch.where(counted, log_factorial(Y), 0.0).sum(1), 0.0)
        eta = torch.where(limits < 0, -math.inf, eta)
        return with_deviances(bound, Y, eta, self.latent.variances, scored, bool(z.converged.all()))

    def score_cells(self, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
        """Log-likelihoods of counts that were hidden, given the others of their samples."""
        X, O, Y = (tensor.detach().cpu().double() for tensor in (data.X, data.O, Y))
        mean, variance = O + self.tensor("M_finite"), self.tensor("S").square()
        return of_hidden(Y, mean, variance, scored.cpu(), self.limits(X))

    # -- diagnosis -----------------------------------------------------------------------------------------------------

    def bounds(self, data: Dataset) -> Tensor:
        """The ELBO of each sample of the fit (n,)."""
        seen = torch.ones_like(data.Y, dtype=torch.bool) if data.K is None else data.K
        return self.score_samples(data.X, data.O, data.Y, seen).loglik

    @cached_property
    def _root(self) -> Tensor:
        """C with CC' = Sigma, p×r."""
        C = root(self.Sigma)
        return C[:, C.square().sum(0) > 0]

    def likelihood(self, data: Dataset, draws: int, generator: Generator) -> LogLikelihood:
        """Log-likelihoods of the samples of the fit, by draws from their posteriors, a little wider.

        In standardised values u ~ N(0, I) with Z = B'x + Cu: the mean of p(y, u)/g(u) over u = m + wide L e,
        e ~ N(0, I), with m = C'(y − lambda) and LL' = (I + C'Lambda C)^-1.
        """
        cells, C = self.cells(data), self._root
        (n, p), r = cells.Y.shape, C.shape[1]
        z = posteriors(Samples(torch.where(cells.K, cells.Y, 0.0), cells.K.to(C), cells.mean, self.Sigma))
        wide, parts = 1.0 + WIDER / math.sqrt(p), []
        for rows in blocks(n, max(p, math.isqrt(draws * p))):
            counts, K = cells.Y[rows, None], cells.K[rows, None]
            inverse = C.mT @ (z.rates[rows, :, None] * C)
            inverse.diagonal(dim1=1, dim2=2).add_(1.0)
            L = torch.linalg.cholesky(inverse)
            E = torch.randn((len(L), draws, r), generator=generator, dtype=C.dtype)
            m = z.pull[rows] @ C
            U = m[:, None] + wide * torch.linalg.solve_triangular(L.mT, E.mT, upper=True).mT
            logs = torch.where(K, poisson_loglik(counts, cells.mean[rows, None] + U @ C.mT), 0.0).sum(2)
            volume = r * math.log(wide) - L.diagonal(dim1=1, dim2=2).log().sum(1)
            weights = logs + 0.5 * (E.square() - U.square()).sum(2) + volume[:, None]
            parts.append(averaged(weights.mT))
        columns = zip(*((found.value, found.error, found.khat) for found in parts), strict=True)
        return LogLikelihood(*map(torch.cat, columns))
