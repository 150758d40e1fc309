"""Where results may go: what is in the way of a file or folder, and what may be replaced; asked before any work."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from plncli.errors import UsageError, some
from plncli.tables.writing import FORMATS


def check_target(
    out: Path, overwrite: bool, written: Collection[str], ours: Callable[[Path], bool] = lambda _: False
) -> None:
    """Refuse a folder that is in the way or cannot be written, before any work is done.

    written: names of the files that may be replaced; ours: whether a folder in it may.
    """
    if out.exists() and not out.is_dir():  # also a device: /dev/null must stay what it is
        raise UsageError(f"--out {out} is a file; the results need a folder. Choose another --out.")
    if out.is_dir():
        _check_replaceable(out, overwrite, written, ours)
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise UsageError(f"--out {out} cannot be made, since {parent} is a file. Choose another --out.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out} cannot be made, since {parent} is not writable. Choose another --out.")


def _check_replaceable(out: Path, overwrite: bool, written: Collection[str], ours: Callable[[Path], bool]) -> None:
    """Only what an earlier command wrote is ever replaced: --overwrite must not cost anyone a file of their own."""
    present = sorted(path.name for path in out.iterdir())
    if not overwrite:
        raise UsageError(f"--out {out} exists. Add --overwrite to replace it, or choose another folder with --out.")
    foreign = [name for name in present if (not ours(out / name) if _is_folder(out / name) else name not in written)]
    if foreign:
        raise UsageError(
            f"--overwrite would remove what plncli did not write from {out}: {some(foreign)}. "
            "Move it, or choose another folder with --out."
        )


def _is_folder(path: Path) -> bool:
    """Whether a folder lies there, of whatever name; a link to one can go without it."""
    return path.is_dir() and not path.is_symlink()


def check_file(out: Path, overwrite: bool, option: str = "--out", formats: Sequence[str] = FORMATS) -> str:
    """The format, one of `formats`, of what goes into the file `out`, by its suffix; refuses what is in the way."""
    suffix = out.suffix.removeprefix(".").lower()
    if suffix not in formats:
        raise UsageError(f"{option} {out} must end in one of .{', .'.join(formats)}, for that tells its format.")
    check_place(out, overwrite, option)
    return suffix


def check_place(out: Path, overwrite: bool, option: str = "--out") -> None:
    """Refuse what is in the way of a file to be written."""
    if out.is_dir() or (out.exists() and not out.is_file()):  # also a device: /dev/null must stay what it is
        raise UsageError(f"{option} {out} is no file that could be replaced. Choose another {option}.")
    if out.exists() and not overwrite:
        raise UsageError(f"{option} {out} exists. Add --overwrite to replace it, or choose another {option}.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{option} {out} cannot be written, since there is no folder {out.parent}.")
