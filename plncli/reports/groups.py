"""Groups of samples on a page: how well they are told apart, what the axes are, and which samples are not assigned."""

from __future__ import annotations

import math
from typing import Any

from plncli.errors import counted, number
from plncli.models.abilities import Discriminating, Separating
from plncli.plots.source import Source
from plncli.runs.groups import group_column_of
from plncli.verbs.groups.judged import calibration

MOST = 25
"""Samples in a table."""
AXES = (
    "The axes are those of linear discriminant analysis, of latent values instead of measurements: the combinations of "
    "features along which groups differ most, compared with how samples of a group vary. One less than groups is the "
    "most that there can be."
)
OWN = (
    "Each group has a covariance of its own, so there are no axes: those are directions in the metric of one that all "
    "groups have. Which group a sample is of may be told by how features vary, and go together, not by means alone."
)
MEANING = (
    "A sample is assigned to the group of the highest posterior probability: the prior of the group times the "
    "likelihood of the sample's counts in it, for which its bound stands. Probabilities are of these groups only: a "
    "sample that is like none of them has one too."
)
APPARENT = (
    "Of the samples of the fit itself {apparent} are assigned to their group. That is too good: each has helped to "
    "place the mean of its group, and to estimate Σ. What to expect of new samples is told by those held out."
)


def groups(source: Source) -> dict[str, Any] | None:
    """What is told of groups; None where the model has none.

    told, meaning: sentences; confusion, wrong: heads and rows of tables, None without held-out samples, or wrong ones.
    """
    run, fitted = source.run, source.run.fitted
    if not (run.spec.grouped and isinstance(fitted, Discriminating) and fitted.groups):
        return None
    found, column = run.summary, group_column_of(run)
    many = counted(len(fitted.groups), "group")
    meaning = [AXES if isinstance(fitted, Separating) else OWN, MEANING]
    apparent = found.get("apparent_accuracy")
    if apparent is not None:
        meaning.append(APPARENT.format(apparent=_share(apparent)))
    if fitted.held_out is None or found.get("accuracy") is None:
        told = f"{many} of {column}; no samples were held out, so how well they are told apart is not known."
        return {"told": told, "meaning": meaning, "confusion": None, "wrong": None}
    folds = run.settings["folds"]
    told = (
        f"{many} of {column}: held out {'one by one' if folds == 'loo' else f'in {folds} folds'}, "
        f"{_share(found['accuracy'])} of {counted(int(found['held_out']), 'sample')} are assigned to their group "
        f"(mean over groups {_share(found['balanced_accuracy'])}); by chance alone, by the largest group, "
        f"{_share(_largest(fitted))} would be."
    )
    told = f"{told} {calibration(found)}".rstrip()
    return {"told": told, "meaning": meaning, "confusion": _confusion(fitted), "wrong": _wrong(source, fitted)}


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _largest(fitted: Discriminating) -> float:
    """Share of the largest group."""
    return float(fitted.group_of.bincount().max()) / len(fitted.group_of)


def _confusion(fitted: Discriminating) -> dict[str, Any]:
    """Held-out samples of each group by the group that they are assigned to."""
    assert fitted.held_out is not None
    known = ~fitted.held_out.isnan().any(1)
    truth, predicted = fitted.group_of[known], fitted.held_out[known].argmax(1)
    rows = []
    for g, group in enumerate(fitted.groups):
        sizes = predicted[truth == g].bincount(minlength=len(fitted.groups)).tolist()
        rows.append([group, *map(str, sizes), _share(sizes[g] / sum(sizes)) if sum(sizes) else "—"])
    return {"heads": ["group", *(f"taken for {group}" for group in fitted.groups), "right"], "rows": rows}


def _wrong(source: Source, fitted: Discriminating) -> dict[str, Any] | None:
    """Held-out samples that are not assigned to their group, those that are least probable in it first."""
    assert fitted.held_out is not None
    posterior, truth = fitted.held_out, fitted.group_of
    own = posterior.gather(1, truth[:, None])[:, 0]
    best, predicted = posterior.nan_to_num(nan=-1.0).max(1)
    wrong = ((predicted != truth) & ~own.isnan()).nonzero()[:, 0].tolist()
    if not wrong:
        return None
    order = sorted(wrong, key=lambda i: (float(own[i]), i))[:MOST]
    names = fitted.groups
    rows = [
        [
            source.run.samples[i],
            names[truth[i]],
            names[predicted[i]],
            number(float(best[i]), 3),
            number(_tiny(own[i]), 3),
        ]
        for i in order
    ]
    heads = ["sample", "group", "taken for", "with probability", "probability of its group"]
    return {"heads": heads, "rows": rows, "total": len(wrong)}


def _tiny(value: Any) -> float:
    """A probability as a page tells it: 0 below what is worth telling."""
    return 0.0 if float(value) < 1e-12 or math.isnan(float(value)) else float(value)
