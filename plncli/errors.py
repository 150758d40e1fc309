"""Errors that reach the user as one message and one exit code, never as a traceback."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
NONE = "—"
"""In the place of a number that there is none of."""


LONG_WORD, LONG_MESSAGE = 300, 2500  # signs; a path of that length is rarely what there is to say


def one_line(text: str) -> str:
    """Text on one line: what a name may hold that acts on a terminal, turns it about, or is no text is spelt out."""
    acting = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    return re.sub(acting, lambda sign: ascii(sign[0])[1:-1], text)


def legible(text: str) -> str:
    """A message as one line; of what it quotes, very long words are cut short."""
    line = re.sub(rf"\S{{{LONG_WORD + 1},}}", lambda word: _cut(word[0], LONG_WORD), one_line(text))
    return _cut(line, LONG_MESSAGE)


def _cut(text: str, width: int) -> str:
    """Text of at most `width` signs: the middle of a longer one is left out."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


class PlncliError(Exception):
    """Base of every foreseen failure; the message says what, where and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        """One line that can be read; see `legible`."""
        return legible(super().__str__())


class UsageError(PlncliError):
    """The command line asks for something that cannot be: options that exclude each other, a folder in the way."""

    exit_code = 2


class DataError(PlncliError):
    """A table cannot be used as it stands."""

    exit_code = 3


class FormulaError(DataError):
    """A formula cannot be read, or does not fit its table."""


class ConfigError(DataError):
    """A configuration file holds an unknown key or a value of the wrong kind."""


class FitError(PlncliError):
    """A fit could not even start: its objective is not finite where it begins."""

    exit_code = 4


class DeviceError(PlncliError):
    """The device is not there, lacks the number type, or is out of memory."""

    exit_code = 5


class RankLost(PlncliError):
    """Another of the processes that share a fit is not there any more."""

    exit_code = 5


class Unfinished(PlncliError):
    """Work that was cut short, of which what is done is kept; it ends with the code of what cut it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Faults:
    """What is wrong with an input. A fit ends at the first fault; a validation keeps `every` one, and goes on.

    found: those that were kept, each once, in the order in which a fit would meet them.
    """

    def __init__(self, *, every: bool = False) -> None:
        self.every = every
        self.found: list[PlncliError] = []

    def keep(self, fault: PlncliError) -> None:
        """Keep a fault, unless its sentence is known: a column may be part of two tables."""
        if str(fault) not in map(str, self.found):
            self.found.append(fault)

    def attempt(self, step: Callable[[], T], otherwise: T) -> T:
        """What the step gives; `otherwise` where it ends in a DataError that is kept."""
        try:
            return step()
        except DataError as fault:
            if not self.every:
                raise
            self.keep(fault)
            return otherwise

    def refused(self, step: Callable[[], object]) -> bool:
        """Whether the step ends in a DataError that is kept."""

        def passed() -> bool:
            step()
            return False

        return self.attempt(passed, True)

    def each(self, faults: Iterable[DataError]) -> bool:
        """Raise the first of the faults, if there are any; when every one is kept, whether there were any."""
        fault = None
        for fault in faults:
            if not self.every:
                raise fault
            self.keep(fault)
        return fault is not None


FIRST = Faults()
"""The way of a fit: the first fault is raised."""


def unfit(what: str) -> DataError:
    """The error that a state is which cannot be one of the problem that it is to go on with."""
    return DataError(f"The checkpoint cannot be of this fit: {what}. Begin anew with --overwrite instead of --resume.")


NAMES, TERMS = 5, 3
"""How many names, or terms of a formula, a sentence lists."""
LIST = 160
"""Signs of a list in a sentence."""
UNCUT = 1 << 30
"""Signs of a list whose names are to be typed, so that none may lose its middle."""


def some(names: Iterable[object], limit: int = NAMES, where: str = "", width: int = LIST) -> str:
    """First few of the names, and how many more there are: ``a, b, c and 12 more (summary.json)``.

    where: what lists them all. width: signs that the names may take together; the middle of longer ones is left out.
    """
    words = [str(name) for name in names]
    shown = words[:limit]
    if sum(map(len, shown)) > width:
        shown = [_cut(word, max(width // len(shown), 12)) for word in shown]
    more = len(words) - limit
    told = ", ".join(shown)
    return f"{told} and {more} more{f' ({where})' if where else ''}" if more > 0 else told


def counted(number: int, noun: str) -> str:
    """`1 sample`, `3 samples`, `2 missing entries`."""
    many = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"


def short(text: str, width: int) -> str:
    """Text of at most `width` signs on one line: the middle of a longer one is left out."""
    return _cut("".join(sign if sign.isprintable() else " " for sign in text), width)


def nearest(name: str, known: Sequence[str]) -> str:
    """``" Did you mean `x`?"`` for the known name closest to `name`, or an empty string."""
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in known}
    match = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean `{folded[match[0]]}`?" if match else ""


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits that matter; −∞ and ∞ by their signs, a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−") if abs(value) < 10**digits else f"{value:.0f}".replace("-", "−")
