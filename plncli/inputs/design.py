"""From a formula and a table of covariates to a design matrix, with the encoding kept for new data.

The encoding (levels, contrasts, means, knots) is kept as JSON.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plncli.errors import FIRST, DataError, Faults, FormulaError, nearest, some
from plncli.inputs.design_faults import check_rank_of_rest, constant_terms, faulty_levels, infinite_terms
from plncli.inputs.factors.references import chosen, without_codings
from plncli.inputs.formula import MATHS, Formula, kind, names_in, syntax_error, syntax_tree, tokens

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


NUMERIC = r"bool|u?int(8|16|32|64)|float(16|32|64)"
"""Types of the arrays that transforms keep."""


@dataclass(frozen=True)
class Encoding:
    """How a one-sided formula turns columns into numbers, as it was when it was fitted.

    `columns` maps a column to its sorted levels, or to None for numbers; `state` is what transforms and contrasts
    learnt from the data, and which columns of the matrix each term of the formula has, as JSON; `terms` are the names
    of the matrix's columns.
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

    @property
    def factors(self) -> dict[str, list[Any]]:
        """The levels of each factor, by its code in the formula; the first is the reference where there is one."""
        encoders = self.state["encoders"].items()
        return {key: _revive(inner)["categories"] for key, (role, inner) in encoders if role == "categorical"}

    def with_levels(self, levels: Mapping[str, Sequence[Any]], frame: pd.DataFrame) -> tuple[Encoding, np.ndarray]:
        """The encoding with the levels of some factors in another order, and the matrix of the same `frame`."""
        ordered = {key: ["categorical", _plain({"categories": list(order)})] for key, order in levels.items()}
        state = {**self.state, "encoders": self.state["encoders"] | ordered}
        matrix, terms, state = _materialise(self.formula, frame, state)
        return Encoding(self.formula, self.columns, state, terms), matrix

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
                    raise DataError(f"Column `{name}` was numeric when the model was fitted, and holds text here.")
                content[name] = column.astype("float64")
                continue
            words = column if isinstance(column.dtype, pd.CategoricalDtype) else column.map(str, na_action="ignore")
            unseen = sorted(set(words.dropna().unique()) - set(levels), key=str)
            if unseen:
                where = frame.index[words.isin(unseen)]
                raise DataError(
                    f"Column `{name}` holds levels that the fit has not seen: {some(unseen)}. It has "
                    f"{some(levels, 12)}; leave these samples out ({some(where)})."
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
        names_in(content["formula"], content["formula"], tuple(content["columns"]))
        _revive(list(content["state"].values()))  # fails now rather than later
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
        FIRST.each(infinite_terms(matrix, self.terms, list(map(str, frame.index))))
        return matrix

    def offset(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) sum of the formula's offset terms for new data; zeros when there are none."""
        import numpy as np

        if self.offset_encoding is None:
            return np.zeros(len(frame))
        matrix = self.offset_encoding.build(frame)
        FIRST.each(infinite_terms(matrix, _offset_names(self.formula), list(map(str, frame.index))))
        return np.asarray(matrix.sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        parts = (self.encoding, self.offset_encoding)
        x, o = (None if part is None else part.to_json() for part in parts)
        return {"formula": {**vars(self.formula)}, "x": x, "offset": o}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Design:
        """The inverse of `to_json`; DataError where it is none of its answers."""
        try:
            parts: dict[str, Any] = dict(content["formula"])
            parts |= {key: tuple(part) for key, part in parts.items() if isinstance(part, list)}
            x, o = (None if content[key] is None else Encoding.from_json(content[key]) for key in ("x", "offset"))
            return cls(Formula(**parts), x, o)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The design of the fit is damaged, or was not written by plncli: {error}.") from None


# Making the matrix


def level_sizes(encoding: Encoding, frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many samples of `frame`, the columns that were encoded, each level of each factor has."""
    sizes: dict[str, dict[str, int]] = {}
    for factor, (role, inner) in encoding.state["encoders"].items():
        levels = _revive(inner).get("categories")
        if role != "categorical" or levels is None:
            continue
        if factor in frame.columns:
            words = Counter(map(str, frame[factor]))
            sizes[factor] = {str(level): words[str(level)] for level in levels}
        else:
            indicators, _, _ = _materialise(f"0 + {factor}", frame, {})
            sizes[factor] = {str(level): int(n) for level, n in zip(levels, indicators.sum(axis=0), strict=True)}
    return sizes


def make_design(
    formula: Formula,
    frame: pd.DataFrame | None,
    samples: Sequence[str],
    table: str,
    faults: Faults = FIRST,
    references: Sequence[str] = (),
) -> tuple[Design, np.ndarray, np.ndarray | None]:
    """The design, its n×d matrix and the (n,) offset of the formula's offset terms (None without any).

    `frame` holds the columns that the formula uses of the n samples that are kept, without missing entries; None for
    `~ 1`. references: FACTOR=LEVEL each. DataError names columns with a single level or value, and terms that are not
    finite.
    """
    import numpy as np

    offset, offset_encoding = None, None
    if frame is None or formula.rhs == "1":
        chosen(references, {}, {}, formula.text, formula.columns)
    if frame is None:
        return Design(formula), np.ones((len(samples), 1)), None
    if formula.offsets:
        text = "0 + " + " + ".join(f"{{{expression}}}" for expression in formula.offsets)
        offset_encoding, parts = Encoding.fit(text, frame[_used([text], formula)])
        if parts.shape[1] != len(formula.offsets):
            raise FormulaError(f"In the formula `{formula.text}`, an offset is not a single column of numbers.")
        bad = faults.each(infinite_terms(parts, _offset_names(formula), samples))
        offset = None if bad else parts.sum(axis=1)
    if formula.rhs == "1":
        return Design(formula, None, offset_encoding), np.ones((len(frame), 1)), offset
    names = _used([formula.rhs], formula)
    used = frame if names == list(frame.columns) else frame[names]  # a selection is a copy
    levels: Mapping[str, Sequence[Any] | None] = {name: _levels(used[name]) for name in used.columns}
    useless = faults.each(faulty_levels(levels, len(used), table))
    rhs, coded = without_codings(formula.rhs, formula.text, [name for name, known in levels.items() if known])
    encoding, matrix = Encoding.fit(rhs, used)
    if references or coded:
        order = chosen(references, coded, encoding.factors, formula.text, names)
        encoding, matrix = encoding.with_levels(order, used)
    levels = {key: _revive(inner).get("categories") for key, (_, inner) in encoding.state["encoders"].items()}
    useless |= faults.each(faulty_levels(levels, len(used), table))
    if not encoding.terms and not useless:
        raise FormulaError(f"The formula `{formula.text}` has no terms. Use `~ 1` for an intercept alone.")
    useless |= faults.each(infinite_terms(matrix, encoding.terms, samples))
    if "Intercept" in encoding.terms:
        useless |= faults.each(constant_terms(matrix, encoding.terms, table))
    if useless:
        check_rank_of_rest(encoding.terms, matrix, faults)
        raise faults.found[-1]
    return Design(formula, encoding, offset_encoding), matrix, offset


def expression(text: str, formula: Formula, frame: pd.DataFrame) -> np.ndarray:
    """(n,) values of one response that is an expression, such as `log(y)`."""
    matrix = Encoding.fit(f"0 + {text}", frame[_used([text], formula)])[1]
    if matrix.shape[1] != 1:
        raise FormulaError(f"Left of `~` in `{formula.text}`, `{text}` is not a single column of numbers.")
    return matrix[:, 0]


def _used(parts: Iterable[str], formula: Formula) -> list[str]:
    """Columns that the parts of a formula use."""
    return list(dict.fromkeys(name for part in parts for name in names_in(part, formula.text, formula.columns)))


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

    names_in(formula, formula, tuple(map(str, frame.columns)))
    context = {name: getattr(np, name) for name in MATHS}
    encoders = {key: (Factor.Kind(role), _revive(inner)) for key, (role, inner) in state.get("encoders", {}).items()}
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
        raise syntax_error(formula, error) from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, NameError) as error:
        reason = (str(error) or repr(error)).splitlines()[0].strip(".\"'")
        raise FormulaError(f"The formula `{formula}` cannot be computed: {reason}.") from None
    learnt = made.model_spec
    kinds = {
        key: [role.value, _plain({k: v for k, v in inner.items() if k != "contrasts"})]
        for key, (role, inner) in learnt.encoder_state.items()
    }
    matrix = np.ascontiguousarray(made, dtype=np.float64)
    return (
        matrix,
        tuple(map(str, learnt.column_names)),
        {
            "transforms": _plain(learnt.transform_state),
            "encoders": kinds,
            "columns": {str(term): list(columns) for term, columns in learnt.term_indices.items()},
        },
    )


def _evaluation_error(formula: str, words: str) -> str:
    """Formulaic's `Unable to evaluate factor ...` as a sentence."""
    found = re.search(r"factor `(.*?)`\. \[(\w+): (.*)\]", words, re.DOTALL)
    if not found:
        return f"The formula `{formula}` cannot be computed: {words.splitlines()[0]}."
    factor, _, reason = found.groups()
    if "dtype category" in reason or "could not convert string" in reason or "Categorical" in reason:
        return f"The term `{factor}` needs a column of numbers, and a column in it holds labels."
    if "extend beyond" in reason:
        return (
            f"The term `{factor}` meets values outside the range that it was fitted on. Leave these samples out, or "
            "fit with `extrapolation='clip'` or `extrapolation='extend'` in the term."
        )
    return f"The term `{factor}` cannot be computed: {reason.splitlines()[0].rstrip('.')}."


def _with_whole_levels(formula: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of whole numbers inside C(...) as integers, so that a level is called 2 and not 2.0."""
    import numpy as np

    levelled = set()
    for token in tokens(formula, formula):
        if kind(token) == "python":
            tree, aliases = syntax_tree(token.token, formula)
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
            if not re.fullmatch(NUMERIC, str(value["dtype"])):
                raise FormulaError("A transform keeps an array that holds no numbers.")
            return np.array(value["array"], dtype=value["dtype"])
        return {_revive(key): _revive(inner) for key, inner in value.get("items", [])}
    return [_revive(inner) for inner in value] if isinstance(value, list) else value
