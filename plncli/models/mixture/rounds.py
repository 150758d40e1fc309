"""Expectation and maximisation in turn: from who is where, roughly, to where Newton's method can begin."""

from __future__ import annotations

import torch
from torch import Tensor

from plncli.arrays import Params
from plncli.models.mixture.objective import Evaluation, Table
from plncli.models.pln.variational_step import STEPS, Samples, variational_step
from plncli.numerics.rows import gram, grand_total, weigh

PASSES = 4
"""Steps of Newton's method for q in a round."""
LEVELS = 12
"""Rounds in which probabilities are flattened, less and less."""
STABLE = 1e-3
"""Sum of changes in who is where, as a share of all samples, below which rounds end."""


def rounds(params: Params, table: Table, number: int) -> Params:
    """So many rounds at most (Dempster, Laird & Rubin 1977): q of each sample in each cluster, tau, and beta.

    Newton's method could not do it: the bound is concave in tau but for its entropy, and has a ridge between any two
    clusters.
    """
    for _ in range(number):
        before = params["zeta"].softmax(1)
        params = posterior(params, table, PASSES)
        params["beta"] = _shared(params, table)
        moved = grand_total(weigh(table.w, (params["zeta"].softmax(1) - before).abs()))
        if not float(moved) >= STABLE * table.wbar:
            break
    return params


def annealed(params: Params, table: Table, heat: float) -> Params:
    """Rounds with probabilities flattened, tau^heat at first and tau at last (Ueda & Nakano 1998).

    With many features each sample is surely of some cluster from the first round on, and stays there; flattened,
    clusters are where most samples are before single ones decide.
    """
    for level in range(LEVELS):
        params = posterior(params, table, PASSES)
        params["beta"] = _shared(params, table)
        params["zeta"] = torch.log_softmax(heat ** (1.0 - level / (LEVELS - 1)) * params["zeta"], 1)
    return params


def posterior(params: Params, table: Table, steps: int = STEPS) -> Params:
    """q of each sample in each cluster, and tau, where they are best for the clusters as they are."""
    at = Evaluation(params, table)
    if not bool(torch.isfinite(at.value)):
        return dict(params)
    centre, K = table.T @ at.beta, torch.ones_like(table.Y) if table.K is None else table.K
    found, heights = [], []
    for k, (mu, q) in enumerate(zip(at.mu, at.q.unbind(1), strict=True)):
        part = at.parts[k if len(at.parts) > 1 else 0]
        Omega, (M, psi) = part.layer.inverse(), q
        samples = Samples(table.Y, K, table.O.expand_as(table.Y), mu + centre, Omega)
        step = variational_step(table.Y, K, table.O, mu + centre, Omega, (M, psi), steps=steps)
        found.append(torch.stack([step.M, 2.0 * step.S.log()]))
        heights.append(samples.value(*found[-1]) + part.layer.value / part.table.wbar - at.log_pi[k])
    return {**params, "q": torch.stack(found, 1), "zeta": torch.log_softmax(-torch.stack(heights, 1), 1)}


def _shared(params: Params, table: Table) -> Tensor:
    """Least squares of the latent means, less those of their cluster: the best beta where covariances are alike."""
    T = table.T
    if not T.shape[1]:
        return params["beta"]
    at = Evaluation({**params, "beta": torch.zeros_like(params["beta"])}, table)
    left, right = torch.zeros_like(gram(T, T)), torch.zeros_like(params["beta"])
    for w, size, R in zip(at.W, at.sizes, at.R, strict=True):
        centred = weigh(w, T - gram(T, w) / size)
        left, right = left + gram(T, centred), right + gram(centred, R)
    return torch.linalg.lstsq(left, right, driver="gelsd").solution
