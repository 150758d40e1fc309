"""What the user must know about a fit."""

from __future__ import annotations

from dataclasses import dataclass

IN_FULL = "summary.json"
"""Where all names of a finding are."""


@dataclass(frozen=True)
class Finding:
    """Something the user must know about a fit: a stable `code`, a short sentence, and all names it is about.

    `cells` lists (response, term) pairs whose coefficient has no finite estimate. remedy: what to do, as a sentence;
    note: whether nothing has to be done, and nothing else of the fit is affected.
    """

    code: str
    message: str
    names: tuple[str, ...] = ()
    cells: tuple[tuple[str, str], ...] = ()
    remedy: str = ""
    note: bool = False
