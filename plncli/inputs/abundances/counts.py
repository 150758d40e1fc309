"""The table of counts: what is no count, which samples and features are fitted, and their size factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.errors import FIRST, DataError, Faults, counted, some
from plncli.inputs.abundances.rounding import fractional_rule
from plncli.inputs.abundances.size_factors import Estimated, blocks_of, size_factors_of
from plncli.inputs.cells import Check
from plncli.inputs.layout.conventions import COUNTS_RULE
from plncli.inputs.matching import Tables
from plncli.inputs.selection import choose_features
from plncli.settings import FitConfig
from plncli.tables.numbers import missing_cells, numbers, refuse_where
from plncli.tables.sparse import CSR, Sparse, dense
from plncli.tables.table import Drop, Table

if TYPE_CHECKING:
    import numpy as np

MOST_COUNT = 2.0**53  # from it on, not all whole numbers are numbers of 64 bits
RAW_ADVICE = "Use the raw counts, not rates, means or transformed ones."
RAW_RULE = f"{COUNTS_RULE} {RAW_ADVICE}"
FRACTIONAL = "fractional count"
COUNT_FAULTS: tuple[Check, ...] = (
    ("infinite count", lambda y: abs(y) == math.inf, COUNTS_RULE),
    ("negative count", lambda y: y < 0, RAW_RULE),
    (FRACTIONAL, lambda y: y % 1 != 0, RAW_RULE),
    ("oversized count", lambda y: y >= MOST_COUNT, "Counts must be below 2^53, for larger ones are not exact."),
)


def count_cells(table: Table, faults: Faults = FIRST) -> tuple[np.ndarray | CSR, np.ndarray | None]:
    """Counts as n×p float64 (0 where missing), and the mask of missing ones or None; DataError for what is no count.

    A sparse table stays sparse. Where faults are kept, what is no count is missing.
    """
    import numpy as np

    Y, missing = cells_of(table, faults)
    for noun, bad, rule in COUNT_FAULTS:
        if noun == FRACTIONAL and bad(Y if isinstance(Y, np.ndarray) else Y.data).any():
            rule = f"{COUNTS_RULE} {fractional_rule(Y) or RAW_ADVICE}"
        if faults.refused(partial(refuse_where, table, Y, bad, noun, f"{rule} {table.hint}".strip())):
            wrong = bad(dense(Y))
            Y, missing = np.where(wrong, 0.0, dense(Y)), wrong if missing is None else missing | wrong
    return Y, missing


def cells_of(table: Table, faults: Faults = FIRST) -> tuple[np.ndarray | CSR, np.ndarray | None]:
    """Numbers of a table of counts, sparse where it is and none is missing; DataError for texts."""
    if isinstance(table.cells, Sparse) and missing_cells(table) is None:
        return table.cells.values, None
    return numbers(table, COUNTS_RULE, faults)


class Counts(NamedTuple):
    """Y (n×p, an array or sparse), K (n×p, True where observed, or None) and the names of the features to fit.

    every, every_K, every_feature: the same of all features that have any count, before some were chosen. sound: none
    of it is at fault.
    """

    Y: np.ndarray | CSR
    K: np.ndarray | None
    responses: tuple[str, ...]
    every: np.ndarray | CSR
    every_K: np.ndarray | None
    every_feature: tuple[str, ...]
    sound: bool = True


def counts_to_fit(tables: Tables, config: FitConfig, faults: Faults) -> tuple[Tables, Counts]:
    """The counts to fit, and the tables without samples that have none, or too few."""
    import numpy as np

    table = tables["counts"]
    every, missing = count_cells(table, faults)
    wrong = _wrong(table, missing, config) if faults.every else None
    if wrong is not None:
        every = np.where(wrong, MOST_COUNT, dense(every))  # it may be any number: no rule on totals leaves it out
    if config.min_depth:
        shallow = every.sum(axis=1) < config.min_depth
        tables = tables.without(shallow, f"the total count is below {config.min_depth:g}")
        every, missing = _rows(every, missing, ~shallow)
    observed = every.shape[0] if missing is None else (~missing).sum(axis=0)
    tables, kept = choose_features(tables, every, observed, config)
    empty = Empty.of(every[:, kept])
    refused = faults.refused(partial(_refuse_empty, tables, kept, empty, config))
    if empty and not refused:
        tables, kept = _without_empty(tables, kept, empty)
        every, missing = _rows(every, missing, ~empty.rows)
    if wrong is not None and missing is not None:
        every = np.where(missing, 0.0, every)
    Y = every if kept.all() else every[:, kept]
    K = None if missing is None else ~missing[:, kept]
    K = None if K is None or K.all() else K
    if K is not None and wrong is None:
        tables = tables.noting(f"{counted(int((~K).sum()), 'missing entry')} of {table.name} kept as unobserved.")
    known = every.sum(axis=0) > 0
    responses, every_feature = (
        tuple(table.columns[j] for j in np.flatnonzero(mask).tolist()) for mask in (kept, known)
    )
    every_K = None if missing is None else ~missing[:, known]
    return tables, Counts(
        Y,
        K,
        responses,
        every if known.all() else every[:, known],
        every_K,
        every_feature,
        wrong is None and not refused,
    )


def _wrong(table: Table, missing: np.ndarray | None, config: FitConfig) -> np.ndarray | None:
    """n×p mask of the cells that were refused, of those that count as missing; None where there are none."""
    lawful = missing_cells(table) if config.missing == "keep" else None
    wrong = missing if missing is None or lawful is None else missing & ~lawful
    return wrong if wrong is not None and wrong.any() else None


class Empty(NamedTuple):
    """Which samples (n,) and which features (p,) have no count; false where none is."""

    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, Y: np.ndarray | CSR) -> Empty:
        """Those of the counts Y (n×p)."""
        return cls(*(Y.sum(axis=axis) == 0 for axis in (1, 0)))

    def __bool__(self) -> bool:
        return bool(self.rows.any() or self.columns.any())


def _refuse_empty(tables: Tables, kept: np.ndarray, empty: Empty, config: FitConfig) -> None:
    """DataError for samples, and features among those kept (p,), without any count, unless they may be left out."""
    import numpy as np

    if not empty:
        return
    table = tables["counts"]
    if config.all_zero != "drop":
        names = tuple(table.columns[j] for j in np.flatnonzero(kept).tolist())
        raise DataError(_all_zero_message(table.name, tables.samples, names, *empty))
    if empty.rows.all():
        raise DataError(f"{table.name} has no count other than 0 in the {counted(len(empty.rows), 'sample')} kept.")


def _without_empty(tables: Tables, kept: np.ndarray, empty: Empty) -> tuple[Tables, np.ndarray]:
    """The tables without the samples, and the mask (p,) without the features, that have no count."""
    import numpy as np

    names = tables["counts"].columns
    tables = tables.without(empty.rows, f"{tables['counts'].name} has no counts")
    if empty.columns.any():
        gone = np.flatnonzero(kept)[empty.columns]
        which = tuple(names[j] for j in gone.tolist())
        reason = (
            f"{counted(len(which), 'feature')} left out, because they have no counts in the samples kept: "
            f"{some(which)}."
        )
        tables = tables.telling(Drop("feature", which, reason))
        kept = kept.copy()
        kept[gone] = False
    return tables, kept


def _rows(Y: Any, missing: np.ndarray | None, kept: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """The rows (n,) of counts that are kept, and of the mask of missing ones."""
    if kept.all():
        return Y, missing
    return Y[kept], None if missing is None else missing[kept]


def estimate_size_factors(tables: Tables, counts: Counts, config: FitConfig, blocks: Table | None) -> Estimated | None:
    """Size factors that --offset-method estimates, from all features, also those that are not fitted.

    None where the counts are at fault: then the blocks alone are looked at.
    """
    import numpy as np

    assert config.offset_method
    names = counts.every_feature
    of_features = blocks_of(blocks, names)
    if not counts.sound:
        return None
    found = size_factors_of(
        tables["counts"],
        counts.every,
        counts.every_K,
        names,
        config.offset_method,
        config.offset_scale,
        of_features,
    )
    if found.offset.shape[1] == 1:
        return found
    at = {name: j for j, name in enumerate(names)}
    return found._replace(offset=found.offset[:, np.array([at[name] for name in counts.responses])])


def _all_zero_message(
    table: str, samples: Sequence[str], features: Sequence[str], rows: np.ndarray, columns: np.ndarray
) -> str:
    """Message naming the samples and features without any count."""
    import numpy as np

    parts = []
    for noun, names, empty in (("sample", samples, rows), ("feature", features, columns)):
        if empty.any():
            which = [names[i] for i in np.flatnonzero(empty).tolist()]
            parts.append(f"{counted(len(which), noun)} without any count ({some(which)})")
    return (
        f"{table} has {' and '.join(parts)} among those to be fitted: nothing about them is estimable. "
        f"Leave them out with --all-zero drop."
    )


def facts_of(counts: Table | None, responses: Sequence[str]) -> dict[str, tuple[str | None, ...]]:
    """What a table of counts says of the responses, by name of the fact; nothing of what it says of none."""
    facts = {} if counts is None else counts.facts
    told = {name: tuple(known.get(response) for response in responses) for name, known in facts.items()}
    return {name: texts for name, texts in told.items() if any(text is not None for text in texts)}
