"""What the user must know about a fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something the user must know about a fit: a stable `code`, a sentence, and the names it is about.

    `cells` lists (response, term) pairs whose coefficient has no finite estimate.
    """

    code: str
    message: str
    names: tuple[str, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
