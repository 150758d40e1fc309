"""Ctrl-C and termination: asked once, a fit ends early and is saved; asked twice, the program leaves at once.

It leaves by an exception, which must not come in the midst of an import: half a module would be left, and compiled ones
swallow exceptions. There it waits until the import is done, or until it is asked once more.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plncli import console, ranks

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
LATER = 0.02
"""Seconds after which a signal that came during an import is looked at again."""


class Interrupted(BaseException):
    """The program is to leave now. No Exception: nothing on the way may take it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """130 for an interrupt, 143 for termination: the convention of shells."""
        return 128 + self.signum


class Cancellation:
    """Remembers the first signal while a fit can still be saved; otherwise leaves by `Interrupted`."""

    def __init__(self) -> None:
        self.signum = 0
        self.savable = False
        self.waiting = False

    def cancelled(self) -> bool:
        """Whether the fit was asked to end; a stop rule's question at each step."""
        return self.signum != 0

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """The handler of these signals. Slurm sends USR1 before its limit: that is termination."""
        if self.waiting:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        again = self.signum != 0
        self.signum = signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM
        if self.savable and not again:
            if ranks.follows():
                return
            console.aside("\nEnding after this step, and saving; interrupt again to leave at once.")
        else:
            self.leave(frame)

    def leave(self, frame: FrameType | None) -> None:
        """Leave by `Interrupted`, as soon as nothing is being imported."""
        self.waiting = hasattr(signal, "setitimer") and _importing(frame)
        if self.waiting:
            signal.signal(signal.SIGALRM, lambda _, now: self.leave(now))
            signal.setitimer(signal.ITIMER_REAL, LATER)
        else:
            raise Interrupted(self.signum)


def _importing(frame: FrameType | None) -> bool:
    """Whether the code that a signal stopped is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def cancellation() -> Iterator[Cancellation]:
    """Handle SIGINT, SIGTERM and SIGUSR1 within, but for what the shell ignores, as the first of a job with &."""
    state = Cancellation()
    heard = [signum for signum in ENDING if signal.getsignal(signum) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, state.handle) for signum in heard}
    try:
        yield state
    finally:
        if state.waiting:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for signum, handler in before.items():
            signal.signal(signum, handler)
