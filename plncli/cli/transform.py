"""`plncli transform RUN`: latent values of new samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plncli.cli.options import (
    NewCovariates,
    NewExposure,
    NewMissing,
    NewOffsets,
    NewTranspose,
    NoSampleNames,
    Overwrite,
    Quiet,
    RunFolder,
    TableFile,
    TextFormat,
)
from plncli.cli.tables import sample_rows
from plncli.console import Console
from plncli.errors import UsageError, counted

if TYPE_CHECKING:
    from plncli.runs.new_data import Sources
    from plncli.runs.run import Run

Counts = Annotated[str, typer.Option("--counts", metavar="FILE", help="Counts of the new samples.", show_default=False)]
Deviations = Annotated[
    str | None,
    typer.Option("--sd", metavar="FILE", help="Write the standard deviations there, as --out.", show_default=False),
]
Remove = Annotated[
    bool,
    typer.Option("--remove-covariates", help="Latent means less XB: the part that covariates don't explain."),
]


def transform(
    run: RunFolder,
    counts: Counts,
    covariates: NewCovariates = None,
    exposure: NewExposure = None,
    offsets: NewOffsets = None,
    remove_covariates: Remove = False,
    missing: NewMissing = "error",
    transpose: NewTranspose = False,
    no_sample_names: NoSampleNames = False,
    out: TableFile = None,
    sd: Deviations = None,
    overwrite: Overwrite = False,
    format: TextFormat = None,
    quiet: Quiet = False,
) -> int:
    """Latent means and standard deviations of new samples, from their counts.

    The variational step of a pln fit with its parameters held fixed; each sample by itself. A row a sample and a
    column a feature, as in latent_mean.csv.
    """
    from plncli.cli.tables import check, deliver, write
    from plncli.runs.new_data import Sources
    from plncli.runs.run import read_run

    suffix = check(out, overwrite, format)
    sd_suffix = check(sd, overwrite, option="--sd") if sd else ""
    if out and sd and Path(out).resolve() == Path(sd).resolve():
        raise UsageError(f"--out and --sd are the same file, {out}.")
    sources = Sources(covariates, counts, None, exposure, offsets, missing, not no_sample_names, transpose)
    mean, deviations = transformed(read_run(Path(run)), sources, Console(quiet), remove_covariates)
    if sd:
        write(deviations, sd, sd_suffix)
    deliver(mean, out, suffix, json=False)
    return 0


def transformed(
    run: Run, sources: Sources, say: Console, remove_covariates: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tables of latent means, and of standard deviations, by column."""
    from plncli import runtime
    from plncli.cli.predict import told, warnings
    from plncli.models import prediction
    from plncli.runs.new_data import load

    data = load(run, sources)
    for note in data.notes:
        say.note(f"note: {note}")
    for sentence in warnings(run):
        say.warn(sentence)
    p = len(run.responses)
    runtime.use_threads(len(data.samples), p, len(run.terms), "auto")
    with runtime.memory_guard():
        assert data.Y is not None
        found = prediction.transform(run.parameters, data.Y, data.X, data.O, data.K)
    say.note(f"Latent values of {counted(len(data.samples), 'sample')} × {counted(p, 'feature')}.")
    for sentence in told(run, found.reasons):
        say.note(f"note: {sentence}")

    def columns(values: Any) -> dict[str, Any]:
        return sample_rows(data.samples, dict(zip(run.responses, values.mT.numpy(), strict=True)))

    return columns(found.residual if remove_covariates else found.mean), columns(found.sd)
