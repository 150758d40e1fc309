"""How a formula turns the columns of covariates into the numbers of a matrix, kept as JSON for new data.

The encoding has levels, contrasts, means, knots: all that transforms learnt of the data of the fit.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, FormulaError, counted, nearest, some
from plncli.inputs.designs.aliasing import Aliased
from plncli.inputs.designs.kinds import LABELLED, levels_of
from plncli.inputs.formula import MATHS, called, kind, names_in, syntax_error, syntax_tree, tokens

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
    of the matrix's columns; `aliased` are columns that were left out of it, for they follow from these.
    """

    formula: str
    columns: Mapping[str, tuple[str, ...] | None]
    state: Mapping[str, Any]
    terms: tuple[str, ...]
    aliased: Aliased | None = None

    @classmethod
    def fit(cls, formula: str, frame: pd.DataFrame) -> tuple[Encoding, np.ndarray]:
        """The encoding of `frame` (n rows) and its n×d float64 matrix."""
        matrix, terms, state = materialise(formula, frame, {})
        columns = {str(name): levels_of(frame[name]) for name in frame.columns}
        return cls(formula, columns, state, terms), matrix

    @property
    def factors(self) -> dict[str, list[Any]]:
        """The levels of each factor, by its code in the formula; the first is the reference where there is one."""
        encoders = self.state["encoders"].items()
        return {key: revive(inner)["categories"] for key, (role, inner) in encoders if role == "categorical"}

    def with_levels(self, levels: Mapping[str, Sequence[Any]], frame: pd.DataFrame) -> tuple[Encoding, np.ndarray]:
        """The encoding with the levels of some factors in another order, and the matrix of the same `frame`."""
        ordered = {key: ["categorical", _plain({"categories": list(order)})] for key, order in levels.items()}
        state = {**self.state, "encoders": self.state["encoders"] | ordered}
        matrix, terms, state = materialise(self.formula, frame, state)
        return Encoding(self.formula, self.columns, state, terms), matrix

    def with_transforms(self, learnt: Mapping[str, Mapping[str, Any]]) -> Encoding:
        """The encoding with what some transforms, by their code, have learnt from other data."""
        known = {key: {**inner, **learnt.get(key, {})} for key, inner in self.transforms.items()}
        return replace(self, state={**self.state, "transforms": _plain(known)})

    @property
    def transforms(self) -> dict[str, dict[str, Any]]:
        """What each transform has learnt, by its code in the formula."""
        found: dict[str, dict[str, Any]] = revive(self.state["transforms"])
        return found

    def without(self, places: Sequence[int], matrix: np.ndarray) -> tuple[Encoding, np.ndarray]:
        """The encoding without columns of its matrix that follow from the others, and that matrix without them."""
        aliased = Aliased.of(matrix, self.terms, places)
        kept = [k for k in range(len(self.terms)) if k not in places]
        groups = self.state["columns"].items()
        columns = {term: [kept.index(k) for k in at if k not in places] for term, at in groups}
        terms = tuple(self.terms[k] for k in kept)
        state = {**self.state, "columns": columns}
        return Encoding(self.formula, self.columns, state, terms, aliased), aliased.without(matrix)[0]

    def labels(self, factor: str, frame: pd.DataFrame) -> list[str]:
        """The level of one of `factors` that each sample of `frame` has."""
        if factor in frame.columns:
            return list(map(str, frame[factor]))
        known = {"encoders": {factor: self.state["encoders"][factor]}}
        indicators, _, _ = materialise(f"0 + {factor}", frame, known)
        levels = list(map(str, self.factors[factor]))
        return [levels[k] for k in indicators.argmax(axis=1).tolist()]

    def build(self, frame: pd.DataFrame) -> np.ndarray:
        """n×d float64 matrix of new data; missing columns and levels that were not seen are refused by name."""
        frame = self._conform(frame)
        matrix, terms, _ = materialise(self.formula, frame, self.state)
        before = self.aliased.among(self.terms) if self.aliased else self.terms
        if terms != before:
            raise DataError(
                f"The formula gives other terms here ({some(terms)}) than when it was fitted ({some(before)})."
            )
        if self.aliased is None:
            return matrix
        matrix, outside = self.aliased.without(matrix)
        if outside.any():
            raise DataError(self._not_estimable(frame[outside]))
        return matrix

    def _not_estimable(self, frame: pd.DataFrame) -> str:
        """Of samples that are like no combination of those of the fit."""
        assert self.aliased is not None
        factors = [name for name, levels in self.columns.items() if levels is not None]
        cells = [", ".join(f"{name} {row[name]}" for name in factors) for row in frame.to_dict("records")]
        like = f" ({'; '.join(list(dict.fromkeys(cells))[:3])})" if factors else ""
        return (
            f"The fit can say nothing of {counted(len(frame), 'sample')}{like}: {some(frame.index)}. It has no samples "
            f"like that, and left {some(f'`{name}`' for name in self.aliased.names)} empty (--aliased drop). Leave "
            f"{'it' if len(frame) == 1 else 'them'} out."
        )

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
                if levels_of(column) is not None:
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
        aliased = {"aliased": self.aliased.to_json()} if self.aliased else {}
        state, terms = dict(self.state), list(self.terms)
        return {"formula": self.formula, "columns": columns, "state": state, "terms": terms, **aliased}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_json`; the formula passes the whitelist again."""
        names_in(content["formula"], content["formula"], tuple(content["columns"]))
        revive(list(content["state"].values()))  # fails now rather than later
        columns = {name: None if levels is None else tuple(levels) for name, levels in content["columns"].items()}
        aliased = Aliased.from_json(content["aliased"], len(content["terms"])) if content.get("aliased") else None
        return cls(content["formula"], columns, dict(content["state"]), tuple(content["terms"]), aliased)


def interaction(*factors: pd.Series) -> pd.Series:
    """One factor of the combinations of levels that occur, such as `a.x`, as R's `interaction` with `drop = TRUE`.

    Combinations are ordered by the first factor, then by the second, and so on.
    """
    import pandas as pd

    parts = [pd.Categorical(factor) for factor in factors]
    codes = list(zip(*(part.codes.tolist() for part in parts), strict=True))
    there = sorted(set(codes))
    names = [".".join(str(part.categories[k]) for part, k in zip(parts, code, strict=True)) for code in there]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two combinations of levels would be called `{twice}`; take the points out of the levels")
    places = {code: k for k, code in enumerate(there)}
    made = pd.Categorical.from_codes([places[code] for code in codes], categories=names)
    return pd.Series(made, index=factors[0].index)


def level_sizes(encoding: Encoding, frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many samples of `frame`, the columns that were encoded, each level of each factor has."""
    sizes: dict[str, dict[str, int]] = {}
    for factor, levels in encoding.factors.items():
        words = Counter(encoding.labels(factor, frame))
        sizes[factor] = {str(level): words[str(level)] for level in levels}
    return sizes


def materialise(
    formula: str, frame: pd.DataFrame, state: Mapping[str, Any]
) -> tuple[np.ndarray, tuple[str, ...], dict[str, Any]]:
    """n×d float64 matrix, its names, and the state as JSON: formulaic's work, its complaints turned into ours."""
    import numpy as np
    from formulaic import Formula as Terms
    from formulaic import ModelSpec
    from formulaic.errors import DataMismatchWarning, FormulaicError
    from formulaic.parser.types import Factor

    names_in(formula, formula, tuple(map(str, frame.columns)))
    context = {name: getattr(np, name) for name in MATHS} | {"interaction": interaction}
    encoders = {key: (Factor.Kind(role), revive(inner)) for key, (role, inner) in state.get("encoders", {}).items()}
    try:
        terms = Terms(formula)
        spec = ModelSpec(
            terms, output="numpy", na_action="ignore",
            transform_state=revive(state.get("transforms", {})), encoder_state=encoders,
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
    """Columns of whole numbers inside C(...) or interaction(...) as integers: a level is called 2, not 2.0."""
    import numpy as np

    levelled = set()
    for token in tokens(formula, formula):
        if kind(token) == "python":
            tree, aliases = syntax_tree(token.token, formula)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and called(node) in LABELLED:
                    taken = node.args if called(node) == "interaction" else node.args[:1]
                    levelled |= {aliases.get(part.id, part.id) for part in taken if isinstance(part, ast.Name)}
    numeric = [name for name in levelled if levels_of(frame[name]) is None]
    whole = [
        name for name in numeric if np.all(np.isfinite(frame[name])) and np.all(frame[name] == np.floor(frame[name]))
    ]
    return frame.astype(dict.fromkeys(whole, "int64")) if whole else frame


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


def revive(value: Any) -> Any:
    """The inverse of `_plain`."""
    import numpy as np

    if isinstance(value, Mapping):
        if "array" in value:
            if not re.fullmatch(NUMERIC, str(value["dtype"])):
                raise FormulaError("A transform keeps an array that holds no numbers.")
            return np.array(value["array"], dtype=value["dtype"])
        return {revive(key): revive(inner) for key, inner in value.get("items", [])}
    return [revive(inner) for inner in value] if isinstance(value, list) else value
