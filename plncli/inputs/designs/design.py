"""The design of a fit: the matrix that a formula makes of covariates, and how new data are given the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from plncli.errors import FIRST, DataError, Faults, FormulaError
from plncli.inputs.designs.dependence import check_independent, dependent
from plncli.inputs.designs.encoding import Encoding
from plncli.inputs.designs.faults import check_rank_of_rest, constant_terms, faulty_levels, infinite_terms
from plncli.inputs.designs.kinds import Uses, levels_of, unfit_columns
from plncli.inputs.factors.references import chosen, without_codings
from plncli.inputs.formula import Formula, names_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Design:
    """The design of a fit: what `fit` made of the formula and `build` makes again of new data.

    zeros: that of structural zeros, None where their probabilities depend on no covariates.
    """

    formula: Formula
    encoding: Encoding | None = field(default=None, repr=False)  # None: the intercept alone
    offset_encoding: Encoding | None = field(default=None, repr=False)
    zeros: Design | None = field(default=None, repr=False)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the d columns of the matrix."""
        return ("Intercept",) if self.encoding is None else self.encoding.terms

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a table of new data must have."""
        return tuple(dict.fromkeys(name for encoding in self.encodings for name in encoding.columns))

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """All that columns are turned into numbers by."""
        own = [encoding for encoding in (self.encoding, self.offset_encoding) if encoding]
        return (*own, *(self.zeros.encodings if self.zeros else ()))

    def build_zeros(self, frame: pd.DataFrame) -> np.ndarray | None:
        """n×c design matrix of structural zeros of new data; None without one."""
        return None if self.zeros is None else self.zeros.build(frame)

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
        FIRST.each(infinite_terms(matrix, offset_names(self.formula), list(map(str, frame.index))))
        return np.asarray(matrix.sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        parts = (self.encoding, self.offset_encoding)
        x, o = (None if part is None else part.to_json() for part in parts)
        zeros = {} if self.zeros is None else {"zeros": self.zeros.to_json()}
        return {"formula": {**vars(self.formula)}, "x": x, "offset": o, **zeros}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Design:
        """The inverse of `to_json`; DataError where it is none of its answers."""
        try:
            parts: dict[str, Any] = dict(content["formula"])
            parts |= {key: tuple(part) for key, part in parts.items() if isinstance(part, list)}
            x, o = (None if content[key] is None else Encoding.from_json(content[key]) for key in ("x", "offset"))
            zeros = cls.from_json(content["zeros"]) if content.get("zeros") else None
            return cls(Formula(**parts), x, o, zeros)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The design of the fit is damaged, or was not written by plncli: {error}.") from None


# Making the matrix


def make_design(
    formula: Formula,
    frame: pd.DataFrame | None,
    samples: Sequence[str],
    table: str,
    faults: Faults = FIRST,
    references: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    aliased: str = "error",
) -> tuple[Design, np.ndarray, np.ndarray | None]:
    """The design, its n×d matrix and the (n,) offset of the formula's offset terms (None without any).

    `frame` holds the columns that the formula uses of the n samples that are kept, without missing entries; None for
    `~ 1`. references: FACTOR=LEVEL each; types: of columns, as the table declares them; aliased: whether columns that
    follow from others are an `error`, or left out (`drop`). DataError names columns that are nearly numbers, texts
    where numbers are needed, a single level or value, and terms that are not finite.
    """
    import numpy as np

    offset, offset_encoding = None, None
    if frame is None or formula.rhs == "1":
        chosen(references, {}, {}, formula.text, formula.columns)
    if frame is None:
        return Design(formula), np.ones((len(samples), 1)), None
    uses = Uses.of((formula.rhs, *(f"{{{expression}}}" for expression in formula.offsets)), formula.text)
    if faults.each(unfit_columns(uses, frame, samples, table, types or {})):
        raise faults.found[-1]
    if formula.offsets:
        text = "0 + " + " + ".join(f"{{{expression}}}" for expression in formula.offsets)
        offset_encoding, parts = Encoding.fit(text, frame[columns_used([text], formula)])
        if parts.shape[1] != len(formula.offsets):
            raise FormulaError(f"In the formula `{formula.text}`, an offset is not a single column of numbers.")
        bad = faults.each(infinite_terms(parts, offset_names(formula), samples))
        offset = None if bad else parts.sum(axis=1)
    if formula.rhs == "1":
        return Design(formula, None, offset_encoding), np.ones((len(frame), 1)), offset
    names = columns_used([formula.rhs], formula)
    used = frame if names == list(frame.columns) else frame[names]  # a selection is a copy
    levels: Mapping[str, Sequence[Any] | None] = {name: levels_of(used[name]) for name in used.columns}
    useless = faults.each(faulty_levels(levels, len(used), table))
    encoding, matrix = encoded(formula, used, [name for name, known in levels.items() if known], references)
    useless |= faults.each(faulty_levels(encoding.factors, len(used), table))
    if not encoding.terms and not useless:
        raise FormulaError(f"The formula `{formula.text}` has no terms. Use `~ 1` for an intercept alone.")
    useless |= faults.each(infinite_terms(matrix, encoding.terms, samples))
    if "Intercept" in encoding.terms and aliased == "error":
        useless |= faults.each(constant_terms(matrix, encoding.terms, table))
    if useless:
        check_rank_of_rest(encoding.terms, matrix, faults)
        raise faults.found[-1]
    if aliased == "error":
        faults.attempt(partial(check_independent, encoding, matrix, used), None)
    elif places := [k for k, _ in dependent(matrix)]:
        encoding, matrix = encoding.without(places, matrix)
    return Design(formula, encoding, offset_encoding), matrix, offset


def encoded(
    formula: Formula, used: pd.DataFrame, labels: Sequence[str], references: Sequence[str]
) -> tuple[Encoding, np.ndarray]:
    """The encoding of the right side and its matrix, with the references that are chosen. labels: columns of such."""
    rhs, coded = without_codings(formula.rhs, formula.text, labels)
    encoding, matrix = Encoding.fit(rhs, used)
    if not (references or coded):
        return encoding, matrix
    order = chosen(references, coded, encoding.factors, formula.text, list(used.columns))
    return encoding.with_levels(order, used)


def expression(text: str, formula: Formula, frame: pd.DataFrame, samples: Sequence[str], table: str) -> np.ndarray:
    """(n,) values of one response that is an expression, such as `log(y)`, of columns of the table."""
    FIRST.each(unfit_columns(Uses.of([f"{{{text}}}"], formula.text), frame, samples, table, {}))
    matrix = Encoding.fit(f"0 + {text}", frame[columns_used([text], formula)])[1]
    if matrix.shape[1] != 1:
        raise FormulaError(f"Left of `~` in `{formula.text}`, `{text}` is not a single column of numbers.")
    return matrix[:, 0]


def columns_used(parts: Iterable[str], formula: Formula) -> list[str]:
    """Columns that the parts of a formula use."""
    return list(dict.fromkeys(name for part in parts for name in names_in(part, formula.text, formula.columns)))


def offset_names(formula: Formula) -> tuple[str, ...]:
    """The offset terms as they were written."""
    return tuple(f"offset({expression})" for expression in formula.offsets)
