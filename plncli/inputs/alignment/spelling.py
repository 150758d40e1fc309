"""Names that are nearly the same: what they differ by, where one rule makes pairs of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from plncli.errors import short, some
from plncli.tables.table import Table

ENOUGH = 10_000  # names that are looked at for a hint
AFFIXES = 40  # beginnings and ends that are tried
FILE_ENDS = (
    r"([._-]?(aligned|sortedbycoord|readspergene|sorted|dedup|markdup|trimmed|filtered|genes|isoforms|results|out|"
    r"bam|sam|cram|fastq|fq|fasta|fa|fna|gz|bz2|txt|tsv|csv|tab|counts?|htseq|quant|sf|h5ad|h5))*"
)


def _last(name: str) -> str:
    """A path without its folders and the ends that files of sequencing have."""
    word = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    shorter = re.sub(rf"(?<=.)([._]){FILE_ENDS}$", "", word, flags=re.IGNORECASE)
    return shorter or word


def _folder(name: str) -> str:
    """The last folder of a path; the name itself where it has none."""
    return PurePosixPath(name.replace("\\", "/")).parent.name or name


def _sequenced(name: str) -> str:
    """A name without the sample number, lane, read and part that Illumina's files end with."""
    return re.sub(r"^(.+?)(_S\d+)?(_L\d{3})?(_R?[12])?(_\d{3})?$", r"\1", _last(name))


def _made(name: str) -> str:
    """What make.names of R makes of it."""
    word = re.sub(r"[^\w.]", ".", name)
    return word if re.match(r"[^\W\d_]|\.(?!\d)", word) else f"X{word}"


def _unpadded(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


def _unsigned(name: str) -> str:
    return re.sub(r"[\s._-]+", "", name)


def _seen(name: str) -> str:
    """A name without signs that take no room, and with plain blanks."""
    visible = "".join(sign for sign in name if unicodedata.category(sign) not in ("Cf", "Cc"))
    return re.sub(r"\s+", " ", visible).strip()


def _shown(name: str) -> str:
    """A name as messages have it: not too long, and signs that take no room spelt out."""
    return short("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name), 40)


def _plain(name: str) -> str:
    """All of the rules at once."""
    word = _unpadded(re.sub(r"[\W_]", "", _sequenced(re.sub(r"\.0+$", "", _seen(name))).casefold()))
    return re.sub(r"^x(?=\d)", "", word)


RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("characters that cannot be seen", _seen),
    ("case", str.casefold),
    ("blanks and the signs - _ .", _unsigned),
    ("what R makes of names (X before a digit, . for other signs)", _made),
    ("leading zeros", _unpadded),
    ("zeros after the decimal point", lambda name: re.sub(r"\.0+$", "", name)),
    ("folder and suffix of a file", _last),
    ("the file in each folder", _folder),
    ("what sequencing adds (_S1_L001_R1_001)", _sequenced),
    ("case, signs, leading zeros, or parts of the names of files", _plain),
)
"""What names may differ by, and what is left of a name without it; the simplest first."""


@dataclass(frozen=True)
class Near:
    """Names that are the same but for `rule`, in pairs, in the order of the first.

    whole: whether every name of the shorter list has a partner.
    """

    rule: str
    pairs: tuple[tuple[str, str], ...]
    whole: bool

    @property
    def examples(self) -> str:
        """Two of the pairs."""
        return some((f"`{_shown(name)}` and `{_shown(other)}`" for name, other in self.pairs[:2]), 2)

    def same_order(self, names: Sequence[str], others: Sequence[str]) -> bool:
        """Whether each pair stands in the same place of both lists."""
        at, there = ({name: i for i, name in enumerate(each)} for each in (names, others))
        return all(at[name] == there[other] for name, other in self.pairs)


def near(names: Sequence[str], others: Sequence[str]) -> Near | None:
    """What names differ by from others, where one rule pairs them one to one: that which makes most pairs, if any."""
    names, others = names[:ENOUGH], others[:ENOUGH]
    found = [made for rule, key in RULES if (made := _paired(rule, names, others, key)) is not None]
    best = max(found, key=lambda made: len(made.pairs), default=None)
    if best is not None and best.whole:
        return best
    return next(_by_affix(names, others), None) or best


def told(names: Sequence[str], others: Sequence[str], remedy: str = "Make them the same in both tables.") -> str:
    """A sentence, after a blank, on what names differ by from others, and what to do; nothing where no rule says it."""
    found = near(names, others)
    if found is None:
        return ""
    which = "The names" if found.whole else f"{len(found.pairs)} of the names"
    return f" {which} differ by {found.rule} alone: {found.examples}. {remedy}"


def _paired(rule: str, names: Sequence[str], others: Sequence[str], key: Callable[[str], str]) -> Near | None:
    """Pairs of names with the same key, that no other name of their list has."""
    lists = [{name: key(name) for name in each} for each in (names, others)]
    times = [Counter(keys.values()) for keys in lists]
    partner = {word: other for other, word in lists[1].items() if word and times[1][word] == 1}
    pairs = [(name, partner[word]) for name, word in lists[0].items() if times[0][word] == 1 and word in partner]
    pairs = [(name, other) for name, other in pairs if name != other]
    if not pairs:
        return None
    return Near(rule, tuple(pairs), len(pairs) == min(len(names), len(others)))


def _by_affix(names: Sequence[str], others: Sequence[str]) -> Iterator[Near]:
    """Pairs that differ by a beginning or an end which all names of one list have; two at least, and no name left."""
    if min(len(names), len(others)) < 2:
        return
    for whole, inner, turned in ((names, others, False), (others, names, True)):
        for before, after in _affixes(whole, inner):
            known = set(whole)
            pairs = [(f"{before}{name}{after}", name) for name in inner if f"{before}{name}{after}" in known]
            if len(pairs) == min(len(whole), len(inner)):
                place = {name: i for i, name in enumerate(names)}
                pairs = [(b, a) if turned else (a, b) for a, b in pairs]
                pairs.sort(key=lambda pair: place[pair[0]])
                words = [f"`{word}` {where}" for word, where in ((before, "before"), (after, "after")) if word]
                yield Near(f"{' and '.join(words)} them", tuple(pairs), whole=True)


def _affixes(long: Sequence[str], short: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Beginnings and ends that make the first longer name of some shorter one."""
    made: dict[tuple[str, str], None] = {}
    for name in short:
        before, found, after = long[0].partition(name)
        if found and (before or after):
            made[before, after] = None
        if len(made) >= AFFIXES:
            break
    return made


def alike(levels: Iterable[str]) -> str:
    """Those of the levels that differ by case, blanks or signs alone, in words: `"Control" and "control"`."""
    groups: dict[str, list[str]] = {}
    for level in sorted(levels):
        groups.setdefault(re.sub(r"[\s_-]+", " ", _seen(level).casefold()), []).append(level)
    several = [group for group in groups.values() if len(group) > 1]
    return some((" and ".join(f'"{_shown(level)}"' for level in group) for group in several), 3)


def levels_alike(covariates: Table | None, columns: Iterable[str]) -> list[str]:
    """A sentence for each column of texts that has such levels."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if covariates is None:
        return []
    notes = []
    for name in columns:
        column = covariates.cells.column(covariates.columns.index(name))
        levels = pc.unique(column).to_pylist() if pa.types.is_string(column.type) else []
        if found := alike(level for level in levels if level is not None):
            notes.append(
                f"Levels of `{name}` that differ by case, blanks or signs alone count as different: {found}. "
                f"If they are the same, correct {covariates.name}."
            )
    return notes
