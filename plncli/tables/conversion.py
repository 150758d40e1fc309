"""One table from a format to another, with the names of its rows and columns."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from plncli.errors import UsageError, nearest, some
from plncli.tables import qiime, target
from plncli.tables import writing as output
from plncli.tables.atomic import partial_file, whole_folder, write_file
from plncli.tables.formats import biom, excel, h5ad, market, tenx
from plncli.tables.numbers import numbers, refuse
from plncli.tables.sparse import Sparse, csr
from plncli.tables.table import Table
from plncli.tables.target import check_target
from plncli.tables.text import values_of

FOLDER = "folder"
MATRICES: dict[str, Callable[..., None]] = {
    ".h5ad": h5ad.write,
    ".biom": biom.write,
    ".json": biom.write,
    ".h5": tenx.write,
    FOLDER: market.write,
}
"""What writes numbers with names on both sides, by suffix."""
TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SUFFIXES = (*TEXTS, ".parquet", ".feather", ".xlsx", *(suffix for suffix in MATRICES if suffix != FOLDER))
IN_FOLDER = {"matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz"}
NUMBERS_ONLY = "This format holds numbers alone; .csv, .parquet or .xlsx take texts too."


def format_of(out: str, overwrite: bool) -> str:
    """The format that a path asks for, by its suffix; a folder for a path without one. Refuses what is in the way."""
    path = Path(out)
    name = path.name.lower()
    suffix = next((known for known in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(known)), "")
    if out.endswith("/") or path.is_dir() or not path.suffix:
        check_target(path, overwrite, IN_FOLDER)
        return FOLDER
    if not suffix:
        raise UsageError(
            f"{out} must end in one of {some(SUFFIXES, 99)}, for that tells its format; without a suffix it is a "
            f"folder as 10x Genomics' (Matrix Market).{nearest(path.suffix, SUFFIXES)}"
        )
    target.check_place(path, overwrite, "OUTPUT")
    return suffix


def write(table: Table, out: Path, kind: str) -> tuple[str, ...]:
    """Write a table; sentences tell what the format has no place for."""
    if kind in MATRICES:
        values = _matrix(table, kind)
        with whole_folder(out) if kind == FOLDER else partial_file(out) as partial:
            MATRICES[kind](partial, list(table.samples), list(table.columns), values, table.about, table.facts)
        return facts_lost(table, kind)
    with partial_file(out) as partial:
        if kind == ".xlsx":
            columns = [column.to_pylist() for column in _columns(table)]
            excel.write(partial, [_corner(table), *table.columns], [list(table.samples), *columns])
        else:
            content = output.table_bytes(_arrow(table), kind.split(".")[1])
            if kind.startswith(".tsv") and table.types and not _marked(table):
                content = _with_types(content, table)
            write_file(partial, gzip.compress(content, mtime=0) if kind.endswith(".gz") else content)
    typed = kind.startswith((".tsv", ".parquet", ".feather")) and not (kind.startswith(".tsv") and _marked(table))
    return (*facts_lost(table, kind), *(() if typed else types_lost(table)))


def facts_lost(table: Table, kind: str) -> tuple[str, ...]:
    """Sentences on what a file says of its samples and features that a format has no place for."""
    bare = kind in (FOLDER, ".h5")
    lost = {"samples": table.about is not None and bare, "features": table.facts and (bare or kind not in MATRICES)}
    return tuple(f"What {table.name} says of its {side} has no place in this format." for side in lost if lost[side])


def _with_types(content: bytes, table: Table) -> bytes:
    """Tab-separated text with the line that declares its columns, as QIIME 2 has it below the header."""
    header, _, rows = content.partition(b"\n")
    words = [qiime.TYPES_LINE, *(table.types.get(name, "") for name in table.columns)]
    return b"\n".join([header, "\t".join(words).encode(), rows])


def types_lost(table: Table) -> tuple[str, ...]:
    """A sentence on columns of labels that would be read back from text as numbers, or truth values."""
    lost = [
        name
        for name, kind in table.types.items()
        if kind == qiime.CATEGORICAL and not _stay_texts(table.cells.column(table.columns.index(name)).to_pylist())
    ]
    if not lost:
        return ()
    return (
        f"{some(f'`{name}`' for name in lost)} of {table.name} hold labels that look like numbers, which this format "
        "cannot tell: write .tsv (with their types, as QIIME 2 has them) or .parquet, or use C(column) in formulas.",
    )


def _stay_texts(words: Sequence[str | None]) -> bool:
    """Whether words of a column of labels are read back as such."""
    return all(word is None or isinstance(word, str) for word in values_of(words))


def as_csv(table: Table) -> str:
    """A table as comma-separated text."""
    return output.table_bytes(_arrow(table), "csv").decode()


def _arrow(table: Table) -> pa.Table:
    """Names and columns."""
    names = output.text_column(table.samples)
    return pa.Table.from_arrays([names, *_columns(table)], [_corner(table), *table.columns])


def _corner(table: Table) -> str:
    """The header of the names, as it was where it was read; not one below which QIIME 2 would see comments."""
    comments = qiime.is_id(table.corner) and _marked(table)
    return ("" if comments else table.corner) or output.corner("sample", table.columns)


def _marked(table: Table) -> bool:
    """Whether some name is like a comment of QIIME 2's metadata."""
    return any(qiime.is_marked(name.encode()) for name in table.samples)


def _columns(table: Table) -> Iterator[Any]:
    """The columns; whole numbers of a sparse table as such."""
    import numpy as np

    whole = isinstance(table.cells, Sparse) and bool((table.cells.values.data % 1 == 0).all())
    for column in table.cells.columns:
        yield column.cast(pa.int64()) if whole and not np.any(column.is_null()) else column


def _matrix(table: Table, kind: str) -> Any:
    """n×p numbers, sparse; DataError for texts, and for missing entries."""
    if isinstance(table.cells, Sparse):
        return table.cells.values
    values, missing = numbers(table, NUMBERS_ONLY)
    refuse(table, missing, "missing entry", f"A file of the kind {kind} cannot leave an entry open.")
    return csr(values)
