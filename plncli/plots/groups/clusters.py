"""Clusters of samples: how surely each sample is of one, and which features tell them apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from plncli.errors import DataError, counted, short
from plncli.models.abilities import Clustering
from plncli.plots import style
from plncli.plots.source import Source, Wanted, response_index

TOP = 30
"""Features of a profile unless another number is asked for."""
SURELY = 0.8
"""Probability from which a sample is surely of its cluster."""
REACH = 0.95
"""Quantile of the differences at which colours end."""


@dataclass(frozen=True)
class Memberships:
    """Posterior probabilities tau (n×K) of the samples, in the order of their clusters."""

    samples: tuple[str, ...] = field(repr=False)
    clusters: tuple[str, ...]
    tau: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """The most probable cluster of each sample, by place."""
        return self.tau.argmax(1)


@dataclass(frozen=True)
class Profiles:
    """Of some features, latent means of the clusters less their mean, p×K, −inf where one never shows the feature.

    between: share of the variance between clusters.
    """

    features: tuple[str, ...] = field(repr=False)
    clusters: tuple[str, ...]
    sizes: np.ndarray
    off: np.ndarray = field(repr=False)
    between: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()


def _known(source: Source) -> Clustering:
    fitted = source.run.fitted
    if not isinstance(fitted, Clustering):
        raise DataError(f"{source.run.place} has no clusters.")
    return fitted


def memberships(source: Source, wanted: Wanted) -> Memberships:
    """All samples, those of a cluster together, the surest first."""
    del wanted
    known = _known(source)
    tau = known.tau.numpy()
    labels = tau.argmax(1)
    order = np.lexsort((-tau.max(1), labels))
    return Memberships(tuple(source.run.samples[i] for i in order), known.groups, tau[order])


def profiles(source: Source, wanted: Wanted) -> Profiles:
    """The features that differ most between clusters, or those that are asked for."""
    known, run = _known(source), source.run
    pi, off, within = known.log_pi.exp().numpy(), known.contrasts.numpy(), known.within.numpy()
    seen = np.isfinite(off)
    spread = pi @ np.where(seen, off, 0.0) ** 2
    between = np.where(seen.all(0), spread / (spread + pi @ within), 1.0)
    if len(pi) < 2:
        raise DataError(f"{run.place} has a single cluster, so nothing differs between clusters.")
    if wanted.responses:
        places = [response_index(run, name) for name in wanted.responses]
    else:
        places = np.argsort(-between, kind="stable")[: TOP if wanted.top is None else wanted.top].tolist()
    places = sorted(places, key=lambda j: (int(off[:, j].argmax()), -float(between[j])))
    off = np.where(seen & (seen.sum(0) == 1), np.inf, off)  # a single cluster shows it
    left = len(run.responses) - len(places)
    said = f"The {len(places)} of {len(run.responses)} features with the largest share of variance between clusters."
    notes: tuple[str, ...] = (said,) if left and not wanted.responses else ()
    notes += () if seen[:, places].all() else ("Grey: not seen in the cluster.",)
    names = tuple(run.responses[j] for j in places)
    sizes = np.bincount(known.tau.argmax(1).numpy(), minlength=len(pi))
    return Profiles(names, known.groups, sizes, off[:, places].T, between[places], notes)


def draw_memberships(record: Memberships, width: float) -> Figure:
    """A row a cluster, a column a sample: the darker, the more probable."""
    many = len(record.clusters)
    figure = style.blank(width, 22.0 + 7.0 * many)
    axes = figure.subplots()
    mesh = axes.imshow(record.tau.T, aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    sizes = np.bincount(record.labels, minlength=many)
    for end in np.cumsum(sizes)[:-1]:
        axes.axvline(end - 0.5, color=style.GREY, linewidth=0.6)
    axes.set_yticks(range(many), [f"{name} ({size})" for name, size in zip(record.clusters, sizes, strict=True)])
    axes.set(ylabel="cluster (samples)", xlabel="samples, by cluster")
    size, step = style.thinned(len(record.samples), width)
    if step == 1:
        axes.set_xticks(range(len(record.samples)), [short(name, 16) for name in record.samples], rotation=90)
        axes.tick_params(axis="x", labelsize=size, length=0)
    else:
        axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.04, pad=0.02, label="posterior probability")
    bar.outline.set_visible(False)
    style.footnote(figure, record.notes)
    return figure


def draw_profiles(record: Profiles, width: float) -> Figure:
    """A row a feature, a column a cluster: red where it is more abundant than in the others, blue where less."""
    height = max(40.0, 14.0 + 3.2 * len(record.features))
    figure = style.blank(width, height)
    axes = figure.subplots()
    known, seen = record.off[np.isfinite(record.off)], ~np.isneginf(record.off)
    reach = (float(np.quantile(np.abs(known), REACH)) if len(known) else 0.0) or 1.0
    axes.set_facecolor(style.PALE)
    mesh = axes.imshow(
        np.where(seen, record.off, np.nan),
        aspect="auto",
        cmap="RdBu_r",
        vmin=-reach,
        vmax=reach,
        interpolation="nearest",
    )
    size, step = style.thinned(len(record.features), height - 14.0)
    places = range(0, len(record.features), step)
    axes.set_yticks(places, [short(record.features[j], 24) for j in places])
    axes.tick_params(axis="y", labelsize=size, length=0)
    axes.set_xticks(
        range(len(record.clusters)),
        [f"{name}\n({size})" for name, size in zip(record.clusters, record.sizes, strict=True)],
    )
    axes.set(xlabel="cluster (samples)")
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02, extend="both", label="latent mean less the average")
    bar.outline.set_visible(False)
    style.footnote(figure, record.notes)
    return figure


def describe_memberships(record: Memberships) -> str:
    """How many samples each cluster has, and how surely."""
    best = record.tau.max(1)
    sizes = np.bincount(record.labels, minlength=len(record.clusters))
    told = ", ".join(f"cluster {name} {size}" for name, size in zip(record.clusters, sizes, strict=True))
    sure = int((best > SURELY).sum())
    return f"{counted(len(best), 'sample')}: {told}; {sure} belong to theirs with a probability above {SURELY}."


def describe_profiles(record: Profiles) -> str:
    """The features that differ most."""
    order = np.argsort(-record.between, kind="stable")[:5]
    told = ", ".join(f"{short(record.features[j], 24)} ({100.0 * record.between[j]:.0f} %)" for j in order)
    return f"Features with the largest share of their latent variance between clusters: {told}."


def table_memberships(record: Memberships) -> dict[str, Any]:
    """Samples with their probabilities."""
    named = {f"cluster {name}": record.tau[:, k] for k, name in enumerate(record.clusters)}
    return {"sample": list(record.samples), **named}


def table_profiles(record: Profiles) -> dict[str, Any]:
    """Features with the differences of the clusters."""
    named = {f"cluster {name}": record.off[:, k] for k, name in enumerate(record.clusters)}
    return {"feature": list(record.features), **named, "between": record.between}
