"""Reference levels: which level of a factor the others are compared with, chosen beside the formula or in it.

`C(tree, Treatment("x"))`, as patsy writes it, and `C(tree, contr.treatment("x"))`, as formulaic does, are the factor
`tree` with the reference x, so that its coefficients are called `tree[T.y]` however the reference was chosen.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from plncli.errors import DataError, FormulaError, nearest, some
from plncli.inputs.formula import called, kind, syntax_tree, tokens, written

TREATMENTS = {"Treatment": "reference", "contr.treatment": "base"}
"""Codings that compare levels with one of them, and what that argument is called."""


def without_codings(rhs: str, formula: str, labels: Container[str]) -> tuple[str, dict[str, str]]:
    """The right side with factors in the place of what codes them by a reference, and the references by column.

    labels: the columns that hold labels, so that they are factors without C(...).
    """
    found: dict[str, str] = {}
    for token in reversed([token for token in tokens(rhs, formula) if kind(token) == "python"]):
        coded = _coded(token.token, formula)
        if coded is None:
            continue
        column, level = coded
        if level is not None and found.setdefault(column, level) != level:
            raise FormulaError(
                f"The formula `{formula}` compares the levels of `{column}` with `{level}` and with `{found[column]}`. "
                "Choose one."
            )
        short = written(column) if column in labels else f"C({written(column)})"
        rhs = rhs[: token.source_start] + short + rhs[token.source_end + 1 :]
    return rhs, found


def _coded(code: str, formula: str) -> tuple[str, str | None] | None:
    """The column and the reference (None: the first level) of `C(column, Treatment(...))`; None for other code."""
    tree, aliases = syntax_tree(code, formula)
    call = tree.body
    if not isinstance(call, ast.Call) or called(call) != "C":
        return None
    arguments = [*call.args, *(word.value for word in call.keywords if word.arg == "contrasts")]
    if len(arguments) != len(call.args) + len(call.keywords) or len(arguments) != 2:
        return None
    column, coding = arguments
    if not isinstance(column, ast.Name):
        return None
    name = aliases.get(column.id, column.id)
    if ast.unparse(coding) in TREATMENTS:
        return name, None
    if not isinstance(coding, ast.Call) or called(coding) not in TREATMENTS:
        return None
    word = TREATMENTS[called(coding)]
    given = [*coding.args, *(argument.value for argument in coding.keywords if argument.arg == word)]
    if len(given) != len(coding.args) + len(coding.keywords) or len(given) > 1:
        return None
    if not given:
        return name, None
    try:
        return name, label(ast.literal_eval(given[0]))
    except ValueError:
        return None


def label(value: Any) -> str:
    """What a level is called: 2 where a column of numbers has 2.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def chosen(
    entries: Sequence[str],
    coded: Mapping[str, str],
    factors: Mapping[str, Sequence[Any]],
    formula: str,
    columns: Iterable[str],
) -> dict[str, list[Any]]:
    """The levels of the factors whose reference is chosen, the reference first.

    entries: FACTOR=LEVEL, of --reference; coded: the level by column, as the formula says; factors: the levels of each,
    by its code in the formula; columns: those of the formula. DataError where there is no such factor, or level.
    """
    by_name = {factor: _column(factor) for factor in factors}
    wanted: dict[str, tuple[str, str]] = {}
    for entry in entries:
        name, level = _split(entry, by_name, formula, columns)
        if wanted.setdefault(name, (level, entry)) != (level, entry):
            raise DataError(f"--reference {entry} and --reference {wanted[name][1]} exclude each other. Give one.")
        if coded.get(name, level) != level:
            raise DataError(
                f"--reference {entry}: the formula `{formula}` itself compares with `{coded[name]}`. Leave one out."
            )
    wanted |= {name: (level, "") for name, level in coded.items() if name not in wanted}
    ordered = {}
    for name, (level, entry) in wanted.items():
        for factor in (factor for factor, column in by_name.items() if name in (factor, column)):
            _check_coding(factor, column=by_name[factor], entry=entry)
            ordered[factor] = _first(factors[factor], level, name, entry or f"The formula `{formula}`")
    return ordered


