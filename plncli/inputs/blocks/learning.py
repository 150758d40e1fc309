"""The design of a table whose rows stay in their file, learnt from examples of its levels and sums over all rows."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, FormulaError
from plncli.inputs.blocks.survey import NotByBlocks, Survey
from plncli.inputs.designs.design import Design, columns_used, encoded
from plncli.inputs.designs.encoding import Encoding
from plncli.inputs.designs.faults import faulty_levels
from plncli.inputs.designs.kinds import SHARE, Uses, levels_of, slope_note, texts_among_numbers, unfit_columns
from plncli.inputs.factors.references import chosen, without_effect
from plncli.inputs.formula import MATHS, Formula, called, kind, names_in, syntax_tree, tokens
from plncli.settings import FitConfig
from plncli.tables.numbers import numeric
from plncli.tables.stored import StoredTable
from plncli.tables.table import Table, frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SCALED = ("center", "scale", "standardize")
"""Transforms of which the mean and the standard deviation of all rows are what there is to learn."""
PLAIN = (*MATHS, "I", "C", "interaction")


@dataclass(frozen=True)
class Labels:
    """Columns that a formula takes as labels, and those of which it takes the combinations."""

    columns: tuple[str, ...] = ()
    combined: tuple[tuple[str, ...], ...] = ()


def labels_of(formula: Formula) -> Labels:
    """What a formula takes as labels; NotByBlocks for what needs all rows at once."""
    columns: list[str] = []
    combined: list[tuple[str, ...]] = []
    for token in _code(formula):
        tree, aliases = syntax_tree(token, formula.text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                raise NotByBlocks(f"`{token}` compares, whose levels all rows decide: make it a column")
            if not isinstance(node, ast.Call):
                continue
            function = called(node)
            names = [aliases.get(part.id, part.id) for part in node.args if isinstance(part, ast.Name)]
            if function in ("C", "interaction"):
                columns += names[:1] if function == "C" else names
                combined += [tuple(names)] if function == "interaction" else []
                if function == "C" and not (node.args and isinstance(node.args[0], ast.Name)):
                    raise NotByBlocks(f"`{token}` takes what is calculated as labels: make it a column")
            elif function in SCALED:
                if any(called(inner) in SCALED for inner in ast.walk(node) if inner is not node):
                    raise NotByBlocks(f"`{token}` scales what is scaled")
            elif function.removeprefix("np.") not in PLAIN and not _coding(function):
                raise NotByBlocks(f"`{token}` learns from all rows at once")
    return Labels(tuple(dict.fromkeys(columns)), tuple(dict.fromkeys(combined)))


def _code(formula: Formula) -> Iterator[str]:
    """The pieces of Python in a formula."""
    responses = (response for response in formula.lhs if response not in formula.columns)
    for part in (formula.rhs, *(f"{{{inside}}}" for inside in formula.offsets), *responses):
        yield from (token.token for token in tokens(part, formula.text) if kind(token) == "python")


def _coding(function: str) -> bool:
    """Whether a function is a contrast, which learns of levels alone."""
    return function.startswith("contr.") or function in ("Treatment", "Sum", "Helmert", "Diff", "Poly")


@dataclass(frozen=True)
class Learnt:
    """A design, the columns of which are numbers though they are texts in the file, and what is told.

    responses: those left of `~` that are expressions, by their code.
    """

    design: Design
    numeric: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    responses: Mapping[str, Encoding] = field(default_factory=dict)


Frames = Callable[[], Iterator["pd.DataFrame"]]
"""Each time anew: the columns that are used of all rows that are kept, by blocks."""


def as_numbers(table: Table, names: Sequence[str]) -> Table:
    """The table with some columns of texts as the numbers that they are."""
    import pyarrow as pa

    cells = table.cells
    assert isinstance(cells, pa.Table)
    for name in names:
        if name in table.columns:
            at = table.columns.index(name)
            column = cells.column(at)
            found = numeric(column)
            cells = cells.set_column(at, str(at), found if found is not column else column.cast(pa.float64()))
    return Table(table.name, table.option, table.samples, table.columns, cells)


def learn(
    config: FitConfig, formula: Formula, table: StoredTable, found: Survey, frames: Callable[[Any], Frames]
) -> Learnt:
    """The design that a formula makes of a table. frames: what reads its rows, given columns that are numbers.

    DataError and FormulaError as those of a table in memory.
    """
    used = [name for name in found.columns if name in formula.columns]
    numbers = tuple(name for name, column in found.columns.items() if column.numeric)
    examples = frame(as_numbers(found.examples, numbers), used)
    _check_columns(formula, table, found, examples, numbers)
    rows = frames(numbers)
    offset = None
    if formula.offsets:
        text = "0 + " + " + ".join(f"{{{expression}}}" for expression in formula.offsets)
        offset, parts = Encoding.fit(text, examples[columns_used([text], formula)])
        if parts.shape[1] != len(formula.offsets):
            raise FormulaError(f"In the formula `{formula.text}`, an offset is not a single column of numbers.")
        offset = _scaled(offset, rows, found.n)
    responses = {}
    for response in formula.lhs:
        if response not in table.columns:
            own, matrix = Encoding.fit(f"0 + {response}", examples[columns_used([response], formula)])
            if matrix.shape[1] != 1:
                raise FormulaError(f"Left of `~` in `{formula.text}`, `{response}` is not a single column of numbers.")
            responses[response] = _scaled(own, rows, found.n)
    encoding: Encoding | None = None
    notes: list[str] = []
    if formula.rhs == "1":
        chosen(config.reference, {}, {}, formula.text, formula.columns)
    else:
        encoding, notes = _right(config, formula, table, found, examples)
        encoding = _scaled(encoding, rows, found.n)
    return Learnt(Design(formula, encoding, offset), numbers, tuple(notes), responses)


def _right(
    config: FitConfig, formula: Formula, table: StoredTable, found: Survey, examples: pd.DataFrame
) -> tuple[Encoding, list[str]]:
    """The encoding of the right side, and what is told of its slopes and references."""
    names = columns_used([formula.rhs], formula)
    part = examples[names]
    levels = {name: levels_of(part[name]) for name in names}
    for fault in faulty_levels(levels, found.n, table.name):
        raise fault
    encoding, _ = encoded(formula, part, [name for name, known in levels.items() if known], config.reference)
    for fault in faulty_levels(encoding.factors, found.n, table.name):
        raise fault
    if not encoding.terms:
        raise FormulaError(f"The formula `{formula.text}` has no terms. Use `~ 1` for an intercept alone.")
    notes = []
    for name in Uses.of([formula.rhs], formula.text).bare:
        column = found.columns[name]
        if levels[name] is None and column.sizes is not None:
            values = column.values
            sizes = [column.sizes[value] for value in values] if not column.numeric else _sizes(column, values)
            notes += slope_note(name, values, sizes, table.name)
    if config.reference:
        notes += without_effect(config.reference, encoding.factors, encoding.terms, formula.text, names)
    return encoding, notes


def _sizes(column: Any, values: Sequence[float]) -> list[int]:
    """How often each number of a column of texts occurs."""
    sizes = dict.fromkeys(values, 0)
    for word, many in column.sizes.items():
        sizes[float(word)] += many
    return list(sizes.values())


def _check_columns(
    formula: Formula, table: StoredTable, found: Survey, examples: pd.DataFrame, numbers: Sequence[str]
) -> None:
    """DataError for columns that are not what the formula takes them as: they are read whole to say where."""
    calculations = (*formula.offsets, *(response for response in formula.lhs if response not in table.columns))
    uses = Uses.of((formula.rhs, *(f"{{{part}}}" for part in calculations)), formula.text)
    calculated = [name for name in uses.calculated if levels_of(examples[name]) is not None]
    bare = [name for name in uses.bare if found.columns[name].labels and found.columns[name].sizes is not None]
    for name in dict.fromkeys((*calculated, *bare)):
        whole = name in calculated or _doubtful(found.columns[name].sizes or {}, found.n)
        if not whole:
            continue
        column = as_numbers(table.whole([name], found.kept), [name] if name in numbers else ())
        one = Uses({name: None} if name in uses.bare else {}, {k: v for k, v in uses.calculated.items() if k == name})
        for fault in unfit_columns(one, frame(column, [name]), column.samples, table.name, {}):
            raise fault


def _doubtful(sizes: Mapping[Any, int], n: int) -> bool:
    """Whether labels may be numbers, or may be of nearly every sample its own."""
    words = {str(level): many for level, many in sizes.items()}
    return bool(texts_among_numbers(sorted(words), words)) or SHARE * n < len(words) < n


def _scaled(encoding: Encoding, rows: Frames, n: int) -> Encoding:
    """The encoding whose transforms have learnt from all rows: their mean, and squares about it, by one pass each."""
    learnt: dict[str, dict[str, Any]] = {}
    odd = [name for name in encoding.columns if not name.isidentifier()]
    aliases = {alias: name for odd_name in odd for alias, name in syntax_tree(f"`{odd_name}`", "")[1].items()}
    for code, state in encoding.transforms.items():
        tree, _ = syntax_tree(code, code)
        call = tree.body
        if not isinstance(call, ast.Call) or called(call) not in SCALED or not state:
            raise NotByBlocks(f"`{code}` learns from all rows at once")
        if not _by_data(call):
            raise NotByBlocks(f"`{code}` is scaled by numbers of its own")
        inside = _named(ast.unparse(call.args[0]), aliases)
        center, scale = _moments(inside, encoding, rows, n, state)
        learnt[code] = {
            **({} if state.get("center") is None else {"center": center}),
            **({} if state.get("scale") is None else {"scale": scale}),
        }
    return encoding.with_transforms(learnt) if learnt else encoding


def _by_data(call: ast.Call) -> bool:
    """Whether a transform has no argument but what is scaled, or whether it is to be centred or scaled."""
    given = [*call.args[1:], *(word.value for word in call.keywords)]
    return len(call.args) == 1 and all(isinstance(g, ast.Constant) and isinstance(g.value, bool) for g in given)


def _named(code: str, aliases: Mapping[str, str]) -> str:
    """Code with the columns that stand behind made-up names in backticks."""
    return re.sub(r"\b\w+\b", lambda word: f"`{aliases[word[0]]}`" if word[0] in aliases else word[0], code)


def _moments(inside: str, encoding: Encoding, rows: Frames, n: int, state: Mapping[str, Any]) -> tuple[float, float]:
    """The mean of an expression over all n rows, and the root of its mean square, about that where it is centred."""
    import numpy as np

    total = squares = 0.0
    centred, ddof = state.get("center") is not None, float(state["ddof"])
    for values in _evaluated(inside, encoding, rows):
        total += float(values.sum())
    mean = total / n
    for values in _evaluated(inside, encoding, rows):
        squares += float(np.square(values - mean if centred else values).sum())
    if not math.isfinite(squares):
        raise DataError(
            f"The term `{inside}` is not a finite number in some samples: infinite or missing values, or the logarithm "
            "of a number that is not positive. Correct or leave out these samples."
        )
    return mean, math.sqrt(squares / (n - ddof))


def _evaluated(inside: str, encoding: Encoding, rows: Frames) -> Iterator[np.ndarray]:
    """The values (b,) of an expression, by blocks."""
    part: Encoding | None = None
    text = f"0 + {{{inside}}}"
    names = list(names_in(text, text, tuple(encoding.columns)))
    for block in rows():
        if part is None:
            part, _ = Encoding.fit(text, block[names])
        yield part.build(block[names])[:, 0]
