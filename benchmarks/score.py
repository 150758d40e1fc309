"""The referee: exact likelihoods in float64, written out apart from the program.

Programs leave out constants, approximate log y! or round to float32, so what they report about themselves does not
compare. Here every result is scored from its parameters alone, in the way that favours it most:

PLN: the ELBO at the rival's latent means M and variances S², with B and Sigma where they are best for these (which
is never below the ELBO at the rival's own B and Sigma). In separated cells (as in the docs) the expected
count is taken as 0, its limit along the direction in which the likelihood grows for ever, so nobody loses for not
having gone to infinity. Columns with S = 0 are Poisson regressions at exp(O + M).
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.problems import Array, Problem


def score(problem: Problem, params: dict[str, Array], separated: Array | None = None, device: str = "cpu") -> float:
    """Log-likelihood, or ELBO, of a result in nats; nan where it is not defined.

    params: M and S (n×p, M contains XB and not O, and is finite) for pln, B (d×p) for the regressions.
    separated: n×p booleans.
    """
    if problem.model == "pln":
        return elbo(problem, params["M"], params["S"], separated, device)
    return {"logistic": _logistic, "linear": _linear}[problem.model](problem, np.asarray(params["B"], float))


def elbo(problem: Problem, M: Array, S: Array, separated: Array | None, device: str = "cpu") -> float:
    """Sum of E log p(y|z) + ½ log s², minus (n/2) log|Sigma^|, where Sigma^ = (R'R + diag(sum_i s_i²)) / n."""
    import torch

    def tensor(array: Array) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, dtype=np.float64), device=device)

    Y, X, O, M, S2 = tensor(problem.Y), tensor(problem.X), tensor(problem.O), tensor(M), tensor(S).square()
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


def _logistic(problem: Problem, B: Array) -> float:
    """Minus the sum of log(1 + exp(∓eta))."""
    sign = 2.0 * problem.Y - 1.0
    return float(-np.logaddexp(0.0, -sign * (problem.O + problem.X @ B)).sum())


def _linear(problem: Problem, B: Array) -> float:
    """Gaussian log-likelihood at the best residual covariance, −(n/2)(log|R'R / n| + p log 2 pi + p)."""
    R = problem.Y - problem.O - problem.X @ B
    sign, logdet = np.linalg.slogdet(R.T @ R / problem.n)
    return float(-0.5 * problem.n * (logdet + problem.p * (math.log(2.0 * math.pi) + 1.0))) if sign > 0 else math.nan
