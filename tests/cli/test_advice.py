"""Messages name only what helps: options that the command has, or commands that do."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from parsed import parser

import plncli.tables.formats.base as formats
from plncli.errors import DataError
from plncli.models import MODELS

PACKAGE = Path(__file__).parents[2] / "plncli"
SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
Cli = Callable[..., Any]


def flags(command: Any) -> set[str]:
    """The options of a command, and of those below it."""
    own = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*map(flags, getattr(command, "commands", {}).values())) | {"--help"}


EVERY = flags(parser())
STAND_INS = {"--no", "--table", "--nproc-per-node"}
"""The beginning of options; what `convert` calls INPUT where others read the table of an option; torchrun's."""


def command_of(words: list[str]) -> Any:
    """The command that words of a command line, or of a sentence, name."""
    command = parser()
    for word in words:
        if word not in getattr(command, "commands", {}):
            return command
        command = command.commands[word]
    return command


def wrong(sentence: str, words: list[str]) -> list[str]:
    """Options that a sentence names which are neither of the command nor of one that stands before it in the sentence.

    What the sentence quotes as `--option value` of another command has that command before it: `plncli offsets ...`.
    """
    found = []
    for match in re.finditer(r"(?<![\w-])--[a-z][a-z-]+", sentence):
        before = sentence[: match.start()]
        quoted = re.findall(r"plncli ((?:[a-z-]+ ?)+)", before)
        named = command_of(quoted[-1].split()) if quoted else None
        known = flags(command_of(words)) | STAND_INS | (flags(named) if named else set())
        if match[0] not in known:
            found.append(match[0])
    return found


def sentences(path: Path) -> Iterator[str]:
    """Texts of a module, what is filled in left out; docstrings too, which name options as well."""
    joined = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            joined |= set(map(id, parts))
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in joined:
            yield node.value


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_option_that_a_text_names_exists(path: Path) -> None:
    named = {flag for text in sentences(path) for flag in re.findall(r"(?<![\w{}-])--[a-z][a-z-]+(?!\w*\{)", text)}
    assert {flag for flag in named if not flag.endswith("-")} <= EVERY | STAND_INS


VERBS = {"crossvalidate": "cv", "wald": "test", "size_factors": "offsets"}
SINGLE = ["crossvalidate", "wald", "size_factors", "compare", "convert", "diagnose", "predict", "show"]
SINGLE += ["samples/transform"]


@pytest.mark.parametrize("module", SINGLE)
def test_texts_of_a_verb_name_its_own_options(module: str) -> None:
    verb = VERBS.get(module, module.rpartition("/")[2])
    for text in sentences(PACKAGE / "verbs" / f"{module}.py"):
        if "Fit again" not in text:  # which names options of a fit
            assert wrong(text, [verb]) == [], text


def fault(*words: str) -> Any:
    return pytest.param([*words], id=" ".join(words)[:60])


COUNTS = str(SAMPLE_DATA / "oaks" / "counts.csv")
TREES = str(SAMPLE_DATA / "oaks" / "covariates.csv")
PLOTS = str(SAMPLE_DATA / "linear" / "plots.csv")
FAULTS = [
    *(fault(verb, model, *more) for verb in ("fit", "cv", "validate") for model in MODELS for more in ([],)),
    *(
        fault(verb, *words)
        for verb in ("fit", "cv", "validate")
        for words in (
            ["pln", "--counts", "gone.csv"],
            ["pln", "--counts", COUNTS, "--covariates", TREES, "--formula", "~ tre"],
            ["pln", "--counts", COUNTS, "--formula", "~ tree"],
            ["pln", "--counts", COUNTS, "--exposure", "e.csv", "--offsets", "o.csv"],
            ["pln", "--counts", COUNTS, "--covariates", TREES, "--formula", "~ relevel(tree)"],
            ["pln", "--counts", COUNTS, "--covariance", "fixed"],
            ["linear", "--covariates", PLOTS, "--formula", "~ soil1"],
            ["linear", "--covariates", PLOTS, "--formula", "harvest ~ soil1", "--missing", "keep"],
            ["logistic", "--covariates", PLOTS, "--formula", "harvest ~ soil1"],
            ["linear", "--covariates", PLOTS, "--formula", "harvest ~ soil1", "--optimizer", "vem"],
            ["pln", "--counts", PLOTS],
            ["pln", "--config", "gone.toml"],
        )
    ),
    fault("plot", "gone.csv"),
    fault("plot", "gone.csv", "cv"),
    fault("plot", "{fits}/tree"),
    fault("plot", "{fits}/tree", "roc"),
    fault("predict", "{fits}/tree"),
    fault("predict", "{fits}/tree", "--covariates", TREES),
    fault("predict", "{fits}/soil", "--counts", COUNTS),
    fault("transform", "{fits}/tree", "--counts", COUNTS),
    fault("transform", "{fits}/soil", "--counts", COUNTS),
    fault("offsets", "--counts", PLOTS),
    fault("offsets", "--counts", COUNTS, "--from", "{fits}/tree"),
    fault("test", "{fits}/tree"),
    fault("test", "{fits}/tree", "--terms", "site"),
    fault("compare", "{fits}/tree"),
    fault("compare", "{fits}/tree", "{fits}/soil"),
    fault("report", "gone"),
    fault("show", "gone"),
    fault("diagnose", "{fits}/tree", "--counts", PLOTS),
    fault("graph", "pln", "--covariates", TREES, "--formula", "~ tree"),
    fault("convert", "gone.csv", "x.csv"),
    fault("simulate", "pln", "--from", "gone"),
    fault("resume", "gone"),
    fault("rerun", "gone"),
]


