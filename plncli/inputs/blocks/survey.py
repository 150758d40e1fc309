"""What must be known of all rows of a table before any is encoded: which are kept, levels of factors, ranges.

One pass tells it. Rows in which a level, or a combination of levels, occurs first are kept as examples: what a formula
makes of them decides its columns as all rows would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import NAMES, DataError, counted, some
from plncli.inputs.cells import HUGE
from plncli.inputs.filter import holds
from plncli.tables.numbers import cells_message, numeric
from plncli.tables.stored import StoredTable, filtered
from plncli.tables.table import Drop, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MOST_LEVELS = 10_000
"""Labels of a column beyond which nothing is learnt by blocks."""
FEW_VALUES = 1000
"""Different numbers of a column that are counted."""
LISTED = 10_000
"""Samples left out that are listed by name."""


class NotByBlocks(Exception):
    """Why a table cannot be read by blocks, as the end of a sentence; it may be read whole."""


@dataclass
class Column:
    """A column in the rows that are kept: labels, or numbers from low to high, with how often each occurs.

    sizes: None for numbers that are many. kind: of its cells. numeric: whether it is texts all of which are numbers.
    """

    kind: pa.DataType
    sizes: Counter[Any] | None = field(default_factory=Counter)
    low: float = float("inf")
    high: float = float("-inf")
    numeric: bool = False

    @property
    def labels(self) -> bool:
        """Whether it holds labels rather than numbers."""
        import pyarrow as pa

        return not self.numeric and (pa.types.is_string(self.kind) or pa.types.is_boolean(self.kind))

    @property
    def values(self) -> list[Any]:
        """Its different values, sorted, as they are once texts that are numbers are taken so."""
        assert self.sizes is not None
        return sorted(self._as_numbers() if self.numeric else self.sizes)

    def _as_numbers(self) -> list[Any]:
        import pyarrow as pa

        return numeric(pa.chunked_array([pa.array(list(self.sizes or ()), pa.string())])).to_pylist()


@dataclass
class LeftOut:
    """Samples left out for one reason: how many, and the first of them."""

    why: str
    after: str
    number: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, table: Table, gone: np.ndarray) -> None:
        """Those of a block of rows where `gone` (b,) is True."""
        rows = gone.nonzero()[0]
        self.number += len(rows)
        self.first += [table.samples[i] for i in rows[: max(0, LISTED - len(self.first))].tolist()]

    def told(self) -> Drop:
        """As the manifest has it."""
        after = self.after.replace("them", "it") if self.number == 1 else self.after
        more = f" and {self.number - NAMES} more" if self.number > NAMES else ""
        reason = f"because {self.why} {after}: {some(self.first[:NAMES])}{more}."
        return Drop("sample", tuple(self.first), f"{counted(self.number, 'sample')} left out, {reason}")


@dataclass
class Wrong:
    """Cells that cannot be: how many, and the first of them."""

    noun: str
    rule: str
    number: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, table: Table, bad: np.ndarray, values: np.ndarray | None = None) -> None:
        """Those of a block of rows where `bad` (b×c) is True; values: what they hold."""
        import numpy as np

        if not bad.any():
            return
        rows, columns = np.nonzero(bad)
        self.number += len(rows)
        for i, j in zip(rows[:3].tolist(), columns[:3].tolist(), strict=True):
            if len(self.shown) < 3:
                self.shown.append(table.place(i, j) + ("" if values is None else f" ({values[i, j]:.15g})"))

    def refuse(self, table: StoredTable) -> None:
        """DataError where there are any."""
        if self.number:
            whole = Table(table.name, table.option, (), (), None)
            raise DataError(cells_message(whole, self.number, self.noun, self.shown, self.rule))


@dataclass(frozen=True)
class Wanted:
    """What is asked of a table: columns that must be complete, those that hold labels whatever they are, a condition.

    combined: columns whose combinations of labels are levels; weights: a column of them, empty for none.
    """

    used: tuple[str, ...]
    labelled: tuple[str, ...] = ()
    combined: tuple[tuple[str, ...], ...] = ()
    condition: str | None = None
    conditional: tuple[str, ...] = ()
    weights: str = ""
    missing: str = "error"

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are read."""
        return tuple(dict.fromkeys((*self.used, *self.conditional)))


