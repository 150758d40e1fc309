"""The parser of the commands, built once: that takes longer than many a command, and it keeps nothing of any."""

from __future__ import annotations

from functools import cache
from typing import Any

from plncli import cli
from plncli.models import MODELS

application = cli.application


def parser() -> Any:
    """What `application()` makes anew each time, for the models that there are."""
    return _made(tuple(map(id, MODELS.values())))


@cache
def _made(models: tuple[int, ...]) -> Any:
    return application()
