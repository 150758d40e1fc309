"""Omega of a network in the Matrix Market format: what is not 0, as scipy.io.mmread and Matrix::readMM read it."""

from __future__ import annotations

import numpy as np

from plncli.runs.run import Run

HEAD = """%%MatrixMarket matrix coordinate real symmetric
% Omega of {shape} features: its rows and columns are the features in the order of the table nodes.
% Features without variance have no entries.
"""


def matrix_market(run: Run) -> bytes:
    """The lower triangle, column by column, in as many digits as give the numbers back. Its names are those of nodes.

    Text, which needs no program of its own, and is read in one line where names are no part of the format.
    """
    upper = np.triu(np.nan_to_num(np.asarray(run.estimates["Omega"], np.float64), nan=0.0))  # as the edges have it
    columns, rows = upper.nonzero()
    values = upper[columns, rows]
    lines = [f"{i + 1} {j + 1} {value!r}\n" for i, j, value in zip(rows, columns, values.tolist(), strict=True)]
    return "".join([HEAD.format(shape=len(upper)), f"{len(upper)} {len(upper)} {len(lines)}\n", *lines]).encode()
