"""What a user must be told of structural zeros."""

from __future__ import annotations

import torch

from plncli.errors import counted, some
from plncli.models.findings import IN_FULL, Finding
from plncli.models.inflation.entries import Inflation
from plncli.models.inflation.spec import TERMS

WIDTH = 60
"""Signs of the names in a sentence."""


def of_zeros(
    inflation: Inflation, samples: tuple[str, ...], features: tuple[str, ...], nodes: int
) -> tuple[Finding, ...]:
    """Probabilities that are exactly 0, and how finely zeros are summed."""
    told = f"Zeros that may be structural are sums over {nodes} nodes of quadrature."
    fineness = Finding("quadrature", told, note=True)
    if inflation.goal == TERMS:
        return (*_by_design(inflation.widened(torch.zeros_like(inflation.start(0.0)))[0], features), fineness)
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


def _by_design(inflation: Inflation, features: tuple[str, ...]) -> tuple[Finding, ...]:
    """Features of which no zero is structural, in all samples or in some; and of which all zeros are, in some."""
    design = inflation.design
    assert design is not None
    closed, open_ = design.counted & ~inflation.free, inflation.free
    nowhere = ~open_.any(0) & ~(design.sure > 0).any(0)
    parts = (
        ("no-structural-zeros", nowhere, "without structural zeros, of probability exactly 0"),
        ("no-structural-zeros", closed.any(0) & ~nowhere, "without structural zeros in some samples, of probability 0"),
        (
            "only-structural-zeros",
            (design.sure > 0).any(0),
            "never counted in some samples: all zeros structural there",
        ),
    )
    found = []
    for code, which, what in parts:
        names = tuple(features[j] for j in which.nonzero()[:, 0].tolist())
        if names:
            message = f"{counted(len(names), 'feature')} {what}: {some(names, where=IN_FULL, width=WIDTH)}."
            found.append(Finding(code, message, names, note=True))
    return tuple(found)
