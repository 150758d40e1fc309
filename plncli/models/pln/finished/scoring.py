"""How well a fit predicts counts that it has not seen: log-likelihoods and deviances of held-out samples, or cells.

The log-likelihood of a held-out sample is bounded as that of the fit is: with the parameters B and Sigma held, q of the
sample is where its own bound is highest (`variational_step`). A cell that was hidden from the fit has a distribution of
one count: with Omega the precision, u the cells of its sample that the fit could not see and o the others, of which q
knows mean m and standard deviation s,

    Z_u ~ Normal(B'x + G (m_o − B_o'x), Omega_uu^-1 + G diag(s_o²) G'),   G = −Omega_uu^-1 Omega_uo,

whose mean is that of q; the variance of q, 1/omega_jj, would take the other cells as known.

Deviances are of counts against the median exp(eta) of their rate, eta being the mean of its logarithm and v the
variance. Its mean exp(eta + v/2), of which there are deviances too, exceeds any count where v is large, and the
deviance grows as it does: a single feature can drown all others. Against a median too low it grows as its logarithm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plncli.dataset import Dataset
from plncli.errors import DataError
from plncli.errors import counted as number_of
from plncli.models.abilities import Score
from plncli.models.inflation.cells import FINEST, Nodes
from plncli.models.inflation.finished import StructuralZeros, mixed
from plncli.models.inflation.spec import TERMS
from plncli.models.pln.finished.latent import FittedLatent
from plncli.models.pln.variational_step import Samples
from plncli.numerics.covariance import Precision, definite
from plncli.numerics.distributions import poisson_lognormal_logpmf
from plncli.numerics.likelihoods import log_factorial, poisson_deviance, poisson_loglik, softplus


def of_samples(known: FittedLatent, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> Score:
    """The bound of each sample; features without variance are Poisson regressions beside it.

    Cells that are not scored count as unobserved, as they would in a fit. X n×d, O n×p or n×1, Y and scored n×p.
    """
    check_possible(known.zeros, Y, scored)
    bound, converged = sample_bounds(known, X, O, Y, scored)
    eta = _eta(known, X, O.expand_as(Y)) + torch.as_tensor(known.counted).log()
    return with_deviances(bound, Y, eta, known.latent.variances, scored, bool(converged.all()))


def sample_bounds(known: FittedLatent, X: Tensor, O: Tensor, Y: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """The bound of each sample, (n,), and whether its q was found; as `of_samples`."""
    O, counted = O.expand_as(Y), known.telling(scored & (known.limits(X) == 0)).to(Y)
    return bounds(known, O, known.mean(X), Y, counted, _eta(known, X, O), scored)


def _eta(known: FittedLatent, X: Tensor, O: Tensor) -> Tensor:
    """Linear predictors, −inf where no count is expected, n×p."""
    return torch.where(known.limits(X) < 0, -math.inf, O + known.mean(X))


def bounds(
    known: FittedLatent, O: Tensor, C: Tensor, Y: Tensor, counted: Tensor, eta: Tensor, scored: Tensor
) -> tuple[Tensor, Tensor]:
    """The bound of each sample about latent means C, (n,), and whether its q was found; all else n×p.

    counted: 1 where a cell of the latent layer counts; eta: log rates of features without variance, −inf where no count
    is expected, of which those that are `scored` count.
    """
    variance, v = known.latent.variances, known.latent.varied
    Omega = definite(known.latent.precision())
    step, logits = known.step(Y, counted, O, C, Omega)
    Z = None if logits is None else logits[:, v]
    samples = Samples(Y[:, v], counted[:, v], O[:, v], C[:, v], Omega, Z, Nodes.of(FINEST, Y))
    bound = -samples.value(step.M, 2.0 * step.S.log()) - (samples.K * log_factorial(samples.Y)).sum(1)
    if Z is not None:
        bound = bound - torch.where(samples.K > 0, softplus(Z), 0.0).sum(1)
    if len(v):
        bound = bound + 0.5 * (Omega.logdet + len(v))
    bound = torch.where(samples.K.any(1), bound, 0.0)  # q of nothing bounds a likelihood of 1, not tightly
    flat = known.telling(scored) & (variance == 0)
    return bound + torch.where(flat, mixed(Y, poisson_loglik(Y, eta), logits), 0.0).sum(1), step.converged


def of_cells(known: FittedLatent, data: Dataset, Y: Tensor, scored: Tensor) -> Score:
    """The score of cells (n×p booleans) of the fit's own samples that the mask of `data` hid; Y holds their counts.

    The deviances are those against median and mean of the distribution above, times exp(o).
    """
    assert data.K is not None
    X, O, Y = (tensor.detach().cpu().double() for tensor in (data.X, data.O, Y))
    M, S, v = known.tensor("M_finite"), known.tensor("S"), known.latent.varied
    scored, limits = scored.cpu(), known.limits(X)
    counted = data.K.cpu() & (limits == 0)
    variance = torch.zeros_like(M)
    if len(v):
        Omega = definite(known.latent.precision())
        variance[:, v] = _unseen_variance(Omega, counted[:, v], S[:, v].square(), scored[:, v])
    return of_hidden(Y, O + M, variance, scored, limits, logits=known.own_logits(len(Y)))


def of_hidden(
    Y: Tensor,
    mean: Tensor,
    variance: Tensor,
    scored: Tensor,
    limits: Tensor,
    converged: bool = True,
    logits: Tensor | None = None,
) -> Score:
    """The score of counts whose log rates have that mean and variance, n×p each, or −inf at their limits.

    logits: of the probability that a zero is structural, n×p.
    """
    mean = torch.where(limits < 0, -math.inf, mean)
    at = (scored & (limits == 0)).nonzero(as_tuple=True)
    loglik = torch.zeros_like(mean)
    loglik[at] = poisson_lognormal_logpmf(Y[at], mean[at], variance[at])
    if logits is not None:
        loglik[at] = mixed(Y[at], loglik[at], logits[at])
        mean = mean + torch.nn.functional.logsigmoid(-logits)
    return with_deviances(loglik, Y, mean, variance, scored, converged)


def check_possible(zeros: StructuralZeros | None, Y: Tensor, scored: Tensor) -> None:
    """DataError for counts above 0 where all zeros are structural: no score is finite with them."""
    if zeros is not None and zeros.of == TERMS:
        impossible = scored & (Y > 0) & (zeros.logits == math.inf)
        if bool(impossible.any()):
            raise DataError(
                f"{number_of(int(impossible.sum()), 'held-out count')} of probability 0: a coefficient of "
                "--zero-inflation is infinite. Take a formula with fewer terms."
            )


def _unseen_variance(Omega: Precision, counted: Tensor, S2: Tensor, wanted: Tensor) -> Tensor:
    """diag(Omega_uu^-1 + G diag(s_o²) G') in the cells of each sample that don't count, n×p; 0 elsewhere."""
    out = torch.zeros_like(S2)
    for i in wanted.any(1).nonzero()[:, 0].tolist():
        u, o = (~counted[i]).nonzero()[:, 0], counted[i].nonzero()[:, 0]
        inverse = torch.linalg.inv(Omega.block(u, u))
        G = inverse @ Omega.block(u, o)
        out[i, u] = inverse.diagonal() + G.square() @ S2[i, o]
    return out


def with_deviances(
    loglik: Tensor, Y: Tensor, eta: Tensor, variance: Tensor, scored: Tensor, converged: bool = True
) -> Score:
    """The score with Poisson deviances of counts against medians and means of their rates, n×p, 0 where not scored."""
    counts = torch.where(scored, Y, 0.0)
    of_medians, of_means = (
        torch.where(scored, poisson_deviance(counts, log_rate.exp()), 0.0) for log_rate in (eta, eta + 0.5 * variance)
    )
    return Score(loglik, of_medians, converged, of_means)
