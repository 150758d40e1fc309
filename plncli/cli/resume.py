"""`plncli resume RUN`: go on with a fit that was cut short, from its last checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from plncli.cli.options import Json, NoProgress, Quiet, Verbose

Unfinished = Annotated[str, typer.Argument(metavar="RUN", help="Folder of the results of the fit, there or to be.")]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", metavar="SECONDS", help="Most seconds spent fitting from here.", show_default=False),
]
MaxIter = Annotated[
    int | None, typer.Option("--max-iter", metavar="N", help="Most steps, all in all.", show_default=False)
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Another device than that of the fit.", show_default=False),
]
AllowUnconverged = Annotated[
    bool, typer.Option("--allow-unconverged", help="Exit with 0 instead of 4 when the fit ends without converging.")
]


def resume(
    run: Unfinished,
    time_limit: TimeLimit = None,
    max_iter: MaxIter = None,
    device: Device = None,
    allow_unconverged: AllowUnconverged = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_progress: NoProgress = False,
) -> int:
    """Go on with a fit that was cut short.

    By a signal, a limit, or a machine that went down. Settings and tables are those of the fit, and must not have
    changed; its limits are lifted, unless given anew. It ends in the same bits as if it had never stopped.
    `plncli fit ... --resume` does the same in a job script.
    """
    from plncli.verbs import resume as verb

    return verb.resume(
        run,
        time_limit=time_limit,
        max_iter=max_iter,
        device=device,
        allow_unconverged=allow_unconverged,
        json=json,
        quiet=quiet,
        verbose=verbose,
        no_progress=no_progress,
    )
