"""What is drawn of a network: features that are linked, where they lie, their edges and taxa."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from plncli.errors import DataError, counted, nearest, some
from plncli.inputs.layout.lineages import ranks
from plncli.models.abilities import Linking
from plncli.plots.network.layout import layout
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.run import Run

NAMED = 150
"""Features that are named unless another number is asked for."""
MOST = 1000
"""Edges beyond which only the strongest are drawn: more cannot be told apart."""
ASPECT = 1.35
"""Width over height of what is drawn."""
COLOURED = 6
"""Taxa with a colour of their own."""
UNNAMED, OTHERS = "unnamed", "others"


@dataclass(frozen=True)
class Network:
    """q linked features and m edges among them, the strongest first.

    names, degree, places: of the features, (q,), (q,) and q×2, an edge being about 1 long; degree counts all their
    edges, drawn or not. first, second: their indices in these, (m,). partial: partial correlations (m,).
    taxa: (q,) of a `rank`, nothing without one; kinds: the most frequent ones, which have colours of their own.
    top: features that are named, those of most edges first. n_features: of the fit.
    """

    names: tuple[str, ...] = field(repr=False)
    degree: np.ndarray = field(repr=False)
    places: np.ndarray = field(repr=False)
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    partial: np.ndarray = field(repr=False)
    n_features: int
    n_edges: int
    top: int = NAMED
    rank: str = ""
    taxa: tuple[str, ...] = field(repr=False, default=())
    kinds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def order(self) -> np.ndarray:
        """The features, those of most edges first, and of equally many those of the strongest."""
        strength = np.zeros(len(self.names))
        for ends in (self.first, self.second):
            np.add.at(strength, ends, np.abs(self.partial))
        return np.lexsort((-strength, -self.degree))


def links(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second feature of each edge by index, and its partial correlation, the strongest first, (m,) each.

    DataError for a fit without a network.
    """
    fitted = run.fitted
    if not isinstance(fitted, Linking):
        raise DataError(f"A {run.model} fit has no network.")
    first, second = fitted.edges
    return first.numpy(), second.numpy(), fitted.partial_correlations[first, second].double().numpy()


def content(source: Source, wanted: Wanted) -> Network:
    """The linked features, or those named and their neighbours. DataError where there is no edge."""
    run, p = source.run, len(source.run.responses)
    first, second, partial = links(run)
    degree = np.bincount(np.concatenate([first, second]), minlength=p)
    if not len(first):
        raise DataError(f"{run.place} has no edge: no two features are linked at its penalty. Fit with a smaller one.")
    shown, notes = _shown(run, first, second, wanted)
    shown = shown[:MOST]
    j, k = first[shown], second[shown]
    if len(shown) == MOST < len(first):
        notes += (f"The {MOST} strongest of {len(first)} edges; --only NAME draws those about a feature.",)
    kept = np.unique(np.concatenate([j, k]))
    place = np.full(p, -1)
    place[kept] = np.arange(len(kept))
    alone = int((degree == 0).sum())
    if alone and not wanted.responses:
        notes += (f"Not drawn: {alone} of {counted(p, 'feature')} without edges.",)
    rank, known = _taxa(run, wanted.group_by)
    taxa = tuple(known[at] for at in kept.tolist()) if known else ()
    sizes: dict[str, int] = {}
    for taxon in taxa:
        sizes[taxon] = sizes.get(taxon, 0) + (taxon != UNNAMED)
    kinds = tuple(sorted(sorted(filter(sizes.get, sizes)), key=lambda taxon: -sizes[taxon])[:COLOURED])
    return Network(
        tuple(run.responses[at] for at in kept.tolist()),
        degree[kept],
        layout(len(kept), place[j], place[k], ASPECT),
        place[j],
        place[k],
        partial[shown],
        p,
        len(first),
        NAMED if wanted.top is None else wanted.top,
        rank,
        taxa,
        kinds,
        notes,
    )


def _shown(run: Run, first: np.ndarray, second: np.ndarray, wanted: Wanted) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices of the edges that are drawn: all, or those among the features that are named and their neighbours."""
    if not wanted.responses:
        return np.arange(len(first)), ()
    named = [response_index(run, name) for name in wanted.responses]
    about = np.isin(first, named) | np.isin(second, named)
    if not about.any():
        raise DataError(f"{some(wanted.responses)} {'has' if len(named) == 1 else 'have'} no edge in {run.place}.")
    near = np.unique(np.concatenate([first[about], second[about]]))
    return np.flatnonzero(np.isin(first, near) & np.isin(second, near)), (
        f"{some(wanted.responses)} and what is linked with {'it' if len(named) == 1 else 'them'}; "
        "sizes count all edges of a feature.",
    )


def _taxa(run: Run, rank: str | None) -> tuple[str, tuple[str, ...]]:
    """The rank that is asked for, or the widest of which there are several taxa, and the taxon of each feature.

    Also any other text that the table of counts has of the features. Nothing where it has none.
    DataError where the rank is asked for and not there.
    """
    taxa = ranks(run.features)
    known = {**run.features, **taxa}
    if rank is None:
        rank = next((name for name, values in taxa.items() if len({*values} - {None}) > 1), "")
        if not rank:
            return "", ()
    if rank not in known:
        have = f"it has {some(known)}" if known else "its table of counts says nothing of features but their names"
        raise DataError(f"{run.place} does not know the {rank} of its features: {have}.{nearest(rank, list(known))}")
    return rank, tuple(taxon or UNNAMED for taxon in known[rank])


def describe(record: Network) -> str:
    """Edges, hubs, and the strongest edges of both signs."""
    m, q = len(record.partial), len(record.names)
    positive = int((record.partial > 0).sum())
    hubs = [f"{record.names[at]} ({record.degree[at]})" for at in record.order[:3]]
    sides = [sign * record.partial for sign in (1.0, -1.0) if (sign * record.partial > 0.0).any()]
    strongest = [
        f"{record.names[record.first[at]]} and {record.names[record.second[at]]} ({record.partial[at]:.2f})"
        for at in (int(side.argmax()) for side in sides)
    ]
    return (
        f"Network of {counted(q, 'feature')} and {counted(m, 'edge')}, {positive} positive and {m - positive} negative. "
        f"Most edges: {', '.join(hubs)}. Strongest: {', '.join(strongest)}."
    )
