"""What help may load, and what the package offers by name."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
