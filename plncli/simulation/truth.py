"""What a simulated table is drawn from, and the table that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from torch import Generator, Tensor

from plncli.errors import DataError, UsageError, counted, some
from plncli.models.abilities import Simulated, Simulating
from plncli.models.fitted import Fitted
from plncli.models.spec import CLASSES, COUNTS, Spec

MOST = 10**9
"""Samples, features or covariates: beyond what any memory holds."""


@dataclass(frozen=True)
class Truth:
    """What a table is drawn from, with the names of its rows and columns.

    fitted: the model with its parameters; own: settings of the model for a fit of the table. X: n×d; O: offset, n×1 or
    n×p; coefficients: B (d×p) as it is told, −inf included, None for none; covariates: the table to be
    written, None for none; formula: its right side, with `~`; classes: (zero, one) labels of each response.
    """

    fitted: Fitted = field(repr=False)
    samples: tuple[str, ...] = field(repr=False)
    formula: str
    own: Mapping[str, Any]
    X: Tensor = field(repr=False)
    O: Tensor = field(repr=False)
    coefficients: Tensor | None = field(repr=False)
    covariates: pa.Table | None = field(repr=False)
    classes: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> Spec:
        """What the model declares."""
        return self.fitted.spec

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.fitted.terms

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of the columns that are drawn."""
        return self.fitted.responses

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def main(self) -> str:
        """What the table that is drawn is called."""
        return self.spec.response.option

    def draw(self, generator: Generator) -> Simulated:
        """The table. UsageError for a model that draws none."""
        if not isinstance(self.fitted, Simulating):
            raise UsageError(f"Tables of the model {self.spec.name} cannot be simulated.")
        return self.fitted.simulate(self.X, self.O, generator)

    @property
    def offset(self) -> str:
        """Option of the table that the offset is written as: exposures for counts; nothing where it is 0."""
        return ("exposure" if self.spec.response is COUNTS else "offsets") if bool(self.O.any()) else ""


@dataclass(frozen=True)
class Outcome:
    """A table that was drawn, and what summary and messages say of it."""

    truth: Truth
    drawn: Simulated = field(repr=False)
    facts: Mapping[str, Any]
    notes: tuple[str, ...]


def draw(truth: Truth, generator: Generator, source: Mapping[str, Any]) -> Outcome:
    """Draw the table; `source` says where the parameters come from."""
    drawn = truth.draw(generator)
    Y = drawn.Y
    facts: dict[str, Any] = {
        "model": truth.spec.name,
        "n_samples": truth.n,
        "n_features": len(truth.responses),
        "n_covariates": len(truth.terms),
        "formula": truth.formula,
        **source,
        **truth.facts,
    }
    notes = list(truth.notes)
    if truth.spec.response is COUNTS:
        if not bool(Y.any()):
            raise DataError("Every count drawn is 0. Raise --depth, or take smaller standard deviations.")
        empty = names_of(truth.samples, (Y == 0).all(1)), names_of(truth.responses, (Y == 0).all(0))
        facts |= {"mean_depth": float(Y.sum(1).mean()), "zeros": float((Y == 0).double().mean())}
        facts |= {"empty_samples": empty[0], "empty_features": empty[1]}
        told = [
            f"{counted(len(names), noun)} without any count ({some(names)})"
            for noun, names in zip(("sample", "feature"), empty, strict=True)
            if names
        ]
        if told:
            notes.append(f"{' and '.join(told)}: a fit leaves them out with --all-zero drop, as config.toml says.")
    elif truth.spec.response is CLASSES:
        facts["zeros"] = float((Y == 0).double().mean())
        single = names_of(truth.responses, (Y[:1] == Y).all(0))
        if single:
            notes.append(f"{counted(len(single), 'response')} of one class only, which no fit takes: {some(single)}.")
    return Outcome(truth, drawn, facts, tuple(notes))


def numbered(letter: str, many: int) -> tuple[str, ...]:
    """`s01` to `s24`: as many digits as the last one needs."""
    width = len(str(many))
    return tuple(f"{letter}{i:0{width}d}" for i in range(1, many + 1))


def names_of(names: tuple[str, ...], chosen: Tensor) -> list[str]:
    """Those of the names that are chosen."""
    return [names[i] for i in chosen.nonzero()[:, 0].tolist()]
