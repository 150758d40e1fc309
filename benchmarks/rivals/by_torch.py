"""Plain torch: the same profiled bound as a user of torch would write it, handed to torch.optim.

It starts where plncli starts, in float64 and in the same variables (M, log S²), and stops when a window of steps gains
less than plncli's default tolerance, 1e-6 nats per sample; nothing certifies that this is the optimum.
"""

from __future__ import annotations

from typing import Any

from benchmarks.problems import Problem
from benchmarks.rivals.base import Clock, Outcome, Settings, version

TOL = 1e-6


def lbfgs(problem: Problem, settings: Settings) -> Outcome:
    """torch.optim.LBFGS with strong Wolfe line search and 20 pairs, in runs of 10 iterations."""
    options = {"max_iter": 10, "max_eval": 250, "history_size": 20, "line_search_fn": "strong_wolfe"}
    return _fit(problem, settings, "LBFGS", options | {"tolerance_grad": 0.0, "tolerance_change": 0.0}, window=1)


def rprop(problem: Problem, settings: Settings) -> Outcome:
    """torch.optim.Rprop, the first-order method that does best on this objective."""
    return _fit(problem, settings, "Rprop", {"lr": 0.01}, window=50)


def _fit(problem: Problem, settings: Settings, name: str, options: dict[str, Any], window: int) -> Outcome:
    loading = Clock()
    import torch

    torch.set_num_threads(settings.threads)
    load_seconds = loading()
    Y, X, O = (torch.tensor(table, device=settings.device) for table in (problem.Y, problem.X, problem.O))
    clock = Clock()
    n, constant = problem.n, torch.lgamma(Y + 1.0).sum()
    Q, _ = torch.linalg.qr(X)
    M = (Y.log1p() - O).requires_grad_(True)
    psi = (-(2.0 + Y).log()).requires_grad_(True)
    optimizer = getattr(torch.optim, name)([M, psi], **options)
    trace: list[tuple[float, float]] = []

    def minus_elbo() -> torch.Tensor:
        eta, S2 = O + M, psi.exp()
        R = M - Q @ (Q.mT @ M)
        Sigma = (R.mT @ R + torch.diag(S2.sum(0))) / n
        factor, failed = torch.linalg.cholesky_ex(Sigma)
        half_logdet = factor.diagonal().log().sum() if int(failed) == 0 else torch.tensor(float("inf"), device=Y.device)
        return ((eta + 0.5 * S2).exp() - Y * eta - 0.5 * psi).sum() + n * half_logdet + constant

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = minus_elbo()
        loss.backward()
        trace.append((clock(), -float(loss.detach())))
        return loss

    ended = _loop(optimizer, closure, trace, clock, settings.time_limit, TOL * n, window)
    params = {"M": M.detach().cpu().numpy(), "S": (0.5 * psi.detach()).exp().cpu().numpy()}
    note = f"{ended} after {len(trace)} evaluations"
    return Outcome(params, load_seconds, clock(), version("torch"), settings.threads, tuple(trace), note=note)


def _loop(optimizer: Any, closure: Any, trace: list, clock: Clock, time_limit: float, least: float, window: int) -> str:
    """Step until a window of steps gains less than `least` nats; says how it ended."""
    best = -float("inf")
    while True:
        for _ in range(window):
            optimizer.step(closure)
            if clock() > time_limit:
                return "time limit"
        before, best = best, max(best, max(value for _, value in trace[-250:]))
        if not best - before > least:
            return "no more gain"
