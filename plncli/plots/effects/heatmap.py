"""Effects of every term on many responses: a heatmap with stars, responses that change alike side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from plncli.errors import DataError, counted, nearest, number, short, some
from plncli.inputs.layout.lineages import ranks
from plncli.plots import style
from plncli.plots.clusters import cluster
from plncli.plots.effects.estimates import Effect, effects, first, places, scale
from plncli.plots.source import Source, Wanted, response_index
from plncli.runs.run import Run
from plncli.runs.scales import Scale

TOP = 50
MOST = 24
"""Columns unless some are named."""
UNNAMED = "unnamed"
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
COLUMN, ROW, TREE = 7.0, 3.2, 10.0
"""Width and height of a cell, and width of the tree, in mm."""
BLOCK, BETWEEN = 20.0, 2.0
"""Width in mm of the columns of a term at least, for the sake of its colour bar, and what is between terms."""


class Block(NamedTuple):
    """The columns of a term of the formula, which share their colours: values m×k (nan: none, or ±inf), q-values m×k.

    limit: the size of the largest value that has a colour of its own.
    """

    term: str
    columns: tuple[str, ...]
    values: np.ndarray
    q_value: np.ndarray
    limit: float


@dataclass(frozen=True)
class Effects:
    """m responses in the order in which they are drawn, by term; tree: m×4×2 (see `clusters.Tree`).

    tests: whether there are q-values. groups: (m,) the taxon of each response, of a rank, where they are grouped so.
    """

    responses: tuple[str, ...] = field(repr=False)
    blocks: tuple[Block, ...] = field(repr=False)
    scale: Scale
    noun: str
    tests: bool
    tree: np.ndarray = field(repr=False)
    groups: tuple[str, ...] = field(repr=False, default=())
    notes: tuple[str, ...] = ()


def content(source: Source, wanted: Wanted) -> Effects:
    """The responses with the smallest q-values (without these: the largest estimates), clustered by their estimates.

    DataError where there would be a single row: its cells, each term on a scale of its own, have nothing beside them.
    """
    run = source.run
    found, notes = first(effects(run, wanted), wanted, MOST)
    chosen, more = _chosen(run, found, wanted)
    if len(chosen) == 1:
        only = f"{counted(1, run.spec.noun)}, and this compares the effects on several"
        raise DataError(f"There is {only}. Draw coefficients instead.")
    blocks = [_block(term, list(each), chosen) for term, each in groupby(found, key=lambda effect: effect.term)]
    shares = np.hstack([np.nan_to_num(np.clip(b.values / b.limit, -1.0, 1.0)) for b in blocks])
    tree = cluster(np.sqrt(((shares[:, None] - shares[None]) ** 2).sum(2)))
    order, lines = list(tree.order), tree.lines
    groups: tuple[str, ...] = ()
    if wanted.group_by:
        taxa = _taxa(run, wanted.group_by)
        order.sort(key=lambda i: (taxa[chosen[i]] == UNNAMED, taxa[chosen[i]]))  # and by the tree within each
        groups, lines = tuple(taxa[chosen[i]] for i in order), tree.lines[:0]
    ordered = tuple(b._replace(values=b.values[order], q_value=b.q_value[order]) for b in blocks)
    names = tuple(run.responses[chosen[i]] for i in order)
    return Effects(
        names, ordered, scale(run, wanted), run.spec.noun, bool(run.inference), lines, groups, (*notes, *more)
    )


def _chosen(run: Run, found: list[Effect], wanted: Wanted) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the responses that are drawn, and a note of how they were chosen."""
    if wanted.responses:
        return list(dict.fromkeys(response_index(run, name) for name in wanted.responses)), ()
    p, top = len(run.responses), TOP if wanted.top is None else wanted.top
    if p <= top:
        return list(range(p)), ()
    estimates = np.abs([np.where(np.isfinite(effect.estimate), effect.estimate, 0.0) for effect in found])
    size = (estimates / np.maximum(np.median(estimates, 1, keepdims=True), 1e-300)).max(0)
    q = np.array([np.where(np.isnan(effect.q_value), 1.0, effect.q_value) for effect in found]).min(0)
    chosen = np.sort(np.lexsort((-size, q))[:top]).tolist()
    how = "smallest q-values" if run.inference else "largest estimates"
    return chosen, (f"The {top} of {counted(p, run.spec.noun)} with the {how}.",)


