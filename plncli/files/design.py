"""From a formula and a table of covariates to a design matrix, with the encoding kept for new data.

Formulas are Wilkinson notation as formulaic reads it, with `offset(...)` terms added. What stands inside calls is
Python to formulaic: here every such expression must pass a whitelist first, so that a formula can name columns,
numbers and the documented functions and nothing else. The encoding (levels, contrasts, means, knots) is kept as JSON.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, FormulaError, nearest, some
from plncli.files.tables import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MATHS = ("log", "log1p", "log2", "log10", "exp", "expm1", "sqrt", "abs", "sin", "cos")
TRANSFORMS = ("center", "scale", "standardize", "poly", "bs", "cr", "cs", "cc", "C", "I")
CONTRASTS = ("treatment", "sum", "helmert", "diff", "poly", "sas")
PATSY_CONTRASTS = ("Treatment", "Sum", "Helmert", "Diff", "Poly")
FUNCTIONS = (*MATHS, *TRANSFORMS, *PATSY_CONTRASTS, *(f"contr.{name}" for name in CONTRASTS))
KNOWN = (
    f"{', '.join((*MATHS, *TRANSFORMS))}, offset, and the contrasts of C(): {', '.join(FUNCTIONS[-len(CONTRASTS) :])}"
)
SYNTAX = (
    ast.Expression, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip


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


@dataclass(frozen=True)
class Encoding:
    """How a one-sided formula turns columns into numbers, as it was when it was fitted.

    `columns` maps a column to its sorted levels, or to None for numbers; `state` is what transforms and contrasts
    learnt from the data, as JSON; `terms` are the names of the matrix's columns.
    """

    formula: str
    columns: Mapping[str, tuple[str, ...] | None]
    state: Mapping[str, Any]
    terms: tuple[str, ...]

    @classmethod
    def fit(cls, formula: str, frame: pd.DataFrame) -> tuple[Encoding, np.ndarray]:
        """The encoding of `frame` (n rows) and its n×d float64 matrix."""
        matrix, terms, state = _materialise(formula, frame, {})
        columns = {str(name): _levels(frame[name]) for name in frame.columns}
        return cls(formula, columns, state, terms), matrix

    def build(self, frame: pd.DataFrame) -> np.ndarray:
        """n×d float64 matrix of new data; missing columns and levels that were not seen are refused by name."""
        matrix, terms, _ = _materialise(self.formula, self._conform(frame), self.state)
        if terms != self.terms:
            raise DataError(
                f"The formula gives other terms here ({some(terms)}) than when it was fitted ({some(self.terms)})."
            )
        return matrix

    def _conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The needed columns, with the levels of the fit."""
        import pandas as pd

        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise DataError(
                f"The fit used the columns {some(absent)}, which this table does not "
                f"have.{nearest(absent[0], list(map(str, frame.columns)))}"
            )
        content: dict[str, Any] = {}
        for name, levels in self.columns.items():
            column = frame[name]
            if levels is None:
                if _levels(column) is not None:
                    raise DataError(f"Column `{name}` was numbers when the model was fitted and holds text here.")
                content[name] = column.astype("float64")
                continue
            words = column if isinstance(column.dtype, pd.CategoricalDtype) else column.map(str, na_action="ignore")
            unseen = sorted(set(words.dropna().unique()) - set(levels), key=str)
            if unseen:
                raise DataError(
                    f"Column `{name}` holds levels that the fit has not seen: {some(unseen)}. It knows "
                    f"{some(levels, 12)}; "
                    f"leave these samples out."
                )
            content[name] = pd.Categorical(words, categories=list(levels))
        return pd.DataFrame(content, index=frame.index)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        columns = {name: None if levels is None else list(levels) for name, levels in self.columns.items()}
        return {"formula": self.formula, "columns": columns, "state": dict(self.state), "terms": list(self.terms)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_json`; the formula passes the whitelist again."""
        _check_python(content["formula"], tuple(content["columns"]))
        columns = {name: None if levels is None else tuple(levels) for name, levels in content["columns"].items()}
        return cls(content["formula"], columns, dict(content["state"]), tuple(content["terms"]))


@dataclass(frozen=True)
class Design:
    """The design of a fit: what `fit` made of the formula and `build` makes again of new data."""

    formula: Formula
    encoding: Encoding | None = field(default=None, repr=False)  # None: the intercept alone
    offset_encoding: Encoding | None = field(default=None, repr=False)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the d columns of the matrix."""
        return ("Intercept",) if self.encoding is None else self.encoding.terms

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a table of new data must have."""
        encodings = (self.encoding, self.offset_encoding)
        return tuple(dict.fromkeys(name for encoding in encodings if encoding for name in encoding.columns))

    def build(self, frame: pd.DataFrame) -> np.ndarray:
        """n×d float64 design matrix of new data, encoded as in the fit."""
        import numpy as np

        if self.encoding is None:
            return np.ones((len(frame), 1))
        matrix = self.encoding.build(frame)
        _refuse_infinite(matrix, self.terms, list(map(str, frame.index)))
        return matrix

    def offset(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) sum of the formula's offset terms for new data; zeros when there are none."""
        import numpy as np

        if self.offset_encoding is None:
            return np.zeros(len(frame))
        matrix = self.offset_encoding.build(frame)
        _refuse_infinite(matrix, _offset_names(self.formula), list(map(str, frame.index)))
        return np.asarray(matrix.sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        parts = (self.encoding, self.offset_encoding)
        x, o = (None if part is None else part.to_json() for part in parts)
        return {"formula": {**vars(self.formula)}, "x": x, "offset": o}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Design:
        """The inverse of `to_json`."""
        formula = Formula(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in content["formula"].items()}
        )
        x, o = (None if content[key] is None else Encoding.from_json(content[key]) for key in ("x", "offset"))
        return cls(formula, x, o)


# Reading a formula


def parse(text: str | None, columns: Sequence[str] = (), table: str | None = None) -> Formula:
    """Take a formula apart. `columns` are those of the covariates, `table` their file; None when there is none.

    FormulaError for bad syntax, names that are not columns, and Python that is not documented notation.
    """
    text = (text or "~ 1").strip()
    if re.fullmatch(r"~?\s*1?", text):
        return Formula(text)
    _check_python(text, columns)
    text = _expand_dot(text, columns)
    left, right = _sides(text)
    right, offsets = _take_offsets(right, text)
    lhs = _responses(left, text)
    expressions = [response for response in lhs if response not in columns]
    named = [response for response in lhs if response in columns]
    parts = (*expressions, right, *(f"{{{inside}}}" for inside in offsets))
    names = tuple(dict.fromkeys((*named, *(name for part in parts for name in _names(part, text, columns)))))
    unknown = [name for name in names if name not in set(columns)]
    if unknown:
        raise FormulaError(_unknown(unknown[0], text, columns, table))
    _check_syntax(right, text)
    return Formula(text, lhs, right, offsets, names)


def _check_syntax(right: str, formula: str) -> None:
    """FormulaError when formulaic cannot make terms of the right side."""
    from formulaic import Formula as Terms
    from formulaic.errors import FormulaicError

    try:
        Terms(right if "offset" in formula else formula)
    except FormulaicError as error:
        raise _syntax_error(formula, error) from None


def _tokens(text: str, formula: str) -> list[Any]:
    """Formulaic's tokens of `text`, a part of `formula`."""
    from formulaic.errors import FormulaicError
    from formulaic.parser.algos.tokenize import tokenize

    try:
        return list(tokenize(text))
    except FormulaicError as error:
        raise _syntax_error(formula, error) from None


def _kind(token: Any) -> str:
    """operator, name, value, python or context."""
    return str(token.kind.value)


def _syntax_error(formula: str, error: Exception) -> FormulaError:
    """What formulaic says of a formula, with the place it marks."""
    words = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    message, _, context = words.partition("\n\n")
    message = " ".join(message.split()).replace("insuffient", "insufficient").rstrip(".")
    place = ""
    if "⧛" in context:
        before, _, rest = context.partition("⧛")
        marked, _, after = rest.partition("⧚")
        whole = before + marked + after == formula
        place = f", at character {len(before) + 1} (`{marked}`)" if whole else f", at `{marked}`"
    return FormulaError(f"The formula `{formula}` cannot be read: {message}{place}.")


def _sides(text: str) -> tuple[str, str]:
    """What stands left and right of `~`; a formula without one is a right side."""
    tokens = _tokens(text, text)
    bars = [token for token in tokens if _kind(token) == "operator" and "|" in token.token]
    if bars:
        raise FormulaError(
            f"The formula `{text}` holds `|`: terms with bars (random effects, several parts) are not available."
        )
    tildes = [
        token.source_start + token.token.index("~")
        for token in tokens
        if _kind(token) == "operator" and "~" in token.token
    ]
    if len(tildes) > 1:
        raise FormulaError(f"The formula `{text}` holds more than one `~`; write `response ~ terms`.")
    return (text[: tildes[0]].strip(), text[tildes[0] + 1 :].strip()) if tildes else ("", text)


def _expand_dot(text: str, columns: Sequence[str]) -> str:
    """`.` written out as all columns that the formula does not name otherwise."""
    dots = [token for token in _tokens(text, text) if token.token == "." and _kind(token) in ("value", "operator")]
    if not dots:
        return text
    named = set(_names(re.sub(r"(?<![\w.`)])\.(?![\w.`(])", "1", text), text, columns))
    others = [f"`{name}`" for name in columns if name not in named]
    if not others:
        raise FormulaError(f"`.` in the formula `{text}` stands for all other columns, and there are none.")
    for token in reversed(dots):
        text = f"{text[: token.source_start]}({' + '.join(others)}){text[token.source_end + 1 :]}"
    return text


def _take_offsets(right: str, formula: str) -> tuple[str, tuple[str, ...]]:
    """The right side without its `offset(...)` terms, and what stood inside them."""
    offsets: list[str] = []
    while True:
        calls = [t for t in _tokens(right, formula) if _kind(t) == "python" and re.match(r"offset\s*\(", t.token)]
        if not calls:
            return right, tuple(reversed(offsets))
        call = calls[-1]
        before, after = right[: call.source_start].rstrip(), right[call.source_end + 1 :].lstrip()
        depth = _depth(before, formula)
        if depth or (before and before[-1] != "+") or (after and after[0] not in "+-"):
            raise FormulaError(
                f"In the formula `{formula}`, `{call.token}` must be added on its own: `... + {call.token}`, "
                f"neither subtracted, nor multiplied, nor inside brackets."
            )
        inside = call.token[call.token.index("(") + 1 : call.token.rindex(")")].strip()
        if not inside or inside in offsets:
            raise FormulaError(
                f"In the formula `{formula}`, `{call.token}` is {'empty' if not inside else 'there twice'}."
            )
        offsets.append(inside)
        before = before[:-1].rstrip()
        right = f"{before} {after}".strip() if before or after.startswith("-") else after.lstrip("+ ")
        right = right or "1"


def _depth(before: str, formula: str) -> int:
    """How many grouping brackets are open at the end of `before`."""
    signs = [token.token for token in _tokens(before, formula) if _kind(token) == "context"]
    return sum(1 if sign in "([" else -1 for sign in signs)


def _responses(left: str, formula: str) -> tuple[str, ...]:
    """The terms left of `~`, each a column or an expression; names keep no backticks."""
    if not left:
        return ()
    pieces: list[str] = []
    for token in _tokens(left, formula):
        if _kind(token) in ("name", "python"):
            pieces.append(token.token)
        elif not (_kind(token) == "operator" and token.token == "+" and pieces):
            raise FormulaError(
                f"Left of `~` in `{formula}` stands `{left}`; write one response, or several as `y1 + y2 ~ ...`."
            )
    if len(pieces) != len(set(pieces)):
        raise FormulaError(f"Left of `~` in `{formula}` a response is named twice.")
    return tuple(pieces)


def _unknown(name: str, formula: str, columns: Sequence[str], table: str | None) -> str:
    """Message for a name that is no column."""
    if table is None:
        return (
            f"The formula `{formula}` uses `{name}`, but no table of covariates is given. Add --covariates FILE "
            "with that column."
        )
    return (
        f"The formula `{formula}` uses `{name}`, which is no column of {table}.{nearest(name, columns)} Its "
        f"columns are: {some(columns, 20)}."
    )


# The whitelist


def _names(text: str, formula: str, columns: Sequence[str]) -> Iterator[str]:
    """Columns named in a part of a formula."""
    for token in _tokens(text, formula):
        if _kind(token) == "name":
            yield token.token
        elif _kind(token) == "python":
            yield from _python_names(token.token, formula, columns, offset=True)


def _check_python(formula: str, columns: Sequence[str]) -> None:
    """FormulaError unless every Python expression in a formula is documented notation."""
    for token in _tokens(formula, formula):
        if _kind(token) == "python":
            _python_names(token.token, formula, columns, offset=True)


def _syntax_tree(code: str, formula: str) -> tuple[ast.Expression, dict[str, str]]:
    """The tree that formulaic will evaluate for `code`, and the columns that stand behind made-up names."""
    from formulaic.utils.code import sanitize_variable_names

    quoted = re.findall(r"`([^`]*)`", code)
    if any(re.search(r"[\"'\\]", name) or not name for name in quoted) or "_formulaic" in code:
        raise FormulaError(f"In `{formula}`, `{code}` names a column with quotes or backslashes in it; rename it.")
    aliases: dict[str, str] = {}
    try:
        return ast.parse(sanitize_variable_names(code, {}, aliases), mode="eval"), aliases
    except (SyntaxError, ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is too long or holds odd characters"
        raise FormulaError(f"The formula `{formula}` cannot be read: in `{code}`, {reason}.") from None


def _python_names(code: str, formula: str, columns: Sequence[str], *, offset: bool = False) -> list[str]:
    """Columns that an expression such as `log(depth)` uses; FormulaError for anything outside the whitelist.

    With `offset`, the expression may be a call of offset() as a whole.
    """
    tree, aliases = _syntax_tree(code, formula)
    names: list[str] = []
    todo: list[ast.AST] = [tree.body]
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Call):
            is_offset = offset and node is tree.body and ast.unparse(node.func) == "offset"
            if not is_offset:
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
            todo = [*ast.iter_child_nodes(node), *todo]
        else:
            raise FormulaError(
                f"In the formula `{formula}`, `{code}` holds Python that formulas do not take ({type(node).__name__}). "
                f"They take columns, numbers, arithmetic, comparisons, and these functions: {KNOWN}."
            )
    return names


def _check_call(node: ast.Call, code: str, formula: str, columns: Sequence[str]) -> None:
    """FormulaError unless a documented function is called with plain arguments."""
    called = ast.unparse(node.func)
    short = called.removeprefix("np.")
    if called == "offset":
        raise FormulaError(f"In the formula `{formula}`, `offset(...)` must be a term of its own.")
    if called not in FUNCTIONS and short not in MATHS:
        hint = " Several responses are written `y1 + y2 ~ ...`." if called == "cbind" else nearest(short, FUNCTIONS)
        raise FormulaError(
            f"The formula `{formula}` calls `{called}`, which is not available.{hint} There are: {KNOWN}."
        )
    if called.partition(".")[0] in columns:
        raise FormulaError(
            f"The formula `{formula}` calls `{called}`, but a column has that name too; rename the column."
        )
    if any(keyword.arg is None or keyword.arg.startswith("_") for keyword in node.keywords):
        raise FormulaError(f"In the formula `{formula}`, `{code}` passes an argument that is not available.")


# Making the matrix


def make_design(
    formula: Formula, frame: pd.DataFrame, samples: Sequence[str], table: str
) -> tuple[Design, np.ndarray, np.ndarray | None]:
    """The design, its n×d matrix and the (n,) offset of the formula's offset terms (None without any).

    `frame` holds the n samples that are kept, without missing entries. DataError names columns with a single level
    or value, and terms that are not finite.
    """
    import numpy as np

    offset, offset_encoding = None, None
    if formula.offsets:
        text = "0 + " + " + ".join(f"{{{expression}}}" for expression in formula.offsets)
        offset_encoding, parts = Encoding.fit(text, frame[_used([text], formula)])
        if parts.shape[1] != len(formula.offsets):
            raise FormulaError(f"In the formula `{formula.text}`, an offset is not a single column of numbers.")
        _refuse_infinite(parts, _offset_names(formula), samples)
        offset = parts.sum(axis=1)
    if formula.rhs == "1":
        return Design(formula, None, offset_encoding), np.ones((len(frame), 1)), offset
    used = frame[_used([formula.rhs], formula)]
    _refuse_single({name: _levels(used[name]) for name in used.columns}, len(used), table)
    encoding, matrix = Encoding.fit(formula.rhs, used)
    levels = {key: _revive(inner).get("categories") for key, (_, inner) in encoding.state["encoders"].items()}
    _refuse_single(levels, len(used), table)
    if not encoding.terms:
        raise FormulaError(f"The formula `{formula.text}` has no terms. Use `~ 1` for an intercept alone.")
    _refuse_infinite(matrix, encoding.terms, samples)
    if "Intercept" in encoding.terms:
        _refuse_constant(matrix, encoding.terms, table)
    return Design(formula, encoding, offset_encoding), matrix, offset


def expression(text: str, formula: Formula, frame: pd.DataFrame) -> np.ndarray:
    """(n,) values of one response that is an expression, such as `log(y)`."""
    matrix = Encoding.fit(f"0 + {text}", frame[_used([text], formula)])[1]
    if matrix.shape[1] != 1:
        raise FormulaError(f"Left of `~` in `{formula.text}`, `{text}` is not a single column of numbers.")
    return matrix[:, 0]


def _used(parts: Iterable[str], formula: Formula) -> list[str]:
    """Columns that the parts of a formula use."""
    return list(dict.fromkeys(name for part in parts for name in _names(part, formula.text, formula.columns)))


def _offset_names(formula: Formula) -> tuple[str, ...]:
    """The offset terms as they were written."""
    return tuple(f"offset({expression})" for expression in formula.offsets)


def _materialise(
    formula: str, frame: pd.DataFrame, state: Mapping[str, Any]
) -> tuple[np.ndarray, tuple[str, ...], dict[str, Any]]:
    """n×d float64 matrix, its names, and the state as JSON: formulaic's work, its complaints turned into ours."""
    import numpy as np
    from formulaic import Formula as Terms
    from formulaic import ModelSpec
    from formulaic.errors import DataMismatchWarning, FormulaicError
    from formulaic.parser.types import Factor

    names = tuple(map(str, frame.columns))
    _check_python(formula, names)
    context = {name: getattr(np, name) for name in MATHS}
    encoders = {key: (Factor.Kind(kind), _revive(inner)) for key, (kind, inner) in state.get("encoders", {}).items()}
    try:
        terms = Terms(formula)
        spec = ModelSpec(
            terms, output="numpy", na_action="ignore",
            transform_state=_revive(state.get("transforms", {})), encoder_state=encoders,
        )  # fmt: skip
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            made = spec.get_model_matrix(_with_whole_levels(formula, frame), context=context)
    except DataMismatchWarning as error:
        unseen = re.search(r"\{(.*?)\}", str(error))
        which = re.sub(r"np\.\w+\((.*?)\)", r"\1", unseen.group(1)) if unseen else "unknown"
        raise DataError(
            f"A term of `{formula}` meets levels that the fit has not seen: {which}. Leave these samples out."
        ) from None
    except FormulaicError as error:
        if "Unable to evaluate" in str(error):
            raise FormulaError(_evaluation_error(formula, str(error))) from None
        raise _syntax_error(formula, error) from None
    except (
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        KeyError,
        NameError,
        IndexError,
        np.linalg.LinAlgError,
    ) as error:
        raise FormulaError(
            f"The formula `{formula}` cannot be computed: {str(error).splitlines()[0] if str(error) else error!r}."
        ) from None
    learnt = made.model_spec
    kinds = {
        key: [kind.value, _plain({k: v for k, v in inner.items() if k != "contrasts"})]
        for key, (kind, inner) in learnt.encoder_state.items()
    }
    matrix = np.ascontiguousarray(made, dtype=np.float64)
    return (
        matrix,
        tuple(map(str, learnt.column_names)),
        {"transforms": _plain(learnt.transform_state), "encoders": kinds},
    )


def _evaluation_error(formula: str, words: str) -> str:
    """Formulaic's `Unable to evaluate factor ...` as a sentence."""
    found = re.search(r"factor `(.*?)`\. \[(\w+): (.*)\]", words, re.DOTALL)
    if not found:
        return f"The formula `{formula}` cannot be computed: {words.splitlines()[0]}."
    factor, kind, reason = found.groups()
    textual = kind in ("TypeError", "UFuncTypeError") or "could not convert" in reason
    advice = " It needs a column of numbers." if textual else ""
    return (
        f"The term `{factor}` of the formula `{formula}` cannot be computed: "
        f"{reason.splitlines()[0].rstrip('.')}.{advice}"
    )


def _with_whole_levels(formula: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of whole numbers inside C(...) as integers, so that a level is called 2 and not 2.0."""
    import numpy as np

    levelled = set()
    for token in _tokens(formula, formula):
        if _kind(token) == "python":
            tree, aliases = _syntax_tree(token.token, formula)
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func) == "C"
                    and node.args
                    and isinstance(node.args[0], ast.Name)
                ):
                    levelled.add(aliases.get(node.args[0].id, node.args[0].id))
    numeric = [name for name in levelled if _levels(frame[name]) is None]
    whole = [
        name for name in numeric if np.all(np.isfinite(frame[name])) and np.all(frame[name] == np.floor(frame[name]))
    ]
    return frame.astype(dict.fromkeys(whole, "int64")) if whole else frame


def _levels(column: pd.Series) -> tuple[str, ...] | None:
    """Sorted levels of a column of labels; None for numbers."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(map(str, column.cat.categories))
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        return tuple(sorted(map(str, column.dropna().unique())))
    return None


def _plain(value: Any) -> Any:
    """State of transforms as JSON: arrays and dictionaries with keys that are no texts are marked as such."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {"items": [[_plain(key), _plain(inner)] for key, inner in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise FormulaError(
        f"A transform keeps a state ({type(value).__name__}) that cannot be stored for prediction; leave it out."
    )


def _revive(value: Any) -> Any:
    """The inverse of `_plain`."""
    import numpy as np

    if isinstance(value, Mapping):
        if "array" in value:
            return np.array(value["array"], dtype=value["dtype"])
        return {_revive(key): _revive(inner) for key, inner in value.get("items", [])}
    return [_revive(inner) for inner in value] if isinstance(value, list) else value


# Faults of a design


def _refuse_single(levels: Mapping[str, Sequence[Any] | None], n: int, table: str) -> None:
    """DataError for a column, or a C(...), of labels that has one level in the n samples kept: it explains nothing."""
    for name, known in levels.items():
        if known is not None and len(known) == 1:
            raise DataError(
                f"Column `{name}` of {table} has one level (`{known[0]}`) in {counted(n, 'sample')} kept, "
                f"so it explains nothing. Take it out of the formula."
            )


def _refuse_constant(matrix: np.ndarray, terms: Sequence[str], table: str) -> None:
    """DataError for terms with one value throughout, beside an intercept."""
    lowest, highest = matrix.min(axis=0), matrix.max(axis=0)
    for j, term in enumerate(terms):
        if term != "Intercept" and lowest[j] == highest[j] != 0 and len(matrix) > 1:
            raise DataError(
                f"The term `{term}` (from {table}) is {lowest[j]:.15g} in all {len(matrix)} samples, as "
                "constant as the intercept. "
                f"Take it out of the formula, or the intercept with `~ 0 + ...`."
            )


def _refuse_infinite(matrix: np.ndarray, terms: Sequence[str], samples: Sequence[str]) -> None:
    """DataError naming the term and the samples where the matrix (n×d) is not finite."""
    import numpy as np

    finite = np.isfinite(matrix)
    if finite.all():
        return
    j = int(np.flatnonzero(~finite.all(axis=0))[0])
    rows = np.flatnonzero(~finite[:, j])
    raise DataError(
        f"The term `{terms[j]}` is not a finite number in {counted(len(rows), 'sample')} "
        f"({some(samples[i] for i in rows[:6])}): "
        "infinite or missing values, or the logarithm of a number that is not positive. Mend or leave out "
        "these samples."
    )
