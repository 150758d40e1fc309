"""Ctrl-C and termination: asked once, a fit ends early and is saved; asked twice, the program leaves at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plncli import console

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


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

    def cancelled(self) -> bool:
        """Whether the fit was asked to end; a stop rule's question at each step."""
        return self.signum != 0

    def handle(self, signum: int, _frame: FrameType | None) -> None:
        """The handler of these signals. Slurm sends USR1 before its limit: that is termination."""
        signum = signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM
        if not self.savable or self.signum:
            raise Interrupted(signum)
        self.signum = signum
        console.aside("\nEnding after this step, and saving; interrupt again to leave at once.")


@contextmanager
def cancellation() -> Iterator[Cancellation]:
    """Handle SIGINT, SIGTERM and SIGUSR1 within."""
    state = Cancellation()
    before = {signum: signal.signal(signum, state.handle) for signum in ENDING}
    try:
        yield state
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
