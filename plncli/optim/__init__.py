"""Optimizers by name. Adding one is a class in a file of its own, or beside its kin, and a line here.

What may enter: how a function of tensors is minimised, and how far it is from its minimum.
Never: data, models, and what the numbers mean.
"""

from __future__ import annotations

from typing import Any

from plncli.errors import UsageError
from plncli.optim.base import Optimizer
from plncli.optim.first_order import SGD, Adagrad, Adam, Adamax, NAdam, RAdam, RMSprop, Rprop
from plncli.optim.lbfgs import LBFGS
from plncli.optim.newton_cg import NewtonCG
from plncli.optim.vem import VEM

_ALL: tuple[Any, ...] = (NewtonCG, LBFGS, VEM, Rprop, Adam, NAdam, RAdam, Adamax, Adagrad, RMSprop, SGD)
OPTIMIZERS: dict[str, Any] = {optimizer.name: optimizer for optimizer in _ALL}


def build(name: str, learning_rate: float | None = None) -> Optimizer:
    """The optimizer of that name. Raises UsageError when it takes no learning rate and is given one."""
    if learning_rate is None:
        return OPTIMIZERS[name]()
    if "learning_rate" not in OPTIMIZERS[name].__dataclass_fields__:
        raise UsageError(f"The optimizer `{name}` finds its own step sizes: leave out --learning-rate.")
    return OPTIMIZERS[name](learning_rate=learning_rate)
