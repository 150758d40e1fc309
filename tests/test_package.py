"""What help may load, and what the package offers by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
    from plncli.optim import OPTIMIZERS
    from plncli.tables.writing import FORMATS

    assert set(OPTIMIZERS) == set(names.OPTIMIZER_NAMES)
    assert names.TABLE_FORMATS == FORMATS


def test_the_package_offers_the_library_by_name() -> None:
    import plncli

    for name in set(plncli.__all__) - {"__version__", "PlncliError"}:
        assert getattr(plncli, name).__module__.startswith("plncli.frames.")
    with pytest.raises(AttributeError, match="no attribute"):
        plncli.nothing  # noqa: B018


def test_git_keeps_every_file_of_the_package() -> None:
    """A line of .gitignore that is meant for results may hide a folder of ours from git, and from what is built."""
    ask = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "plncli"]
    try:
        answer = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no git")
    if answer.returncode or not (ROOT / ".git").exists():
        pytest.skip("no repository")
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "plncli").rglob("*") if path.is_file()}
    hidden = files - {*answer.stdout.split("\0")}
    assert sorted(name for name in hidden if "__pycache__" not in name) == []
