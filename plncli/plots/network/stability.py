"""How often edges are found again in subsamples: along a path, and of the fit that was chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plncli.errors import DataError, counted, short
from plncli.models.abilities import Subsampled
from plncli.models.links import PairFrequencies
from plncli.plots import style
from plncli.plots.network.drawing import SIGNS
from plncli.plots.path import along
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.network.links import links

NAMED = 30
"""Pairs with a row unless another number is asked for."""
MOST = 2000
"""Pairs that are no edges beyond which only the most frequent are drawn: more cannot be told apart."""
HALF = 0.5
"""Frequency below which an edge is hardly more than a guess."""
ROW = 3.1
"""Height of a row, in mm."""
LETTERS = 20


@dataclass(frozen=True)
class Frequencies:
    """Of m pairs that were linked in a subsample or are edges, the most frequent first.

    first, second: their names, (m,); partial: partial correlations in the fit, 0 where there is no edge; frequency: at
    its value of the setting, (m,). values: of the path (v,), and along: frequencies there, v×m; both empty without one.
    chosen: the place of the fit among them; top: pairs that have a row.
    """

    first: tuple[str, ...] = field(repr=False)
    second: tuple[str, ...] = field(repr=False)
    partial: np.ndarray = field(repr=False)
    frequency: np.ndarray = field(repr=False)
    setting: str
    values: np.ndarray
    along: np.ndarray = field(repr=False)
    chosen: int
    top: int = NAMED
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Frequencies:
    """Of all pairs, or those about features that are named. DataError without subsamples, or where there is no pair."""
    run, fitted, names = source.run, source.run.fitted, source.run.responses
    known = fitted.pair_frequencies if isinstance(fitted, Subsampled) else None
    if known is None:
        raise DataError(
            f"How often edges of {run.place} are found again is not known: fit with --subsamples 20, or with "
            "--select stars, which tells it of the whole path."
        )
    setting = next(own.name for own in run.spec.settings if own.several)
    values, edges, p = known.values.numpy(), links(run), len(names)
    assert edges is not None
    chosen = int(np.abs(values - float(run.settings[setting])).argmin())
    found, own = ((ends[0] * p + ends[1]) for ends in (_ends(known), (edges.first, edges.second)))
    keys = np.union1d(found, own)
    courses, partial = np.zeros((len(values), len(keys))), np.zeros(len(keys))
    courses[:, np.searchsorted(keys, found)] = known.shares.numpy()
    partial[np.searchsorted(keys, own)] = edges.partial
    kept = np.arange(len(keys))
    if wanted.responses:
        near = [response_index(run, name) for name in wanted.responses]
        kept = np.flatnonzero(np.isin(keys // p, near) | np.isin(keys % p, near))
    if not len(kept):
        raise DataError(f"No pair of features of {run.place} that is asked for was ever linked, in no subsample.")
    order = kept[np.lexsort((-np.abs(partial[kept]), -courses[chosen, kept]))]
    first, second = (tuple(names[j] for j in ends[order].tolist()) for ends in (keys // p, keys % p))
    single = len(values) < 2
    return Frequencies(
        first,
        second,
        partial[order],
        courses[chosen, order],
        setting,
        values[:0] if single else values,
        courses[:, order][: 0 if single else None],
        chosen,
        NAMED if wanted.top is None else wanted.top,
    )


def _ends(known: PairFrequencies) -> tuple[np.ndarray, np.ndarray]:
    return known.first.numpy(), known.second.numpy()


def draw(record: Frequencies, width: float) -> Figure:
    """Lines along the path, where there is one, and rows of the most frequent pairs, in the colours of edges."""
    rows, whole = min(record.top, len(record.frequency)), bool(len(record.values))
    notes = list(record.notes)
    if rows < len(record.frequency):
        notes.append(f"{rows} of {len(record.frequency)} pairs have a row, the most frequent; --top N names more.")
    across = whole and width >= style.NARROW
    high = max(ROW * rows + 8.0, 62.0 if across else 0.0)
    figure = style.blank(width, high + (62.0 if whole and not across else 0.0) + 16.0 + 4.0 * len(notes))
    if not whole:
        axes, left = figure.subplots(), None
    elif across:
        left, axes = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    else:
        left, axes = figure.subplots(2, 1, height_ratios=(62.0, high))
    if left is not None:
        notes += _lines(left, record)
    _rows(axes, record, rows)
    figure.legend(handles=_keys(record), loc="outside upper left", ncols=3)
    style.footnote(figure, notes)
    return figure


def _lines(axes: Axes, record: Frequencies) -> list[str]:
    """Frequencies along the path, edges above the other pairs; and what is left out."""
    others, notes = np.flatnonzero(record.partial == 0), []
    if len(others) > MOST:
        notes = [f"Grey lines: the {MOST} most frequent of {len(others)} pairs."]
        others = others[np.argsort(-record.along[:, others].max(0), kind="stable")[:MOST]]
    groups = [(others, style.PALE, "-", 0.5)]
    groups += [(np.flatnonzero(np.sign(record.partial) == sign), colour, line, 0.8) for sign, _, colour, line in SIGNS]
    for place, (own, colour, line, wide) in enumerate(groups):
        courses = np.stack([np.broadcast_to(record.values, (len(own), len(record.values))), record.along[:, own].T], 2)
        look: dict[str, Any] = {"colors": colour, "linestyles": [line], "linewidths": wide, "zorder": 1 + place}
        axes.add_collection(LineCollection(list(courses), alpha=0.5 if place == 0 else 0.8, **look))
    axes.axhline(HALF, color=style.GREY, linewidth=0.6, linestyle=":")
    axes.axvline(record.values[record.chosen], color=style.GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set(ylim=(-0.02, 1.04), ylabel="frequency in subsamples")
    axes.set_xlim(record.values.min(), record.values.max())
    along(axes, record.setting, record.values)
    return notes


def _rows(axes: Axes, record: Frequencies, rows: int) -> None:
    """The most frequent pairs by name."""
    for sign, colour in ((0, style.PALE), *((sign, colour) for sign, _, colour, _ in SIGNS)):
        own = np.flatnonzero(np.sign(record.partial[:rows]) == sign)
        if not len(own):
            continue
        axes.hlines(own, 0.0, record.frequency[own], color=colour, linewidth=0.8)
        face = "white" if sign == 0 else colour
        axes.plot(record.frequency[own], own, "o", ms=3.0, markerfacecolor=face, markeredgecolor=colour, clip_on=False)
    pairs = zip(record.first[:rows], record.second[:rows], strict=True)
    names = [f"{short(a, LETTERS)} – {short(b, LETTERS)}" for a, b in pairs]
    axes.set_yticks(range(rows), names, fontsize=min(style.TEXT, 0.8 * ROW * style.POINTS))
    axes.axvline(HALF, color=style.GREY, linewidth=0.6, linestyle=":", zorder=0)
    axes.set(ylim=(rows - 0.4, -0.6), xlim=(0.0, 1.02))
    axes.set_xlabel(f"frequency at the chosen {record.setting}" if len(record.values) else "frequency in subsamples")


def _keys(record: Frequencies) -> list[Line2D]:
    """What colours stand for."""
    signs = np.sign(record.partial)
    known = [(f"edge, {name}", colour, line) for sign, name, colour, line in SIGNS if (signs == sign).any()]
    known += [("no edge of the fit", style.PALE, "-")] if (signs == 0).any() else []
    return [Line2D([], [], color=colour, linestyle=line, label=name) for name, colour, line in known]


def describe(record: Frequencies) -> str:
    """How many edges are stable, and which are least and most."""
    edges = np.flatnonzero(record.partial != 0)
    missed = int((record.frequency[record.partial == 0] > HALF).sum())
    others = f"{counted(missed, 'pair')} without an edge {'is' if missed == 1 else 'are'} linked in more than half"
    if not len(edges):
        return f"No edge; {others} of the subsamples."
    stable = int((record.frequency[edges] > HALF).sum())
    most, least = edges[0], edges[-1]
    return (
        f"{stable} of {counted(len(edges), 'edge')} are found in more than half of the subsamples, from "
        f"{record.frequency[least]:.2f} ({record.first[least]} and {record.second[least]}) to "
        f"{record.frequency[most]:.2f} ({record.first[most]} and {record.second[most]}); {others}."
    )


def table(record: Frequencies) -> dict[str, Any]:
    """A row a pair, or a row a pair and value of the path."""
    times = max(len(record.values), 1)

    def repeated(column: Any) -> Any:
        return (
            np.repeat(column, times)
            if isinstance(column, np.ndarray)
            else [one for one in column for _ in range(times)]
        )

    made = {"feature_a": repeated(record.first), "feature_b": repeated(record.second)}
    made["partial_correlation"] = repeated(record.partial)
    if len(record.values):
        made[record.setting] = np.tile(record.values, len(record.partial))
    made["frequency"] = record.along.T.reshape(-1) if len(record.values) else record.frequency
    return made
