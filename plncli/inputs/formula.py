"""Formulas in Wilkinson notation: taken apart, and held to a whitelist.

Formulaic reads them. What stands inside calls is Python to it: here every such expression must pass a whitelist first,
so that a formula can name columns, numbers and the documented functions and nothing else.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plncli.errors import FormulaError, nearest, some

MATHS = ("log", "log1p", "log2", "log10", "exp", "expm1", "sqrt", "abs", "sin", "cos")
TRANSFORMS = ("center", "scale", "standardize", "poly", "bs", "cr", "cs", "cc", "C", "I", "interaction")
CONTRASTS = tuple(f"contr.{name}" for name in ("treatment", "sum", "helmert", "diff", "poly", "sas"))
PATSY_CONTRASTS = ("Treatment", "Sum", "Helmert", "Diff", "Poly")
FUNCTIONS = (*MATHS, *TRANSFORMS, *PATSY_CONTRASTS, *CONTRASTS)
KNOWN = f"{', '.join((*MATHS, *TRANSFORMS))}, offset, and the contrasts of C(): {', '.join(CONTRASTS)}"
OTHERWISE = {
    "cbind": " Several responses are written `y1 + y2 ~ ...`.",
    "factor": " Labels that are numbers are written `C(x)`.",
    "relevel": " The level that others are compared with is chosen by --reference.",
    "ifelse": " Write `I(x > 0)`.",
}
SYNTAX = (
    ast.Load, ast.Constant, ast.List, ast.Tuple, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor,
    ast.UAdd, ast.USub, ast.Invert, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip
HIGHEST_POWER = 100


@dataclass(frozen=True)
class Formula:
    """A formula taken apart: names of responses, terms right of `~` without offsets, expressions of the offsets.

    `columns` are the columns of the table that any of them uses.
    """

    text: str = "~ 1"
    lhs: tuple[str, ...] = ()
    rhs: str = "1"
    offsets: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def left_side(text: str | None) -> str:
    """What stands left of `~`, whatever it is; nothing where nothing does."""
    text = unicodedata.normalize("NFC", (text or "").strip())
    return "" if "~" not in text[1:] else _sides(text)[0]


def parse(text: str | None, columns: Sequence[str] = (), table: str | None = None, corner: str = "") -> Formula:
    """Take a formula apart. `columns` are those of the covariates, `table` their file; None when there is none.

    `corner` is the header of the sample names. FormulaError for bad syntax, names that are not columns, and Python
    that is not documented notation.
    """
    text = unicodedata.normalize("NFC", (text or "~ 1").strip())
    if re.fullmatch(r"~?\s*1?", text):
        return Formula(text)
    names_in(text, text, columns)
    text = _expand_dot(text, columns)
    left, right = _sides(text)
    right, offsets = _take_offsets(right, text)
    lhs = _responses(left, text)
    parts = (*(f"`{y}`" if y in columns else y for y in lhs), right, *(f"{{{inside}}}" for inside in offsets))
    names = tuple(dict.fromkeys(name for part in parts for name in names_in(part, text, columns)))
    for name in names:
        if name not in columns:
            raise FormulaError(_unknown(name, text, columns, table, corner))
        if name in ("1", "~"):
            raise FormulaError(
                f"A formula cannot tell the column `{name}` of {table} from the sign; rename the column."
            )
    _check_syntax(right, text)
    return Formula(text, lhs, right, offsets, names)


def tokens(text: str, formula: str) -> list[Any]:
    """Formulaic's tokens of `text`, a part of `formula`."""
    from formulaic.errors import FormulaicError
    from formulaic.parser.algos.tokenize import tokenize

    try:
        return list(tokenize(text))
    except FormulaicError as error:
        raise syntax_error(formula, error) from None


def kind(token: Any) -> str:
    """operator, name, value, python or context."""
    return str(token.kind.value)


