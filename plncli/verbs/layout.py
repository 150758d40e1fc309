"""Text for a reader: tables whose columns are aligned, and sentences beside their labels.

A `Sheet` is what a verb tells, without a form: `lines` makes text of it, and a notebook may make something else.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 96


@dataclass(frozen=True)
class Grid:
    """A table as text, its header the first row unless `headless`; the first `left` columns are names, not numbers."""

    caption: str
    rows: Sequence[Sequence[str]]
    left: int = 1
    headless: bool = False


@dataclass(frozen=True)
class Sheet:
    """What there is to tell of one thing: its name, facts with their labels, and tables."""

    title: str
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Grid] = ()


def lines(sheet: Sheet, label: int) -> list[str]:
    """A sheet as text, with `label` signs for each label."""
    told = [sheet.title, ""]
    for name, text in sheet.facts:
        told += wrapped(text, f"{name:<{label}}")
    for table in sheet.tables:
        told += ["", table.caption, *(f"  {line}" for line in aligned(table.rows, table.left))]
    return told


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table for a reader: the first `left` columns start where their header does, the others end there."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def wrapped(text: str, label: str) -> list[str]:
    """Lines of a text that stand beside its label."""
    return textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)
