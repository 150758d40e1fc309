"""What the user must know about a fit: findings as models report them, and checks as users are told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

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


LOOK, NOTE, FINE = "look", "note", "fine"
STATES = (LOOK, NOTE, FINE)
"""Something should be done; something is worth knowing and nothing has to be done; nothing was found."""
MARKS = {LOOK: "!", NOTE: "•", FINE: "✓"}


@dataclass(frozen=True)
class Check:
    """What was looked at (`name`, stable), its `state` (look, note or fine), a short sentence, and what to do.

    numbers: what the sentence rests on, as JSON can hold it; names: of features, samples or levels, in full.
    """

    name: str
    state: str
    sentence: str
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The sentence, and what to do."""
        return f"{self.sentence} {self.remedy}".rstrip()

    @property
    def mark(self) -> str:
        """✓ for what is fine, • for a note, ! for what needs a look."""
        return MARKS[self.state]

    def to_json(self) -> dict[str, Any]:
        """As summary.json and `diagnose --json` hold it."""
        return asdict(self) | {"names": list(self.names)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Check:
        """Undo `to_json`."""
        return Check(**{**content, "names": tuple(content.get("names", ()))})


def told(found: Sequence[Check]) -> tuple[Check, ...]:
    """Those that are not fine."""
    return tuple(check for check in found if check.state != FINE)
