"""The design of a fit with all that is told of it: slopes that may be factors, and columns that were left out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from plncli.errors import Faults
from plncli.inputs.designs.dependence import left_empty
from plncli.inputs.designs.design import Design, make_design
from plncli.inputs.designs.kinds import Uses, slope_notes
from plncli.inputs.factors.references import without_effect
from plncli.inputs.formula import Formula
from plncli.inputs.matching import Tables
from plncli.settings import FitConfig
from plncli.tables.table import Drop

if TYPE_CHECKING:
    import numpy as np


def designed(
    config: FitConfig, tables: Tables, formula: Formula, columns: Any, faults: Faults
) -> tuple[tuple[Design, np.ndarray, np.ndarray | None] | None, Tables]:
    """What `make_design` makes, None where it is at fault; and the tables with what is told of it."""
    covariates = tables.get("covariates")
    where, types = (covariates.name, covariates.types) if covariates else ("", {})
    make = partial(make_design, formula, columns, tables.samples, where, faults, config.reference, types)
    made = faults.attempt(lambda: make(aliased=config.aliased), None)
    if made is None or columns is None:
        return made, tables
    tables = tables.noting(*slope_notes(Uses.of([formula.rhs], formula.text), columns, where, types))
    encoding = made[0].encoding
    if encoding is not None and config.reference:
        known = (encoding.factors, encoding.terms, formula.text, list(columns))
        tables = tables.noting(*without_effect(config.reference, *known))
    if encoding is not None and encoding.aliased is not None:
        tables = tables.telling(Drop("term", encoding.aliased.names, left_empty(encoding, columns)))
    return made, tables
