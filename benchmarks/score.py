"""The referee: exact likelihoods in float64, written out apart from the program.

Programs leave out constants, approximate log y! or round to float32, so what they report about themselves does not
compare. Here every result is scored from its parameters alone, in the way that favours it most:

PLN: the ELBO at the rival's latent means M and variances S², with B and Sigma where they are best for these (which
is never below the ELBO at the rival's own B and Sigma). In separated cells (as in the docs) the expected
count is taken as 0, its limit along the direction in which the likelihood grows for ever, so nobody loses for not
having gone to infinity. Columns with S = 0 are Poisson regressions at exp(O + M).

PLN-PCA: the ELBO at the rival's B and loadings C, with the posterior N(m, S) of each sample's scores that is best for
these, S a full q×q matrix. It is never below the ELBO of posteriors with a diagonal S. The posteriors are found by
plncli's code, for everybody; the bound at them is written out here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.problems import Array, Problem

UNSOLVED = 1e-5
"""Nats that the posteriors of all samples may lack; where they lack more, there is no score."""


def score(problem: Problem, params: dict[str, Array], separated: Array | None = None, device: str = "cpu") -> float:
    """Log-likelihood, or ELBO, of a result in nats; nan where it is not defined.

    params: M and S (n×p, M contains XB and not O, and is finite) for pln, B (d×p, finite) for the others, with C (p×q)
    for pln-pca. separated: n×p booleans.
    """
    if problem.model == "pln":
        return elbo(problem, params["M"], params["S"], separated, device)
    if problem.model == "pln-pca":
        return elbo_of_components(problem, params["B"], params["C"], separated, device)
    return {"logistic": _logistic, "linear": _linear}[problem.model](problem, np.asarray(params["B"], float))


def elbo(problem: Problem, M: Array, S: Array, separated: Array | None, device: str = "cpu") -> float:
    """Sum of E log p(y|z) + ½ log s², minus (n/2) log|Sigma^|, where Sigma^ = (R'R + diag(sum_i s_i²)) / n."""
    import torch

    Y, X, O, M, S = _tensors(device, problem.Y, problem.X, problem.O, M, S)
    S2 = S.square()
    eta = O + M
    cells = Y * eta - (eta + 0.5 * S2).exp() - torch.lgamma(Y + 1.0)
    if separated is not None:
        cells = cells.masked_fill(torch.as_tensor(separated, device=device), 0.0)
    latent = (S2 > 0).any(0)
    M, S2 = M[:, latent], S2[:, latent]
    Q, _ = torch.linalg.qr(X)
    R = M - Q @ (Q.mT @ M)
    Sigma = (R.mT @ R + torch.diag(S2.sum(0))) / problem.n
    scale = Sigma.diagonal().sqrt()
    factor, failed = torch.linalg.cholesky_ex(Sigma / scale / scale[:, None])
    if int(failed):
        return math.nan
    logdet = 2.0 * (factor.diagonal().log().sum() + scale.log().sum())
    return float(cells.sum() + 0.5 * S2.log().sum() - 0.5 * problem.n * logdet)


def elbo_of_components(problem: Problem, B: Array, C: Array, separated: Array | None, device: str = "cpu") -> float:
    """Sum of E log p(y|u) − ½ (m'm + tr S − log|S| − q), for scores u ~ N(m, S) and the log-means O + XB + uC'."""
    import torch

    from plncli.models.pca.cells import Loadings, Samples
    from plncli.models.pca.posterior import posterior
    from plncli.models.pca.triangle import Triangle

    Y, X, O, B, C = _tensors(device, problem.Y, problem.X, problem.O, B, C)
    K = torch.ones_like(Y) if separated is None else _tensors(device, ~separated)[0]
    found = posterior(Samples(Y * K, K, O + X @ B, Loadings(C, Triangle(Y, C.shape[1]))))
    if not float(found.gap.sum()) < UNSOLVED:
        return math.nan
    m, S = found.M, found.S
    eta, variance = O + X @ B + m @ C.mT, ((C @ S) * C).sum(2)
    cells = K * (Y * eta - (eta + 0.5 * variance).exp() - torch.lgamma(Y + 1.0))
    divergence = m.square().sum(1) + S.diagonal(dim1=1, dim2=2).sum(1) - torch.logdet(S) - C.shape[1]
    return float(cells.sum() - 0.5 * divergence.sum())


def _tensors(device: str, *arrays: Array) -> list[Any]:
    """The arrays as float64 tensors on the device."""
    import torch

    return [torch.as_tensor(np.asarray(array, dtype=np.float64), device=device) for array in arrays]


def _logistic(problem: Problem, B: Array) -> float:
    """Minus the sum of log(1 + exp(∓eta))."""
    sign = 2.0 * problem.Y - 1.0
    return float(-np.logaddexp(0.0, -sign * (problem.O + problem.X @ B)).sum())


def _linear(problem: Problem, B: Array) -> float:
    """Gaussian log-likelihood at the best residual covariance, −(n/2)(log|R'R / n| + p log 2 pi + p)."""
    R = problem.Y - problem.O - problem.X @ B
    sign, logdet = np.linalg.slogdet(R.T @ R / problem.n)
    return float(-0.5 * problem.n * (logdet + problem.p * (math.log(2.0 * math.pi) + 1.0))) if sign > 0 else math.nan
