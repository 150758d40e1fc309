"""Cells that must be numbers of a kind: what they may not be, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from plncli.errors import FIRST, Faults
from plncli.tables.numbers import numbers, refuse
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np

HUGE = 1e100  # beyond it, sums of squares overflow
FINITE_RULE = "Give finite numbers."
NUMBERS_RULE = "Give numbers, without units or thousand separators."
Check = tuple[str, Callable[[Any], Any], str]
"""What no cell may be: noun, where it is so, and what to do."""


def checked_numbers(table: Table, rule: str, *checks: Check, faults: Faults = FIRST) -> np.ndarray:
    """n×p numbers that pass each check; `rule` ends what is said of text. Others are 1 where faults are kept."""
    import numpy as np

    values, missing = numbers(table, rule, faults)
    wrong = np.zeros(values.shape, dtype=bool) if missing is None else missing
    for noun, bad, advice in checks:
        found = bad(values) & ~wrong
        faults.attempt(partial(refuse, table, found, noun, advice, values), None)
        wrong = wrong | found
    return np.where(wrong, 1.0, values) if wrong.any() else values
