"""plncli in process: from tensors to estimates, with everything that `fit` does (checks, separation, certificate)."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings


def run(problem: Problem, settings: Settings, optimizer: str = "newton-cg", tol: float = 1e-6) -> Outcome:
    """Fit with the defaults of the program, unless told otherwise.

    A row of the trace is timed when the program reports it: for newton-cg after the solve of the *next* step.
    """
    loading = Clock()
    import torch

    import plncli
    from plncli import optim
    from plncli.dataset import Dataset
    from plncli.fitting import fit
    from plncli.models import MODELS
    from plncli.optim.base import StopRule

    torch.set_num_threads(settings.threads)
    load_seconds = loading()
    tables = {letter: torch.tensor(getattr(problem, letter), device=settings.device) for letter in ("Y", "X", "O")}
    data = Dataset(**tables, w=torch.ones(problem.n, dtype=torch.float64, device=settings.device))
    own = {} if problem.rank is None else {"rank": problem.rank}
    trace: list[tuple[float, float]] = []
    clock = Clock()
    stop = StopRule(tol=tol, time_limit=settings.time_limit)
    result = fit(
        MODELS[problem.model].load_model()(**own),
        data,
        optim.build(optimizer),
        stop,
        lambda step: trace.append((clock(), -step.loss)),
    )
    params = {symbol: tensor.cpu().numpy() for symbol, tensor in result.estimates.items()}
    seconds = clock()
    if "M" in params:
        params["separated"] = params["M"] == -float("inf")
        params |= {symbol: result.state[f"{symbol}_finite"].cpu().numpy() for symbol in ("B", "M")}
    optimum = result.optimum
    return Outcome(
        params,
        load_seconds,
        seconds,
        plncli.__version__,
        settings.threads,
        (*trace, (seconds, -optimum.value)),
        note=f"{optimum.status.name.lower()}, certificate {optimum.gap:.1e} nats, {optimum.steps} steps, "
        f"{optimum.products} products",
    )
