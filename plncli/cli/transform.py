"""`plncli transform RUN`: latent values of new samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from plncli.cli.options import (
    NewCovariates,
    NewExposure,
    NewMissing,
    NewOffsets,
    NoSampleNames,
    Overwrite,
    Quiet,
    RunFolder,
    TableFile,
    TextFormat,
)
from plncli.console import Console
from plncli.errors import UsageError, counted

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
    from plncli import prediction, runtime
    from plncli.cli.predict import told, warnings
    from plncli.cli.tables import check, deliver, write
    from plncli.files.newdata import Sources, load
    from plncli.files.runs import read_run

    suffix = check(out, overwrite, format)
    sd_suffix = check(sd, overwrite, option="--sd") if sd else ""
    if out and sd and Path(out).resolve() == Path(sd).resolve():
        raise UsageError(f"--out and --sd are the same file, {out}.")
    read, say = read_run(Path(run)), Console(quiet)
    data = load(read, Sources(covariates, counts, None, exposure, offsets, missing, not no_sample_names))
    for note in data.notes:
        say.note(f"note: {note}")
    for sentence in warnings(read):
        say.warn(sentence)
    p = len(read.responses)
    runtime.use_threads(len(data.samples), p, len(read.terms), "auto")
    with runtime.memory_guard():
        assert data.Y is not None
        found = prediction.transform(read.parameters, data.Y, data.X, data.O, data.K)
    say.note(f"Latent values of {counted(len(data.samples), 'sample')} × {counted(p, 'feature')}.")
    for sentence in told(read, found.reasons):
        say.note(f"note: {sentence}")

    def columns(values: Any) -> dict[str, Any]:
        return {"sample": list(data.samples)} | dict(zip(read.responses, values.mT.numpy(), strict=True))

    if sd:
        write(columns(found.sd), sd, sd_suffix)
    deliver(columns(found.residual if remove_covariates else found.mean), out, suffix, json=False)
    return 0
