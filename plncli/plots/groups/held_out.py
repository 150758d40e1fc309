"""How held-out samples are classified: confusion of groups, and a curve for each group against the others."""

from __future__ import annotations

import numpy as np

from plncli.errors import DataError
from plncli.models.abilities import Discriminating
from plncli.plots.classes import Confusions, Curves, Table, curve
from plncli.plots.source import Source, Wanted
from plncli.runs.groups import group_column_of


def _held_out(source: Source) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]:
    """Groups; of the samples with probabilities, the group (m,) and these (m×G); and a note of how they were held out.

    DataError where none were.
    """
    run, fitted = source.run, source.run.fitted
    posterior = fitted.held_out if isinstance(fitted, Discriminating) else None
    if posterior is None or not isinstance(fitted, Discriminating):
        raise DataError(f"{run.place} has no held-out samples: it was fitted with --folds 0, or cut short.")
    folds = str(run.settings["folds"])
    how = "one by one" if folds == "loo" else f"in {folds} folds"
    known = ~posterior.isnan().any(1)
    note = f"Samples were held out {how}, and classified by fits to the others."
    return fitted.groups, fitted.group_of[known].numpy(), posterior[known].numpy(), (note,)


def confusion(source: Source, _: Wanted) -> Confusions:
    """Groups of held-out samples, and those predicted."""
    groups, truth, posterior, notes = _held_out(source)
    number = len(groups)
    counts = np.bincount(number * truth + posterior.argmax(1), minlength=number**2).reshape(number, number)
    return Confusions((Table(group_column_of(source.run), groups, counts.astype(float)),), None, notes)


def roc(source: Source, _: Wanted) -> Curves:
    """A curve for each group, by its probability; with two groups, that of the second."""
    groups, truth, posterior, notes = _held_out(source)
    w = np.ones(len(truth))
    chosen = range(len(groups)) if len(groups) > 2 else [1]
    return Curves(tuple(curve(groups[g], (truth == g).astype(float), posterior[:, g], w) for g in chosen), notes)
