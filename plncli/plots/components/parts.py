"""How much features, or samples, contribute to components, and how much of them these represent (cos²)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from plncli.errors import UsageError, counted, short, some
from plncli.names import OF
from plncli.plots import style
from plncli.plots.components.bars import ROW, bars
from plncli.plots.components.ordination import chosen_axes, components, ratio
from plncli.plots.source import Source, Wanted

TOP, MOST = 20, 150
"""Bars that are drawn: usually, and at most."""
AXES = 2


@dataclass(frozen=True)
class Parts:
    """What m features or samples contribute to r components, in %, or cos² of them; and those drawn.

    values: m×r; parts: m×a, what each of the a axes drawn adds to the joint value; average: what each would
    contribute if all did alike, None of cos².
    """

    of: str
    rows: tuple[str, ...] = field(repr=False)
    components: tuple[str, ...]
    values: np.ndarray = field(repr=False)
    axes: tuple[int, ...]
    parts: np.ndarray = field(repr=False)
    average: float | None = None
    top: int = TOP
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the components drawn."""
        return tuple(self.components[k] for k in self.axes)

    @property
    def joint(self) -> np.ndarray:
        """Of the components drawn together, (m,)."""
        return self.parts.sum(1)

    @property
    def noun(self) -> str:
        """What a row is."""
        return self.of.removesuffix("s")

    @property
    def order(self) -> np.ndarray:
        """Rows from the largest joint value."""
        return np.argsort(-self.joint, kind="stable")


def contributions(source: Source, wanted: Wanted) -> Parts:
    """Of axis k, g_jk² / sum_i g_ik² (in %); of several axes together, sum_k g_jk² / sum_ik g_ik².

    g: loadings of features; of samples, their positions, each square times the weight of the sample.
    """
    G, rows, axes = _coordinates(source, wanted)
    G = G * np.sqrt(_weights(source))[:, None] if wanted.of == "samples" else G
    squares = 100.0 * G**2
    sums = (G**2).sum(0)
    parts = ratio(squares[:, list(axes)], sums[list(axes)].sum())
    return _made(source, wanted, rows, axes, ratio(squares, sums), parts, 100.0 / len(rows))


def cos2(source: Source, wanted: Wanted) -> Parts:
    """g_jk² / sum_l g_jl²: of a feature, its squared correlation with component k; see `contributions`."""
    G, rows, axes = _coordinates(source, wanted)
    values = ratio(G**2, (G**2).sum(1, keepdims=True))
    return _made(source, wanted, rows, axes, values, values[:, list(axes)], None)


def _coordinates(source: Source, wanted: Wanted) -> tuple[np.ndarray, tuple[str, ...], tuple[int, ...]]:
    """On all components, of features or of samples; their names; and the axes drawn."""
    if wanted.of not in OF:
        raise UsageError(f"--of must be {' or '.join(OF)}, not `{wanted.of}`.")
    made = components(source)
    r = made.loadings.shape[1]
    axes = chosen_axes(source, r, wanted.axes, AXES, 1, len(style.SERIES))
    if wanted.of == "samples":
        return made.scores * np.sqrt((made.loadings**2).sum(0)), made.samples, axes
    return made.loadings, made.features, axes


def _weights(source: Source) -> np.ndarray:
    """Of the samples, read again where the fit had any."""
    n = len(source.run.estimates["U"])
    return source.data.w.double().numpy() if source.run.settings.get("weights") else np.ones(n)


def _made(
    source: Source,
    wanted: Wanted,
    rows: tuple[str, ...],
    axes: tuple[int, ...],
    values: np.ndarray,
    parts: np.ndarray,
    average: float | None,
) -> Parts:
    top = min(TOP if wanted.top is None else wanted.top, MOST)
    return Parts(wanted.of, rows, source.run.components, values, axes, parts, average, top)


# Drawing


def draw(record: Parts, width: float) -> Figure:
    """Bars of the largest values, one part a component."""
    order = record.order[: record.top]
    figure = style.blank(width, ROW * len(order) + 24.0)
    axes = figure.subplots()
    colours = style.SERIES[: len(record.axes)]
    drawn = list(zip(record.parts[order].T, colours, strict=True))
    bars(axes, [short(record.rows[j], 24) for j in order], drawn)
    keys: list[Any] = [Patch(color=colour, label=name) for name, colour in zip(record.names, colours, strict=True)]
    if record.average is None:
        axes.set(xlim=(0.0, 1.0), xlabel=f"cos² of {record.of}")
    else:
        line = axes.axvline(record.average, color=style.GREY, linestyle="--", linewidth=0.8)
        line.set_label(f"if all contributed alike ({record.average:.2g} %)")
        keys.append(line)
        axes.set(xlim=(0.0, None), xlabel=f"contribution of {record.of} (%)")
    figure.legend(handles=keys, loc="outside upper left", ncols=4, columnspacing=1.0, handlelength=1.2)
    if len(order) < len(record.rows):
        style.footnote(
            figure, (*record.notes, f"The {len(order)} largest of {counted(len(record.rows), record.noun)}.")
        )
    return figure


def describe(record: Parts) -> str:
    """The largest values."""
    what = "cos²" if record.average is None else "Contributions"
    unit = "" if record.average is None else " %"
    told = (f"{record.rows[j]} ({record.joint[j]:.2g}{unit})" for j in record.order[:5])
    rows = f"{counted(len(record.rows), record.noun)}, {' and '.join(record.names)}"
    return f"{what} of {rows}: the largest are {some(told)}."


def table(record: Parts) -> dict[str, Any]:
    """Of all rows, by component; and of those drawn together, if they are several."""
    columns = dict(zip(record.components, record.values.T, strict=True))
    together = {"+".join(record.names): record.joint} if len(record.axes) > 1 else {}
    return {record.noun: list(record.rows), **columns, **together}
