"""`plncli report RUN...`: finished fits on one page for a reader, and as tables for MultiQC."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import plncli
from plncli.cli.options import Overwrite, Quiet, moved_table
from plncli.console import Console
from plncli.errors import UsageError

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Folders that `plncli fit` wrote; several are compared.")
]
Out = Annotated[str, typer.Option("--out", metavar="FILE", help="Write the page there: .html.")]
Diagnose = Annotated[
    bool,
    typer.Option(
        "--diagnose/--no-diagnose",
        help="Read the tables of the fit again, which must not have changed, and check whether the model holds.",
    ),
]
MultiQC = Annotated[
    str | None,
    typer.Option("--multiqc", metavar="DIR", help="Write custom content for MultiQC there too.", show_default=False),
]


def report(
    runs: Runs,
    out: Out = "report.html",
    overwrite: Overwrite = False,
    diagnose: Diagnose = True,
    multiqc: MultiQC = None,
    counts: Annotated[str | None, moved_table("counts")] = None,
    response: Annotated[str | None, moved_table("response")] = None,
    covariates: Annotated[str | None, moved_table("covariates")] = None,
    exposure: Annotated[str | None, moved_table("exposure")] = None,
    offsets: Annotated[str | None, moved_table("offsets")] = None,
    weights: Annotated[str | None, moved_table("weights")] = None,
    cluster: Annotated[str | None, moved_table("cluster")] = None,
    offset_blocks: Annotated[str | None, moved_table("offset-blocks")] = None,
    precision: Annotated[str | None, moved_table("precision")] = None,
    quiet: Quiet = False,
) -> int:
    """Write a report of finished fits: one page that opens anywhere, without a network.

    What was fitted, whether to trust it, what differs between the levels of factors, coefficients, and pictures.
    """
    moved = {
        "counts": counts,
        "response": response,
        "covariates": covariates,
        "exposure": exposure,
        "offsets": offsets,
        "weights": weights,
        "cluster": cluster,
        "offset_blocks": offset_blocks,
        "precision": precision,
    }
    given = {name: path for name, path in moved.items() if path is not None}
    if given and not diagnose:
        raise UsageError(f"--no-diagnose reads no tables, so --{next(iter(given)).replace('_', '-')} has no use.")
    from plncli import runtime
    from plncli.plots.source import Source
    from plncli.reports import multiqc as custom
    from plncli.reports import page
    from plncli.runs.run import read_run
    from plncli.tables.atomic import whole_file
    from plncli.tables.target import check_file

    path, say = Path(out), Console(quiet)
    check_file(path, overwrite, formats=("html",))
    sources = [Source(read_run(Path(run)), given) for run in runs]
    names = page.run_names(sources)
    if multiqc is not None:
        custom.check(Path(multiqc), overwrite, names)
    with runtime.memory_guard():
        content = page.facts(sources, names, diagnose)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    whole_file(path, page.render(content, plncli.__version__, made).encode())
    for run in content["runs"]:
        for sentence in run["not_drawn"]:
            say.note(f"note: {run['name']}: {sentence}")
    say.note(f"The report is in {out}.")
    if multiqc is not None:
        custom.write(Path(multiqc), content["runs"])
        say.note(f"What MultiQC takes is in {multiqc}.")
    return 0
