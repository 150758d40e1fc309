"""Kinds of plots of networks of features."""

from __future__ import annotations

from plncli.plots import matrices
from plncli.plots.kind import DOUBLE, SELECTED, Kind
from plncli.plots.network import drawing, graph, recovery, stability

NETWORKS = {
    ("network", ""): Kind(
        graph.content,
        drawing.draw,
        graph.describe,
        "Network",
        width=DOUBLE,
        takes=(*SELECTED, "group_by"),
        data=False,
        several=True,
    ),
    ("adjacency", ""): Kind(
        matrices.adjacency,
        matrices.draw,
        matrices.describe,
        "Partial correlations",
        "How to read it: each cell is the partial correlation of two features, what remains of their correlation when "
        "all others are held; white where they have no edge. Features that are linked stand together.",
        DOUBLE,
        SELECTED,
        data=False,
        several=True,
    ),
    ("stability", ""): Kind(
        stability.content,
        stability.draw,
        stability.describe,
        "Stability of edges",
        "How to read it: the further to the right a pair, the larger the share of subsamples of the samples in which "
        "it is linked. Lines show that along the path: those of pairs that truly go together rise early, and stay up. "
        "Edges below the dotted half are hardly more than guesses.",
        DOUBLE,
        SELECTED,
        data=False,
        several=True,
        table=stability.table,
        applies=lambda run: "frequencies" in run.state,
    ),
    ("recovery", ""): Kind(
        recovery.content,
        recovery.draw,
        recovery.describe,
        "Edges and true edges",
        width=DOUBLE,
        takes=("truth",),
        data=False,
        several=True,
        table=recovery.table,
        needs="truth",
    ),
}
