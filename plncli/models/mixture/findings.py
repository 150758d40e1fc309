"""What a user must be told of clusters: those that hardly any sample is of, and features that some never show."""

from __future__ import annotations

from plncli.errors import counted, some
from plncli.models.findings import IN_FULL, Finding
from plncli.models.mixture.objective import Evaluation
from plncli.models.mixture.prepared import Prepared, unseen
from plncli.models.pln.findings import WIDTH, of_counts

FEW = 2.0
"""Samples of a cluster, by their probabilities, below which it says little."""


def findings(prepared: Prepared, at: Evaluation) -> tuple[Finding, ...]:
    """Those of counts, of clusters that are too small, and of features that are not seen in one."""
    found = list(of_counts(prepared, prepared.coefficients(at), None))
    sizes = at.sizes[at.sizes.argsort(descending=True, stable=True)].tolist()
    small = [k + 1 for k, size in enumerate(sizes) if size < FEW and prepared.data.n > FEW]
    if small and len(sizes) > 1:
        names = some([str(k) for k in small])
        message = (
            f"{counted(len(small), 'cluster')} of {len(sizes)} of fewer than {FEW:.0f} samples ({names}): the data "
            f"hardly carry {len(sizes)} clusters."
        )
        found.append(Finding("small-cluster", message, remedy="Give fewer --clusters, or a simpler --covariance."))
    never = unseen(at).any(0)
    if bool(never.any()):
        features = tuple(prepared.data.responses[j] for j in never.nonzero()[:, 0].tolist())
        message = (
            f"{counted(len(features), 'feature')} not seen in some cluster: the latent mean there has no finite "
            f"estimate (−inf): {some(features, where=IN_FULL, width=WIDTH)}."
        )
        found.append(Finding("unseen-in-cluster", message, features, note=True))
    return tuple(found)
