"""What columns of covariates are to a formula: numbers, or labels of a factor; and what is neither for sure.

A column of text is a factor, a column of numbers a slope. Where a column is nearly one of them, a guess would fit
another model than is meant: it is refused, until C(column) or --na-values says what it is.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, FormulaError, counted, some
from plncli.inputs.formula import PATSY_CONTRASTS, called, kind, syntax_tree, tokens, written
from plncli.tables.qiime import CATEGORICAL
from plncli.tables.text import NUMBER

if TYPE_CHECKING:
    import pandas as pd

LABELLED = ("C", "interaction")
"""Functions that take columns as labels."""
COMMA = r"[+-]?\d+,\d+"
SHARE = 0.75
"""Of levels in samples, above which nearly every sample is a level of its own."""
FEW = 12
"""Distinct whole numbers up to which a column may well hold labels."""


@dataclass(frozen=True)
class Uses:
    """How a formula uses columns. bare: as they are; calculated: in numbers, with the expression where they are."""

    bare: dict[str, None] = field(default_factory=dict)
    calculated: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[str], formula: str) -> Uses:
        """Those of parts of a formula."""
        found = cls()
        for token in (token for part in parts for token in tokens(part, formula)):
            if kind(token) == "name":
                found.bare[token.token] = None
            elif kind(token) == "python":
                tree, aliases = syntax_tree(token.token, formula)
                for name in _calculated(tree.body):
                    if name not in PATSY_CONTRASTS:
                        found.calculated.setdefault(aliases.get(name, name), token.token)
        return found


def _calculated(node: ast.AST) -> Iterator[str]:
    """Names that an expression calculates with: neither labels, nor compared with a text or another column."""
    if isinstance(node, ast.Name):
        yield node.id
        return
    inner: Sequence[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        function = called(node)
        taken = node.args[:1] if function == "C" else node.args
        whole = function in (*LABELLED, "I")
        inner = [argument for argument in taken if not (whole and isinstance(argument, ast.Name))]
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        texts = all(isinstance(s, ast.Name) or (isinstance(s, ast.Constant) and type(s.value) is str) for s in sides)
        inner = [] if texts else sides
    for part in inner:
        yield from _calculated(part)


def unfit_columns(
    uses: Uses, frame: pd.DataFrame, samples: Sequence[str], table: str, types: Mapping[str, str]
) -> Iterator[DataError]:
    """A DataError for each column that is not what the formula takes it as, or may be either.

    frame: of the n samples that are used, texts as categories; types: of columns, as `table` declares them.
    """
    for name, expression in uses.calculated.items():
        if levels_of(frame[name]) is not None:
            yield _not_numbers(name, expression, frame[name], samples, table)
    for name in uses.bare:
        levels = levels_of(frame[name])
        if levels is None:
            continue
        words = []
        if types.get(name) != CATEGORICAL:
            words = texts_among_numbers(levels, Counter(map(str, frame[name].dropna())))
        if words:
            yield _nearly_numbers(name, words, frame[name], samples, table)
        elif SHARE * len(frame) < len(levels) < len(frame):
            yield DataError(
                f"Column `{name}` of {table} has {len(levels)} different labels in {len(frame)} samples "
                f"({some(levels, 3)}): nearly every sample is a level of its own. Take it out of the formula, merge "
                f"its levels, or write {as_factor(name)} if that is meant."
            )


def texts_among_numbers(levels: Sequence[str], entries: Mapping[Any, int]) -> list[str]:
    """The levels that are no numbers, where at least half of the levels, or of the entries, are numbers.

    A number may have a decimal comma, but is a text where nothing else is.
    """
    odd = [level for level in levels if not re.fullmatch(NUMBER, level)]
    words = [level for level in odd if not re.fullmatch(COMMA, level)]
    few = 2 * len(words) <= len(levels) or 2 * sum(entries[word] for word in words) <= sum(entries.values())
    return (words or odd) if few else []


def as_factor(name: str) -> str:
    """How a formula has a column as a factor."""
    code = f"C({written(name)})"
    return code if "`" in code else f"`{code}`"


def levels_of(column: pd.Series) -> tuple[str, ...] | None:
    """Sorted levels of a column of labels; None for numbers."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(map(str, column.cat.categories))
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        return tuple(sorted(map(str, column.dropna().unique())))
    return None


