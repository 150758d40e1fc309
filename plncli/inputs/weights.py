"""Weights of samples, and which of them belong together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from plncli.errors import FIRST, DataError, Faults, some
from plncli.inputs.cells import HUGE, NUMBERS_RULE, checked_numbers
from plncli.inputs.matching import Tables
from plncli.inputs.responses import label
from plncli.tables.table import Table

if TYPE_CHECKING:
    import numpy as np


def weights_of(table: Table, faults: Faults = FIRST) -> np.ndarray:
    """(n,) finite weights of 0 or more."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; weights are one: "
            f"{some(table.columns)}."
        )
    rule = f"Weights must be numbers from 0 to {HUGE:g}."
    check = ("unusable weight", lambda v: ~((v >= 0) & (v <= HUGE)), rule)
    return checked_numbers(table, NUMBERS_RULE, check, faults=faults)[:, 0]


def clusters_of(table: Table) -> Tensor:
    """(n,) codes 0, 1, ... of the clusters, in the order in which they come; texts or numbers name them."""
    if len(table.columns) != 1:
        raise DataError(
            f"{table.name} has {len(table.columns)} columns besides the sample names; the clusters are one: "
            f"{some(table.columns)}."
        )
    encoded = table.cells.column(0).combine_chunks().dictionary_encode()
    if len(encoded.dictionary) == 1:
        raise DataError(
            f"All {len(table.samples)} samples are in one cluster (`{label(encoded.dictionary[0].as_py())}` of "
            f"{table.name}), which leaves nothing to compare. Give a column with a cluster for each sample."
        )
    return torch.from_numpy(encoded.indices.to_numpy().astype("int64"))


class Weighted(NamedTuple):
    """Weights (n,), 1 where none are given, and codes of clusters (n,), None where samples are by themselves."""

    w: np.ndarray
    clusters: Tensor | None

    @staticmethod
    def of(tables: Tables, faults: Faults) -> Weighted:
        """Those of the tables."""
        import numpy as np

        w = weights_of(tables["weights"], faults) if tables.get("weights") else np.ones(len(tables.samples))
        clusters = faults.attempt(partial(clusters_of, tables["cluster"]), None) if tables.get("cluster") else None
        return Weighted(w, clusters)
