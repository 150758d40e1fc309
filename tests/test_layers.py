"""The direction of imports, and what help may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "plncli"
LAYERS = (
    ("errors", "arrays", "names"),
    ("dataset", "depths", "linalg", "likelihoods", "separation", "streaming", "distributions"),
    ("optim", "models"),
    (
        "criteria",
        "inference",
        "results",
        "hypotheses",
        "simulation",
        "prediction",
        "importance",
        "diagnostics",
        "scoring",
    ),
    ("fitting", "resampling", "workers", "crossvalidation", "timing"),
    ("runtime", "memory", "files"),
    ("pictures",),
    ("reports",),
    ("console", "cli", "__main__", "frames"),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each module that a file imports, and whether it does so lazily, inside a function."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lazy = {inner for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            names = [f"plncli.{alias.name}" for alias in node.names] if node.module == "plncli" else [node.module or ""]
            yield from ((name, node in lazy) for name in names)


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", [path for path in MODULES if path != Path("__init__.py")], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    name = path.with_suffix("").parts[0]
    for module, lazy in imports(path):
        if module.startswith("plncli") and part(module) in LAYER:
            below = LAYER[part(module)] <= LAYER[name]
            assert below, f"{path} (layer {LAYER[name]}) imports {module} (layer {LAYER[part(module)]})"
            assert (name, part(module)) not in {("models", "optim"), ("optim", "models")}, f"{path} imports {module}"
            assert (name, part(module)) != ("optim", "dataset"), f"{path}: optimizers know no data"
        elif LAYER[name] <= LAYER["fitting"]:
            top = module.split(".")[0]
            allowed = top == "torch" or top in sys.stdlib_module_names
            # Linear programs of separated data, and Student's t, are scipy's; nothing else needs it.
            lawful = {"separation": ("scipy", "numpy"), "inference": ("scipy",)}
            assert allowed or (lazy and top in lawful.get(name, ())), f"{path} imports {module}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if LAYER.get(path.with_suffix("").parts[0], 9) <= 4], ids=str
)
def test_the_library_is_silent(path: Path) -> None:
    names = {node.id for node in ast.walk(ast.parse((PACKAGE / path).read_text())) if isinstance(node, ast.Name)}
    assert not names & {"print", "open", "input"}


def test_only_runtime_says_cuda() -> None:
    """files/config.py lists what --device may be, and errors or help may name it; no other code asks for a device."""
    allowed = {"runtime.py", "files/config.py"}
    saying = {str(path) for path in MODULES if "cuda" in (PACKAGE / path).read_text(encoding="utf-8")}
    assert saying <= allowed


@pytest.mark.parametrize(
    "args",
    [["--help"], ["fit", "pln", "--help"], ["graph", "linear", "-h"], ["plot", "-h"], ["report", "-h"], ["--version"]],
    ids=" ".join,
)
def test_help_loads_nothing_large(args: list[str]) -> None:
    code = (
        "import sys\nfrom plncli.cli import main\n"
        f"sys.argv = ['plncli', *{args!r}]\n"
        "try: main()\nexcept SystemExit as exited: assert not exited.code\n"
        "large = {'torch', 'numpy', 'pandas', 'pyarrow', 'formulaic', 'scipy', 'matplotlib', 'jinja2'}\n"
        "sys.exit(str(sorted(large & set(sys.modules)) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == ""


def test_names_equal_the_registries() -> None:
    from plncli import names
    from plncli.models import MODELS
    from plncli.optim import OPTIMIZERS

    assert tuple(MODELS) == names.MODEL_NAMES
    assert set(OPTIMIZERS) == set(names.OPTIMIZER_NAMES)
    assert tuple(names.SE_METHODS) == names.MODEL_NAMES


def test_the_package_offers_the_library_by_name() -> None:
    import plncli

    for name in set(plncli.__all__) - {"__version__", "PlncliError"}:
        assert getattr(plncli, name).__module__.startswith("plncli.frames.")
    with pytest.raises(AttributeError, match="no attribute"):
        plncli.nothing  # noqa: B018
