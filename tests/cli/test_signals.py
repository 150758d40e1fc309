from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from plncli.cli.signals import Interrupted, cancellation


def test_the_first_signal_asks_and_the_second_leaves() -> None:
    with cancellation() as state:
        state.savable = True
        signal.raise_signal(signal.SIGTERM)
        assert state.cancelled()
        with pytest.raises(Interrupted) as left:
            signal.raise_signal(signal.SIGINT)
    assert left.value.exit_code == 130


def test_without_a_fit_to_save_the_first_signal_leaves() -> None:
    with cancellation() as state, pytest.raises(Interrupted) as left:
        signal.raise_signal(signal.SIGTERM)
    assert left.value.exit_code == 143
    assert not state.cancelled()


def test_a_signal_may_come_while_a_line_is_written() -> None:
    code = (
        "import io, signal, sys; from plncli.cli.signals import cancellation\n"
        "class Slow(io.FileIO):\n"
        "    def write(self, data):\n"
        "        if not state.signum: signal.raise_signal(signal.SIGINT)\n"
        "        return super().write(data)\n"
        "with cancellation() as state:\n"
        "    state.savable = True\n"
        "    sys.stderr = io.TextIOWrapper(io.BufferedWriter(Slow(2, 'w', closefd=False)))\n"
        "    print('a step', file=sys.stderr, flush=True)\n"
        "    print(state.cancelled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert "Ending after this step" in done.stderr


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with cancellation():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_no_failure_handler_takes_an_interrupt_for_its_own() -> None:
    assert not issubclass(Interrupted, Exception)
