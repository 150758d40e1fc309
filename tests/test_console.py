from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
import torch

from plncli import console
from plncli.console import Console
from plncli.dataset import Dataset
from plncli.fitting import fit as fit_model
from plncli.inference.wald import InferenceRule
from plncli.models import MODELS
from plncli.progress import Done, Step

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
    say.fitting("elbo", 0.001)(STEP)
    with say.stage("reading"):
        pass
    say.clear()
    console.error("no")
    assert capsys.readouterr().err == "plncli: error: no\n"
    assert say.log[0].endswith(" reading: 0.00 s")


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_progress_is_drawn_and_erased(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "REFRESH", -1.0)
    say = Console()
    show = say.fitting("elbo", 0.001)
    show(replace(STEP, step=1, seconds=0.25, gap=10.0))
    show(replace(STEP, step=3, seconds=1.25, gap=1.0))
    drawn = capsys.readouterr().err
    assert "fitting: step 3  elbo -10.50  gap 1 of 0.001 nats  1.2 s, 3 s to go" in drawn
    say.note("done")
    assert screen(drawn + capsys.readouterr().err) == ["done"]


@pytest.mark.usefixtures("terminal")
def test_a_stage_is_shown_while_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    say = Console()
    with say.stage("reading counts.csv"):
        drawn = capsys.readouterr().err
        assert screen(drawn) == ["reading counts.csv ..."]
    assert screen(drawn + capsys.readouterr().err) == []


@pytest.mark.usefixtures("terminal")
def test_counting_is_a_bar_with_the_slowest_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "REFRESH", -1.0)
    monkeypatch.setenv("COLUMNS", "120")
    say = Console()
    count = say.counting("bootstrap")
    for number, seconds in ((1, 0.5), (2, 2.5), (3, 1.0)):
        count(Done(number, 4, f"fit {number}", seconds))
    (line,) = screen(capsys.readouterr().err)
    assert line.startswith("bootstrap ━") and "3 of 4 fits, about 0 s to go; slowest fit 2 (2.5 s)" in line
    say.clear()
    assert screen(capsys.readouterr().err) == []


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end: of the sequences that move it, all but those of colour are read."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.startswith("\x1b[") and part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif not part.startswith("\x1b") and part != "\r":
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]


def test_fits_and_counts_are_told_now_and_then_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    say = Console()
    count, show = say.counting("jackknife"), say.fitting("loglik", 1e-3)
    for number in range(1, 101):
        count(Done(number, 100, f"fit {number}", 1.0))
        now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"jackknife: {n} of 100 fits, about {100 - n} s to go; slowest fit 1 (1.0 s)" for n in (32, 63, 94)
    ]
    for number in range(70):
        show(replace(STEP, step=number, seconds=float(number), gap=math.nan))
        now += 1.0
    assert capsys.readouterr().err.splitlines() == [f"fitting: step {n}  loglik -10.50  {n} s" for n in (24, 55)]


def test_the_time_to_go_is_that_of_a_gap_that_falls_as_it_has() -> None:
    gaps = [(float(k), 100.0 * 0.1**k) for k in range(4)]
    assert console.to_go(gaps, 1e-4) == pytest.approx(3.0)
    assert console.to_go([(0.0, math.nan), (1.0, 1.0), (2.0, 5.0), (3.0, 0.5)], 0.05) == pytest.approx(1.0)
    for nobody_knows in (
        [],
        gaps[:1],
        [(0.0, 1.0), (1.0, 2.0)],
        [(0.0, 1.0), (1.0, math.nan)],
        [(0.0, 1.0), (1.0, 1e-9)],
    ):
        assert console.to_go(nobody_knows, 1e-4) is None


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


def test_what_is_quoted_can_be_read(cli: Callable[..., Any]) -> None:
    said = cli("compare", "x" * 5000, "y", env={"PLNCLI_X\x1b[2J": "1"})
    assert said.code == 3 and "Cannot reach `xxx" in said.err and "xx…xx" in said.err and len(said.err) < 500
    noted = cli("fit", "pln", "--counts", "none.csv", env={"PLNCLI_X\x1b[2J": "1", "PLNCLI_\udcff": "1"})
    assert "PLNCLI_X\\x1b[2J sets nothing" in noted.err and "PLNCLI_\\udcff sets" in noted.err


def test_threads_are_as_many_as_a_machine_may_have(cli: Callable[..., Any]) -> None:
    assert "from 1 to 1024" in cli("fit", "pln", "--counts", "none.csv", "--threads", "4294967296").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulate --n many", "--n must be an integer. See `plncli simulate --help`."),
        ("predict run --level high", "--level must be a number."),
        ("plot run loss --dpi 3", "--dpi must be 30 or more."),
        ("plot run loss --dpi 9999", "--dpi must be 2400 or less."),
    ],
)
def test_values_of_the_wrong_kind_are_told_in_plain_words(words: str, message: str, cli: Callable[..., Any]) -> None:
    said = cli(*words.split())
    assert said.code == 2 and message in said.err


@pytest.mark.usefixtures("terminal")
def test_standard_errors_are_waited_for_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "REFRESH", -1.0)
    say = Console()
    wait = say.waiting("standard errors")
    wait("sandwich", 0.0)
    wait("sandwich", 3.2)
    elsewhere = Thread(target=wait, args=("sandwich", 9.0))
    elsewhere.start()
    elsewhere.join()
    assert screen(capsys.readouterr().err) == ["standard errors (sandwich): 3 s"]
    say.clear()
    assert screen(capsys.readouterr().err) == []


def test_standard_errors_are_told_of_now_and_then_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    wait = Console().waiting("standard errors")
    for seconds in range(70):
        wait("robust", float(seconds))
        now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"standard errors (robust): {n} s so far" for n in (31, 62)]


def test_a_fit_tells_how_long_its_standard_errors_take() -> None:
    """From their beginning, and whenever the model asks whether it is to go on."""
    told: list[tuple[str, float]] = []
    generator = torch.Generator().manual_seed(1)
    X = torch.cat([torch.ones(30, 1), torch.randn(30, 1, generator=generator)], 1).double()
    Y = torch.poisson(torch.full((30, 4), 5.0).double(), generator)
    O, w, names = torch.zeros_like(X[:, :1]), torch.ones_like(X[:, 0]), tuple(map(str, range(30)))
    data = Dataset(Y, X, O, w, samples=names, terms=("Intercept", "x"), responses=tuple("abcd"))
    rule = InferenceRule("sandwich", on_wait=lambda of, seconds: told.append((of, seconds)))
    assert fit_model(MODELS["pln"].load_model()(), data, inference=rule).inference is not None
    assert told[0] == ("sandwich", 0.0) and len(told) > 1
    assert [seconds for _, seconds in told] == sorted(seconds for _, seconds in told)


@pytest.mark.usefixtures("terminal")
def test_a_command_to_type_stays_on_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    Console().next("plncli", "report", "a folder with a long name and blanks")
    assert capsys.readouterr().err == "Next: plncli report 'a folder with a long name and blanks'\n"
