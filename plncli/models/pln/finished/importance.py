"""Log-likelihoods of a Poisson log-normal model, of which the ELBO is a lower bound, and how far the two lie apart.

Where Sigma is diagonal a sample's likelihood is a product of one-dimensional integrals, done by quadrature. Elsewhere
it is estimated by importance sampling: with proposals g, the mean of p(y, z)/g(z) is unbiased for the likelihood.

q of the fit has a diagonal covariance and makes a poor proposal, for the posterior is correlated. Here g is, for each
sample, the best normal distribution of any covariance: mean m and covariance V are at the fixed point

    a = exp(o + m + diag(V)/2),   V = (Omega + diag(a))^-1,   y − a − Omega (m − B'x) = 0

(Opper & Archambeau 2009), which takes a few Newton steps. Standard deviations are then widened by 1 + WIDER/sqrt(p),
since weights have a finite variance only where the tails of g cover those of the posterior; that adds 2 WIDER² = 0.25
to the variance of the log weights, in any dimension.

Whether there are enough draws is told by the shape k of the generalised Pareto distribution of the largest weights
(Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25): above 0.7 neither the estimate nor its error can be relied on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from plncli.errors import DataError
from plncli.models.inflation.cells import FINEST, Nodes, ZeroCells
from plncli.models.inflation.finished import mixed
from plncli.numerics.covariance import Covariance, definite
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.numerics.likelihoods import expected_poisson_loglik, poisson_loglik, softplus
from plncli.numerics.rows import weighted_total

WIDER = 0.35
NUMBERS = 1 << 22
"""Numbers in the largest temporary."""
STEPS = 30
"""Newton steps towards the proposal: wherever they end, the estimate is unbiased."""
FARTHEST = 2.0
"""Longest step of a latent mean."""
MOST = 700.0
"""Expected count whose exponential is 0 to the last digit."""
UNRELIABLE = 0.7
"""Shape k of the largest weights above which they are too few."""


@dataclass(frozen=True)
class Cells:
    """Counts of n samples × p features and their latent layer, on the log scale of the expected counts.

    Y: counts; K: True where a cell counts (observed, and expected to be more than 0); mean: O + XB, finite;
    covariance: of the latent layer; logits: of the probability that a zero is structural, n×p, −inf where there are
    none, None without any.
    """

    Y: Tensor = field(repr=False)
    K: Tensor = field(repr=False)
    mean: Tensor = field(repr=False)
    covariance: Covariance = field(repr=False)
    logits: Tensor | None = field(repr=False, default=None)

    @property
    def latent(self) -> Tensor:
        """Indices of the features that have a latent layer."""
        return self.covariance.varied

    @property
    def variances(self) -> Tensor:
        """Of the latent layer (p,)."""
        return self.covariance.variances

    def logits_of(self, features: Tensor) -> Tensor | None:
        """The logits of some features (indices)."""
        return None if self.logits is None else self.logits[:, features]


@dataclass(frozen=True)
class LogLikelihood:
    """By sample, (n,) each: log-likelihood, its standard error, and k of the weights; by quadrature 0 and nan."""

    value: Tensor
    error: Tensor
    khat: Tensor


def sample_bounds(cells: Cells, M: Tensor, S2: Tensor) -> Tensor:
    """The ELBO of each sample (n,), q having means M (n×p, with the offset; finite) and variances S2."""
    at = cells.latent
    value = _poisson(cells)
    if not len(at):
        return value
    Omega = definite(cells.covariance.precision())
    M, S2, Y, K = M[:, at], S2[:, at], cells.Y[:, at], cells.K[:, at]
    R = M - cells.mean[:, at]
    value = value + torch.where(K, expected_loglik(Y, M, S2, cells.logits_of(at)), 0.0).sum(1)
    value = value + 0.5 * S2.log().sum(1)
    spread = (Omega.times(R) * R).sum(1) + S2 @ Omega.diagonal
    return value - 0.5 * (spread - Omega.logdet - len(at))


def expected_loglik(Y: Tensor, M: Tensor, S2: Tensor, logits: Tensor | None) -> Tensor:
    """E log p(y | z) under z ~ N(M, S2), n×p."""
    counted = expected_poisson_loglik(Y, M, S2)
    if logits is None:
        return counted
    doubt = (Y == 0) & (logits > -math.inf)
    found = counted - softplus(logits)
    z = logits[doubt]
    loss = ZeroCells(M[doubt], S2[doubt].sqrt(), z, Nodes.of(FINEST, Y)).loss
    return found.index_put((doubt,), -loss - softplus(z))


def log_likelihood(cells: Cells, M: Tensor, S2: Tensor, draws: int, generator: Generator) -> LogLikelihood:
    """Log-likelihood of each sample. M, S2: where the search for proposals starts, as in `sample_bounds`."""
    n, at = len(cells.Y), cells.latent
    value, error = _poisson(cells), cells.Y.new_zeros(n)
    khat = torch.full_like(error, math.nan)
    if cells.covariance.independent:
        logs = poisson_lognormal_logpmf(cells.Y[:, at], cells.mean[:, at], cells.variances[at])
        logs = mixed(cells.Y[:, at], logs, cells.logits_of(at))
        return LogLikelihood(value + torch.where(cells.K[:, at], logs, 0.0).sum(1), error, khat)
    precision = definite(cells.covariance.precision())
    Omega = precision.dense()
    parts = (cells.Y[:, at], cells.K[:, at].to(cells.Y), cells.mean[:, at], M[:, at], S2[:, at])
    p, logits = len(at), cells.logits_of(at)
    for rows in torch.arange(n).split(max(1, NUMBERS // (p * p))):
        Y, K, mean, m, v = (part[rows] for part in parts)
        z = None if logits is None else logits[rows]
        proposal = _proposal(Y, K, mean, m, v, Omega, z)
        weights = _log_weights(Y, K, mean, *proposal, Omega, draws, generator, z)
        weights = weights + 0.5 * precision.logdet - (K * torch.lgamma(Y + 1.0)).sum(1)
        found = averaged(weights)
        value[rows] += found.value
        error[rows], khat[rows] = found.error, found.khat
    return LogLikelihood(value, error, khat)


def likelihood_facts(found: LogLikelihood, bounds: Tensor, w: Tensor, draws: int, exact: bool) -> dict[str, Any]:
    """What a diagnosis tells of log-likelihoods beside their bounds (n,); exact: by quadrature."""
    gap = found.value - bounds
    facts: dict[str, Any] = {
        "loglik": float(weighted_total(w, found.value)),
        "loglik_se": float((w * found.error).square().sum().sqrt()),
        "loglik_by": "quadrature" if exact else "importance sampling",
        "gap": float(weighted_total(w, gap)),
        "gap_by_sample": {"median": float(gap.median()), "largest": float(gap.max())},
    }
    if not exact:
        facts["draws"] = draws
        facts["khat"] = {
            "median": float(found.khat.median()),
            "largest": float(found.khat.max()),
            "unreliable": int(found.khat.gt(UNRELIABLE).sum()),
        }
    return facts


def averaged(weights: Tensor) -> LogLikelihood:
    """Logs of the means of weights that are given by their logs, draws×n."""
    top = weights.amax(0)
    relative = (weights - top).exp()
    average = relative.mean(dim=0)  # over draws
    error = relative.std(dim=0) / average / math.sqrt(len(weights))
    return LogLikelihood(top + average.log(), error, pareto_shape(weights))


def _poisson(cells: Cells) -> Tensor:
    """(n,) log-likelihood of the features without a latent layer."""
    still = (cells.variances == 0).nonzero()[:, 0]
    logs = mixed(cells.Y[:, still], poisson_loglik(cells.Y[:, still], cells.mean[:, still]), cells.logits_of(still))
    return torch.where(cells.K[:, still], logs, 0.0).sum(1)


def _proposal(
    Y: Tensor, K: Tensor, mean: Tensor, m: Tensor, v: Tensor, Omega: Tensor, logits: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Means (b×p) of the proposals, and the Cholesky factors (b×p×p) of their precisions."""

    def means(m: Tensor, v: Tensor) -> Tensor:
        a = K * (m + 0.5 * v).exp()
        return a if logits is None else torch.where(Y > 0, a, a * (-a.clamp(max=MOST) - logits).sigmoid())

    for _ in range(STEPS):
        a = means(m, v)
        if not bool(torch.isfinite(a).all()):
            raise DataError("The latent means of the fit expect counts that no number holds: it is damaged. Fit again.")
        C = torch.linalg.cholesky(Omega + torch.diag_embed(a))
        slope = K * Y - a - (m - mean) @ Omega
        step = torch.cholesky_solve(slope[:, :, None], C)[:, :, 0]
        v_next = torch.cholesky_inverse(C).diagonal(dim1=1, dim2=2)
        m = m + step.clamp(-FARTHEST, FARTHEST)
        change = max(float(step.abs().max()), float((v_next - v).abs().max()))
        v = v_next
        if change < 1e-3:
            break
    a = means(m, v)
    return m, torch.linalg.cholesky(Omega + torch.diag_embed(a))


