"""What the formats of the field have in common: a matrix with names on both sides, and a package that reads it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from plncli.errors import DataError, PlncliError, counted
from plncli.tables.content import File, refuse_large
from plncli.tables.sparse import CSR, csr

OBS = "obs"
"""The part of a file that says what its samples are."""


Facts = Mapping[str, Mapping[str, str]]
"""What is said of features: a text by feature, by name of the fact."""


class Matrix(NamedTuple):
    """n samples × p features as a file of the field holds them.

    values: None where only `about` was asked for.
    about: a data frame of what the file says of the samples, None where it says nothing; hint: what else there is to
    choose in the file, as a sentence; facts: what it says of the features, a text by feature, by name of the fact.
    """

    samples: Sequence[str]
    features: Sequence[str]
    values: CSR | None
    about: Any = None
    notes: tuple[str, ...] = ()
    hint: str = ""
    facts: Facts = MappingProxyType({})


INSTALLED_AS = {"biom": "biom-format", "python_calamine": "python-calamine"}
"""Packages that are installed by another name than they are imported by."""


def package(module: str, extra: str, what: str) -> Any:
    """A package that a format takes; DataError tells how to install it, whether or not plncli came from an index."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise DataError(
            f"{what} takes the package {name}, which is not installed: pip install {INSTALLED_AS.get(name, name)}, or "
            f"install plncli with its extra `{extra}`."
        ) from None


@contextmanager
def reading(file: File, kind: str) -> Iterator[None]:
    """DataError for whatever a package says of a damaged file; its warnings are for those who program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PlncliError:
        raise
    except MemoryError:
        raise DataError(
            f"{file.name} is damaged: it says that it holds more than memory does. Fetch it again."
        ) from None
    except Exception as error:  # noqa: BLE001 (each package has errors of its own)
        words = str(error).strip().splitlines()
        reason = f" ({words[0][:200].rstrip('.')})" if words else ""
        raise DataError(
            f"{file.name} is damaged, or not quite {kind}: it cannot be read{reason}. Write or fetch it again."
        ) from None


@contextmanager
def hdf5(file: File) -> Iterator[Any]:
    """The HDF5 file, open for reading."""
    h5py = package("h5py", "formats", f"{file.name} is an HDF5 file. Reading it")
    with h5py.File(file.path if file.path is not None else io.BytesIO(file.data), "r") as opened:
        yield opened


def held(file: File, *parts: Any) -> None:
    """DataError where parts of an HDF5 file say that they hold more than the memory does, whatever their bytes."""
    sizes: list[int] = []

    def count(_: str, part: Any) -> None:
        sizes.append(getattr(part, "nbytes", 0))

    for part in parts:
        count("", part)
        if hasattr(part, "visititems"):
            part.visititems(count)
    refuse_large(sum(sizes), file.name)


def rows_of(values: Any, samples: Sequence[str], features: Sequence[str], name: str) -> CSR:
    """A matrix of any kind as n×p; DataError where it has another shape than its names say."""
    if values.shape != (len(samples), len(features)):
        raise DataError(
            f"{name} is damaged: its matrix is {' × '.join(map(str, values.shape))}, but it names "
            f"{counted(len(samples), 'sample')} and {counted(len(features), 'feature')}. Write or fetch it again."
        )
    return csr(values)


def words(values: Any) -> list[str]:
    """Names as text: of bytes, texts or numbers."""
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def no_part(file: File, kind: str) -> None:
    """DataError where a part is asked for and there are none."""
    if file.part not in ("", OBS):
        raise DataError(f"{file.name} is {kind}, which has no parts to choose `{file.part}` from.")