def syntax_error(formula: str, error: Exception) -> FormulaError:
    """What formulaic says of a formula, with the place it marks."""
    words = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    message, _, context = words.partition("\n\n")
    message = " ".join(message.split()).rstrip(".").replace("context marker", "bracket")
    message = message.replace("has insuffient arguments and/or", "lacks a term beside it, or")
    place = ""
    if "⧛" in context:
        before, _, rest = context.partition("⧛")
        marked, _, after = rest.partition("⧚")
        whole = before + marked + after == formula
        place = f", at character {len(before) + 1} (`{marked}`)" if whole else f", at `{marked}`"
    hint = " Comparisons and arithmetic go inside I(...)." if "Unknown operator" in message else ""
    return FormulaError(f"The formula `{formula}` cannot be read: {message}{place}.{hint}")


def _check_syntax(right: str, formula: str) -> None:
    """FormulaError when formulaic cannot make terms of the right side."""
    from formulaic import Formula as Terms
    from formulaic.errors import FormulaicError

    try:
        Terms(right if "offset" in formula else formula)
    except FormulaicError as error:
        raise syntax_error(formula, error) from None
    except RecursionError:
        raise FormulaError(f"The formula `{formula[:60]}...` cannot be read: it is nested too deeply.") from None
    except (AttributeError, IndexError, TypeError, ValueError):  # formulaic of brackets of different kinds, as in `( ]`
        raise FormulaError(f"The formula `{formula}` cannot be read: check its brackets and operators.") from None


def _sides(text: str) -> tuple[str, str]:
    """What stands left and right of `~`; a formula without one is a right side."""
    operators = [token for token in tokens(text, text) if kind(token) == "operator"]
    if any("|" in token.token for token in operators):
        raise FormulaError(
            f"The formula `{text}` holds `|`: terms with bars (random effects, several parts) are not available."
        )
    tildes = [token.source_start + token.token.index("~") for token in operators if "~" in token.token]
    if len(tildes) > 1:
        raise FormulaError(f"The formula `{text}` holds more than one `~`; write `response ~ terms`.")
    return (text[: tildes[0]].strip(), text[tildes[0] + 1 :].strip()) if tildes else ("", text)


def _expand_dot(text: str, columns: Sequence[str]) -> str:
    """`.` written out as all columns that the formula does not name otherwise."""
    dots = [token for token in tokens(text, text) if token.token == "." and kind(token) in ("value", "operator")]
    if not dots:
        return text
    named = set(names_in(re.sub(r"(?<![\w.`)])\.(?![\w.`(])", "1", text), text, columns))
    others = [f"`{name}`" for name in columns if name not in named]
    if not others:
        raise FormulaError(f"`.` in the formula `{text}` stands for all other columns, and there are none.")
    for token in reversed(dots):
        text = f"{text[: token.source_start]}({' + '.join(others)}){text[token.source_end + 1 :]}"
    return text


def _take_offsets(right: str, formula: str) -> tuple[str, tuple[str, ...]]:
    """The right side without its `offset(...)` terms, and what stood inside them."""
    offsets: list[str] = []
    while calls := [t for t in tokens(right, formula) if kind(t) == "python" and re.match(r"offset\s*\(", t.token)]:
        call = calls[-1]
        before, after = right[: call.source_start].rstrip(), right[call.source_end + 1 :].lstrip()
        brackets = [token.token for token in tokens(before, formula) if kind(token) == "context"]
        inside_brackets = sum(1 if sign in "([" else -1 for sign in brackets) != 0
        if inside_brackets or (before and before[-1] != "+") or (after and after[0] not in "+-"):
            raise FormulaError(
                f"In the formula `{formula}`, `{call.token}` must be added on its own: `... + {call.token}`, "
                f"neither subtracted, nor multiplied, nor inside brackets."
            )
        inside = call.token[call.token.index("(") + 1 : call.token.rindex(")")].strip()
        if not inside or inside in offsets:
            raise FormulaError(f"In the formula `{formula}`, `{call.token}` is {'there twice' if inside else 'empty'}.")
        offsets.append(inside)
        before = before[:-1].rstrip()
        right = f"{before} {after}".strip() if before or after.startswith("-") else after.lstrip("+ ")
        right = right or "1"
    return right, tuple(reversed(offsets))


