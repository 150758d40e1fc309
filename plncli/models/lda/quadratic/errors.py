"""How well coefficients of groups that are fitted side by side are known: each group's by its own samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from plncli.models.findings import Finding
from plncli.models.lda.quadratic.findings import merged
from plncli.models.lda.quadratic.prepared import Prepared
from plncli.models.pln.model import PLN
from plncli.models.pln.separation import without_estimate
from plncli.models.uncertainty import Uncertainty, own_without, without

ACROSS = Finding(
    "no-standard-errors",
    "No standard errors: clusters of samples lie in several groups, whose coefficients then depend on each other.",
    remedy="Ask for them with --se jackknife or --se bootstrap.",
)


def default_se(prepared: Prepared, each: PLN) -> str | Finding:
    """The method of all groups, or why some group has none."""
    if across(prepared):
        return ACROSS
    found = [each.default_se(part) for part in prepared.parts]
    return next((method for method in found if isinstance(method, Finding)), found[0])


def across(prepared: Prepared) -> bool:
    """Whether a cluster of samples lies in several groups."""
    clusters = prepared.data.clusters
    if clusters is None:
        return False
    return sum(len(clusters[group.rows].unique()) for group in prepared.groups) > prepared.data.n_clusters


def uncertainty(prepared: Prepared, found: Sequence[Uncertainty | Finding]) -> Uncertainty | Finding:
    """The covariances of the groups' coefficients in those of all; nan where a group has no count of a feature."""
    if across(prepared):
        return ACROSS
    for group, one in zip(prepared.groups, found, strict=True):
        if isinstance(one, Finding):
            return replace(one, message=f"In group {group.name}: {one.message}")
    known = [one for one in found if isinstance(one, Uncertainty)]
    p, d = prepared.data.p, prepared.data.d
    missing = without_estimate(prepared.data, prepared.separated)
    blocks = [one.blocks for one in known]
    own = prepared.across((p, d, d), lambda group: (group.features, group.terms, group.terms), blocks)

    def covariance() -> Tensor:
        V = own.new_zeros((p * d, p * d))
        for group, one in zip(prepared.groups, known, strict=True):
            at = (group.features[:, None] * d + group.terms).flatten()
            V[at[:, None], at] = one.covariance()
        return without(V, missing)

    first = known[0]
    facts = {name: sum(one.facts[name] for one in known) for name in first.facts}
    findings = merged(prepared, [one.findings for one in known])
    return Uncertainty(first.method, own_without(own, missing), covariance, first.df, findings, facts)
