"""Rows of a table that stay in their file, as the data set of a regression has them: encoded when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plncli.dataset import Names, Numbered
from plncli.inputs.blocks.learning import Learnt, as_numbers
from plncli.inputs.designs.encoding import Encoding
from plncli.tables.stored import StoredTable, filtered
from plncli.tables.table import Table, frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Response:
    """A response: a column, or the encoding of an expression; second: the class that is 1, None for numbers."""

    name: str
    encoding: Encoding | None = field(default=None, repr=False)
    second: Any = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What it is made of."""
        return (self.name,) if self.encoding is None else tuple(self.encoding.columns)

    def values(self, table: Table) -> np.ndarray:
        """(b,) of a block of rows."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.encoding is not None:
            found = self.encoding.build(frame(table, list(self.encoding.columns)))[:, 0]
            return found if self.second is None else (found == self.second).astype(np.float64)
        column = table.cells.column(table.columns.index(self.name))
        if self.second is None:
            return floats(column)
        if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
            return floats(pc.equal(column, pa.scalar(self.second, column.type)))
        return (floats(column) == float(self.second)).astype(np.float64)


def floats(column: Any) -> np.ndarray:
    """(b,) float64 of a column of numbers, or of what is true or false, without missing ones."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    made: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return made.astype(np.float64, copy=False)


@dataclass(frozen=True)
class StoredRows:
    """The rows of a table that are kept (of the file, None: all), by blocks of at most `rows` of the file.

    weights: the column that holds them, empty where all are 1.
    """

    table: StoredTable
    kept: np.ndarray | None = field(repr=False)
    rows: int
    learnt: Learnt = field(repr=False)
    responses: tuple[Response, ...] = ()
    weights: str = ""

    @property
    def n(self) -> int:
        """How many there are."""
        start, stop = self.table.span
        return stop - start if self.kept is None else int(self.kept[start:stop].sum())

    @property
    def samples(self) -> Names:
        """Their names; numbers where they are a share of all."""
        return self.table.names(self.kept) if self.table.span == (0, self.table.n) else Numbered(self.n)

    def share(self, own: int, number: int) -> StoredRows:
        """One of so many runs of them."""
        return replace(self, table=self.table.share(own, number))

    def read(self, letters: str) -> Iterator[Mapping[str, Tensor]]:
        """Blocks of b rows: of these letters Y (b×p), X (b×d), O (b×1) and w (b,)."""
        columns = self._columns(letters)
        for table in self.tables(columns) if columns else self._bare():
            b = len(table.samples)
            made: dict[str, Tensor] = {}
            if "Y" in letters:
                made["Y"] = _by_columns([response.values(table) for response in self.responses])
            if "X" in letters:
                made["X"] = self._design(table)
            if "O" in letters:
                encoding = self.learnt.design.offset_encoding
                O = None if encoding is None else encoding.build(frame(table, list(encoding.columns))).sum(axis=1)
                made["O"] = torch.zeros((b, 1), dtype=torch.float64) if O is None else torch.from_numpy(O)[:, None]
            if "w" in letters:
                one = table.select([self.weights]).cells.column(0) if self.weights else None
                made["w"] = torch.ones(b, dtype=torch.float64) if one is None else torch.from_numpy(floats(one).copy())
            yield made

    def tables(self, columns: Sequence[str]) -> Iterator[Table]:
        """Blocks of some columns, of the rows that are kept; texts that are numbers as such."""
        for first, block in self.table.blocks(columns, self.rows):
            b = len(block.samples)
            mask = None if self.kept is None else self.kept[first : first + b]
            if mask is not None and not mask.all():
                if not mask.any():
                    continue
                samples = range(int(mask.sum()))  # nobody asks for their names
                block = Table(block.name, block.option, samples, block.columns, filtered(block, mask))  # type: ignore[arg-type]
            yield as_numbers(block, self.learnt.numeric)

    def _bare(self) -> Iterator[Table]:
        """Blocks without a column, for which nothing is read."""
        import pyarrow as pa

        for first in range(0, self.n, self.rows):
            samples = range(min(self.rows, self.n - first))
            yield Table(self.table.name, self.table.option, samples, (), pa.table({}))  # type: ignore[arg-type]

    def frames(self) -> Iterator[pd.DataFrame]:
        """The columns that the formula uses, by blocks."""
        columns = self.learnt.design.formula.columns
        return (frame(table, columns) for table in self.tables(columns))

    def _columns(self, letters: str) -> tuple[str, ...]:
        """What must be read for these letters."""
        design = self.learnt.design
        needed: list[str] = []
        if "Y" in letters:
            needed += [name for response in self.responses for name in response.columns]
        if "X" in letters and design.encoding is not None:
            needed += design.encoding.columns
        if "O" in letters and design.offset_encoding is not None:
            needed += design.offset_encoding.columns
        if "w" in letters and self.weights:
            needed.append(self.weights)
        return tuple(dict.fromkeys(needed))

    def _design(self, table: Table) -> Tensor:
        """X (b×d) of a block of rows: columns that are terms as they are, or as the formula makes them."""
        import numpy as np

        encoding = self.learnt.design.encoding
        if encoding is None:
            return torch.ones((len(table.samples), 1), dtype=torch.float64)
        terms = _slopes(encoding)
        if terms is None:
            return torch.from_numpy(encoding.build(frame(table, list(encoding.columns))))
        ones = np.ones(len(table.samples))
        return _by_columns([ones if name == "" else floats(table.select([name]).cells.column(0)) for name in terms])


def _slopes(encoding: Encoding) -> list[str] | None:
    """The column that each column of the design is, nothing for the intercept; None where one is made otherwise."""
    names: list[str] = [""] * len(encoding.terms)
    if encoding.aliased is not None or encoding.factors:
        return None
    for term, places in encoding.state["columns"].items():
        name = "" if term == "1" else term.strip("`")
        if len(places) != 1 or (name and name not in encoding.columns):
            return None
        names[places[0]] = name
    return names


def _by_columns(columns: Sequence[np.ndarray]) -> Tensor:
    """Columns (b,) as a table b×c, each of them in one piece."""
    import numpy as np

    out = np.empty((len(columns), len(columns[0])))
    for place, column in enumerate(columns):
        out[place] = column
    return torch.from_numpy(out).T