def _log_weights(
    Y: Tensor,
    K: Tensor,
    mean: Tensor,
    m: Tensor,
    C: Tensor,
    Omega: Tensor,
    draws: int,
    generator: Generator,
    logits: Tensor | None,
) -> Tensor:
    """Logs of p(y, z)/g(z), without log y! and ½ log |Sigma|; draws×b. The ½ p log 2 pi of both cancel."""
    b, p = Y.shape
    wide = 1.0 + WIDER / math.sqrt(p)
    log_density = C.diagonal(dim1=1, dim2=2).log().sum(1) - p * math.log(wide)
    out = []
    for some in torch.arange(draws).split(max(1, NUMBERS // (b * p))):
        E = torch.randn((b, p, len(some)), generator=generator, dtype=Y.dtype)
        eta = m[:, :, None] + wide * torch.linalg.solve_triangular(C.mT, E, upper=True)
        R = eta - mean[:, :, None]
        counts = Y[:, :, None]
        known = mixed(counts, counts * eta - eta.exp(), None if logits is None else logits[:, :, None])
        log = (K[:, :, None] * known).sum(1) - 0.5 * ((Omega @ R) * R).sum(1)
        out.append((log + 0.5 * E.square().sum(1) - log_density[:, None]).mT)
    return torch.cat(out)


def pareto_shape(log_weights: Tensor) -> Tensor:
    """Shape k of the largest weights of each column (draws×n -> (n,)); −inf where they are all equal.

    The tail is the ceil(min(draws/5, 3 sqrt(draws))) largest weights less the next one; k is that of Zhang & Stephens
    (2009, Technometrics 51), drawn towards ½ as if by 10 more weights (Vehtari et al. 2024, appendix G).
    """
    draws = len(log_weights)
    many = math.ceil(min(draws / 5, 3.0 * math.sqrt(draws)))
    if many < 5:
        return torch.full_like(log_weights[0], math.nan)
    top = (log_weights - log_weights.amax(0)).topk(many + 1, dim=0).values.flip(0).exp()
    x = top[1:] - top[0]
    k = _generalised_pareto_shape(x)
    k = (many * k + 5.0) / (many + 10)
    return torch.where(x[-1] > 0, k, -math.inf)


def _generalised_pareto_shape(x: Tensor) -> Tensor:
    """Shape of generalised Pareto distributions with exceedances x (m×n, ascending): Zhang & Stephens' estimate."""
    m = len(x)
    grid = 30 + int(math.sqrt(m))
    steps = torch.arange(1, grid + 1, dtype=x.dtype)[:, None] - 0.5
    quartile = x[int(m / 4 + 0.5) - 1].clamp_min(torch.finfo(x.dtype).tiny)
    theta = (1.0 - (grid / steps).sqrt()) / (3.0 * quartile) + 1.0 / x[-1]  # grid×n
    k = torch.stack([torch.log1p(-t * x).mean(dim=0) for t in theta])
    likelihood = m * ((-theta / k).log() - k - 1.0)
    weight = torch.softmax(likelihood.nan_to_num(nan=-math.inf), 0)
    best = (theta * weight).sum(dim=0)  # over the grid
    return torch.log1p(-best * x).mean(dim=0)  # over the largest weights
