"""What `help(fit)` and the completion of a notebook know: the settings, as they are declared, with their defaults."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from typing import TypeVar

from plncli import settings as configuration
from plncli.errors import some
from plncli.frames.data import arguments
from plncli.frames.messages import spoken
from plncli.models import MODELS
from plncli.models.spec import Setting

Verb = TypeVar("Verb", bound=Callable)
WIDTH = 88


def with_settings(offered: Collection[str]) -> Callable[[Verb], Verb]:
    """Tell of the settings among those `offered` in the help and the signature of a verb that takes `**settings`."""

    def told(verb: Verb) -> Verb:
        signature = inspect.signature(verb)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        known = {name: each for name, each in arguments(offered).items() if name not in signature.parameters}
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default)
            for name, each in known.items()
        ]
        verb.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        verb.__doc__ = f"{inspect.getdoc(verb)}\n\n" + "\n".join(_lines(known))
        return verb

    return told


def _lines(known: Mapping[str, Setting]) -> Iterator[str]:
    """The settings by panel: name and default, and below it the meaning."""
    yield "Settings and their defaults:"
    for panel, names in groupby(known, lambda name: known[name].panel):
        yield ""
        yield panel
        for name in names:
            yield f"  {name}={known[name].default!r}"
            yield from textwrap.wrap(_meaning(known[name]), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _meaning(setting: Setting) -> str:
    """What a setting does, its values, and the models that it is for unless it is for all."""
    values = configuration.choices(setting)
    expected = f"One of {', '.join(values)}" if values else setting.expects[:1].upper() + setting.expects[1:]
    models = [model for model in MODELS if setting.name in configuration.settings(model)]
    alone = f"Only for {some(models)}." if len(models) < len(MODELS) else ""
    return " ".join(filter(None, (spoken(setting.help), expected and f"{expected}.", alone)))
