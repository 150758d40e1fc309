"""What a long computation tells while it lasts: steps of a minimisation, and fits done of many."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Step:
    """One row of the trace; it describes the point reached after `step` steps (0 is the start).

    `loss` in nats; `grad_norm` the Euclidean norm of the gradient; `gap` the estimated nats left (nan when not
    estimated at this point); `step_size` the multiple of the search direction, or the learning rate, that led here;
    `held_out` the loss of samples that the objective does not see, in nats a sample, where there are any.
    """

    step: int
    seconds: float
    evaluations: int
    loss: float
    grad_norm: float
    gap: float = math.nan
    step_size: float = math.nan
    held_out: float | None = None


class Done(NamedTuple):
    """How many parts are done, and of how many; what the one just done is called, and the seconds that it took."""

    number: int
    total: int
    name: str
    seconds: float


OnStep = Callable[[Step], None]
OnDone = Callable[[Done], None]
OnWait = Callable[[str, float], None]
"""Told what is waited for, and the seconds so far."""
