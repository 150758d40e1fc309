"""The page about fits: `plncli report` without files, and shown in a notebook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from plncli.frames.display import Shown
from plncli.frames.messages import THIS, Sayings, speaking
from plncli.runs.run import Run
from plncli.tables.atomic import whole_file
from plncli.tables.target import check_file

if TYPE_CHECKING:
    from plncli.plots.source import Source

HEIGHT = 720
"""Of the page within a notebook, in pixels."""


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """A page about fits. html: all of it, which needs no network; title: what it is called."""

    title: str
    html: str = field(compare=False)

    @speaking
    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the page to a file, .html. UsageError for one that is there, without overwrite."""
        check_file(Path(path), overwrite, formats=("html",))
        whole_file(Path(path), self.html.encode())

    def _line(self) -> str:
        return f"{self.title}, {len(self.html.encode()) / 1e6:.1f} MB of HTML"

    def _repr_html_(self) -> str:
        """The page in a frame of its own: nothing of it touches the notebook."""
        frame = '<iframe title="{}" srcdoc="{}" sandbox="allow-scripts allow-downloads" style="{}"></iframe>'
        return str(Markup(frame).format(self.title, self.html, f"width: 100%; height: {HEIGHT}px; border: 0"))


def reported(sources: Sequence[Source], say: Sayings, diagnose: bool, scale: str) -> Report:
    """The page of fits."""
    from plncli.reports import verb

    content, html = verb.page_of(sources, diagnose, scale)
    say.notes += verb.not_drawn(content)
    return Report(content["title"], html)


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Runs without a folder by their number, where there are several."""
    if len(runs) == 1:
        return list(runs)
    return [replace(run, place=Path(f"fit {i}")) if str(run.place) == THIS else run for i, run in enumerate(runs, 1)]