@dataclass(frozen=True)
class Survey:
    """What a pass has found. n: rows kept, `kept` (of the table, None: all) says which; examples: rows as they are."""

    n: int
    kept: np.ndarray | None = field(repr=False)
    columns: dict[str, Column] = field(repr=False)
    examples: Table = field(repr=False)
    dropped: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()


class _Pass:
    """The pass at work."""

    def __init__(self, table: StoredTable, wanted: Wanted) -> None:
        import numpy as np

        self.table, self.wanted = table, wanted
        self.kept = np.ones(table.n, dtype=bool)
        self.columns: dict[str, Column] = {}
        self.seen: dict[tuple[str, ...], set[Any]] = {}
        self.found: list[Table] = []
        self.unheld = LeftOut(f"`{wanted.condition}` does not hold for", "them")
        self.incomplete = LeftOut(f"{table.name} has missing entries", "for them")
        self.weightless = LeftOut("the weight is 0", "for them")
        self.missing = Wrong("missing entry", _missing_rule())
        self.unusable = Wrong("unusable weight", f"Weights must be numbers from 0 to {HUGE:g}.")
        self.notes: dict[str, str] | None = None

    def add(self, first: int, block: Table) -> None:
        """Look at a block of rows."""
        import numpy as np

        kept: np.ndarray = np.ones(len(block.samples), dtype=bool)
        if self.wanted.condition:
            held, notes = holds(self.wanted.condition, block)
            found = {note.partition("`.")[0]: note for note in notes}  # what follows depends on the levels of a block
            self.notes = found if self.notes is None else {key: self.notes[key] for key in self.notes if key in found}
            self.unheld.add(block, kept & ~held)
            kept &= held
        used = block.select(self.wanted.used)
        absent = [column.is_null().to_numpy() & kept for column in used.cells.columns if column.null_count]
        if absent:
            places = [j for j, column in enumerate(used.cells.columns) if column.null_count]
            bad = np.zeros((len(kept), len(used.columns)), dtype=bool)
            bad[:, places] = np.column_stack(absent)
            self.missing.add(used, bad)
            gone = np.logical_or.reduce(bad, axis=1)
            self.incomplete.add(block, gone)
            kept &= ~gone
        if self.wanted.weights:
            kept &= self._weighted(block, kept)
        self.kept[first : first + len(kept)] = kept
        if kept.any():
            self._look(used if kept.all() else _filtered(used, kept))

    def _weighted(self, block: Table, kept: np.ndarray) -> np.ndarray:
        """(b,) where the weight is more than 0."""
        import pyarrow as pa

        one = block.select([self.wanted.weights])
        column = one.cells.column(0)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise NotByBlocks(f"the weights, column `{self.wanted.weights}`, are no numbers")
        w = column.cast(pa.float64()).fill_null(1.0).to_numpy()
        self.unusable.add(one, (~((w >= 0) & (w <= HUGE)) & kept)[:, None], w[:, None])
        self.weightless.add(block, kept & (w == 0))
        held: np.ndarray = w != 0
        return held

    def _look(self, rows: Table) -> None:
        """Levels, ranges and examples of rows that are kept."""
        examples: set[int] = set()
        codes: dict[str, np.ndarray] = {}
        for name, column in zip(rows.columns, rows.cells.columns, strict=True):
            known = self.columns.setdefault(name, Column(column.type))
            if column.type != known.kind:
                raise NotByBlocks(f"column `{name}` is {known.kind} and {column.type}")
            of = _levels(known, column, name, name in self.wanted.labelled)
            if of is not None:
                words, codes[name] = of
                examples |= self._first((name,), [(word,) for word in words], codes[name])
        for names in self.wanted.combined:
            examples |= self._first(names, *_combined([codes[name] for name in names], rows, names))
        if examples or not self.found:
            import numpy as np

            at = np.array(sorted(examples or {0}))
            self.found.append(rows.take(at))

    def _first(self, names: tuple[str, ...], levels: Sequence[tuple[Any, ...]], codes: np.ndarray) -> set[int]:
        """The rows in which levels occur first that were not seen yet; codes: (b,) places among `levels`."""
        import numpy as np

        seen = self.seen.setdefault(names, set())
        new = [k for k, level in enumerate(levels) if level not in seen]
        seen.update(levels[k] for k in new)
        if len(seen) > MOST_LEVELS:
            what = f"column `{names[0]}` has" if len(names) == 1 else f"columns {some(names)} have"
            raise NotByBlocks(f"{what} more than {MOST_LEVELS} different labels")
        if not new:
            return set()
        present, first = np.unique(codes, return_index=True)
        at = dict(zip(present.tolist(), first.tolist(), strict=True))
        return {at[k] for k in new if k in at}

    def done(self) -> Survey:
        """What was found of all rows; DataError for what a fit refuses."""
        if self.wanted.missing != "drop":
            self.missing.refuse(self.table)
        dropped: list[Drop] = []
        left = self.table.n
        for gone in (self.unheld, self.incomplete, self.weightless):
            if gone.number:
                dropped.append(gone.told())
                left -= gone.number
                if not left:
                    raise DataError(f"No sample is left: {dropped[-1].reason}")
            if gone is self.incomplete:
                self.unusable.refuse(self.table)
        notes = (*(self.notes or {}).values(), *(drop.reason for drop in dropped))
        examples = _joined(self.found)
        for column in self.columns.values():
            column.numeric = _all_numbers(column)
        kept = None if left == self.table.n else self.kept
        return Survey(left, kept, self.columns, examples, tuple(dropped), notes)


