"""`resume`: go on with a fit that was cut short, from its last checkpoint."""

from __future__ import annotations

from dataclasses import replace

from plncli.console import Console
from plncli.errors import DataError, UsageError
from plncli.verbs.fit import fit


def resume(
    run: str,
    *,
    time_limit: float | None,
    max_iter: int | None,
    device: str | None,
    allow_unconverged: bool,
    json: bool,
    quiet: bool,
    verbose: bool,
    no_progress: bool,
) -> int:
    """Go on with a fit that was cut short, with its settings; its limits are lifted, unless given anew."""
    from plncli.runs import path
    from plncli.runs.unfinished import checkpoints
    from plncli.settings import checked, named_folder

    out = named_folder(run)
    checkpoints.check_links(out)
    folder = checkpoints.folder_of(out)
    found = checkpoints.newest(folder)
    about = path.about(folder) if found is None else found[1]
    if about is None:
        if (out / "manifest.json").is_file():
            raise UsageError(f"{out} is a fit that was not cut short: there is nothing to go on with.")
        raise DataError(f"There is no checkpoint of a fit in {folder}.")
    config = checkpoints.configured(folder, about)
    if config.tensorboard:
        Console(quiet).note(
            f"note: Nothing is written into {config.tensorboard}, for a checkpoint alone says so: the command of the "
            "fit, with --resume, goes on with event files too."
        )
        config = replace(config, tensorboard=None)
    given = checked(config.model, {"time_limit": time_limit, "max_iter": max_iter, "device": device or config.device})
    config = replace(config, **given, allow_unconverged=allow_unconverged, out=run)
    return fit(config, dry_run=False, resume=True, json=json, quiet=quiet, verbose=verbose, no_progress=no_progress)
