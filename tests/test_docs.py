"""What README and docs say exists, does, and what exists is in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from plncli import cli as command_line
from plncli.models.pln.spec import COVARIANCES
from plncli.names import OPTIMIZER_NAMES
from plncli.runs import folder as artifacts
from plncli.settings import option, settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def flags(command: Any) -> Iterator[str]:
    """Every option of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from flags(inner)


KNOWN = {"--help"} | set(flags(typer.main.get_command(command_line.application())))


def test_every_option_of_the_docs_exists() -> None:
    ours = re.sub("(?m)^ *#SBATCH .*$", "", TEXT)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) <= KNOWN


def test_every_setting_is_in_the_docs() -> None:
    negative = {"sample_names": "--no-sample-names", "latent": "--no-latent"}
    assert [name for name in settings() if f"`{negative.get(name, option(name))}" not in TEXT] == []


def test_every_choice_is_in_the_docs() -> None:
    assert [name for name in (*OPTIMIZER_NAMES, *COVARIANCES) if f"`{name}`" not in TEXT] == []


def test_every_file_of_a_fit_is_in_the_docs() -> None:
    written = {*(f"{table}.csv" for table in artifacts.table_names()), *artifacts.OTHERS}
    assert [name for name in sorted(written) if f"`{name}`" not in TEXT] == []


def test_every_exit_code_is_in_the_docs() -> None:
    codes = re.findall(r"\b(\d+) ", command_line.EXIT_CODES)
    assert len(codes) == 8
    assert [code for code in codes if not re.search(rf"^\| ({code}\b|.*, {code} \|)", TEXT, re.MULTILINE)] == []
