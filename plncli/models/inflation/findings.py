"""What a user must be told of structural zeros."""

from __future__ import annotations

from plncli.errors import counted, some
from plncli.models.findings import IN_FULL, Finding
from plncli.models.inflation.entries import Inflation

WIDTH = 60
"""Signs of the names in a sentence."""


def of_zeros(
    inflation: Inflation, samples: tuple[str, ...], features: tuple[str, ...], nodes: int
) -> tuple[Finding, ...]:
    """Probabilities that are exactly 0, and how finely zeros are summed."""
    told = f"Zeros that may be structural are sums over {nodes} nodes of quadrature."
    fineness = Finding("quadrature", told, note=True)
    closed = (~inflation.free).flatten()
    if not bool(closed.any()):
        return (fineness,)
    if closed.numel() == 1:
        message = "No structural zeros: their probability is exactly 0, and the fit is that without zero inflation."
        return (Finding("no-structural-zeros", message, note=True), fineness)
    noun, names = ("feature", features) if inflation.shape[0] == 1 else ("sample", samples)
    at = tuple(names[k] for k in closed.nonzero()[:, 0].tolist())
    listed = some(at, where=IN_FULL, width=WIDTH)
    message = f"{counted(len(at), noun)} without structural zeros, of probability exactly 0: {listed}."
    return (Finding("no-structural-zeros", message, at if noun == "feature" else (), note=True), fineness)