def _taxa(run: Run, rank: str) -> tuple[str, ...]:
    """The taxon of each response. DataError where the ranks of the fit's features have no such one."""
    known = ranks(run.features)
    if rank not in known:
        have = f"it has {some(known)}" if known else "its table of counts says nothing of taxa"
        raise DataError(f"{run.place} does not know the {rank} of its features: {have}.{nearest(rank, list(known))}")
    return tuple(taxon or UNNAMED for taxon in known[rank])


def _block(term: str, found: list[Effect], chosen: list[int]) -> Block:
    values = np.array([effect.estimate[chosen] for effect in found]).T
    q = np.array([effect.q_value[chosen] for effect in found]).T
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(finite, 0.98)) if len(finite) else 0.0
    return Block(
        term, tuple(effect.name for effect in found), values, q, limit or float(finite.max(initial=0.0)) or 1.0
    )


# Drawing


def draw(record: Effects, width: float) -> Figure:
    """A heatmap a term, each with colours of its own, the tree of the responses at the left."""
    m, names = len(record.responses), [short(name, 28) for name in record.responses]
    figure = style.blank(width, width)
    figure.set_layout_engine("none")
    height = min(max(ROW * m, 8.0), 230.0)
    size, step = style.thinned(m, height)
    beside = style.longest(figure, names, size) + 2.5
    taxa = [short(taxon, 24) for taxon in dict.fromkeys(record.groups)]
    tree = TREE if len(record.tree) else style.longest(figure, taxa, style.TEXT) + 4.0 if taxa else 1.0
    widths = _widths(record, width - tree - beside - 3.0)
    heads = [[short(_head(name, block.term), 22) for name in block.columns] for block in record.blocks]
    above = 3.0 + style.longest(figure, [head for each in heads for head in each], style.TEXT)
    notes = [*record.notes, *_legend(record, m, step)]
    figure.set_figwidth(min(width, max(tree + sum(widths) + BETWEEN * len(widths) + beside + 3.0, 70.0)) * style.MM)
    figure.set_figheight((above + height + 18.0 + 3.5 * len(notes)) * style.MM)
    if len(record.tree):
        _tree(style.place(figure, 1.0, above, tree - 1.5, height), record)
    if record.groups:
        _brackets(style.place(figure, 1.0, above, tree - 2.0, height), record, height)
    left = tree
    for block, head, wide in zip(record.blocks, heads, widths, strict=True):
        axes = style.place(figure, left, above, wide, height)
        _heatmap(axes, block, record.scale, head, size if step == 1 else 0.0)
        bar = style.place(figure, left + 1.0, above + height + 3.0, min(wide - 2.0, 40.0), 2.2)
        _bar(figure, axes, bar, record.scale, block)
        left += wide + BETWEEN
    told = range(0, m, step)
    axes.yaxis.tick_right()
    axes.set_yticks(told, [names[i] for i in told], fontsize=size)
    axes.tick_params(axis="y", length=0.0, pad=1.5)
    style.footnote(figure, notes)
    return figure


def _widths(record: Effects, room: float) -> list[float]:
    """Widths of the heatmaps in mm: of COLUMN a column, but for the bars, and less where there is no room."""
    wanted = [max(COLUMN * len(block.columns), BLOCK) for block in record.blocks]
    share = min(1.0, (room - BETWEEN * len(wanted)) / sum(wanted))
    return [share * each for each in wanted]


def _head(name: str, term: str) -> str:
    """A column below the name of its term: the level alone."""
    return name.removeprefix(term) if name != term and name.startswith(f"{term}[") else name


def _legend(record: Effects, m: int, step: int) -> Iterator[str]:
    """What signs and greys mean, of those that occur."""
    of_each = ", on a scale of its own for each term" if len(record.blocks) > 1 else ""
    yield f"Colours: {record.scale.title}{of_each}."
    if step > 1:
        yield f"{-(-m // step)} of {m} names: one in {step}. There is no room for stars."
        return
    stars = any((block.q_value < STARS[-1][0]).any() for block in record.blocks)
    if stars:
        yield "q-values: * < 0.05, ** < 0.01, *** < 0.001."
    if any(np.isinf(block.values).any() for block in record.blocks):
        yield "▲ and ▼: +∞ and −∞, such as of features never counted in a group."
    if any(np.isnan(block.values).any() for block in record.blocks):
        yield "Grey: not estimable."


