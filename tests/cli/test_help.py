"""First contact: what help says, that its examples run, and that commands name the next one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from parsed import parser

from plncli.cli.examples import EXAMPLES, VERBS
from plncli.cli.help import WIDEST, Commands, Offer, on_lines
from plncli.models import MODELS

Cli = Callable[..., Any]
ALONE = [verb for verbs in VERBS.values() for verb in verbs if not hasattr(parser().commands[verb], "commands")]
OF_MODELS = [verb for verbs in VERBS.values() for verb in verbs if verb not in ALONE]
PATHS = ["", *ALONE, *OF_MODELS, *(f"{verb} {model}" for verb in OF_MODELS for model in MODELS)]


def pages(cli: Cli, columns: int) -> list[tuple[str, str]]:
    return [(path, cli(*path.split(), "--help", env={"COLUMNS": str(columns)}).out) for path in PATHS]


@pytest.mark.parametrize("columns", [80, 120])
def test_no_page_is_wider_than_its_terminal_and_no_sentence_is_cut(cli: Cli, columns: int) -> None:
    for path, text in pages(cli, columns):
        widest = max(text.splitlines(), key=len)
        assert len(widest) <= min(columns, WIDEST), f"{path}: {widest}"
        for sign in ("...\n", "…", "[]", "x<=", "x>=", "<str>", "{", "\x1b"):
            assert sign not in text.replace("[ARGS]...\n", "").replace("RUN...\n", ""), f"{path}: {sign}"


def test_the_verbs_are_in_panels_each_on_a_line(cli: Cli) -> None:
    text = cli("--help").out
    places = [text.index(f"\n{panel}:\n") for panel in VERBS]
    assert places == sorted(places)
    assert sorted(verb for verbs in VERBS.values() for verb in verbs) == sorted(parser().commands)
    for verb, offer in parser().commands.offers.items():
        assert f"\n  {verb:<11}  {offer.summary}\n" in text, f"{verb} takes more than a line"
        assert offer.help == parser().commands[verb].help
    for example in EXAMPLES[""]:
        assert "\n".join(f"  {line}" for line in on_lines(example, 78)) in text


def test_commands_are_made_once_and_when_they_are_asked_for() -> None:
    made = []
    commands = Commands({name: Offer(name, partial(made.append, name)) for name in "ab"})
    assert [*commands] == ["a", "b"] and "a" in commands and "c" not in commands and len(commands) == 2
    assert made == []
    assert (commands["b"], commands["b"], made) == (None, None, ["b"])


@pytest.mark.parametrize("path", PATHS)
def test_help_of_a_verb_is_what_its_option_prints(cli: Cli, path: str) -> None:
    ran = cli("help", *path.split())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == cli(*path.split(), "--help").out
    if path:
        assert "\nExamples:\n" in ran.out


def test_help_of_what_is_no_verb(cli: Cli) -> None:
    wrong = cli("help", "ft")
    assert wrong.code == 2 and "There is no `plncli ft`. Did you mean `fit`? There are: sample-data, val" in wrong.err
    assert "There is no `plncli fit pnl`. Did you mean `pln`?" in cli("help", "fit", "pnl").err
    assert "`plncli info` has no commands" in cli("help", "info", "x").err


# Examples


def small(folder: Path) -> None:
    """Twelve of the features, so that a fit takes a moment."""
    kept = pd.read_csv(folder / "oaks" / "counts.csv", index_col=0).sum().nlargest(12).index
    for name in ("counts", "exposure"):
        path = folder / "oaks" / f"{name}.csv"
        pd.read_csv(path, index_col=0)[kept].to_csv(path)


def words_of(example: str) -> list[str]:
    """As a shell reads it."""
    program, *words = shlex.split(example)
    assert program == "plncli"
    return words


def test_every_verb_has_examples_of_itself() -> None:
    assert set(EXAMPLES) == set(PATHS)
    for path, examples in EXAMPLES.items():
        assert 1 <= len(examples) <= 3
        for example in examples if path else ():
            assert words_of(example)[: len(path.split())] == path.split()


@pytest.mark.parametrize("width", [50, 78, 98])
@pytest.mark.parametrize("path", PATHS)
def test_a_shell_reads_an_example_on_several_lines_as_on_one(path: str, width: int) -> None:
    for example in EXAMPLES[path]:
        lines = on_lines(example, width)
        assert max(map(len, lines)) <= max(width, 60)  # of what no line takes, a formula
        assert shlex.split("\n".join(lines).replace("\\\n", " ")) == shlex.split(example)


@pytest.mark.parametrize("path", PATHS)
def test_examples_have_the_options_of_their_command(path: str) -> None:
    for example in EXAMPLES[path]:
        command, words = parser(), words_of(example)
        context = command.make_context("plncli", ["info"])
        while hasattr(command, "commands"):
            name, *words = words
            command = command.commands[name]
            context = type(context)(command, info_name=name, parent=context)
        command.parse_args(context, list(words))


@pytest.mark.slow  # fits, cross-validations and all pictures: what the options mean is tried where their verbs are
def test_the_examples_run_one_after_the_other(cli: Cli, tmp_path: Path) -> None:
    """On the sample data, in the order of the help."""
    for name in ("oaks", "logistic", "linear"):
        assert cli("sample-data", name).code == 0
    small(tmp_path)
    stopped = ["--counts", "oaks/counts.csv", "--max-iter", "1", "--out", "oaks-long", "-q"]
    assert cli("fit", "pln", *stopped).code == 4
    done = {words_of(example)[1] for example in EXAMPLES["sample-data"][1:]}
    fits = ["fit", *(f"fit {model}" for model in MODELS)]
    order = ["", *fits, *(path for path in PATHS[1:] if path not in (*fits, "sample-data"))]
    for path in order:
        for example in EXAMPLES[path]:
            words = words_of(example)
            if words[0] == "sample-data" and words[1] in done:
                continue
            (tmp_path / "report.html").unlink(missing_ok=True)  # of an example before
            ran = cli(*words, *(["--workers", "1"] if words[0] == "cv" else []))
            unfinished = example == EXAMPLES["resume"][1]  # which the one before has finished
            assert ran.code == (2 if unfinished else 0), f"{example}\n{ran.err}"


# The next command


@pytest.mark.parametrize("name", ["oaks", "logistic", "linear"])
def test_sample_data_name_a_fit_that_runs(cli: Cli, tmp_path: Path, name: str) -> None:
    ran = cli("sample-data", name, "--out", "my data")
    last = ran.err.splitlines()[-1]
    assert last.startswith("Next: plncli fit ")
    words = shlex.split(last.removeprefix("Next: "))
    assert all(Path(tmp_path, word).is_file() for word in words if word.endswith(".csv"))
    fitted = cli(*words[1:], "--dry-run")
    assert fitted.code == 0, fitted.err


def test_a_fit_names_the_next_command_of_its_folder(cli: Cli, tmp_path: Path) -> None:
    cli("sample-data", "linear")
    words = ["fit", "linear", "--covariates", "linear/plots.csv", "--formula", "harvest ~ soil1"]
    last = cli(*words, "--out", "a fit's folder").err.splitlines()[-1]
    following = shlex.split(last.removeprefix("Next: "))
    assert following[0] == "plncli" and Path(tmp_path, following[2]).is_dir()
    assert following[1:2] + following[3:] == ["report", "--out", f"{following[2]}.html"]
    for silent in (["-q"], ["--json"], ["--dry-run"]):
        assert "Next:" not in cli(*words, "--out", f"other{silent[0]}", *silent).err
    stopped = cli(*words, "--out", "stopped", "--max-iter", "1", "--optimizer", "adam")
    assert stopped.err.count("Next:") + stopped.err.count("Go on with:") == 1


def test_help_as_it_is_seen_on_a_terminal(tmp_path: Path) -> None:
    """A pseudo-terminal gets the same plain text."""
    words = shlex.join([sys.executable, "-m", "plncli", "--help"])
    seen = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm-256color"},
        cwd=tmp_path,
    )
    assert seen.returncode == 0
    assert "Start:" in seen.stdout and "Traceback" not in seen.stdout
