"""The rooms of the house: which there are, which way imports go, how large a file and a function may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "plncli"
ROOMS = (
    "__main__",
    "cli",
    "frames",
    "reports",
    "plots",
    "verbs",
    "simulation",
    "runs",
    "inputs",
    "tables",
    "settings",
    "evaluation",
    "fitting",
    "results",
    "inference",
    "models",
    "optim",
    "numerics",
    "dataset",
    "sparse",
    "cancellation",
    "console",
    "runtime",
    "ranks",
    "progress",
    "resources",
    "arrays",
    "layout",
    "names",
    "citation",
    "version",
    "errors",
)
"""From the street down to the ground: a room imports what stands below it, and itself."""
FLOOR = {name: number for number, name in enumerate(ROOMS)}
STRANGERS = (("cli", "frames"), ("frames", "cli"), ("models", "optim"), ("optim", "dataset"))
"""Pairs of which the first does not import the second, although it stands above it."""
LIBRARY = ("evaluation", "fitting", "results", "inference", "models", "optim", "numerics")
LIBRARY += ("dataset", "ranks", "sparse", "arrays")
"""Where nothing is printed or opened, and torch is the only package."""
LINES, ROOM_LINES, FUNCTION_LINES = 400, 3000, 60
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)
WITHIN = [path for path in MODULES if path != Path("__init__.py")]


def room(path: Path) -> str:
    return path.with_suffix("").parts[0]


def tree(path: Path) -> ast.Module:
    return ast.parse((PACKAGE / path).read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Each module that a file imports, and whether it does so lazily, inside a function."""
    return tuple(_imports(path, tree(path)))


def _imports(path: Path, parsed: ast.Module) -> Iterator[tuple[str, bool]]:
    functions = [node for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef)]
    inner = (node for function in functions for node in ast.walk(function))
    lazy = {node for node in inner if isinstance(node, (ast.Import, ast.ImportFrom))}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            for alias in node.names:
                yield _module(node.module or "", alias.name), node in lazy


def _module(package: str, name: str) -> str:
    """What `from package import name` imports: a module of plncli where there is one of that name."""
    if not package.startswith("plncli"):
        return package
    place = PACKAGE.parent / package.replace(".", "/") / name
    return f"{package}.{name}" if place.with_suffix(".py").is_file() or place.is_dir() else package


def below(module: str) -> str:
    """The room of a module of plncli; nothing for the package itself."""
    return module.split(".")[1] if module.startswith("plncli.") else ""


def test_every_module_has_a_room() -> None:
    assert {room(path) for path in WITHIN} == set(ROOMS)


@pytest.mark.parametrize("path", WITHIN, ids=str)
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    for module, lazy in imports(path):
        there = below(module)
        if there:
            assert FLOOR[here] <= FLOOR[there], f"{path} imports {module}, which stands above it"
            assert (here, there) not in STRANGERS, f"{path} imports {module}"
        elif here in LIBRARY and not module.startswith("plncli"):
            top = module.split(".")[0]
            # Linear programs of separated data, and Student's t, are scipy's; nothing else needs it.
            lawful = {"numerics": ("scipy", "numpy"), "inference": ("scipy",)}
            standard = top == "torch" or top in sys.stdlib_module_names
            assert standard or (lazy and top in lawful.get(here, ())), f"{path} imports {module}"


def test_no_module_needs_itself() -> None:
    """No circle: of the modules that are imported when a module is, for their types alone or not, none is itself."""
    needs = {
        _name(path): {module for module, lazy in imports(path) if module.startswith("plncli.") and not lazy}
        for path in WITHIN
    }
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(needs.get(module, ())):
                walk(other, (*way, module))
            done.add(module)

    for module in sorted(needs):
        walk(module, ())


def _name(path: Path) -> str:
    return ".".join(("plncli", *path.with_suffix("").parts)).removesuffix(".__init__")


@pytest.mark.parametrize("path", WITHIN, ids=str)
def test_files_and_functions_have_one_concept(path: Path) -> None:
    """A function may be longer than FUNCTION_LINES, its docstring left out, with a reason: `# long: ...` beside it."""
    text = (PACKAGE / path).read_text(encoding="utf-8").splitlines()
    assert len(text) <= LINES, f"{path} has {len(text)} lines"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            size = (node.end_lineno or 0) - first.lineno + 1
            reasoned = any("# long: " in line for line in text[node.lineno - 1 : first.lineno])
            assert size <= FUNCTION_LINES or reasoned, f"{path}: {node.name} has {size} lines"


FOLDERS = sorted({path.parent for path in WITHIN if len(path.parts) > 1})


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_room_has_its_size(folder: Path) -> None:
    """A folder within a room, such as that of a model, is a room of its own here."""
    lines = sum(len((PACKAGE / path).read_text().splitlines()) for path in WITHIN if path.parent == folder)
    assert lines <= ROOM_LINES, f"{folder} has {lines} lines"


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != Path("tables/formats")], ids=str)
def test_a_room_says_what_it_is(folder: Path) -> None:
    said = ast.get_docstring(tree(folder / "__init__.py")) or ""
    assert "What may enter: " in said
    assert "Never: " in said


@pytest.mark.parametrize("path", [path for path in WITHIN if room(path) in LIBRARY], ids=str)
def test_the_library_is_silent(path: Path) -> None:
    names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    assert not names & {"print", "open", "input"}


def test_only_runtime_says_cuda() -> None:
    """The list of settings says what --device may be, and errors or help may name it; no other code asks for one."""
    saying = {str(path) for path in MODULES if "cuda" in (PACKAGE / path).read_text(encoding="utf-8")}
    assert {path for path in saying if not path.startswith("settings/")} <= {"runtime.py"}