def _places(column: pd.Series, words: Sequence[str], samples: Sequence[str]) -> str:
    """Entries with the samples that have them: "`unknown` (s2, s9), `.` (s4)"."""
    told = []
    for word in words[:3]:
        at = [sample for sample, entry in zip(samples, column.tolist(), strict=True) if str(entry) == word]
        told.append(f"`{word}` ({some(at, 3)})")
    more = len(words) - 3
    return ", ".join(told) + (f" and {counted(more, 'other text')}" if more > 0 else "")


def _missing(words: Sequence[str]) -> str:
    """How such entries are taken as missing."""
    shown = " ".join(f"--na-values {quote(word)}" for word in words[:3])
    return f"{shown}{' ...' if len(words) > 3 else ''}"


def _not_numbers(name: str, expression: str, column: pd.Series, samples: Sequence[str], table: str) -> DataError:
    """Of a column of labels that a formula calculates with."""
    levels = levels_of(column) or ()
    words = [level for level in levels if not re.fullmatch(NUMBER, level)] or list(levels)
    many = int(column.astype(str).isin(words).sum())
    advice = f"Correct them, or take them as missing with {_missing(words)}."
    if len(words) == len(levels):
        advice = "Use a column of numbers there."
    return FormulaError(
        f"`{expression}` needs numbers, and column `{name}` of {table} holds {counted(many, 'text')}: "
        f"{_places(column, words, samples)}. {advice}"
    )


def _nearly_numbers(
    name: str, words: Sequence[str], column: pd.Series, samples: Sequence[str], table: str
) -> DataError:
    """Of a column that is numbers but for some entries."""
    many, where = int(column.astype(str).isin(words).sum()), _places(column, words, samples)
    if all(re.fullmatch(COMMA, word) for word in words):
        return DataError(
            f"Column `{name}` of {table} holds decimal commas: {where}. Other numbers of the table have points, or "
            f"commas separate its columns. Write them with points, or {as_factor(name)} if they are labels."
        )
    return DataError(
        f"Column `{name}` of {table} is numeric but for {many} of its {counted(len(column), 'entry')}: {where}. Take "
        f"them as missing with {_missing(words)}, correct them, or write {as_factor(name)} if the column is a factor."
    )


def slope_notes(uses: Uses, frame: pd.DataFrame, table: str, types: Mapping[str, str]) -> list[str]:
    """A sentence for each column of whole numbers that enters as a slope, and may hold labels.

    Those are three to twelve different numbers, or 1, 2, ... without a gap, each in two samples or more; of two, the
    slope says what a factor would.
    """
    notes = []
    for name in uses.bare:
        if name in types or levels_of(frame[name]) is not None:
            continue
        sizes = frame[name].value_counts().sort_index()
        notes += slope_note(name, sizes.index.tolist(), sizes.tolist(), table)
    return notes


def slope_note(name: str, values: Sequence[float], sizes: Sequence[int], table: str) -> list[str]:
    """The sentence of a column with these values, sorted, each in so many samples; none where they are no labels."""
    if len(values) < 3 or min(sizes) < 2 or any(value != int(value) for value in values):
        return []
    run = values[0] in (0, 1) and values[-1] - values[0] + 1 == len(values)
    if not run and len(values) > FEW:
        return []
    each = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    return [
        f"Column `{name}` of {table} enters as a slope over {len(values)} whole numbers ({values[0]:g} to "
        f"{values[-1]:g}), each in {each} samples. If they are labels, write {as_factor(name)}."
    ]
