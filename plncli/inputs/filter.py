"""`--filter`: which samples to keep, as a condition on their covariates. Nothing in it is run as Python.

A condition on a missing entry is neither true nor false, as in SQL: the sample is not kept, nor is it by the opposite.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plncli.errors import FormulaError, nearest, some
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np

GRAMMAR = (
    "A condition compares columns with numbers or quoted texts by ==, !=, <, <=, >, >= or in [...], joins such "
    "comparisons by and, or and not, and may calculate with + - * / and ask isna(column)."
)
COMPARISONS = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
ARITHMETIC = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
STAND_IN = "_column_"


def holds(condition: str, table: Table) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n,) where a condition holds for the samples of a table, and notes on texts that no sample has.

    FormulaError for bad syntax, names that are no columns, and comparisons of texts with numbers.
    """
    import pyarrow as pa

    asked = _Asked(condition, table)
    found = asked.value(asked.tree())
    if isinstance(found, pa.Scalar) or not pa.types.is_boolean(found.type):
        raise asked.error("is no condition that is true or false for each sample")
    return found.fill_null(False).to_numpy(), tuple(asked.notes)


def columns_asked(condition: str, columns: Sequence[str], name: str) -> tuple[str, ...]:
    """The columns of a table of that name that a condition is about; FormulaError where one is none of its columns."""
    import pyarrow as pa

    bare = pa.table({str(j): pa.array([], pa.float64()) for j in range(len(columns))})
    asked = _Asked(condition, Table(name, "covariates", (), tuple(columns), bare))
    tree = asked.tree()
    known = asked.stood_in()
    names = dict.fromkeys(known.get(node.id, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name))
    for one in names:
        if one != "isna":
            asked.column(one)
    return tuple(one for one in names if one in columns)


class _Asked:
    """A condition, and the table that it is asked of."""

    def __init__(self, condition: str, table: Table) -> None:
        self.condition, self.table = condition, table
        self.quoted: list[str] = []
        self.notes: list[str] = []

    def error(self, why: str) -> FormulaError:
        return FormulaError(f"--filter `{self.condition}` {why}. {GRAMMAR}")

    def tree(self) -> ast.expr:
        """The condition taken apart; names in backticks are put by."""

        def put_by(found: re.Match[str]) -> str:
            self.quoted.append(found[1])
            return f"{STAND_IN}{len(self.quoted) - 1}"

        text = re.sub(r"`([^`]+)`", put_by, self.condition.strip())
        try:
            with warnings.catch_warnings(action="ignore"):  # Python's own, on numbers beside words
                return ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else "it is too long, or holds odd characters"
            hint = " Equality is written ==." if re.search(r"(?<![=<>!])=(?!=)", text) else ""
            raise self.error(f"cannot be read: {reason}.{hint}".removesuffix(".")) from None

    def value(self, node: ast.expr) -> Any:
        """The value of a part: a column, or a constant as a scalar."""
        import pyarrow as pa
        import pyarrow.compute as pc

        match node:
            case ast.Constant(value=bool() | int() | float() | str()):
                constant: Any = node.value
                try:
                    return pa.scalar(float(constant) if type(constant) is int else constant)
                except (OverflowError, UnicodeEncodeError):
                    raise self.error("holds a number that is too large, or odd characters") from None
            case ast.Name():
                return self.column(node.id)
            case ast.BoolOp():
                join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
                found = self.truth(node.values[0])
                for part in node.values[1:]:
                    found = join(found, self.truth(part))
                return found
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                join = pc.and_kleene if isinstance(node.op, ast.BitAnd) else pc.or_kleene
                return join(self.truth(node.left), self.truth(node.right))
            case ast.UnaryOp(op=ast.Not() | ast.Invert()):
                return pc.invert(self.truth(node.operand))
            case ast.UnaryOp(op=ast.USub()):
                return pc.negate(self.number(node.operand))
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                return getattr(pc, ARITHMETIC[type(node.op)])(self.number(node.left), self.number(node.right))
            case ast.Compare():
                return self.comparison(node)
            case ast.Call(func=ast.Name(id="isna"), args=[argument], keywords=[]):
                return pc.is_null(self.value(argument))
            case _:
                raise self.error(f"holds `{self.shown(node)}`, which conditions do not take")

    def column(self, name: str) -> Any:
        import pyarrow as pa

        name = self.stood_in().get(name, name)
        if name not in self.table.columns:
            raise FormulaError(
                f"--filter `{self.condition}` uses `{name}`, which is no column of {self.table.name}."
                f"{nearest(name, self.table.columns)} Its columns are: {some(self.table.columns, 20)}. Texts stand in "
                "quotes."
            )
        found = self.table.cells.column(self.table.columns.index(name))
        return found if pa.types.is_string(found.type) or pa.types.is_boolean(found.type) else found.cast(pa.float64())

    def truth(self, node: ast.expr) -> Any:
        import pyarrow as pa

        found = self.value(node)
        if not pa.types.is_boolean(found.type):
            raise self.error(f"takes `{self.shown(node)}` as true or false, which it is not")
        return found

    def number(self, node: ast.expr) -> Any:
        import pyarrow as pa

        found = self.value(node)
        if not pa.types.is_floating(found.type):
            raise self.error(f"calculates with `{self.shown(node)}`, which is no number")
        return found

    def comparison(self, node: ast.Compare) -> Any:
        """Each pair of neighbours compared, and all of it true."""
        import pyarrow.compute as pc

        found, left = None, node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                this = self.one_of(left, right)
                this = this if isinstance(op, ast.In) else pc.invert(this)
            elif type(op) in COMPARISONS:
                this = getattr(pc, COMPARISONS[type(op)])(*self.alike(left, right))
            else:
                raise self.error(f"holds `{self.shown(node)}`, which conditions do not take")
            found, left = this if found is None else pc.and_kleene(found, this), right
        return found

    def one_of(self, left: ast.expr, right: ast.expr) -> Any:
        import pyarrow.compute as pc

        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            raise self.error(f"asks what is in `{self.shown(right)}`, which is no list")
        found = None
        for item in right.elts:
            this = pc.equal(*self.alike(left, item))
            found = this if found is None else pc.or_kleene(found, this)
        return found

    def alike(self, left: ast.expr, right: ast.expr) -> tuple[Any, Any]:
        """Both sides of a comparison, of one type; a note where a text is none of a column's."""
        import pyarrow as pa
        import pyarrow.compute as pc

        sides = self.value(left), self.value(right)
        if sides[0].type != sides[1].type:
            kinds = ("text" if pa.types.is_string(s.type) else "true or false" if pa.types.is_boolean(s.type) else
                     "a number" for s in sides)  # fmt: skip
            what = " and ".join(f"`{self.shown(n)}` ({kind})" for n, kind in zip((left, right), kinds, strict=True))
            raise self.error(f"compares {what}")
        for side, other in (sides, sides[::-1]):
            if pa.types.is_string(side.type) and isinstance(side, pa.ChunkedArray) and isinstance(other, pa.Scalar):
                levels, word = [x for x in pc.unique(side).to_pylist() if x is not None], other.as_py()
                if word not in levels:
                    self.notes.append(f"--filter: no sample has the entry `{word}`.{nearest(word, levels)}")
        return sides

    def shown(self, node: ast.expr) -> str:
        known = self.stood_in()
        return re.sub(rf"{STAND_IN}\d+", lambda found: known.get(found[0], found[0]), ast.unparse(node))

    def stood_in(self) -> dict[str, str]:
        """The names in backticks, by what stands in for them."""
        return {f"{STAND_IN}{i}": name for i, name in enumerate(self.quoted)}
