"""Which settings of a fit each verb takes that reads tables as a fit does."""

from __future__ import annotations

from collections.abc import Iterator

from plncli.models.spec import Setting
from plncli.names import INPUT, MODEL, SELECTION
from plncli.settings import settings

PROBLEM = (INPUT, SELECTION, MODEL)
"""The panels that say what is fitted, not how or where: all that `graph` takes."""
VALIDATE = (*PROBLEM, "optimizer", "init", "se", "resamples", "cluster", "device", "dtype", "threads", "block_rows")
CV = (
    *PROBLEM,
    "optimizer",
    "learning_rate",
    "max_iter",
    "tol",
    "device",
    "dtype",
    "seed",
    "allow_unconverged",
    "checkpoint_every",
)
FOLDS = 5
"""Of a cross-validation, unless it is told."""


def chosen(model: str | None, taken: tuple[str, ...]) -> Iterator[tuple[str, Setting]]:
    """The settings of `model`, or of any, whose panel or name is taken; all where nothing is."""
    for name, setting in settings(model).items():
        if not taken or setting.panel in taken or name in taken:
            yield name, setting
