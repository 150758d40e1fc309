"""How well a fit foretells what it has not seen: log-likelihoods and deviances of held-out samples, or cells.

The log-likelihood of a held-out sample of a Poisson log-normal model is bounded as that of the fit is: with the
parameters B and Sigma held, q of the sample is where its own bound is highest (`models.pln_step`). A cell that was
hidden from the fit has a distribution of one count: with Omega the precision, u the cells of its sample that the fit
could not see and o the others, of which q knows mean m and standard deviation s,

    Z_u ~ Normal(B'x + G (m_o − B_o'x), Omega_uu^-1 + G diag(s_o²) G'),   G = −Omega_uu^-1 Omega_uo,

whose mean is that of q; the variance of q, 1/omega_jj, would take the other cells as known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from plncli.errors import DataError
from plncli.models.pln.variational_step import Samples, variational_step
from plncli.models.prediction import Parameters
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.numerics.likelihoods import bernoulli_loglik, log_factorial, poisson_deviance, poisson_loglik
from plncli.numerics.linalg import Factor, cholesky_scaled
from plncli.results import FitResult


class Score(NamedTuple):
    """Log-likelihood in nats: of samples, a bound for pln, (n,); or of cells, n×p. Deviance: n×p. 0 if not scored.

    converged: whether q of every sample is where the bound is highest; elsewhere it is a bound too, but a lower one.
    """

    loglik: Tensor
    deviance: Tensor
    converged: bool = True


def of_samples(fit: FitResult, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
    """The score of samples that the fit has not seen: X n×d, O n×p or n×1, Y and scored (booleans) n×p.

    Deviances are of means for which nothing but covariates and offset is known: pln: of counts against their expected
    value exp(o + x'B + Sigma_jj/2); logistic: of classes; linear: squared errors.
    """
    known = Parameters.of(fit)
    X, O, Y, scored = (tensor.detach().cpu().double() for tensor in (X, O, Y, scored))
    if known.model == "pln":
        return _pln_samples(known, X, O, Y, scored > 0)
    eta = O + X @ known.B
    if known.model == "logistic":
        cells = scored * bernoulli_loglik(2.0 * Y - 1.0, eta)
        return Score(cells.sum(1), -2.0 * cells)
    factor = _factor(fit.estimates["Sigma"].detach().cpu().double())
    R = scored * (Y - eta)
    distance = (R @ factor.inverse() * R).sum(1)
    density = -0.5 * (distance + factor.logdet + R.shape[1] * math.log(2.0 * math.pi))
    return Score(torch.where(scored.any(1), density, 0.0), R.square())


def _factor(A: Tensor) -> Factor:
    factor = cholesky_scaled(A)
    if factor is None:
        raise DataError("The fit's covariance is not positive definite to rounding; fit with --dtype float64.")
    return factor


def _pln_samples(known: Parameters, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
    """The bound of each sample; features without variance are Poisson regressions beside it.

    Cells that are not scored count as unobserved, as they would in a fit.
    """
    assert known.Sigma is not None and known.Omega is not None
    course, C, O = known.course(X), X @ known.B, O.expand_as(Y)
    counted = (scored & (course == 0)).to(Y)
    variance = known.Sigma.diagonal()
    v = (variance > 0).nonzero()[:, 0]
    Omega = known.Omega[v][:, v]
    samples = Samples(Y[:, v], counted[:, v], O[:, v], C[:, v], Omega)
    step = variational_step(samples.Y, samples.K, samples.O, samples.C, Omega)
    bound = -samples.value(step.M, 2.0 * step.S.log()) - (samples.K * log_factorial(samples.Y)).sum(1)
    if len(v):
        bound = bound + 0.5 * (_factor(Omega).logdet + len(v))
    bound = torch.where(samples.K.any(1), bound, 0.0)  # q of nothing bounds a likelihood of 1, not tightly
    eta = torch.where(course < 0, -math.inf, O + C)
    flat = scored & (variance == 0)
    bound = bound + torch.where(flat, poisson_loglik(Y, eta), 0.0).sum(1)
    return Score(bound, _deviance(Y, eta + 0.5 * variance, scored), bool(step.converged.all()))


def of_cells(fit: FitResult, Y: Tensor, scored: Tensor) -> Score:
    """The score of cells (n×p booleans) of the fit's own samples that its mask hid; Y holds their counts. For pln.

    The deviance is that against exp(o + mean + variance/2) of the distribution above.
    """
    known, data = Parameters.of(fit), fit.data
    assert data.K is not None and known.Sigma is not None and known.Omega is not None
    X, O, Y, M, S = (t.detach().cpu().double() for t in (data.X, data.O, Y, fit.state["M_finite"], fit.estimates["S"]))
    scored, course = scored.cpu(), known.course(X)
    counted = data.K.cpu() & (course == 0)
    v = (known.Sigma.diagonal() > 0).nonzero()[:, 0]
    variance = torch.zeros_like(M)
    variance[:, v] = _unseen_variance(known.Omega[v][:, v], counted[:, v], S[:, v].square(), scored[:, v])
    mean = torch.where(course < 0, -math.inf, O + M)
    at = (scored & (course == 0)).nonzero(as_tuple=True)
    loglik = torch.zeros_like(M)
    loglik[at] = poisson_lognormal_logpmf(Y[at], mean[at], variance[at])
    return Score(loglik, _deviance(Y, mean + 0.5 * variance, scored))


def _unseen_variance(Omega: Tensor, counted: Tensor, S2: Tensor, wanted: Tensor) -> Tensor:
    """diag(Omega_uu^-1 + G diag(s_o²) G') in the cells of each sample that don't count, n×p; 0 elsewhere."""
    out = torch.zeros_like(S2)
    for i in wanted.any(1).nonzero()[:, 0].tolist():
        u, o = (~counted[i]).nonzero()[:, 0], counted[i].nonzero()[:, 0]
        inverse = torch.linalg.inv(Omega[u][:, u])
        G = inverse @ Omega[u][:, o]
        out[i, u] = inverse.diagonal() + G.square() @ S2[i, o]
    return out


def _deviance(Y: Tensor, log_mean: Tensor, scored: Tensor) -> Tensor:
    """Poisson deviance of counts against their expected values, n×p, 0 where not scored."""
    return torch.where(scored, poisson_deviance(torch.where(scored, Y, 0.0), log_mean.exp()), 0.0)
