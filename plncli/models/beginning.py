"""Abilities of models that look for where a fit begins, asked by isinstance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol, runtime_checkable

from torch import Generator

from plncli.arrays import Params
from plncli.models.base import Init, P


@runtime_checkable
class Searching(Protocol[P]):
    """A model whose objective has many optima: the start decides which of them is found.

    loose: nats a sample that are left where the optimum that a start leads to is known well enough; patience: steps
    after which a start is given up which a few steps like its last ones would not bring to the best, None for never.
    """

    loose: ClassVar[float]
    patience: ClassVar[int | None]

    @property
    def starts(self) -> int:
        """How many searches are wanted: the model's own, and from that many starts less one by chance."""
        ...

    def searches(self, prepared: P, init: Init | None) -> bool:
        """Whether the start must be looked for: always without an earlier fit."""
        ...

    def own_starts(self, prepared: P, init: Init | None) -> Iterator[tuple[Params, P]]:
        """Starts to be compared by where they lead, the earlier fit among them, each with data prepared for it."""
        ...

    def restarts(self, params: Params, prepared: P) -> Iterator[tuple[Params, P]]:
        """Starts near an optimum from which better ones are found, if there are any near."""
        ...

    def another(self, prepared: P, generator: Generator) -> tuple[Params, P]:
        """A start by chance."""
        ...

    def rival(self, prepared: P) -> float:
        """Value that a start of the model itself has, where a simpler one is fitted to these data; inf if none has."""
        ...

    def searched(self, prepared: P) -> P:
        """Data as the fit itself takes them, where a search has ended."""
        ...

    def wholes(self, params: Params, prepared: P) -> Iterator[tuple[Params, P]]:
        """Starts of the model itself, where the search was for the best optimum of a simpler one: that is given."""
        ...


@runtime_checkable
class Nested(Protocol[P]):
    """A model that is fitted to some of the samples first, where there are many."""

    def subset(self, prepared: P, seed: int) -> P | None:
        """Data of fewer samples; None where the whole is begun with at once."""
        ...

    def onto(self, params: Params, few: P, prepared: P, cancelled: Callable[[], bool]) -> Params:
        """Parameters of a fit to a subset as those of the whole; cancelled: is asked where that takes long."""
        ...
