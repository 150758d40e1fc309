"""`report`: finished fits on one page for a reader, and as tables for MultiQC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import UsageError
from plncli.names import SCALES
from plncli.version import __version__

if TYPE_CHECKING:
    from plncli.plots.source import Source


def report(
    runs: Sequence[str],
    given: Mapping[str, str],
    say: Console,
    *,
    out: str,
    overwrite: bool,
    diagnose: bool,
    multiqc: str | None,
    scale: str = SCALES[0],
) -> int:
    """Read runs, and write the page of them; given: tables that are elsewhere now."""
    if given and not diagnose:
        raise UsageError(f"--no-diagnose reads no tables, so --{next(iter(given)).replace('_', '-')} has no use.")
    from plncli import runtime
    from plncli.plots.source import Source
    from plncli.reports import multiqc as custom
    from plncli.reports import page
    from plncli.runs.run import read_run
    from plncli.tables.atomic import whole_file
    from plncli.tables.target import check_file

    path = Path(out)
    check_file(path, overwrite, formats=("html",))
    sources = [Source(read_run(Path(run)), given) for run in runs]
    if multiqc is not None:
        custom.check(Path(multiqc), overwrite, page.run_names(sources))
    with runtime.memory_guard():
        content, html = page_of(sources, diagnose, scale)
    whole_file(path, html.encode())
    for sentence in not_drawn(content):
        say.note(f"note: {sentence}")
    say.note(f"The report is in {out}.")
    if multiqc is not None:
        custom.write(Path(multiqc), content["runs"])
        say.note(f"What MultiQC takes is in {multiqc}.")
    return 0


def page_of(sources: Sequence[Source], diagnose: bool, scale: str = SCALES[0]) -> tuple[dict[str, Any], str]:
    """What there is to say of fits, and the page that says it; scale: of coefficients."""
    from plncli.reports import page

    content = page.facts(sources, page.run_names(sources), diagnose, scale)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return content, page.render(content, __version__, made)


def not_drawn(content: Mapping[str, Any]) -> list[str]:
    """What the page says is not drawn, and why."""
    return [f"{run['name']}: {sentence}" for run in content["runs"] for sentence in run["not_drawn"]]
