"""Where features of a network lie: linked ones close to each other, unlinked groups beside each other."""

from __future__ import annotations

import numpy as np

CAREFUL = 150
"""Features of a group up to which all distances are those along its edges, as nearly as they can be."""
NEIGHBOURS = 0.75
"""What is between a feature and the nearest one, for half of them at least, in lengths of an edge of a sparse group."""
NEAREST = 0.5
"""What is between two features at least, in lengths of an edge."""
BETWEEN = np.array([1.4, 0.8])
"""What is between two groups, across and upwards: names lie beside."""
SHARES = (0.5, 0.75, 1.0, 1.4, 2.0, 3.0)
"""Of the aspect that is wanted, those by which groups are placed: one of them makes the smallest whole."""
FEW = 40
"""Groups up to which each is tried."""
ROUNDS = 60
"""Of pushing features apart."""


def layout(number: int, first: np.ndarray, second: np.ndarray, aspect: float) -> np.ndarray:
    """number×2: places of features from the lower left corner, an edge being about 1 long. The same each time.

    first, second: (m,) of the edges. aspect: width over height of what all should fill.
    Each connected group is laid out by Kamada & Kawai (1989), or, where that takes long, by Fruchterman & Reingold
    (1991); groups are packed largest first.
    """
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(number))
    graph.add_edges_from(zip(first.tolist(), second.tolist(), strict=True))
    groups = sorted((sorted(group) for group in nx.connected_components(graph)), key=lambda group: (-len(group), group))
    shapes = [_lying(_apart(_arranged(graph.subgraph(group)))) for group in groups]
    corners = pack(np.array([shape.max(0) for shape in shapes]).reshape(-1, 2) + BETWEEN, aspect)
    places = np.zeros((number, 2))
    for group, shape, corner in zip(groups, shapes, corners, strict=True):
        places[group] = shape + corner
    return places


def _arranged(graph: object) -> np.ndarray:
    """Places of a connected group, in the order of its features: edges are 1 long on average, longer if it is dense."""
    import networkx as nx

    assert isinstance(graph, nx.Graph)
    nodes = sorted(graph)
    if len(nodes) < 3:
        return np.array([[float(place), 0.0] for place in range(len(nodes))])
    ordered = nx.Graph()
    ordered.add_nodes_from(nodes)
    ordered.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.edges))
    found = nx.kamada_kawai_layout(ordered) if len(nodes) <= CAREFUL else nx.spring_layout(ordered, seed=0)
    places = np.array([found[node] for node in nodes])
    number = {node: place for place, node in enumerate(nodes)}
    ends = np.array([(number[a], number[b]) for a, b in ordered.edges])
    long = np.linalg.norm(places[ends[:, 0]] - places[ends[:, 1]], axis=1).mean()
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return places / min(long, max(float(np.median(distance.min(0))), 0.1 * long) / NEIGHBOURS)


def _apart(places: np.ndarray) -> np.ndarray:
    """The same with features that are nearer to each other than NEAREST pushed apart."""
    from scipy.spatial import cKDTree

    at = places.copy()
    for _ in range(ROUNDS):
        first, second = cKDTree(at).query_pairs(NEAREST, output_type="ndarray").T
        if not len(first):
            break
        away = at[first] - at[second]
        distance = np.linalg.norm(away, axis=1)
        angle = 2.4 * (first - second)  # of features at one place, their numbers tell which way they go
        away = np.where((distance < 1e-9)[:, None], np.stack([np.cos(angle), np.sin(angle)], 1), away)
        away *= (0.25 * (NEAREST - distance) / np.linalg.norm(away, axis=1))[:, None]
        for ends, step in ((first, away), (second, -away)):
            np.add.at(at, ends, step)
    return at


def _lying(places: np.ndarray) -> np.ndarray:
    """The same turned so that it is widest along the first axis, with its lower left corner at 0."""
    centred = places - places.mean(0)
    turned = centred @ np.linalg.svd(centred, full_matrices=False)[2].T if len(places) > 2 else centred
    strongest = np.abs(turned).argmax(0)  # the sign of an axis is of no meaning: the farthest one lies to the right
    turned = turned * np.where(turned[strongest, [0, 1]] < 0.0, -1.0, 1.0)
    return turned - turned.min(0)


def pack(sizes: np.ndarray, aspect: float) -> np.ndarray:
    """k×2: lower left corners of k boxes (widths and heights, k×2) that do not overlap and fill a shape of that aspect.

    The best of several ways.
    """
    tried = [_packed(sizes, share * aspect) for share in (SHARES if len(sizes) <= FEW else (1.0,))]
    ends = [(corners + sizes).max(0) for corners in tried]
    return tried[int(np.argmin([max(across / aspect, up) + 1e-3 * (across + up) for across, up in ends]))]


def _packed(sizes: np.ndarray, aspect: float) -> np.ndarray:
    """Each box, in turn, where the whole stays smallest, at a corner of those before."""
    corners, whole = np.zeros_like(sizes), np.zeros(2)
    for place, size in enumerate(sizes):
        low, high = corners[:place], corners[:place] + sizes[:place]
        across, up, none = (high[:, 0], low[:, 1]), (low[:, 0], high[:, 1]), np.zeros(place)
        tried = (across, up, (high[:, 0], none), (none, high[:, 1]))
        found = np.concatenate([np.zeros((1, 2)), *(np.column_stack(pair) for pair in tried)])
        over = (found[:, None] < high - 1e-9) & (found[:, None] + size > low + 1e-9)
        free = found[~over.all(2).any(1)]
        grown = np.maximum(whole, free + size)
        best = np.lexsort((free.sum(1), np.maximum(grown[:, 0] / aspect, grown[:, 1])))[0]
        corners[place], whole = free[best], grown[best]
    return corners
