"""Where names stand beside the marks of a network, so that they cover no mark, no name, and few edges."""

from __future__ import annotations

import math

import numpy as np

DIRECTIONS = tuple((math.cos(k * math.pi / 6.0), math.sin(k * math.pi / 6.0)) for k in range(12))
STEPS = (0.35, 1.6, 3.2)
"""What is between a mark and its name, in heights of a name; beyond the first a line joins them."""


def beside(
    spots: np.ndarray, radii: np.ndarray, boxes: np.ndarray, order: np.ndarray, frame: np.ndarray, edges: np.ndarray
) -> dict[int, tuple[np.ndarray, bool]]:
    """The middle of the name of each mark of `order` that has room, and whether it is far from its mark.

    spots: q×2; radii: (q,); boxes: width and height of the names, q×2; frame: upper right corner of the whole, whose
    other one is 0; edges: m×2×2. All in one unit.
    """
    placed: dict[int, tuple[np.ndarray, bool]] = {}
    taken = np.empty((0, 4))
    for at in order.tolist():
        best: tuple[float, np.ndarray, bool] | None = None
        half = boxes[at] / 2.0
        for step in STEPS:
            for direction in DIRECTIONS:
                way = np.array(direction)
                reach = half * np.sign(np.where(np.abs(way) < 0.3, 0.0, way))
                middle = spots[at] + way * (radii[at] + step * boxes[at, 1]) + reach
                low, high = middle - half, middle + half
                if (low < 0.0).any() or (high > frame).any() or _covered(low, high, spots, radii, taken):
                    continue
                cost = crossings(low, high, edges) + (0.0 if way[0] > 0.9 else 0.1 if abs(way[0]) > 0.9 else 0.2)
                if best is None or cost < best[0]:
                    best = (cost, middle, step > STEPS[0])
            if best is not None and best[0] < 2.0:
                break
        if best is not None:
            placed[at] = best[1:]
            taken = np.vstack([taken, np.concatenate([best[1] - half, best[1] + half])])
    return placed


def _covered(low: np.ndarray, high: np.ndarray, spots: np.ndarray, radii: np.ndarray, taken: np.ndarray) -> bool:
    """Whether a box covers a mark or a name."""
    nearest = np.clip(spots, low, high)
    if (((spots - nearest) ** 2).sum(1) < radii**2).any():
        return True
    return bool(((low < taken[:, 2:]) & (high > taken[:, :2])).all(1).any())


def crossings(low: np.ndarray, high: np.ndarray, edges: np.ndarray) -> int:
    """How many segments (m×2×2) meet a box (Liang & Barsky 1984)."""
    start, way = edges[:, 0], edges[:, 1] - edges[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(low - start) / way, (high - start) / way])
    along = way == 0.0
    inside = (start >= low) & (start <= high)
    enter = np.where(along, np.where(inside, -np.inf, np.inf), ends.min(0)).max(1)
    leave = np.where(along, np.where(inside, np.inf, -np.inf), ends.max(0)).min(1)
    return int(((enter <= leave) & (enter <= 1.0) & (leave >= 0.0)).sum())
