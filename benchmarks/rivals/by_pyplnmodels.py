"""pyPLNmodels (PyPI), the Python program for the same models, with its defaults, through its documented interface."""

from __future__ import annotations

import numpy as np

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version


def run(problem: Problem, settings: Settings) -> Outcome:
    """`Pln(...).fit()`, or `PlnPCA(...).fit()` where the problem has a rank.

    `latent_mean` of Pln contains XB and not the offset, as the score confirms; `components` of PlnPCA are the loadings:
    its `covariance` is CC'.
    """
    loading = Clock()
    import torch
    from pyPLNmodels import Pln, PlnPCA

    torch.set_num_threads(settings.threads)
    load_seconds = loading()
    offsets = np.broadcast_to(problem.O, problem.Y.shape).copy()
    tables = {"exog": problem.X, "offsets": offsets, "add_const": False}
    clock = Clock()
    if problem.rank is None:
        model = Pln(problem.Y, **tables)
        model.fit()
        fitted = {"Sigma": model.covariance, "M": model.latent_mean, "S": model.latent_sqrt_variance.abs()}
    else:
        model = PlnPCA(problem.Y, rank=problem.rank, **tables)
        model.fit()
        fitted = {"C": model.components}
    params = {symbol: tensor.detach().cpu().numpy() for symbol, tensor in {"B": model.coef, **fitted}.items()}
    seconds = clock()
    note = f"defaults; reports an ELBO of {float(model.elbo):.1f}"
    if problem.rank is not None:
        steps = model.optim_details["Number of iterations done"]
        note += f", that of diagonal posteriors, after {steps} iterations"
    return Outcome(params, load_seconds, seconds, version("pyPLNmodels"), settings.threads, note=note)