def _responses(left: str, formula: str) -> tuple[str, ...]:
    """The terms left of `~`, each a column or an expression; names keep no backticks."""
    pieces: list[str] = []
    for token in tokens(left, formula):
        if kind(token) in ("name", "python") and not token.token.startswith("offset("):
            pieces.append(token.token)
        elif not (kind(token) == "operator" and token.token == "+" and pieces):
            raise FormulaError(
                f"Left of `~` in `{formula}` stands `{left}`; write one response, or several as `y1 + y2 ~ ...`; "
                "arithmetic and comparisons go inside I(...)."
            )
    if len(pieces) != len(set(pieces)):
        raise FormulaError(f"Left of `~` in `{formula}` a response is named twice.")
    return tuple(pieces)


def _unknown(name: str, formula: str, columns: Sequence[str], table: str | None, corner: str) -> str:
    """Message for a name that is no column."""
    if table is None:
        return (
            f"The formula `{formula}` uses `{name}`, but no table of covariates is given. Add --covariates FILE "
            "with that column."
        )
    if name == corner:
        return (
            f"The formula `{formula}` uses `{name}`, which is the column of sample names of {table}: each sample has "
            "its own, so it explains nothing. Take it out of the formula, or use --no-sample-names if it is data."
        )
    whole = [column for column in columns if name in column and column in formula]
    hint = f" Write the name of the column in backticks: `{whole[0]}`." if whole else nearest(name, columns)
    return (
        f"The formula `{formula}` uses `{name}`, which is no column of {table}.{hint} Its columns are: "
        f"{some(columns, 20)}."
    )


# The whitelist


