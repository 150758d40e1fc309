"""Which features of a fit are linked, for what tells or draws it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from plncli.runs.run import Run

EDGES = "edges"
"""The table that models with a network leave, and the fact how many edges there are."""


@dataclass(frozen=True)
class Links:
    """Edges of a network of p features, the strongest first.

    first, second: features of each edge by index, (m,); partial: its partial correlation (m,); degree: (p,).
    """

    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    partial: np.ndarray = field(repr=False)
    degree: np.ndarray = field(repr=False)

    @property
    def hubs(self) -> np.ndarray:
        """The features with edges, those of most edges first, and of equally many those of the strongest."""
        strength = np.zeros(len(self.degree))
        for ends in (self.first, self.second):
            np.add.at(strength, ends, np.abs(self.partial))
        order = np.lexsort((-strength, -self.degree))
        return order[self.degree[order] > 0]


def links(run: Run) -> Links | None:
    """Of the model of a fit; None where it has no network."""
    if EDGES not in dict(run.spec.further):  # torch is not loaded for it
        return None
    from plncli.models.abilities import Linked

    fitted = run.fitted
    assert isinstance(fitted, Linked)
    first, second = (ends.numpy() for ends in fitted.edges)
    partial = fitted.partial_correlations.double().numpy()[first, second]
    return Links(first, second, partial, np.bincount(np.concatenate([first, second]), minlength=len(run.responses)))