def _heatmap(axes: Axes, block: Block, scale: Scale, head: list[str], size: float) -> None:
    """The columns of a term, with signs of a size in points; without them, where there is no room for rows."""
    values = places(scale, block.values)
    limit = float(places(scale, block.limit))
    colours = colormaps[style.DIVERGING].with_extremes(bad=to_rgba(style.PALE))
    axes.imshow(
        np.clip(values, -9e99, 9e99), cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="none"
    )
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(head)), head, rotation=90, fontsize=style.TEXT)
    axes.tick_params(axis="x", length=0.0, pad=2.0)
    for (i, k), value in np.ndenumerate(values) if size else ():
        sign = ("▲" if value > 0 else "▼") if np.isinf(value) else _stars(float(block.q_value[i, k]))
        if sign:
            colour = "white" if abs(value) > 0.65 * limit else "black"
            axes.text(k, i, sign, ha="center", va="center_baseline", fontsize=min(size, 5.5), color=colour)


def _stars(q: float) -> str:
    return next((stars for level, stars in STARS if q < level), "")


def _bar(figure: Figure, axes: Axes, place: Axes, scale: Scale, block: Block) -> None:
    """The colour bar of a term."""
    finite = block.values[np.isfinite(block.values)]
    beyond = (finite < -block.limit).any(), (finite > block.limit).any()
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
    bar = figure.colorbar(axes.images[0], cax=place, orientation="horizontal", extend=extend)
    bar.outline.set_visible(False)
    place.set_xlabel(short(block.term, 16), fontsize=5.5)
    ends = np.array([-block.limit, 0.0, block.limit])
    labels = [number(value, 2) for value in scale.of(ends).tolist()]
    room = place.get_position().width * figure.get_figwidth() / style.MM / 1.3  # in signs
    if sum(map(len, labels)) > room:
        labels[1] = ""
    if len(labels[0]) + len(labels[2]) > room:
        labels[0] = ""
    bar.set_ticks(places(scale, ends).tolist(), labels=labels, fontsize=5.5)
    sides: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
    for label, side in zip(place.get_xticklabels(), sides, strict=True):
        label.set_horizontalalignment(side)


def _tree(axes: Axes, record: Effects) -> None:
    """The dendrogram, its leaves at the right."""
    axes.add_collection(LineCollection(list(record.tree[..., ::-1]), colors=style.GREY, linewidths=0.5))
    axes.set(ylim=(len(record.responses) - 0.5, -0.5), xlim=(1.02 * float(record.tree[..., 1].max()), 0.0))
    axes.set_axis_off()


def _brackets(axes: Axes, record: Effects, height: float) -> None:
    """A line along the rows of each taxon, and its name, where it has room."""
    places = np.array(record.groups)
    axes.set(ylim=(len(places) - 0.5, -0.5), xlim=(0.0, 1.0))
    axes.set_axis_off()
    free = -np.inf
    for taxon in dict.fromkeys(record.groups):
        rows = np.flatnonzero(places == taxon)
        axes.plot([0.99, 0.99], [rows[0] - 0.35, rows[-1] + 0.35], color=style.GREY, linewidth=0.8, clip_on=False)
        middle = 0.5 * (rows[0] + rows[-1])
        if (middle - free) * height / len(places) >= 2.4:  # of a name, in mm
            axes.text(0.95, middle, short(taxon, 24), ha="right", va="center", fontsize=style.TEXT)
            free = middle


def describe(record: Effects) -> str:
    """How many effects are clear, and the largest of each term."""
    told = []
    for block in record.blocks:
        finite = np.where(np.isfinite(block.values), np.abs(block.values), -1.0)
        i, k = np.unravel_index(finite.argmax(), finite.shape)
        size = number(float(record.scale.of(block.values[i, k])), 3)
        clear = f"{int((block.q_value < STARS[-1][0]).sum())} of {block.values.size} with q < 0.05, " * record.tests
        told.append(f"{block.term}: {clear}the largest {size} ({record.responses[i]}, {block.columns[k]})")
    return f"Heatmap of effects on {counted(len(record.responses), record.noun)}. {'; '.join(told)}."
