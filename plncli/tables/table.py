"""A table in memory: names of its rows and columns, and its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plncli.tables.sparse import Sparse

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


COUNTS = ("counts", "given", "offsets", "exposure", "precision")
"""Options that name tables of samples × features."""


@dataclass(frozen=True)
class Drop:
    """What was left out, and why, as a sentence. `kind`: sample, feature, column, or row (of a table beside others)."""

    kind: str
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Table:
    """n samples × columns. `cells` has one pyarrow column per name, of type int64, float64, bool or string.

    `name` is how messages call the file, `option` the flag that gave it, `corner` the header of the sample names;
    `hint` says what else there is in the file, `about` is a data frame of what it says of the samples beside the table,
    `turned` says that rows and columns were swapped, `row` what a row is, `types` what the file declares of columns, by
    name; `facts` what it says of features: a text by feature, by name of the fact; `dropped` what was left out of it.
    """

    name: str
    option: str
    samples: tuple[str, ...] = field(repr=False)
    columns: tuple[str, ...] = field(repr=False)
    cells: pa.Table | Sparse = field(repr=False)
    sha256: str = ""
    notes: tuple[str, ...] = ()
    corner: str = ""
    hint: str = field(default="", repr=False)
    about: Any = field(default=None, repr=False)
    turned: bool = False
    row: str = "sample"
    types: Mapping[str, str] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    dropped: tuple[Drop, ...] = field(default=(), repr=False)

    def take(self, rows: np.ndarray | None) -> Table:
        """The given rows in the given order; all of them for None."""
        if rows is None:
            return self
        samples = tuple(self.samples[i] for i in rows.tolist())
        return replace(self, samples=samples, cells=self.cells.take(rows))

    def select(self, columns: Sequence[str]) -> Table:
        """The given columns in the given order."""
        at = {name: j for j, name in enumerate(self.columns)}
        places = [at[name] for name in columns]
        return replace(self, columns=tuple(columns), cells=self.cells.select(places))

    def noting(self, *notes: str) -> Table:
        """With more sentences for the user."""
        return replace(self, notes=(*self.notes, *notes))

    def telling(self, drop: Drop) -> Table:
        """With one more thing that was left out, and told."""
        return replace(self.noting(drop.reason), dropped=(*self.dropped, drop))

    def place(self, row: int, column: int) -> str:
        """How messages call a cell."""
        noun = "column" if self.option not in COUNTS else "feature" if self.row == "sample" else "sample"
        return f"{self.row} {self.samples[row]}, {noun} {self.columns[column]}"


def frame(table: Table, columns: Sequence[str]) -> Any:
    """The named columns as a pandas DataFrame: numbers as float64 (NaN missing), texts and booleans as categories.

    Levels are those that occur, sorted.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    content: dict[str, Any] = {}
    for name in columns:
        column = table.cells.column(table.columns.index(name))
        if pa.types.is_boolean(column.type):
            column = pc.if_else(column, "True", "False")
        if pa.types.is_string(column.type):
            coded = column.combine_chunks().dictionary_encode()
            words = coded.dictionary.to_pylist()
            codes = coded.indices.fill_null(-1).to_numpy()
            content[name] = pd.Categorical.from_codes(codes, categories=words).reorder_categories(sorted(words))
        else:
            content[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return pd.DataFrame(content, index=range(len(table.samples)), copy=False)
