"""What is drawn of a network: features that are linked, where they lie, their edges and taxa."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from plncli.errors import DataError, counted, nearest, some
from plncli.inputs.layout.lineages import ranks
from plncli.plots.network.layout import layout
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.network.links import Links, links
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
    edges, drawn or not; order: their indices, those of most edges first. first, second: of the edges, indices of
    features, (m,). partial: partial correlations (m,). top: features that are named, the first ones in that order.
    taxa: (q,) of a `rank`, nothing without one; kinds: the most frequent ones, which have colours of their own.
    """

    names: tuple[str, ...] = field(repr=False)
    degree: np.ndarray = field(repr=False)
    places: np.ndarray = field(repr=False)
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    partial: np.ndarray = field(repr=False)
    order: np.ndarray = field(repr=False)
    top: int = NAMED
    rank: str = ""
    taxa: tuple[str, ...] = field(repr=False, default=())
    kinds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def linked(run: Run) -> Links:
    """The links of a fit. DataError for one without a network, or without an edge."""
    found = links(run)
    if found is None:
        raise DataError(f"A {run.model} fit has no network.")
    if not len(found.first):
        raise DataError(f"{run.place} has no edge: no two features are linked at its penalty. Fit with a smaller one.")
    return found


def content(source: Source, wanted: Wanted) -> Network:
    """The linked features, or those named and their neighbours. DataError where there is no edge."""
    run, p = source.run, len(source.run.responses)
    found = linked(run)
    shown, notes = _shown(run, found, wanted)
    if len(shown) > MOST:
        notes += (f"The {MOST} strongest of {len(shown)} edges; --only NAME draws those about a feature.",)
    shown = shown[:MOST]
    kept = np.unique(np.concatenate([found.first[shown], found.second[shown]]))
    place = np.full(p, -1)
    place[kept] = np.arange(len(kept))
    order = place[found.hubs]
    first, second = place[found.first[shown]], place[found.second[shown]]
    rank, known = _taxa(run, wanted.group_by)
    taxa = tuple(known[at] for at in kept.tolist()) if known else ()
    sizes: dict[str, int] = {}
    for taxon in taxa:
        sizes[taxon] = sizes.get(taxon, 0) + (taxon != UNNAMED)
    kinds = tuple(sorted(sorted(filter(sizes.get, sizes)), key=lambda taxon: -sizes[taxon])[:COLOURED])
    return Network(
        tuple(run.responses[at] for at in kept.tolist()),
        found.degree[kept],
        layout(len(kept), first, second, ASPECT),
        first,
        second,
        found.partial[shown],
        order[order >= 0],
        NAMED if wanted.top is None else wanted.top,
        rank,
        taxa,
        kinds,
        notes,
    )


def _shown(run: Run, found: Links, wanted: Wanted) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices of the edges that are drawn: all, or those among the features that are named and their neighbours."""
    p, m = len(run.responses), len(found.first)
    if not wanted.responses:
        alone = int((found.degree == 0).sum())
        return np.arange(m), ((f"Not drawn: {alone} of {counted(p, 'feature')} without edges.",) if alone else ())
    named = [response_index(run, name) for name in wanted.responses]
    about = np.isin(found.first, named) | np.isin(found.second, named)
    told, many = some(wanted.responses), len(named) > 1
    if not about.any():
        raise DataError(f"{told} {'have' if many else 'has'} no edge in {run.place}.")
    near = np.unique(np.concatenate([found.first[about], found.second[about]]))
    among = np.flatnonzero(np.isin(found.first, near) & np.isin(found.second, near))
    note = f"{told} and what is linked with {'them' if many else 'it'}; sizes count all edges of a feature."
    return among, (note,)


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
        f"Network of {counted(q, 'feature')} and {counted(m, 'edge')}, {positive} positive and {m - positive} "
        f"negative. Most edges: {', '.join(hubs)}. Strongest: {', '.join(strongest)}."
    )