def survey(table: StoredTable, wanted: Wanted, rows: int) -> Survey:
    """One pass over a table, so many rows at a time."""
    made = _Pass(table, wanted)
    for first, block in table.blocks(wanted.columns, rows, names=True):
        made.add(first, block)
    return made.done()


def _levels(known: Column, column: pa.ChunkedArray, name: str, labelled: bool) -> tuple[list[Any], np.ndarray] | None:
    """Adds what a block of a column holds; its levels and their codes (b,), None for numbers that are no labels."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.types.is_string(column.type) or pa.types.is_boolean(column.type)
    if not text:
        ends = pc.min_max(column).as_py()
        known.low, known.high = min(known.low, ends["min"]), max(known.high, ends["max"])
        if known.sizes is None and not labelled:
            return None
    encoded = column.combine_chunks().dictionary_encode()
    words, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    if known.sizes is not None:
        import numpy as np

        known.sizes.update(dict(zip(words, np.bincount(codes, minlength=len(words)).tolist(), strict=True)))
        if not text and len(known.sizes) > FEW_VALUES:
            known.sizes = None
        elif text and len(known.sizes) > MOST_LEVELS:
            raise NotByBlocks(f"column `{name}` has more than {MOST_LEVELS} different labels")
    return (words, codes) if text or labelled else None


def _combined(
    codes: Sequence[np.ndarray], rows: Table, names: Sequence[str]
) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """The combinations of labels of some columns that occur in a block, and codes (b,) of which each row has."""
    import numpy as np

    pairs, first, member = np.unique(np.column_stack(codes), axis=0, return_index=True, return_inverse=True)
    cells = [rows.cells.column(rows.columns.index(name)) for name in names]
    levels = [tuple(column[i].as_py() for column in cells) for i in first.tolist()]
    assert len(pairs) == len(levels)
    return levels, member.reshape(-1)


def _filtered(table: Table, kept: np.ndarray) -> Table:
    samples = _Some(table.samples, kept.nonzero()[0])
    return Table(table.name, table.option, samples, table.columns, filtered(table, kept))  # type: ignore[arg-type]


class _Some(Sequence[str]):
    """Some of the names, by index."""

    def __init__(self, names: Sequence[str], at: np.ndarray) -> None:
        self.names, self.at = names, at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, place: Any) -> Any:
        return self.names[int(self.at[place])]


def _joined(tables: Iterable[Table]) -> Table:
    """Tables of the same columns, one above the other."""
    import pyarrow as pa

    tables = list(tables)
    first = tables[0]
    samples = tuple(name for table in tables for name in table.samples)
    return Table(first.name, first.option, samples, first.columns, pa.concat_tables([t.cells for t in tables]))


def _all_numbers(column: Column) -> bool:
    """Whether a column of texts holds nothing but numbers."""
    import pyarrow as pa

    if not pa.types.is_string(column.kind) or not column.sizes:
        return False
    words = pa.chunked_array([pa.array(list(column.sizes), pa.string())])
    return numeric(words) is not words


def _missing_rule() -> str:
    return "Use --missing drop to leave these samples out or fill the entries in."
