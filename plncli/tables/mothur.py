"""Shared files of mothur: a row a sample and label, the names of the samples in the second column.

https://mothur.org/wiki/shared_file: label (the distance at which OTUs were made), Group (the sample), numOtus, counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from plncli.errors import DataError, nearest, some
from plncli.tables.table import Drop

NUMBER_OF = r"num(otus|asvs|phylos)"


class Shared(NamedTuple):
    """A table of one label: its header and rows, with the label and the number of OTUs, and what is said of it."""

    header: list[str]
    body: memoryview
    note: str


def is_shared(header: list[str]) -> bool:
    """Whether a header is that of a shared file."""
    words = [cell.casefold() for cell in header[:3]]
    return words[:2] == ["label", "group"] and len(words) == 3 and bool(re.fullmatch(NUMBER_OF, words[2]))


def one_label(header: list[str], body: memoryview, label: str, name: str, option: str) -> Shared:
    """The rows of one label, and the header above them: a file may hold a table a label, each with OTUs of its own.

    label: the one that is asked for, empty for the only one. DataError where it is not there, or one must be chosen.
    """
    lines = bytes(body).splitlines(keepends=True)
    firsts = [line.partition(b"\t")[0].decode("utf-8", errors="replace").strip() for line in lines]
    known = list(dict.fromkeys(first for first in firsts if first and first.casefold() != "label"))
    if len(known) > 1 and not label:
        raise DataError(
            f"{name} holds {len(known)} tables, one for each label of mothur: {some(known)}. Choose one by "
            f"--{option} {name}::{known[0]}."
        )
    if label and label not in known:
        raise DataError(f"{name} has no label `{label}`.{nearest(label, known)} There are {some(known, 20)}.")
    chosen = label or known[0]
    rows = [line for line, first in zip(lines, firsts, strict=True) if first == chosen]
    above = [line for line in lines[: firsts.index(chosen)] if line.lower().startswith(b"label\t")]
    if above:
        header = above[-1].decode("utf-8", errors="replace").strip("\r\n").split("\t")
    width = max(len(row.decode("utf-8", errors="replace").rstrip("\r\n\t").split("\t")) for row in rows)
    note = f"{name} is a shared file of mothur: `{header[1]}` names the samples, {header[0]} is {chosen}."
    return Shared(header[: max(width, 3)], memoryview(b"".join(rows)), note)


def beside_counts(header: list[str], name: str) -> Drop:
    """The columns of a shared file that are neither names of samples nor counts."""
    names = (header[0], header[2])
    return Drop("column", names, f"The columns `{names[0]}` and `{names[1]}` of {name} are no features, and left out.")
