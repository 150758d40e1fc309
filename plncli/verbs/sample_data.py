"""`sample-data`: write the tables that come with the program."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from plncli import console, resources
from plncli.errors import DataError, UsageError, nearest


def sample_data(name: str | None, out: str | None, *, overwrite: bool) -> int:
    """Write the tables of that name into a folder; without a name, list what there is."""
    known = resources.sample_data()
    if name is None:
        for known_name, folder in known.items():
            console.out(f"{known_name:<10}{_title(folder)}")
        return 0
    if name not in known:
        raise UsageError(f"There is no sample data `{name}`, only {', '.join(known)}.{nearest(name, list(known))}")
    target = Path(out or name)
    _copy(known[name], target, overwrite)
    console.out("\n".join(str(target / path.name) for path in _files(known[name])))
    console.hint(f"Next: {shlex.join(_first_fit(known[name], target))}")
    return 0


def _first_fit(folder: Path, target: Path) -> list[str]:
    """The last fit that its README tells of, of the tables in the folder `target`."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    words = shlex.split([line for line in lines if line.strip().startswith("plncli fit ")][-1])
    names = [path.name for path in _files(folder)]
    return [str(target / word) if word in names else word for word in words]


def _title(folder: Path) -> str:
    """The first heading of its README."""
    return (folder / "README.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _copy(source: Path, target: Path, overwrite: bool) -> None:
    in_the_way = [path.name for path in _files(source) if (target / path.name).exists()]
    if in_the_way and not overwrite:
        raise UsageError(f"`{target}` already holds {', '.join(in_the_way)}. Add --overwrite, or choose another --out.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in _files(source):
            shutil.copyfile(path, target / path.name)
    except OSError as error:
        raise DataError(f"Cannot write into `{target}`: {error.strerror or error}. Choose another --out.") from None
