"""What a click on a feature shows: its values, and the means that the fit expects, as numbers that the page draws."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from plncli.errors import PlncliError
from plncli.plots.effects import feature
from plncli.plots.source import Source, Wanted

CELLS = 150_000
"""Values that a page carries, one byte each: of more, those of the features with the smallest p-values."""
POINTS = 13
"""Values of a number at which the page knows the means."""
DEPTHS = 254
"""The largest value as a byte; one more stands for a missing one."""


def features(source: Source) -> dict[str, Any] | None:
    """Values and means by response, against the covariate that `plncli plot RUN feature` takes; None without tables.

    values: a byte a sample, shares of `top`, the largest (of log(1 + count), for counts); x: of the samples, codes of
    `levels` or numbers; at, means, low and high: along the covariate.
    """
    try:
        names = _shown(source)
        record = feature.content(source, Wanted(responses=names))
    except PlncliError:
        return None
    by = record.by
    n = len(record.panels[0].values)
    kept = np.unique(np.linspace(0, len(record.at) - 1, POINTS).astype(int))
    kept = kept if by is not None and not by.levels else np.arange(len(record.at))
    return {
        "names": list(names),
        "by": by.name if by is not None else "",
        "levels": list(by.levels) if by is not None and by.levels else [] if by is not None else ["all samples"],
        "x": [
            None if value != value else _plain(value) for value in (by.values.tolist() if by is not None else [0] * n)
        ],
        "at": [_plain(value) for value in record.at[kept].tolist()],
        "counts": record.counts,
        "unit": record.unit,
        "level": record.level,
        "notes": [note for note in record.notes if note.startswith("Fitted means")],
        "panels": [_panel(panel, kept, record.counts) for panel in record.panels],
    }


def _shown(source: Source) -> tuple[str, ...]:
    """The names of the responses that have room, in the order of the fit."""
    run = source.run
    most = max(1, CELLS // max(source.data.n, 1))
    if len(run.responses) <= most:
        return run.responses
    return tuple(run.responses[j] for j in sorted(feature.clearest(run, most)))


def _panel(panel: feature.Panel, kept: np.ndarray, counts: bool) -> dict[str, Any]:
    values = np.log1p(panel.values) if counts else panel.values
    low, top = (float(f(values, initial=0.0)) for f in (np.nanmin, np.nanmax))
    shares = np.rint(DEPTHS * (values - low) / ((top - low) or 1.0))
    made: dict[str, Any] = {
        "low": _plain(low),
        "top": _plain(top),
        "values": base64.b64encode(np.where(np.isnan(shares), DEPTHS + 1, shares).astype(np.uint8).tobytes()).decode(),
    }
    if panel.expected is not None:
        made["means"] = [
            [_plain(value) if np.isfinite(value) else None for value in part[kept, 0].tolist()]
            for part in panel.expected
        ]
    return made


def _plain(value: float) -> float:
    """Five digits that matter."""
    return float(f"{value:.5g}")
