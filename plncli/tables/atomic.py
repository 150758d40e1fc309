"""A folder or a file that appears whole or not at all, under one name, with everything in it on the disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from plncli.errors import DataError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A hidden sibling to fill, which takes the name `out` once it is complete; nothing is left of it on failure."""
    target = Path(os.path.realpath(out))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        _sync(partial)
        _take_place(partial, target)
        _sync(target.parent)
    except OSError as error:
        _discard(partial, made)
        reason = error.strerror or str(error)
        raise DataError(
            f"Cannot write the results into {out}: {reason}. Nothing was left behind; "
            "free some space, or choose another folder with --out."
        ) from error
    except BaseException:
        _discard(partial, made)
        raise


def _take_place(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`; a folder that was there is first moved aside, and moved back if that fails."""
    if not target.is_dir():
        partial.rename(target)  # fails where anything but a folder is in the way
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _discard(partial: Path, made: Sequence[Path]) -> None:
    """Remove the unfinished folder, and the parents that were made for it (innermost first)."""
    shutil.rmtree(partial, ignore_errors=True)
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            return


def tidy(out: Path) -> None:
    """Remove what killed processes left unfinished beside `out`; what they had moved aside to replace it comes back.

    For whoever holds the lock of `out`: nobody else is at work on it.
    """
    target = Path(os.path.realpath(out))
    name = re.escape(target.name)
    for path in sorted(target.parent.iterdir()):
        if path.is_symlink():  # none of ours
            continue
        if re.fullmatch(rf"\.{name}\.\d+\.old", path.name) and path.is_dir() and not target.exists():
            path.rename(target)
        elif re.fullmatch(rf"\.{name}\.\d+\.(old|partial)", path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif re.fullmatch(rf"\.\d+\.partial\.{name}", path.name) and path.is_file():
            path.unlink()


def whole_file(out: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all under its name."""
    with partial_file(out) as partial:
        write_file(partial, content)


@contextmanager
def partial_file(out: Path) -> Iterator[Path]:
    """A hidden sibling to write, of the same suffix, which takes the name `out` once it is whole."""
    target = Path(os.path.realpath(out))
    partial = target.with_name(f".{os.getpid()}.partial.{target.name}")
    try:
        partial.unlink(missing_ok=True)  # of a process that was killed; or a link, which would be followed
        yield partial
        _sync(partial)
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise DataError(f"Cannot write {out}: {error.strerror or error}. Choose another --out.") from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file that is not there yet through to the disk, where a lack of space shows."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Make the content of a file, or the entries of a folder, durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
