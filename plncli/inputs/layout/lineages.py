"""Ranks of taxa out of what a table says of its features: a column a rank, or a lineage in one text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plncli.inputs.layout.conventions import LINEAGES, RANKS, plain

USUAL = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
"""The ranks of a lineage without prefixes, in their order."""
LETTERS = {"d": "domain", "k": "kingdom", "t": "strain"} | {rank[0]: rank for rank in USUAL[1:]}
PREFIX = re.compile(r"([a-z])__|d_(\d+)__", re.IGNORECASE)
"""What stands before a taxon in a lineage: k__Bacteria (Greengenes), d__Bacteria, D_0__Bacteria (SILVA)."""
UNKNOWN = ("", "na", "nan", "none", "unassigned", "unclassified", "unidentified")

Facts = Mapping[str, Sequence[str | None]]
"""Texts about p features, None where nothing is said, by what they say."""


def ranks(facts: Facts) -> dict[str, tuple[str | None, ...]]:
    """The taxon of each of p features, by rank from the widest; only ranks that are known of any feature."""
    columns = {plain(name): values for name, values in facts.items() if plain(name) in RANKS}
    if len(columns) >= 2:
        found = [{rank: _taxon(values[j]) for rank, values in columns.items()} for j in range(_size(facts))]
    else:
        lineage = next((values for name, values in facts.items() if plain(name) in LINEAGES), ())
        found = [_split(text or "") for text in lineage]
    every = [rank for rank in RANKS if any(one.get(rank) for one in found)]
    return {rank: tuple(one.get(rank) for one in found) for rank in every}


def _size(facts: Facts) -> int:
    return max(map(len, facts.values()), default=0)


def _split(lineage: str) -> dict[str, str | None]:
    """Taxa of a lineage by rank: by their prefixes, or by their places where there are none."""
    parts = [part.strip() for part in re.split(r"[;|]", lineage)]
    marked = {_rank(mark): _taxon(part) for part in parts if (mark := PREFIX.match(part))}
    return marked or {rank: _taxon(part) for rank, part in zip(USUAL, parts, strict=False)}


def _rank(mark: re.Match[str]) -> str:
    """The rank that a prefix stands for, by letter or by number."""
    if mark[1]:
        return LETTERS.get(mark[1].lower(), "")
    return USUAL[min(int(mark[2]), len(USUAL) - 1)]


def _taxon(text: str | None) -> str | None:
    """A taxon without its prefix; None where none is named."""
    word = (text or "").strip()
    mark = PREFIX.match(word)
    word = word[mark.end() :].strip() if mark else word
    return None if word.casefold() in UNKNOWN else word
