"""Trees of features: which go together, in which order they are drawn, and the lines of the dendrogram."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

OPTIMAL = 500
"""Features up to which the best order of the leaves of the tree is looked for."""


@dataclass(frozen=True)
class Tree:
    """order: of p leaves, neighbours close to each other; lines: m×4×2, each joint of two clusters: (place, height)."""

    order: tuple[int, ...] = field(repr=False)
    lines: np.ndarray = field(repr=False)


def cluster(distances: np.ndarray) -> Tree:
    """The tree of average linkage of distances (p×p); without joints where there are too few, or all are equal."""
    p = len(distances)
    above = distances[np.triu_indices(p, 1)]
    if p < 3 or np.ptp(above) < 1e-12:
        return Tree(tuple(range(p)), np.empty((0, 4, 2)))
    from scipy.cluster.hierarchy import leaves_list, linkage

    Z = linkage(np.maximum(above, 0.0), "average", optimal_ordering=p <= OPTIMAL)
    order = leaves_list(Z)
    place, height, lines = np.empty(2 * p - 1), np.zeros(2 * p - 1), np.empty((p - 1, 4, 2))
    place[order] = np.arange(p)
    for k, (a, b, distance) in enumerate(zip(*Z[:, :2].astype(int).T, Z[:, 2], strict=True)):
        place[p + k], height[p + k] = 0.5 * (place[a] + place[b]), distance
        lines[k] = (place[a], height[a]), (place[a], distance), (place[b], distance), (place[b], height[b])
    return Tree(tuple(order.tolist()), lines)
