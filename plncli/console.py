"""What is said on standard error, how much of it, and what of it is kept for run.log: the only module that prints."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from plncli.errors import DataError, one_line

if TYPE_CHECKING:
    from plncli.progress import Done, OnWait, Step

REFRESH = 0.1  # seconds between two looks of the progress line
SILENCE = 30.0  # seconds without a word, where there is no progress line
SOON = 1.0  # seconds to go that are not worth telling


def out(text: str) -> None:
    """Print what was asked for on standard output."""
    _print(text.rstrip("\n"), sys.stdout)


def watched() -> bool:
    """Whether somebody reads standard output as it comes: on a terminal, not through a pipe or in a file."""
    return sys.stdout.isatty()


def error(text: str) -> None:
    """Print an error on standard error."""
    label = "plncli: error:"
    _print(f"{_styled(label, '31;1')}{_filled(f'{label} {text}')[len(label) :]}", sys.stderr)


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
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout:
            raise DataError(f"Standard output cannot be written: {error.strerror}.") from None


def _filled(text: str) -> str:
    """A sentence in lines as wide as the terminal, broken between words; as it is where there is no terminal."""
    if not sys.stderr.isatty() or "\n" in text:
        return text
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = shutil.get_terminal_size().columns
    room = max(columns, 20)
    return textwrap.fill(text, room, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)


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
    _last: float = field(default_factory=lambda: time.monotonic())
    _live: Any = None

    def __post_init__(self) -> None:
        """Draw no progress line where nobody watches it, or where it would mix with the lines of --verbose."""
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.progress = self.progress and terminal and not self.quiet and not self.verbose

    def note(self, text: str) -> None:
        """Say something worth knowing."""
        self._say(text)

    def next(self, *words: object, what: str = "Next") -> None:
        """Name a command that is useful now, as it is typed in a shell: on one line, however long."""
        self._say(f"{what}: {shlex.join(map(str, words))}", whole=True)

    def detail(self, text: str) -> None:
        """Say something that only --verbose and run.log ask for."""
        self._say(text, shown=self.verbose)

    def warn(self, text: str) -> None:
        """Say something that must not be missed."""
        self._say(text, "warning:")

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """A part of the work that may take long: shown while it lasts, its time told to --verbose and run.log."""
        if self.progress:
            self._draw(f"{what} ...")
        began = time.perf_counter()
        yield
        self.clear()
        self.detail(f"{what}: {time.perf_counter() - began:.2f} s")

    def fitting(self, likelihood: str, goal: float) -> Callable[[Step], None]:
        """What shows how far an optimizer is; `goal`: the gap, in nats, at which it has converged."""
        gaps: list[tuple[float, float]] = []

        def show(step: Step) -> None:
            gaps.append((step.seconds, step.gap))
            line = f"step {step.step}  {likelihood} {-step.loss:.2f}"
            line += "" if math.isnan(step.gap) else f"  gap {step.gap:.2g} of {goal:.2g} nats"
            line += f"  {step.seconds:.{1 if step.seconds < 10 else 0}f} s"
            left = to_go(gaps, goal)
            line += f", {left:.0f} s to go" if left is not None and left > SOON else ""
            if self.verbose:
                self.detail(line)
            elif self._due(REFRESH if self.progress else SILENCE):
                self._draw(f"fitting: {line}") if self.progress else self.note(f"fitting: {line}")

        return show

    def waiting(self, what: str) -> OnWait:
        """What shows how long a part of the work takes of which nobody knows the end: it may be told by any thread."""

        def show(of: str, seconds: float) -> None:
            if threading.current_thread() is not threading.main_thread():
                return
            if self.progress and (not seconds or self._due(REFRESH)):
                self._draw(f"{what} ({of}): {seconds:.0f} s")
            elif not self.progress and self._due(SILENCE):
                self.note(f"{what} ({of}): {seconds:.0f} s so far")

        return show

    def counting(self, what: str) -> Callable[[Done], None]:
        """What shows how many of many fits are done, and which took longest: by a bar, or now and then in a line."""
        began, slowest = time.monotonic(), ("", 0.0)

        def show(done: Done) -> None:
            nonlocal began, slowest
            if done.number == 1:
                began = time.monotonic()
            slowest = max(slowest, (done.name, done.seconds), key=lambda pair: pair[1])
            left = (time.monotonic() - began) / max(done.number - 1, 1) * (done.total - done.number)
            words = f"{done.number} of {done.total} fits, about {left:.0f} s to go; slowest {slowest[0]}"
            words += f" ({slowest[1]:.1f} s)"
            if self.progress and self._due(REFRESH):
                self._draw(words, what, done.number / done.total)
            elif not self.progress and done.number < done.total and self._due(SILENCE):
                self.note(f"{what}: {words}")

        return show

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and values, aligned."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.note(f"{name:<{width}}  {value}")

    def clear(self) -> None:
        """Erase the progress line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _due(self, seconds: float) -> bool:
        """Whether that long has passed since something was last shown."""
        now = time.monotonic()
        if now - self._last <= seconds:
            return False
        self._last = now
        return True

    def _draw(self, words: str, what: str = "", share: float | None = None) -> None:
        """Draw the progress line anew: with a bar, where a share of the work is done."""
        from rich.console import Console as Terminal
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        text = Text(words, no_wrap=True, overflow="ellipsis")
        line.add_row(*([text] if share is None else [what, ProgressBar(1.0, share, width=30), text]))
        if self._live is None:  # without a thread of its own, and without a hand on what others print
            self._live = Live(
                console=Terminal(file=sys.stderr, force_terminal=True),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        with suppress(BrokenPipeError):
            self._live.update(line, refresh=True)

    def _say(self, text: str, label: str = "", shown: bool = True, whole: bool = False) -> None:
        text, space = one_line(text), " " if label else ""
        self.log.append(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {label}{space}{text}")
        if shown and not self.quiet:
            self.clear()
            self._last = time.monotonic()
            line = f"{label}{space}{text}"
            lines = line if whole else _filled(line)
            _print(f"{_styled(label, '33;1')}{lines[len(label) :]}" if label else lines, sys.stderr)


def to_go(gaps: Sequence[tuple[float, float]], goal: float) -> float | None:
    """Seconds until the gap is `goal`, falling as it has since it was largest; None where nobody can tell.

    gaps: seconds and the gap (nats, nan where it is not known) after each step.
    """
    known = [(seconds, gap) for seconds, gap in gaps if gap > 0.0 and math.isfinite(gap)]
    if len(known) < 2 or known[-1][1] <= goal:
        return None
    began, largest = max(known, key=lambda pair: pair[1])
    now, gap = known[-1]
    return (now - began) * math.log(gap / goal) / math.log(largest / gap) if gap < largest else None
