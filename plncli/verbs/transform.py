"""`transform`: latent values of new samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plncli.console import Console
from plncli.errors import UsageError, counted
from plncli.verbs.predict import told, warnings
from plncli.verbs.tables import Destination, check, sample_rows, write

if TYPE_CHECKING:
    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run


def transform(
    run: str,
    sources: Sources,
    to: Destination,
    sd: str | None,
    say: Console,
    *,
    overwrite: bool,
    remove_covariates: bool,
) -> int:
    """Read a run, transform, and deliver the table of means; sd: file of the standard deviations."""
    from plncli.runs.run import read_run

    sd_suffix = check(sd, overwrite, option="--sd") if sd else ""
    if to.out and sd and Path(to.out).resolve() == Path(sd).resolve():
        raise UsageError(f"--out and --sd are the same file, {to.out}.")
    mean, deviations = transformed(read_run(Path(run)), sources, say, remove_covariates)
    if sd:
        write(deviations, sd, sd_suffix)
    to.deliver(mean)
    return 0


def transformed(
    run: Run, sources: Sources, say: Console, remove_covariates: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tables of latent means, and of standard deviations, by column."""
    from plncli import runtime
    from plncli.models import fitted
    from plncli.runs.new_data import load

    data = load(run, sources)
    for sentence in data.warnings:
        say.warn(sentence)
    for note in data.notes:
        say.note(f"note: {note}")
    for sentence in warnings(run):
        say.warn(sentence)
    p = len(run.responses)
    runtime.use_threads(len(data.samples), p, len(run.terms), "auto")
    with runtime.memory_guard():
        assert data.Y is not None
        found = fitted.transform(run.fitted, data.Y, data.X, data.O, data.K, data.X0)
    say.note(f"Latent values of {counted(len(data.samples), 'sample')} × {counted(p, 'feature')}.")
    for sentence in told(run, found.reasons):
        say.note(f"note: {sentence}")

    def columns(values: Any) -> dict[str, Any]:
        return sample_rows(data.samples, dict(zip(run.responses, values.mT.numpy(), strict=True)))

    return columns(found.residual if remove_covariates else found.mean), columns(found.sd)
