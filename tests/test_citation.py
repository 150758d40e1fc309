"""How to cite: CITATION.cff, `plncli --citation` and BibTeX tell the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plncli import citation
from plncli.version import __version__

ROOT = Path(__file__).parents[1]
FILE = ROOT / "CITATION.cff"


def test_the_file_is_that_of_the_program() -> None:
    assert FILE.read_text(encoding="utf-8") == citation.cff(), "run `make citation`"


def test_the_file_says_what_the_format_asks_for() -> None:
    """Required and allowed keys of the Citation File Format 1.2.0; that a validator agrees is tried below."""
    told = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(told)
    assert told["cff-version"] == "1.2.0" and told["version"] == __version__ and told["type"] == "software"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told["title"].startswith(f"{project['name']}: ")
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert license_text.startswith(told["license"]) and f"{citation.YEAR} {citation.AUTHORS}" in license_text
    assert [reference["year"] for reference in told["references"]] == [1989, 2018, 2021]
    for reference in told["references"]:
        assert {"type", "title", "authors", "journal", "year", "volume", "start", "end", "doi"} <= set(reference)
        assert all(set(author) == {"family-names", "given-names"} for author in reference["authors"])
        assert re.fullmatch(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9]+", reference["doi"])
        assert all(isinstance(reference[name], int) for name in ("year", "volume"))


@pytest.mark.skipif(shutil.which("cffconvert") is None, reason="no cffconvert on the PATH, which needs old packages")
def test_a_validator_agrees() -> None:
    done = subprocess.run(["cffconvert", "--validate"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_tells_text_and_bibtex(cli: Callable[..., Any]) -> None:
    done = cli("--citation")
    assert done.code == 0 and done.err == ""
    assert f"Version {__version__}." in done.out
    entries = re.findall(r"@(\w+)\{(\w+),\n((?:  \w+ = \{.*\},\n)+)\}", done.out)
    assert [kind for kind, *_ in entries] == ["software", "article", "article", "article"]
    fields = [dict(re.findall(r"  (\w+) = \{(.*)\},", body)) for *_, body in entries]
    told = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for found, reference in zip(fields[1:], told["references"], strict=True):
        assert found["title"] == f"{{{reference['title']}}}" and int(found["year"]) == reference["year"]
        authors = [f"{one['family-names']}, {one['given-names']}" for one in reference["authors"]]
        assert found["author"] == " and ".join(authors)
        assert f"https://doi.org/{reference['doi']}" in done.out and found["doi"] == reference["doi"]
        assert found["pages"].split("--")[0] == reference["start"]
