"""What is imported is declared, and what is declared for the program is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SUPPLIERS = {"PIL": "pillow", "yaml": "pyyaml", "biom": "biom-format", "sklearn": "scikit-learn"}
"""Import name -> distribution, where they differ by more than case and dashes."""
OPTIONAL = {"tensorboardX": "tensorboard"}
"""What the program does without unless it is asked for, and its extra; `package(...)` of the formats names its own."""
COMMANDS = {"ruff", "mypy", "build"}
"""Called by name, from the Makefile."""
UNSEEN = {"pytest-xdist", "ipykernel", "setuptools", "sphinx", "furo", "myst-parser"}
"""A plugin of pytest, the kernel of notebooks, what pyPLNmodels imports undeclared, what `docs/conf.py` names."""
IN_DEVELOPMENT = ("soak.py", "coverage.py")
"""Benchmarks of plncli alone, which run where the tests do."""


def named(requirement: str) -> str:
    """The distribution of a requirement, or of an import name, as registries compare them."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", SUPPLIERS.get(name[0], name[0])).lower()


@cache
def declared(*extras: str) -> frozenset[str]:
    """Distributions that an installation with these extras asks for."""
    found: set[str] = set()
    for requirement in [*PROJECT["dependencies"], *(each for extra in extras for each in of_extra(extra))]:
        inner = re.match(r"plncli\[(.*)\]", requirement)
        found |= declared(*inner[1].split(",")) if inner else {named(requirement)}
    return frozenset(found)


def of_extra(extra: str) -> list[str]:
    assert extra in PROJECT["optional-dependencies"], f"there is no extra {extra}"
    return PROJECT["optional-dependencies"][extra]


@cache
def imported(path: Path) -> tuple[tuple[str, str], ...]:
    """Top-level names that a file imports, wherever in it, and the extra that `package(...)` says it comes with."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0], ""
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value).partition(".")[0]
            called = ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else ""
            if called == "package":
                extra = node.args[1]
                yield name, texts[extra.id] if isinstance(extra, ast.Name) else ast.literal_eval(extra)
            elif called == "pytest.importorskip":
                yield name, ""


def foreign(folder: str) -> Iterator[tuple[Path, str, str]]:
    """Of each file of a folder: the packages of others that it imports, and the extra they come with."""
    own = {"plncli", "benchmarks", "docs", "tests", *(path.stem for path in (ROOT / "tests").iterdir())}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name, extra in imported(path):
            if name not in own and name not in sys.stdlib_module_names:
                yield path.relative_to(ROOT), name, extra


def test_the_program_declares_what_it_imports() -> None:
    for path, name, extra in foreign("plncli"):
        extra = extra or OPTIONAL.get(name, "")
        known = declared(extra) if extra else declared()
        assert named(name) in known, f"{path} imports {name}: declare it in pyproject.toml ({extra or 'dependencies'})"


@pytest.mark.parametrize(
    ("folder", "extra"), [("tests", "test"), ("benchmarks", "bench"), ("docs", "docs"), ("sample_data", "test")]
)
def test_what_is_around_it_declares_what_it_imports(folder: str, extra: str) -> None:
    for path, name, _ in foreign(folder):
        known = declared("test" if path.name in IN_DEVELOPMENT else extra)
        assert named(name) in known, f"{path} imports {name}: declare it in pyproject.toml (extra {extra})"


def test_nothing_is_declared_for_nothing() -> None:
    extras = PROJECT["optional-dependencies"]
    used = {named(name) for folder in ("plncli", "tests", "benchmarks") for _, name, _ in foreign(folder)}
    ours = {named(name) for _, name, extra in foreign("plncli") if not extra and name not in OPTIONAL}
    assert declared() == ours
    assert declared(*extras) - used == COMMANDS | UNSEEN


def test_every_version_is_pinned() -> None:
    """`constraints.txt` names a version of all that is declared: what passes here today does so tomorrow."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {named(line) for line in lines if re.fullmatch(r"[\w.-]+==[\w.+]+", line)}
    assert declared(*PROJECT["optional-dependencies"]) - pinned == {"setuptools"}  # a range, of bench alone