def without_effect(
    entries: Sequence[str], factors: Iterable[str], terms: Sequence[str], formula: str, columns: Iterable[str]
) -> list[str]:
    """Sentences about FACTOR=LEVEL each that changes nothing but the order of `terms`, the columns of the design."""
    by_name = {factor: _column(factor) for factor in factors}
    told = []
    for entry in entries:
        name, _ = _split(entry, by_name, formula, columns)
        own = [factor for factor, column in by_name.items() if name in (factor, column)]
        if not any(f"{factor}[T." in term for factor in own for term in terms):
            told.append(
                f"--reference {entry} only puts that level first: `{formula}` has a coefficient for each level of "
                f"`{name}`, and compares none with another."
            )
    return told


def concerns(entry: str, columns: Iterable[str]) -> bool:
    """Whether FACTOR=LEVEL may be about a factor of a formula with these columns."""
    names = [entry[:place] for place, sign in enumerate(entry) if sign == "="]
    return any(name.strip().strip("`") in columns or (_column(name) or "") in columns for name in names)


def _column(factor: str) -> str | None:
    """The column that a factor is made of, `tree` or `C(tree, ...)`; None for other code."""
    if "(" not in factor:
        return factor.strip().strip("`")
    try:
        tree, aliases = syntax_tree(factor, factor)
    except FormulaError:
        return None
    call = tree.body
    if isinstance(call, ast.Call) and called(call) == "C" and call.args and isinstance(call.args[0], ast.Name):
        return aliases.get(call.args[0].id, call.args[0].id)
    return None


def _split(entry: str, by_name: Mapping[str, str | None], formula: str, columns: Iterable[str]) -> tuple[str, str]:
    """The factor, by its column if it is of one, and the level. A name may hold `=`."""
    plain = {_bare(factor): column or factor for factor, column in by_name.items()}
    plain |= {_bare(column): column for column in by_name.values() if column}
    for place in (place for place, sign in enumerate(entry) if sign == "="):
        found = plain.get(_bare(entry[:place]))
        if found is not None:
            return found, entry[place + 1 :].strip()
    name = entry.partition("=")[0].strip()
    if name in columns:
        raise DataError(
            f"--reference {entry}: `{name}` enters the formula `{formula}` as numbers, which have no reference. If "
            f"they stand for labels, write `C({name})`."
        )
    names = sorted({column or factor for factor, column in by_name.items()})
    there = f"Its factors: {some(names)}." if names else "It has no factor."
    raise DataError(
        f"--reference {entry}: the formula `{formula}` has no factor `{name}`.{nearest(name, names)} {there}"
    )


def _bare(name: str) -> str:
    """A name without what may be written either way: blanks and backticks."""
    return "".join(sign for sign in name if not sign.isspace() and sign != "`")


def _check_coding(factor: str, column: str | None, entry: str) -> None:
    """DataError for a factor that is coded otherwise than by comparing with a reference."""
    if column is None or "," not in factor:
        return
    raise DataError(
        f"--reference {entry}: the formula codes `{column}` as `{factor}`, which has no reference to choose. Write "
        f"`C({column})`, or leave --reference out."
        if entry
        else f"The formula codes `{column}` in two ways, one of them `{factor}`. Use one."
    )


def _first(levels: Sequence[Any], level: str, name: str, where: str) -> list[Any]:
    """The levels with the reference first. DataError where it is none of them."""
    names = [label(one) for one in levels]
    if level not in names:
        at = where if where.startswith("The formula") else f"--reference {where}"
        raise DataError(
            f"{at}: `{name}` has no level `{level}` in the samples that are fitted.{nearest(level, names)} It has "
            f"{some(names, 12)}."
        )
    first = names.index(level)
    return [levels[first], *levels[:first], *levels[first + 1 :]]
