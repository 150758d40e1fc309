"""A command in a process of its own that is born of this one, where torch is loaded already.

It is for signals, locks and kills, of which each test needs several processes: a start from nothing takes seconds.
That the installed command starts from nothing is tried by `run_cli`.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

import plncli.cli
from plncli.runs.unfinished.checkpoints import FILES

RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Forked:
    """What there is of `subprocess.Popen` for a command of plncli; its standard error is read by `communicate`."""

    def __init__(self, words: tuple[str, ...], cwd: Path, env: Mapping[str, str] | None = None) -> None:
        _load()
        reading, writing = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            _become(words, cwd, env or {}, writing)
        os.close(writing)
        self.stderr = os.fdopen(reading, "rb", buffering=0)
        self._said = b""

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = 120.0) -> int:
        """The exit code, once it has ended."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("plncli", timeout)
            time.sleep(0.005)
        return code

    def until(self, line: str, timeout: float = 60.0) -> None:
        """Wait until a line of its standard error begins like that, or it has ended."""
        self._read(timeout, lambda: any(said.startswith(line) for said in self._said.decode().splitlines()))

    def communicate(self, timeout: float = 120.0) -> tuple[None, str]:
        """Wait for its end; what it said on standard error."""
        self._read(timeout)
        self.wait(timeout)
        self.stderr.close()
        return None, self._said.decode()

    def _read(self, timeout: float, enough: object = None) -> None:
        until = time.monotonic() + timeout
        with selectors.DefaultSelector() as ready:
            ready.register(self.stderr, selectors.EVENT_READ)
            while not (callable(enough) and enough()):
                if not ready.select(max(0.0, until - time.monotonic())):
                    raise subprocess.TimeoutExpired("plncli", timeout)
                more = os.read(self.stderr.fileno(), 1 << 16)
                if not more:
                    return
                self._said += more

    def send_signal(self, signum: int) -> None:
        """Send it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it at once, if it lives."""
        self.send_signal(signal.SIGKILL)


@cache
def _load() -> None:
    """Load what torch loads, for seconds, when the first of its optimizers is made: once, and not in every command."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])


def _become(words: tuple[str, ...], cwd: Path, env: Mapping[str, str], errors: int) -> None:
    """Be the command, and never come back: the test must not go on in two processes."""
    gc.freeze()  # what the tests made is no concern of its collector
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, stream in enumerate((nothing, nothing, errors)):
            os.dup2(stream, number)
        os.chdir(cwd)
        os.environ.update(env)
        for signum in RESET:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.argv = ["plncli", *words]
        plncli.cli.program()
    finally:
        os._exit(70)


def kept_since(folder: Path, moment: float) -> bool:
    """Whether a checkpoint in a folder is newer than that; it may go at any time."""
    for name in FILES:
        with suppress(FileNotFoundError):
            if (folder / name).stat().st_mtime > moment:
                return True
    return False
