"""Several values of one setting: those along which a path of models is fitted, or that are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MOST = 1000
"""Values at most."""
COUNT = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
BETWEEN = re.compile(r"([^:,]+):([^:,]+):\s*(\d{1,9})\s*", re.ASCII)
RANGE = re.compile(r"\s*(\d{1,9})(?:\s*:\s*(\d{1,9})(?:\s*:\s*(\d{1,9}))?)?\s*", re.ASCII)


def values(given: Any) -> int | tuple[int, ...] | None:
    """A whole number, or several in order of size without doubles; None for what is neither.

    given: a number, a list of them, or a text such as `7`, `1:15`, `2:20:2` or `1,2,5:10` (ends included).
    """
    found: set[int] = set()
    for part in given if isinstance(given, Iterable) and not isinstance(given, str) else [given]:
        some = _numbers(part)
        if not some or len(found) + len(some) > MOST:
            return None
        found.update(some)
    return None if not found else found.pop() if len(found) == 1 else tuple(sorted(found))


def spread(given: Any) -> int | float | tuple[float, ...] | None:
    """A number of values that the data tell, or values: one, or several, the largest first; None for what is neither.

    given: a whole number from 2 is how many; with a decimal point, in a list or as `0.2,0.5,1.0` they are the values
    themselves; `0.1:0.8:10` are 10 from 0.1 to 0.8, evenly by their logarithms.
    """
    if isinstance(given, str):
        if COUNT.fullmatch(given):
            return _many(int(given))
        between = BETWEEN.fullmatch(given)
        found = _floats(given.split(",")) if between is None else _even(*between.groups())
    elif isinstance(given, Iterable):
        found = _floats(given)
    elif hasattr(given, "__index__") and not isinstance(given, bool):
        return _many(int(given))
    else:
        found = _floats([given])
    unique = sorted(set(found), reverse=True)
    return None if not unique else unique[0] if len(unique) == 1 else tuple(unique)


def asks_many(value: Any, kind: type) -> bool:
    """Whether a value of a setting that may have several is how many."""
    return kind is float and type(value) is int


def _many(number: int) -> int | None:
    return number if 2 <= number <= MOST else None


def _floats(parts: Iterable[Any]) -> list[float]:
    """Finite numbers; none where some part is something else."""
    found = []
    for part in parts:
        try:
            number = math.nan if isinstance(part, bool) else float(part)
        except (TypeError, ValueError, OverflowError):
            return []
        found.append(number)
    return found if all(map(math.isfinite, found)) and len(found) <= MOST else []


def _even(least: str, most: str, number: str) -> list[float]:
    ends = _floats([least, most])
    if not ends or not 0.0 < ends[0] < ends[1] or _many(int(number)) is None:
        return []
    last = int(number) - 1
    between = (ends[1] * (ends[0] / ends[1]) ** (k / last) for k in range(1, last))
    return [ends[1], *(float(f"{value:.4g}") for value in between), ends[0]]


def each(value: Any) -> tuple[Any, ...]:
    """The values one by one."""
    return value if isinstance(value, tuple) else (value,)


def _numbers(part: Any) -> Sequence[int]:
    """The whole numbers of a text or a number; none where it is something else."""
    if not isinstance(part, str):
        return (int(part),) if hasattr(part, "__index__") and not isinstance(part, bool) else ()
    found: list[int] = []
    for text in part.split(","):
        match = RANGE.fullmatch(text)
        if match is None:
            return ()
        first, last, step = match.groups()
        some = range(int(first), int(last or first) + 1, 1 if step is None else int(step)) if step != "0" else ()
        if not some or len(some) > MOST:
            return ()
        found += some
    return found
