"""Text for a reader: tables whose columns are aligned, and sentences beside their labels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

WIDTH = 96


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
