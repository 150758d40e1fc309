"""pyPLNmodels (PyPI), the Python program for the same model, with its defaults, through its documented interface."""

from __future__ import annotations

import numpy as np

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version


def run(problem: Problem, settings: Settings) -> Outcome:
    """`Pln(...).fit()`; its `latent_mean` contains XB and not the offset, as the score confirms."""
    loading = Clock()
    import torch
    from pyPLNmodels import Pln

    torch.set_num_threads(settings.threads)
    load_seconds = loading()
    offsets = np.broadcast_to(problem.O, problem.Y.shape).copy()
    clock = Clock()
    model = Pln(problem.Y, exog=problem.X, offsets=offsets, add_const=False)
    model.fit()
    fitted = {"B": model.coef, "Sigma": model.covariance, "M": model.latent_mean, "S": model.latent_sqrt_variance}
    params = {symbol: tensor.detach().cpu().numpy() for symbol, tensor in fitted.items()}
    seconds = clock()
    params["S"] = np.abs(params["S"])
    note = f"defaults; reports an ELBO of {float(model.elbo):.1f}"
    return Outcome(params, load_seconds, seconds, version("pyPLNmodels"), settings.threads, note=note)
