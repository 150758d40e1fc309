"""`rerun`: fit again as a finished fit was made, and hold the two against each other."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

from plncli import console
from plncli.console import Console
from plncli.errors import DataError, UsageError, counted, some
from plncli.verbs.fit import fit


def rerun(run: str, *, check: bool, out: str | None, quiet: bool) -> int:
    """Fit again, as the configuration of a finished fit says.

    The same command on the same machine gives the same bits, whatever else the machine does; other versions, or
    another number of threads, agree to rounding.
    """
    from plncli import settings as configuration
    from plncli.runs.reproduction import compared, ended_by_the_clock, model_named

    folder = Path(run)
    if check == (out is not None):
        raise UsageError("Give --check to compare with the fit, or --out DIR to keep the results.")
    path = folder / "config.toml"
    if not path.is_file():
        raise DataError(f"`{run}` is not the folder of a fit: it has no config.toml.")
    config = configuration.resolve(model_named(path), {}, str(path), {})
    config = replace(config, overwrite=False, tensorboard=None)
    silent = {"dry_run": False, "resume": False, "json": False, "verbose": False, "no_progress": quiet}
    if out is not None:
        return fit(replace(config, out=out), quiet=quiet, **silent)
    if ended_by_the_clock(folder):
        raise DataError(
            f"{run} was ended by a time limit or a signal, which never comes at the same moment twice. Go on with it "
            f"first: plncli resume {shlex.quote(run)}"
        )
    config = replace(config, time_limit=None)  # which it has kept
    with tempfile.TemporaryDirectory(prefix="plncli-") as place:
        again = Path(place) / "again"
        code = fit(replace(config, out=str(again)), quiet=True, **silent)
        found = compared(folder, again)
    say = Console(quiet)
    for note in found.notes:
        say.note(f"note: {note}")
    if found.different:
        console.error(
            f"{counted(len(found.different), 'file')} of {run} not repeated to the bit: {some(found.different)}. "
            f"The largest difference of a number is {found.largest:.2g} of its size."
        )
        return 3
    say.note(f"{run} is repeated to the bit: {some(found.same, 99)}.")
    return code
