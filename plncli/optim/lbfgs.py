"""Limited-memory BFGS with a strong Wolfe line search, by torch.optim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from plncli import ranks
from plncli.errors import UsageError
from plncli.optim.base import Offer, Optimum, Problem, Run, State, StopRule
from plncli.optim.first_order import descend
from plncli.optim.training import train
from plncli.progress import OnStep


@dataclass(frozen=True)
class LBFGS:
    """Liu & Nocedal 1989. learning_rate: first trial step of each line search; history: pairs of steps kept."""

    name: ClassVar[str] = "lbfgs"
    learning_rate: float = 1.0
    max_iter: int = 5000
    history: int = 50
    window: int = 10

    def minimise(
        self,
        problem: Problem,
        stop: StopRule,
        on_step: OnStep | None = None,
        offer: Offer | None = None,
        state: State | None = None,
    ) -> Optimum:
        """Minimise until steps gain little, and let the certificate judge."""

        def stepper(u: Tensor, rate: float) -> torch.optim.Optimizer:
            # One iteration a call, so that every step is in the trace. `max_eval` would default to 1 then and leave
            # the line search no trials. Its own tolerances are off: stopping is not its decision.
            return torch.optim.LBFGS(
                [u],
                lr=rate,
                max_iter=1,
                max_eval=50,
                tolerance_grad=0.0,
                tolerance_change=0.0,
                history_size=self.history,
                line_search_fn="strong_wolfe",
            )

        if problem.sampled and ranks.now() is not None:
            raise UsageError(
                "The optimizer `lbfgs` takes sums over samples of its own, which it cannot share with other processes. "
                "Use --optimizer newton-cg."
            )
        run = Run(stop, on_step, offer, state)
        if problem.trained:
            return train(problem, run, state, stepper, self.learning_rate, self.max_iter)
        return descend(problem, run, state, stepper, self.learning_rate, self.max_iter, self.window)
