"""Tables whose rows are made the same samples: matched by name, in any order, everything that is left out told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from plncli.errors import FIRST, DataError, Faults, counted, some
from plncli.inputs.alignment.spelling import near, told
from plncli.models.findings import Finding
from plncli.tables.numbers import missing_cells, refuse
from plncli.tables.table import Drop, Table

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Positions:
    """That rows were matched by their position: names (n,) that they were given, the tables, and what must be said."""

    names: tuple[str, ...]
    tables: tuple[str, ...]
    finding: Finding


@dataclass(frozen=True)
class Tables:
    """Tables by option, whose rows are the same samples once `joined`; `main` explains, or is explained.

    positions: None unless rows were matched by position.
    """

    by_option: dict[str, Table]
    main: str
    dropped: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()
    positions: Positions | None = None

    def __getitem__(self, option: str) -> Table:
        return self.by_option[option]

    def get(self, option: str) -> Table | None:
        """The table, if there is one."""
        return self.by_option.get(option)

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of the n samples."""
        return self[self.main].samples

    def without(self, gone: np.ndarray, why: str, after: str = "for them") -> Tables:
        """Without the samples where the mask `gone` (n,) holds, which `why` explains; refuses to drop all of them.

        after: how the explanation ends, about several samples.
        """
        import numpy as np

        if not gone.any():
            return self
        rows = np.flatnonzero(~gone)
        names = tuple(self.samples[i] for i in np.flatnonzero(gone).tolist())
        after = after.replace("them", "it") if len(names) == 1 else after
        reason = f"{counted(len(names), 'sample')} left out, because {why} {after}: {some(names)}."
        if not len(rows):
            raise DataError(f"No sample is left: {reason}")
        tables = {option: table.take(rows) for option, table in self.by_option.items()}
        return self.telling(Drop("sample", names, reason), tables)

    def telling(self, drop: Drop, tables: dict[str, Table] | None = None) -> Tables:
        """With one more thing that was left out."""
        by_option = self.by_option if tables is None else tables
        return replace(self, by_option=by_option, dropped=(*self.dropped, drop), notes=(*self.notes, drop.reason))

    def less(self, option: str) -> Tables:
        """Without one of the tables; the next one takes the place of the main one."""
        left = {name: table for name, table in self.by_option.items() if name != option}
        return replace(self, by_option=left, main=next(iter(left), "") if option == self.main else self.main)

    def noting(self, *notes: str) -> Tables:
        """With more sentences for the user."""
        return replace(self, notes=(*self.notes, *notes))


def join(tables: Tables, *, named: bool, faults: Faults = FIRST) -> Tables:
    """Rows of all tables in the order of the main one, samples that any lacks left out and told.

    Where faults are kept, tables that do not match are left out.
    """
    import numpy as np

    main = tables[tables.main]
    for option, table in tables.by_option.items():
        check = partial(_check_common if named else _check_rows, main, table)
        if faults.refused(check):
            tables = tables.less(option)
    others = [table for option, table in tables.by_option.items() if option != tables.main]
    if not named:
        return tables
    places = {table.option: _places(main, table) for table in others if table.samples != main.samples}
    kept = np.ones(len(main.samples), dtype=bool)
    drops: list[Drop] = []
    hints: list[str] = []
    for table in others:
        if (at := places.get(table.option)) is not None:
            missed = _unmatched(main, table, at)
            drops += missed
            if len(missed) == 2:
                hints.append(told(missed[0].names, missed[1].names).strip())
            kept &= at >= 0
    if not kept.any():
        raise DataError(f"No sample of {main.name} is in all of {', '.join(table.name for table in others)}.")
    rows = None if kept.all() else np.flatnonzero(kept)
    joined = {}
    for option, table in tables.by_option.items():
        place = places.get(option)
        joined[option] = table.take(rows if place is None else place[kept])
    for drop in dict.fromkeys(drops):  # a column of weights repeats what its table said
        tables = tables.telling(drop)
    if drops:
        tables = tables.noting(
            f"{counted(int(kept.sum()), 'sample')} of {main.name} can be used.", *dict.fromkeys(filter(None, hints))
        )
    return replace(tables, by_option=joined)


def _places(main: Table, other: Table) -> np.ndarray:
    """(n,) row of `other` for each sample of `main`, -1 where it has none."""
    import numpy as np

    at = {sample: i for i, sample in enumerate(other.samples)}
    return np.fromiter((at.get(sample, -1) for sample in main.samples), dtype=np.int64, count=len(main.samples))


