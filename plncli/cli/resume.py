"""`plncli resume RUN`: go on with a fit that was cut short, from its last checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from plncli.cli.options import Json, NoProgress, Quiet, Verbose
from plncli.console import Console
from plncli.errors import DataError, UsageError

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
    """Go on with a fit that was cut short: by a signal, a limit, or a machine that went down.

    Settings and tables are those of the fit, and must not have changed; its limits are lifted, unless given anew. It
    ends in the same bits as if it had never stopped. `plncli fit ... --resume` does the same in a job script.
    """
    from plncli.cli.fit import fit
    from plncli.runs import checkpoints
    from plncli.settings.config import checked, named_folder

    out = named_folder(run)
    checkpoints.check_links(out)
    found = checkpoints.newest(checkpoints.folder_of(out))
    if found is None:
        if (out / "manifest.json").is_file():
            raise UsageError(f"{out} is a fit that was not cut short: there is nothing to go on with.")
        raise DataError(f"There is no checkpoint of a fit in {checkpoints.folder_of(out)}.")
    config = checkpoints.configured(checkpoints.folder_of(out), found[1])
    if config.tensorboard:
        Console(quiet).note(
            f"note: Nothing is written into {config.tensorboard}, for a checkpoint alone says so: the command of the "
            "fit, with --resume, goes on with event files too."
        )
        config = replace(config, tensorboard=None)
    given = checked(config.model, {"time_limit": time_limit, "max_iter": max_iter, "device": device or config.device})
    config = replace(config, **given, allow_unconverged=allow_unconverged, out=run)
    return fit(config, dry_run=False, resume=True, json=json, quiet=quiet, verbose=verbose, no_progress=no_progress)
