from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plncli.cancellation import Interrupted, cancellation


def test_the_first_signal_asks_and_the_second_leaves() -> None:
    with cancellation() as state:
        state.savable = True
        signal.raise_signal(signal.SIGTERM)
        assert state.cancelled()
        with pytest.raises(Interrupted) as left:
            signal.raise_signal(signal.SIGINT)
    assert left.value.exit_code == 130


def test_without_a_fit_to_save_the_first_signal_leaves() -> None:
    with cancellation(), pytest.raises(Interrupted) as left:
        signal.raise_signal(signal.SIGTERM)
    assert left.value.exit_code == 143


IMPORTED = """
import signal
try:
    signal.raise_signal(signal.SIGTERM)
    if AGAIN: signal.raise_signal(signal.SIGINT)
except BaseException:
    pass  # as some compiled modules do
whole = True
"""
IMPORTING = """
import sys, time; sys.path.insert(0, {place!r}); from plncli.cancellation import Interrupted, cancellation
try:
    with cancellation():
        import imported
        time.sleep(30)
except Interrupted as left:
    sys.exit(left.exit_code + imported.whole)
"""


@pytest.mark.parametrize(("again", "code"), [(False, 144), (True, -signal.SIGINT)])
def test_a_signal_does_not_leave_half_a_module(tmp_path: Path, again: bool, code: int) -> None:
    (tmp_path / "imported.py").write_text(IMPORTED.replace("AGAIN", str(again)))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING.format(place=str(tmp_path))], capture_output=True, timeout=25
    )
    assert done.returncode == code, done.stderr


def test_a_signal_that_the_shell_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with cancellation() as state:
            signal.raise_signal(signal.SIGINT)
            assert not state.cancelled()
    finally:
        signal.signal(signal.SIGINT, before)


STARTING = """
import runpy, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {name!r}: signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["info"]
runpy.run_module("plncli", run_name="__main__")
"""


@pytest.mark.parametrize("name", ["plncli.cli", "typer"])
def test_an_interrupt_while_the_program_starts_shows_no_traceback(name: str) -> None:
    command = [sys.executable, "-c", STARTING.format(name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_signal_may_come_while_a_line_is_written() -> None:
    code = (
        "import io, signal, sys; from plncli.cancellation import cancellation\n"
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
