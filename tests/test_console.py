from __future__ import annotations

import sys

import pytest

from plncli import console
from plncli.console import Console
from plncli.optim.base import Step

STEP = Step(3, 1.25, 5, 10.5, 1.0, 0.01, 1.0)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a terminal that shows colours."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_everything_said_goes_to_standard_error_and_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console()
    say.note("a note")
    say.warn("a warning")
    say.detail("a detail")
    assert capsys.readouterr() == ("", "a note\nwarning: a warning\n")
    assert [line.split(" ", 1)[1] for line in say.log] == ["a note", "warning: a warning", "a detail"]


def test_a_quiet_console_still_keeps_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console(quiet=True)
    say.warn("a warning")
    assert capsys.readouterr() == ("", "")
    assert len(say.log) == 1


def test_without_a_terminal_there_is_no_progress_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console()
    say.step(STEP)
    say.clear()
    console.error("no")
    assert capsys.readouterr().err == "plncli: error: no\n"


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_progress_is_drawn_and_erased(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console()
    say.step(STEP)
    assert capsys.readouterr().err == f"{console.CLEAR}fitting: step 3  loss 10.5000  gap 0.01  1.2 s"
    say.note("done")
    assert capsys.readouterr().err == f"{console.CLEAR}done\n"


@pytest.mark.usefixtures("terminal")
def test_counting_is_drawn_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console()
    count = say.counting("bootstrap")
    count(1, 4)
    assert capsys.readouterr().err.startswith(f"{console.CLEAR}bootstrap: 1 of 4 fits")
    say.clear()
    assert capsys.readouterr().err == console.CLEAR


def test_counting_is_told_now_and_then_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    count = Console().counting("jackknife")
    for number in range(1, 101):
        count(number, 100)
        now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"jackknife: {n} of 100 fits, about {100 - n} s to go" for n in (32, 63, 94)]


@pytest.mark.usefixtures("terminal")
def test_colour_is_left_out_where_no_color_is_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console.error("no")
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    console.error("no")
    assert capsys.readouterr().err == "plncli: error: no\n"


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table([("a", "1"), ("long", "2")])
    assert capsys.readouterr().err == "a     1\nlong  2\n"