@pytest.mark.parametrize("words", FAULTS)
def test_a_refusal_names_options_of_its_command(cli: Cli, fits: Path, words: list[str]) -> None:
    words = [word.replace("{fits}", str(fits)) for word in words]
    ran = cli(*words)
    assert ran.code in (2, 3), ran.err
    for line in (ran.err + ran.out).splitlines():
        assert wrong(line, words) == [], line
        if words[0] != "fit":  # a command does not speak as if it were another
            assert "`plncli fit" not in line.replace("`plncli fit` wrote", ""), line


# Faults of the kind that was seen


@pytest.mark.parametrize("model", MODELS)
def test_a_verb_without_tables_speaks_of_the_fit_and_not_of_the_command(cli: Cli, model: str) -> None:
    for verb in ("fit", "cv", "validate"):
        ran = cli(verb, model)
        assert f"A {model} fit needs a " in ran.err + ran.out


def test_plot_without_a_kind_lists_those_of_the_run(cli: Cli, fits: Path) -> None:
    counts, numbers = (cli("plot", fits / name).err for name in ("tree", "soil"))
    assert "biplot" in counts and "leverage" not in counts and "roc" not in counts
    assert "leverage" in numbers and "biplot" not in numbers


def test_plot_of_what_is_not_there_says_so(cli: Cli, tmp_path: Path) -> None:
    assert "no file or folder of that name exists" in cli("plot", "gone.csv").err
    assert cli("plot", "gone.csv", "cv").err.startswith(
        "plncli: error: gone.csv does not exist. Give the file that `plncli cv --out` wrote."
    )
    (tmp_path / "scores of cv.csv").write_text("")
    assert "plncli plot 'scores of cv.csv' cv" in cli("plot", "scores of cv.csv").err


def test_predictions_are_sent_only_where_size_factors_are_made(cli: Cli, tmp_path: Path) -> None:
    """What the message says is run, for a method that keeps what it takes and for one that does not."""
    few = ["--counts", COUNTS, "--top", "5", "-q"]
    for method in ("rle-positive", "gmpr"):
        assert cli("fit", "pln", *few, "--offset-method", method, "--out", method).code == 0
        err = cli("predict", method).err
        said = re.search(r"`plncli (offsets [^`]*)`", err)
        assert said
        words = said[1].replace("NEW", COUNTS).replace("BOTH", COUNTS).replace("FILE", f"{method}.csv").split()
        assert cli(*words).code == 0
        assert cli("predict", method, "--exposure", f"{method}.csv").code == 0
        assert cli("predict", method, "--exposure", "1").code == 2  # of no samples: covariates or a file say which


def test_a_missing_package_is_named_as_it_is_installed() -> None:
    with pytest.raises(
        DataError, match=r"takes the package nowhere_to_be, which is not installed: pip install nowhere_"
    ):
        formats.package("nowhere_to_be", "biom", "Reading it")


def test_an_option_of_another_verb_is_told(cli: Cli) -> None:
    assert "It goes with `plncli fit pln-lda` and `plncli cv`." in cli("predict", "run", "--folds", "3").err
    assert "It goes with `plncli show` and `plncli test`" in cli("fit", "pln", "--scale", "ratio").err


def test_threads_of_cross_validation(cli: Cli, tmp_path: Path) -> None:
    """Fits with two threads score as those with one, to rounding, in this process and in workers."""
    words = ["cv", "linear", "--covariates", PLOTS, "--formula", "harvest ~ soil1 + soil2", "--json", "-q"]
    runs = [cli(*words, "--threads", threads, "--workers", workers) for threads, workers in (("1", "1"), ("2", "2"))]
    scores = [[float(x) for x in re.findall(r'"loglik": (-?[\d.]+)', ran.out)] for ran in runs]
    assert scores[0] and scores[0] == pytest.approx(scores[1], rel=1e-9)
    assert "--threads is `many`, but must be auto or an integer" in cli(*words, "--threads", "many").err
