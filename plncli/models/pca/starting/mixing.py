"""Steps that know of those before them: Anderson acceleration of a fixed point (Anderson 1965, J. ACM 12).

Near a solution the residuals of an iteration are linear in its points, so that a combination of the last few is known
whose residual is nearly 0: the next point is that combination, and its residual's step. For iterations like those of
EM algorithms it is of little cost and great gain (Henderson & Varadhan 2019, J. Comput. Graph. Stat. 28).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

MEMORY = 15
"""Earlier points that are combined."""
RIDGE = 1e-8
"""Added to the differences' inner products, as a share of the largest: some may all but follow from others."""


class Mixing:
    """The last points of an iteration x ← x + f(x), and their steps f(x)."""

    def __init__(self) -> None:
        self._points: deque[Tensor] = deque(maxlen=MEMORY + 1)
        self._steps: deque[Tensor] = deque(maxlen=MEMORY + 1)

    def forget(self) -> None:
        """Begin anew from the latest point."""
        for each in (self._points, self._steps):
            while len(each) > 1:
                each.popleft()

    def step(self, x: Tensor, f: Tensor, metric: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The step from x that earlier ones advise, of f's shape; None where there are none.

        f: the step from x; metric: a positive definite map of steps, in which residuals are measured.
        """
        self._points.append(x)
        self._steps.append(f)
        if len(self._points) < 2:
            return None
        dx, df = (torch.stack([b - a for a, b in pairwise(each)]) for each in (self._points, self._steps))
        measured = torch.stack([metric(one) for one in df]).flatten(1)
        G, against = df.flatten(1) @ measured.mT, measured @ f.flatten()
        G.diagonal().add_(RIDGE * G.diagonal().max())
        L, failed = torch.linalg.cholesky_ex(0.5 * (G + G.mT))
        if failed:
            return None
        share = torch.cholesky_solve(against[:, None], L)[:, 0]
        return f - torch.tensordot(share, dx + df, 1)
