"""Several values of one setting: those along which a path of models is fitted, or that are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

MOST = 1000
"""Values at most."""
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
