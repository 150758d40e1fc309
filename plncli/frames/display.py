"""How results show themselves: `repr` is one line, `print` what the command prints, a notebook a table in HTML.

The HTML sets no colours, so that it suits pages that are light and dark; names in it are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from plncli.errors import one_line
from plncli.layout import Grid, Sheet

QUIET = "opacity: 0.7; font-size: smaller; margin: 0"
NAME, NUMBER = "text-align: left", "text-align: right; font-variant-numeric: tabular-nums"
FACT = "text-align: left; font-weight: normal; vertical-align: top; opacity: 0.7"
SHORT = 80
"""Signs of a caption that stand on one line, however narrow its table is."""


class Shown:
    """What shows itself in these ways; a subclass says what there is to tell."""

    def _line(self) -> str:
        """What matters most, in a line."""
        raise NotImplementedError

    def _sheet(self) -> Sheet:
        """What there is to tell."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """In a line."""
        return one_line(f"{type(self).__name__}({self._line()})")

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return html(self._sheet())


def html(sheet: Sheet, notes: Sequence[str] = ()) -> str:
    """A sheet as HTML, and notes in grey below it."""
    return "\n".join(("<div>", *_parts(sheet, notes), "</div>"))


def _parts(sheet: Sheet, notes: Sequence[str]) -> Iterator[Markup]:
    if sheet.title:
        yield Markup("<p><strong>{}</strong></p>").format(sheet.title)
    if sheet.facts:
        row = Markup('<tr><th scope="row" style="{}">{}</th><td style="{}">{}</td></tr>')
        facts = (row.format(FACT, label, NAME, text) for label, text in sheet.facts)
        yield Markup("<table><tbody>{}</tbody></table>").format(Markup("").join(facts))
    if sheet.checks:
        row = Markup('<tr><td style="{}">{} {}</td></tr>')
        checks = Markup("").join(row.format(NAME, check.mark, check.line) for check in sheet.checks)
        yield Markup("<table>{}<tbody>{}</tbody></table>").format(_caption("Checks"), checks)
    for grid in sheet.tables:
        yield _table(grid)
    for note in notes:
        yield Markup('<p style="{}">note: {}</p>').format(QUIET, note)


def _table(grid: Grid) -> Markup:
    head, body = ([], grid.rows) if grid.headless else ([grid.rows[0]], grid.rows[1:])
    heads = Markup("").join(_row(row, grid.left, 'th scope="col"') for row in head)
    rows = Markup("").join(_row(row, grid.left, "td") for row in body)
    form = Markup("<table>{}<thead>{}</thead><tbody>{}</tbody></table>")
    return form.format(_caption(grid.caption), heads, rows)


def _caption(text: str) -> Markup:
    wrap = "nowrap" if len(text) < SHORT else "normal"
    return Markup('<caption style="caption-side: top; white-space: {}; {}">{}</caption>').format(wrap, NAME, text)


def _row(cells: Sequence[str], left: int, tag: str) -> Markup:
    cell = Markup(f'<{tag} style="{{}}">{{}}</{tag.partition(" ")[0]}>')
    made = (cell.format(NAME if k < left else NUMBER, text) for k, text in enumerate(cells))
    return Markup("<tr>{}</tr>").format(Markup("").join(made))
