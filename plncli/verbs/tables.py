"""A table that was asked for: into a file, or onto standard output as text or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plncli import console
from plncli.errors import UsageError


@dataclass(frozen=True)
class Destination:
    """Where a table goes: into the file `out`, or without one onto standard output, as JSON or as text.

    suffix: the format, of the file or of the text. read: a person reads it, on a terminal, and asked for no format.
    """

    out: str | None
    suffix: str
    json: bool = False
    read: bool = False

    def deliver(self, columns: Mapping[str, Any]) -> None:
        """Columns by name, numbers as arrays and texts as lists, to where they go."""
        from plncli.tables.writing import records, table, table_bytes, to_json

        if self.out is not None:
            write(columns, self.out, self.suffix)
        if self.json:
            console.out(to_json(records(columns)))
        elif self.out is None:
            console.out(table_bytes(table(columns), self.suffix).decode())


def destination(out: str | None, overwrite: bool, format: str | None, json: bool) -> Destination:
    """Where a table is asked to go; see `check`."""
    read = out is None and format is None and not json and console.watched()
    return Destination(out, check(out, overwrite, format), json, read)


def check(out: str | None, overwrite: bool, format: str | None = None, option: str = "--out") -> str:
    """The format of the table, before any work is done: of the file `out`, or of text on standard output."""
    from plncli.tables.target import check_file

    if out is not None:
        if format is not None:
            raise UsageError(f"--format is that of standard output; the suffix of {option} tells that of the file.")
        return check_file(Path(out), overwrite, option)
    if format not in (None, "csv", "tsv"):
        raise UsageError(f"--format must be csv or tsv, not {format}; other formats need a file, --out FILE.")
    return format or "csv"


def only_with(switch: str, options: Mapping[str, object]) -> None:
    """UsageError for an option that was given, and means nothing without the switch."""
    for name, value in options.items():
        if value not in (None, False):
            raise UsageError(f"{name} goes with {switch}. Add it, or leave {name} out.")


def write(columns: Mapping[str, Any], out: str, suffix: str) -> None:
    """Columns into the file `out`."""
    from plncli.tables.atomic import whole_file
    from plncli.tables.writing import table, table_bytes

    whole_file(Path(out), table_bytes(table(columns), suffix))


def sample_rows(samples: Sequence[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row a sample: their names, under `sample` unless a column is called so, and columns by name."""
    from plncli.tables.writing import corner

    return {corner("sample", list(columns)): list(samples), **columns}
