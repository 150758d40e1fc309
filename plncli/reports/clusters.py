"""Clusters of samples on a page: how many there are, how surely samples belong to them, and what tells them apart."""

from __future__ import annotations

from typing import Any

from plncli.errors import counted, number, short
from plncli.models.abilities import Clustering
from plncli.plots.source import Source

FEATURES = 5
"""That are named of a cluster, more abundant and less."""
DOUBTFUL, MOST = 0.8, 25
"""Probability below which a sample is doubtful, and how many such are told."""
MEANING = (
    "Clusters are found, not given: they are how the likelihood is best explained by groups of normal latent values. "
    "That there are as many kinds of samples does not follow, for a distribution that is not normal is approximated by "
    "several clusters too.",
    "Clusters are numbered by size. A posterior probability is of these clusters only, and takes their means and "
    "variances as known: with many features it is next to 0 or 1 even where clusters overlap in each of them.",
)


def clusters(source: Source) -> dict[str, Any] | None:
    """What is told of clusters; None where the model has none.

    told, meaning: sentences; table: heads and rows, a cluster each; doubtful: the same of samples, None without any.
    """
    run, known = source.run, source.run.fitted
    if not isinstance(known, Clustering):
        return None
    best, label = known.tau.max(1)
    sizes = label.bincount(minlength=len(known.groups)).tolist()
    doubtful = (best < DOUBTFUL).nonzero()[:, 0]
    told = (
        f"{counted(len(sizes), 'cluster')} of {', '.join(map(str, sizes))} samples; "
        f"{len(best) - len(doubtful)} of {counted(len(best), 'sample')} belong to theirs with a probability of "
        f"{DOUBTFUL} or more."
    )
    rows = []
    scale = known.within.clamp_min(1e-300).sqrt()
    for k, name in enumerate(known.groups):
        distance = known.contrasts[k] / scale[k]
        order = distance.argsort(descending=True, stable=True).tolist()
        more = [short(run.responses[j], 24) for j in order[:FEATURES] if distance[j] > 0]
        less = [short(run.responses[j], 24) for j in order[::-1][:FEATURES] if distance[j] < 0]
        own = best[label == k]
        surely = number(float(own.mean()), 3) if len(own) else "—"
        share = number(float(known.log_pi[k].exp()), 3)
        rows.append([name, str(sizes[k]), share, surely, ", ".join(more) or "—", ", ".join(less) or "—"])
    heads = ["cluster", "samples", "proportion", "mean posterior", "more abundant than in others", "less abundant"]
    table = {"heads": heads, "rows": rows}
    return {"told": told, "meaning": MEANING, "table": table, "doubtful": _doubtful(source, known, doubtful.tolist())}


def _doubtful(source: Source, known: Clustering, places: list[int]) -> dict[str, Any] | None:
    if not places:
        return None
    best, label = known.tau.max(1)
    second = known.tau.topk(2, 1)
    order = sorted(places, key=lambda i: (float(best[i]), i))[:MOST]
    rows = [
        [
            source.run.samples[i],
            known.groups[int(label[i])],
            number(float(best[i]), 3),
            known.groups[int(second.indices[i, 1])],
            number(float(second.values[i, 1]), 3),
        ]
        for i in order
    ]
    return {"heads": ["sample", "cluster", "posterior", "next", "its posterior"], "rows": rows, "total": len(places)}
