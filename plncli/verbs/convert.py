"""`convert`: a table from one format into another."""

from __future__ import annotations

from pathlib import Path

from plncli import console
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted


def convert(
    input: str, output: str, say: Console, *, transpose: bool | None, sample_names: bool, overwrite: bool
) -> int:
    """Read a table, and write it in the format that the suffix of `output` tells; `-`: CSV on standard output.

    transpose: None turns a table with features in rows where the format is one of samples × features.
    """
    from plncli.inputs.layout.orientation import samples_by_features
    from plncli.tables import conversion
    from plncli.tables.reading import read_table

    kind = ".csv" if output == "-" else conversion.format_of(output, overwrite)
    if (
        output != "-"
        and input != "-"
        and Path(input).exists()
        and Path(output).exists()
        and Path(input).samefile(output)
    ):
        raise UsageError(f"INPUT and OUTPUT are the same, {output}.")
    try:
        table = read_table(input, "table", sample_names=sample_names)
    except DataError as error:
        raise type(error)(str(error).replace("--table", "INPUT")) from None
    if transpose or (transpose is None and kind in conversion.MATRICES):
        table = samples_by_features(table, {}, transpose, conversion.NUMBERS_ONLY, named=sample_names)
    if output == "-":
        console.out(conversion.as_csv(table))
        for note in conversion.types_lost(table):
            say.note(f"note: {note}")
        return 0
    notes = (*table.notes, *conversion.write(table, Path(output), kind))
    for note in notes:
        say.note(f"note: {note}")
    rows, columns = counted(len(table.samples), "row"), counted(len(table.columns), "column")
    say.note(f"{rows} × {columns} of {table.name} are in {output}.")
    return 0
