"""What commands may load, and what the package offers by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran

ROOT = Path(__file__).parent.parent


LIGHT = ("--version", "--help", "fit pln --help", "help fit pln", "graph linear -h", "plot -h", "report -h")
LARGE = {"torch", "numpy", "pandas", "pyarrow", "formulaic", "scipy", "matplotlib", "jinja2"}
STEPS = {
    "reading": [
        *((words, LARGE) for words in LIGHT),
        *((words, {"torch", "pandas", "formulaic"}) for words in ("show full", "compare full loose")),
    ],
    # What covariates need takes longer to import than the fit of a small table.
    "fitting": [
        ("fit pln --counts made/counts.csv --exposure made/exposure.csv -q", {"pandas", "formulaic", "scipy"}),
        ("plot full sigma -q", {"matplotlib.pyplot"}),
    ],
}
"""Commands of one process, those that load least first, and what must not have been loaded after each."""
LOADING = """
import sys
from plncli.cli import main
for words, large in {steps!r}:
    sys.argv = ["plncli", *words.split()]
    try: main()
    except SystemExit as exited: assert not exited.code, words
    found = sorted(large & set(sys.modules))
    assert not found, f"{{words}}: {{found}}"
if (drawn := sys.modules.get("matplotlib")) is not None:
    assert drawn.rcParams._get("backend") is drawn.rcsetup._auto_backend_sentinel
"""


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(steps, id=name, marks=pytest.mark.slow if name == "fitting" else ())
        for name, steps in STEPS.items()
    ],
)
def test_commands_load_nothing_large_that_they_do_not_need(
    cli: Callable[..., Ran], tmp_path: Path, steps: list[tuple[str, set[str]]]
) -> None:
    """Nor does a picture choose how matplotlib draws."""
    assert cli("simulate", "--n", "30", "--p", "3", "--out", "made").code == 0
    for name, tol in (("full", "1e-5"), ("loose", "1e-3")):
        assert cli("fit", "pln", "--config", "made/config.toml", "--tol", tol, "--out", name).code == 0
    code, env = LOADING.format(steps=steps), {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    ask = [sys.executable, "-c", code]
    done = subprocess.run(ask, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    fitted = steps is STEPS["fitting"]
    assert (tmp_path / "counts-pln/coefficients.csv").exists() == (tmp_path / "full-sigma.png").exists() == fitted


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
