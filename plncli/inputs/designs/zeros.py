"""The design of structural zeros, by the formula of a setting of the model: made and kept as that of the mean is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from plncli.errors import Faults, FormulaError
from plncli.inputs.designs.design import Design, make_design
from plncli.inputs.designs.told import designed
from plncli.inputs.factors.references import concerns
from plncli.inputs.formula import Formula, parse
from plncli.inputs.matching import Tables
from plncli.settings import FitConfig, option
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np


class Designs(NamedTuple):
    """The design and its matrices: X (n×d), X0 (n×c) of structural zeros, None without; offset (n,) of its terms."""

    design: Design
    X: np.ndarray
    X0: np.ndarray | None
    offset: np.ndarray | None


def zeros_formula(config: FitConfig, tables: Mapping[str, Table]) -> Formula | None:
    """The formula of structural zeros, of columns that there are; None where none is set."""
    for name, text in config.spec.formulas(config.own).items():
        covariates = tables.get("covariates")
        if covariates is None and config.covariates:
            return None  # which could not be read: that is told
        known = (covariates.columns, covariates.name, covariates.corner) if covariates else ()
        formula = parse(text, *known)
        if formula.lhs or formula.offsets:
            what = "response" if formula.lhs else "offset"
            raise FormulaError(f"The formula of {option(name)}, `{text}`, takes no {what}: leave it out.")
        return formula
    return None


def designs(
    config: FitConfig, tables: Tables, formula: Formula, zeros: Formula | None, columns: Any, faults: Faults
) -> tuple[Designs, bool, Tables]:
    """The design of the mean and that of structural zeros; whether the former is sound; what is told of both."""
    both = columns_of((formula, zeros))
    made, tables = designed(with_its_references(config, formula.columns, both), tables, formula, columns, faults)
    design, X, offset = made or make_design(Formula(), None, tables.samples, "")
    sound = made is not None and bool(formula.text)
    if zeros is None:
        return Designs(design, X, None, offset), sound, tables
    own = with_its_references(config, zeros.columns, both)
    of_zeros, tables = _designed_zeros(own, tables, zeros, columns, faults)
    if of_zeros is None:
        return Designs(design, X, None, offset), sound, tables
    return Designs(replace(design, zeros=of_zeros[0]), X, of_zeros[1], offset), sound, tables


def columns_of(formulas: Iterable[Formula | None]) -> tuple[str, ...]:
    """Columns that formulas use."""
    return tuple(dict.fromkeys(name for formula in formulas if formula for name in formula.columns))


def with_its_references(config: FitConfig, columns: Sequence[str], used: Sequence[str]) -> FitConfig:
    """The configuration without references that concern other formulas alone. columns: of its own."""
    elsewhere = [entry for entry in config.reference if concerns(entry, used) and not concerns(entry, columns)]
    return config.but(reference=tuple(entry for entry in config.reference if entry not in elsewhere))


def _designed_zeros(
    config: FitConfig, tables: Tables, formula: Formula, columns: Any, faults: Faults
) -> tuple[tuple[Design, np.ndarray, np.ndarray | None] | None, Tables]:
    """What `make_design` makes, None where it is at fault; and the tables with what is told of it and not yet known."""
    known = set(tables.notes)
    made, tables = designed(config, tables, formula, columns, faults)
    notes = tuple(note for k, note in enumerate(tables.notes) if note not in tables.notes[:k] or note not in known)
    return made, replace(tables, notes=notes)
