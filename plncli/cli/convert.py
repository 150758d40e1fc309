"""`plncli convert`: a table from one format into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plncli import console
from plncli.cli.options import NoSampleNames, Overwrite, Quiet
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="Any table that is read: a file, the folder of a Matrix Market file, FILE::PART, or `-`.",
    ),
]
Output = Annotated[
    str,
    typer.Argument(
        metavar="OUTPUT",
        help="File to write (`-`: CSV on standard output): "
        ".csv, .tsv (also .gz), .parquet, .feather, .xlsx, .h5ad, .biom (2.1), .json (BIOM 1.0), "
        ".h5 (10x Genomics); or, without a suffix, a folder as 10x Genomics' (Matrix Market).",
    ),
]
Transpose = Annotated[bool, typer.Option("--transpose", help="Rows become columns: INPUT has features in rows.")]


def convert(
    input: Input,
    output: Output,
    transpose: Transpose = False,
    no_sample_names: NoSampleNames = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> int:
    """Convert a table into another format, with the names of its samples and features.

    The suffix of OUTPUT tells the format. FILE::obs is what an AnnData or BIOM file says of its samples.
    """
    from plncli.inputs.matching import turned
    from plncli.tables import conversion
    from plncli.tables.reading import read_table

    say = Console(quiet)
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
        table = read_table(input, "table", sample_names=not no_sample_names)
    except DataError as error:
        raise type(error)(str(error).replace("--table", "INPUT")) from None
    if transpose:
        table = turned(table, conversion.NUMBERS_ONLY)
    if output == "-":
        console.out(conversion.as_csv(table))
        return 0
    notes = (*table.notes, *conversion.write(table, Path(output), kind))
    for note in notes:
        say.note(f"note: {note}")
    rows, columns = counted(len(table.samples), "row"), counted(len(table.columns), "column")
    say.note(f"{rows} × {columns} of {table.name} are in {output}.")
    return 0
