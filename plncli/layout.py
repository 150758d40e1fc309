"""Text for a reader: tables whose columns are aligned, and sentences beside their labels.

A `Sheet` is what a verb tells, without a form: `lines` makes text of it, and a notebook may make something else.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from plncli.errors import short

WIDTH = 96
"""Of lines of text where no terminal says otherwise, and the most that reads well."""
NARROWEST = 12
"""Signs that are left of a name in a table that is too wide."""


def width() -> int:
    """Columns of the terminal, or those that COLUMNS says; WIDTH where nobody knows."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, 20)


def table_width() -> int | None:
    """Columns that a table may take: no limit where it goes to a file or another program."""
    return width() if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else None


@dataclass(frozen=True)
class Grid:
    """A table as text, its header the first row unless `headless`; the first `left` columns are names, not numbers."""

    caption: str
    rows: Sequence[Sequence[str]]
    left: int = 1
    headless: bool = False


class Judged(Protocol):
    """Something that was looked at: a sign of how it stands, and what to say of it."""

    @property
    def mark(self) -> str:
        """One sign."""
        ...

    @property
    def line(self) -> str:
        """One line."""
        ...


@dataclass(frozen=True)
class Sheet:
    """What there is to tell of one thing: its name, facts with their labels, the verdict on a fit, and tables."""

    title: str
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Grid] = ()
    checks: Sequence[Judged] = ()


def lines(sheet: Sheet, label: int) -> list[str]:
    """A sheet as text, with `label` signs for each label."""
    told = [sheet.title, ""]
    for name, text in sheet.facts:
        told += wrapped(text, f"{name:<{label}}")
    if sheet.checks:
        told += ["", "Checks"]
        for check in sheet.checks:
            told += wrapped(check.line, f"  {check.mark} ")
    for table in sheet.tables:
        room = table_width()
        told += ["", *wrapped(table.caption, "")]
        told += [f"  {line}" for line in aligned(table.rows, table.left, None if room is None else room - 2)]
    return told


def aligned(rows: Sequence[Sequence[str]], left: int = 1, most: int | None = None) -> list[str]:
    """Lines of a table for a reader: the first `left` columns start where their header does, the others end there.

    most: signs of a line. Where a table is wider, its names lose their middles, down to NARROWEST signs; where that
    does not do, the names of a row stand above its numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    over = 0 if most is None else sum(widths) + 2 * (len(widths) - 1) - most
    while over > 0 and max(widths[:left], default=0) > NARROWEST:
        widest = max(range(left), key=lambda k: widths[k])
        widths[widest] -= 1
        over -= 1
    if over > 0 and most is not None and 0 < left < len(widths):
        numbers = aligned([row[left:] for row in rows], 0)
        names = [short("  ".join(filter(None, row[:left])), most) for row in rows]
        return [line for name, row in zip(names, numbers, strict=True) for line in (name, f"    {row}".rstrip())]
    return [
        "  ".join(
            short(cell, size).ljust(size) if k < left else cell.rjust(size)
            for k, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def wrapped(text: str, label: str) -> list[str]:
    """Lines of a text that stand beside its label, no wider than the terminal; a word longer than that stays whole."""
    room = min(width(), WIDTH)
    return textwrap.wrap(
        text,
        room,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
