"""The table of responses of a regression: real numbers, or two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plncli.errors import DataError, Faults, counted, some
from plncli.inputs.alignment.spelling import alike
from plncli.inputs.cells import HUGE, NUMBERS_RULE, checked_numbers
from plncli.inputs.designs.design import expression
from plncli.inputs.formula import Formula
from plncli.inputs.matching import Tables
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np


def response_table(tables: Tables, formula: Formula, used: Any) -> Table:
    """The table of responses: --response, or what stands left of `~`."""
    import pyarrow as pa

    if not formula.lhs:
        return tables["response"]
    covariates = tables["covariates"]
    columns = []
    for response in formula.lhs:
        if response in covariates.columns:
            columns.append(covariates.cells.column(covariates.columns.index(response)))
        else:
            columns.append(
                pa.chunked_array([pa.array(expression(response, formula, used, covariates.samples, covariates.name))])
            )
    cells = pa.Table.from_arrays(columns, names=[str(i) for i in range(len(columns))])
    return replace(covariates, columns=formula.lhs, cells=cells)


def real_responses(table: Table, faults: Faults) -> np.ndarray:
    """n×p finite numbers, no column of which is constant."""
    import numpy as np

    rule = f"Responses must be numbers within ±{HUGE:g}; rescale larger ones."
    check = ("infinite or huge response", lambda y: ~(np.abs(y) <= HUGE), rule)
    before = len(faults.found)
    Y = checked_numbers(table, f"A linear model explains numbers. {NUMBERS_RULE}", check, faults=faults)
    if len(faults.found) > before:
        raise faults.found[-1]
    constant = [table.columns[j] for j in np.flatnonzero((Y[:1] == Y).all(axis=0)).tolist()]
    if constant:
        raise DataError(
            f"{table.name}: {counted(len(constant), 'response')} with the same value in all {len(Y)} samples "
            f"({some(constant)}). "
            f"There is nothing to explain; leave it out."
        )
    return Y


def two_classes(table: Table, faults: Faults) -> tuple[np.ndarray, tuple[tuple[str, str], ...], list[str]]:
    """n×p of 0 and 1, the (zero, one) labels of each response, and notes on labels that do not say which is which."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    Y = np.empty((len(table.samples), len(table.columns)))
    classes: list[tuple[str, str]] = []
    distinct = [sorted(pc.unique(column).to_pylist()) for column in table.cells.columns]
    pairs = zip(table.columns, distinct, strict=True)
    if faults.each(DataError(_not_two(table, name, values)) for name, values in pairs if len(values) != 2):
        raise faults.found[-1]
    for j, (column, values) in enumerate(zip(table.cells.columns, distinct, strict=True)):
        Y[:, j] = pc.equal(column, pa.scalar(values[1], column.type)).to_numpy(zero_copy_only=False)
        classes.append((label(values[0]), label(values[1])))
    return Y, tuple(classes), classes_notes(table.columns, classes)


def classes_notes(names: Sequence[str], classes: Sequence[tuple[str, str]]) -> list[str]:
    """Sentences about classes of responses that do not say which is which."""
    clear = {("0", "1"), ("false", "true")}
    odd = {pair: [n for n, c in zip(names, classes, strict=True) if c == pair] for pair in classes}
    return [
        f"Of {some(f'`{name}`' for name in names)}, `{one}` is modelled as 1 and `{zero}` as 0."
        for (zero, one), names in odd.items()
        if (zero, one) not in clear
    ]


def label(value: object) -> str:
    """How a class is called: 0 rather than 0.0, true rather than True."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _not_two(table: Table, name: str, values: Sequence[object]) -> str:
    """Message for a response of one class, or of more than two."""
    if len(values) == 1:
        return (
            f"The response `{name}` of {table.name} is `{label(values[0])}` in all {len(table.samples)} samples. "
            f"A logistic model needs two classes."
        )
    advice = "recode it to two, or fit each against the rest."
    if found := alike(value for value in values if isinstance(value, str)):
        advice = f"{found} differ by case, blanks or signs alone: make them the same."
    if not isinstance(values[0], str) and len(values) > 10:
        advice = "if it is a measured number, use the model linear."
    return (
        f"The response `{name}` of {table.name} has {len(values)} different values "
        f"({some(map(label, values))}). A logistic model needs two classes: {advice}"
    )
