"""What README and docs say exists, does, what exists is in the docs, and nothing in them leads nowhere."""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pages
import pandas as pd
import pytest
from parsed import parser

from docs import generate
from plncli import cli as command_line
from plncli.cli.help import HELP_FLAGS
from plncli.models.pln.spec import COVARIANCES
from plncli.names import OPTIMIZER_NAMES
from plncli.runs import folder as artifacts
from plncli.settings import option, settings

TEXTS = {page: page.read_text(encoding="utf-8") for page in pages.PAGES}
TEXT = "\n".join(TEXTS.values())
GENERATED = dict(generate.texts())
REFERENCE = pages.DOCS / "reference"


def flags(command: Any) -> Iterator[str]:
    """Every option of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from flags(inner)


KNOWN = {"--help"} | set(flags(command_line.application()))


def test_every_option_of_the_docs_exists() -> None:
    ours = re.sub(r"(?m)^#SBATCH .*$|^```console\n(?:.*\n)*?```$", "", TEXT)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) <= KNOWN


def test_the_reference_has_every_setting_and_every_option() -> None:
    told = set(re.findall(r"`(--[a-z][a-z-]*)", "\n".join(GENERATED.values())))
    negative = {"sample_names": "--no-sample-names", "latent": "--no-latent"}
    assert {negative.get(name, option(name)) for name in settings()} <= told
    shells = {"--version", "--citation", "--help", "--install-completion", "--show-completion"}
    switches = {f"--no-{name[2:]}" for name in KNOWN}
    missing = KNOWN - told - shells - switches
    assert {name for name in missing if name.startswith("--") and f"--no-{name[2:]}" not in told} == set()


def test_every_verb_has_a_page_with_its_options() -> None:
    included = set(re.findall(r"\{include\} generated/([\w-]+)\.md", TEXT))
    assert {*parser().list_commands(None), "settings", "tables", "verbs", "summary", "manifest"} <= included
    assert included <= {*GENERATED}


def test_every_choice_is_in_the_docs() -> None:
    assert [name for name in (*OPTIMIZER_NAMES, *COVARIANCES) if f"`{name}`" not in TEXT] == []


def test_every_file_of_a_fit_is_in_the_docs() -> None:
    written = {*(f"{table}.csv" for table in artifacts.table_names()), *artifacts.OTHERS}
    assert [name for name in sorted(written) if f"`{name}`" not in TEXT] == []


def test_every_exit_code_is_in_the_docs() -> None:
    codes = re.findall(r"\b(\d+) ", command_line.EXIT_CODES)
    assert len(codes) == 8
    assert [code for code in codes if not re.search(rf"^\| ({code}\b|.*, {code} \|)", TEXT, re.MULTILINE)] == []


def anchors(text: str) -> set[str]:
    """What a link may name in a page: its headings, as GitHub and MyST write them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", text))
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", TEXTS[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if path.startswith("pictures/"):
            assert target.startswith(f"pictures/{page.stem}/"), target
            assert place.name in TEXTS[page].replace(target, ""), f"{target} is drawn by no command of the page"
            continue
        assert place.is_file(), f"{target} is not there"
        assert not anchor or anchor in anchors(place.read_text(encoding="utf-8")), f"{target} has no such heading"


def test_every_page_is_in_the_contents() -> None:
    listed = {pages.DOCS / "index.md"}
    for page, text in TEXTS.items():
        for tree in re.findall(r"(?s)```\{toctree\}\n(.*?)```", text):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md").resolve() for name in names}
    assert listed == {page for page in pages.PAGES if page.is_relative_to(pages.DOCS)}


def commands() -> Iterator[Any]:
    """The commands of plncli in blocks that are run, by page."""
    for page, text in TEXTS.items():
        for block in pages.blocks(text):
            if block.language == "sh":
                for line in block.text.replace("\\\n", " ").splitlines():
                    for part in re.split(r" \| | \|\| | && |; ?", line):
                        start = re.search(r"(?<![\w/.-])plncli .*", part)
                        if start and not part.lstrip().startswith("echo"):
                            yield pytest.param(start[0], id=f"{page.stem}: {start[0]}")


@pytest.mark.parametrize("command", [*commands()])
def test_every_command_is_one(command: str) -> None:
    words = shlex.split(re.sub(r" (?:2?>|2>&1).*", "", command))[1:]
    place = parser()
    while hasattr(place, "commands") and not words[0].startswith("-"):
        assert words[0] in place.commands, words[0]
        place, words = place.commands[words[0]], words[1:]
        if place.name == "simulate" or not hasattr(place, "commands"):
            break
    if not hasattr(place, "commands"):
        place.make_context(place.name, words, **HELP_FLAGS)  # Click keeps the help flags of the first
    else:
        assert words[0] in KNOWN


def test_nothing_of_the_program_is_in_a_block_that_is_not_run() -> None:
    """Commands stand in ```` ```sh ````, but for scripts of Slurm and the like, and what installs."""
    for page, text in TEXTS.items():
        for block in pages.blocks(text):
            if block.language in ("bash", "text", "none", "console"):
                lines = [line for line in block.text.splitlines() if line.startswith("plncli fit")]
                assert not lines or "--device cuda" in lines[0], (page, lines)


# The pages as programs

SOON = ("howto/ratios.md",)
"""Pages that the ordinary tests run; with the others it would be minutes."""
RUN = [
    pytest.param(
        page,
        id=str(page.relative_to(pages.ROOT)),
        marks=() if str(page.relative_to(pages.ROOT)).removeprefix("docs/") in SOON else pytest.mark.slow,
    )
    for page, text in TEXTS.items()
    if any(block.language in ("sh", "python") for block in pages.blocks(text))
]


@pytest.fixture
def options() -> Iterator[None]:
    """Pages run in this process, and may set options of pandas: later tests find them as they are by default."""
    yield
    with warnings.catch_warnings(action="ignore"):  # some are deprecated
        pd.reset_option("all")


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize("page", RUN)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    if re.search(r"\bjq\b", TEXTS[page]) and not shutil.which("jq"):
        pytest.skip("no jq")
    folder = tmp_path / "work"
    shell = pages.begin(page, folder)
    try:
        for block, printed in pages.run(page, folder, shell):
            line = block.shows and pages.difference(block.shows.text, printed)
            assert not line, f"{block.text}\nshows\n{line}\nbut prints\n{printed}\n(make docs-output renews it)"
    finally:
        shell.close()
    for name in pages.PICTURE.findall(TEXTS[page]):
        assert (folder / name).stat().st_size > 0


def test_what_is_shown_is_held_to_what_is_printed() -> None:
    printed = "aic  12.50\nsteps  9 in 0.26 s\nwarning: a, b, c\nend\n"
    assert pages.difference("aic 12.50\nsteps 7 in 1 s\n...\nend\n", printed) is None
    assert pages.difference(printed, printed) is None
    assert pages.difference("aic 12.50\n...\n", printed) is None
    assert pages.difference("aic 13.50\n...\n", printed) == "aic 13.50"
    assert pages.difference("aic 12.50\n...\nno end\n", printed) == "no end"
    assert pages.difference("...\nwarning: a, ...\nend\n", printed) is None
    assert pages.difference("aic 12.50\nsteps 9 in 1 s\n", printed) == "warning: a, b, c (printed, not shown)"
    assert pages.renewed("x\n...\ny\n", printed) == "aic  12.50\n...\nend\n"
