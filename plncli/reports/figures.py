"""Pictures of a fit for a page: each as PNG with a caption, an alternative text, and the values that hovering tells."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from plncli.errors import PlncliError
from plncli.plots import draw, kinds, loss, mean_of, style
from plncli.plots.effects.coefficients import told
from plncli.plots.kind import Kind
from plncli.plots.source import Source, Wanted

DPI = 200.0
HOVERED = 1000
"""Features up to which a page carries the values of a matrix."""
COLOURS = 256


def pictures(source: Source, with_data: bool, scale: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The pictures that apply to a fit, and sentences about those that cannot be drawn.

    with_data: those of its tables too, and samples in the colours of a factor; scale: of coefficients.
    Each picture: kind, title, png (bytes),
    width and height in pixels, alt, caption, notes, marks (see `_marks`) and grid (see `_grid`), None for none.
    """
    drawn, left_out = [], []
    alone = len(source.run.responses) == 1
    for name, kind in kinds(source.run.model, mean_of(source.run)).items():
        if not kind.caption or (kind.data and not with_data) or (kind.several and alone):
            continue
        if not kind.applies(source.run):
            continue
        try:
            record = kind.content(source, Wanted(scale=scale))
        except PlncliError as error:
            left_out.append(f"{kind.title}: not drawn. {error}")
            continue
        drawn.append(_picture(name, kind, record))
    return drawn, left_out


def _picture(name: str, kind: Kind, record: Any) -> dict[str, Any]:
    figure = draw(kind, record)
    png, width, height = _indexed(*style.pixels(figure, DPI))
    return {
        "kind": name,
        "title": kind.title,
        "png": png,
        "width": width,
        "height": height,
        "alt": kind.describe(record),
        "caption": kind.caption,
        "notes": list(record.notes),
        "marks": _marks(record, figure) if name == "coefficients" else None,
        "grid": _grid(record, figure)
        if name in ("correlation", "adjacency") and len(record.names) <= HOVERED
        else None,
    }


def _indexed(pixels: bytes, width: int, height: int) -> tuple[bytes, int, int]:
    """A picture as PNG of COLOURS colours, a third as large, and no different to the eye; its width and height."""
    sink = io.BytesIO()
    image = Image.frombytes("RGBA", (width, height), pixels)
    ground = Image.new("RGBA", image.size, "white")  # the last pixels of an edge may be transparent
    flat = Image.alpha_composite(ground, image).convert("RGB")
    made = flat.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    made.save(sink, "png", optimize=True)
    return sink.getvalue(), width, height


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def trace(source: Source) -> list[tuple[int, float]]:
    """Steps of a fit and the gap after each, where it is known and above 0; nothing where there is no trace."""
    try:
        (found,) = loss.content(source, Wanted()).traces
    except PlncliError:
        return []
    known = ~np.isnan(found.gap)
    return list(zip(found.steps[known].astype(int).tolist(), found.gap[known].tolist(), strict=True))


# What hovering tells


def _marks(record: Any, figure: Figure) -> list[list[Any]]:
    """Of each row of a forest: its height in the picture from the top, as a share; what is said of it; its response."""
    rows = iter(record.rows)
    marks = []
    for axes in figure.axes:
        texts = {label.get_position()[1]: label for label in axes.get_yticklabels()}
        for place in sorted(texts, reverse=True):
            if texts[place].get_fontweight() != "bold":
                row = next(rows)
                y = figure.transFigure.inverted().transform(axes.transData.transform((0.0, place)))[1]
                marks.append([round(1.0 - float(y), 5), told(row, record.level, record.scale), row.response])
    return marks


def _grid(record: Any, figure: Figure) -> dict[str, Any]:
    """Of a matrix: its box in the picture, as shares from the upper left; its names; hundredths as signed bytes.

    The values are those of the lower triangle row by row, −128 for none.
    """
    box = figure.axes[0].get_position()
    values = record.values[np.tril_indices(len(record.names))]
    bytes_ = np.where(np.isnan(values), -128, np.rint(100.0 * values)).astype(np.int8).tobytes()
    return {
        "box": [round(float(side), 5) for side in (box.x0, 1.0 - box.y1, box.x1, 1.0 - box.y0)],
        "names": list(record.names),
        "values": base64.b64encode(bytes_).decode(),
    }
