"""What is said on standard error, how much of it, and what of it is kept for run.log: the only module that prints."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from plncli.optim.base import Step

REFRESH = 0.1  # seconds between two looks of the progress line
SILENCE = 30.0  # seconds without a word, where there is no progress line
CLEAR = "\r\x1b[K"  # back to the start of the line, and erase it


def out(text: str) -> None:
    """Print what was asked for on standard output."""
    _print(text.rstrip("\n"), sys.stdout)


def error(text: str) -> None:
    """Print an error on standard error."""
    _print(f"{_styled('plncli: error:', '31;1')} {text}", sys.stderr)


def hint(text: str) -> None:
    """Print help that was not asked for on standard error."""
    _print(text, sys.stderr)


def aside(text: str) -> None:
    """Say something from a signal handler, in the midst of whatever: past the buffer, which may be at work itself."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _print(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print at once; a reader that went away (`| head`) is no reason to stop a fit, or to leave it unsaved."""
    try:
        print(text, end=end, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _styled(text: str, style: str) -> str:
    """Coloured on a terminal, unless NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"


@dataclass
class Console:
    """Standard error of one command.

    quiet: errors alone; verbose: each step too; progress: a line that rewrites itself, on a terminal.
    """

    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    log: list[str] = field(default_factory=list)
    _last: float = 0.0
    _drawn: bool = False

    def __post_init__(self) -> None:
        """Draw no progress line where nobody watches it, or where it would mix with the lines of --verbose."""
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.progress = self.progress and terminal and not self.quiet and not self.verbose

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        self._say(text, text)

    def detail(self, text: str) -> None:
        """Say something that only --verbose and run.log ask for."""
        self._say(text, text, shown=self.verbose)

    def warn(self, text: str) -> None:
        """Say something that must not be missed."""
        self._say(f"warning: {text}", f"{_styled('warning:', '33;1')} {text}")

    def step(self, step: Step) -> None:
        """Show how far an optimizer is."""
        if self.verbose:
            self.detail(_step_line(step))
        elif self.progress and time.monotonic() - self._last > REFRESH:
            self._last, self._drawn = time.monotonic(), True
            line = f"fitting: {_step_line(step)}"[: shutil.get_terminal_size().columns - 1]
            _print(CLEAR + line, sys.stderr, end="")

    def counting(self, what: str) -> Callable[[int, int], None]:
        """What shows how many of many things are done: on the progress line, else now and then in a line of its own."""
        began = told = 0.0

        def done(number: int, total: int) -> None:
            nonlocal began, told
            now = time.monotonic()
            if number == 1:
                began = told = now
            left = (now - began) / max(number - 1, 1) * (total - number)
            line = f"{what}: {number} of {total} fits, about {left:.0f} s to go"
            if self.progress and now - self._last > REFRESH:
                self._last, self._drawn = now, True
                _print(CLEAR + line[: shutil.get_terminal_size().columns - 1], sys.stderr, end="")
            elif not self.progress and now - told > SILENCE and number < total:
                told = now
                self.note(line)

        return done

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, aligned."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.note(f"{name:<{width}}  {value}")

    def clear(self) -> None:
        """Erase the progress line."""
        if self._drawn:
            _print(CLEAR, sys.stderr, end="")
            self._drawn = False

    def _say(self, plain: str, styled: str, shown: bool = True) -> None:
        self.log.append(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {plain}")
        if shown and not self.quiet:
            self.clear()
            _print(styled, sys.stderr)


def _step_line(step: Step) -> str:
    gap = f"  gap {step.gap:.2g}" if step.gap == step.gap else ""
    return f"step {step.step}  loss {step.loss:.4f}{gap}  {step.seconds:.1f} s"
