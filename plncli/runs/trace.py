"""A fit to be watched from outside while it lasts: its trace as a file to follow, and event files of TensorBoard."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from plncli.errors import DataError

if TYPE_CHECKING:
    from plncli.progress import OnStep, Step

LONG = 5.0
"""Seconds after which a fit is worth following."""
FLUSH = 0.5  # seconds between two looks of the file


def trace_row(step: Step, likelihood: str) -> dict[str, Any]:
    """A step as a row of loss_trace.csv; nan for what is not known."""
    return {
        "step": step.step,
        "seconds": step.seconds,
        "evaluations": step.evaluations,
        "loss": step.loss,
        likelihood: -step.loss,
        "grad_norm": step.grad_norm,
        "gap": step.gap,
        "step_size": step.step_size,
        **({} if step.held_out is None else {"held_out_loss": step.held_out}),
    }


@contextmanager
def watched(
    out: Path | None, likelihood: str, tensorboard: str | None, on_step: OnStep, tell: Callable[[str], None]
) -> Iterator[OnStep]:
    """What an optimizer is to call at each step: `on_step`, and whatever else watches.

    out: the folder of the results, beside which the trace of a long fit is written until it ends, which `tell` is told;
    None for no such file. tensorboard: a folder for event files. DataError where these cannot be written.
    """
    with ExitStack() as stack:
        shows = [on_step]
        if out is not None:
            shows.append(stack.enter_context(_live(out.with_name(f"{out.name}.loss_trace.csv"), likelihood, tell)))
        if tensorboard is not None:
            shows.append(stack.enter_context(_events(tensorboard, likelihood)))

        def show(step: Step) -> None:
            for each in shows:
                each(step)

        yield show


@contextmanager
def _live(path: Path, likelihood: str, tell: Callable[[str], None]) -> Iterator[OnStep]:
    """Write each step into a file, from when a fit is long until it ends; a full disk ends the file, not the fit."""
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    rows: list[dict[str, Any]] = []
    file: TextIO | None = None
    flushed, given_up = 0.0, False

    def show(step: Step) -> None:
        nonlocal file, flushed, given_up
        rows.append(trace_row(step, likelihood))
        if given_up or (file is None and step.seconds < LONG):
            return
        try:
            if file is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)  # of a fit that was killed; or a link, which would be followed
                file = path.open("x", encoding="utf-8", newline="")
                csv.writer(file, lineterminator="\n").writerow(rows[0])
                tell(f"The trace can be followed: tail -f {path}")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows(["" if math.isnan(value) else value for value in each.values()] for each in rows)
            rows.clear()
            if time.monotonic() - flushed > FLUSH:
                file.flush()
                flushed = time.monotonic()
        except OSError:
            given_up = True

    try:
        yield show
    finally:
        if file is not None:
            with suppress(OSError):
                file.close()
            path.unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()


@contextmanager
def _events(folder: str, likelihood: str) -> Iterator[OnStep]:
    """Write likelihood, gap and gradient norm as scalars that TensorBoard shows."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise DataError(
            "--tensorboard takes the package tensorboardX, which is not installed: pip install tensorboardX."
        ) from None
    try:
        writer = SummaryWriter(folder)
    except OSError as error:
        raise DataError(f"--tensorboard {folder} cannot be written: {error.strerror or error}.") from None

    def show(step: Step) -> None:
        for name, value in ((likelihood, -step.loss), ("gap", step.gap), ("grad_norm", step.grad_norm)):
            if math.isfinite(value):
                writer.add_scalar(name, value, step.step)

    with writer:
        yield show
