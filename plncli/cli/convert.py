"""`plncli convert`: a table from one format into another."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.new_data import NoSampleNames
from plncli.cli.options import Overwrite, Quiet
from plncli.console import Console

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
Transpose = Annotated[
    bool | None,
    typer.Option(
        "--transpose/--no-transpose",
        help="Whether rows become columns; without it, where INPUT has features in rows and OUTPUT holds samples × "
        "features (AnnData, BIOM, 10x Genomics).",
        show_default=False,
    ),
]


def convert(
    input: Input,
    output: Output,
    transpose: Transpose = None,
    no_sample_names: NoSampleNames = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> int:
    """Convert a table into another format.

    Names of samples and features go with it. The suffix of OUTPUT tells the format. FILE::obs is what an AnnData or
    BIOM file says of its samples.
    """
    from plncli.verbs import convert as verb

    say, named = Console(quiet), not no_sample_names
    return verb.convert(input, output, say, transpose=transpose, sample_names=named, overwrite=overwrite)