def names_in(text: str, formula: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Columns named in a part of a formula; FormulaError unless all its Python is documented notation."""
    names: list[str] = []
    for token in tokens(text, formula):
        if kind(token) == "name":
            names.append(token.token)
        elif kind(token) == "python":
            names += _python_names(token.token, formula, columns)
    return tuple(dict.fromkeys(names))


def syntax_tree(code: str, formula: str) -> tuple[ast.Expression, dict[str, str]]:
    """The tree that formulaic will evaluate for `code`, and the columns that stand behind made-up names."""
    from formulaic.utils.code import sanitize_variable_names

    quoted = re.findall(r"`([^`]*)`", code)
    if any(re.search(r"[\"'\\]", name) or not name for name in quoted) or "_formulaic" in code:
        raise FormulaError(f"In `{formula}`, `{code}` names a column with quotes or backslashes in it; rename it.")
    words = [name for name in quoted if keyword.iskeyword(name)]
    if words:
        raise FormulaError(f"In `{formula}`, `{code}` cannot take a column called `{words[0]}`; rename the column.")
    aliases: dict[str, str] = {}
    try:
        return ast.parse(sanitize_variable_names(code, {}, aliases), mode="eval"), aliases
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is too long or holds odd characters"
        hint = OTHERWISE["factor"] if code.startswith("as.") else ""
        raise FormulaError(f"The formula `{formula}` cannot be read: in `{code}`, {reason}.{hint}") from None


def _python_names(code: str, formula: str, columns: Sequence[str]) -> list[str]:
    """Columns that an expression such as `log(depth)` uses; FormulaError for anything outside the whitelist.

    The expression may be a call of offset() as a whole.
    """
    tree, aliases = syntax_tree(code, formula)
    names: list[str] = []
    todo: list[ast.AST] = [tree.body]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Call):
            if node is not tree.body or ast.unparse(node.func) != "offset":
                _check_call(node, code, formula, columns)
            todo = [*node.args, *node.keywords, *todo]
        elif isinstance(node, ast.Attribute):
            written = ast.unparse(node)
            if written not in FUNCTIONS:
                hint = f" Write the name of the column in backticks: `{written}`." if written in columns else ""
                raise FormulaError(f"In the formula `{formula}`, `{written}` is not available.{hint}")
        elif isinstance(node, ast.Name):
            name = aliases.get(node.id, node.id)
            if name not in PATSY_CONTRASTS or name in columns:
                names.append(name)
        elif isinstance(node, SYNTAX):
            if isinstance(node, ast.BinOp):
                _check_arithmetic(node, code, formula)
            todo = [*ast.iter_child_nodes(node), *todo]
        else:
            raise FormulaError(
                f"In the formula `{formula}`, `{code}` holds Python that formulas do not take ({type(node).__name__}). "
                f"They take columns, numbers, arithmetic, comparisons, and these functions: {KNOWN}."
            )
    if not names:
        raise FormulaError(f"In the formula `{formula}`, `{code}` names no column, so it is the same for all samples.")
    return names


def _check_call(node: ast.Call, code: str, formula: str, columns: Sequence[str]) -> None:
    """FormulaError unless a documented function is called with plain arguments."""
    called = ast.unparse(node.func)
    short = called.removeprefix("np.")
    if called == "offset":
        raise FormulaError(f"In the formula `{formula}`, `offset(...)` must be a term of its own.")
    if called not in FUNCTIONS and short not in MATHS:
        hint = OTHERWISE.get(called, nearest(short, FUNCTIONS))
        raise FormulaError(
            f"The formula `{formula}` calls `{called}`, which is not available.{hint} There are: {KNOWN}."
        )
    if called.partition(".")[0] in columns:
        raise FormulaError(
            f"The formula `{formula}` calls `{called}`, but a column has that name too; rename the column."
        )
    if short in MATHS and (node.keywords or len(node.args) != 1):  # numpy's second argument is where results go
        raise FormulaError(f"In the formula `{formula}`, `{code}` must have one argument: `{short}(x)`.")
    if called == "interaction" and (node.keywords or len(node.args) < 2 or not _are_names(node.args)):
        raise FormulaError(f"In the formula `{formula}`, `{code}` must name two columns or more: `interaction(a, b)`.")
    if any(argument.arg is None or argument.arg.startswith("_") for argument in node.keywords):
        raise FormulaError(f"In the formula `{formula}`, `{code}` passes an argument that is not available.")


def called(node: ast.AST) -> str:
    """What a node of code calls, such as `C` or `contr.treatment`; nothing where it is no call."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def written(name: str) -> str:
    """A column as a formula has it: in backticks where its name is none of Python's."""
    return name if name.isidentifier() else f"`{name}`"


def _are_names(nodes: Sequence[ast.expr]) -> bool:
    return all(isinstance(node, ast.Name) for node in nodes)


def _check_arithmetic(node: ast.BinOp, code: str, formula: str) -> None:
    """FormulaError for arithmetic with texts or lists, and for powers that are not small numbers: they may not end."""
    for operand in (node.left, node.right):
        value = operand.value if isinstance(operand, ast.Constant) else 0.0
        if isinstance(operand, ast.List | ast.Tuple) or not isinstance(value, int | float):
            raise FormulaError(f"In the formula `{formula}`, `{code}` calculates with what is no number.")
    if isinstance(node.op, ast.BitXor) and not (_logical(node.left) and _logical(node.right)):
        raise FormulaError(
            f"In the formula `{formula}`, `{code}` holds `^`, which is no power inside brackets: write "
            f"`{code.replace('^', '**')}`."
        )
    if isinstance(node.op, ast.Pow) and not _literal(node.right) and not _has_names(node.right):
        raise FormulaError(f"In the formula `{formula}`, a power in `{code}` is no number of at most {HIGHEST_POWER}.")
    if isinstance(node.op, ast.Pow) and not _literal(node.left) and not _has_names(node.left):
        raise FormulaError(f"In the formula `{formula}`, `{code}` takes a power of what is neither column nor number.")


def _logical(node: ast.expr) -> bool:
    """Whether an expression is true or false by its form: a comparison, or several joined."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor) and _logical(node.left) and _logical(node.right)
    return _logical(node.operand) if isinstance(node, ast.UnaryOp) else isinstance(node, ast.Compare)


def _literal(node: ast.expr) -> bool:
    """Whether an expression is a number that is no danger as a power."""
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    value = inner.value if isinstance(inner, ast.Constant) else None
    return isinstance(value, int | float) and abs(value) <= HIGHEST_POWER


def _has_names(node: ast.expr) -> bool:
    """Whether an expression depends on a column."""
    return any(isinstance(part, ast.Name) for part in ast.walk(node))