def _check_rows(main: Table, other: Table) -> None:
    """DataError when two tables that are matched by position have not equally many rows."""
    if len(other.samples) != len(main.samples):
        raise DataError(
            f"Rows are matched by their position (--no-sample-names), but {main.name} has {len(main.samples)} "
            f"and {other.name} {len(other.samples)}. Give tables with the same rows, or with sample names."
        )


def _check_common(main: Table, other: Table) -> None:
    """DataError when two tables have no sample in common, with a guess at the reason."""
    if main.samples == other.samples or not set(main.samples).isdisjoint(other.samples):
        return
    for turned, straight in ((main, other), (other, main)):
        found = set(turned.columns) & set(straight.samples)
        if found:
            raise DataError(
                f"{turned.name} looks transposed: {len(found)} of its columns, and none of its rows, have the names of "
                f"samples of {straight.name} ({some(sorted(found), 3)}). {_turning(turned)}"
            )
    raise DataError(
        f"{main.name} and {other.name} have no sample name in common: {some(main.samples, 3)} against "
        f"{some(other.samples, 3)}. The first column of each must hold the same names."
        f"{_way_out(main.samples, other.samples)}"
    )


def _way_out(names: Sequence[str], others: Sequence[str]) -> str:
    """What to do, after a blank, about names none of which are the same."""
    found, even = near(names, others), len(names) == len(others)
    if found is None:
        return f" If their {len(names)} rows are in the same order, use --match position." if even else ""
    if even and found.whole and found.same_order(names, others):
        return told(names, others, "Make them the same in both tables, or use --match position: the order is the same.")
    return told(names, others)


def _turning(table: Table) -> str:
    """What to do about a table whose samples are columns."""
    if not table.sha256:  # a data frame
        return f"Samples must be rows. Give {table.name} turned: `{table.option}.T`."
    if table.turned:
        return "It was turned by --transpose: leave that out."
    if table.option in ("counts", "given"):
        return "Samples must be rows: turn it with --transpose."
    return f"Samples must be rows: turn it with `plncli convert --transpose {table.name} turned.csv`."


def _unmatched(main: Table, other: Table, at: np.ndarray) -> list[Drop]:
    """What a pair of tables does not share, one sentence for each direction."""
    known = set(main.samples)
    pairs = (
        ("sample", main, other, [sample for sample, row in zip(main.samples, at.tolist(), strict=True) if row < 0]),
        ("row", other, main, [sample for sample in other.samples if sample not in known]),
    )
    return [
        Drop(kind, tuple(names), f"{counted(len(names), 'sample')} of {a.name} not in {b.name}: {some(names)}.")
        for kind, a, b, names in pairs
        if names
    ]


def without_missing(tables: Tables, used: Sequence[str], policy: str, faults: Faults = FIRST) -> Tables:
    """Refuse missing entries, or leave out the samples that have any; only counts may keep theirs.

    Where the refusal is kept as a fault, the samples go all the same, but those that lack counts alone.
    """
    import numpy as np

    gone = np.zeros(len(tables.samples), dtype=bool)
    about = []
    for option, whole in tables.by_option.items():
        table = whole.select(used) if option == "covariates" else whole
        if option == "counts" and policy == "keep":
            continue
        missing = missing_cells(table)
        if missing is None:
            continue
        if policy != "drop":
            rule = _missing_rule(option, policy)
            faults.attempt(partial(refuse, table, missing, "missing entry", rule), None)
            if option == "counts":
                continue
        gone |= missing.any(axis=1)
        about.append(table.name)
    if policy != "drop" and gone.all():
        raise faults.found[-1]  # which is known: no sample is left to look at
    files = list(dict.fromkeys(about))
    left = tables.without(gone, f"{' and '.join(files)} {'has' if len(files) == 1 else 'have'} missing entries")
    return left if policy == "drop" else replace(tables, by_option=left.by_option)


def _missing_rule(option: str, policy: str) -> str:
    """What to do about missing entries."""
    if policy == "keep":
        return (
            "--missing keep is for counts only: use --missing drop to leave these samples out, or fill the entries in."
        )
    keep = ", --missing keep to treat them as unobserved," if option == "counts" else ""
    return f"Use --missing drop to leave these samples out{keep} or fill the entries in."
