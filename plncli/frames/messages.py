"""What the command line would say, in Python's words: notes, warnings, and errors that name arguments, not options.

A warning, which tells of harm, is a Python warning. A note is quiet: a record of the logger `plncli`, at the level
INFO, shown as plain text. Where a person types it goes to standard output, for a notebook shows standard error in red;
in a script to standard error, as the command's do. `logging.getLogger("plncli").setLevel("WARNING")` silences notes.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from plncli import console
from plncli import settings as configuration
from plncli.console import Console
from plncli.errors import PlncliError
from plncli.layout import wrapped
from plncli.runtime import left_as_it_was, memory_guard

P = ParamSpec("P")
R = TypeVar("R")

THIS = "this fit"
"""What messages call a fit that has no folder."""


class Quiet(logging.Handler):
    """Shows notes as plain text, where a person reads."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        text = "\n".join(wrapped(record.getMessage(), "note: "))
        interactive = hasattr(sys, "ps1") or sys.flags.interactive  # IPython and notebooks set ps1, too
        (console.out if interactive else console.hint)(text)


notes = logging.getLogger("plncli")
"""Carries what is worth knowing and does no harm."""
if notes.level == logging.NOTSET:  # else a program has said what it wants to hear
    notes.setLevel(logging.INFO)
if not notes.handlers:
    notes.addHandler(Quiet())
    notes.propagate = False


class Sayings(Console):
    """What the command line would say, kept: all of it for run.log, and apart the notes and the warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Keep notes; what is no note but a report is for run.log alone."""
        super().note(text)
        if text.startswith("note: "):
            self.notes.append(text.removeprefix("note: "))

    def warn(self, text: str) -> None:
        """Keep a warning."""
        super().warn(text)
        self.warnings.append(text)


def spoken(text: str) -> str:
    """A sentence of the command line with arguments in place of options: `--missing drop` is `missing="drop"`."""
    text = re.sub(r"`plncli fit (\w+)`", r'`fit("\1", ...)`', text)
    text = text.replace("The first column of each must hold", "The index of each must hold")
    text = text.replace("as config.toml says", "as `dataset` says")
    text = re.sub(r"`plncli offsets --from .*? --out FILE`", "its `offsets(counts)`", text)
    text = re.sub(r"`plncli offsets --offset-method (\S+) .*? --out FILE`", r'`offsets(counts, method="\1")`', text)
    text = text.replace(" more (summary.json)", " more (in its `summary`)")
    text = re.sub(rf"^{THIS}", THIS.capitalize(), text)
    return re.sub(r"`[^`]*`|--([a-z][a-z-]*)(?: ([\w.-]*\w))?", _argument, text)


def _argument(found: re.Match[str]) -> str:
    """One option, with its value if what follows it is one."""
    if not found[1]:
        return found[0]
    name, word = found[1].replace("-", "_"), found[2]
    setting = configuration.settings().get(name)
    after = "" if word is None else f" {word}"
    if word and word.isupper() and word != "N":
        after, shown = "", name  # a placeholder such as FILE
    elif word and setting and word in configuration.choices(setting):
        after, shown = "", f'{name}="{word}"'
    elif word and re.fullmatch(r"[\d.]*\d", word):
        after, shown = "", f"{name}={word}"
    elif name.startswith("no_") and name[3:] in configuration.settings():
        shown = f"{name[3:]}=False"
    else:
        shown = f"{name}=True" if setting and setting.kind is bool and setting.default is not True else name
    return f"`{shown}`{after}"


def speaking(verb: Callable[P, R]) -> Callable[P, R]:
    """Errors in Python's words, without the way they took, running out of memory among them; torch left as it was."""

    @wraps(verb)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with left_as_it_was(), memory_guard():
                return verb(*args, **kwargs)
        except PlncliError as error:
            raise type(error)(spoken(str(error))) from None

    return called


def tell(say: Sayings) -> None:
    """Show the notes that were kept, and warn of the rest, as of the line that called the verb."""
    for text in dict.fromkeys(say.notes):
        notes.info("%s", spoken(text))
    for text in dict.fromkeys(say.warnings):
        warnings.warn(spoken(text), stacklevel=4)  # of tell, the verb, and what wraps it (twice: see speaking)
