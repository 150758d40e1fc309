"""Edges of a network against true ones, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plncli.frames.messages import Sayings, tell
from plncli.frames.simulation import Simulation
from plncli.runs.network.recovery import recovery
from plncli.runs.run import Run
from plncli.tables.reading import table_of
from plncli.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd

Truth = Any
"""True edges: a `Simulation`, the path of a folder or file, or a data frame; None where they are not known."""


def truth_of(truth: Truth) -> str | Table:
    """As `recovery` takes it."""
    if isinstance(truth, str | os.PathLike):
        return os.fspath(truth)
    edges: Any = truth.true_edges if isinstance(truth, Simulation) else truth
    if hasattr(edges, "reset_index"):
        edges = edges.reset_index(drop=edges.index.names == [None])
    return table_of(edges, "truth")


def recovered(run: Run, members: Sequence[Run], truth: Truth) -> pd.Series:
    """What `plncli compare --truth` tells of a fit, by name."""
    import pandas as pd

    found, say = recovery(run, truth_of(truth), members), Sayings()
    say.notes += found.notes
    tell(say)
    row = found.row()
    return pd.Series(row, name=row.pop("run"))
