"""The sample data and configurations that come with the program."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """`sample_data` or `configs`: inside an installed package, or at the top of a source checkout."""
    installed = PACKAGE / "_data" / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def sample_data() -> dict[str, Path]:
    """Name -> folder of each sample data set."""
    return {path.name: path for path in sorted(folder("sample_data").iterdir()) if (path / "README.md").is_file()}
