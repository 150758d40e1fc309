"""The command line as a whole: help, usage, bugs, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plncli
from plncli import cli as command_line
from plncli.cli.options import SWITCHES
from plncli.models import MODELS
from plncli.settings import option, settings

Cli = Callable[..., Any]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words, groups included."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = dict(commands(command_line.application()))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...], cli: Cli) -> None:
    command = ALL[path]
    assert command.help or path == ()
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name}"
    ran = cli(*path, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: plncli {' '.join(path)}".rstrip())
    assert cli(*path, "-h") == ran


@pytest.mark.parametrize("model", MODELS)
def test_a_command_has_the_settings_of_its_model_and_no_others(model: str) -> None:
    options = {flag for parameter in ALL["fit", model].params for flag in parameter.opts}
    assert {option(name) for name in settings(model)} <= options
    assert not {option(name) for name in set(settings()) - set(settings(model))} & options
    assert {option(name) for name in SWITCHES} <= options


def test_help_names_options_in_full(cli: Cli) -> None:
    help = cli("fit", "pln", "--help").out
    assert "…" not in help
    assert "--allow-unconverged" in help
    assert max(map(len, help.splitlines())) <= 90


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out == f"plncli {plncli.__version__}\n"


@pytest.mark.parametrize("args", [[], ["fit"], ["graph"]], ids=["plncli", "fit", "graph"])
def test_a_verb_without_arguments_is_answered_with_its_help(cli: Cli, args: list[str]) -> None:
    ran = cli(*args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: plncli")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fti"], "No such command 'fti'. Did you mean 'fit'? See `plncli --help`."),
        (["fit", "pnl"], "No such command 'pnl'. Did you mean 'pln'?"),
        (
            ["fit", "poisson"],
            "No such command 'poisson'. There are: pln, pln-pca, pln-network, pln-mixture, pln-lda, logistic, linear.",
        ),
        (
            ["fit", "pln", "--count", "x"],
            "No such option: --count. Did you mean `--counts`? See `plncli fit pln --help`.",
        ),
        (["fit", "pln", "--optimiser", "x"], "No such option: --optimiser. Did you mean `--optimizer`?"),
        (["fit", "pln", "--no-laten"], "No such option: --no-laten. Did you mean `--no-latent`?"),
        (["fit", "pln", "--zzz"], "No such option: --zzz. See `plncli fit pln --help`."),
        (["fit", "pln", "--max-iter", "many"], "--max-iter is `many`, but must be an integer from 1."),
        (["fit", "pln", "--tol", "small"], "--tol is `small`, but must be a positive number."),
        (["fit", "pln", "--counts"], "Option '--counts' requires an argument."),
        (
            ["fit", "linear", "--counts", "x"],
            "No such option: --counts. It goes with `plncli fit pln` and `plncli fit pln-pca` and `plncli fit",
        ),
        (["fit", "pln", "--response", "x"], "No such option: --response. It goes with `plncli fit logistic` and"),
        (["graph", "pln", "--tol", "1"], "No such option: --tol. It goes with `plncli fit pln`. See"),
        (["info", "--tol", "1"], "No such option: --tol. It goes with `plncli fit`. See"),
        (["fit", "pln", "extra"], "Got unexpected extra argument"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(cli: Cli, args: list[str], message: str) -> None:
    ran = cli(*args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"plncli: error: {message}")
    assert ran.err.count("\n") == 1


def test_a_bug_asks_to_be_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plncli.settings.resolve", lambda *_: 1 / 0)
    ran = cli("fit", "pln", "--counts", "x")
    assert ran.code == 1
    assert ran.err.startswith("plncli: error: This is a bug in plncli")
    assert "Please report it" in ran.err
    assert "ZeroDivisionError" in ran.err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_fit_writes_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch, signum: int) -> None:
    monkeypatch.setattr("plncli.settings.resolve", lambda *_: signal.raise_signal(signum))
    ran = cli("fit", "pln", "--counts", "x")
    assert (ran.code, ran.err) == (128 + signum, "plncli: error: Interrupted; nothing was written.\n")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m plncli fit pln --print-config | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_the_signs_is_no_failure(run_cli: Cli, fits: Path) -> None:
    ran = run_cli("show", fits / "tree", env={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 0, ran.err
    assert "116 samples ? 114 features" in ran.out


def test_info_is_for_people_and_programs(cli: Cli) -> None:
    lines = cli("info").out
    assert f"plncli       {plncli.__version__}" in lines
    described = json.loads(cli("info", "--json").out)
    assert described["versions"]["plncli"] == plncli.__version__
    assert "cpu" in described["devices"]


@pytest.mark.parametrize(("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep(given: dict[str, str], policy: str) -> None:
    script = (
        "import os, sys; from plncli import cli; sys.argv = ['plncli', '--version']\n"
        "cli.main = lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "cli.program()"
    )
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    run = subprocess.run([sys.executable, "-c", script], env=inherited | given, capture_output=True, text=True)
    assert run.stdout.split() == [policy, "False"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_standard_output_that_is_full_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "plncli", "fit", "pln", "--print-config"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
    assert done.returncode == 3
    assert done.stderr == "plncli: error: Standard output cannot be written: No space left on device.\n"
